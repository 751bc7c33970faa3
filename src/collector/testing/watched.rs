//! A watched project, with the totals of everything that was counted of it.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::time::Duration;

use super::super::{FeedCollector, Measured};
use super::{PROJECT, project_id};
use crate::catalogue::{Counter, Desc, Gauge, Histogram, Kind, LabelValues, Measurement};
use crate::clock::UnixSeconds;
use crate::config::ProjectSettings;
use crate::facts::feed::Feed;
use crate::facts::feed::PipelineFacts;
use crate::gitlab::model::{Job, Known, Status};
use crate::memory::Subject;
use crate::memory::refs::{Listing, RefsSeen};
use crate::types::{PipelineId, Text};

/// No labels asked for: every series of a metric.
pub const ANY: &[(&str, &str)] = &[];

/// No values.
pub const NONE: [f64; 0] = [];

/// An entry of the catalogue, whatever its type.
pub trait Entry {
    fn desc(&self) -> &Desc;
}

impl<L> Entry for Counter<L> {
    fn desc(&self) -> &Desc {
        &self.desc
    }
}

impl<L> Entry for Gauge<L> {
    fn desc(&self) -> &Desc {
        &self.desc
    }
}

impl<L> Entry for Histogram<L> {
    fn desc(&self) -> &Desc {
        &self.desc
    }
}

/// What moved so long before the watermark is read again.
const OVERLAP: Duration = Duration::from_secs(60);

/// What a test's change feed keeps of a followed pipeline.
#[derive(Clone, Debug)]
struct Followed {
    floor: UnixSeconds,
    unsettled: bool,
    newest: UnixSeconds,
}

/// A project that one collector watches. It replaces the change feed: it keeps floors and
/// says which pipelines are followed, by the rules that [`Feed`] states.
#[derive(Clone, Debug)]
pub struct Watched<C: FeedCollector> {
    collector: C,
    pub project: Text,
    pub settings: ProjectSettings,
    pub refs: RefsSeen,
    pub max_pipelines_per_ref: usize,
    pub memory: C::Memory,
    pub now: UnixSeconds,
    first_seen: Option<UnixSeconds>,
    watermark: UnixSeconds,
    followed: BTreeMap<PipelineId, Followed>,
    deleted: Vec<PipelineId>,
    pub measured: Measured,
}

impl<C: FeedCollector> Watched<C> {
    /// A project that was never polled.
    pub fn new(collector: C) -> Self {
        Self {
            collector,
            project: PROJECT.into(),
            settings: ProjectSettings::default(),
            refs: RefsSeen::default(),
            max_pipelines_per_ref: 10,
            memory: C::Memory::default(),
            now: UnixSeconds(0),
            first_seen: None,
            watermark: UnixSeconds::default(),
            followed: BTreeMap::new(),
            deleted: Vec::new(),
            measured: Measured::default(),
        }
    }

    /// A project whose first poll, at `first_poll`, showed nothing.
    pub fn since(first_poll: i64, collector: C) -> Self {
        let mut watched = Self::new(collector);
        watched.poll(first_poll, [] as [PipelineFacts; 0]);
        watched
    }

    /// GitLab has deleted a pipeline; the next poll finds out.
    pub fn delete(&mut self, id: u64) {
        self.deleted.push(PipelineId(id));
        self.followed.remove(&PipelineId(id));
    }

    /// The branches that a listing at `at` shows.
    pub fn list_branches(&mut self, at: i64, names: &[&str]) {
        self.refs.branches = Some(Listing {
            at: UnixSeconds(at),
            names: names.iter().copied().map(Text::from).collect(),
        });
    }

    /// Whether the change feed reads this pipeline at its next poll.
    pub fn asks_for(&self, facts: &PipelineFacts) -> bool {
        self.first_seen.is_none()
            || facts.pipeline.updated_at >= self.watermark.minus(OVERLAP)
            || self.followed.contains_key(&facts.pipeline.id)
    }

    /// One poll of the project that shows `pipelines`.
    pub fn poll(
        &mut self,
        now: i64,
        pipelines: impl IntoIterator<Item = impl Borrow<PipelineFacts>>,
    ) {
        let feed = self.feed(now, pipelines);
        self.absorb(&feed);
    }

    /// What the change feed gives to the collectors.
    pub fn feed(
        &mut self,
        now: i64,
        pipelines: impl IntoIterator<Item = impl Borrow<PipelineFacts>>,
    ) -> Feed {
        self.now = UnixSeconds(now);
        let first = self.first_seen.is_none();
        let first_seen = *self.first_seen.get_or_insert(self.now);
        let floor = self.watermark.minus(OVERLAP).max(first_seen);
        let mut pipelines: Vec<PipelineFacts> = pipelines
            .into_iter()
            .map(|facts| facts.borrow().clone())
            .collect();
        for facts in &mut pipelines {
            let id = facts.pipeline.id;
            let floor = self.followed.get(&id).map_or(floor, |known| known.floor);
            // What is found in the second of the first poll is history.
            facts.floor = Some(match first {
                true => floor.plus(Duration::from_secs(1)),
                false => floor,
            });
            self.watermark = self.watermark.max(facts.pipeline.updated_at);
            let followed = Followed {
                floor,
                unsettled: is_unsettled(facts),
                newest: newest_event(facts),
            };
            self.followed.insert(id, followed);
        }
        let since = self.watermark.minus(OVERLAP);
        self.followed
            .retain(|_, known| known.unsettled || known.newest >= since);
        Feed {
            pipelines,
            followed: self.followed.keys().copied().collect(),
            deleted: std::mem::take(&mut self.deleted),
        }
    }

    /// Lets the collector take in a feed, and shows what it then shows.
    pub fn absorb(&mut self, feed: &Feed) {
        let subject = Subject {
            id: project_id(PROJECT),
            project: &self.project,
            paths: &BTreeMap::new(),
            settings: &self.settings,
            max_pipelines_per_ref: self.max_pipelines_per_ref,
            refs: &self.refs,
            tier: crate::gitlab::model::Known::Unread,
            now: self.now,
        };
        self.collector
            .absorb(subject, feed, &mut self.memory, &mut self.measured);
        self.measured.states.clear();
        self.collector
            .states(subject, &self.memory, &mut self.measured.states);
        self.every_state_is_shown_once();
    }

    fn every_state_is_shown_once(&self) {
        let mut seen = BTreeMap::new();
        for state in &self.measured.states {
            let before = seen.insert((state.desc.name, &state.labels), state.value);
            assert_eq!(before, None, "shown twice: {}", line(state));
        }
    }

    /// The events of a metric whose labels hold all of `labels`, in order.
    pub fn observed(&self, metric: &impl Entry, labels: &[(&str, &str)]) -> Vec<f64> {
        matching(&self.measured.events, metric.desc(), labels)
            .map(|event| event.value)
            .collect()
    }

    /// The sum of [`Watched::observed`]: a counter's total.
    pub fn total(&self, metric: &impl Entry, labels: &[(&str, &str)]) -> f64 {
        self.observed(metric, labels).iter().sum()
    }

    /// The states of a metric whose labels hold all of `labels`.
    pub fn shown(&self, metric: &impl Entry, labels: &[(&str, &str)]) -> Vec<f64> {
        matching(&self.measured.states, metric.desc(), labels)
            .map(|state| state.value)
            .collect()
    }

    /// The values of label `key` under which a metric has states.
    pub fn shown_labels(&self, metric: &impl Entry, key: &str) -> Vec<String> {
        matching(&self.measured.states, metric.desc(), &[])
            .map(|state| label(metric.desc(), &state.labels, key).to_owned())
            .collect()
    }

    /// Totals of counters, and counts of histograms, by series.
    pub fn totals(&self) -> BTreeMap<String, f64> {
        let mut totals = BTreeMap::new();
        for event in &self.measured.events {
            let rise = match event.desc.kind {
                Kind::Counter => event.value,
                Kind::Histogram => 1.0,
                Kind::Gauge => panic!("a gauge is no event: {}", line(event)),
            };
            *totals.entry(series(event.desc, &event.labels)).or_default() += rise;
        }
        totals
    }

    /// States as text, sorted.
    pub fn states(&self) -> Vec<String> {
        let mut lines: Vec<_> = self.measured.states.iter().map(line).collect();
        lines.sort();
        lines
    }
}

/// Whether it can bring events without having moved.
fn is_unsettled(facts: &PipelineFacts) -> bool {
    let open_job = |job: &Job| {
        job.status.is_terminal()
            && (job.status == Status::Failed && job.failure_reason.is_open()
                || job.started_at.is_some() && job.runner_type.is_open())
    };
    facts.pipeline.status.is_active()
        || facts.pipeline.upstream == Known::Unread
        || all_jobs(facts).any(open_job)
        || facts
            .foreign
            .iter()
            .any(|foreign| !foreign.target.pipeline.status.is_terminal())
}

fn all_jobs(facts: &PipelineFacts) -> impl Iterator<Item = &Job> {
    facts.jobs.iter().chain(&facts.bridges).flatten()
}

fn newest_event(facts: &PipelineFacts) -> UnixSeconds {
    let jobs = all_jobs(facts).filter_map(|job| job.finished_at);
    let foreign = facts
        .foreign
        .iter()
        .map(|foreign| foreign.target.pipeline.updated_at);
    jobs.chain(foreign)
        .fold(facts.pipeline.updated_at, UnixSeconds::max)
}

fn matching<'a>(
    all: &'a [Measurement],
    desc: &'a Desc,
    labels: &'a [(&str, &str)],
) -> impl Iterator<Item = &'a Measurement> {
    all.iter()
        .filter(move |one| one.desc == desc && holds(desc, &one.labels, labels))
}

fn holds(desc: &Desc, values: &LabelValues, labels: &[(&str, &str)]) -> bool {
    labels
        .iter()
        .all(|(key, value)| label(desc, values, key) == *value)
}

fn label<'a>(desc: &Desc, values: &'a LabelValues, key: &str) -> &'a str {
    let place = desc.labels.iter().position(|known| *known == key);
    &values[place.unwrap_or_else(|| panic!("{} has no label {key}", desc.name))]
}

fn series(desc: &Desc, values: &LabelValues) -> String {
    let labels: Vec<_> = desc
        .labels
        .iter()
        .zip(values)
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect();
    format!("{}{{{}}}", desc.name, labels.join(","))
}

fn line(measurement: &Measurement) -> String {
    format!(
        "{} {}",
        series(measurement.desc, &measurement.labels),
        measurement.value
    )
}
