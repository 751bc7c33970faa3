//! How deep a project's first polls go, and what they take for history.

use serde_json::{Value, json};

use super::*;
use crate::collector::testing::{job, pipeline};
use crate::config::ProjectSettings;
use crate::facts::feed::Feed;
use crate::facts::feed::{BackfillRead, PipelineFacts};
use crate::gitlab::NoAccounting;
use crate::gitlab::model::{Job, Known};
use crate::gitlab::testing::{Fake, Reply, Request};
use crate::memory::feed::{Depth, FeedProgress};
use crate::types::PipelineId;

const READ_OPTIONS: ReadOptions = ReadOptions {
    children: true,
    jobs: true,
    foreign: true,
    runner_details: false,
};

/// Polls a project with these pipelines: which details are read, whether labels are asked for, and
/// what the collectors get.
fn poll(
    state: &mut Option<FeedProgress>,
    shown: &[PipelineFacts],
    now: i64,
) -> (Vec<u64>, Vec<u64>, Feed) {
    let now = UnixSeconds(now);
    let settings = ProjectSettings::default();
    let mut poll = Poll::begin(&settings, READ_OPTIONS, state.as_ref(), now);
    let pipelines = shown.iter().map(|facts| facts.pipeline.clone());
    poll.changes(pipelines.collect(), now);
    let (wanted, labels, feed, next) = details(poll, shown);
    *state = Some(next);
    (wanted, labels, feed)
}

/// A step of the backfill of that project.
fn backfill(
    state: &mut Option<FeedProgress>,
    shown: &[PipelineFacts],
    now: i64,
) -> (Vec<u64>, Vec<u64>, Feed) {
    let now = UnixSeconds(now);
    let settings = ProjectSettings::default();
    let progress = state.as_mut().unwrap();
    let poll = Poll::backfill(&settings, READ_OPTIONS, progress, now);
    let (wanted, labels, feed, next) = details(poll, shown);
    let read = BackfillRead {
        pipelines: feed.pipelines,
        deleted: feed.deleted,
        progress: next,
        problems: Vec::new(),
    };
    (wanted, labels, read.take_in(progress))
}

fn details(
    mut poll: Poll<'_>,
    shown: &[PipelineFacts],
) -> (Vec<u64>, Vec<u64>, Feed, FeedProgress) {
    let wanted: Vec<PipelineId> = poll.wanted().map(|pipeline| pipeline.id).collect();
    let mut labels = Vec::new();
    for id in &wanted {
        let facts = shown.iter().find(|facts| facts.pipeline.id == *id);
        let jobs = facts.and_then(|facts| facts.jobs.clone());
        let jobs = jobs.unwrap_or_default();
        if !poll.open_jobs(*id, &jobs).is_empty() {
            labels.push(id.0);
        }
        let details = Details {
            bridges: None,
            jobs,
            foreign: Vec::new(),
            coverage: Known::Unread,
        };
        poll.details(*id, details);
    }
    let (feed, next) = poll.end();
    (wanted.iter().map(|id| id.0).collect(), labels, feed, next)
}

fn unread_reason(id: u64, finished: i64) -> Job {
    let mut job = job(id, "build", 10).runs(20).fails("", finished);
    job.failure_reason = Known::Unread;
    job
}

#[test]
fn the_first_poll_reads_what_is_active_and_the_backfill_the_others_jobs_and_then_their_labels() {
    let running = pipeline(1, 10).on_branch("main").runs(20);
    let running = running.with_jobs([unread_reason(11, 50)]);
    let ended = pipeline(2, 10).on_branch("develop").runs(20);
    let ended = ended.ends("failed", 60).with_jobs([unread_reason(21, 60)]);
    let shown = [running, ended];
    let mut state = None;
    let seen = |poll: &(Vec<u64>, Vec<u64>, Feed)| (poll.0.clone(), poll.1.clone());
    let first = poll(&mut state, &shown, 100);
    assert_eq!(seen(&first), (vec![1], vec![]));
    let jobs = backfill(&mut state, &shown, 100);
    assert_eq!(seen(&jobs), (vec![2], vec![]));
    let next = poll(&mut state, &shown, 101);
    assert_eq!(
        seen(&next),
        (vec![1], vec![1]),
        "what is new waits for no backfill"
    );
    let labels = backfill(&mut state, &shown, 102);
    assert_eq!(seen(&labels), (vec![2], vec![2]));
    assert!(state.is_some_and(|state| state.is_whole()));
}

#[test]
fn a_project_without_history_needs_no_backfill() {
    let running = pipeline(1, 10).on_branch("main").runs(20);
    let mut state = None;
    poll(&mut state, &[running], 100);
    assert!(state.is_some_and(|state| state.is_whole()));
}

#[test]
fn what_moves_while_the_backfill_reads_it_stays_as_the_change_feed_read_it() {
    let ended = pipeline(1, 10).runs(20).ends("failed", 60);
    let ended = ended.with_jobs([unread_reason(21, 60)]);
    let mut state = None;
    poll(&mut state, std::slice::from_ref(&ended), 100);
    let mut before = state.clone();
    let again = ended.clone().is_retried(105);
    poll(&mut state, &[again], 110);
    let moved = state.clone().unwrap();
    // The step began before the pipeline was retried.
    let settings = ProjectSettings::default();
    let progress = before.as_mut().unwrap();
    let late = Poll::backfill(&settings, READ_OPTIONS, progress, UnixSeconds(110));
    let (_, _, feed, next) = details(late, &[ended]);
    let read = BackfillRead {
        pipelines: feed.pipelines,
        deleted: feed.deleted,
        progress: next,
        problems: Vec::new(),
    };
    let progress = state.as_mut().unwrap();
    let feed = read.take_in(progress);
    assert!(feed.pipelines.is_empty(), "{feed:?}");
    assert_eq!(progress.followed, moved.followed);
    assert_eq!(progress.depth, Depth::Jobs);
}

#[test]
fn what_the_backfill_did_while_the_change_feed_read_is_kept() {
    let ended = pipeline(1, 10).runs(20).ends("success", 60);
    let ended = ended.with_jobs([job(21, "build", 10).runs(20).ends("success", 60)]);
    let mut state = None;
    poll(&mut state, std::slice::from_ref(&ended), 100);
    let before = state.clone();
    backfill(&mut state, std::slice::from_ref(&ended), 105);
    let progress = state.as_mut().unwrap();
    assert!(!progress.followed[&PipelineId(1)].details_due);
    // A poll that began before the backfill ended.
    let (settings, now) = (ProjectSettings::default(), UnixSeconds(106));
    let mut late = Poll::begin(&settings, READ_OPTIONS, before.as_ref(), now);
    late.changes(Vec::new(), now);
    let (feed, next) = late.end();
    assert!(next.followed[&PipelineId(1)].details_due);
    let read = FeedRead {
        is_whole: None,
        project: target(1, true).project,
        feed,
        progress: Some(next),
        unavailable: None,
        quiet: true,
        problems: Vec::new(),
    };
    let (feed, after) = read.take_in(Some(progress));
    let after = after.unwrap();
    assert_eq!(after.depth, Depth::Jobs);
    assert_eq!(after.followed, progress.followed);
    assert_eq!(feed.followed, [PipelineId(1)]);
}

#[test]
fn what_ended_in_the_second_of_the_first_poll_is_history_until_the_pipeline_moves() {
    let ended = pipeline(1, 10).runs(20).ends("failed", 100);
    let mut state = None;
    let (_, _, feed) = poll(&mut state, std::slice::from_ref(&ended), 100);
    assert!(!feed.pipelines[0].counts(UnixSeconds(100)), "{feed:?}");
    let (_, _, feed) = backfill(&mut state, std::slice::from_ref(&ended), 100);
    assert!(!feed.pipelines[0].counts(UnixSeconds(100)), "{feed:?}");
    assert!(feed.pipelines[0].counts(UnixSeconds(101)), "{feed:?}");
    let again = ended.is_retried(100);
    let (_, _, feed) = poll(&mut state, &[again], 101);
    assert!(feed.pipelines[0].counts(UnixSeconds(100)), "{feed:?}");
}

/// On a large GitLab, minutes pass between the list of a project's pipelines and the reading of their
/// jobs.
#[test]
fn what_ends_between_the_first_list_and_the_first_reading_of_it_is_no_history() {
    let (settings, now) = (ProjectSettings::default(), UnixSeconds(100));
    let mut poll = Poll::begin(&settings, READ_OPTIONS, None, now);
    let running = pipeline(1, 10).on_branch("main").runs(20);
    // By REST a pipeline is read after the list that had it running.
    let late = pipeline(2, 10)
        .on_branch("develop")
        .runs(20)
        .ends("success", 130);
    let newest = pipeline(3, 15)
        .on_branch("develop")
        .runs(20)
        .ends("success", 60);
    let shown = [&running, &late, &newest].map(|facts| facts.pipeline.clone());
    poll.changes(shown.to_vec(), now);
    let jobs =
        [(1, 80), (2, 100), (3, 130)].map(|(id, end)| job(id, "build", 10).runs(20).succeeds(end));
    let details = Details {
        bridges: None,
        jobs: jobs.to_vec(),
        foreign: Vec::new(),
        coverage: Known::Unread,
    };
    poll.details(PipelineId(1), details);
    let child = pipeline(4, 110).child_of(&running, "trigger");
    let child = child.runs(111).ends("success", 125);
    poll.children(PipelineId(1), vec![child.pipeline]);
    let (feed, progress) = poll.end();
    let of = |id: u64| {
        let mut all = feed.pipelines.iter();
        all.find(|one| one.pipeline.id.0 == id).unwrap()
    };
    let ends = of(1)
        .jobs
        .iter()
        .flatten()
        .filter_map(|job| job.finished_at);
    let counted: Vec<bool> = ends.map(|end| of(1).counts(end)).collect();
    assert_eq!(counted, [false, false, true]);
    assert!(!of(1).counts(UnixSeconds(10)), "it was created before");
    assert!(of(2).counts(UnixSeconds(130)));
    assert!(!of(3).counts(UnixSeconds(60)));
    assert!(of(4).counts(UnixSeconds(110)) && of(4).counts(UnixSeconds(125)));
    for id in [2, 4] {
        let followed = &progress.followed[&PipelineId(id)];
        assert!(followed.details_due, "jobs of {id} ended late, too");
    }
}

/// A tracked project that was polled before, or not.
pub(super) fn target(id: u64, is_new: bool) -> Target {
    let mut memory = ProjectMemory::default();
    if !is_new {
        let settings = ProjectSettings::default();
        let poll = Poll::begin(&settings, READ_OPTIONS, None, UnixSeconds(100));
        memory.feed = Some(poll.end().1);
    }
    Target {
        is_asked_for: false,
        tracking: id,
        project: Project {
            id: ProjectId(id),
            full_path: format!("group/p{id}").into(),
            default_branch: Known::Unread,
            archived: false,
            is_scheduled_for_deletion: false,
            last_activity_at: None,
            role: Known::Unread,
            features: crate::gitlab::model::Features::default(),
            attributes: crate::gitlab::model::Attributes::default(),
        },
        settings: Arc::new(ProjectSettings::default()),
        memory: Arc::new(memory),
        tier: Known::Unread,
        permissions: crate::gitlab::model::Permissions::default(),
        permitted_at: UnixSeconds::default(),
        instance: None,
    }
}

/// Polls projects 1 to 3 of a server that answers so: how each was read.
async fn read_all(
    use_graphql: bool,
    answer: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static,
) -> Vec<(u64, Result<usize, &'static str>)> {
    let fake = Fake::start(answer).await;
    let mut settings = fake.settings();
    settings.use_graphql = use_graphql;
    let gitlab = crate::gitlab::testing::gitlab(&settings, Arc::new(NoAccounting));
    let mut settings = Settings::default();
    settings.collectors.pipelines.include_child_pipelines = false;
    settings.collectors.jobs.enabled = false;
    let clock = Clock::manual(UnixSeconds(1_767_614_400));
    let feed = ChangeFeed::new(&settings, &gitlab, clock);
    let targets = [1, 2, 3].map(|id| target(id, false));
    let read = feed.read(&targets, &Tracked::default()).await;
    let mut read: Vec<_> = read
        .into_iter()
        .map(|(id, read)| {
            let pipelines = read.map(|read| read.feed.pipelines.len());
            (id.0, pipelines.map_err(|error| error.kind()))
        })
        .collect();
    read.sort_unstable_by_key(|(id, _)| *id);
    read
}

/// The fields of a pipeline as GraphQL and REST have them.
fn running(id: u64) -> Value {
    json!({
        "id": format!("gid://gitlab/Ci::Pipeline/{id}"), "iid": (id % 1000).to_string(),
        "ref": "main", "type": "branch", "source": "push", "status": "RUNNING",
        "createdAt": "2026-01-05T12:00:00Z", "updatedAt": "2026-01-05T12:00:00Z",
    })
}

/// The answer to a query for some projects, of which the second has another page of pipelines.
fn answer_of(request: &Request, next: &str, pipelines: u64) -> Reply {
    let asked = request.variables();
    let asked = asked["ids"].as_array().expect("a list").clone();
    let nodes = asked.into_iter().map(|gid| {
        let is_second = gid == "gid://gitlab/Project/2";
        let id: u64 = gid
            .as_str()
            .and_then(|gid| gid.rsplit('/').next()?.parse().ok())
            .expect("an id");
        let count = if is_second { pipelines } else { 1 };
        let shown: Vec<Value> = (0..count).map(|n| running(id * 100_000 + n)).collect();
        let info = json!({"hasNextPage": is_second && !next.is_empty(), "endCursor": next});
        json!({
            "id": gid, "fullPath": format!("group/p{id}"), "archived": false,
            "lastActivityAt": null, "maxAccessLevel": {"integerValue": 40},
            "moved": {"nodes": shown, "pageInfo": info}, "children": null,
        })
    });
    let nodes: Vec<Value> = nodes.collect();
    Reply::json(
        json!({"data": {"projects": {"nodes": nodes}, "queryComplexity": null}}).to_string(),
    )
}

#[tokio::test]
async fn a_list_of_graphql_that_never_ends_fails_its_project_and_its_neighbours_go_on() {
    let wanted = vec![(1, Ok(1)), (2, Err("too_large")), (3, Ok(1))];
    let same = |request: &Request, _| answer_of(request, "again", 1);
    assert_eq!(read_all(true, same).await, wanted);
    let new = |request: &Request, number: usize| answer_of(request, &format!("c{number}"), 1);
    assert_eq!(read_all(true, new).await, wanted);
    let many = |request: &Request, _| answer_of(request, "", 40_000);
    assert_eq!(read_all(true, many).await, wanted);
}

#[tokio::test]
async fn a_list_of_rest_that_never_ends_fails_its_project_and_its_neighbours_go_on() {
    let wanted = vec![(1, Ok(1)), (2, Err("too_large")), (3, Ok(1))];
    let head = |id: u64| {
        json!({"id": id, "iid": id, "ref": "main", "source": "push", "status": "running",
            "created_at": "2026-01-05T12:00:00Z", "updated_at": "2026-01-05T12:00:00Z"})
    };
    let answer = move |request: &Request, next: Option<String>, count: u64| {
        let path = request.target.split('?').next().unwrap_or_default();
        let parts: Vec<&str> = path
            .trim_start_matches("/api/v4/projects/")
            .split('/')
            .collect();
        let id: u64 = parts[0].parse().expect("a project");
        let children = request.target.contains("source=parent_pipeline");
        let reply = match parts.len() {
            1 => json!({"id": id, "path_with_namespace": format!("group/p{id}")}),
            2 if children => json!([]),
            2 => (0..if id == 2 { count } else { 1 })
                .map(|n| head(id * 100_000 + n))
                .collect(),
            _ => head(parts[2].parse().expect("a pipeline")),
        };
        let reply = Reply::json(reply.to_string());
        match next.filter(|_| id == 2 && parts.len() == 2) {
            Some(next) => reply.with("x-next-page", &next),
            None => reply,
        }
    };
    let same = move |request: &Request, _| answer(request, Some("2".to_owned()), 1);
    assert_eq!(read_all(false, same).await, wanted);
    let new = move |request: &Request, number: usize| answer(request, Some(number.to_string()), 1);
    assert_eq!(read_all(false, new).await, wanted);
    let many = move |request: &Request, _| answer(request, None, 40_000);
    assert_eq!(read_all(false, many).await, wanted);
}
