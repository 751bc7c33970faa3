//! What is remembered of a project to compute its figures: the successful deployments, what they
//! shipped, and the incidents of the period; nothing older.

pub mod computed;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use self::computed::{Period, add_incidents, of_deployments};
use crate::clock::UnixSeconds;
use crate::gitlab::model::{Deployment, DeploymentTier, DoraByTier, Environment, Incident};

/// GitLab links merge requests to a deployment a while after its end, in the background; from then on
/// the answer is final. GitLab itself waits 5 minutes before it computes.
pub(crate) const SETTLED: Duration = Duration::from_secs(600);

/// A successful deployment.
#[derive(Clone, Debug, PartialEq)]
pub struct Deployed {
    /// Id of its environment.
    pub environment: u64,
    /// When it ended.
    pub finished_at: UnixSeconds,
    /// What it shipped.
    pub shipped: Shipped,
}

/// How long the merge requests of a deployment took from merge to its end, in seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shipped {
    /// Not asked for yet.
    Unasked,
    /// Asked for without success; it is asked for again.
    Failed,
    /// Asked for so soon that GitLab may not have known all; it is asked for again.
    Early(Vec<u32>),
    /// Known.
    Known(Vec<u32>),
}

impl Shipped {
    /// The seconds of each merge request.
    #[must_use]
    pub fn leads(&self) -> &[u32] {
        match self {
            Self::Unasked | Self::Failed => &[],
            Self::Early(leads) | Self::Known(leads) => leads,
        }
    }

    /// Whether GitLab was asked at all.
    #[must_use]
    pub fn was_asked(&self) -> bool {
        *self != Self::Unasked
    }
}

/// An incident's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// When it was created.
    pub created_at: UnixSeconds,
    /// When it was closed; none while it is open.
    pub closed_at: Option<UnixSeconds>,
    /// Whether it is a duplicate of another.
    pub duplicate: bool,
}

/// What is remembered of a project.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DoraMemory {
    /// The tiers of interest: other deployments are not kept.
    pub(crate) tiers: BTreeSet<DeploymentTier>,
    pub(crate) environments: BTreeMap<u64, DeploymentTier>,
    pub(crate) deployments: BTreeMap<u64, Deployed>,
    /// None where incidents were not read, or are hidden.
    pub(crate) incidents: Option<BTreeMap<u64, Life>>,
}

impl DoraMemory {
    /// An empty memory.
    #[must_use]
    pub fn new(tiers: BTreeSet<DeploymentTier>) -> Self {
        Self {
            tiers,
            ..Self::default()
        }
    }

    /// The tiers of interest.
    #[must_use]
    pub fn tiers(&self) -> &BTreeSet<DeploymentTier> {
        &self.tiers
    }

    /// The environments that are known, by id.
    #[must_use]
    pub fn environments(&self) -> &BTreeMap<u64, DeploymentTier> {
        &self.environments
    }

    /// Environments that deployments are remembered of.
    pub fn deployed_to(&self) -> impl Iterator<Item = u64> {
        self.deployments
            .values()
            .map(|deployed| deployed.environment)
    }

    /// Whether incidents belong to the figures: there is production, and it is of interest.
    #[must_use]
    pub fn has_production(&self) -> bool {
        let production = DeploymentTier::Production;
        let mut tiers = self.environments.values();
        self.tiers.contains(&production) && tiers.any(|tier| *tier == production)
    }

    /// Whether one of these was of another tier, and now is of one of interest: its deployments were
    /// not kept.
    #[must_use]
    pub fn has_missed(&self, now: &BTreeMap<u64, DeploymentTier>) -> bool {
        self.environments.iter().any(|(id, before)| {
            let tier = now.get(id);
            !self.tiers.contains(before) && tier.is_some_and(|tier| self.tiers.contains(tier))
        })
    }

    /// Takes the environments in: what was deployed elsewhere is of no interest, and what was
    /// deployed to a deleted environment went with it, as in GitLab.
    pub fn place(&mut self, environments: BTreeMap<u64, DeploymentTier>) {
        self.environments = environments;
        let (environments, tiers) = (&self.environments, &self.tiers);
        self.deployments.retain(|_, deployed| {
            let tier = environments.get(&deployed.environment);
            tier.is_some_and(|tier| tiers.contains(tier))
        });
    }

    /// Takes deployments in whose environments are known.
    pub fn deployed(&mut self, deployments: &[Deployment], period: Period) {
        for deployment in deployments.iter().filter(|found| found.succeeded()) {
            let Some(finished_at) = deployment.finished_at else {
                continue;
            };
            let tier = self.environments.get(&deployment.environment);
            if !tier.is_some_and(|tier| self.tiers.contains(tier)) || !period.has(finished_at) {
                continue;
            }
            let name = &deployment.environment_name;
            // The first end that was read stays: without a job it is the last change, which moves.
            let new = || Deployed {
                environment: deployment.environment,
                finished_at,
                shipped: match links_nothing(name) {
                    true => Shipped::Known(Vec::new()),
                    false => Shipped::Unasked,
                },
            };
            self.deployments.entry(deployment.id).or_insert_with(new);
        }
    }

    /// Deployments whose merge requests are to be asked for, the newest first.
    #[must_use]
    pub fn to_ask(&self, now: UnixSeconds) -> Vec<u64> {
        let open = |deployed: &Deployed| match deployed.shipped {
            Shipped::Unasked | Shipped::Failed => true,
            Shipped::Early(_) => now.since(deployed.finished_at) >= SETTLED,
            Shipped::Known(_) => false,
        };
        let all = self.deployments.iter().rev();
        let mut found: Vec<_> = all.filter(|(_, deployed)| open(deployed)).collect();
        // What failed has its turn after what was never asked for.
        found.sort_by_key(|(_, deployed)| deployed.shipped == Shipped::Failed);
        found.into_iter().map(|(id, _)| *id).collect()
    }

    /// Takes in when the merge requests of a deployment were merged.
    pub fn shipped(&mut self, deployment: u64, merged: &[UnixSeconds], now: UnixSeconds) {
        let Some(deployed) = self.deployments.get_mut(&deployment) else {
            return;
        };
        let end = deployed.finished_at;
        let lead = |merged: &UnixSeconds| u32::try_from(end.since(*merged).as_secs());
        let leads = merged.iter().map(|at| lead(at).unwrap_or(u32::MAX));
        let leads = leads.collect();
        deployed.shipped = match now.since(end) >= SETTLED {
            true => Shipped::Known(leads),
            false => Shipped::Early(leads),
        };
    }

    /// The merge requests of a deployment could not be read this time.
    pub fn not_shipped(&mut self, deployment: u64) {
        if let Some(deployed) = self.deployments.get_mut(&deployment)
            && deployed.shipped == Shipped::Unasked
        {
            deployed.shipped = Shipped::Failed;
        }
    }

    /// A deployment was deleted.
    pub fn deleted(&mut self, deployment: u64) {
        self.deployments.remove(&deployment);
    }

    /// Takes incidents in: those that changed, or all of the period.
    pub fn incidents(&mut self, incidents: &[Incident], are_all: bool) {
        let known = self.incidents.get_or_insert_default();
        if are_all {
            known.clear();
        }
        known.extend(incidents.iter().map(|incident| {
            let life = Life {
                created_at: incident.created_at,
                closed_at: incident.closed_at,
                duplicate: incident.duplicate,
            };
            (incident.iid, life)
        }));
    }

    /// Incidents do not belong to the figures, or are hidden.
    pub fn without_incidents(&mut self) {
        self.incidents = None;
    }

    /// Forgets what has no part in the period.
    pub fn forget(&mut self, period: Period) {
        self.deployments
            .retain(|_, deployed| deployed.finished_at >= period.start());
        if let Some(incidents) = &mut self.incidents {
            let start = period.start();
            incidents.retain(|_, life| {
                life.created_at >= start || life.closed_at.is_some_and(|end| end >= start)
            });
        }
    }

    /// The figures of the tiers of interest.
    #[must_use]
    pub fn figures(&self, period: Period) -> DoraByTier {
        let of_tier = |tier: &DeploymentTier| {
            let deployed = self
                .deployments
                .values()
                .filter(|deployed| self.environments.get(&deployed.environment) == Some(tier));
            let mut figures = of_deployments(deployed, period);
            if let Some(incidents) = &self.incidents
                && *tier == DeploymentTier::Production
                && self.has_production()
            {
                add_incidents(&mut figures, incidents.values(), period);
            }
            (*tier, figures)
        };
        self.tiers.iter().map(of_tier).collect()
    }
}

/// Whether GitLab links no merge requests to deployments of this environment: it is a review app's.
/// GitLab takes every environment with a folder in its name for one; other environments with a folder
/// are asked for all the same, and the answer is empty.
pub(crate) fn links_nothing(environment: &str) -> bool {
    environment.starts_with("review/")
}

/// The tiers of environments by id.
#[must_use]
pub fn tiers_of(environments: &[Environment]) -> BTreeMap<u64, DeploymentTier> {
    let tiers = environments
        .iter()
        .map(|environment| (environment.id, DeploymentTier::parse(&environment.tier)));
    tiers.collect()
}

/// How far a project has been read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DoraProgress {
    /// When deployments were last read, by GitLab's clock.
    pub(crate) read_at: Option<UnixSeconds>,
    /// When the last full poll was.
    pub(crate) full_at: UnixSeconds,
    /// What the change feed had seen when deployments were last read.
    pub(crate) moved: UnixSeconds,
    /// When incidents were last read, by GitLab's clock.
    pub(crate) incidents_at: Option<UnixSeconds>,
    /// When all incidents of the period were last read.
    pub(crate) all_incidents_at: UnixSeconds,
    /// When GitLab last refused figures of its own by REST.
    pub(crate) refused_at: Option<UnixSeconds>,
}
