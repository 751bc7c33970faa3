//! Builders for the tests of collectors: pipelines and jobs as sentences, and a watched project.
//!
//! Times are small numbers of seconds. [`Watched`] stands in for the change feed: it keeps floors
//! and says which pipelines are followed, by the rules that [`Feed`] states.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::time::Duration;

use super::refs::{Listing, RefsSeen};
use super::{Feed, FeedCollector, ForeignPipeline, Measured, PipelineFacts, Subject};
use crate::clock::UnixSeconds;
use crate::config::ProjectSettings;
use crate::gitlab::model::{
    DownstreamTarget, Job, JobId, Known, Pipeline, PipelineId, PipelineMergeRequest, ProjectId,
    RefKind, RunnerType, Status, Text, Upstream,
};
use crate::telemetry::catalogue::{
    Counter, Desc, Gauge, Histogram, Kind, LabelValues, Measurement,
};

/// The project that tests watch, unless they say otherwise.
pub const PROJECT: &str = "group/project";

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

/// A pipeline that was just created on `main` by a push.
pub fn pipeline(id: u64, created: i64) -> PipelineFacts {
    let created_at = UnixSeconds(created);
    let pipeline = Pipeline {
        id: PipelineId(id),
        iid: id,
        git_ref: "main".into(),
        kind: RefKind::Branch,
        source: "push".into(),
        status: Status::Created,
        created_at,
        updated_at: created_at,
        started_at: None,
        finished_at: None,
        duration: None,
        queued_duration: None,
        coverage: None,
        merge_request: Known::Nothing,
        upstream: Known::Nothing,
    };
    PipelineFacts {
        pipeline,
        floor: None,
        jobs: None,
        foreign: Vec::new(),
    }
}

impl PipelineFacts {
    pub fn on_branch(mut self, name: &str) -> Self {
        self.pipeline.git_ref = name.into();
        self
    }

    pub fn on_tag(mut self, name: &str) -> Self {
        self.pipeline.kind = RefKind::Tag;
        self.on_branch(name)
    }

    /// A pipeline of a merge request from `feature` to `main`; `end` is `head` for its source,
    /// `merge` for the merged result, `train` for a merge train.
    pub fn on_merge_request(mut self, iid: u64, end: &str) -> Self {
        self.pipeline.kind = RefKind::MergeRequest;
        self.pipeline.merge_request = Known::Value(PipelineMergeRequest {
            iid,
            target_branch: "main".into(),
            source_branch: "feature".into(),
        });
        self.on_branch(&format!("refs/merge-requests/{iid}/{end}"))
            .from("merge_request_event")
    }

    pub fn from(mut self, source: &str) -> Self {
        self.pipeline.source = source.into();
        self
    }

    /// Moves to a status that neither starts nor ends it.
    pub fn turns(mut self, status: impl Into<Status>, at: i64) -> Self {
        self.pipeline.status = status.into();
        self.pipeline.updated_at = UnixSeconds(at);
        self
    }

    /// Runs from now on, for the first time or again: the end of an earlier run stays.
    pub fn runs(mut self, at: i64) -> Self {
        let started = *self.pipeline.started_at.get_or_insert(UnixSeconds(at));
        let queued = started.since(self.pipeline.created_at).as_secs_f64();
        self.pipeline.queued_duration = Some(queued).filter(|seconds| *seconds > 0.0);
        self.turns(Status::Running, at)
    }

    /// Is retried as a whole: GitLab takes the end of the earlier run away.
    pub fn is_retried(mut self, at: i64) -> Self {
        self.pipeline.finished_at = None;
        self.runs(at)
    }

    /// Ends; its duration is the time since its first start.
    pub fn ends(mut self, status: impl Into<Status>, at: i64) -> Self {
        let end = UnixSeconds(at);
        self.pipeline.finished_at = Some(end);
        let started = self.pipeline.started_at;
        self.pipeline.duration = started.map(|start| end.since(start).as_secs_f64());
        self.turns(status, at)
    }

    pub fn covers(mut self, percent: f64) -> Self {
        self.pipeline.coverage = Some(percent);
        self
    }

    /// A child of a pipeline of the same project.
    pub fn child_of(self, parent: &Self, bridge: &str) -> Self {
        let Pipeline { git_ref, kind, .. } = parent.pipeline.clone();
        let mut child = self
            .started_by(PROJECT, parent, bridge)
            .from("parent_pipeline");
        child.pipeline.git_ref = git_ref;
        child.pipeline.kind = kind;
        child.pipeline.merge_request = parent.pipeline.merge_request.clone();
        child
    }

    /// A multi-project pipeline, started by a pipeline of `project`.
    pub fn started_by(mut self, project: &str, upstream: &Self, bridge: &str) -> Self {
        self.pipeline.upstream = Known::Value(Upstream {
            pipeline: upstream.pipeline.id,
            project: project.into(),
            git_ref: upstream.pipeline.git_ref.clone(),
            merge_request: upstream.pipeline.merge_request.clone(),
            bridge: bridge.into(),
        });
        self.from("pipeline")
    }

    /// What started it has not been read yet.
    pub fn upstream_unread(mut self) -> Self {
        self.pipeline.upstream = Known::Unread;
        self
    }

    pub fn with_jobs(mut self, jobs: impl IntoIterator<Item = Job>) -> Self {
        self.jobs = Some(jobs.into_iter().collect());
        self
    }

    /// Leads to `downstream`, which runs in `project`, and that is not tracked.
    pub fn leads_to(mut self, project: &str, downstream: &Self) -> Self {
        let Known::Value(upstream) = downstream.pipeline.upstream.clone() else {
            panic!("say what started the downstream pipeline first");
        };
        let target = DownstreamTarget {
            project_id: ProjectId(900),
            project: project.into(),
            pipeline: downstream.pipeline.clone(),
        };
        self.foreign.push(ForeignPipeline { upstream, target });
        self
    }
}

/// A job of stage `test` that was just created.
pub fn job(id: u64, name: &str, created: i64) -> Job {
    Job {
        id: JobId(id),
        name: name.into(),
        stage: "test".into(),
        status: Status::Created,
        retried: Known::Value(false),
        created_at: UnixSeconds(created),
        started_at: None,
        finished_at: None,
        duration: None,
        queued_duration: None,
        coverage: None,
        failure_reason: Known::Nothing,
        runner_type: Known::Nothing,
        artifact_bytes: None,
    }
}

impl Job {
    pub fn in_stage(mut self, stage: &str) -> Self {
        self.stage = stage.into();
        self
    }

    pub fn turns(mut self, status: impl Into<Status>) -> Self {
        self.status = status.into();
        self
    }

    /// An instance runner takes it, after it waited since it was created.
    pub fn runs(mut self, at: i64) -> Self {
        self.started_at = Some(UnixSeconds(at));
        self.queued_duration = Some(UnixSeconds(at).since(self.created_at).as_secs_f64());
        self.runner_type = Known::Value(RunnerType::Instance);
        self.turns(Status::Running)
    }

    pub fn on_runner(mut self, runner_type: Known<RunnerType>) -> Self {
        self.runner_type = runner_type;
        self
    }

    pub fn succeeds(self, at: i64) -> Self {
        self.ends(Status::Success, at)
    }

    pub fn fails(mut self, reason: &str, at: i64) -> Self {
        self.failure_reason = Known::Value(reason.into());
        self.ends(Status::Failed, at)
    }

    pub fn ends(mut self, status: impl Into<Status>, at: i64) -> Self {
        let end = UnixSeconds(at);
        self.finished_at = Some(end);
        self.duration = self.started_at.map(|start| end.since(start).as_secs_f64());
        self.turns(status)
    }

    /// A newer run of the same job has taken its place.
    pub fn replaced(mut self) -> Self {
        self.retried = Known::Value(true);
        self
    }
}

/// What a test's change feed keeps of a followed pipeline.
#[derive(Clone, Debug)]
struct Followed {
    floor: UnixSeconds,
    unsettled: bool,
    newest: UnixSeconds,
}

/// A project that one collector watches, with the totals of everything it has counted.
#[derive(Clone, Debug)]
pub struct Watched<C: FeedCollector> {
    collector: C,
    pub project: Text,
    pub settings: ProjectSettings,
    pub refs: RefsSeen,
    pub max_pipelines_per_ref: usize,
    pub memory: C::Memory,
    now: UnixSeconds,
    first_seen: Option<UnixSeconds>,
    watermark: UnixSeconds,
    followed: BTreeMap<PipelineId, Followed>,
    deleted: Vec<PipelineId>,
    pub measured: Measured,
}

impl<C: FeedCollector> Watched<C> {
    /// A project that nobody has looked at.
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

    /// A project whose first look, at `first_look`, showed nothing.
    pub fn since(first_look: i64, collector: C) -> Self {
        let mut watched = Self::new(collector);
        watched.look(first_look, [] as [PipelineFacts; 0]);
        watched
    }

    /// GitLab has deleted a pipeline; the next look finds out.
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

    /// One look at the project that shows `pipelines`.
    pub fn look(
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
            facts.floor = (!first).then_some(floor);
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
            project: &self.project,
            settings: &self.settings,
            max_pipelines_per_ref: self.max_pipelines_per_ref,
            refs: &self.refs,
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

    /// Whether a series was born at 0 by history.
    pub fn is_born(&self, metric: &impl Entry, labels: &[(&str, &str)]) -> bool {
        self.measured
            .births
            .iter()
            .any(|key| key.desc == metric.desc() && holds(key.desc, &key.labels, labels))
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
        || facts.jobs.iter().flatten().any(open_job)
        || facts
            .foreign
            .iter()
            .any(|foreign| !foreign.target.pipeline.status.is_terminal())
}

fn newest_event(facts: &PipelineFacts) -> UnixSeconds {
    let jobs = facts
        .jobs
        .iter()
        .flatten()
        .filter_map(|job| job.finished_at);
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
