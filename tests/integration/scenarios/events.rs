//! GitLab announces what moves: it is read at once, and polled less where events can be relied on.

use std::time::Duration;

use amazing_gitlab_exporter::config::QuietInterval;
use amazing_gitlab_exporter::events::payload::{self, Meaning};
use amazing_gitlab_exporter::events::{Mark, Trigger};
use amazing_gitlab_exporter::facts::Reading;
use amazing_gitlab_exporter::types::ProjectId as TrackedId;
use gitlab_simulator::cost::Cost;
use gitlab_simulator::world::{
    Finish, JobSpec, MergeRequestState, PipelineId, PipelineSpec, ProjectId,
};
use serde_json::json;
use tokio::time::Instant;

use super::{LOOK, Story};
use crate::support::core::{now, watch_everything};

const RUNS: &str = "age_pipeline_run_count";

/// A story in which webhooks are received.
async fn hooked() -> Story {
    let mut settings = watch_everything();
    settings.server.webhook.enabled = true;
    settings.discovery.interval = Duration::from_secs(30 * 86_400);
    Story::with(settings, |_, _| {}).await
}

impl Story {
    /// GitLab announces what is so of a pipeline now.
    fn announce(&self, pipeline: PipelineId) {
        let status = {
            let world = self.world();
            let pipeline = world.pipeline(pipeline).expect("it is there");
            pipeline.status.as_str().to_owned()
        };
        self.announce_as(json!({
            "object_kind": "pipeline",
            "project": {"id": self.app},
            "object_attributes": {"id": pipeline, "status": status},
        }));
    }

    fn announce_as(&self, body: serde_json::Value) {
        let event = payload::parse(body.to_string().as_bytes()).expect("it is JSON");
        let Meaning::Moved {
            project,
            readings,
            subject,
            at,
        } = event.meaning
        else {
            panic!("{event:?}");
        };
        let registry = self.exporter.registry();
        for reading in readings {
            let mark = Mark {
                trigger: Trigger::Webhook,
                subject,
                at,
                arrived: Instant::now(),
                is_job: event.kind == "build",
                origin: None,
            };
            let now = now(&self.gitlab);
            registry.lock().hint(project, *reading, vec![mark], now);
        }
    }

    /// A pipeline comes and ends, with events or without, between two looks; the second follows at once.
    async fn passes(&mut self, announced: bool) {
        let spec = PipelineSpec::branch("main").job(JobSpec::new("test", "unit"));
        let pipeline = self.create(&spec);
        if announced {
            self.announce(pipeline);
        }
        self.look_after(2).await;
        let done = self.world().finish_pipeline(pipeline, &Finish::success());
        done.expect("it ends");
        if announced {
            self.announce(pipeline);
        }
        self.look_after(2).await;
    }

    fn relies_on_events(&self) -> bool {
        let registry = self.exporter.registry();
        let projects = registry.lock();
        let entry = projects.get(TrackedId(self.app));
        entry.is_some_and(|entry| entry.events().are_relied_on())
    }
}

#[tokio::test]
async fn what_is_announced_is_read_at_once_and_counted_once() {
    let mut story = hooked().await;
    story.look().await;
    let silent = story.create(&PipelineSpec::branch("main"));
    story.look_after(1).await;
    assert_eq!(story.count(RUNS, &[]), 0.0, "its interval is not over");
    story.announce(silent);
    story.look_after(1).await;
    assert_eq!(story.count(RUNS, &[]), 1.0);
    for _ in 0..5 {
        story.announce(silent);
        story.look_after(1).await;
    }
    story.look_for(600).await;
    assert_eq!(story.count(RUNS, &[]), 1.0);
}

#[tokio::test]
async fn an_event_has_its_own_project_read_and_no_other() {
    let mut story = hooked().await;
    story.look().await;
    story.gitlab.requests().reset();
    // A project that is not tracked, and one that is not there.
    for id in [9_999_999, 0] {
        story.announce_as(json!({"object_kind": "pipeline", "project": {"id": id}}));
    }
    story.look_after(1).await;
    assert_eq!(story.gitlab.requests().len(), 0);
    let pipeline = story.create(&PipelineSpec::branch("main"));
    story.announce(pipeline);
    story.look_after(1).await;
    assert_eq!(story.gitlab.requests().count("ProjectChanges"), 1);
}

#[tokio::test]
async fn five_announced_changes_make_polls_rare_and_one_missed_ends_it() {
    let mut story = hooked().await;
    story.look().await;
    let usual = story.polls().await;
    assert!(usual >= 115, "{usual}");
    for _ in 0..3 {
        assert!(!story.relies_on_events());
        story.passes(true).await;
    }
    assert!(story.relies_on_events());
    let rare = story.polls().await;
    assert!((11..=14).contains(&rare), "{rare} polls instead of {usual}");

    // Nothing tells of this one; it is found by a poll, and is missed a minute later.
    story.passes(false).await;
    story.look_for(700).await;
    assert_eq!(story.count(RUNS, &[]), 4.0);
    story.look_for(300).await;
    assert!(!story.relies_on_events());
    assert_eq!(story.exporter.heard.missed(), 1);
    let usual_again = story.polls().await;
    assert!(usual_again >= 115, "{usual_again}");
}

#[tokio::test]
async fn what_runs_is_polled_as_before_unless_its_jobs_are_announced() {
    let mut story = hooked().await;
    story.look().await;
    for _ in 0..3 {
        story.passes(true).await;
    }
    let spec = PipelineSpec::branch("main").job(JobSpec::new("test", "long"));
    let pipeline = story.create(&spec);
    story.announce(pipeline);
    story.look_after(1).await;
    story.gitlab.requests().reset();
    story.look_for(600).await;
    let running = story.gitlab.requests().count("ProjectChanges");
    assert!(running >= 19, "{running}: jobs are not announced");

    story.announce_as(json!({
        "object_kind": "build", "project_id": story.app, "pipeline_id": pipeline,
        "build_status": "running",
    }));
    story.look_after(1).await;
    story.gitlab.requests().reset();
    story.look_for(10 * LOOK).await;
    let running = story.gitlab.requests().count("ProjectChanges");
    assert!(running <= 2, "{running}: jobs are announced");
}

#[tokio::test]
async fn without_a_webhook_nothing_is_missed_and_polls_stay_as_they_are() {
    let mut story = hooked().await;
    story.look().await;
    for _ in 0..8 {
        story.passes(false).await;
        story.look_for(120).await;
    }
    assert_eq!(
        (story.exporter.heard.missed(), story.relies_on_events()),
        (0, false)
    );
    let polls = story.polls().await;
    assert!(polls >= 115, "{polls}");
}

#[tokio::test]
async fn how_fresh_it_is_is_told_by_what_brought_it() {
    let mut story = hooked().await;
    story.look().await;
    let spec = PipelineSpec::branch("main").job(JobSpec::new("test", "unit"));
    let polled = story.create(&spec);
    story.look_after(25).await;
    story.look_after(5).await;
    let done = story.world().finish_pipeline(polled, &Finish::success());
    done.expect("it ends");
    story.announce(polled);
    story.look_after(1).await;
    let shown = story.exporter.heard.shown();
    let triggers: Vec<(&str, Option<u64>)> = shown
        .iter()
        .map(|(trigger, age)| (trigger.as_str(), age.map(|age| age.as_secs())))
        .collect();
    // The event has no time: the pipeline's own is taken.
    assert_eq!(triggers, [("poll", Some(30)), ("webhook", Some(1))]);
}

#[tokio::test]
async fn events_that_ended_or_are_crowded_make_no_polls_rare() {
    let mut settings = watch_everything();
    settings.gitlab.subscriptions.enabled = true;
    settings.discovery.interval = Duration::from_secs(30 * 86_400);
    let mut story = Story::with(settings, |_, _| {}).await;
    story.look().await;
    for _ in 0..3 {
        story.passes(true).await;
    }
    let app = TrackedId(story.app);
    assert!(
        story.polls().await <= 14,
        "subscriptions alone make them rare"
    );
    for (crowded, is_rare) in [(true, false), (false, true)] {
        let registry = story.exporter.registry();
        let now = now(&story.gitlab);
        registry.lock().events_are_crowded(app, crowded, now);
        let polls = story.polls().await;
        assert_eq!(polls <= 14, is_rare, "{polls} polls, crowded: {crowded}");
        assert_eq!(polls >= 115, !is_rare, "{polls} polls, crowded: {crowded}");
    }
    let registry = story.exporter.registry();
    let at = now(&story.gitlab);
    registry.lock().events_ended(app, Reading::ChangeFeed, at);
    // What is announced by nobody is no miss then.
    story.passes(false).await;
    let polls = story.polls().await;
    assert!(polls >= 115, "{polls}");
    assert_eq!(story.exporter.heard.missed(), 0);
}

/// Projects of the quiet instance.
const QUIET: usize = 40;

/// What an hour costs GitLab after nothing has moved for `hours`; before that each project had six changes.
async fn quiet_hour(announced: bool, hours: u64) -> Cost {
    let mut settings = watch_everything();
    settings.server.webhook.enabled = true;
    settings.discovery.interval = Duration::from_secs(30 * 86_400);
    // The defaults; the first is a second longer, for tests take the defaults as none.
    settings.collectors.pipelines.quiet_interval = QuietInterval {
        after_1h: Duration::from_secs(121),
        after_24h: Duration::from_secs(300),
    };
    let mut ids: Vec<ProjectId> = Vec::new();
    let mut story = Story::with(settings, |world, _| {
        for number in 0..QUIET {
            let project = world.add_project(&format!("group/project-{number}"));
            ids.push(project.expect("a project"));
        }
    })
    .await;
    ids.push(story.app);
    for _ in 0..3 {
        let spec = PipelineSpec::branch("main").job(JobSpec::new("test", "unit"));
        let create = |id: &ProjectId| (*id, story.world().create_pipeline(*id, &spec));
        let pipelines: Vec<_> = ids.iter().map(create).collect();
        for is_over in [false, true] {
            for (project, pipeline) in &pipelines {
                let pipeline = *pipeline.as_ref().expect("a pipeline");
                if is_over {
                    let done = story.world().finish_pipeline(pipeline, &Finish::success());
                    done.expect("it ends");
                }
                if announced {
                    story.announce_as(json!({
                        "object_kind": "pipeline", "project": {"id": project},
                        "object_attributes": {"id": pipeline},
                    }));
                }
            }
            story.look().await;
        }
    }
    story.wait(hours * 3600);
    story.look_for(1200).await;
    story.gitlab.costs().reset();
    story.look_for(3600).await;
    story.gitlab.costs().total()
}

#[tokio::test]
async fn quiet_projects_cost_gitlab_a_third_where_events_are_proven() {
    // After a day they are polled every five minutes, and never less than every ten.
    for (hours, share) in [(2, 3.0), (30, 1.7)] {
        let without = quiet_hour(false, hours).await;
        let with = quiet_hour(true, hours).await;
        println!("{hours} hours quiet: {without:?}, with events {with:?}");
        for (name, with, without) in [
            ("queries", with.queries, without.queries),
            ("processor time", with.cpu_ms, without.cpu_ms),
        ] {
            assert!(
                share * with <= without,
                "{name} after {hours} h: {with} of {without}"
            );
        }
    }
}

/// What an event of a merge request costs does not grow with the others of its project: what moved since the
/// last read is listed by an index, and the read counts as a poll.
#[tokio::test]
async fn an_event_of_a_merge_request_reads_what_moved_and_no_other() {
    let mut costs = Vec::new();
    for others in [0, 150] {
        let mut settings = watch_everything();
        settings.server.webhook.enabled = true;
        settings.collectors.merge_requests.enabled = true;
        settings.collectors.merge_requests.interval = Duration::from_secs(900);
        settings.collectors.code_review.enabled = true;
        settings.collectors.code_review.interval = Duration::from_secs(900);
        settings.discovery.interval = Duration::from_secs(30 * 86_400);
        let mut story = Story::with(settings, |world, app| {
            for number in 0..=others {
                let made = world.create_merge_request(app, &format!("topic-{number}"), "main");
                made.expect("a merge request");
            }
        })
        .await;
        story.look_for(1800).await;
        let merged = MergeRequestState::Merged;
        let done = story.world().set_merge_request_state(story.app, 1, merged);
        done.expect("it is there");
        story.announce_as(json!({
            "object_kind": "merge_request", "project": {"id": story.app},
            "object_attributes": {"iid": 1, "target_project_id": story.app, "action": "merge"},
        }));
        story.gitlab.costs().reset();
        story.look_after(1).await;
        assert_eq!(story.count("age_mr_throughput_count", &[]), 1.0, "{others}");
        costs.push(story.gitlab.costs().of("MergeRequestReviews"));
    }
    let [alone, among] = costs[..] else {
        panic!("two costs: {costs:?}")
    };
    assert_eq!(alone.requests, 1, "{alone:?}");
    assert_eq!(alone, among);
}

/// Events are photographs of another moment: repeated, in any order, of states that are over or never were. They
/// say when to read, and nothing else.
#[tokio::test]
async fn events_that_contradict_each_other_count_nothing_twice_and_invent_nothing() {
    let mut settings = watch_everything();
    settings.server.webhook.enabled = true;
    settings.collectors.merge_requests.enabled = true;
    settings.discovery.interval = Duration::from_secs(600);
    let mut story = Story::with(settings, |_, _| {}).await;
    story.look().await;
    let pipeline = story.create(&PipelineSpec::branch("main").job(JobSpec::new("test", "unit")));
    let merge_request = {
        let mut world = story.world();
        world
            .create_merge_request(story.app, "topic", "main")
            .expect("a merge request")
    };
    let told = |story: &Story, statuses: &[&str], actions: &[&str]| {
        for status in statuses {
            story.announce_as(json!({
                "object_kind": "pipeline", "project": {"id": story.app},
                "object_attributes": {"id": pipeline, "status": status,
                    "finished_at": "2026-11-30 08:00:52 UTC"},
            }));
        }
        for action in actions {
            story.announce_as(json!({
                "object_kind": "merge_request", "project": {"id": story.app},
                "object_attributes": {"iid": merge_request, "target_project_id": story.app,
                    "action": action, "state": "merged"},
            }));
        }
    };
    // Ends that are not there yet; an update before the opening, and a merge that never comes.
    told(
        &story,
        &["failed", "success", "pending"],
        &["update", "merge", "open"],
    );
    story.look_after(1).await;
    assert_eq!(
        story.values_of("age_pipeline_status", "status"),
        ["pending"]
    );
    assert_eq!(story.count("age_pipeline_finished_total", &[]), 0.0);
    assert_eq!(story.count("age_mr_created_total", &[]), 1.0);
    assert_eq!(story.count("age_mr_throughput_count", &[]), 0.0);
    let done = story.world().finish_pipeline(pipeline, &Finish::success());
    done.expect("it ends");
    told(
        &story,
        &["running", "success", "success", "created"],
        &["open", "close", "open"],
    );
    story.look_after(1).await;
    told(&story, &["canceled", "running"], &["update"]);
    story.look_for(900).await;
    assert_eq!(
        story.values_of("age_pipeline_status", "status"),
        ["success"]
    );
    assert_eq!(story.count(RUNS, &[]), 1.0);
    assert_eq!(story.count("age_pipeline_finished_total", &[]), 1.0);
    assert_eq!(story.count("age_mr_created_total", &[]), 1.0);
    assert_eq!(story.count("age_mr_throughput_count", &[]), 0.0);

    // Of a project that is not known yet.
    let late = story.world().add_project("group/late").expect("a project");
    let first = {
        let mut world = story.world();
        let spec = PipelineSpec::branch("main");
        world.create_pipeline(late, &spec).expect("a pipeline")
    };
    story.announce_as(json!({
        "object_kind": "pipeline", "project": {"id": late},
        "object_attributes": {"id": first, "status": "running"},
    }));
    story.look_for(1200).await;
    let of_late = [("project", "group/late")];
    assert_eq!(story.value("age_pipeline_id", &of_late), Some(first as f64));
}
