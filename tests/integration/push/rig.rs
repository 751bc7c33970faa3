//! A table to push from, filled by hand.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use amazing_gitlab_exporter::catalogue::buckets::BucketSettings;
use amazing_gitlab_exporter::catalogue::instruments::Instruments;
use amazing_gitlab_exporter::catalogue::labels::{
    ChildLabels, JobLabels, RefSourceLabels, RefSourceStatusLabels,
};
use amazing_gitlab_exporter::catalogue::{self, Collector, Desc, FamilyId, Kind, Measurement};
use amazing_gitlab_exporter::clock::{Clock, UnixSeconds};
use amazing_gitlab_exporter::delivery::Intervals;
use amazing_gitlab_exporter::delivery::push::{
    MAX_MESSAGE_BYTES, PushSettings, Pusher, PusherHandle,
};
use amazing_gitlab_exporter::delivery::text::{Format, TextStream};
use amazing_gitlab_exporter::series::{Block, Delivery, Table, TableSettings, Update};
use amazing_gitlab_exporter::telemetry::otlp::{OtlpTarget, Protocol};
use amazing_gitlab_exporter::telemetry::process::OwnMetrics;
use amazing_gitlab_exporter::telemetry::resource::resource;
use amazing_gitlab_exporter::types::ProjectId;

use prometheus::proto::MetricFamily;

use crate::support::otlp::Receiver;

/// When tests begin.
pub const START: UnixSeconds = UnixSeconds(1_800_000_000);
/// How long new series show 0.
pub const BIRTH_WINDOW: Duration = Duration::from_secs(120);
/// The value of the header that every push carries.
pub const CREDENTIALS: &str = "Bearer push-credentials";

/// Everything around a push.
pub struct Rig {
    pub own: Arc<OwnMetrics>,
    /// Time between pushes; long, so that tests push when they want to.
    pub interval: Duration,
    pub target: OtlpTarget,
    /// Watches how often pushes succeed, if something does.
    pub intervals: Option<Arc<Intervals>>,
    instruments: Instruments,
    table: Arc<Table>,
    pub clock: Clock,
}

impl Rig {
    pub fn new(receiver: &Receiver, protocol: Protocol) -> Self {
        let buckets = BucketSettings::default();
        let table = Table::new(&TableSettings {
            birth_window: BIRTH_WINDOW,
            cardinality_limit: 100_000,
            buckets: buckets.clone(),
        });
        let collectors = ["pipelines", "jobs"];
        let clock = Clock::manual(START);
        let endpoint = match protocol {
            Protocol::Grpc => receiver.grpc(),
            Protocol::HttpProtobuf => receiver.http("metrics"),
        };
        Self {
            own: OwnMetrics::new(table.clone(), &clock, &collectors, &["timeout"]).unwrap(),
            interval: Duration::from_secs(3600),
            target: OtlpTarget {
                endpoint,
                protocol,
                headers: vec![("Authorization".into(), CREDENTIALS.into())],
                timeout: Duration::from_secs(20),
                gzip: true,
                ca_cert_path: None,
            },
            intervals: None,
            instruments: Instruments::with_compat(&buckets).unwrap(),
            table,
            clock,
        }
    }

    /// Has the birth window of pushes follow them.
    pub fn watch_intervals(&mut self) {
        self.intervals = Some(Arc::new(Intervals::new(Arc::clone(&self.table))));
    }

    /// How long what is born now is pushed as 0.
    pub fn birth_window_of_pushes(&self) -> Duration {
        self.table.birth_window(
            Delivery::Push,
            self.clock.steady().plus(Duration::from_secs(1)),
        )
    }

    pub fn start_pushing(&self) -> PusherHandle {
        let attributes = BTreeMap::from([("team".to_owned(), "ci".to_owned())]);
        let settings = PushSettings {
            otlp: self.target.clone(),
            interval: self.interval,
            resource: resource("instance-1", &attributes),
            gitlab_resource: None,
            max_message_bytes: MAX_MESSAGE_BYTES,
            intervals: self.intervals.clone(),
        };
        Pusher::start(
            &settings,
            self.table.clone(),
            self.own.clone(),
            self.own.clone(),
            self.clock.clone(),
        )
        .unwrap()
    }

    /// Records counters and histograms.
    pub fn record(&mut self, batch: &[Measurement]) {
        let deltas = self.instruments.record(batch).unwrap();
        let now = self.clock.steady();
        let rows = self.table.stage(&deltas, |_| ProjectId(1), now);
        let update = Update {
            rows,
            ..Update::default()
        };
        self.table.apply(update, now);
    }

    /// Shows these gauges and no others.
    pub fn show(&mut self, gauges: &[Measurement]) {
        let deltas = self.instruments.record(gauges).unwrap();
        let block = Block {
            project: ProjectId(1),
            collector: Collector::Pipelines,
        };
        let update = Update {
            blocks: vec![(block, deltas)],
            ..Update::default()
        };
        self.table.apply(update, self.clock.steady());
    }

    /// A ref is gone, and long enough for its counters to leave.
    pub fn retire(&mut self, git_ref: &str) {
        let labels = vec![("ref", git_ref.into())];
        self.table.retire(labels, self.clock.steady());
        self.pass(3 * BIRTH_WINDOW);
        assert!(self.table.sweep(self.clock.steady()) > 0);
    }

    pub fn pass(&self, time: Duration) {
        self.clock.set(self.clock.now().plus(time));
    }

    /// `/metrics`, with these of the exporter's own.
    pub fn text(&self, format: Format, own: Vec<MetricFamily>) -> String {
        let stream = TextStream::new(self.table.walk(self.clock.steady()), own, format, false);
        let text: Vec<u8> = stream.flat_map(|chunk| chunk.unwrap().to_vec()).collect();
        String::from_utf8(text).unwrap()
    }

    /// What `/metrics` says.
    pub fn scrape(&self) -> BTreeMap<String, f64> {
        let text = self.text(Format::Text, self.own.gather());
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        samples
            .map(|sample| {
                let (series, value) = sample.rsplit_once(' ').unwrap();
                let braces = if series.ends_with('}') { "" } else { "{}" };
                (format!("{series}{braces}"), value.parse().unwrap())
            })
            .collect()
    }

    /// How many messages ended so.
    pub fn exports(&self, outcome: &str) -> f64 {
        let series = format!(r#"age_otlp_exports_total{{outcome="{outcome}",signal="metrics"}}"#);
        self.scrape()[&series]
    }
}

pub fn desc(name: &str) -> &'static Desc {
    FamilyId::by_name(name).unwrap().desc()
}

pub fn kind_of(series: &str) -> Kind {
    let (name, _) = series.split_once('{').unwrap();
    desc(name).kind
}

pub fn ref_source(git_ref: &str, source: &str) -> RefSourceLabels {
    RefSourceLabels {
        kind: "branch".into(),
        project: "group/project".into(),
        git_ref: git_ref.into(),
        source: source.into(),
    }
}

pub fn ref_source_status(git_ref: &str, source: &str, status: &str) -> RefSourceStatusLabels {
    RefSourceStatusLabels {
        kind: "branch".into(),
        project: "group/project".into(),
        git_ref: git_ref.into(),
        source: source.into(),
        status: status.into(),
    }
}

pub fn job(name: &str) -> JobLabels {
    JobLabels {
        job_name: name.into(),
        project: "group/project".into(),
        git_ref: "main".into(),
        stage: "test".into(),
    }
}

pub fn row(i: usize) -> catalogue::labels::JobRunLabels {
    catalogue::labels::JobRunLabels {
        job_name: format!("job number {i} with a name of some length").into(),
        project: "group/subgroup/project".into(),
        git_ref: "main".into(),
        runner_type: "instance".into(),
        stage: "test".into(),
        status: "success".into(),
    }
}

pub fn child(i: usize) -> ChildLabels {
    ChildLabels {
        bridge_name: format!("deploy {i}").into(),
        parent_project: "group/parent".into(),
        parent_ref: "main".into(),
        project: "group/child".into(),
        git_ref: "main".into(),
    }
}
