//! Where each signal is pushed by OTLP: our settings first, then the standard `OTEL_*` variables,
//! then the defaults of the OpenTelemetry specification.
//!
//! Source: <https://opentelemetry.io/docs/specs/otel/protocol/exporter/> and
//! <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use url::Url;

use super::environment::Environment;
use super::format::http_url;
use super::model::{Otel, OtlpCompression, OtlpProtocol, OtlpSettings, Temporality};
use super::problem::Problem;
use super::tree::Origin;
use super::values::{Secret, Switch};

/// The name of the service when nothing else names it.
const SERVICE_NAME: &str = "amazing-gitlab-exporter";

/// What OTLP carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// Metrics.
    Metrics,
    /// Spans.
    Traces,
    /// Log records.
    Logs,
}

impl Signal {
    /// All signals.
    pub const ALL: [Self; 3] = [Self::Metrics, Self::Traces, Self::Logs];

    /// The name as the configuration and the standard paths (`/v1/metrics`) have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Traces => "traces",
            Self::Logs => "logs",
        }
    }
}

/// Where and how one signal is pushed.
#[derive(Clone, Debug, PartialEq)]
pub struct OtlpTarget {
    /// The address: for gRPC the server, for HTTP the whole address to post to.
    pub endpoint: Url,
    /// gRPC or HTTP.
    pub protocol: OtlpProtocol,
    /// Headers, or gRPC metadata, of each request.
    pub headers: BTreeMap<String, Secret>,
    /// How long one request may take.
    pub timeout: Duration,
    /// Compression of each request.
    pub compression: OtlpCompression,
    /// PEM file of the receiver's certificate authority, beside the system's.
    pub ca_cert_path: Option<PathBuf>,
    /// Time between two pushes; only metrics use it.
    pub interval: Duration,
}

impl fmt::Display for OtlpTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            OtlpProtocol::Grpc => "grpc",
            OtlpProtocol::HttpProtobuf => "http/protobuf",
        };
        write!(f, "{} by {protocol}", self.endpoint)
    }
}

/// Which of the exporter's own traces are recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TraceSampler {
    /// Share of the traces, from 0 to 1.
    pub ratio: f64,
    /// Whether a sampled or unsampled parent decides for its children.
    pub parent_based: bool,
}

/// What the settings under `otel` and the `OTEL_*` variables come to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ResolvedOtel {
    pub metrics: Option<OtlpTarget>,
    pub traces: Option<OtlpTarget>,
    pub logs: Option<OtlpTarget>,
    pub sampler: TraceSampler,
    pub resource_attributes: BTreeMap<String, String>,
}

/// Resolves `otel` against the variables; a variable that is needed and wrong is a problem.
pub(super) fn resolve(
    otel: &Otel,
    environment: &Environment,
    problems: &mut Vec<Problem>,
) -> ResolvedOtel {
    let mut resolver = Resolver {
        variables: environment,
        problems,
    };
    ResolvedOtel {
        metrics: resolver.metrics(otel),
        traces: resolver.target(Signal::Traces, otel.traces.enabled, &otel.traces.otlp),
        logs: resolver.target(Signal::Logs, otel.logs.enabled, &otel.logs.otlp),
        sampler: resolver.sampler(otel.traces.sample_ratio),
        resource_attributes: resolver.resource_attributes(&otel.resource_attributes),
    }
}

struct Resolver<'a> {
    variables: &'a Environment,
    problems: &'a mut Vec<Problem>,
}

impl Resolver<'_> {
    fn metrics(&mut self, otel: &Otel) -> Option<OtlpTarget> {
        let mut target = self.target(Signal::Metrics, otel.metrics.enabled, &otel.metrics.otlp)?;
        let name = "OTEL_METRIC_EXPORT_INTERVAL";
        let interval = otel
            .metrics
            .interval
            .or_else(|| self.read(name, self.variables.get(name), milliseconds));
        target.interval = interval.unwrap_or(target.interval);
        if otel.metrics.temporality.is_none() {
            let name = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
            self.read(name, self.variables.get(name), temporality);
        }
        Some(target)
    }

    fn target(
        &mut self,
        signal: Signal,
        enabled: Switch,
        settings: &OtlpSettings,
    ) -> Option<OtlpTarget> {
        let is_true = |value: &str| value.eq_ignore_ascii_case("true");
        if self.variables.get("OTEL_SDK_DISABLED").is_some_and(is_true) {
            return None;
        }
        let exporter = format!("OTEL_{}_EXPORTER", signal.as_str().to_uppercase());
        let has_endpoint =
            settings.endpoint.is_some() || self.variable(signal, "ENDPOINT").is_some();
        match enabled {
            Switch::Off => return None,
            Switch::Auto if !has_endpoint || self.variables.get(&exporter) == Some("none") => {
                return None;
            }
            Switch::Auto | Switch::On => {}
        }
        let asked = settings
            .protocol
            .or_else(|| self.read_otlp(signal, "PROTOCOL", protocol));
        let (endpoint, protocol) = self.endpoint(signal, settings, asked)?;
        Some(OtlpTarget {
            endpoint,
            protocol,
            headers: match &settings.headers {
                Some(headers) => headers.clone(),
                None => self
                    .read_otlp(signal, "HEADERS", headers)
                    .unwrap_or_default(),
            },
            timeout: settings
                .timeout
                .or_else(|| self.read_otlp(signal, "TIMEOUT", milliseconds))
                .unwrap_or(Duration::from_secs(10)),
            compression: settings
                .compression
                .or_else(|| self.read_otlp(signal, "COMPRESSION", compression))
                .unwrap_or_default(),
            ca_cert_path: settings
                .ca_cert_path
                .clone()
                .or_else(|| self.read_otlp(signal, "CERTIFICATE", |path| Ok(PathBuf::from(path)))),
            interval: Duration::from_secs(60),
        })
    }

    /// The address to send to. The specification: a general address gets the signal's path for
    /// HTTP, a signal's own address is used as it is.
    fn endpoint(
        &mut self,
        signal: Signal,
        settings: &OtlpSettings,
        asked: Option<OtlpProtocol>,
    ) -> Option<(Url, OtlpProtocol)> {
        let own_variable = format!(
            "OTEL_EXPORTER_OTLP_{}_ENDPOINT",
            signal.as_str().to_uppercase()
        );
        let insecure = self.read_otlp(signal, "INSECURE", boolean).unwrap_or(false);
        let (mut url, append) = if let Some(url) = &settings.endpoint {
            // Like the general address when it has no path, else as it is.
            (url.clone(), url.path() == "/")
        } else if let Some((name, text)) = self.variable(signal, "ENDPOINT") {
            let append = name != own_variable;
            let parse = |text: &str| endpoint(text, insecure);
            (self.read(&name, Some(text.as_str()), parse)?, append)
        } else {
            let port = if asked == Some(OtlpProtocol::Grpc) {
                4317
            } else {
                4318
            };
            (Url::parse(&format!("http://localhost:{port}")).ok()?, true)
        };
        let protocol = asked.unwrap_or(match url.port() {
            Some(4317) => OtlpProtocol::Grpc,
            _ => OtlpProtocol::HttpProtobuf,
        });
        if protocol == OtlpProtocol::HttpProtobuf && append {
            let base = url.path().trim_end_matches('/').to_owned();
            url.set_path(&format!("{base}/v1/{}", signal.as_str()));
        }
        Some((url, protocol))
    }

    fn sampler(&mut self, ratio: Option<f64>) -> TraceSampler {
        if let Some(ratio) = ratio {
            return TraceSampler {
                ratio,
                parent_based: true,
            };
        }
        let variables = self.variables;
        let argument = |this: &mut Self| {
            let name = "OTEL_TRACES_SAMPLER_ARG";
            this.read(name, variables.get(name), share).unwrap_or(1.0)
        };
        let (parent_based, ratio) = match variables.get("OTEL_TRACES_SAMPLER") {
            None | Some("parentbased_always_on") => (true, 1.0),
            Some("always_on") => (false, 1.0),
            Some("always_off") => (false, 0.0),
            Some("parentbased_always_off") => (true, 0.0),
            Some("traceidratio") => (false, argument(self)),
            Some("parentbased_traceidratio") => (true, argument(self)),
            Some(other) => {
                let known = "always_on, always_off, traceidratio, parentbased_always_on, \
                             parentbased_always_off or parentbased_traceidratio";
                self.wrong(
                    "OTEL_TRACES_SAMPLER",
                    format!("must be {known}, not {other:?}"),
                );
                (true, 1.0)
            }
        };
        TraceSampler {
            ratio,
            parent_based,
        }
    }

    fn resource_attributes(
        &mut self,
        settings: &BTreeMap<String, String>,
    ) -> BTreeMap<String, String> {
        let name = "OTEL_RESOURCE_ATTRIBUTES";
        let mut attributes = BTreeMap::from([("service.name".to_owned(), SERVICE_NAME.to_owned())]);
        attributes.extend(
            self.read(name, self.variables.get(name), pairs)
                .unwrap_or_default(),
        );
        if let Some(name) = self.variables.get("OTEL_SERVICE_NAME") {
            attributes.insert("service.name".to_owned(), name.to_owned());
        }
        attributes.extend(settings.clone());
        attributes
    }

    /// The variable of one signal, or the one for all, with its name.
    fn variable(&self, signal: Signal, what: &str) -> Option<(String, String)> {
        let own = format!(
            "OTEL_EXPORTER_OTLP_{}_{what}",
            signal.as_str().to_uppercase()
        );
        let names = [own, format!("OTEL_EXPORTER_OTLP_{what}")];
        names.into_iter().find_map(|name| {
            let value = self.variables.get(&name)?.to_owned();
            Some((name, value))
        })
    }

    fn read_otlp<T>(
        &mut self,
        signal: Signal,
        what: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let (name, value) = self.variable(signal, what)?;
        self.read(&name, Some(value.as_str()), parse)
    }

    fn read<T>(
        &mut self,
        name: &str,
        value: Option<&str>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        match parse(value?) {
            Ok(value) => Some(value),
            Err(clause) => {
                self.wrong(name, clause);
                None
            }
        }
    }

    /// Reports a variable once, however many signals it is for.
    fn wrong(&mut self, name: &str, clause: String) {
        let place = Origin::Variable(name.into());
        let problem = Problem::new(Some(&place), name, clause);
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }
}

fn protocol(text: &str) -> Result<OtlpProtocol, String> {
    match text {
        "grpc" => Ok(OtlpProtocol::Grpc),
        "http/protobuf" => Ok(OtlpProtocol::HttpProtobuf),
        other => Err(format!("must be grpc or http/protobuf, not {other:?}")),
    }
}

fn compression(text: &str) -> Result<OtlpCompression, String> {
    match text {
        "none" => Ok(OtlpCompression::None),
        "gzip" => Ok(OtlpCompression::Gzip),
        other => Err(format!("must be gzip or none, not {other:?}")),
    }
}

fn temporality(text: &str) -> Result<Temporality, String> {
    match text.to_ascii_lowercase().as_str() {
        "cumulative" => Ok(Temporality::Cumulative),
        other => Err(format!("{}, not {other:?}", only_cumulative())),
    }
}

/// Why only cumulative temporality is offered, as the end of a sentence.
pub(super) fn only_cumulative() -> &'static str {
    "must be cumulative (the OpenTelemetry Collector's processor cumulativetodelta makes deltas)"
}

fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!("must be true or false, not {text:?}")),
    }
}

fn share(text: &str) -> Result<f64, String> {
    let shape = || format!("must be a number from 0 to 1, not {text:?}");
    let ratio: f64 = text.parse().map_err(|_| shape())?;
    if (0.0..=1.0).contains(&ratio) {
        Ok(ratio)
    } else {
        Err(shape())
    }
}

fn milliseconds(text: &str) -> Result<Duration, String> {
    let longest = 365 * 86_400_000;
    match text.parse() {
        Ok(number) if (1..=longest).contains(&number) => Ok(Duration::from_millis(number)),
        _ => Err(format!(
            "must be a whole number of milliseconds above 0, not {text:?}"
        )),
    }
}

/// An address; without a scheme, as gRPC clients in other languages allow, `INSECURE` decides.
fn endpoint(text: &str, insecure: bool) -> Result<Url, String> {
    if text.contains("://") {
        return http_url(text);
    }
    http_url(&format!(
        "{}://{text}",
        if insecure { "http" } else { "https" }
    ))
}

/// `key=value` pairs separated by commas, values percent-encoded.
fn pairs(text: &str) -> Result<BTreeMap<String, String>, String> {
    let shape = || "must be a list like key=value,other=value".to_owned();
    let parts = text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (key, value) = part.split_once('=').ok_or_else(shape)?;
            let value = percent_decode_str(value.trim())
                .decode_utf8()
                .map_err(|_| shape())?;
            if key.trim().is_empty() {
                Err(shape())
            } else {
                Ok((key.trim().to_owned(), value.into_owned()))
            }
        })
        .collect()
}

fn headers(text: &str) -> Result<BTreeMap<String, Secret>, String> {
    let pairs = pairs(text)?;
    for (name, value) in &pairs {
        super::format::header(name, value)?;
    }
    Ok(pairs
        .into_iter()
        .map(|(name, value)| (name.to_lowercase(), Secret::from(value)))
        .collect())
}
