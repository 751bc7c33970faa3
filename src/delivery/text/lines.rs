//! Lines of the two formats.

use std::io::Write as _;

use super::Format;
use super::number::{open_metrics_bound, push_count, push_value, text_bound};
use crate::telemetry::process::Exemplar;

/// What the comment lines above a metric say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meta<'a> {
    /// Full name, as in the catalogue.
    pub(super) name: &'a str,
    /// `counter`, `gauge`, `histogram` or `summary`.
    pub(super) kind: &'static str,
    /// UCUM unit, or empty.
    pub(super) unit: &'a str,
    pub(super) help: &'a str,
}

/// A sample's value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    Value(f64),
    Count(u64),
}

/// Writes lines into memory.
#[derive(Debug)]
pub(super) struct Lines {
    /// What is written and not yet taken.
    pub(super) out: Vec<u8>,
    format: Format,
    /// The metric being written.
    name: String,
    /// The series being written: its labels, escaped, without braces.
    labels: Vec<u8>,
    /// The values of `le` of the metric being written, without `+Inf`.
    bounds: Vec<String>,
}

impl Lines {
    pub(super) const fn new(format: Format) -> Self {
        Self {
            out: Vec::new(),
            format,
            name: String::new(),
            labels: Vec::new(),
            bounds: Vec::new(),
        }
    }

    /// Begins a metric: its comment lines.
    pub(super) fn begin(&mut self, meta: Meta<'_>) {
        meta.name.clone_into(&mut self.name);
        self.bounds.clear();
        match self.format {
            Format::Text => {
                if !meta.help.is_empty() {
                    self.comment("HELP", meta.name, |out| {
                        escape(out, meta.help, Quotes::Plain)
                    });
                }
                self.comment("TYPE", meta.name, |out| {
                    out.extend_from_slice(meta.kind.as_bytes())
                });
            }
            Format::OpenMetrics => {
                let (name, kind) = open_metrics_type(meta);
                self.comment("TYPE", name, |out| out.extend_from_slice(kind.as_bytes()));
                if let Some(unit) = open_metrics_unit(name, meta.unit) {
                    self.comment("UNIT", name, |out| out.extend_from_slice(unit.as_bytes()));
                }
                if !meta.help.is_empty() {
                    self.comment("HELP", name, |out| escape(out, meta.help, Quotes::Escaped));
                }
            }
        }
    }

    fn comment(&mut self, word: &str, name: &str, content: impl FnOnce(&mut Vec<u8>)) {
        for part in ["# ", word, " ", name, " "] {
            self.out.extend_from_slice(part.as_bytes());
        }
        content(&mut self.out);
        self.out.push(b'\n');
    }

    /// Begins a series of the metric: its labels.
    pub(super) fn labels<'n, 'v>(&mut self, labels: impl Iterator<Item = (&'n str, &'v str)>) {
        self.labels.clear();
        for (name, value) in labels {
            if !self.labels.is_empty() {
                self.labels.push(b',');
            }
            self.labels.extend_from_slice(name.as_bytes());
            self.labels.extend_from_slice(b"=\"");
            escape(&mut self.labels, value, Quotes::Escaped);
            self.labels.push(b'"');
        }
    }

    /// One sample of the series, with one more label if there is any; its value needs no escape.
    pub(super) fn sample(&mut self, suffix: &str, more: Option<(&str, &str)>, number: Number) {
        line(
            &mut self.out,
            &self.name,
            suffix,
            &self.labels,
            more,
            number,
        );
    }

    /// The samples of a histogram. `cumulated` are the counts of the buckets of `bounds`,
    /// `exemplars` theirs and, last, the one of the bucket without a bound; or there are none.
    pub(super) fn histogram(
        &mut self,
        bounds: &[f64],
        cumulated: impl Iterator<Item = u64>,
        sum: f64,
        count: u64,
        exemplars: &[Option<Exemplar>],
    ) {
        if self.bounds.len() != bounds.len() {
            let render = match self.format {
                Format::Text => text_bound,
                Format::OpenMetrics => open_metrics_bound,
            };
            self.bounds = bounds.iter().map(|bound| render(*bound)).collect();
        }
        let Self {
            out,
            format,
            name,
            labels,
            bounds,
        } = self;
        let infinite = std::iter::once(("+Inf", count));
        let buckets = bounds.iter().map(String::as_str).zip(cumulated);
        let known = match format {
            Format::Text => &[],
            Format::OpenMetrics => exemplars,
        };
        let exemplars = known.iter().copied().chain(std::iter::repeat(None));
        for ((bound, count), exemplar) in buckets.chain(infinite).zip(exemplars) {
            let number = Number::Count(count);
            sample(out, name, "_bucket", labels, Some(("le", bound)), number);
            if let Some(exemplar) = exemplar {
                push_exemplar(out, &exemplar);
            }
            out.push(b'\n');
        }
        line(out, name, "_sum", labels, None, Number::Value(sum));
        line(out, name, "_count", labels, None, Number::Count(count));
    }

    /// What stands after the last metric.
    pub(super) fn end(&mut self) {
        if self.format == Format::OpenMetrics {
            self.out.extend_from_slice(b"# EOF\n");
        }
    }
}

fn line(
    out: &mut Vec<u8>,
    name: &str,
    suffix: &str,
    labels: &[u8],
    more: Option<(&str, &str)>,
    number: Number,
) {
    sample(out, name, suffix, labels, more, number);
    out.push(b'\n');
}

/// A line without its end.
fn sample(
    out: &mut Vec<u8>,
    name: &str,
    suffix: &str,
    labels: &[u8],
    more: Option<(&str, &str)>,
    number: Number,
) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(suffix.as_bytes());
    if !labels.is_empty() || more.is_some() {
        out.push(b'{');
        out.extend_from_slice(labels);
        if let Some((label, value)) = more {
            if !labels.is_empty() {
                out.push(b',');
            }
            out.extend_from_slice(label.as_bytes());
            out.extend_from_slice(b"=\"");
            out.extend_from_slice(value.as_bytes());
            out.push(b'"');
        }
        out.push(b'}');
    }
    out.push(b' ');
    match number {
        Number::Value(value) => push_value(out, value),
        Number::Count(count) => push_count(out, count),
    }
}

/// What stands behind a bucket's count: the ids of a trace, a value and its time. The ids are of a
/// fixed length, far below the 128 characters that OpenMetrics allows.
fn push_exemplar(out: &mut Vec<u8>, exemplar: &Exemplar) {
    let Exemplar {
        value,
        trace_id,
        span_id,
        unix_nanos,
    } = exemplar;
    // Writing into memory cannot fail.
    let _ = write!(out, " # {{trace_id=\"{trace_id}\",span_id=\"{span_id}\"}} ");
    push_value(out, *value);
    // To the millisecond, as Prometheus keeps times.
    let millis = unix_nanos / 1_000_000;
    let _ = write!(out, " {}.{:03}", millis / 1000, millis % 1000);
}

/// Whether quotes are special where a text is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quotes {
    Escaped,
    Plain,
}

/// Writes `text` with backslashes, line feeds and, where they are special, quotes escaped.
fn escape(out: &mut Vec<u8>, text: &str, quotes: Quotes) {
    let mut rest = text.as_bytes();
    let special = |byte: &u8| match byte {
        b'\\' | b'\n' => true,
        b'"' => quotes == Quotes::Escaped,
        _ => false,
    };
    while let Some(place) = rest.iter().position(special) {
        out.extend_from_slice(&rest[..place]);
        out.push(b'\\');
        out.push(if rest[place] == b'\n' {
            b'n'
        } else {
            rest[place]
        });
        rest = &rest[place + 1..];
    }
    out.extend_from_slice(rest);
}

/// A metric's name and type in OpenMetrics, where a counter's samples must end in `_total` and its
/// name must not. A counter without that suffix can only be `unknown`.
fn open_metrics_type<'a>(meta: Meta<'a>) -> (&'a str, &'static str) {
    match (meta.kind, meta.name.strip_suffix("_total")) {
        ("counter", Some(name)) => (name, "counter"),
        ("counter", None) => (meta.name, "unknown"),
        (kind, _) => (meta.name, kind),
    }
}

/// The unit that OpenMetrics may name: one that the name ends with.
fn open_metrics_unit(name: &str, unit: &str) -> Option<&'static str> {
    let unit = match unit {
        "s" => "seconds",
        "By" => "bytes",
        _ => return None,
    };
    let rest = name.strip_suffix(unit)?;
    rest.ends_with('_').then_some(unit)
}
