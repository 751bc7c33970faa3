//! The exporter with subscriptions: what it shows, and what it does when GitLab does not.

use std::time::Duration;

use amazing_gitlab_exporter::clock::Clock;
use gitlab_simulator::Simulator;
use gitlab_simulator::auth::AccessLevel;
use gitlab_simulator::faults::{Fault, Rule};
use gitlab_simulator::time::SECOND;
use gitlab_simulator::world::Finish;

use super::{gitlab, one_job, subscribing};
use crate::support::exporter::{Exporter, RealTime, beginning_now};
use crate::support::samples::Samples;
use crate::support::{DEADLINE, eventually, within};

/// An hour: no poll comes to the rescue.
const SELDOM: u32 = 3600;

impl Exporter {
    async fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        Samples::of_plain_text(&self.metrics().await).sum(name, labels)
    }

    async fn shows(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        within(
            DEADLINE,
            &format!("{name}{labels:?} is {value}"),
            async || {
                let seen = self.value(name, labels).await;
                match seen == Some(value) {
                    true => Ok(()),
                    false => Err(format!("{seen:?}")),
                }
            },
        )
        .await;
    }

    /// Waits until there are so many subscriptions of a state.
    async fn has(&self, state: &str, number: usize) {
        #[expect(clippy::cast_precision_loss, reason = "a few")]
        let number = number as f64;
        self.shows("age_subscriptions", &[("state", state)], number)
            .await;
    }
}

fn create(simulator: &Simulator, project: u64) -> u64 {
    let mut world = simulator.world();
    let made = world.create_pipeline(project, &one_job());
    made.expect("made")
}

fn finish(simulator: &Simulator, pipeline: u64) {
    let ended = simulator
        .world()
        .finish_pipeline(pipeline, &Finish::success());
    ended.expect("it ends");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_announced_is_shown_although_polls_are_an_hour_apart() {
    let (simulator, ids) = gitlab(2, beginning_now());
    let _time = RealTime::of(&simulator);
    let exporter = Exporter::start(&Clock::System, &subscribing(&simulator, SELDOM)).await;
    exporter.has("standing", 2).await;
    let pipeline = create(&simulator, ids[0]);
    let of = [("project", "group/project-1")];
    exporter
        .shows("age_pipelines_active", &[of[0], ("status", "pending")], 1.0)
        .await;
    finish(&simulator, pipeline);
    exporter
        .shows("age_pipeline_status", &[of[0], ("status", "success")], 1.0)
        .await;
    let by = [("trigger", "subscription"), ("collector_type", "pipelines")];
    let fresh = exporter
        .value("age_event_freshness_seconds_count", &by)
        .await;
    assert!(fresh.is_some_and(|count| count >= 1.0), "{fresh:?}");
    let welcomed = [("outcome", "welcomed")];
    exporter
        .shows("age_subscription_connects_total", &welcomed, 1.0)
        .await;
    assert!(exporter.get("/").await.body.contains("2 standing"));
    exporter.stop().await;
    eventually("closed", || simulator.cable().counts().open == 0).await;
}

/// What refuses, what the page then says, and how many attempts there are.
async fn refused(prepare: impl FnOnce(&Simulator), words: &[&str], attempts: f64) {
    let (simulator, ids) = gitlab(1, beginning_now());
    prepare(&simulator);
    let _time = RealTime::of(&simulator);
    let exporter = Exporter::start(&Clock::System, &subscribing(&simulator, 1)).await;
    exporter.has("refused", 1).await;
    let page = exporter.get("/").await.body;
    for word in words {
        assert!(page.contains(word), "no {word:?} in {page}");
    }
    // Polls go on, and no other attempt is made.
    let pipeline = create(&simulator, ids[0]);
    exporter
        .shows("age_pipelines_active", &[("status", "pending")], 1.0)
        .await;
    finish(&simulator, pipeline);
    exporter
        .shows("age_pipeline_status", &[("status", "success")], 1.0)
        .await;
    exporter.has("standing", 0).await;
    let outcome = [("outcome", "refused")];
    let seen = exporter
        .value("age_subscription_connects_total", &outcome)
        .await;
    assert_eq!(seen, Some(attempts));
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_gitlab_is_not_asked() {
    let older = |simulator: &Simulator| simulator.world().version = "18.5.3-ee".to_owned();
    refused(older, &["GitLab 18.5.3-ee", "18.6"], 0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_drops_upgrades_is_asked_once_an_hour() {
    let dropped = |simulator: &Simulator| {
        let rule = Rule::new(Fault::Status { status: 404 }).on("/-/cable");
        simulator.faults().add(rule);
    };
    refused(dropped, &["Origin", "Upgrade"], 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replaced_process_is_followed_by_subscriptions_and_a_poll() {
    let (simulator, ids) = gitlab(3, beginning_now());
    let _time = RealTime::of(&simulator);
    let exporter = Exporter::start(&Clock::System, &subscribing(&simulator, SELDOM)).await;
    exporter.has("standing", 3).await;
    simulator.cable().restart();
    eventually("the end", || simulator.cable().counts().open == 0).await;
    // Nobody announces this one.
    create(&simulator, ids[1]);
    let events = simulator.cable().counts().events;
    let of = [("project", "group/project-2"), ("status", "pending")];
    exporter.shows("age_pipelines_active", &of, 1.0).await;
    exporter.has("standing", 3).await;
    let counts = simulator.cable().counts();
    assert_eq!((counts.welcomed, counts.events), (2, events));
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_than_four_subscribes_wait_for_an_answer() {
    let (simulator, _) = gitlab(12, beginning_now());
    let _time = RealTime::of(&simulator);
    simulator.cable().hold(true);
    let exporter = Exporter::start(&Clock::System, &subscribing(&simulator, SELDOM)).await;
    eventually("four wait", || simulator.cable().counts().unanswered == 4).await;
    exporter.has("pending", 12).await;
    // All would have been asked for by then.
    let start = simulator.world().now();
    eventually("two seconds", || {
        simulator.world().now() > start + 2 * SECOND
    })
    .await;
    simulator.cable().hold(false);
    exporter.has("standing", 12).await;
    let counts = simulator.cable().counts();
    assert_eq!((counts.subscribes, counts.most_unanswered), (12, 4));
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_so_many_projects_are_subscribed_to_as_the_settings_say() {
    let (simulator, ids) = gitlab(5, beginning_now());
    let _time = RealTime::of(&simulator);
    create(&simulator, ids[3]);
    let yaml = subscribing(&simulator, SELDOM);
    let yaml = yaml.replace("{enabled: true}", "{enabled: true, max_projects: 2}");
    let exporter = Exporter::start(&Clock::System, &yaml).await;
    exporter.has("standing", 2).await;
    assert_eq!(simulator.cable().counts().standing, 2);
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_membership_ends_its_subscription_alone_and_is_noticed() {
    let (simulator, ids) = gitlab(2, beginning_now());
    let _time = RealTime::of(&simulator);
    let exporter = Exporter::start(&Clock::System, &subscribing(&simulator, SELDOM)).await;
    exporter.has("standing", 2).await;
    {
        let token = &mut simulator.world().tokens[0];
        token.roles.insert(ids[0], AccessLevel::None);
    }
    exporter.has("standing", 1).await;
    // The read that follows finds that it is gone.
    exporter.shows("age_projects_tracked", &[], 1.0).await;
    assert_eq!(simulator.cable().counts().open, 1);
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_token_opens_no_connection() {
    let (simulator, _) = gitlab(1, beginning_now());
    let _time = RealTime::of(&simulator);
    let yaml = subscribing(&simulator, 1).replace(simulator.token(), "glpat-wrong");
    let exporter = Exporter::start(&Clock::System, &yaml).await;
    let status = [("status_code", "401")];
    within(
        Duration::from_secs(30),
        "the token is refused",
        async || match exporter.value("age_api_requests_total", &status).await {
            Some(count) if count > 0.0 => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await;
    assert_eq!(simulator.requests().count("/-/cable"), 0);
    exporter.stop().await;
}
