//! `/metrics` against opentelemetry-prometheus, and what that cannot say.

mod oracle;
mod whole;

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use super::{Format, TextStream};
use crate::catalogue::buckets::BucketSettings;
use crate::catalogue::instruments::{Delta, Instruments};
use crate::catalogue::{Collector, Kind, Measurement};
use crate::clock::UnixSeconds;
use crate::series::{Block, Table, TableSettings, Update};
use crate::types::ProjectId;
use prometheus::proto::MetricFamily;

/// When everything is recorded.
const INITIALIZED_AT: UnixSeconds = UnixSeconds(1_800_000_000);
/// When every initial zero is over.
const LATER: UnixSeconds = UnixSeconds(1_800_001_000);

/// Instruments and a table; all gauges live in one block, none ever leaves.
struct Ours {
    instruments: Instruments,
    table: Arc<Table>,
    gauges: Vec<Delta>,
}

impl Ours {
    fn new(buckets: &BucketSettings) -> Self {
        Self {
            instruments: Instruments::new(buckets).unwrap(),
            table: Table::new(&TableSettings {
                birth_window: Duration::from_secs(100),
                cardinality_limit: 1_000_000,
                buckets: buckets.clone(),
            }),
            gauges: Vec::new(),
        }
    }

    fn record(&mut self, batch: &[Measurement]) {
        let deltas = self.instruments.record(batch).unwrap();
        let rows = self.table.stage(&deltas, |_| ProjectId(1), INITIALIZED_AT);
        for delta in deltas {
            if delta.family.desc().kind == Kind::Gauge {
                let same = |old: &Delta| (old.family, &old.labels) != (delta.family, &delta.labels);
                self.gauges.retain(same);
                self.gauges.push(delta);
            }
        }
        let block = Block {
            project: ProjectId(1),
            collector: Collector::Pipelines,
        };
        let update = Update {
            rows,
            blocks: vec![(block, self.gauges.clone())],
            ..Update::default()
        };
        self.table.apply(update, INITIALIZED_AT);
    }

    fn text(&self, format: Format, own: Vec<MetricFamily>) -> String {
        let stream = TextStream::new(self.table.walk(LATER), own, format, false);
        String::from_utf8(concat(stream)).unwrap()
    }
}

fn concat(stream: TextStream) -> Vec<u8> {
    stream.flat_map(|chunk| chunk.unwrap().to_vec()).collect()
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    flate2::read::GzDecoder::new(bytes)
        .read_to_end(&mut out)
        .unwrap();
    out
}
