//! A living GitLab, and all that look at it at once: a Prometheus every second, one every five
//! seconds, a push every three, and a Prometheus that comes later. Each sees every series at 0
//! before its first event, and as many events as there were. And how long it is shown at 0.

mod looks;

use std::collections::BTreeSet;

use amazing_gitlab_exporter::clock::Clock;
use gitlab_simulator::world::PipelineSpec;
use gitlab_simulator::{Options, Simulator, World, WorldConfig};

use crate::crash::program::{EVERYTHING, Home, kill};
use crate::crash::reading;
use crate::ledger::{self, Counts};
use crate::support::exporter::{Exporter, QuickTime, beginning_now, configuration};
use crate::support::otlp::Receiver;
use crate::support::program::Program;
use crate::support::promql::PromQl;
use crate::support::rest::{everything_ends, soon_at_rest};
use crate::support::{prometheus, until};
use looks::Looks;

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

    // Without a state file the next process knows nothing: what GitLab still shows is history.
    let before = reading::of_prometheus(&looks.every_second).await;
    kill(exporter).await;
    let _exporter = home.start_and_read().await;
    home.read_slowly(projects).await;
    assert_eq!(looks::born(&home.metrics().await), BTreeSet::new());
    looks.have_begun().await;
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

fn tell(want: &Counts) {
    let events = ledger::events(want);
    println!(
        "seed {SEED}: {events} events in {} series, the same every second, every five and pushed",
        want.len()
    );
}

/// With `telemetry.birth_window: auto`, the default, whoever scrapes often sees the first event soon: two
/// minutes are more than this waits.
#[tokio::test(flavor = "multi_thread")]
async fn regular_scrapes_see_a_first_event_soon() {
    let world = World::generate(WorldConfig {
        projects: 1,
        pipelines_per_project: 2,
        ..beginning_now()
    });
    let project = world.projects().next().expect("a project").id;
    let simulator = Simulator::start(world, &Options::default()).expect("a simulator");
    let exporter = Exporter::start(&Clock::System, &configuration(&simulator, "")).await;
    until("everything was read", async || {
        let text = exporter.metrics().await;
        let is_read = text.contains("\nage_initial_sync_progress_ratio 1\n");
        is_read.then_some(()).ok_or(text)
    })
    .await;
    let spec = PipelineSpec::branch("main").source("web");
    let spec = spec.stage("test", &["unit"]);
    let created = simulator.world().create_pipeline(project, &spec);
    created.expect("a pipeline");
    let shows = async |value: &str| {
        until(&format!("it is shown as {value}"), async || {
            let text = exporter.metrics().await;
            let line = text.lines().find(|line| {
                line.starts_with("age_pipeline_run_count{") && line.contains("source=\"web\"")
            });
            let shown = line.and_then(|line| line.rsplit_once(' '));
            match shown {
                Some((_, shown)) if shown == value => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    };
    shows("0").await;
    shows("1").await;
    exporter.stop().await;
}
