//! Runners: all of the instance for administrators, else those that serve the tracked projects.
//!
//! No project owns a runner, and its series name none. So that each is exported once, the states of a
//! runner belong to the tracked project of the lowest id that shows it; all projects are read in one
//! run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;

use super::batches::{Batches, PerProject};
use super::{Context, Fetched, Source, SourceError, Target, fetched, side_by_side};
use crate::catalogue::Collector;
use crate::clock::UnixSeconds;
use crate::facts::RunnersRead;
use crate::facts::{Facts, Problem, Reading, Unavailable};
use crate::gitlab::graphql::ProjectRunners;
use crate::gitlab::model::{Page, Runner, RunnerType};
use crate::gitlab::{GitLab, GitLabError};
use crate::types::ProjectId;

/// Calls that run concurrently.
const CALLS_AT_ONCE: usize = 4;

/// The source.
pub struct RunnersSource {
    gitlab: GitLab,
    batches: Batches,
}

/// Runners by project; an error where they could not be read.
type ByProject = BTreeMap<ProjectId, Result<RunnersRead, SourceError>>;

impl RunnersSource {
    /// The source of a GitLab.
    #[must_use]
    pub fn new(gitlab: &GitLab) -> Self {
        Self {
            gitlab: gitlab.clone(),
            batches: Batches::new(&gitlab.breaker(), GitLab::RUNNER_PROJECTS),
        }
    }

    /// All runners of the instance; none for a token that is not an administrator's.
    async fn of_instance(&self, now: UnixSeconds) -> Result<Option<Page<Runner>>, GitLabError> {
        if self.batches.breaker().is_open(now) {
            match self.gitlab.instance_runners().await {
                Err(error) if error.graphql_unavailable() => {
                    self.batches.breaker().failed(&error, now);
                }
                read => return read,
            }
        }
        match self.gitlab.all_runners().await {
            Ok(page) => self.with_managers(page).await.map(Some),
            Err(error) if error.is_forbidden() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// REST returns managers, and with them the last contact, runner by runner.
    async fn with_managers(&self, mut page: Page<Runner>) -> Result<Page<Runner>, GitLabError> {
        let listed = std::mem::take(&mut page.items).into_iter();
        let reads = listed.map(|runner| async move {
            let read = self.gitlab.with_managers(runner.clone()).await;
            (runner, read)
        });
        for (runner, read) in side_by_side(CALLS_AT_ONCE, reads.collect()).await {
            match read {
                Ok(runner) => page.items.push(runner),
                Err(error) if error.is_object_not_found() => {}
                // Another group's runner: only what the list returns is known.
                Err(error) if error.is_forbidden() => page.items.push(runner),
                // Nor is more known of one whose managers cannot be read.
                Err(error) if error.may_be_one_items_fault() => {
                    page.skipped.push(format!("runner {}: {error}", runner.id));
                    page.items.push(runner);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(page)
    }

    /// Runners of one type that serve some projects.
    async fn of_projects(
        &self,
        ids: Vec<ProjectId>,
        runner_type: RunnerType,
        now: UnixSeconds,
        found: &mut ByProject,
    ) {
        let ask = async |ids: Vec<ProjectId>| self.gitlab.project_runners(&ids, runner_type).await;
        let id_of = |read: &ProjectRunners| read.id;
        let mut read: PerProject<ProjectRunners> = self.batches.ask(&ids, now, id_of, ask).await;
        for id in ids {
            match read.remove(&id) {
                Some(Ok(ProjectRunners { runners: None, .. })) => {
                    let why = "project runners need the role Maintainer".to_owned();
                    found.insert(id, Err(Unavailable::Forbidden(why).into()));
                }
                Some(Ok(ProjectRunners {
                    runners: Some(page),
                    ..
                })) if page.next.is_none() => add(found, id, page),
                Some(Err(error)) if !error.rest_may_answer() => {
                    found.insert(id, Err(error));
                }
                // Not asked, no answer, or more than a page: REST lists them all.
                Some(_) | None => self.by_rest(id, runner_type, found).await,
            }
        }
    }

    async fn by_rest(&self, id: ProjectId, runner_type: RunnerType, found: &mut ByProject) {
        let read = match self.gitlab.runners_of(id, Some(runner_type)).await {
            Ok(page) => self.with_managers(page).await,
            Err(error) => Err(error),
        };
        match read {
            Ok(page) => add(found, id, page),
            Err(error) => {
                found.insert(id, Err(error.into()));
            }
        }
    }

    /// Without an administrator's token: runners of the instance are asked of one project, those of
    /// groups of one project for each namespace, a project's own of every project.
    async fn of_each(&self, targets: &[Target], now: UnixSeconds) -> ByProject {
        let mut found = ByProject::new();
        let mut ids: Vec<ProjectId> = targets.iter().map(Target::id).collect();
        ids.sort_unstable();
        let mut namespaces = BTreeSet::new();
        let mut one_each: Vec<ProjectId> = Vec::new();
        let mut sorted: Vec<&Target> = targets.iter().collect();
        sorted.sort_by_key(|target| target.id());
        for target in sorted {
            let path = &*target.project.full_path;
            let namespace = path.rsplit_once('/').map_or("", |(namespace, _)| namespace);
            if namespaces.insert(namespace.to_owned()) {
                one_each.push(target.id());
            }
        }
        let first: Vec<ProjectId> = ids.first().copied().into_iter().collect();
        self.of_projects(ids, RunnerType::Project, now, &mut found)
            .await;
        for (ids, runner_type) in [(one_each, RunnerType::Group), (first, RunnerType::Instance)] {
            self.of_projects(ids, runner_type, now, &mut found).await;
        }
        found
    }
}

/// Adds runners to a project, unless a call for it failed before.
fn add(found: &mut ByProject, id: ProjectId, page: Page<Runner>) {
    if let Ok(read) = found
        .entry(id)
        .or_insert_with(|| Ok(RunnersRead::default()))
    {
        read.runners.extend(page.items);
        let skipped = page.skipped.into_iter();
        read.problems.extend(
            skipped.map(|why| Problem::skipped(&"runners".into(), Collector::Runners, why)),
        );
    }
}

/// Leaves each runner to the first project that shows it.
fn once_each(found: &mut ByProject) {
    let mut seen = BTreeSet::new();
    for read in found.values_mut().flatten() {
        read.runners.retain(|runner| seen.insert(runner.id));
    }
}

impl RunnersSource {
    /// Reads some projects: one result for each.
    async fn read(
        &self,
        targets: &[Target],
        now: UnixSeconds,
    ) -> Vec<(ProjectId, Result<RunnersRead, SourceError>)> {
        let mut found = match self.of_instance(now).await {
            Ok(None) => self.of_each(targets, now).await,
            Ok(Some(page)) => {
                let mut found = ByProject::new();
                if let Some(id) = targets.iter().map(Target::id).min() {
                    add(&mut found, id, page);
                }
                found
            }
            Err(error) => {
                let error = Arc::new(error);
                let failed = targets.iter();
                failed
                    .map(|target| (target.id(), Err(SourceError::GitLab(Arc::clone(&error)))))
                    .collect()
            }
        };
        once_each(&mut found);
        let mut ids: Vec<ProjectId> = targets.iter().map(Target::id).collect();
        ids.sort_unstable();
        ids.into_iter()
            .map(|id| {
                let read = found.remove(&id);
                (id, read.unwrap_or_else(|| Ok(RunnersRead::default())))
            })
            .collect()
    }
}

#[async_trait]
impl Source for RunnersSource {
    fn reading(&self) -> Reading {
        Reading::Runners
    }

    fn collectors(&self) -> &[Collector] {
        &[Collector::Runners]
    }

    fn batch(&self) -> usize {
        usize::MAX
    }

    async fn fetch(&self, targets: &[Target], context: &Context) -> Fetched {
        let read = self.read(targets, context.now).await;
        fetched(read, Facts::Runners)
    }
}
