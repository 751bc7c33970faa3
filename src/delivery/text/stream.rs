//! The whole of `/metrics`, a chunk at a time.

use std::io::{self, Write as _};
use std::ops::ControlFlow;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use prometheus::proto::MetricFamily;

use super::lines::{Lines, Meta, Number};
use super::tail;
use super::{Format, Selection};
use crate::catalogue::FamilyId;
use crate::series::{RowValue, RowView, Walk};
use crate::telemetry::process::Exemplars;

/// How much text is written before it is handed on or compressed.
const CHUNK: usize = 64 * 1024;

/// Most places of the table read under one lock.
const ROWS: usize = 4096;

/// Text of all series as an iterator of chunks of some 64 kB, compressed as it is written if asked
/// for. Memory stays at two chunks, however many series there are.
#[derive(Debug)]
pub struct TextStream {
    lines: Lines,
    gzip: Option<GzEncoder<Vec<u8>>>,
    part: Part,
    tail: Vec<MetricFamily>,
    exemplars: Exemplars,
    selection: Selection,
}

/// What is written next.
#[derive(Debug)]
enum Part {
    /// The table's series; the metric whose comments are written already.
    Table(Walk, Option<FamilyId>),
    Tail,
    Done,
}

impl TextStream {
    /// The series that `walk` sees, then `own`: the exporter's own metrics, as a registry gathers
    /// them. A metric of the table's that `own` has too is not repeated.
    #[must_use]
    pub fn new(walk: Walk, own: Vec<MetricFamily>, format: Format, gzip: bool) -> Self {
        Self {
            lines: Lines::new(format),
            gzip: gzip.then(|| GzEncoder::new(Vec::new(), Compression::fast())),
            part: Part::Table(walk, None),
            tail: tail::arrange(own),
            exemplars: Exemplars::default(),
            selection: Selection::default(),
        }
    }

    /// With what is selected alone.
    #[must_use]
    pub fn with_selection(mut self, selection: Selection) -> Self {
        self.tail.retain(|family| selection.has_own(family.name()));
        self.selection = selection;
        self
    }

    /// With the traces behind the exporter's own metrics, which only OpenMetrics carries.
    #[must_use]
    pub fn with_exemplars(mut self, exemplars: Exemplars) -> Self {
        self.exemplars = exemplars;
        self
    }

    /// Writes some more lines.
    fn write(&mut self) {
        match &mut self.part {
            Part::Table(walk, current) => {
                let (lines, selection) = (&mut self.lines, &self.selection);
                let more = walk.next_chunk(ROWS, |row| {
                    if !selection.has(row.family) {
                        return ControlFlow::Continue(());
                    }
                    if *current != Some(row.family) {
                        *current = Some(row.family);
                        begin(lines, row);
                    }
                    write_row(lines, row);
                    if lines.out.len() < CHUNK {
                        ControlFlow::Continue(())
                    } else {
                        ControlFlow::Break(())
                    }
                });
                if !more {
                    self.part = Part::Tail;
                }
            }
            Part::Tail => {
                for family in std::mem::take(&mut self.tail) {
                    tail::write(&mut self.lines, &family, &self.exemplars);
                }
                self.lines.end();
                self.part = Part::Done;
            }
            Part::Done => {}
        }
    }

    /// The next chunk; empty at the end.
    fn chunk(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let done = matches!(self.part, Part::Done);
            if self.lines.out.len() < CHUNK && !done {
                self.write();
                continue;
            }
            let Some(gzip) = &mut self.gzip else {
                return Ok(std::mem::take(&mut self.lines.out));
            };
            gzip.write_all(&self.lines.out)?;
            self.lines.out.clear();
            if gzip.get_ref().len() >= CHUNK {
                return Ok(std::mem::take(gzip.get_mut()));
            }
            if done {
                return self.gzip.take().map_or(Ok(Vec::new()), GzEncoder::finish);
            }
        }
    }
}

impl Iterator for TextStream {
    type Item = io::Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.chunk() {
            Ok(chunk) if chunk.is_empty() => None,
            Ok(chunk) => Some(Ok(chunk.into())),
            Err(error) => {
                self.part = Part::Done;
                self.gzip = None;
                self.lines.out.clear();
                Some(Err(error))
            }
        }
    }
}

fn begin(lines: &mut Lines, row: &RowView<'_>) {
    lines.begin(Meta {
        name: row.desc.name,
        kind: row.desc.kind.as_str(),
        unit: row.desc.unit,
        help: row.desc.help,
    });
}

fn write_row(lines: &mut Lines, row: &RowView<'_>) {
    lines.labels(row.labels.iter());
    match row.value {
        RowValue::Counter(value) | RowValue::Gauge(value) => {
            lines.sample("", None, Number::Value(value));
        }
        RowValue::Histogram {
            bounds,
            buckets,
            sum,
            count,
        } => {
            let cumulated = buckets.iter().scan(0, |total, bucket| {
                *total += bucket;
                Some(*total)
            });
            lines.histogram(bounds, cumulated, sum, count, &[]);
        }
    }
}
