//! How many rows a list reads for its page, where that is more than come back: what GitLab's indexes do
//! not serve. A list of pipelines that is sorted by id and filtered by `updated_at` reads every pipeline
//! that the project ever had, for no index has both columns.

use super::prices::JOBS_OF_PAST_PIPELINE;
use crate::graphql::pipeline::PipelineFilter;
use crate::world::{JobId, ProjectId, World};

/// Rows that a list of pipelines reads, of which so many come back.
pub(crate) fn pipelines(
    world: &World,
    project: ProjectId,
    filter: &PipelineFilter,
    returned: usize,
) -> u64 {
    let returned = returned as u64;
    let by_time = filter.updated_after.or(filter.updated_before).is_some();
    let count = |same: &dyn Fn(&crate::world::Pipeline) -> bool| {
        let all = world.pipelines_of(project);
        all.filter(|pipeline| same(pipeline)).count() as u64
    };
    if filter.ids.is_some() || filter.status.is_some() || filter.scope.is_some() {
        // Primary key; index (project, status, updated_at).
        return returned;
    }
    if let Some(source) = filter.source.as_deref() {
        // Index (project, source): all of them are sorted.
        let past = world.project(project).map(|project| project.past);
        let past = past.filter(|_| source == "parent_pipeline");
        return past.map_or(0, |past| past.child_pipelines)
            + count(&|found| *found.source == *source);
    }
    if !by_time {
        return returned;
    }
    match (filter.ref_name.as_deref(), filter.sha.as_deref()) {
        (Some(name), _) => count(&|found| *found.ref_name == *name),
        (None, Some(sha)) => count(&|found| *found.sha == *sha),
        (None, None) => world.pipelines_ever(project),
    }
}

/// What a page of a project's jobs, newest id first, is cut from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JobsPage<'a> {
    /// Statuses that it is narrowed to, in lower case; none: all.
    pub statuses: &'a [&'a str],
    /// Only ids below this one.
    pub before: Option<JobId>,
    /// The last id of the page, where there are more behind it.
    pub last: Option<JobId>,
    /// Jobs that come back.
    pub returned: usize,
}

/// Statuses for which there is an index of a project's jobs.
const INDEXED: [&str; 3] = ["created", "pending", "running"];

/// Rows that a page of a project's jobs reads: jobs are passed over by id until the page is full.
pub(crate) fn jobs(world: &World, project: ProjectId, page: &JobsPage<'_>) -> u64 {
    let indexed = page.statuses.iter().all(|status| INDEXED.contains(status));
    if indexed {
        return page.returned as u64;
    }
    let ids = world
        .pipelines_of(project)
        .flat_map(|pipeline| pipeline.jobs.iter());
    let passed = ids.filter(|id| {
        page.before.is_none_or(|before| **id < before) && page.last.is_none_or(|last| **id >= last)
    });
    let passed = passed.count() as u64;
    if page.last.is_some() {
        return passed;
    }
    let past = world
        .project(project)
        .map_or(0, |found| found.past.pipelines);
    passed + past * JOBS_OF_PAST_PIPELINE
}
