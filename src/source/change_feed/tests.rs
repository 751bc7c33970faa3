//! How deep a project's first looks go, and what they take for history.

use super::*;
use crate::collector::testing::{job, pipeline};
use crate::config::ProjectSettings;
use crate::facts::feed::Feed;
use crate::facts::feed::PipelineFacts;
use crate::memory::feed::FeedProgress;

const WISHES: Wishes = Wishes {
    children: true,
    jobs: true,
    foreign: true,
    runner_details: false,
};

/// Looks at a project with these pipelines: which details are read, whether labels are asked for,
/// and what the collectors get.
fn look(
    state: &mut Option<FeedProgress>,
    shown: &[PipelineFacts],
    now: i64,
) -> (Vec<u64>, Vec<u64>, Feed) {
    let now = UnixSeconds(now);
    let settings = ProjectSettings::default();
    let mut look = Look::begin(&settings, WISHES, state.as_ref(), now);
    let pipelines = shown.iter().map(|facts| facts.pipeline.clone());
    look.changes(pipelines.collect(), now);
    let wanted: Vec<PipelineId> = look.wanted().map(|pipeline| pipeline.id).collect();
    let mut labels = Vec::new();
    for id in &wanted {
        let facts = shown.iter().find(|facts| facts.pipeline.id == *id);
        let jobs = facts.and_then(|facts| facts.jobs.clone());
        let jobs = jobs.unwrap_or_default();
        if look.wants_labels(*id, &jobs, now) {
            labels.push(id.0);
        }
        let details = Details {
            jobs,
            foreign: Vec::new(),
            coverage: Known::Unread,
        };
        look.details(*id, details);
    }
    let (feed, next) = look.end();
    *state = Some(next);
    (wanted.iter().map(|id| id.0).collect(), labels, feed)
}

fn unread_reason(id: u64, finished: i64) -> Job {
    let mut job = job(id, "build", 10).runs(20).fails("", finished);
    job.failure_reason = Known::Unread;
    job
}

#[test]
fn the_first_look_reads_what_is_active_the_second_all_jobs_the_third_their_labels() {
    let running = pipeline(1, 10).on_branch("main").runs(20);
    let running = running.with_jobs([unread_reason(11, 50)]);
    let ended = pipeline(2, 10).on_branch("develop").runs(20);
    let ended = ended.ends("failed", 60).with_jobs([unread_reason(21, 60)]);
    let shown = [running, ended];
    let mut state = None;
    let seen = |look: &(Vec<u64>, Vec<u64>, Feed)| (look.0.clone(), look.1.clone());
    let first = look(&mut state, &shown, 100);
    assert_eq!(seen(&first), (vec![1], vec![]));
    let second = look(&mut state, &shown, 100);
    assert_eq!(seen(&second), (vec![1, 2], vec![]));
    let third = look(&mut state, &shown, 101);
    assert_eq!(seen(&third), (vec![1, 2], vec![1, 2]));
    assert!(state.is_some_and(|state| state.is_whole()));
}

#[test]
fn what_ended_in_the_second_of_the_first_look_is_history_until_the_pipeline_moves() {
    let ended = pipeline(1, 10).runs(20).ends("failed", 100);
    let mut state = None;
    let (_, _, feed) = look(&mut state, std::slice::from_ref(&ended), 100);
    assert_eq!(feed.pipelines[0].floor, None);
    let (_, _, feed) = look(&mut state, std::slice::from_ref(&ended), 100);
    assert!(!feed.pipelines[0].counts(UnixSeconds(100)), "{feed:?}");
    assert!(feed.pipelines[0].counts(UnixSeconds(101)), "{feed:?}");
    let again = ended.is_retried(100);
    let (_, _, feed) = look(&mut state, &[again], 101);
    assert!(feed.pipelines[0].counts(UnixSeconds(100)), "{feed:?}");
}
