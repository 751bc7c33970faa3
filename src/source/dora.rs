//! DORA figures: GitLab's own with Ultimate, by one query for many projects or by REST; elsewhere the
//! input to compute them from.

mod computed;

use std::collections::BTreeSet;
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

/// Projects that are read side by side.
const PROJECTS_AT_ONCE: usize = 4;
/// Projects in one run where each costs calls of its own.
const BATCH: usize = 10;
/// How long REST is not asked again for what licence or role did not give.
const REFUSAL: Duration = Duration::from_secs(24 * 3600);

/// The source.
pub struct DoraSource {
    gitlab: GitLab,
    choice: Choice,
    tiers: BTreeSet<DeploymentTier>,
    batches: Batches,
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

    async fn project(
        &self,
        target: &Target,
        read: Option<Result<ProjectDora, SourceError>>,
        now: UnixSeconds,
    ) -> Result<DoraRead, SourceError> {
        let mut refused_at = target.memory.dora_progress.refused_at;
        if self.may_have(target) {
            let given = match self.given(target, read, &mut refused_at, now).await {
                // What this token may not see is computed from what it may.
                Err(SourceError::Unavailable(_)) if self.choice == Choice::Auto => None,
                given => given?,
            };
            if let Some(figures) = given {
                return Ok(DoraRead {
                    figures: Figures::GitLab(figures),
                    progress: DoraProgress::default(),
                    problems: Vec::new(),
                });
            }
        }
        if self.choice == Choice::Gitlab {
            return Err(Unavailable::Unlicensed(Tier::Ultimate).into());
        }
        let mut read = computed::read(&self.gitlab, target, &self.tiers, now).await?;
        read.progress.refused_at = refused_at;
        Ok(DoraRead {
            figures: Figures::Computed(Box::new(read.memory)),
            progress: read.progress,
            problems: read.problems,
        })
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
        let reads = targets.iter().map(|target| {
            let id = target.id();
            let read = read.remove(&id);
            async move { (id, self.project(target, read, now).await) }
        });
        side_by_side(PROJECTS_AT_ONCE, reads.collect()).await
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
        match self.choice {
            Choice::Computed => BATCH,
            Choice::Auto | Choice::Gitlab => GitLab::DORA_PROJECTS,
        }
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
