//! The backfill of the change feed: what had come to rest before a project was first read.

use std::sync::Arc;

use async_trait::async_trait;

use super::super::{Context, Fetched, Grouping, Needs, Right, Source, Target, Wants, fetched};
use super::ChangeFeed;
use crate::catalogue::Collector;
use crate::clock::UnixSeconds;
use crate::facts::{Facts, Reading, Unavailable};
use crate::gitlab::GitLab;
use crate::gitlab::model::Project;
use crate::memory::ProjectMemory;
use crate::memory::feed::{Depth, FeedProgress};

/// Projects whose newest pipelines are read in one run: each needs a list of jobs, one request, and a run is
/// exported when all are read.
const NEWEST_AT_ONCE: usize = 10;

/// What had come to rest before a project was first read: the backfill of the change feed.
pub struct Backfill(Arc<ChangeFeed>);

impl Backfill {
    /// The backfill of a change feed.
    #[must_use]
    pub fn new(feed: &Arc<ChangeFeed>) -> Self {
        Self(Arc::clone(feed))
    }
}

#[async_trait]
impl Source for Backfill {
    fn reading(&self) -> Reading {
        Reading::Backfill
    }

    fn collectors(&self) -> &[Collector] {
        &self.0.collectors
    }

    fn batch(&self) -> usize {
        GitLab::JOBS_PROJECTS
    }

    /// The newest pipelines of all projects come before the past of any, which is heavy.
    fn grouping(&self, memory: &ProjectMemory) -> Grouping {
        let depth = memory.feed.as_ref().map(|feed| feed.depth);
        let is_past = depth > Some(Depth::Pipelines);
        Grouping {
            turn: u8::from(is_past),
            size: match is_past {
                true => self.batch(),
                false => NEWEST_AT_ONCE,
            },
            ..Grouping::default()
        }
    }

    /// Few: where GitLab's time is short, each would wait for what all others use of it, and none would end.
    fn runs_at_once(&self) -> usize {
        2
    }

    fn needs(&self) -> Needs {
        Needs::FirstRead
    }

    fn unavailable(&self, target: &Target) -> Option<Unavailable> {
        target.forbids(Right::Pipelines)
    }

    fn wants(&self, _: &Project, memory: &ProjectMemory, _: UnixSeconds) -> Wants {
        match memory.feed.as_ref().is_some_and(FeedProgress::is_whole) {
            true => Wants::WhenSomethingMoved,
            false => Wants::Now,
        }
    }

    async fn fetch(&self, targets: &[Target], context: &Context) -> Fetched {
        let read = self.0.read_backfill(targets, &context.tracked).await;
        fetched(read, |read| Facts::Backfill(Box::new(read)))
    }
}
