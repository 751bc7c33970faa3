//! What the search of labels for secrets costs: the same two million samples recorded and written with
//! secrets registered and without.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use amazing_gitlab_exporter::catalogue::buckets::BucketSettings;
use amazing_gitlab_exporter::catalogue::instruments::Instruments;
use amazing_gitlab_exporter::delivery::text::{Format, TextStream};
use amazing_gitlab_exporter::series::{Redaction, Table, TableSettings};
use amazing_gitlab_exporter::telemetry::secrets::Secrets;

use crate::jobs::World;
use crate::report::{figure, note};
use crate::role::Outcome;
use crate::table::{LATER, record};

/// Of so many rounds the quickest counts: what others do on the machine only adds to it.
const ROUNDS: usize = 7;
/// Tokens that were replaced, the newest last.
const TOKENS: usize = 9;

/// How long things took.
#[derive(Clone, Copy)]
struct Times {
    first: Duration,
    again: Duration,
    text: Duration,
    samples: usize,
}

/// Both ways in turn.
pub fn measure() -> Outcome {
    let world = World::new();
    let ways = [
        ("without secrets", Redaction::default()),
        ("with secrets", secrets().redaction()),
    ];
    let mut best: [Option<Times>; 2] = [None; 2];
    for _ in 0..ROUNDS {
        for ((_, redaction), best) in ways.iter().zip(&mut best) {
            let times = once(&world, redaction)?;
            *best = Some(best.map_or(times, |best| Times {
                first: best.first.min(times.first),
                again: best.again.min(times.again),
                text: best.text.min(times.text),
                samples: times.samples,
            }));
        }
    }
    let [Some(without), Some(with)] = best else {
        return Err("nothing was measured".into());
    };
    note(&format!(
        "{} series, {} samples; {:?}",
        world.series(),
        with.samples,
        secrets()
    ));
    for ((way, _), times) in ways.iter().zip([without, with]) {
        let series = world.series() as f64;
        let nanoseconds = |time: Duration| time.as_nanos() as f64 / series;
        figure(
            &format!("first record of a series, {way}"),
            nanoseconds(times.first),
            "ns",
            None,
        );
        figure(
            &format!("record of a known series, {way}"),
            nanoseconds(times.again),
            "ns",
            None,
        );
        figure(
            &format!("text alone, plain, {way}"),
            times.text.as_secs_f64(),
            "s",
            None,
        );
    }
    let more = |with: Duration, without: Duration| {
        (with.as_secs_f64() / without.as_secs_f64() - 1.0) * 100.0
    };
    for (what, with, without) in [
        ("first record", with.first, without.first),
        ("record of what is known", with.again, without.again),
        ("text", with.text, without.text),
    ] {
        figure(
            &format!("{what}: more with secrets"),
            more(with, without),
            "%",
            Some(5.0),
        );
    }
    Ok(())
}

/// As many as a process with all settings has.
fn secrets() -> Secrets {
    let secrets = Secrets::new();
    for name in ["webhook", "people", "otlp-metrics", "otlp-traces"] {
        secrets.register(&format!("Bearer {name}-0123456789abcdef"));
    }
    for number in 0..TOKENS {
        secrets.register_token(&format!("glpat-{number}abcdefGHIJKLmnopQR"));
    }
    secrets
}

/// Records everything twice in a new table and writes it once.
fn once(world: &World, redaction: &Redaction) -> Outcome<Times> {
    let buckets = BucketSettings::default();
    let settings = TableSettings {
        birth_window: Duration::from_secs(120),
        cardinality_limit: 1_000_000,
        buckets: buckets.clone(),
    };
    let table = Table::redacting(&settings, redaction.clone());
    let mut instruments = Instruments::new(&buckets)?;
    let first = record(world, &mut instruments, &table)?;
    let again = record(world, &mut instruments, &table)?;
    let start = Instant::now();
    let samples = write(&table);
    Ok(Times {
        first,
        again,
        text: start.elapsed(),
        samples,
    })
}

/// Writes all and says how many lines of samples there are.
fn write(table: &Arc<Table>) -> usize {
    let stream = TextStream::new(table.walk(LATER), Vec::new(), Format::Text, false);
    let mut samples = 0;
    for chunk in stream.flatten() {
        let lines = chunk.split(|byte| *byte == b'\n');
        samples += lines
            .filter(|line| !line.is_empty() && !line.starts_with(b"#"))
            .count();
        black_box(&chunk);
    }
    samples
}
