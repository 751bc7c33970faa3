//! The jobs of pipelines that go on, as they were last read, so that only what can have changed is asked
//! for: which of them are still active. In memory alone; without it, they are read whole once more.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use super::details::{RawDetails, Wanted};
use super::{ReadOptions, lock};
use crate::clock::UnixSeconds;
use crate::gitlab::graphql::{JobsPart, Parts};
use crate::gitlab::model::{Job, Known, Pipeline, Status};
use crate::types::{JobId, PipelineId, ProjectId};

/// The pipelines of one project.
type OfProject = BTreeMap<PipelineId, KnownPipeline>;

/// Jobs of pipelines that go on.
#[derive(Debug, Default)]
pub(super) struct KnownJobs(Mutex<BTreeMap<ProjectId, OfProject>>);

#[derive(Clone, Debug)]
struct KnownPipeline {
    /// Its status, and when that last changed, as its jobs were read whole.
    read_at: (UnixSeconds, Status),
    jobs: Vec<Job>,
    has_bridges: bool,
    /// When it was read whole, by our clock.
    whole_at: UnixSeconds,
}

/// How often a pipeline that goes on is read whole: a retry that began and ended between two polls is in no
/// list of active jobs.
const WHOLE: Duration = Duration::from_secs(300);

impl KnownJobs {
    /// What is to be asked of a pipeline at `now`.
    pub(super) fn parts(
        &self,
        project: ProjectId,
        pipeline: &Pipeline,
        options: ReadOptions,
        now: UnixSeconds,
    ) -> Parts {
        let follows = options.foreign || options.children;
        let known = lock(&self.0);
        let known = known
            .get(&project)
            .and_then(|known| known.get(&pipeline.id));
        // An end is read whole: the labels and sizes of its last jobs come with it.
        let goes_on = |known: &KnownPipeline| {
            known.was_whole_lately(now) && (pipeline.status.is_active() || known.is_of(pipeline))
        };
        let jobs = match known.is_some_and(goes_on) {
            true => JobsPart::Active,
            false => JobsPart::All,
        };
        Parts {
            jobs,
            bridges: follows && known.is_none_or(|known| known.has_bridges),
            origin: false,
        }
    }

    /// The jobs that were read before, with what the list of the active ones says now; none where that
    /// does not say everything: a job ended, or is new.
    pub(super) fn merge(&self, wanted: &Wanted, active: &RawDetails) -> Option<RawDetails> {
        let known = lock(&self.0);
        let known = known.get(&wanted.project)?.get(&wanted.pipeline.id)?;
        let mut listed: BTreeMap<JobId, &Job> =
            active.jobs.iter().map(|job| (job.id, job)).collect();
        let mut jobs = Vec::with_capacity(known.jobs.len());
        for job in &known.jobs {
            jobs.push(match listed.remove(&job.id) {
                Some(now) => Job {
                    stage: job.stage.clone(),
                    artifact_bytes: job.artifact_bytes,
                    ..now.clone()
                },
                None if job.status.is_listed_active() => return None,
                None => job.clone(),
            });
        }
        let is_whole = listed.is_empty();
        is_whole.then(|| RawDetails {
            jobs,
            coverage: Known::Unread,
            ..active.clone()
        })
    }

    /// Keeps the labels of jobs that were settled before: they do not change, and the way that shows them is
    /// not asked for them again.
    pub(super) fn settle(&self, wanted: &Wanted, jobs: &mut [Job]) {
        let known = lock(&self.0);
        let Some(known) = known
            .get(&wanted.project)
            .and_then(|known| known.get(&wanted.pipeline.id))
        else {
            return;
        };
        let known: BTreeMap<JobId, &Job> = known.jobs.iter().map(|job| (job.id, job)).collect();
        for job in jobs {
            let Some(known) = known.get(&job.id) else {
                continue;
            };
            let same = (known.finished_at, &known.status) == (job.finished_at, &job.status);
            if !same || !job.status.is_terminal() {
                continue;
            }
            if job.failure_reason.is_open() && !known.failure_reason.is_open() {
                job.failure_reason = known.failure_reason.clone();
                job.duration = known.duration;
            }
            if job.runner_type.is_open() && !known.runner_type.is_open() {
                job.runner_type = known.runner_type;
                job.duration = known.duration;
            }
        }
    }

    /// Takes in what was read of a pipeline.
    pub(super) fn learn(&self, wanted: &Wanted, jobs: &[Job], has_bridges: bool, now: UnixSeconds) {
        let pipeline = &wanted.pipeline;
        let mut known = lock(&self.0);
        let of_project = known.entry(wanted.project).or_default();
        let before = of_project.get(&pipeline.id);
        let lately = before.filter(|known| known.was_whole_lately(now));
        let known = KnownPipeline {
            whole_at: lately.map_or(now, |known| known.whole_at),
            read_at: (pipeline.updated_at, pipeline.status.clone()),
            jobs: jobs.to_vec(),
            has_bridges: has_bridges || before.is_some_and(|known| known.has_bridges),
        };
        of_project.insert(pipeline.id, known);
    }

    /// Forgets the pipelines of a project that nothing more is wanted of.
    pub(super) fn retain(&self, project: ProjectId, is_wanted: impl Fn(PipelineId) -> bool) {
        let mut known = lock(&self.0);
        let Some(of_project) = known.get_mut(&project) else {
            return;
        };
        of_project.retain(|pipeline, _| is_wanted(*pipeline));
        if of_project.is_empty() {
            known.remove(&project);
        }
    }

    /// Forgets the projects that are not tracked any more.
    pub(super) fn retain_projects(&self, is_tracked: impl Fn(ProjectId) -> bool) {
        lock(&self.0).retain(|project, _| is_tracked(*project));
    }
}

impl KnownPipeline {
    /// Whether the pipeline has not moved since.
    fn is_of(&self, pipeline: &Pipeline) -> bool {
        let (updated_at, status) = &self.read_at;
        (*updated_at, status) == (pipeline.updated_at, &pipeline.status)
    }

    /// Whether it was read whole within [`WHOLE`]. After now: the clock was set back.
    fn was_whole_lately(&self, now: UnixSeconds) -> bool {
        self.whole_at <= now && now.since(self.whole_at) < WHOLE
    }
}
