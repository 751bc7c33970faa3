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

/// Push by OTLP.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Otel {
    /// Push of metrics.
    pub metrics: OtelMetrics,
    /// Push of traces: spans of the exporter's own GitLab calls.
    pub traces: OtelTraces,
    /// Push of the exporter's own log messages.
    pub logs: OtelLogs,
    /// Attributes of the resource, such as `deployment.environment.name: production`.
    pub resource_attributes: BTreeMap<String, String>,
}

/// Push of metrics.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct OtelMetrics {
    /// Push metrics; `auto` = when an endpoint is configured here or by `OTEL_EXPORTER_OTLP_*`.
    pub enabled: Switch,
    /// Where and how.
    #[serde(flatten)]
    pub otlp: OtlpSettings,
    /// Time between two pushes; 60s when not set.
    #[serde(with = "duration::optional")]
    #[schemars(schema_with = "duration::optional::schema")]
    pub interval: Option<Duration>,
    /// How counters and histograms are sent; only `cumulative`.
    pub temporality: Option<Temporality>,
}

/// Push of traces.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct OtelTraces {
    /// Push traces; `auto` = when an endpoint is configured here or by `OTEL_EXPORTER_OTLP_*`.
    pub enabled: Switch,
    /// Where and how.
    #[serde(flatten)]
    pub otlp: OtlpSettings,
    /// Share of the traces that are recorded, from 0 to 1; all when not set.
    #[schemars(range(min = 0, max = 1))]
    pub sample_ratio: Option<f64>,
}

/// Push of log messages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct OtelLogs {
    /// Push log messages; `auto` = when an endpoint is configured here or by
    /// `OTEL_EXPORTER_OTLP_*`.
    pub enabled: Switch,
    /// Where and how.
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
    /// Address of the receiver, such as `http://collector:4317`. For `http/protobuf` an address
    /// without a path gets the standard one (`/v1/metrics`, `/v1/traces`, `/v1/logs`).
    #[schemars(with = "Option<String>", extend("format" = "http-url"))]
    pub endpoint: Option<Url>,
    /// How messages are sent; when not set, `grpc` to port 4317 and `http/protobuf` to others.
    pub protocol: Option<OtlpProtocol>,
    /// Headers of each request, such as `authorization`.
    #[schemars(extend("format" = "headers"))]
    pub headers: Option<BTreeMap<String, Secret>>,
    /// How long one request may take; 10s when not set.
    #[serde(with = "duration::optional")]
    #[schemars(schema_with = "duration::optional::schema")]
    pub timeout: Option<Duration>,
    /// Compression of messages; none when not set.
    pub compression: Option<OtlpCompression>,
    /// PEM file with the certificates of the receiver's certificate authority.
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
    /// Messages as they are.
    #[default]
    None,
    /// Messages made smaller by gzip.
    Gzip,
}

/// How counters and histograms are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Temporality {
    /// Totals since the start, as Prometheus counts.
    Cumulative,
    /// Differences since the last push: refused; convert in the Collector.
    Delta,
}
