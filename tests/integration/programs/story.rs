//! What happens in GitLab while Prometheus and VictoriaMetrics look on: some history, then three
//! pipelines, a status that flips, a branch that goes. And what both must make of it.

use gitlab_simulator::world::{Finish, PipelineSpec};
use gitlab_simulator::{Options, Quirks, Simulator, World, WorldConfig};

use crate::support::exporter::{RealTime, beginning_now, configuration};
use crate::support::promql::PromQl;
use crate::support::until;

/// The project where it happens.
pub const PROJECT: &str = "group-0/project-0";
/// How long each of the three pipelines' jobs take, in seconds.
pub const SECONDS: [i64; 3] = [20, 40, 600];

/// A world on the system's time.
pub struct Story {
    /// Its GitLab.
    pub simulator: Simulator,
    _time: RealTime,
    project: u64,
}

impl Story {
    /// Three projects with some history.
    pub fn begin() -> Self {
        let world = World::generate(WorldConfig {
            projects: 3,
            pipelines_per_project: 4,
            // A deleted branch is noticed at once, not within an hour.
            quirks: Quirks {
                activity_throttled: false,
                ..Quirks::default()
            },
            ..beginning_now()
        });
        let project = world.project_by_path(PROJECT).expect("it is there").id;
        let simulator = Simulator::start(world, &Options::default()).expect("a simulator");
        Self {
            _time: RealTime::of(&simulator),
            simulator,
            project,
        }
    }

    /// A configuration for it: births are over quickly.
    pub fn configuration(&self, more: &str) -> String {
        let births = "telemetry: {birth_window: 4s}\n";
        configuration(&self.simulator, &format!("{births}{more}"))
    }

    /// Three pipelines run on `main`, started from the web, and succeed.
    pub fn run_three(&self) {
        for seconds in SECONDS {
            let pipeline = self.start_one("web");
            let mut world = self.simulator.world();
            world
                .finish_pipeline(pipeline, &Finish::success())
                .and_then(|()| world.edit_pipeline(pipeline, |it| it.duration = Some(seconds)))
                .expect("it ends");
        }
        // On the branch that goes something counts, too.
        let pipeline = self.start_on("develop", "web");
        let mut world = self.simulator.world();
        let success = Finish::success();
        world.finish_pipeline(pipeline, &success).expect("it ends");
    }

    /// A pipeline starts on `main`. Gives its id.
    pub fn start_one(&self, source: &str) -> u64 {
        self.start_on("main", source)
    }

    fn start_on(&self, branch: &str, source: &str) -> u64 {
        let spec = PipelineSpec::branch(branch).source(source);
        let spec = spec.stage("build", &["compile"]);
        let mut world = self.simulator.world();
        let pipeline = world.create_pipeline(self.project, &spec).expect("created");
        let job = world.job_named(pipeline, "compile").expect("a job").id;
        world.start_job(job, None).expect("started");
        pipeline
    }

    /// A pipeline that runs fails.
    pub fn fail(&self, pipeline: u64) {
        let mut world = self.simulator.world();
        let finish = Finish::failed("script_failure");
        world.finish_pipeline(pipeline, &finish).expect("failed");
    }

    /// Deletes the branch `develop`.
    pub fn delete_develop(&self) {
        let mut world = self.simulator.world();
        world.delete_branch(self.project, "develop").expect("gone");
    }
}

/// Three events after a birth are an increase of three, of counters and histograms alike, in the
/// `series` with these labels. `increase` names the function that extrapolates as Prometheus does.
pub async fn assert_increases(promql: &PromQl, increase: &str, series: &str) {
    let of_three = format!("{series}, project='{PROJECT}', ref='main', source='web'");
    let count = format!("age_pipeline_run_count{{{of_three}}}");
    until(
        &format!("three are counted in {series}"),
        async || match promql.value(&count, None).await {
            Some(3.0) => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await;
    // At the time of a sample nothing is extrapolated: the numbers are exact.
    let time = promql.value(&format!("timestamp({count})"), None).await;
    let sum: i64 = SECONDS.iter().sum();
    #[expect(clippy::cast_precision_loss, reason = "minutes")]
    let expected = [
        (count, 3.0),
        (
            format!("age_pipeline_duration_seconds_count{{{of_three}}}"),
            3.0,
        ),
        (
            format!("age_pipeline_duration_seconds_sum{{{of_three}}}"),
            sum as f64,
        ),
        (
            format!("age_pipeline_duration_seconds_bucket{{{of_three}, le=~'30(.0)?'}}"),
            1.0,
        ),
        (
            format!("age_pipeline_duration_seconds_bucket{{{of_three}, le=~'60(.0)?'}}"),
            2.0,
        ),
        (
            format!("age_pipeline_duration_seconds_bucket{{{of_three}, le='+Inf'}}"),
            3.0,
        ),
    ];
    for (series, value) in expected {
        let expression = format!("{increase}({series}[5m])");
        let seen = promql.value(&expression, time).await;
        assert_eq!(seen, Some(value), "{expression} at {time:?}");
    }
}

/// A status flips, and not for a second are there two or none.
pub async fn assert_flips(story: &Story, promql: &PromQl, series: &str) {
    let status = format!("age_pipeline_status{{{series}, project='{PROJECT}', ref='main'}} == 1");
    let becomes = async |wanted: &str| {
        until(&format!("{wanted} is shown in {series}"), async || {
            let shown = promql.query(&status, None).await;
            match &shown[..] {
                [(labels, _)] if labels["status"] == wanted => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    };
    let pipeline = story.start_one("api");
    becomes("running").await;
    story.fail(pipeline);
    becomes("failed").await;
    for extreme in ["min_over_time", "max_over_time"] {
        let expression = format!("{extreme}(count({status})[15s:1s])");
        assert_eq!(
            promql.value(&expression, None).await,
            Some(1.0),
            "{expression}"
        );
    }
}

/// The series of a branch that is deleted go stale: at once, not after five minutes.
pub async fn assert_goes_stale(promql: &PromQl, series: &str) {
    let develop = format!("{series}, project='{PROJECT}', ref='develop'");
    for name in [
        "age_pipeline_status",
        "age_job_status",
        "age_pipeline_run_count",
        "age_pipeline_duration_seconds_bucket",
    ] {
        until(&format!("{name} of {develop} is gone"), async || {
            let left = promql.query(&format!("{name}{{{develop}}}"), None).await;
            if left.is_empty() {
                Ok(())
            } else {
                Err(format!("{left:?}"))
            }
        })
        .await;
        let was = format!("count(present_over_time({name}{{{develop}}}[5m]))");
        assert!(promql.value(&was, None).await.is_some(), "{was}");
    }
}
