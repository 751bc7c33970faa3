//! What the change feed read of a project.

use crate::clock::UnixSeconds;
use crate::facts::{Problem, Unavailable};
use crate::gitlab::model::{DownstreamTarget, Job, Known, Pipeline, Project, Upstream};
use crate::memory::Subject;
use crate::memory::feed::FeedProgress;
use crate::types::{PipelineId, Text};

/// GitLab's source of child pipelines.
pub const PARENT_PIPELINE: &str = "parent_pipeline";

/// GitLab's source of pipelines that another project's pipeline started.
pub const MULTI_PROJECT_PIPELINE: &str = "pipeline";

/// What the change feed read of one project.
#[derive(Clone, Debug, Default)]
pub struct Feed {
    /// Pipelines that are new, moved, or not settled yet.
    pub pipelines: Vec<PipelineFacts>,
    /// Pipelines whose claims must be kept: active ones, those that wait for labels or upstream,
    /// those with downstream pipelines that have not ended, and those with any event (their own,
    /// their jobs', their downstream pipelines') that is not before the floor they would get if
    /// they were forgotten now and came again.
    pub followed: Vec<PipelineId>,
    /// Pipelines that were deleted in GitLab.
    pub deleted: Vec<PipelineId>,
}

/// A pipeline and what belongs to it.
#[derive(Clone, Debug)]
pub struct PipelineFacts {
    /// The pipeline.
    pub pipeline: Pipeline,
    /// Events before this time are history or have been counted; none where everything is history.
    /// History ends when the project is first listed: what ends before the first poll has read it
    /// counts.
    pub floor: Option<UnixSeconds>,
    /// Its jobs, retried ones included; `None` when they were not read this time.
    pub jobs: Option<Vec<Job>>,
    /// Its trigger jobs, as far as they were read; `None` when they were not read this time.
    pub bridges: Option<Vec<Job>>,
    /// Downstream pipelines in projects that are not tracked themselves, to any depth.
    pub foreign: Vec<ForeignPipeline>,
}

impl PipelineFacts {
    /// Whether an unclaimed event at `time` is to be counted.
    #[must_use]
    pub fn counts(&self, time: UnixSeconds) -> bool {
        self.floor.is_some_and(|floor| time >= floor)
    }

    /// What started it and the downstream pipelines in projects that are not tracked, each with the
    /// path of the project that the started pipeline runs in.
    pub fn upstreams<'a>(
        &'a self,
        subject: Subject<'a>,
    ) -> impl Iterator<Item = (&'a Upstream, Text)> {
        let own = match &self.pipeline.upstream {
            Known::Value(upstream) => Some((upstream, subject.project.clone())),
            _ => None,
        };
        let foreign = self.foreign.iter().map(move |started| {
            let target = &started.target;
            let project = subject.path_of(target.project_id, &target.project);
            (&started.upstream, project)
        });
        own.into_iter().chain(foreign)
    }
}

/// A downstream pipeline in a project that is not tracked, seen from its upstream pipeline.
#[derive(Clone, Debug)]
pub struct ForeignPipeline {
    /// What started it.
    pub upstream: Upstream,
    /// The downstream pipeline.
    pub target: DownstreamTarget,
}

/// What one poll brought of a project.
#[derive(Debug)]
pub struct FeedRead {
    /// The project as it is now: path, activity, role.
    pub project: Project,
    /// Facts for the collectors.
    pub feed: Feed,
    /// What to remember; none while the token's role shows nothing.
    pub progress: Option<FeedProgress>,
    /// Whether nothing moved.
    pub quiet: bool,
    /// At a first poll, whether it read all pipelines that the project ever had.
    pub is_whole: Option<bool>,
    /// Why its pipelines cannot be read; nothing was then.
    pub unavailable: Option<Unavailable>,
    /// What went wrong and will be tried again, or was left out.
    pub problems: Vec<Problem>,
}

impl FeedRead {
    /// What is read of a project whose pipelines cannot be read: itself. What is remembered stays.
    #[must_use]
    pub fn unavailable(project: Project, progress: Option<FeedProgress>, why: Unavailable) -> Self {
        let followed = progress.iter().flat_map(|feed| feed.followed.keys());
        Self {
            project,
            feed: Feed {
                followed: followed.copied().collect(),
                ..Feed::default()
            },
            progress,
            quiet: true,
            is_whole: None,
            unavailable: Some(why),
            problems: Vec::new(),
        }
    }

    /// What the collectors measure and what is to be remembered, where `now` is remembered: the backfill
    /// may have gone on since the run began.
    #[must_use]
    pub fn take_in(&self, now: Option<&FeedProgress>) -> (Feed, Option<FeedProgress>) {
        let (mut feed, mut progress) = (self.feed.clone(), self.progress.clone());
        if let (Some(progress), Some(now)) = (&mut progress, now) {
            progress.keep_backfill(now);
            feed.followed = progress.followed.keys().copied().collect();
        }
        (feed, progress)
    }
}

/// What a step of the backfill read: details of pipelines that had come to rest when the project was
/// first read.
#[derive(Debug)]
pub struct BackfillRead {
    /// Facts about them.
    pub pipelines: Vec<PipelineFacts>,
    /// Those that were deleted in GitLab.
    pub deleted: Vec<PipelineId>,
    /// How far the project has been read, as this step sees it.
    pub progress: FeedProgress,
    /// What went wrong and will be tried again, or was left out.
    pub problems: Vec<Problem>,
}

impl BackfillRead {
    /// Takes the step into what is remembered now, and returns what is left of it as the change feed
    /// would give it.
    #[must_use]
    pub fn take_in(&self, progress: &mut FeedProgress) -> Feed {
        let read = self.pipelines.iter().map(|facts| facts.pipeline.id);
        let read: Vec<PipelineId> = read.chain(self.deleted.iter().copied()).collect();
        let taken = progress.take_backfill(&self.progress, &read);
        let pipelines = self.pipelines.iter();
        let pipelines = pipelines.filter(|facts| taken.contains(&facts.pipeline.id));
        let deleted = self.deleted.iter().copied();
        Feed {
            pipelines: pipelines.cloned().collect(),
            followed: progress.followed.keys().copied().collect(),
            deleted: deleted.filter(|id| taken.contains(id)).collect(),
        }
    }
}
