//! Every query of every panel on a real Prometheus that has watched a living GitLab.

use std::collections::{BTreeMap, BTreeSet};

use gitlab_dashboards::Dashboard;
use gitlab_simulator::faults::{Fault, Rule};
use gitlab_simulator::limits::Limit;
use gitlab_simulator::time::DAY;
use gitlab_simulator::world::{Event, Tier};
use gitlab_simulator::{Options, Simulator, World, WorldConfig};

use super::facts::{Answer, Facts};
use super::wanted::{Want, wanted};
use super::{drawn, filled};
use crate::crash::program::{EVERYTHING, Home, looks};
use crate::crash::reading;
use crate::ledger;
use crate::support::exporter::{QuickTime, beginning_now, configuration};
use crate::support::otlp::Receiver;
use crate::support::promql::PromQl;
use crate::support::rest::{everything_ends, soon_at_rest};
use crate::support::samples::Samples;
use crate::support::series::Labels;
use crate::support::{prometheus, until};

/// Seconds of the world in a second.
const PACE: i64 = 120;
/// Events until the world comes to rest.
const EVENTS: f64 = 2000.0;
/// Longer than the run, shorter than anything else.
const RANGE: &str = "30m";
/// How far Prometheus's extrapolation may take a figure from the truth: it adds up to a scrape
/// interval to the time that a series was there.
const LEEWAY: f64 = 0.08;
/// Scrapes that Prometheus has of the youngest series of what counts: one of them is less than the leeway.
const SCRAPES: f64 = 15.0;

/// What goes wrong there.
const VARIABLES: &str = "/api/v4/projects/:id/pipelines/:pipeline_id/variables";

/// A GitLab with everything that is busy.
fn world() -> World {
    let mut world = World::generate(WorldConfig {
        seed: 31,
        groups: 2,
        projects: 6,
        pipelines_per_project: 4,
        tests_per_job: 2,
        active_ratio: 1.0,
        pushes_per_hour: 40.0,
        longest_job: 60_000,
        mix: soon_at_rest(),
        ..beginning_now()
    });
    for group in ["group-0", "group-1"] {
        world.set_tier(group, Tier::Ultimate).expect("a group");
    }
    world.tokens[0].expires_at = Some(world.now() + 60 * DAY);
    world
}

/// Collectors beside those of [`EVERYTHING`].
const MORE: [&str; 11] = [
    "collectors.jobs.runner_description_regexp=.+",
    "collectors.jobs.tags_regexp=.+",
    "collectors.variables={enabled: true, interval_seconds: 1, regexp: '.*'}",
    "collectors.dora.interval_seconds=1",
    "collectors.repository.interval_seconds=1",
    "collectors.contributors={enabled: true, interval_seconds: 1}",
    "collectors.test_reports={enabled: true, interval_seconds: 1, include_test_cases: true}",
    "collectors.value_stream.interval_seconds=1",
    "collectors.schedules={enabled: true, interval_seconds: 1}",
    "collectors.runners={enabled: true, interval_seconds: 1}",
    "collectors.security={enabled: true, interval_seconds: 1}",
];

/// Panels about what is over when everything has come to rest, about projects that lack something, and
/// about webhooks and subscriptions, which are off.
const EMPTY_AT_REST: [(&str, &str); 10] = [
    ("environments-and-deployments", "Deployments that wait"),
    ("exporter-health", "Connections for subscriptions"),
    ("exporter-health", "Handling of events"),
    ("exporter-health", "Projects without data"),
    ("exporter-health", "Replicas"),
    ("exporter-health", "Subscriptions"),
    ("exporter-health", "Webhooks"),
    ("pipeline-overview", "Longest running jobs"),
    ("pipeline-overview", "Longest running pipelines"),
    ("pipeline-overview", "Passed with warnings"),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_every_panel_agrees_with_the_ledger() {
    let simulator = Simulator::start(world(), &Options::default()).expect("a simulator");
    let throttle = Limit {
        calls: 100_000,
        period: 60,
    };
    simulator.limits().set_throttle(Some(throttle));
    // Something to see where errors are shown.
    let refused = Rule::new(Fault::Status { status: 500 }).on(VARIABLES);
    simulator.faults().add(refused);
    let receiver = Receiver::start().await;
    let settings = format!(
        "telemetry: {{birth_window: 8s}}
otel: {{metrics: {{endpoint: '{}', protocol: grpc, interval: 3s}}}}
",
        receiver.grpc()
    );
    let all: Vec<&str> = EVERYTHING.into_iter().chain(MORE).collect();
    let home = Home::new(&configuration(&simulator, &settings), &all);
    let Some((_prometheus, promql)) = prometheus::start(&home.prometheus()).await else {
        return;
    };
    let first_look = simulator.world().now();
    let _exporter = home.start_and_read().await;
    let projects = simulator.world().projects().count();
    home.read_slowly(projects).await;
    looks(&promql).await;

    let time = QuickTime::of(&simulator, PACE);
    until("enough happens", async || {
        let world = simulator.world();
        let all = ledger::all_counts(world.ledger().entries(), first_look);
        let all = ledger::events(&all);
        (all >= EVENTS).then_some(()).ok_or(format!("{all}"))
    })
    .await;
    simulator.world().calm();
    everything_ends(&simulator).await;
    drop(time);
    until("Prometheus has seen an error", async || {
        let seen = "increase(age_scrape_errors_total[5m]) > 0";
        let errors = promql.query(seen, None).await;
        (!errors.is_empty()).then_some(()).ok_or("none".to_owned())
    })
    .await;

    let facts = at_rest(&simulator, &home, &promql, first_look).await;
    is_seen_often(&promql).await;
    assert_buckets_are_the_ledgers(&facts, &simulator, first_look);
    // Gauges follow what happened at the interval of their collector.
    let empty = EMPTY_AT_REST.map(|(board, panel)| (board.to_owned(), panel.to_owned()));
    let empty = BTreeSet::from(empty);
    let table = until("the answers agree with the facts", async || {
        let facts = Facts(Samples::of_plain_text(&home.metrics().await));
        let (table, without) = answers_agree(&facts, &promql).await?;
        match without == empty {
            true => Ok(table),
            false => Err(format!(
                "panels without any data: {without:?}, not {empty:?}"
            )),
        }
    })
    .await;
    println!("{table}");
    drawn::all_panels(&promql, RANGE).await;
}

/// Waits until the exporter shows all that happened, Prometheus has seen it, and nothing moves.
async fn at_rest(simulator: &Simulator, home: &Home, promql: &PromQl, first_look: i64) -> Facts {
    let mut before = Samples::default();
    until("the exporter shows all of it, and rests", async || {
        let text = home.metrics().await;
        let want = ledger::all_counts(simulator.world().ledger().entries(), first_look);
        if let Some(difference) = ledger::difference(&reading::of_text(&text), &want) {
            return Err(difference);
        }
        let mut samples = Samples::of_plain_text(&text);
        let whole = samples.clone();
        samples.0.retain(|(name, _), _| counts(name));
        let seen = promql
            .samples("{__name__=~'age_.*'}", |label| {
                ["instance", "job"].contains(&label)
            })
            .await;
        let mut seen = seen.0;
        seen.retain(|(name, _), _| counts(name));
        let rests = samples == before && samples.without_empty_labels().0 == seen;
        before = Samples::of_plain_text(&text);
        before.0.retain(|(name, _), _| counts(name));
        rests.then_some(Facts(whole)).ok_or("it moves".to_owned())
    })
    .await
}

/// Waits until Prometheus has enough of every series that counts to extrapolate within the leeway.
async fn is_seen_often(promql: &PromQl) {
    use amazing_gitlab_exporter::catalogue::{Collector, Kind, all};
    let facts = all().filter(|desc| desc.collector != Collector::Exporter);
    let names = facts.filter_map(|desc| match desc.kind {
        Kind::Histogram => Some(format!("{}_count", desc.name)),
        Kind::Counter => Some(desc.name.to_owned()),
        Kind::Gauge => None,
    });
    let names: Vec<String> = names.collect();
    until("every series was scraped often", async || {
        for name in &names {
            let fewest = format!("min(count_over_time({name}[{RANGE}]))");
            match promql.value(&fewest, None).await {
                Some(fewest) if fewest < SCRAPES => return Err(format!("{name}: {fewest}")),
                _ => {}
            }
        }
        Ok(())
    })
    .await;
}

/// Whether it is a counter or a histogram of GitLab's facts.
fn counts(name: &str) -> bool {
    use amazing_gitlab_exporter::catalogue::{Collector, Kind, all};
    let mut descs = all().filter(|desc| desc.collector != Collector::Exporter);
    descs.any(|desc| match desc.kind {
        Kind::Histogram => name
            .strip_prefix(desc.name)
            .is_some_and(|part| matches!(part, "_bucket" | "_count" | "_sum")),
        Kind::Counter => name == desc.name,
        Kind::Gauge => false,
    })
}

/// The buckets of pipelines and jobs hold the durations that the ledger has.
fn assert_buckets_are_the_ledgers(facts: &Facts, simulator: &Simulator, first_look: i64) {
    let world = simulator.world();
    let entries = world.ledger().entries().iter();
    let new = entries.filter(|entry| entry.at > first_look);
    let (mut pipelines, mut jobs) = (Vec::new(), Vec::new());
    for entry in new {
        match &entry.event {
            #[expect(clippy::cast_precision_loss, reason = "seconds")]
            Event::PipelineFinished {
                duration: Some(duration),
                ..
            } => {
                pipelines.push(*duration as f64);
            }
            Event::JobFinished {
                job,
                started_at: Some(_),
                duration: Some(duration),
                ..
            } if !job.bridge => {
                jobs.push(*duration);
            }
            _ => {}
        }
    }
    for (histogram, durations) in [
        ("age_pipeline_duration_seconds", pipelines),
        ("age_job_duration_seconds", jobs),
    ] {
        let buckets = facts.sum(&format!("{histogram}_bucket"), &["le"]);
        assert!(durations.len() > 40 && buckets.len() > 5, "{histogram}");
        for (labels, count) in buckets {
            let bound: f64 = labels["le"].parse().expect("a bound");
            // GraphQL gives whole seconds.
            let up_to = |bound: f64| durations.iter().filter(|it| **it < bound).count();
            let (low, high) = (up_to(bound.next_up()), up_to(bound + 1.0));
            #[expect(clippy::cast_precision_loss, reason = "a handful")]
            let possible = low as f64..=high as f64;
            assert!(
                possible.contains(&count),
                "{histogram} up to {bound}: {count}, not {possible:?}"
            );
        }
    }
}

/// Runs every query and holds it against the facts. Returns a table of what they came to, and the panels
/// without any data.
///
/// # Errors
/// With the queries that came to something else.
async fn answers_agree(
    facts: &Facts,
    promql: &PromQl,
) -> Result<(String, BTreeSet<(String, String)>), String> {
    let mut wrong = Vec::new();
    let mut without = BTreeSet::new();
    let mut table =
        String::from("| dashboard | panel | query | series | value |\n|---|---|---|---|---|\n");
    for dashboard in gitlab_dashboards::all() {
        for panel in dashboard.panels() {
            let name = (dashboard.name(), panel.title());
            let wants = wanted(facts, name.0, name.1);
            let mut empty = true;
            for (index, query) in panel.queries().iter().enumerate() {
                let want = wants.as_ref().and_then(|wants| wants.get(index));
                let (series, sample) = match agrees(&dashboard, &query.expr, want, promql).await {
                    Ok(answer) => {
                        empty &= answer.is_empty();
                        (answer.len(), answer.into_values().next())
                    }
                    Err(instead) => {
                        wrong.push(format!("{name:?} {}: {instead}", query.legend));
                        empty = false;
                        (0, None)
                    }
                };
                let value = sample.map_or("none".to_owned(), |value| format!("{value:.3}"));
                table += &format!(
                    "| {} | {} | {} | {series} | {value} |\n",
                    name.0, name.1, query.legend
                );
            }
            let all = wants.map_or(0, |wants| wants.len());
            if all != panel.queries().len() {
                wrong.push(format!(
                    "{name:?}: what its queries must come to is not said"
                ));
            }
            if empty {
                without.insert((name.0.to_owned(), name.1.to_owned()));
            }
        }
    }
    match wrong.is_empty() {
        true => Ok((table, without)),
        false => Err(format!("{} are wrong:\n{}", wrong.len(), wrong.join("\n"))),
    }
}

/// What a query comes to, if it is what is wanted.
async fn agrees(
    dashboard: &Dashboard,
    expr: &str,
    want: Option<&Want>,
    promql: &PromQl,
) -> Result<Answer, String> {
    let text = filled(dashboard, expr, RANGE);
    let got: Answer = promql
        .query(&text, None)
        .await
        .into_iter()
        .filter(|(_, value)| !value.is_nan())
        .map(|(labels, value)| (plain(labels), value))
        .collect();
    let differs = |why: String| Err(format!("{why}\n  {text}\n  {got:?}"));
    match want {
        None => differs("nothing is said of it".to_owned()),
        Some(Want::Nothing) if got.is_empty() => Ok(got),
        Some(Want::Nothing) => differs("there is something".to_owned()),
        Some(Want::Living) if got.values().all(|value| value.is_finite()) && !got.is_empty() => {
            Ok(got)
        }
        Some(Want::Living) => differs("no numbers".to_owned()),
        Some(Want::Near(want)) => {
            let want: Answer = want
                .iter()
                .map(|(labels, it)| (plain(labels.clone()), *it))
                .collect();
            let near = |value: f64, want: f64| (value - want).abs() <= LEEWAY * want.abs() + 1e-9;
            let want = chosen(expr, &got, &want);
            match disagreement(&got, &want, |value, want| near(value, *want)) {
                None => Ok(got),
                Some(labels) => differs(format!("{labels:?} should be {:?}", want.get(&labels))),
            }
        }
        Some(Want::In(want)) => {
            let inside = |value: f64, (low, high): &(f64, f64)| {
                value >= low * (1.0 - LEEWAY) && value <= high * (1.0 + LEEWAY)
            };
            let want = chosen(expr, &got, want);
            match disagreement(&got, &want, inside) {
                None => Ok(got),
                Some(labels) => differs(format!("{labels:?} should be in {:?}", want.get(&labels))),
            }
        }
    }
}

/// What is wanted of a query that chooses some of the greatest: of as many, those that it has chosen.
fn chosen<T: Clone>(expr: &str, got: &Answer, want: &BTreeMap<Labels, T>) -> BTreeMap<Labels, T> {
    let most = expr.split_once("topk(").and_then(|(_, rest)| {
        let (number, _) = rest.split_once(',')?;
        number.parse().ok()
    });
    if most != Some(got.len()) {
        return want.clone();
    }
    let chosen = want.iter().filter(|(labels, _)| got.contains_key(*labels));
    chosen
        .map(|(labels, value)| (labels.clone(), value.clone()))
        .collect()
}

/// Labels without empty ones, which Prometheus does not have, and with bounds as we write them.
fn plain(mut labels: Labels) -> Labels {
    labels.retain(|_, value| !value.is_empty());
    if let Some(bound) = labels.get_mut("le") {
        let number: f64 = bound.parse().expect("a bound is a number");
        *bound = number.to_string();
    }
    labels
}

/// The first labels that one has and the other has not, or whose value is not as it should be.
fn disagreement<T>(
    got: &Answer,
    want: &BTreeMap<Labels, T>,
    agrees: impl Fn(f64, &T) -> bool,
) -> Option<Labels> {
    let all: BTreeSet<&Labels> = got.keys().chain(want.keys()).collect();
    let wrong = all
        .into_iter()
        .find(|labels| match (got.get(*labels), want.get(*labels)) {
            (Some(got), Some(want)) => !agrees(*got, want),
            _ => true,
        });
    wrong.cloned()
}
