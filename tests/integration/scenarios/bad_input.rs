//! Answers that make no sense: never a panic, the bad item left out and counted, the rest kept.

use gitlab_simulator::faults::{Fault, Rule};
use gitlab_simulator::world::{Finish, JobSpec, PipelineSpec};
use serde_json::{Value, json};

use super::{Story, main_pipeline};
use crate::support::core::watch_everything;

const RUNS: &str = "age_pipeline_run_count";
const JOBS: &str = "age_job_run_count";
const ONE_PIPELINE: &str = "/api/v4/projects/:id/pipelines/:pipeline_id";
const ONE_PIPELINES_JOBS: &str = "/api/v4/projects/:id/pipelines/:pipeline_id/jobs";
const PIPELINES: &str = "/api/v4/projects/:id/pipelines";

impl Story {
    async fn by(use_graphql: bool) -> Self {
        let mut story = Self::unseen(
            watch_everything(),
            |_, _| {},
            |client| client.use_graphql = use_graphql,
        );
        story.look_now().await;
        story
    }

    /// Runs a pipeline of `branch` with two jobs to its end.
    fn run_two_jobs(&self, branch: &str) {
        let pipeline = self.create(&PipelineSpec::branch(branch).stage("test", &["a", "b"]));
        self.wait(3);
        self.world()
            .finish_pipeline(pipeline, &Finish::failed("script_failure"))
            .expect("it ends");
    }

    fn break_with(&self, fault: Fault, on: &str) -> u64 {
        self.gitlab.faults().add(Rule::new(fault).on(on))
    }

    fn replace(&self, on: &str, pointer: &str, value: Value) -> u64 {
        let pointer = pointer.to_owned();
        self.break_with(Fault::Replace { pointer, value }, on)
    }

    fn assert_no_panic(&self, what: &str) {
        let failures = self.exporter.heard.all_failures();
        let panics = failures.keys().filter(|(_, kind)| *kind == "panic");
        assert_eq!(panics.count(), 0, "{what}: {failures:?}");
    }
}

/// Values that no field of GitLab's should have.
fn nonsense() -> Vec<Value> {
    vec![
        Value::Null,
        json!(""),
        json!("\u{0}\u{7}\"\\\n{}"),
        json!("x".repeat(10_000)),
        json!("🦊 naïve"),
        json!(-1),
        json!(1e308),
        json!(u64::MAX),
        json!(0.1),
        json!(true),
        json!([]),
        json!({}),
        json!([[[{"a": null}]]]),
    ]
}

#[tokio::test]
async fn a_bad_pipeline_costs_only_itself() {
    let mut story = Story::by(true).await;
    for branch in ["good", "bad", "fine"] {
        story.run_two_jobs(branch);
    }
    // The newest comes first: the second is `bad`.
    let pointer = "/data/projects/nodes/0/moved/nodes/1/createdAt";
    story.replace("ProjectChanges", pointer, json!("yesterday"));
    story.look().await;
    assert_eq!(story.values_of(RUNS, "ref"), ["fine", "good"]);
    assert_eq!(story.count(RUNS, &[]), 2.0);
    assert_eq!(story.exporter.heard.failures("pipelines", "decode"), 1);
    story.assert_no_panic("a bad time");
}

#[tokio::test]
async fn a_bad_item_of_a_rest_list_costs_only_itself() {
    let mut story = Story::by(false).await;
    for branch in ["good", "bad", "fine"] {
        story.run_two_jobs(branch);
    }
    let broken = story.replace(PIPELINES, "/1/created_at", json!(7));
    story.look().await;
    assert!(story.gitlab.faults().hits(broken) > 0);
    assert_eq!(story.values_of(RUNS, "ref"), ["fine", "good"]);
    assert_eq!(story.exporter.heard.failures("pipelines", "decode"), 1);
    story.assert_no_panic("a bad time");
}

#[tokio::test]
async fn a_bad_job_costs_only_itself() {
    for use_graphql in [true, false] {
        let mut story = Story::by(use_graphql).await;
        story.run_two_jobs("main");
        if use_graphql {
            let pointer = "/data/projects/nodes/0/pipeline/jobs/nodes/0/name";
            story.replace("PipelineJobs", pointer, json!({"first": "a"}));
        } else {
            story.replace(ONE_PIPELINES_JOBS, "/0/name", json!({"first": "a"}));
        }
        story.look().await;
        let what = format!("GraphQL {use_graphql}");
        assert_eq!(story.count(RUNS, &[]), 1.0, "{what}");
        assert_eq!(story.count(JOBS, &[]), 1.0, "{what}: the other one");
        assert!(
            story.exporter.heard.failures("jobs", "decode") > 0,
            "{what}"
        );
        story.assert_no_panic(&what);
    }
}

#[tokio::test]
async fn nonsense_in_any_field_is_survived_and_forgotten() {
    // Everything below these places is replaced, one place after the other.
    let places = [
        ("ProjectChanges", "/data"),
        ("ProjectChanges", "/data/projects"),
        ("ProjectChanges", "/data/projects/nodes"),
        ("ProjectChanges", "/data/projects/nodes/*"),
        ("ProjectChanges", "/data/projects/nodes/*/*"),
        ("ProjectChanges", "/data/projects/nodes/*/moved/*"),
        ("ProjectChanges", "/data/projects/nodes/*/moved/nodes/*"),
        ("ProjectChanges", "/data/projects/nodes/*/moved/nodes/0/*"),
        ("ProjectChanges", "/data/projects/nodes/*/moved/pageInfo/*"),
        ("ProjectChanges", "/errors"),
        ("PipelineJobs", "/data/projects/nodes/*/*"),
        ("PipelineJobs", "/data/projects/nodes/*/pipeline/*"),
        (
            "PipelineJobs",
            "/data/projects/nodes/*/pipeline/jobs/nodes/*",
        ),
        (
            "PipelineJobs",
            "/data/projects/nodes/*/pipeline/jobs/nodes/*/*",
        ),
        (
            "PipelineJobs",
            "/data/projects/nodes/*/pipeline/bridges/nodes/*/*",
        ),
        ("ProjectList", "/data/projects/nodes/*/*"),
        ("ProjectList", "/data/projects/*"),
        ("/api/v4/projects", ""),
        ("/api/v4/projects", "/*/*"),
        (PIPELINES, ""),
        (PIPELINES, "/*"),
        (PIPELINES, "/*/*"),
        (ONE_PIPELINE, ""),
        (ONE_PIPELINE, "/*"),
        (ONE_PIPELINES_JOBS, ""),
        (ONE_PIPELINES_JOBS, "/*"),
        (ONE_PIPELINES_JOBS, "/*/*"),
        (
            "/api/v4/projects/:id/pipelines/:pipeline_id/bridges",
            "/*/*",
        ),
    ];
    for (on, pointer) in places {
        let use_graphql = !on.starts_with("/api");
        let mut story = Story::by(use_graphql).await;
        let child = vec![JobSpec::new("test", "lint")];
        let spec = main_pipeline().job(JobSpec::child_bridge("trigger", "child", false, child));
        for value in nonsense() {
            let what = format!("{pointer} of {on} is {value:.40}");
            let broken = story.replace(on, pointer, value);
            let pipeline = story.create(&spec);
            story.wait(3);
            story
                .world()
                .finish_pipeline(pipeline, &Finish::failed("script_failure"))
                .expect("it ends");
            for _ in 0..2 {
                story.look_after(330).await;
            }
            story.assert_no_panic(&what);
            story.gitlab.faults().remove(broken);
        }
        // Whatever it learned: it goes on as if nothing had been, and the next one counts.
        story.look_after(900).await;
        story.look_after(330).await;
        let what = format!("after nonsense in {pointer} of {on}");
        assert_eq!(story.exporter.heard.tracked(), 1, "{what}");
        let labels = [
            ("project", "group/app"),
            ("source", "push"),
            ("ref", "main"),
        ];
        let before = story.count(RUNS, &labels);
        story.create(&main_pipeline().skipped());
        story.look_after(330).await;
        assert_eq!(story.count(RUNS, &labels) - before, 1.0, "{what}");
    }
}

#[tokio::test]
async fn a_time_in_the_far_future_moves_no_watermark() {
    for use_graphql in [true, false] {
        let mut story = Story::by(use_graphql).await;
        story.run_two_jobs("main");
        let future = json!("2099-01-01T00:00:00Z");
        let broken = if use_graphql {
            let pointer = "/data/projects/nodes/0/moved/nodes/*/updatedAt";
            vec![story.replace("ProjectChanges", pointer, future)]
        } else {
            vec![
                story.replace(PIPELINES, "/*/updated_at", future.clone()),
                story.replace(ONE_PIPELINE, "/updated_at", future),
            ]
        };
        story.look().await;
        for rule in broken {
            story.gitlab.faults().remove(rule);
        }
        story.run_two_jobs("main");
        story.look_for(120).await;
        assert_eq!(story.count(RUNS, &[]), 2.0, "GraphQL {use_graphql}");
        assert_eq!(story.count(JOBS, &[]), 4.0, "GraphQL {use_graphql}");
    }
}

#[tokio::test]
async fn answers_that_are_none_are_counted_and_nothing_is_lost() {
    let bytes = |body: &[u8]| Fault::Body {
        status: 200,
        content_type: "application/json".to_owned(),
        body: body.to_vec(),
    };
    let faults = [
        ("html", Fault::Html),
        ("decode", Fault::InvalidJson),
        ("interrupted", Fault::Truncated),
        ("interrupted", Fault::Reset),
        ("too_large", Fault::HugeBody { bytes: 100 << 20 }),
        ("decode", bytes(b"")),
        ("decode", bytes(b"null")),
        ("decode", bytes(b"{\"data\": null}")),
        ("decode", bytes(b"\xff\xfe{\"data\":")),
        ("decode", bytes(&b"[".repeat(100_000))),
    ];
    for use_graphql in [true, false] {
        let mut story = Story::by(use_graphql).await;
        let mut expected = 0.0;
        for (kind, fault) in &faults {
            let what = format!("{kind}, GraphQL {use_graphql}, {fault:.60?}");
            let before = story.exporter.heard.failures("pipelines", kind);
            let broken = story.gitlab.faults().add(Rule::new(fault.clone()));
            story.run_two_jobs("main");
            story.look().await;
            let after = story.exporter.heard.failures("pipelines", kind);
            assert!(after > before, "{what} is told: {:?}", story.exporter.heard);
            assert_eq!(story.count(RUNS, &[]), expected, "{what}");
            story.gitlab.faults().remove(broken);
            story.look_after(900).await;
            expected += 1.0;
            assert_eq!(story.count(RUNS, &[]), expected, "{what}: nothing is lost");
            assert_eq!(story.count(JOBS, &[]), 2.0 * expected, "{what}");
            story.assert_no_panic(&what);
        }
    }
}

#[tokio::test]
async fn strange_names_are_kept_as_they_are() {
    let names = [
        "ordinary",
        "\"quoted\" and \\back\\slashed",
        "two\nlines\tand\ra tab",
        "🦊/naïve/日本語",
        "{label=\"value\"} 1",
        &"long".repeat(2_500),
    ];
    for use_graphql in [true, false] {
        let mut story = Story::by(use_graphql).await;
        for name in names {
            let spec = PipelineSpec::branch(name).job(JobSpec::new(name, name));
            let pipeline = story.create(&spec);
            story.wait(2);
            story
                .world()
                .finish_pipeline(pipeline, &Finish::success())
                .expect("it ends");
        }
        story.look_for(60).await;
        for name in names {
            // What is longer is cut, and ends with a hash.
            let shown = story.values_of(RUNS, "ref");
            let is_it = |shown: &&String| match name.len() > 200 {
                true => shown.len() == 200 && shown.starts_with(&name[..191]),
                false => *shown == name,
            };
            let name = shown
                .iter()
                .find(is_it)
                .unwrap_or_else(|| panic!("{name:.20}"));
            assert_eq!(story.value(RUNS, &[("ref", name)]), Some(1.0), "{name:.20}");
            let labels = [("job_name", &**name), ("stage", name), ("ref", name)];
            assert_eq!(story.value(JOBS, &labels), Some(1.0), "{name:.20}");
        }
        story.assert_no_panic("strange names");
    }
}
