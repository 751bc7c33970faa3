//! Sources of any kind in one list.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::{Problem, Reading, Source, SourceError, Target, Unavailable};
use crate::catalogue::Collector;
use crate::clock::UnixSeconds;
use crate::collector::{Measures, Subject};
use crate::project::ProjectMemory;
use crate::types::ProjectId;

/// What a run brought of each project.
pub type Fetched = Vec<(ProjectId, Result<Box<dyn Facts>, SourceError>)>;

/// What was read of one project, with the collectors that measure it.
pub trait Facts: Send + Sync {
    /// See [`Source::problems`].
    fn problems(&self) -> &[Problem];

    /// See [`Source::measure`].
    fn measure(&self, subject: Subject<'_>, memory: &mut ProjectMemory) -> Vec<Measures>;
}

struct Read<S: Source> {
    source: Arc<S>,
    facts: S::Facts,
}

impl<S: Source> Facts for Read<S> {
    fn problems(&self) -> &[Problem] {
        self.source.problems(&self.facts)
    }

    fn measure(&self, subject: Subject<'_>, memory: &mut ProjectMemory) -> Vec<Measures> {
        self.source.measure(subject, &self.facts, memory)
    }
}

/// A [`Source`] whatever its facts are.
pub trait AnySource: Send + Sync {
    /// See [`Source::reading`].
    fn reading(&self) -> Reading;

    /// See [`Source::collectors`].
    fn collectors(&self) -> &[Collector];

    /// See [`Source::interval`].
    fn interval(&self) -> Duration;

    /// See [`Source::batch`].
    fn batch(&self) -> usize;

    /// See [`Source::unavailable`].
    fn unavailable(&self, target: &Target) -> Option<Unavailable>;

    /// See [`Source::wants`].
    fn wants(&self, target: &Target, now: UnixSeconds) -> bool;

    /// See [`Source::fetch`].
    fn fetch<'a>(&'a self, targets: &'a [Target], now: UnixSeconds) -> BoxFuture<'a, Fetched>;
}

impl<S: Source> AnySource for Arc<S> {
    fn reading(&self) -> Reading {
        S::reading(self)
    }

    fn collectors(&self) -> &[Collector] {
        S::collectors(self)
    }

    fn interval(&self) -> Duration {
        S::interval(self)
    }

    fn batch(&self) -> usize {
        S::batch(self).max(1)
    }

    fn unavailable(&self, target: &Target) -> Option<Unavailable> {
        S::unavailable(self, target)
    }

    fn wants(&self, target: &Target, now: UnixSeconds) -> bool {
        S::wants(self, target, now)
    }

    fn fetch<'a>(&'a self, targets: &'a [Target], now: UnixSeconds) -> BoxFuture<'a, Fetched> {
        async move {
            let read = S::fetch(self, targets, now).await;
            let facts = read.into_iter().map(|(id, facts)| {
                let source = Arc::clone(self);
                let facts = facts.map(|facts| Box::new(Read { source, facts }) as Box<dyn Facts>);
                (id, facts)
            });
            facts.collect()
        }
        .boxed()
    }
}
