//! One world, two exporters that follow it in step: GraphQL and REST must tell the same.

mod cases;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use amazing_gitlab_exporter::catalogue::{Collector, Kind, all};
use gitlab_simulator::{Options, Simulator};

use super::{LOOK, tracking};
use crate::support::core::{Core, client_settings};
use crate::support::series::{Labels, Series, Value};

/// The families that the change feed fills with the default settings.
fn families() -> BTreeMap<&'static str, Kind> {
    let collectors = [
        Collector::Pipelines,
        Collector::Jobs,
        Collector::ChildPipelines,
    ];
    all()
        .filter(|desc| collectors.contains(&desc.collector) && desc.name != "age_job_runner_info")
        .map(|desc| (desc.name, desc.kind))
        .collect()
}

/// What both ways must agree on.
///
/// Exceptions:
/// 1. *Series at 0 that history names.* REST gives the durations of a pipeline one call at a time;
///    at the first look it reads the newest pipeline of each ref, GraphQL the newest fifty. Such a
///    series is born by REST with its first event, which loses nothing.
/// 2. *The first five minutes after a rename.* GraphQL tells a project's path at every look; by REST
///    that is a call of its own, made every five minutes.
/// 3. *A branch and a tag of one name that were both quiet since before the first look.* REST's list
///    does not tell them apart, and only the newest of a name is read; the older one's state comes
///    with its next pipeline.
fn compared(series: &Series) -> BTreeMap<(String, Labels), Value> {
    let families = families();
    series
        .0
        .iter()
        .filter(|((metric, _), value)| match families.get(metric.as_str()) {
            Some(Kind::Gauge) => true,
            Some(Kind::Counter | Kind::Histogram) => value.count() != 0.0,
            None => false,
        })
        .map(|(key, value)| (key.clone(), *value))
        .collect()
}

/// Whether both tell the same. GraphQL has whole seconds of a job's start and end, REST its duration
/// with fractions: each run may differ by a second.
fn agree(metric: &str, graphql: Option<&Value>, rest: Option<&Value>) -> bool {
    const OF_JOBS: [&str; 3] = [
        "age_job_duration_seconds",
        "age_job_last_run_duration_seconds",
        "age_job_compute_seconds_total",
    ];
    /// More runs than a series of these has.
    const RUNS: f64 = 50.0;
    match (graphql, rest) {
        (Some(Value::Number(one)), Some(Value::Number(other))) if OF_JOBS.contains(&metric) => {
            let runs = if metric.ends_with("_total") {
                RUNS
            } else {
                1.0
            };
            (one - other).abs() < runs
        }
        (
            Some(Value::Histogram { count, sum: one }),
            Some(Value::Histogram {
                count: other_count,
                sum: other,
            }),
        ) if OF_JOBS.contains(&metric) => {
            count == other_count && (one - other).abs() < (*count).max(1) as f64
        }
        (one, other) => one == other,
    }
}

struct Pair {
    gitlab: Simulator,
    by_graphql: Core,
    by_rest: Core,
}

impl Pair {
    fn start(gitlab: Simulator) -> Self {
        let settings = tracking(&["group/app", "group/lib"]);
        let mut client = client_settings(&gitlab);
        let by_graphql = Core::with_client(&gitlab, &settings, &client);
        client.use_graphql = false;
        let by_rest = Core::with_client(&gitlab, &settings, &client);
        Self {
            gitlab,
            by_graphql,
            by_rest,
        }
    }

    async fn look(&mut self) {
        self.by_graphql.round(&self.gitlab).await;
        self.by_rest.round(&self.gitlab).await;
    }

    async fn look_for(&mut self, seconds: u64) {
        for _ in 0..seconds.div_ceil(LOOK) {
            self.gitlab.advance(Duration::from_secs(LOOK));
            self.look().await;
        }
    }

    /// Fails with a table of what differs; gives the number of series.
    fn assert_equal(&self, after: &str) -> usize {
        let graphql = compared(&self.by_graphql.series());
        let rest = compared(&self.by_rest.series());
        let keys: BTreeSet<_> = graphql.keys().chain(rest.keys()).collect();
        let differ: Vec<String> = keys
            .into_iter()
            .filter(|key| !agree(&key.0, graphql.get(key), rest.get(key)))
            .map(|key| {
                let (graphql, rest) = (graphql.get(key), rest.get(key));
                format!("{} {:?}: GraphQL {graphql:?}, REST {rest:?}", key.0, key.1)
            })
            .collect();
        assert!(
            differ.is_empty(),
            "after {after}, {} series differ\n{}",
            differ.len(),
            differ.join("\n")
        );
        graphql.len()
    }
}

#[tokio::test]
async fn both_ways_tell_the_same_of_every_case() {
    let gitlab = Simulator::start(cases::begin(), &Options::default()).expect("a simulator");
    let mut pair = Pair::start(gitlab);
    pair.look().await;
    pair.look_for(330).await;
    pair.assert_equal("history");
    let mut compared = 0;
    let mut seen = BTreeSet::new();
    for case in cases::CASES {
        for step in case.steps {
            step(&mut pair.gitlab.world());
            pair.look_for(60).await;
            let series = self::compared(&pair.by_graphql.series());
            seen.extend(series.into_keys().map(|(metric, _)| metric));
        }
        // Labels of failed jobs and the project itself are read every five minutes.
        pair.look_for(330).await;
        compared = pair.assert_equal(case.name).max(compared);
        let series = self::compared(&pair.by_graphql.series());
        seen.extend(series.into_keys().map(|(metric, _)| metric));
    }
    println!("{} cases, {compared} series are equal", cases::CASES.len());
    assert!(compared > 200, "only {compared} series");
    // They are not equal because they are empty.
    let families: BTreeSet<String> = families().into_keys().map(str::to_owned).collect();
    assert_eq!(seen, families);
}
