//! The same by way of the change feed's own bookkeeping: what it forgets must not count again.

use super::super::FeedCollector;
use super::super::testing::Watched;
use super::world::Life;
use crate::clock::UnixSeconds;
use crate::facts::feed::{BackfillRead, PipelineFacts};
use crate::gitlab::model::Known;
use crate::memory::feed::FeedProgress;
use crate::source::change_feed::{Details, Look, Wishes};
use crate::types::PipelineId;

const WISHES: Wishes = Wishes {
    children: true,
    jobs: true,
    foreign: true,
    runner_details: true,
};

/// Follows a world through the change feed's bookkeeping.
pub fn follow<C: FeedCollector>(collector: C, world: &[Life], looks: &[i64]) -> Watched<C> {
    let mut project = Watched::new(collector);
    let mut state = None;
    for now in looks {
        state = Some(look(&mut project, state.as_ref(), world, *now));
    }
    project
}

fn look<C: FeedCollector>(
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
    // The backfill goes on beside the polls, as far as there is something left.
    if let Some(remembered) = remembered.filter(|state| !state.is_whole()) {
        let step = Look::backfill(&settings, WISHES, remembered, project.now);
        let (feed, progress) = details(step, &shown, project.now).end();
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
    let mut look = Look::begin(&settings, WISHES, remembered, project.now);
    let moved = world.iter().filter_map(|life| life.at(now));
    let moved = moved
        .map(|facts| facts.pipeline)
        .filter(|pipeline| remembered.is_none_or(|state| pipeline.updated_at >= state.since()));
    look.changes(moved.collect(), UnixSeconds::default());
    let mut look = details(look, &shown, project.now);
    look.upstreams(|id| shown(id)?.pipeline.upstream.value());
    let (feed, state) = look.end();
    project.absorb(&feed);
    state
}

/// Takes in the details of what is wanted.
fn details<'a>(
    mut look: Look<'a>,
    shown: &impl Fn(PipelineId) -> Option<PipelineFacts>,
    now: UnixSeconds,
) -> Look<'a> {
    let wanted: Vec<PipelineId> = look.wanted().map(|pipeline| pipeline.id).collect();
    for id in wanted {
        let Some(PipelineFacts { jobs, foreign, .. }) = shown(id) else {
            continue;
        };
        let jobs = jobs.unwrap_or_default();
        if look.wants_labels(id, &jobs, now) {
            look.labels_read(id, now);
        }
        let coverage = Known::Unread;
        look.details(
            id,
            Details {
                jobs,
                foreign,
                coverage,
            },
        );
    }
    look
}
