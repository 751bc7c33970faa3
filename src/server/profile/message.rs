//! A profile as a protobuf message, after `profile.proto` of github.com/google/pprof. The same
//! message of the `pprof` crate needs a second, older `prost`.

use std::collections::HashMap;
use std::time::SystemTime;

use pprof::{Report, Symbol};

/// `perftools.profiles.Profile`, with the fields that are used here.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Profile {
    #[prost(message, repeated, tag = "1")]
    pub(super) sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    pub(super) sample: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    pub(super) location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    pub(super) function: Vec<Function>,
    /// All texts, the first one empty; other messages hold places in this list.
    #[prost(string, repeated, tag = "6")]
    pub(super) string_table: Vec<String>,
    #[prost(int64, tag = "9")]
    pub(super) time_nanos: i64,
    #[prost(int64, tag = "10")]
    pub(super) duration_nanos: i64,
    #[prost(message, optional, tag = "11")]
    pub(super) period_type: Option<ValueType>,
    #[prost(int64, tag = "12")]
    pub(super) period: i64,
}

/// What a number means.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct ValueType {
    #[prost(int64, tag = "1")]
    pub(super) kind: i64,
    #[prost(int64, tag = "2")]
    pub(super) unit: i64,
}

/// A stack, the innermost location first, and how often it was seen.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    pub(super) location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    pub(super) value: Vec<i64>,
    #[prost(message, repeated, tag = "3")]
    pub(super) label: Vec<Label>,
}

/// Something said of a sample.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct Label {
    #[prost(int64, tag = "1")]
    pub(super) key: i64,
    #[prost(int64, tag = "2")]
    pub(super) text: i64,
}

/// A place in the program: a line, and before it those inlined there, the innermost first.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Location {
    #[prost(uint64, tag = "1")]
    pub(super) id: u64,
    #[prost(message, repeated, tag = "4")]
    pub(super) line: Vec<Line>,
}

/// A line of a function.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub(super) struct Line {
    #[prost(uint64, tag = "1")]
    pub(super) function_id: u64,
    #[prost(int64, tag = "2")]
    pub(super) line: i64,
}

/// A function.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct Function {
    #[prost(uint64, tag = "1")]
    pub(super) id: u64,
    #[prost(int64, tag = "2")]
    pub(super) name: i64,
    #[prost(int64, tag = "3")]
    pub(super) system_name: i64,
    #[prost(int64, tag = "4")]
    pub(super) filename: i64,
}

impl From<&Report> for Profile {
    fn from(report: &Report) -> Self {
        let mut tables = Tables::default();
        let timing = &report.timing;
        let period = 1_000_000_000 / i64::from(timing.frequency.max(1));
        let samples = tables.value_type("samples", "count");
        let cpu = tables.value_type("cpu", "nanoseconds");
        let thread = tables.text("thread");
        let sample = report.data.iter().map(|(stack, count)| {
            let count = i64::try_from(*count).unwrap_or(i64::MAX);
            let frames = stack.frames.iter();
            Sample {
                location_id: frames.map(|frame| tables.location(frame)).collect(),
                value: vec![count, count.saturating_mul(period)],
                label: vec![Label {
                    key: thread,
                    text: tables.text(&stack.thread_name_or_id()),
                }],
            }
        });
        let sample = sample.collect();
        let started = timing.start_time.duration_since(SystemTime::UNIX_EPOCH);
        Self {
            sample_type: vec![samples, cpu],
            sample,
            location: tables.locations,
            function: tables.functions,
            string_table: tables.texts,
            time_nanos: nanos(started.unwrap_or_default()),
            duration_nanos: nanos(timing.duration),
            period_type: Some(cpu),
            period,
        }
    }
}

fn nanos(time: std::time::Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

/// Texts, functions and locations, each once.
struct Tables {
    texts: Vec<String>,
    text_places: HashMap<String, i64>,
    functions: Vec<Function>,
    function_ids: HashMap<Vec<u8>, u64>,
    locations: Vec<Location>,
    location_ids: HashMap<Vec<Line>, u64>,
}

impl Default for Tables {
    fn default() -> Self {
        Self {
            texts: vec![String::new()],
            text_places: HashMap::from([(String::new(), 0)]),
            functions: Vec::new(),
            function_ids: HashMap::new(),
            locations: Vec::new(),
            location_ids: HashMap::new(),
        }
    }
}

impl Tables {
    fn text(&mut self, text: &str) -> i64 {
        if let Some(place) = self.text_places.get(text) {
            return *place;
        }
        let place = i64::try_from(self.texts.len()).unwrap_or(0);
        self.texts.push(text.to_owned());
        self.text_places.insert(text.to_owned(), place);
        place
    }

    fn value_type(&mut self, kind: &str, unit: &str) -> ValueType {
        ValueType {
            kind: self.text(kind),
            unit: self.text(unit),
        }
    }

    fn function(&mut self, symbol: &Symbol) -> u64 {
        if let Some(id) = self.function_ids.get(symbol.raw_name()) {
            return *id;
        }
        // Ids begin with 1: 0 means none.
        let id = self.functions.len() as u64 + 1;
        let function = Function {
            id,
            name: self.text(&symbol.name()),
            system_name: self.text(&symbol.sys_name()),
            filename: self.text(&symbol.filename()),
        };
        self.functions.push(function);
        self.function_ids.insert(symbol.raw_name().to_vec(), id);
        id
    }

    fn location(&mut self, frame: &[Symbol]) -> u64 {
        let lines = frame.iter().map(|symbol| Line {
            function_id: self.function(symbol),
            line: symbol.lineno().into(),
        });
        let line: Vec<Line> = lines.collect();
        if let Some(id) = self.location_ids.get(&line) {
            return *id;
        }
        let id = self.locations.len() as u64 + 1;
        self.location_ids.insert(line.clone(), id);
        self.locations.push(Location { id, line });
        id
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pprof::Frames;

    use super::*;

    fn symbol(name: &str, lineno: u32) -> Symbol {
        Symbol {
            name: Some(name.into()),
            addr: None,
            lineno: Some(lineno),
            filename: Some("src/main.rs".into()),
        }
    }

    #[test]
    fn a_report_keeps_stacks_counts_and_inlined_lines() {
        let stack = |inner: &str| Frames {
            frames: vec![
                vec![symbol(inner, 3), symbol("caller", 7)],
                vec![symbol("main", 1)],
            ],
            thread_name: "worker".into(),
            thread_id: 1,
            sample_timestamp: SystemTime::UNIX_EPOCH,
        };
        let mut report = Report {
            data: HashMap::from([(stack("a"), 2), (stack("b"), 5)]),
            timing: Default::default(),
        };
        report.timing.frequency = 100;
        report.timing.start_time += Duration::from_secs(9);
        let profile = Profile::from(&report);
        let text = |place: i64| profile.string_table[usize::try_from(place).unwrap()].as_str();
        let function = |id: u64| text(profile.function.iter().find(|f| f.id == id).unwrap().name);
        assert_eq!(profile.string_table[0], "");
        assert_eq!(text(profile.sample_type[1].unit), "nanoseconds");
        assert_eq!(
            (profile.period, profile.time_nanos),
            (10_000_000, 9_000_000_000)
        );
        assert_eq!(profile.function.len(), 4);
        assert_eq!(profile.location.len(), 3);
        let five = profile.sample.iter().find(|s| s.value[0] == 5).unwrap();
        assert_eq!(five.value[1], 50_000_000);
        assert_eq!(text(five.label[0].text), "worker");
        let names: Vec<Vec<&str>> = five
            .location_id
            .iter()
            .map(|id| {
                let location = profile.location.iter().find(|l| l.id == *id).unwrap();
                location
                    .line
                    .iter()
                    .map(|line| function(line.function_id))
                    .collect()
            })
            .collect();
        assert_eq!(names, [vec!["b", "caller"], vec!["main"]]);
    }
}
