//! Variables of the newest pipelines. REST has them, once for each pipeline; GraphQL says for many at once
//! which have any that are shown, but not whether one is a file.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::{Context, Fetched, Right, Source, SourceError, Target, fetched, side_by_side};
use crate::catalogue::Collector;
use crate::clock::UnixSeconds;
use crate::config::{Pattern, Variables};
use crate::facts::VariablesRead;
use crate::facts::{Facts, Problem, Reading, Unavailable};
use crate::gitlab::graphql::Asked;
use crate::gitlab::graphql::batch::Breaker;
use crate::gitlab::{GitLab, GitLabError};
use crate::memory::refs::RefName;
use crate::memory::variables::wanted;
use crate::types::{PipelineId, ProjectId, Text, Tier};

/// Pipelines of one project that one poll reads; the others are read at the next.
const AT_ONCE: usize = 20;
/// Calls that run concurrently.
const CALLS_AT_ONCE: usize = 4;
/// Projects in one run: of most, none or one has a new pipeline.
const BATCH: usize = 100;
/// How long a project that refused its variables is not asked again: no role and no grant comes by
/// itself.
const REFUSAL: Duration = Duration::from_secs(3600);

/// The source.
pub struct VariablesSource {
    gitlab: GitLab,
    breaker: Arc<Breaker>,
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
            breaker: gitlab.breaker(),
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

    /// The pipelines of a project whose variables are to be read.
    fn wanted(&self, target: &Target, now: UnixSeconds) -> Vec<(RefName, PipelineId)> {
        let (known, memory) = (&target.memory.pipelines, &target.memory.variables);
        let subject = target.subject(&super::NO_PATHS, now);
        let regexp = self.regexp.as_ref();
        let wanted = regexp.map(|regexp| wanted(subject, known, memory, regexp));
        let mut wanted = wanted.unwrap_or_default();
        wanted.truncate(AT_ONCE);
        wanted
    }

    /// Asks which pipelines have variables that are shown: all but a few have none. Whether a variable is a
    /// file only REST says.
    async fn without_any(&self, polls: &[Poll<'_>], now: UnixSeconds) -> Looked {
        let mut asked = Vec::new();
        for poll in polls {
            let pipelines = poll.wanted.iter().map(|(_, pipeline)| Asked {
                project: poll.target.id(),
                path: poll.target.project.full_path.clone(),
                key: *pipeline,
            });
            asked.extend(pipelines);
        }
        let filled = self
            .gitlab
            .variables_of_pipelines(&asked, &self.breaker, now);
        let filled = filled.await;
        let is_shown = |key: &Text| self.regexp.as_ref().is_some_and(|one| one.is_match(key));
        let read = asked.iter().zip(filled.items);
        let none = read.filter_map(|(one, keys)| {
            let none = !keys?.iter().any(is_shown);
            none.then_some(one.key)
        });
        Looked {
            none: none.collect(),
            error: filled.error.filter(|error| {
                let error = SourceError::GitLab(Arc::clone(error));
                !error.rest_may_answer()
            }),
        }
    }

    async fn project(
        &self,
        poll: &Poll<'_>,
        looked: &Looked,
        now: UnixSeconds,
    ) -> Result<VariablesRead, SourceError> {
        let target = poll.target;
        let project = target.id();
        let mut all = VariablesRead {
            pipelines: Vec::new(),
            problems: Vec::new(),
        };
        let (none, some): (Vec<_>, Vec<_>) = poll
            .wanted
            .iter()
            .cloned()
            .partition(|(_, id)| looked.none.contains(id));
        let none = none.into_iter();
        all.pipelines
            .extend(none.map(|(name, id)| (name, id, Vec::new())));
        if let Some(error) = looked.error.as_ref().filter(|_| !some.is_empty()) {
            return Err(SourceError::GitLab(Arc::clone(error)));
        }
        let reads = some.into_iter().map(|(name, id)| async move {
            let read = self.gitlab.pipeline_variables(project, id).await;
            (name, id, read)
        });
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

    /// Reads some projects: one result for each.
    async fn read(
        &self,
        targets: &[Target],
        now: UnixSeconds,
    ) -> Vec<(ProjectId, Result<VariablesRead, SourceError>)> {
        let mut read = Vec::with_capacity(targets.len());
        let mut polls = Vec::new();
        for target in targets {
            let wanted = self.wanted(target, now);
            match self
                .refused(target.id(), now)
                .filter(|_| !wanted.is_empty())
            {
                Some(refused) => read.push((target.id(), Err(refused.into()))),
                None => polls.push(Poll { target, wanted }),
            }
        }
        let looked = self.without_any(&polls, now).await;
        let looked = &looked;
        let reads = polls
            .iter()
            .map(|poll| async move { (poll.target.id(), self.project(poll, looked, now).await) });
        read.extend(side_by_side(CALLS_AT_ONCE, reads.collect()).await);
        read
    }
}

/// A project, and the pipelines whose variables are to be read.
struct Poll<'a> {
    target: &'a Target,
    wanted: Vec<(RefName, PipelineId)>,
}

/// What GraphQL says of pipelines.
struct Looked {
    /// Those without a variable that is shown.
    none: BTreeSet<PipelineId>,
    /// Why the others cannot be read now by REST either.
    error: Option<Arc<GitLabError>>,
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
    use super::*;
    use crate::config::ProjectSettings;
    use crate::gitlab::model::{
        Attributes, Features, Known, Permissions, Project, RefKind, Status,
    };
    use crate::gitlab::testing::{Fake, Reply};
    use crate::memory::ProjectMemory;
    use crate::memory::history::Remembered;
    use crate::memory::pipelines::PipelineSnapshot;

    const NOW: UnixSeconds = UnixSeconds(1_767_614_400);

    /// A project with a pipeline whose variables were not read.
    fn target() -> Target {
        let mut memory = ProjectMemory::default();
        let name = RefName {
            kind: RefKind::Branch,
            name: "main".into(),
        };
        let snapshot = PipelineSnapshot {
            updated_at: None,
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
                attributes: Attributes::default(),
            },
            permissions: Permissions::default(),
            permitted_at: UnixSeconds::default(),
            settings: Arc::new(ProjectSettings::default()),
            memory: Arc::new(memory),
            tier: Known::Unread,
            instance: None,
            is_asked_for: false,
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
            let read = source.read(&[target()], now).await;
            let (_, read) = read.into_iter().next().expect("the project");
            let error = read.map(|read| read.pipelines.len());
            let error = error.expect_err("a refusal");
            assert_eq!(error.kind(), "forbidden", "{error}");
            let seen = fake.seen();
            let calls = seen.iter().filter(|one| one.target.contains("/variables"));
            assert_eq!(calls.count(), asked, "after {minutes} minutes");
        }
    }
}
