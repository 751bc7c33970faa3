//! The collectors on the change feed, as one list.

use super::child_pipelines::ChildPipelines;
use super::jobs::Jobs;
use super::pipelines::Pipelines;
use super::{Feed, FeedCollector, Measured, Subject};
use crate::catalogue::Collector;
use crate::config::Collectors;
use crate::project::ProjectMemory;
use crate::source::change_feed::Wishes;

/// The collectors that are enabled.
#[derive(Clone, Copy, Debug)]
pub struct FeedCollectors {
    pipelines: Option<Pipelines>,
    jobs: Option<Jobs>,
    child_pipelines: Option<ChildPipelines>,
}

impl FeedCollectors {
    /// Those that the settings enable.
    #[must_use]
    pub fn new(settings: &Collectors) -> Self {
        let include_children = settings.pipelines.include_child_pipelines;
        let runner_details = settings.jobs.include_runner_details;
        let pipelines = settings
            .pipelines
            .enabled
            .then_some(Pipelines { include_children });
        Self {
            pipelines,
            jobs: settings.jobs.enabled.then_some(Jobs {
                runner_details,
                include_children,
            }),
            child_pipelines: (pipelines.is_some() && include_children).then_some(ChildPipelines),
        }
    }

    /// Who they are.
    pub fn enabled(&self) -> impl Iterator<Item = Collector> + use<> {
        let all = [
            self.pipelines.map(|_| Collector::Pipelines),
            self.jobs.map(|_| Collector::Jobs),
            self.child_pipelines.map(|_| Collector::ChildPipelines),
        ];
        all.into_iter().flatten()
    }

    /// What they need of the change feed.
    #[must_use]
    pub fn wishes(&self, settings: &Collectors) -> Wishes {
        Wishes {
            children: settings.pipelines.include_child_pipelines,
            jobs: self.jobs.is_some(),
            foreign: self.child_pipelines.is_some(),
            runner_details: settings.jobs.include_runner_details,
        }
    }

    /// Lets each take in a feed and give its states.
    pub fn measure(
        &self,
        subject: Subject<'_>,
        feed: &Feed,
        memory: &mut ProjectMemory,
    ) -> Vec<(Collector, Measured)> {
        let mut all = Vec::new();
        if let Some(collector) = &self.pipelines {
            let measured = one(collector, subject, feed, &mut memory.pipelines);
            all.push((Collector::Pipelines, measured));
        }
        if let Some(collector) = &self.jobs {
            let measured = one(collector, subject, feed, &mut memory.jobs);
            all.push((Collector::Jobs, measured));
        }
        if let Some(collector) = &self.child_pipelines {
            let measured = one(collector, subject, feed, &mut memory.child_pipelines);
            all.push((Collector::ChildPipelines, measured));
        }
        all
    }
}

fn one<C: FeedCollector>(
    collector: &C,
    subject: Subject<'_>,
    feed: &Feed,
    memory: &mut C::Memory,
) -> Measured {
    let mut measured = Measured::default();
    collector.absorb(subject, feed, memory, &mut measured);
    collector.states(subject, memory, &mut measured.states);
    measured
}
