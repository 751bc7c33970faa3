//! A living GitLab, and all that look at it at once: a Prometheus every second, one every five
//! seconds, a push every three, and a Prometheus that comes later. Each sees every series at 0
//! before its first event, and as many events as there were.

mod looks;

use std::collections::{BTreeMap, BTreeSet};

use gitlab_simulator::world::{JobKind, Pipeline, PipelineKind};
use gitlab_simulator::{Options, Simulator, World, WorldConfig};

use crate::crash::program::{EVERYTHING, Home, kill};
use crate::crash::reading;
use crate::ledger::{self, Counts};
use crate::support::exporter::{QuickTime, beginning_now, configuration};
use crate::support::otlp::Receiver;
use crate::support::program::Program;
use crate::support::promql::PromQl;
use crate::support::rest::{everything_ends, soon_at_rest};
use crate::support::{prometheus, until};
use looks::{Looks, Series};

const SEED: u64 = 23;
/// Seconds of the world in a second.
const PACE: i64 = 60;
/// Events until the world comes to rest.
const EVENTS: f64 = 3000.0;
/// A world that is busy, and comes to rest soon after.
fn world() -> World {
    World::generate(WorldConfig {
        seed: SEED,
        projects: 6,
        pipelines_per_project: 4,
        active_ratio: 1.0,
        pushes_per_hour: 60.0,
        longest_job: 30_000,
        mix: soon_at_rest(),
        ..beginning_now()
    })
}

/// A Prometheus that looks at the exporter every so many seconds.
async fn prometheus(home: &Home, seconds: u64) -> Option<(Program, PromQl)> {
    let interval = format!("{{scrape_interval: {seconds}s, scrape_timeout: 1s}}");
    let configuration = home.prometheus();
    let (_, rest) = configuration.split_once('\n').expect("lines");
    prometheus::start(&format!("global: {interval}\n{rest}")).await
}

/// What happened since the first look.
fn want(simulator: &Simulator, first_look: i64) -> Counts {
    ledger::all_counts(simulator.world().ledger().entries(), first_look)
}

/// Waits until so many events have happened.
async fn happened(simulator: &Simulator, first_look: i64, events: f64) {
    until(&format!("{events} events"), async || {
        let all = ledger::events(&want(simulator, first_look));
        (all >= events).then_some(()).ok_or(format!("{all}"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_sees_0_first_and_every_event_after() {
    let simulator = Simulator::start(world(), &Options::default()).expect("a simulator");
    let receiver = Receiver::start().await;
    let settings = format!(
        "telemetry: {{birth_window: 12s}}
otel: {{metrics: {{endpoint: '{}', protocol: grpc, interval: 3s}}}}
",
        receiver.grpc()
    );
    let home = Home::new(&configuration(&simulator, &settings), &EVERYTHING);
    let Some((_one, every_second)) = prometheus(&home, 1).await else {
        return;
    };
    let (_five, every_five) = prometheus(&home, 5).await.expect("as before");
    let first_look = simulator.world().now();
    let exporter = home.start_and_read().await;
    let projects = simulator.world().projects().count();
    home.read_slowly(projects).await;
    let looks = Looks {
        every_second,
        every_five,
        receiver,
    };
    looks.have_begun().await;

    let time = QuickTime::of(&simulator, PACE);
    happened(&simulator, first_look, EVENTS / 2.0).await;
    let (_late, late) = prometheus(&home, 1).await.expect("as before");
    happened(&simulator, first_look, EVENTS).await;
    simulator.world().calm();
    let want = at_rest(&simulator, &home, first_look).await;
    drop(time);

    looks.agree(&want).await;
    assert_no_spike(&late, &want).await;
    tell(&want);

    // Without a state file the next process knows nothing: what GitLab still shows is born again.
    let named = named_by_history(&simulator.world());
    let before = reading::of_prometheus(&looks.every_second).await;
    kill(exporter).await;
    let _exporter = home.start_and_read().await;
    until("what history names is born again", async || {
        let text = home.metrics().await;
        assert_eq!(reading::of_text(&text), Counts::new(), "all begin at 0");
        let born = looks::born(&text);
        let missing: Vec<_> = named.difference(&born).collect();
        match missing.len() {
            0 => Ok(()),
            some => Err(format!("{some} of {} miss: {missing:?}", named.len())),
        }
    })
    .await;
    looks.have_seen_it_begin_anew(&home).await;
    for (series, rise) in reading::of_prometheus(&looks.every_second).await {
        let known = before.iter().find(|(known, _)| *known == series);
        let rises = known.map_or(0.0, |(_, rise)| rise.rises);
        assert_eq!(rise.rises, rises, "{series:?}: {rise:?}");
    }
}

/// Waits until everything that runs has ended, and the exporter shows all of it.
async fn at_rest(simulator: &Simulator, home: &Home, first_look: i64) -> Counts {
    everything_ends(simulator).await;
    until("the exporter shows all of it", async || {
        let want = want(simulator, first_look);
        let got = reading::of_text(&home.metrics().await);
        if got == want {
            return Ok(want);
        }
        Err(ledger::difference(&got, &want).unwrap_or_default())
    })
    .await
}

/// A Prometheus that came when counters were high has seen what happened since, and nothing more.
async fn assert_no_spike(late: &PromQl, want: &Counts) {
    let seen = reading::of_prometheus(late).await;
    let mut old = 0;
    for (series, rise) in &seen {
        let all = want.get(series).copied().unwrap_or_default();
        assert_eq!(rise.first + rise.rises, all, "{series:?}: {rise:?}");
        assert_eq!(rise.falls, 0, "{series:?}: {rise:?}");
        old += usize::from(rise.first > 0.0);
    }
    assert!(old > 100, "{old} of {} were there before", seen.len());
    // In its own words: what it extrapolates to is less than half a step.
    let rises: f64 = seen.iter().map(|(_, rise)| rise.rises).sum();
    let first: f64 = seen.iter().map(|(_, rise)| rise.first).sum();
    let mut increase = 0.0;
    for metric in ledger::COUNTED {
        let of = format!("sum(increase({}[1h]))", reading::sample_name(metric));
        increase += late.value(&of, None).await.unwrap_or_default();
    }
    assert!(
        increase <= 1.1 * rises && first > rises / 10.0,
        "an increase of {increase}, where {rises} rose, after {first}"
    );
}

/// Series that GitLab's history names: those of the pipelines that it shows, and of the jobs of
/// each ref's newest.
fn named_by_history(world: &World) -> BTreeSet<Series> {
    let mut named = BTreeSet::new();
    for project in world.projects() {
        let mut newest: BTreeMap<_, &Pipeline> = BTreeMap::new();
        for pipeline in world.pipelines_of(project.id) {
            let of = of_pipeline(&project.full_path, pipeline);
            named.insert(series("age_pipeline_run_count", &of));
            if pipeline.status.is_complete() && pipeline.duration.is_some() {
                let mut of = of.to_vec();
                of.push(("status", pipeline.status.to_string()));
                named.insert(series("age_pipeline_duration_seconds", &of));
            }
            if &*pipeline.source == "parent_pipeline" {
                continue;
            }
            let place = newest
                .entry(match pipeline.merge_request_iid {
                    Some(iid) => iid.to_string(),
                    None => format!("{:?} {}", pipeline.kind, pipeline.ref_name),
                })
                .or_insert(pipeline);
            if pipeline.id > place.id {
                *place = pipeline;
            }
        }
        for pipeline in newest.into_values() {
            let [_, of_project, of_ref, _] = of_pipeline(&project.full_path, pipeline);
            let jobs = world.jobs_of(pipeline.id);
            for job in jobs.filter(|job| job.kind == JobKind::Build && job.started_at.is_some()) {
                let mut of = vec![
                    ("job_name", job.name.to_string()),
                    of_project.clone(),
                    of_ref.clone(),
                    ("stage", job.stage.to_string()),
                ];
                named.insert(series("age_job_run_count", &of));
                if let Some(reason) = &job.failure_reason {
                    of.push(("failure_reason", reason.to_string()));
                    named.insert(series("age_job_failures_total", &of));
                }
            }
        }
    }
    named
}

fn series(metric: &str, labels: &[(&str, String)]) -> Series {
    let labels = labels.iter();
    let labels = labels.map(|(key, value)| ((*key).to_owned(), value.clone()));
    (metric.to_owned(), labels.collect())
}

/// The labels of a pipeline's counters. All merge requests have one target.
fn of_pipeline(project: &str, pipeline: &Pipeline) -> [(&'static str, String); 4] {
    let (kind, git_ref) = match pipeline.kind {
        PipelineKind::Branch => ("branch", &*pipeline.ref_name),
        PipelineKind::Tag => ("tag", &*pipeline.ref_name),
        PipelineKind::MergeRequest | PipelineKind::MergedResult | PipelineKind::MergeTrain => {
            ("merge-request", "merge-requests/main")
        }
    };
    [
        ("kind", kind.to_owned()),
        ("project", project.to_owned()),
        ("ref", git_ref.to_owned()),
        ("source", pipeline.source.to_string()),
    ]
}

fn tell(want: &Counts) {
    let events = ledger::events(want);
    println!(
        "seed {SEED}: {events} events in {} series, the same every second, every five and pushed",
        want.len()
    );
}
