//! GitLab announces what moves: it is read at once, and polled less where events can be relied on.

use std::time::Duration;

use amazing_gitlab_exporter::events::payload::{self, Meaning};
use amazing_gitlab_exporter::events::{Mark, Trigger};
use amazing_gitlab_exporter::types::ProjectId as TrackedId;
use gitlab_simulator::world::{Finish, JobSpec, PipelineId, PipelineSpec};
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
    let polled = story.create(&PipelineSpec::branch("main"));
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
    assert_eq!(triggers, [("poll", Some(30)), ("webhook", None)]);
}
