//! Pipeline schedules: batched by GraphQL, else by REST.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::gate::Gate;
use super::{Problem, Reading, Source, SourceError, Target, Unavailable, side_by_side};
use crate::clock::UnixSeconds;
use crate::collector::{Measures, Subject, schedules};
use crate::config::Collectors;
use crate::gitlab::model::{Page, ProjectId, Schedule};
use crate::gitlab::{GitLab, GitLabError};
use crate::project::ProjectMemory;
use crate::telemetry::catalogue::Collector;

/// Calls that run side by side.
const CALLS_AT_ONCE: usize = 4;
/// Pages of one project's schedules that are followed.
const MAX_PAGES: usize = 50;

/// What was read of a project.
#[derive(Debug)]
pub struct SchedulesRead {
    schedules: Vec<Schedule>,
    problems: Vec<Problem>,
}

/// The source.
pub struct SchedulesSource {
    gitlab: GitLab,
    interval: Duration,
    gate: Gate,
}

impl SchedulesSource {
    /// The source, where it is enabled.
    #[must_use]
    pub fn new(settings: &Collectors, gitlab: &GitLab) -> Option<Self> {
        settings.schedules.enabled.then(|| Self {
            gitlab: gitlab.clone(),
            interval: settings.schedules.interval,
            gate: Gate::new(GitLab::SCHEDULE_PROJECTS),
        })
    }

    async fn by_graphql(
        &self,
        targets: &[Target],
        now: UnixSeconds,
    ) -> BTreeMap<ProjectId, Result<Page<Schedule>, SourceError>> {
        let mut found = BTreeMap::new();
        let mut ids: Vec<ProjectId> = targets.iter().map(Target::id).collect();
        while let Some(size) = self.gate.size(&self.gitlab, now)
            && !ids.is_empty()
        {
            let chunk = ids.split_off(ids.len().saturating_sub(size));
            match self.gitlab.project_schedules(&chunk).await {
                Ok(batch) => {
                    self.gate.note(chunk.len(), None, now);
                    for failed in batch.failed {
                        found.insert(failed.id, Err(SourceError::Partial(failed.why)));
                    }
                    for read in batch.items {
                        let whole = self.whole(read.id, read.schedules).await;
                        let whole = whole.map_err(|error| Arc::new(error).into());
                        found.insert(read.id, whole);
                    }
                    for id in chunk {
                        found.entry(id).or_insert(Err(SourceError::Gone));
                    }
                }
                Err(error) => {
                    self.gate.note(chunk.len(), Some(&error), now);
                    let error = Arc::new(error);
                    found.extend(
                        chunk
                            .into_iter()
                            .map(|id| (id, Err(SourceError::GitLab(Arc::clone(&error))))),
                    );
                }
            }
        }
        found
    }

    /// The other pages of a project with many schedules.
    async fn whole(
        &self,
        id: ProjectId,
        mut page: Page<Schedule>,
    ) -> Result<Page<Schedule>, GitLabError> {
        for _ in 1..MAX_PAGES {
            let Some(after) = page.next.take() else { break };
            let Some(more) = self.gitlab.more_schedules(id, &after).await? else {
                break;
            };
            page.items.extend(more.items);
            page.skipped.extend(more.skipped);
            page.next = more.next.filter(|next| *next != after);
        }
        Ok(page)
    }

    async fn by_rest(&self, id: ProjectId) -> Result<Page<Schedule>, SourceError> {
        let mut page = self.gitlab.schedules(id).await.map_err(refused)?;
        let reads = page
            .items
            .iter()
            .map(|one| self.gitlab.schedule(id, one.id));
        let reads = side_by_side(CALLS_AT_ONCE, reads.collect()).await;
        page.items = Vec::with_capacity(reads.len());
        for read in reads {
            match read {
                Ok(schedule) => page.items.push(schedule),
                Err(error) if error.means_gone() => {}
                Err(error) => return Err(refused(error)),
            }
        }
        Ok(page)
    }

    async fn project(
        &self,
        target: &Target,
        read: Option<Result<Page<Schedule>, SourceError>>,
    ) -> Result<SchedulesRead, SourceError> {
        let page = match read {
            Some(Ok(page)) => page,
            Some(Err(error)) if !error.rest_may_answer() => return Err(error),
            Some(Err(_)) | None => self.by_rest(target.id()).await?,
        };
        let (path, collector) = (&target.project.full_path, Collector::Schedules.as_str());
        let skipped = page.skipped.into_iter();
        Ok(SchedulesRead {
            schedules: page.items,
            problems: skipped
                .map(|why| Problem::skipped(path, collector, why))
                .collect(),
        })
    }
}

fn refused(error: GitLabError) -> SourceError {
    if error.is_forbidden() {
        return Unavailable::Forbidden(error.to_string()).into();
    }
    Arc::new(error).into()
}

impl Source for SchedulesSource {
    type Facts = SchedulesRead;

    fn reading(&self) -> Reading {
        Reading::Schedules
    }

    fn collectors(&self) -> &[Collector] {
        &[Collector::Schedules]
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn batch(&self) -> usize {
        GitLab::SCHEDULE_PROJECTS
    }

    async fn fetch(
        &self,
        targets: &[Target],
        now: UnixSeconds,
    ) -> Vec<(ProjectId, Result<SchedulesRead, SourceError>)> {
        let mut found = self.by_graphql(targets, now).await;
        let mut reads = Vec::new();
        for target in targets {
            let read = found.remove(&target.id());
            reads.push(async move { (target.id(), self.project(target, read).await) });
        }
        side_by_side(CALLS_AT_ONCE, reads).await
    }

    fn problems<'a>(&self, facts: &'a SchedulesRead) -> &'a [Problem] {
        &facts.problems
    }

    fn measure(
        &self,
        subject: Subject<'_>,
        facts: &SchedulesRead,
        _: &mut ProjectMemory,
    ) -> Vec<Measures> {
        let measured = schedules::measure(subject, &facts.schedules);
        vec![Measures::new(Collector::Schedules, measured)]
    }
}
