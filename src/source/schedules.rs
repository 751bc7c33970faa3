//! Pipeline schedules: batched by GraphQL, else by REST.

use async_trait::async_trait;

use super::batches::Batches;
use super::{Context, Fetched, Source, SourceError, Target, fetched, side_by_side};
use crate::catalogue::Collector;
use crate::clock::UnixSeconds;
use crate::facts::SchedulesRead;
use crate::facts::{Facts, Problem, Reading};
use crate::gitlab::GitLab;
use crate::gitlab::graphql::ProjectSchedules;
use crate::gitlab::model::{Page, Schedule};
use crate::types::ProjectId;

/// Calls that run concurrently.
const CALLS_AT_ONCE: usize = 4;

/// The source.
pub struct SchedulesSource {
    gitlab: GitLab,
    batches: Batches,
}

impl SchedulesSource {
    /// The source of a GitLab.
    #[must_use]
    pub fn new(gitlab: &GitLab) -> Self {
        Self {
            gitlab: gitlab.clone(),
            batches: Batches::new(&gitlab.breaker(), GitLab::SCHEDULE_PROJECTS),
        }
    }

    /// The list has no last pipelines: each schedule is read by itself, and where it cannot be, what the
    /// list has of it stays.
    async fn by_rest(
        &self,
        target: &Target,
        problems: &mut Vec<Problem>,
    ) -> Result<Page<Schedule>, SourceError> {
        let id = target.id();
        let mut page = self.gitlab.schedules(id).await?;
        let listed = std::mem::take(&mut page.items);
        let reads = listed.iter().map(|one| self.gitlab.schedule(id, one.id));
        let reads = side_by_side(CALLS_AT_ONCE, reads.collect()).await;
        for (listed, read) in listed.into_iter().zip(reads) {
            match read {
                Ok(schedule) => page.items.push(schedule),
                Err(error) if error.is_object_not_found() => {}
                Err(error) if error.may_be_one_items_fault() || error.is_forbidden() => {
                    let path = &target.project.full_path;
                    problems.push(Problem::call(path, Collector::Schedules, &error));
                    page.items.push(listed);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(page)
    }

    async fn project(
        &self,
        target: &Target,
        read: Option<Result<ProjectSchedules, SourceError>>,
    ) -> Result<SchedulesRead, SourceError> {
        let mut problems = Vec::new();
        let page = match read {
            Some(Ok(read)) => {
                let rest = self.gitlab.rest_of_schedules(read.id, read.schedules);
                rest.await?
            }
            Some(Err(error)) if !error.rest_may_answer() => return Err(error),
            Some(Err(_)) | None => self.by_rest(target, &mut problems).await?,
        };
        let (path, collector) = (&target.project.full_path, Collector::Schedules);
        let skipped = page.skipped.into_iter();
        problems.extend(skipped.map(|why| Problem::skipped(path, collector, why)));
        Ok(SchedulesRead {
            schedules: page.items,
            problems,
        })
    }
}

impl SchedulesSource {
    /// Reads some projects: one result for each.
    async fn read(
        &self,
        targets: &[Target],
        now: UnixSeconds,
    ) -> Vec<(ProjectId, Result<SchedulesRead, SourceError>)> {
        let ids: Vec<ProjectId> = targets.iter().map(Target::id).collect();
        let ask = async |ids: Vec<ProjectId>| self.gitlab.project_schedules(&ids).await;
        let id_of = |read: &ProjectSchedules| read.id;
        let mut found = self.batches.ask(&ids, now, id_of, ask).await;
        let mut reads = Vec::new();
        for target in targets {
            let read = found.remove(&target.id());
            reads.push(async move { (target.id(), self.project(target, read).await) });
        }
        side_by_side(CALLS_AT_ONCE, reads).await
    }
}

#[async_trait]
impl Source for SchedulesSource {
    fn reading(&self) -> Reading {
        Reading::Schedules
    }

    fn collectors(&self) -> &[Collector] {
        &[Collector::Schedules]
    }

    fn batch(&self) -> usize {
        GitLab::SCHEDULE_PROJECTS
    }

    async fn fetch(&self, targets: &[Target], context: &Context) -> Fetched {
        let read = self.read(targets, context.now).await;
        fetched(read, Facts::Schedules)
    }
}
