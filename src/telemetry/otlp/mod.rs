//! What the three OTLP signals have in common: where to send, how to connect, how sending ends.

mod client;
mod exporter;
mod trouble;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::secrets::Secrets;

pub use client::ClientError;
pub(crate) use client::{Headers, grpc_channel, http_client};
pub(crate) use exporter::{Exports, with_grpc, with_http};

/// The OTLP transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// gRPC over HTTP/2.
    Grpc,
    /// Protobuf in the body of an HTTP POST.
    HttpProtobuf,
}

/// One of the OTLP signals; the value of the label `signal`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signal {
    /// `metrics`
    Metrics,
    /// `traces`
    Traces,
    /// `logs`
    Logs,
}

impl Signal {
    /// Every signal.
    pub const ALL: [Self; 3] = [Self::Metrics, Self::Traces, Self::Logs];

    /// The value of the label `signal`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Traces => "traces",
            Self::Logs => "logs",
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How one export request ended; the value of the label `outcome`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// The receiver took everything.
    Success,
    /// The receiver answered, and rejected some of it.
    Partial,
    /// The receiver could not be reached or refused the request; retries, if any, are over.
    Error,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 3] = [Self::Success, Self::Partial, Self::Error];

    /// The value of the label `outcome`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Partial => "partial",
            Self::Error => "error",
        }
    }
}

/// Who counts the export requests of all signals.
pub trait CountExports: Send + Sync {
    /// Counts one export request.
    fn count_export(&self, signal: Signal, outcome: Outcome);
}

/// A header to send; the value is a secret.
pub type Header = (String, SecretString);

/// Where one signal is sent, and how.
#[derive(Clone, Debug)]
pub struct OtlpTarget {
    /// gRPC: scheme, host and port. HTTP: the whole URL, `/v1/metrics` and the like included.
    pub endpoint: Url,
    /// The transport.
    pub protocol: Protocol,
    /// Headers of every request (gRPC metadata).
    pub headers: Vec<Header>,
    /// How long one export request may take.
    pub timeout: Duration,
    /// Whether requests are compressed with gzip.
    pub gzip: bool,
    /// PEM file with certificates that are trusted besides the system's.
    pub ca_cert_path: Option<PathBuf>,
}

impl OtlpTarget {
    /// Makes the values of the headers, and a password in the endpoint, unprintable.
    pub fn register_secrets(&self, secrets: &Secrets) {
        for (_, value) in &self.headers {
            secrets.register(value.expose_secret());
        }
        if let Some(password) = self.endpoint.password() {
            secrets.register(password);
        }
    }
}
