//! The same by way of the change feed's own bookkeeping: what it forgets must not count again.

use super::super::FeedCollector;
use super::super::testing::Watched;
use super::world::Life;
use crate::clock::UnixSeconds;
use crate::facts::feed::{BackfillRead, PipelineFacts};
use crate::gitlab::model::Known;
use crate::memory::feed::FeedProgress;
use crate::source::change_feed::{Details, Poll, ReadOptions};
use crate::types::PipelineId;

const READ_OPTIONS: ReadOptions = ReadOptions {
    children: true,
    jobs: true,
    foreign: true,
    runner_details: true,
};

/// Follows a world through the change feed's bookkeeping.
pub fn follow<C: FeedCollector>(collector: C, world: &[Life], polls: &[i64]) -> Watched<C> {
    let mut project = Watched::new(collector);
    let mut state = None;
    for now in polls {
        state = Some(poll(&mut project, state.as_ref(), world, *now));
    }
    project
}

fn poll<C: FeedCollector>(
    project: &mut Watched<C>,
    remembered: Option<&FeedProgress>,
    world: &[Life],
    now: i64,
) -> FeedProgress {
    project.now = UnixSeconds(now);
    let shown = |id: PipelineId| -> Option<PipelineFacts> {
        world.iter().find(|life| life.id == id.0)?.at(now)
    };
    let settings = project.settings.clone();
    let mut state = None;
    // The backfill runs next to the polls, as long as something is left.
    if let Some(remembered) = remembered.filter(|state| !state.is_whole()) {
        let step = Poll::backfill(&settings, READ_OPTIONS, remembered, project.now);
        let (feed, progress) = details(step, &shown).end();
        let read = BackfillRead {
            pipelines: feed.pipelines,
            deleted: feed.deleted,
            progress,
            problems: Vec::new(),
        };
        let mut after = remembered.clone();
        let feed = read.take_in(&mut after);
        project.absorb(&feed);
        state = Some(after);
    }
    let remembered = state.as_ref().or(remembered);
    let mut poll = Poll::begin(&settings, READ_OPTIONS, remembered, project.now);
    let moved = world.iter().filter_map(|life| life.at(now));
    let moved = moved
        .map(|facts| facts.pipeline)
        .filter(|pipeline| remembered.is_none_or(|state| pipeline.updated_at >= state.since()));
    poll.changes(moved.collect(), UnixSeconds::default());
    let mut poll = details(poll, &shown);
    poll.upstreams(|id| shown(id)?.pipeline.upstream.value());
    let (feed, state) = poll.end();
    project.absorb(&feed);
    state
}

/// Takes in the details of what is wanted.
fn details<'a>(
    mut poll: Poll<'a>,
    shown: &impl Fn(PipelineId) -> Option<PipelineFacts>,
) -> Poll<'a> {
    let wanted: Vec<PipelineId> = poll.wanted().map(|pipeline| pipeline.id).collect();
    for id in wanted {
        let Some(PipelineFacts {
            jobs,
            bridges,
            foreign,
            ..
        }) = shown(id)
        else {
            continue;
        };
        let jobs = jobs.unwrap_or_default();
        let coverage = Known::Unread;
        poll.details(
            id,
            Details {
                jobs,
                bridges,
                foreign,
                coverage,
            },
        );
    }
    poll
}
