//! The OTLP receiver and reader of Prometheus formats in `programs/receiver.py`: nothing in it is
//! the exporter's.

use std::collections::BTreeMap;
use std::process::Command;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::http;
use super::program::Program;
use super::samples::Samples;
use super::series::Labels;
use super::tools::tool;

/// The running program.
pub struct Foreign {
    _program: Program,
    grpc: u16,
    http: u16,
}

/// What came of one series.
#[derive(Clone, Debug, Deserialize)]
pub struct ReceivedSeries {
    /// Name of the metric.
    pub name: String,
    /// `gauge`, `sum` or `histogram`.
    pub kind: String,
    /// Attributes of the points.
    pub labels: Labels,
    /// Start times, each once.
    pub starts: Vec<u64>,
    /// First value or count of each life.
    pub births: Vec<f64>,
    /// Time of the last point.
    pub time: u64,
    /// Whether the last point says that the series is gone.
    pub gone: bool,
    /// What no receiver should see.
    pub faults: Vec<String>,
    /// What the last point with a value says.
    #[serde(flatten)]
    pub last: Last,
}

/// What a point says.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Last {
    /// A gauge or sum.
    Number { value: f64 },
    /// A histogram.
    Histogram {
        count: u64,
        sum: f64,
        bounds: Vec<f64>,
        buckets: Vec<u64>,
    },
    /// Nothing but its end.
    Nothing {},
}

impl Foreign {
    /// Starts it; none where it cannot be had.
    pub async fn start() -> Option<Self> {
        let mut command = Command::new(tool("python/bin/python3")?);
        let script = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/integration/programs/receiver.py"
        );
        command.arg(script);
        let mut program = Program::start(command);
        let (grpc, http) = program.tells("its ports", ports).await;
        Some(Self {
            _program: program,
            grpc,
            http,
        })
    }

    /// The endpoint for gRPC.
    pub fn grpc(&self) -> String {
        format!("http://127.0.0.1:{}", self.grpc)
    }

    /// The endpoint for http/protobuf, without a path.
    pub fn http(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }

    /// All series received so far.
    pub async fn received(&self) -> Vec<ReceivedSeries> {
        let answer = http::get(&format!("{}/received", self.http())).await;
        lines(&answer.body)
    }

    /// The samples of a text in the Prometheus text format.
    pub async fn read_text(&self, text: String) -> Samples {
        self.read("text", text).await
    }

    /// The samples of an OpenMetrics text, which is checked strictly.
    pub async fn read_openmetrics(&self, text: String) -> Samples {
        self.read("openmetrics", text).await
    }

    async fn read(&self, format: &str, text: String) -> Samples {
        let answer = http::post(&format!("{}/read/{format}", self.http()), text).await;
        assert_eq!(answer.status, 200, "as {format}: {}", answer.body);
        let mut samples = Samples::default();
        let read: Vec<(String, BTreeMap<String, String>, f64)> = lines(&answer.body);
        for (name, labels, value) in read {
            samples.add(&name, labels, value);
        }
        samples
    }
}

impl ReceivedSeries {
    /// Adds what Prometheus would show of it now.
    pub fn add_to(&self, samples: &mut Samples) {
        if self.gone {
            return;
        }
        match &self.last {
            Last::Number { value } => samples.add(&self.name, self.labels.clone(), *value),
            Last::Histogram {
                count,
                sum,
                bounds,
                buckets,
            } => {
                assert_eq!(*count, buckets.iter().sum::<u64>(), "{self:?}");
                samples.add_histogram(&self.name, &self.labels, bounds, buckets, *sum);
            }
            Last::Nothing {} => panic!("a series that is there has a value: {self:?}"),
        }
    }
}

fn ports(output: &str) -> Option<(u16, u16)> {
    let mut words = output.lines().next()?.split(' ');
    let grpc = words.nth(1)?.parse().ok()?;
    let http = words.nth(1)?.parse().ok()?;
    Some((grpc, http))
}

fn lines<T: DeserializeOwned>(text: &str) -> Vec<T> {
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}
