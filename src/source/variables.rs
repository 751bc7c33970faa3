//! Variables of the newest pipelines: REST has them, once for each pipeline.

use async_trait::async_trait;

use super::{Context, Fetched, Right, Source, SourceError, Target, fetched, side_by_side};
use crate::catalogue::Collector;
use crate::clock::UnixSeconds;
use crate::config::{Pattern, Variables};
use crate::facts::VariablesRead;
use crate::facts::{Facts, Problem, Reading, Unavailable};
use crate::gitlab::GitLab;
use crate::memory::variables::wanted;
use crate::types::ProjectId;
use crate::types::Tier;

/// Pipelines of one project that one poll reads; the others are read at the next.
const AT_ONCE: usize = 20;
/// Calls that run concurrently.
const CALLS_AT_ONCE: usize = 4;
/// Projects in one run.
const BATCH: usize = 20;

/// The source.
pub struct VariablesSource {
    gitlab: GitLab,
    /// Keys of the variables that are shown; validation asks for it where the collector is on.
    regexp: Option<Pattern>,
}

impl VariablesSource {
    /// The source of a GitLab.
    #[must_use]
    pub fn new(settings: &Variables, gitlab: &GitLab) -> Self {
        Self {
            gitlab: gitlab.clone(),
            regexp: settings.regexp.clone(),
        }
    }

    async fn project(
        &self,
        target: &Target,
        now: UnixSeconds,
    ) -> Result<VariablesRead, SourceError> {
        let (known, memory) = (&target.memory.pipelines, &target.memory.variables);
        let subject = target.subject(&super::NO_PATHS, now);
        let regexp = self.regexp.as_ref();
        let wanted = regexp.map(|regexp| wanted(subject, known, memory, regexp));
        let mut wanted = wanted.unwrap_or_default();
        wanted.truncate(AT_ONCE);
        let project = target.id();
        let reads = wanted.into_iter().map(|(name, id)| async move {
            let read = self.gitlab.pipeline_variables(project, id).await;
            (name, id, read)
        });
        let mut all = VariablesRead {
            pipelines: Vec::new(),
            problems: Vec::new(),
        };
        let (path, collector) = (&target.project.full_path, Collector::Variables);
        for (name, id, read) in side_by_side(CALLS_AT_ONCE, reads.collect()).await {
            match read {
                Ok(page) => {
                    let skipped = page.skipped.into_iter();
                    all.problems
                        .extend(skipped.map(|why| Problem::skipped(path, collector, why)));
                    all.pipelines.push((name, id, page.items));
                }
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(all)
    }
}

impl VariablesSource {
    /// Reads some projects: one result for each.
    async fn read(
        &self,
        targets: &[Target],
        now: UnixSeconds,
    ) -> Vec<(ProjectId, Result<VariablesRead, SourceError>)> {
        let reads = targets
            .iter()
            .map(|target| async move { (target.id(), self.project(target, now).await) });
        side_by_side(CALLS_AT_ONCE, reads.collect()).await
    }
}

#[async_trait]
impl Source for VariablesSource {
    fn reading(&self) -> Reading {
        Reading::Variables
    }

    fn collectors(&self) -> &[Collector] {
        &[Collector::Variables]
    }

    fn batch(&self) -> usize {
        BATCH
    }

    fn unavailable(&self, target: &Target) -> Option<Unavailable> {
        let why = "needs collectors.pipelines, which knows the newest pipelines";
        let settings = target
            .settings
            .interval(Collector::Pipelines)
            .is_none()
            .then_some(Unavailable::Settings(why));
        settings.or_else(|| target.lacks(Tier::Free, Right::Variables))
    }

    async fn fetch(&self, targets: &[Target], context: &Context) -> Fetched {
        let read = self.read(targets, context.now).await;
        fetched(read, Facts::Variables)
    }
}
