//! Any label values and numbers as `/metrics`: read back by a reader of its own, both formats say
//! what was put in.

#![no_main]

use std::collections::BTreeMap;
use std::time::Duration;

use amazing_gitlab_exporter::clock::UnixSeconds;
use amazing_gitlab_exporter::types::ProjectId;
use amazing_gitlab_exporter::series::{Block, Table, TableSettings, Update};
use amazing_gitlab_exporter::catalogue::buckets::BucketSettings;
use amazing_gitlab_exporter::catalogue::{self, Collector, FamilyId, Kind};
use amazing_gitlab_exporter::catalogue::instruments::{Change, Delta};
use amazing_gitlab_exporter::delivery::text::{Format, TextStream};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

const BORN: UnixSeconds = UnixSeconds(1_800_000_000);
const LATER: UnixSeconds = UnixSeconds(1_800_001_000);

/// Labels in order of their names, and the name before them.
type Key = (String, BTreeMap<String, String>);
type Samples = BTreeMap<Key, f64>;

/// A series of any metric.
#[derive(Arbitrary, Debug)]
struct Series {
    family: u8,
    labels: [String; 8],
    value: f64,
    counts: [u16; 4],
}

impl Series {
    fn delta(self, expected: &mut Samples, buckets: &BucketSettings) -> Option<Delta> {
        let facts = catalogue::all().filter(|desc| desc.collector != Collector::Exporter);
        let facts: Vec<_> = facts.collect();
        let desc = facts[usize::from(self.family) % facts.len()];
        let family = FamilyId::by_name(desc.name)?;
        let values = self.labels.iter().cycle().take(desc.labels.len());
        let values: Vec<String> = values.cloned().collect();
        let names = desc.labels.iter().map(ToString::to_string);
        let labels: BTreeMap<String, String> = names.zip(values.iter().cloned()).collect();
        let key = |suffix: &str| (format!("{}{suffix}", desc.name), labels.clone());
        if expected.contains_key(&key("")) || expected.contains_key(&key("_count")) {
            return None;
        }
        let change = match desc.kind {
            Kind::Counter => {
                let rise = f64::from(self.counts[0]) + 0.5;
                expected.insert(key(""), rise);
                Change::Rise(rise)
            }
            Kind::Gauge => {
                expected.insert(key(""), self.value);
                Change::Level(self.value)
            }
            Kind::Histogram => {
                let bounds = buckets.bounds(desc);
                let mut counts: Vec<u64> = self.counts.iter().map(|n| u64::from(*n)).collect();
                counts.resize(bounds.len() + 1, 0);
                let mut total = 0;
                for (bound, count) in bounds.iter().chain([&f64::INFINITY]).zip(&counts) {
                    total += count;
                    let (name, mut labels) = key("_bucket");
                    labels.insert("le".to_owned(), bound.to_string());
                    expected.insert((name, labels), total as f64);
                }
                let sum = total as f64;
                expected.insert(key("_count"), total as f64);
                expected.insert(key("_sum"), sum);
                Change::Histogram {
                    count: total,
                    sum,
                    buckets: counts,
                }
            }
        };
        Some(Delta {
            family,
            labels: values.iter().map(|value| value.as_str().into()).collect(),
            change,
        })
    }
}

/// A text's samples.
fn read(text: &str) -> Samples {
    let lines = text.split('\n').filter(|line| !line.is_empty());
    let samples = lines.filter(|line| !line.starts_with("# "));
    let mut all = Samples::new();
    for line in samples {
        let (key, value) = sample(line).unwrap_or_else(|| panic!("no sample: {line:?}"));
        assert!(all.insert(key, value).is_none(), "twice: {line:?}");
    }
    all
}

fn sample(line: &str) -> Option<(Key, f64)> {
    let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))?;
    let (name, rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    let mut rest = match rest.strip_prefix('{') {
        None => rest,
        Some(mut rest) => loop {
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            let value = match label {
                "le" => value.parse::<f64>().ok()?.to_string(),
                _ => value,
            };
            if labels.insert(label.to_owned(), value).is_some() {
                return None;
            }
            match after.strip_prefix(',') {
                Some(more) => rest = more,
                None => break after.strip_prefix('}')?,
            }
        },
    };
    rest = rest.strip_prefix(' ')?;
    Some(((name.to_owned(), labels), rest.parse().ok()?))
}

/// What stands before the closing quote, without its escapes, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                other @ ('\\' | '"') => other,
                _ => return None,
            }),
            other => value.push(other),
        }
    }
    None
}

fuzz_target!(|series: Vec<Series>| {
    let buckets = BucketSettings::default();
    let table = Table::new(&TableSettings {
        birth_window: Duration::from_secs(100),
        cardinality_limit: 1_000_000,
        buckets: buckets.clone(),
    });
    let mut expected = Samples::new();
    let deltas = series.into_iter();
    let deltas = deltas.filter_map(|series| series.delta(&mut expected, &buckets));
    let (gauges, others): (Vec<_>, Vec<_>) =
        deltas.partition(|delta| delta.family.desc().kind == Kind::Gauge);
    let block = Block {
        project: ProjectId(1),
        collector: Collector::Pipelines,
    };
    let update = Update {
        rows: table.stage(&others, |_| ProjectId(1), BORN),
        blocks: vec![(block, gauges)],
        ..Update::default()
    };
    table.apply(update, BORN);
    for format in [Format::Text, Format::OpenMetrics] {
        let stream = TextStream::new(table.walk(LATER), Vec::new(), format, false);
        let bytes: Vec<u8> = stream
            .flat_map(|chunk| chunk.expect("text").to_vec())
            .collect();
        let text = String::from_utf8(bytes).expect("UTF-8");
        let text = match format {
            Format::Text => text.as_str(),
            Format::OpenMetrics => text.strip_suffix("# EOF\n").expect("an end"),
        };
        // NaN is equal to nothing: compared by its bits.
        let bits = |samples: &Samples| -> BTreeMap<Key, u64> {
            let samples = samples.iter();
            let one = |value: f64| if value.is_nan() { f64::NAN } else { value };
            samples
                .map(|(key, value)| (key.clone(), one(*value).to_bits()))
                .collect()
        };
        assert_eq!(bits(&read(text)), bits(&expected), "{format:?}");
    }
});
