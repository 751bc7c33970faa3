//! Variables of the newest pipelines: REST has them, once for each pipeline.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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
/// How long a project that refused its variables is not asked again: no role and no grant comes by
/// itself.
const REFUSAL: Duration = Duration::from_secs(3600);

/// The source.
pub struct VariablesSource {
    gitlab: GitLab,
    /// Keys of the variables that are shown; validation asks for it where the collector is on.
    regexp: Option<Pattern>,
    /// Projects that refused, when, and in which words.
    refusals: Mutex<BTreeMap<ProjectId, (UnixSeconds, String)>>,
}

impl VariablesSource {
    /// The source of a GitLab.
    #[must_use]
    pub fn new(settings: &Variables, gitlab: &GitLab) -> Self {
        Self {
            gitlab: gitlab.clone(),
            regexp: settings.regexp.clone(),
            refusals: Mutex::default(),
        }
    }

    fn refusals(&self) -> MutexGuard<'_, BTreeMap<ProjectId, (UnixSeconds, String)>> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the project refused lately, if it did.
    fn refused(&self, project: ProjectId, now: UnixSeconds) -> Option<Unavailable> {
        let mut refusals = self.refusals();
        // More than the pause ahead: the clock was set back meanwhile.
        refusals.retain(|_, (at, _)| now.since(*at) < REFUSAL && at.since(now) <= REFUSAL);
        let (_, why) = refusals.get(&project)?;
        Some(Unavailable::Forbidden(why.clone()))
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
        if let Some(refused) = self.refused(project, now).filter(|_| !wanted.is_empty()) {
            return Err(refused.into());
        }
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
                Err(error) if error.is_object_not_found() => {}
                Err(error) => {
                    if error.is_forbidden() {
                        self.refusals().insert(project, (now, error.to_string()));
                    }
                    return Err(error.into());
                }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::ProjectSettings;
    use crate::gitlab::model::{Features, Known, Permissions, Project, RefKind, Status};
    use crate::gitlab::testing::{Fake, Reply};
    use crate::memory::ProjectMemory;
    use crate::memory::history::Remembered;
    use crate::memory::pipelines::PipelineSnapshot;
    use crate::memory::refs::RefName;
    use crate::types::PipelineId;

    const NOW: UnixSeconds = UnixSeconds(1_767_614_400);

    /// A project with a pipeline whose variables were not read.
    fn target() -> Target {
        let mut memory = ProjectMemory::default();
        let name = RefName {
            kind: RefKind::Branch,
            name: "main".into(),
        };
        let snapshot = PipelineSnapshot {
            source: "push".into(),
            status: Status::Success,
            running_since: None,
            finished_at: Some(NOW),
            duration: None,
            queued: None,
            coverage: None,
        };
        let newest = Remembered {
            id: PipelineId(7),
            created_at: NOW,
            skipped: false,
            value: snapshot,
        };
        memory.pipelines.newest.put(name, newest);
        Target {
            tracking: 1,
            project: Project {
                id: ProjectId(1),
                full_path: "group/p".into(),
                default_branch: Known::Unread,
                archived: false,
                last_activity_at: None,
                is_scheduled_for_deletion: false,
                role: Known::Unread,
                features: Features::default(),
            },
            permissions: Permissions::default(),
            permitted_at: UnixSeconds::default(),
            settings: Arc::new(ProjectSettings::default()),
            memory: Arc::new(memory),
            tier: Known::Unread,
            instance: None,
        }
    }

    #[tokio::test]
    async fn a_project_that_refuses_its_variables_is_asked_again_after_an_hour() {
        let fake = Fake::script(vec![Reply::status(403, r#"{"message":"403 Forbidden"}"#)]).await;
        let settings = Variables {
            regexp: Some("^DEPLOY_".parse().expect("a regular expression")),
            ..Variables::default()
        };
        let source = VariablesSource::new(&settings, &fake.gitlab());
        for (minutes, asked) in [(0, 1), (1, 1), (59, 1), (61, 2), (62, 2)] {
            let now = NOW.plus(Duration::from_secs(60 * minutes));
            let error = source
                .project(&target(), now)
                .await
                .map(|read| read.pipelines.len());
            let error = error.expect_err("a refusal");
            assert_eq!(error.kind(), "forbidden", "{error}");
            assert_eq!(fake.seen().len(), asked, "after {minutes} minutes");
        }
    }
}
