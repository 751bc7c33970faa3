//! The jobs of pipelines that go on, as they were last read, so that only what can have changed is asked
//! for: which of them are still active, the stages of new ones, artifacts at the end. In memory alone; without
//! it, they are read whole once more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use super::details::{RawDetails, Wanted};
use super::{Details, ReadOptions, lock};
use crate::clock::UnixSeconds;
use crate::gitlab::GitLab;
use crate::gitlab::graphql::{BridgesPart, JobsPart, Parts};
use crate::gitlab::model::{Job, Known, Pipeline, Status};
use crate::source::Target;
use crate::types::{JobId, PipelineId, ProjectId};

/// The pipelines of one project.
type OfProject = BTreeMap<PipelineId, KnownPipeline>;

/// Jobs of pipelines that go on.
#[derive(Debug, Default)]
pub(super) struct KnownJobs(
    Mutex<BTreeMap<ProjectId, OfProject>>,
    /// [`Target::tracking`] of each project when it was last read.
    Mutex<BTreeMap<ProjectId, u64>>,
);

#[derive(Clone, Debug)]
struct KnownPipeline {
    /// Its status, and when that last changed, as its jobs were read.
    read_at: (UnixSeconds, Status),
    jobs: Vec<Job>,
    trigger_jobs: Vec<Job>,
    /// Jobs that ended and whose artifacts were not read since.
    without_artifacts: BTreeSet<JobId>,
    bridges: Bridges,
    /// When it was read whole, by our clock.
    whole_at: UnixSeconds,
    /// When a job of it was seen to have ended, or to be new.
    changed_at: UnixSeconds,
}

/// The trigger jobs of a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bridges {
    /// There are none.
    None,
    /// All have started pipelines, which other lists have.
    Started,
    /// One may start a pipeline yet; other lists have those that were started.
    Waiting,
    /// What one started is in no other list, or could not be followed.
    Followed,
}

/// How often all jobs of a pipeline that goes on are read: a retry that began and ended between two polls is in
/// no list of active jobs.
const WHOLE: Duration = Duration::from_secs(300);

/// How long after the end of a job trigger jobs are asked at each poll: as a rule they follow it. What they
/// start later is found when all is read again.
const FOLLOWS: Duration = Duration::from_secs(60);

/// Jobs of a pipeline up to which all are listed at each poll: it costs GitLab less than a second query when
/// one ended.
const FEW: usize = 12;

/// Active jobs of a pipeline up to which they are read with the change feed: others may come meanwhile.
const FEW_ACTIVE: usize = GitLab::ACTIVE_JOBS as usize / 2;

/// What the jobs that were read say together with those that were known.
pub(super) enum Completed {
    /// Everything.
    Whole(RawDetails),
    /// More is to be asked for.
    Asks(Parts),
}

impl KnownJobs {
    /// What is to be asked of a pipeline at `now`. Of one that `rests`, REST has the labels of all jobs for
    /// less. Trigger jobs are asked `each_time` where no list has the child pipelines.
    pub(super) fn parts(
        &self,
        project: ProjectId,
        pipeline: &Pipeline,
        options: ReadOptions,
        (rests, each_time): (bool, bool),
        now: UnixSeconds,
    ) -> Parts {
        // All of its trigger jobs, where something is to be known of them.
        let bridges = match () {
            () if options.foreign || options.children => BridgesPart::Started,
            () if options.jobs => BridgesPart::Stages,
            () => BridgesPart::None,
        };
        let has_ended = !pipeline.status.is_active();
        let known = lock(&self.0);
        let known = known
            .get(&project)
            .and_then(|known| known.get(&pipeline.id));
        let Some(known) = known else {
            return Parts {
                jobs: JobsPart::All,
                stages: !rests,
                artifacts: has_ended && !rests,
                coverage: has_ended,
                bridges,
                origin: false,
            };
        };
        let is_whole = known.was_whole_lately(now) || known.is_whole_each_time();
        if is_whole && (!has_ended || known.is_of(pipeline)) {
            return Parts {
                jobs: match known.jobs.len() <= FEW {
                    true => JobsPart::All,
                    false => JobsPart::Active,
                },
                bridges: match known.bridges {
                    Bridges::Waiting if each_time || known.has_changed_lately(now) => bridges,
                    Bridges::Followed => bridges,
                    // One that waits for what it started ends without a sign.
                    _ if options.jobs && known.has_running_bridge() => BridgesPart::Status,
                    _ => BridgesPart::None,
                },
                ..Parts::NONE
            };
        }
        Parts {
            jobs: JobsPart::All,
            artifacts: has_ended || !known.without_artifacts.is_empty(),
            coverage: has_ended,
            bridges: match known.bridges {
                Bridges::None => BridgesPart::None,
                _ => bridges,
            },
            ..Parts::NONE
        }
    }

    /// Which jobs are wanted of a pipeline that goes on, where nothing else of it is: none where something
    /// is, or where they may not fit with others into a query.
    pub(super) fn jobs_alone(
        &self,
        project: ProjectId,
        pipeline: &Pipeline,
        options: ReadOptions,
        now: UnixSeconds,
    ) -> JobsPart {
        let parts = self.parts(project, pipeline, options, (false, false), now);
        let rest = Parts {
            jobs: JobsPart::None,
            ..parts
        };
        let active = self.active_jobs(project, pipeline.id);
        match rest == Parts::NONE && active <= FEW_ACTIVE {
            true => parts.jobs,
            false => JobsPart::None,
        }
    }

    /// How many jobs of a pipeline had not ended when it was last read.
    fn active_jobs(&self, project: ProjectId, pipeline: PipelineId) -> usize {
        let known = lock(&self.0);
        let known = known.get(&project).and_then(|known| known.get(&pipeline));
        let jobs = known.into_iter().flat_map(|known| &known.jobs);
        jobs.filter(|job| job.status.is_listed_active()).count()
    }

    /// What was read of a pipeline, with what is known of it: the jobs that are not listed, stages, artifacts.
    pub(super) fn complete(&self, wanted: &Wanted, read: &RawDetails) -> Completed {
        let known = lock(&self.0);
        let of_pipeline = known
            .get(&wanted.project)
            .and_then(|known| known.get(&wanted.pipeline.id));
        let jobs = of_pipeline.map(|known| &*known.jobs).unwrap_or_default();
        let known: BTreeMap<JobId, &Job> = jobs.iter().map(|job| (job.id, job)).collect();
        let again = Parts {
            jobs: JobsPart::All,
            stages: read.jobs.iter().any(|job| !known.contains_key(&job.id)),
            ..wanted.parts
        };
        let mut whole = read.clone();
        if read.parts.bridges == BridgesPart::Status {
            let known = of_pipeline.map(|known| &*known.trigger_jobs);
            for bridge in whole.bridges.iter_mut().flatten() {
                let mut known = known.unwrap_or_default().iter();
                match known.find(|known| known.id == bridge.id) {
                    Some(known) => bridge.stage = known.stage.clone(),
                    // It was retried: what it starts is to be found, too.
                    None => {
                        let bridges = BridgesPart::Started;
                        return Completed::Asks(Parts { bridges, ..again });
                    }
                }
            }
        }
        if !read.parts.coverage {
            whole.coverage = Known::Unread;
        }
        for job in &mut whole.jobs {
            match known.get(&job.id) {
                Some(known) => {
                    job.stage = known.stage.clone();
                    job.tags = job.tags.take().or(known.tags.clone());
                }
                None if !read.parts.stages => return Completed::Asks(again),
                None => {}
            }
            if !read.parts.artifacts {
                job.artifact_bytes = known.get(&job.id).and_then(|known| known.artifact_bytes);
            }
        }
        if read.parts.jobs == JobsPart::Active {
            let listed: BTreeSet<JobId> = read.jobs.iter().map(|job| job.id).collect();
            let others = jobs.iter().filter(|job| !listed.contains(&job.id));
            for job in others {
                if job.status.is_listed_active() {
                    return Completed::Asks(again);
                }
                whole.jobs.push(job.clone());
            }
        }
        Completed::Whole(whole)
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
        let known = known.jobs.iter().chain(&known.trigger_jobs);
        let known: BTreeMap<JobId, &Job> = known.map(|job| (job.id, job)).collect();
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
            if job.runner_description.is_none() {
                job.runner_description.clone_from(&known.runner_description);
            }
            if job.runner_type.is_open() && !known.runner_type.is_open() {
                job.runner_type = known.runner_type;
                job.duration = known.duration;
            }
        }
    }

    /// Takes in what was read of a pipeline.
    pub(super) fn learn(
        &self,
        wanted: &Wanted,
        details: &Details,
        (parts, bridges): (Parts, Bridges),
        labelled: &BTreeMap<JobId, Job>,
        now: UnixSeconds,
    ) {
        let (pipeline, jobs) = (&wanted.pipeline, &*details.jobs);
        let mut known = lock(&self.0);
        let of_project = known.entry(wanted.project).or_default();
        let before = of_project.get(&pipeline.id);
        let mut without_artifacts = match (parts.artifacts, before) {
            (true, _) => BTreeSet::new(),
            (false, None) => ended(jobs).collect(),
            (false, Some(before)) => {
                let had: BTreeSet<JobId> = ended(&before.jobs).collect();
                let lacks = |id: &JobId| !had.contains(id) || before.without_artifacts.contains(id);
                ended(jobs).filter(lacks).collect::<BTreeSet<JobId>>()
            }
        };
        // The list that has their labels has these, too.
        without_artifacts.retain(|id| !labelled.contains_key(id));
        let lately = before.filter(|known| known.was_whole_lately(now));
        let same = before.filter(|known| {
            let ids = |jobs: &[Job]| jobs.iter().map(|job| job.id).collect::<BTreeSet<_>>();
            let bridges = details.bridges.as_ref();
            let statuses = |jobs: &[Job]| -> Vec<(JobId, Status)> {
                let jobs = jobs.iter();
                jobs.map(|job| (job.id, job.status.clone())).collect()
            };
            ended(&known.jobs).eq(ended(jobs))
                && ids(&known.jobs) == ids(jobs)
                && bridges.is_none_or(|read| statuses(read) == statuses(&known.trigger_jobs))
        });
        let known = KnownPipeline {
            whole_at: lately.map_or(now, |known| known.whole_at),
            changed_at: same.map_or(now, |known| known.changed_at),
            read_at: (pipeline.updated_at, pipeline.status.clone()),
            jobs: jobs.to_vec(),
            trigger_jobs: match (&details.bridges, before) {
                (Some(read), _) => read.clone(),
                (None, Some(before)) => before.trigger_jobs.clone(),
                (None, None) => Vec::new(),
            },
            without_artifacts,
            bridges: match before {
                Some(before) if parts.bridges <= BridgesPart::Status => before.bridges,
                _ => bridges,
            },
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
        lock(&self.1).retain(|project, _| is_tracked(*project));
    }

    /// Forgets what was known of projects that another replica has read since.
    pub(super) fn begin<'a>(&self, targets: impl Iterator<Item = &'a Target>) {
        let (mut known, mut trackings) = (lock(&self.0), lock(&self.1));
        for target in targets {
            let before = trackings.insert(target.id(), target.tracking);
            if before.is_some_and(|before| before != target.tracking) {
                known.remove(&target.id());
            }
        }
    }
}

impl KnownPipeline {
    /// Whether the pipeline has not moved since.
    fn is_of(&self, pipeline: &Pipeline) -> bool {
        let (updated_at, status) = &self.read_at;
        (*updated_at, status) == (pipeline.updated_at, &pipeline.status)
    }

    /// Whether a trigger job has begun and not ended.
    fn has_running_bridge(&self) -> bool {
        let mut bridges = self.trigger_jobs.iter();
        bridges.any(|job| job.status.is_active() && job.status != Status::Created)
    }

    /// Whether a job ended, or a trigger job moved, within [`FOLLOWS`].
    fn has_changed_lately(&self, now: UnixSeconds) -> bool {
        now.since(self.changed_at) <= FOLLOWS
    }

    /// Whether each poll reads all there is to read of it while it goes on.
    fn is_whole_each_time(&self) -> bool {
        let has_few = self.jobs.len() <= FEW;
        has_few && self.without_artifacts.is_empty() && self.bridges == Bridges::None
    }

    /// Whether it was read whole within [`WHOLE`], and since the last time at which all are: together they
    /// share a query. After now: the clock was set back.
    fn was_whole_lately(&self, now: UnixSeconds) -> bool {
        let turn = |at: UnixSeconds| at.0.div_euclid(WHOLE.as_secs().cast_signed());
        self.whole_at <= now && turn(self.whole_at) == turn(now)
    }
}

/// The jobs that ended, in the order of their ids.
fn ended(jobs: &[Job]) -> impl Iterator<Item = JobId> {
    let ended = jobs.iter().filter(|job| job.status.is_terminal());
    let ended: BTreeSet<JobId> = ended.map(|job| job.id).collect();
    ended.into_iter()
}
