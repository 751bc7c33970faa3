//! `otel.*`: push by OTLP. Unset means unset: the standard `OTEL_*` variables then decide
//! (see [`crate::config::otlp`]).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::config::duration;
use crate::config::values::{Secret, Switch};

/// OTLP export.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Otel {
    /// Export of metrics.
    pub metrics: OtelMetrics,
    /// Export of traces: spans of the exporter's GitLab calls.
    pub traces: OtelTraces,
    /// Export of the exporter's log messages.
    pub logs: OtelLogs,
    /// Resource attributes, such as `deployment.environment.name: production`.
    pub resource_attributes: BTreeMap<String, String>,
}

/// Export of metrics.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct OtelMetrics {
    /// Export metrics; `auto` = if an endpoint is set here or by `OTEL_EXPORTER_OTLP_*`.
    pub enabled: Switch,
    /// Receiver.
    #[serde(flatten)]
    pub otlp: OtlpSettings,
    /// Export interval; default 60s.
    #[serde(with = "duration::optional")]
    #[schemars(schema_with = "duration::optional::schema")]
    pub interval: Option<Duration>,
    /// Aggregation temporality; only `cumulative`.
    pub temporality: Option<Temporality>,
}

/// Export of traces.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct OtelTraces {
    /// Export traces; `auto` = if an endpoint is set here or by `OTEL_EXPORTER_OTLP_*`.
    pub enabled: Switch,
    /// Receiver.
    #[serde(flatten)]
    pub otlp: OtlpSettings,
    /// Sampling ratio of traces, from 0 to 1; default 1.
    #[schemars(range(min = 0, max = 1))]
    pub sample_ratio: Option<f64>,
}

/// Export of log messages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct OtelLogs {
    /// Export log messages; `auto` = if an endpoint is set here or by `OTEL_EXPORTER_OTLP_*`.
    pub enabled: Switch,
    /// Receiver.
    #[serde(flatten)]
    pub otlp: OtlpSettings,
}

impl Default for OtelLogs {
    fn default() -> Self {
        Self {
            enabled: Switch::Off,
            otlp: OtlpSettings::default(),
        }
    }
}

/// Where one signal is pushed, and how.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct OtlpSettings {
    /// Address of the receiver, such as `http://collector:4317`. For `http/protobuf` the standard path
    /// (`/v1/metrics`, `/v1/traces`, `/v1/logs`) is added to an address without a path.
    #[schemars(with = "Option<String>", extend("format" = "http-url"))]
    pub endpoint: Option<Url>,
    /// Protocol; default `grpc` for port 4317 and `http/protobuf` for others.
    pub protocol: Option<OtlpProtocol>,
    /// Headers of each request, such as `authorization`.
    #[schemars(extend("format" = "headers"))]
    pub headers: Option<BTreeMap<String, Secret>>,
    /// Timeout of one request; default 10s.
    #[serde(with = "duration::optional")]
    #[schemars(schema_with = "duration::optional::schema")]
    pub timeout: Option<Duration>,
    /// Compression of messages; default none.
    pub compression: Option<OtlpCompression>,
    /// PEM file with certificates to trust besides those of the system: of the receiver's certificate
    /// authority, or its own self-signed certificate.
    #[schemars(with = "Option<String>", extend("format" = "ca-file"))]
    pub ca_cert_path: Option<PathBuf>,
}

/// How OTLP messages are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OtlpProtocol {
    /// gRPC, usually port 4317.
    #[serde(rename = "grpc")]
    Grpc,
    /// Protobuf over HTTP, usually port 4318.
    #[serde(rename = "http/protobuf")]
    HttpProtobuf,
}

/// Compression of OTLP messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OtlpCompression {
    /// No compression.
    #[default]
    None,
    /// gzip.
    Gzip,
}

/// Aggregation temporality.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Temporality {
    /// Totals since the start, as in Prometheus.
    Cumulative,
    /// Differences since the last export: rejected; convert in the Collector.
    Delta,
}
