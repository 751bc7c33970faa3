//! DORA figures: GitLab's own with Ultimate, by one query for many projects or by REST; elsewhere the
//! input to compute them from.

mod computed;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;

use super::batches::Batches;
use super::{Context, Fetched, Right, Source, SourceError, Target, fetched, side_by_side};
use crate::catalogue::Collector;
use crate::clock::UnixSeconds;
use crate::config::{Dora, DoraSource as Choice, EnvironmentTier};
use crate::facts::dora::{DoraRead, Figures};
use crate::facts::{Facts, Reading, Unavailable};
use crate::gitlab::GitLab;
use crate::gitlab::capability::Edition;
use crate::gitlab::model::{DeploymentTier, DoraByTier, ProjectDora};
use crate::memory::dora::DoraProgress;
use crate::memory::dora::computed::Period;
use crate::types::ProjectId;
use crate::types::Tier;
use computed::Computed;

/// Projects that are read side by side.
const PROJECTS_AT_ONCE: usize = 4;
/// How long REST is not asked again for what licence or role did not give.
const REFUSAL: Duration = Duration::from_secs(24 * 3600);

/// The source.
pub struct DoraSource {
    gitlab: GitLab,
    choice: Choice,
    tiers: BTreeSet<DeploymentTier>,
    batches: Batches,
    computed: Computed,
}

impl From<EnvironmentTier> for DeploymentTier {
    fn from(tier: EnvironmentTier) -> Self {
        match tier {
            EnvironmentTier::Production => Self::Production,
            EnvironmentTier::Staging => Self::Staging,
            EnvironmentTier::Testing => Self::Testing,
            EnvironmentTier::Development => Self::Development,
            EnvironmentTier::Other => Self::Other,
        }
    }
}

impl DoraSource {
    /// The source of a GitLab.
    #[must_use]
    pub fn new(settings: &Dora, gitlab: &GitLab) -> Self {
        let tiers = settings.environment_tiers.iter();
        Self {
            gitlab: gitlab.clone(),
            choice: settings.source,
            tiers: tiers.map(|&tier| tier.into()).collect(),
            batches: Batches::new(&gitlab.breaker(), GitLab::DORA_PROJECTS),
            computed: Computed::new(gitlab),
        }
    }

    /// Whether GitLab may have figures of its own for the project, as far as that is known.
    fn may_have(&self, target: &Target) -> bool {
        let instance = target.instance.as_ref();
        self.choice != Choice::Computed
            && instance.is_none_or(|known| known.edition == Edition::Enterprise)
            && target.lacks(Tier::Ultimate, Right::Environments).is_none()
    }

    fn tiers(&self) -> Vec<DeploymentTier> {
        self.tiers.iter().copied().collect()
    }

    /// GitLab's own figures; none where they are to be computed. With when REST last refused them.
    async fn own(
        &self,
        target: &Target,
        read: Option<Result<ProjectDora, SourceError>>,
        now: UnixSeconds,
    ) -> (Option<UnixSeconds>, Result<Option<DoraRead>, SourceError>) {
        let mut refused_at = target.memory.dora_progress.refused_at;
        let mut figures = None;
        if self.may_have(target) {
            match self.given(target, read, &mut refused_at, now).await {
                Ok(given) => figures = given,
                // What this token may not see is computed from what it may.
                Err(SourceError::Unavailable(_)) if self.choice == Choice::Auto => {}
                Err(error) => return (refused_at, Err(error)),
            }
        }
        let read = match figures {
            Some(figures) => Ok(Some(DoraRead {
                figures: Figures::GitLab(figures),
                progress: DoraProgress::default(),
                problems: Vec::new(),
            })),
            None if self.choice == Choice::Gitlab => {
                Err(Unavailable::Unlicensed(Tier::Ultimate).into())
            }
            None => Ok(None),
        };
        (refused_at, read)
    }

    /// GitLab's own figures: from GraphQL, or else from REST.
    async fn given(
        &self,
        target: &Target,
        read: Option<Result<ProjectDora, SourceError>>,
        refused_at: &mut Option<UnixSeconds>,
        now: UnixSeconds,
    ) -> Result<Option<DoraByTier>, SourceError> {
        match read {
            Some(Ok(found)) => return Ok(found.tiers),
            Some(Err(error)) if !error.rest_may_answer() => return Err(error),
            Some(Err(_)) | None => {}
        }
        if refused_at.is_some_and(|at| now.since(at) < REFUSAL) {
            return Ok(None);
        }
        let days = Period::ending(now).days();
        let tiers = self.tiers();
        let found = self.gitlab.project_dora(target.id(), &tiers, days).await;
        *refused_at = match &found {
            Ok(Some(_)) => None,
            Ok(None) => Some(now),
            Err(error) if error.is_forbidden() => Some(now),
            Err(_) => *refused_at,
        };
        Ok(found?)
    }
}

impl DoraSource {
    /// Reads some projects: one result for each.
    async fn read(
        &self,
        targets: &[Target],
        now: UnixSeconds,
    ) -> Vec<(ProjectId, Result<DoraRead, SourceError>)> {
        // The schema of the Community Edition lacks the fields: which edition it is must be known.
        let ids: Vec<ProjectId> = targets
            .iter()
            .filter(|target| target.instance.is_some() && self.may_have(target))
            .map(Target::id)
            .collect();
        let (tiers, days) = (self.tiers(), Period::ending(now).days());
        let ask = async |ids: Vec<ProjectId>| self.gitlab.dora_metrics(&ids, &tiers, days).await;
        let id_of = |found: &ProjectDora| found.id;
        let mut read = self.batches.ask(&ids, now, id_of, ask).await;
        let owns = targets.iter().map(|target| {
            let read = read.remove(&target.id());
            async move { (target, self.own(target, read, now).await) }
        });
        let mut reads = Vec::with_capacity(targets.len());
        let (mut open, mut refusals) = (Vec::new(), BTreeMap::new());
        for (target, (refused_at, own)) in side_by_side(PROJECTS_AT_ONCE, owns.collect()).await {
            match own {
                Ok(Some(own)) => reads.push((target.id(), Ok(own))),
                Ok(None) => open.push(target),
                Err(error) => reads.push((target.id(), Err(error))),
            }
            refusals.insert(target.id(), refused_at);
        }
        for (id, read) in self.computed.read(&open, &self.tiers, now).await {
            let read = read.map(|mut read| {
                read.progress.refused_at = refusals.get(&id).copied().flatten();
                DoraRead {
                    figures: Figures::Computed(Box::new(read.memory)),
                    progress: read.progress,
                    problems: read.problems,
                }
            });
            reads.push((id, read));
        }
        reads
    }
}

#[async_trait]
impl Source for DoraSource {
    fn reading(&self) -> Reading {
        Reading::Dora
    }

    fn collectors(&self) -> &[Collector] {
        &[Collector::Dora]
    }

    fn batch(&self) -> usize {
        GitLab::DORA_PROJECTS
    }

    fn unavailable(&self, target: &Target) -> Option<Unavailable> {
        match self.choice {
            Choice::Gitlab => target.lacks(Tier::Ultimate, Right::Environments),
            Choice::Auto | Choice::Computed => target.lacks(Tier::Free, Right::Environments),
        }
    }

    async fn fetch(&self, targets: &[Target], context: &Context) -> Fetched {
        let read = self.read(targets, context.now).await;
        fetched(read, Facts::Dora)
    }
}
