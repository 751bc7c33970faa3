//! GraphQL is off, refused or failing: REST stands in, and nothing is lost or counted twice.

use gitlab_simulator::faults::{Fault, Rule};
use gitlab_simulator::world::{Finish, JobSpec, PipelineId};

use super::{Story, gate, main_pipeline, tracking};
use crate::support::core::watch_everything;

const RUNS: &str = "age_pipeline_run_count";
const DURATION: &str = "age_pipeline_duration_seconds";
const GRAPHQL: &str = "/api/graphql";

fn failing(status: u16) -> Rule {
    Rule::new(Fault::Status { status })
}

impl Story {
    fn finish(&self, pipeline: PipelineId, finish: &Finish) {
        let mut world = self.world();
        world.finish_pipeline(pipeline, finish).expect("it goes on");
    }

    /// One of everything that is counted, begun in one way of reading and ended in the other.
    async fn through(&mut self, change: impl Fn(&Self), what: &str) {
        let child = vec![JobSpec::new("test", "lint")];
        let spec = main_pipeline().job(JobSpec::child_bridge("trigger", "child", true, child));
        let running = self.create(&spec);
        let blocked = self.create(&main_pipeline().job(gate()));
        let failed = self.create(&main_pipeline());
        self.wait(5);
        self.finish(running, &Finish::success());
        self.finish(blocked, &Finish::success());
        self.finish(failed, &Finish::failed("script_failure"));
        self.look().await;
        let before = [RUNS, DURATION, "age_job_run_count"].map(|metric| self.count(metric, &[]));
        change(self);
        self.look_for(120).await;
        let after = [RUNS, DURATION, "age_job_run_count"].map(|metric| self.count(metric, &[]));
        assert_eq!(before, after, "{what}: nothing happened");
        let children: Vec<PipelineId> = {
            let world = self.world();
            let open = world.pipelines_of(self.app);
            open.filter(|pipeline| pipeline.is_child() && !pipeline.status.is_complete())
                .map(|pipeline| pipeline.id)
                .collect()
        };
        for child in children {
            self.finish(child, &Finish::success());
        }
        {
            let mut world = self.world();
            let gate = world.job_named(blocked, "approve").expect("a gate").id;
            world.play_manual(gate).expect("it is played");
            world.retry_pipeline(failed).expect("a retry");
        }
        self.wait(5);
        self.finish(blocked, &Finish::success());
        self.finish(failed, &Finish::success());
        self.look_for(300).await;
        let gained = |metric: &str, before: f64| self.count(metric, &[]) - before;
        assert_eq!(gained(RUNS, before[0]), 0.0, "{what}");
        assert_eq!(gained(DURATION, before[1]), 4.0, "{what}: each ended once");
        assert_eq!(gained("age_job_run_count", before[2]), 3.0, "{what}");
    }

    fn asked_by_graphql(&self) -> usize {
        let all = self.gitlab.requests().all();
        let graphql = all.iter().filter(|asked| asked.endpoint == GRAPHQL);
        graphql.filter(|asked| asked.status == 200).count()
    }
}

#[tokio::test]
async fn graphql_goes_and_comes_back_in_mid_flight() {
    for status in [403, 404, 500, 502, 503] {
        let mut story = Story::begin().await;
        let what = format!("GraphQL answers {status}");
        let broken = |story: &Story| {
            story.gitlab.faults().add(failing(status).on(GRAPHQL));
        };
        story.through(broken, &what).await;
        assert_eq!(
            story.count("age_child_pipeline_run_count", &[]),
            1.0,
            "{what}"
        );
        assert_eq!(
            story.count("age_child_pipeline_duration_seconds", &[]),
            1.0,
            "{what}"
        );
        story.gitlab.requests().reset();
        let mended = |story: &Story| story.gitlab.faults().clear();
        story.through(mended, &what).await;
        // After ten minutes GraphQL is tried again.
        story.look_for(900).await;
        assert!(story.asked_by_graphql() > 0, "{what}");
        story.gitlab.requests().reset();
        story.through(|_| {}, &what).await;
        let rest = story
            .gitlab
            .requests()
            .count("/api/v4/projects/:id/pipelines");
        assert_eq!(rest, 0, "{what}: REST does not stand in any more");
        assert_eq!(story.count(RUNS, &[("source", "push")]), 9.0, "{what}");
        assert_eq!(
            story.count("age_child_pipeline_duration_seconds", &[]),
            3.0,
            "{what}"
        );
    }
}

#[tokio::test]
async fn a_page_of_html_or_nonsense_instead_of_graphql_is_stood_in_for() {
    for fault in [Fault::Html, Fault::InvalidJson] {
        let mut story = Story::begin().await;
        let what = format!("{fault:?}");
        let rule = Rule::new(fault).on(GRAPHQL);
        let broken = |story: &Story| {
            story.gitlab.faults().add(rule.clone());
        };
        story.through(broken, &what).await;
        assert_eq!(story.count(RUNS, &[("source", "push")]), 3.0, "{what}");
    }
}

#[tokio::test]
async fn an_outage_of_both_is_waited_for() {
    let faults = [
        Fault::Status { status: 502 },
        Fault::Reset,
        Fault::Truncated,
        Fault::Html,
        Fault::ApplicationLimit { retry_after: 0 },
        Fault::Status { status: 401 },
    ];
    let mut story = Story::begin().await;
    let mut expected = 0.0;
    for fault in faults {
        let what = format!("{fault:?}");
        // Whoever is asked to wait does, in the time of the system.
        let rounds = match fault {
            Fault::ApplicationLimit { .. } => 1,
            _ => 5,
        };
        story.gitlab.faults().add(Rule::new(fault));
        for _ in 0..rounds {
            let pipeline = story.create(&main_pipeline());
            story.wait(5);
            story.finish(pipeline, &Finish::success());
            story.look_for(60).await;
            expected += 1.0;
        }
        story.gitlab.faults().clear();
        story.look_for(900).await;
        for metric in [RUNS, DURATION, "age_job_run_count"] {
            assert_eq!(story.count(metric, &[]), expected, "{metric}, {what}");
        }
    }
}

#[tokio::test]
async fn a_late_page_that_fails_moves_no_watermark() {
    for use_graphql in [true, false] {
        let mut story = Story::unseen(
            watch_everything(),
            |_, _| {},
            |client| {
                client.use_graphql = use_graphql;
                (client.graphql_page_size, client.rest_page_size) = (3, 3);
            },
        );
        story.look_now().await;
        for _ in 0..20 {
            story.create(&main_pipeline().skipped());
            story.wait(5);
        }
        let rule = failing(502).page(2);
        let rule = match use_graphql {
            true => rule.on("ProjectChanges"),
            false => rule.on("/api/v4/projects/:id/pipelines"),
        };
        let broken = story.gitlab.faults().add(rule);
        story.look().await;
        let what = format!("GraphQL {use_graphql}");
        assert!(story.gitlab.faults().hits(broken) > 0, "{what}");
        if !use_graphql {
            assert_eq!(story.count(RUNS, &[]), 0.0, "half a listing is none");
        }
        story.gitlab.faults().clear();
        story.look_for(900).await;
        assert_eq!(story.count(RUNS, &[]), 20.0, "{what}");
    }
}

#[tokio::test]
async fn downstream_pipelines_that_cannot_be_followed_now_are_followed_later() {
    for use_graphql in [true, false] {
        let mut story = Story::unseen(
            tracking(&["group/app"]),
            |world, _| {
                world.add_project("group/lib").expect("a project");
            },
            |client| client.use_graphql = use_graphql,
        );
        story.look_now().await;
        let lib = story.world().project_by_path("group/lib").expect("it").id;
        let jobs = vec![JobSpec::new("test", "unit")];
        let bridge = JobSpec::multi_project_bridge("trigger", "to lib", lib, false, jobs);
        let parent = story.create(&main_pipeline().job(bridge));
        story.wait(5);
        // The parent ends at once, and what it started cannot be read at that look.
        story.finish(parent, &Finish::success());
        let broken = story.gitlab.faults().add(failing(502).about(lib));
        story.look_for(120).await;
        assert!(story.gitlab.faults().hits(broken) > 0);
        story.gitlab.faults().clear();
        story.look_for(120).await;
        let runs = story.count("age_child_pipeline_run_count", &[]);
        assert_eq!(runs, 1.0, "GraphQL {use_graphql}");
    }
}
