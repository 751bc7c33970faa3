//! Where each signal is pushed by OTLP: our settings first, then the standard `OTEL_*` variables,
//! then the defaults of the OpenTelemetry specification.
//!
//! Source: <https://opentelemetry.io/docs/specs/otel/protocol/exporter/> and
//! <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>.

mod parse;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::environment::Environment;
use super::model::{Otel, OtlpCompression, OtlpProtocol, OtlpSettings};
use super::problem::Problem;
use super::tree::Origin;
use super::values::{Secret, Switch};

pub(super) use parse::only_cumulative;
use parse::{
    boolean, compression, endpoint, headers, milliseconds, pairs, protocol, share, temporality,
};

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
    /// PEM file of the receiver's certificate authority, besides the system's.
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

/// Resolves `otel` against the variables; those that are needed and wrong are problems. Variables
/// that serve other programs of the machine are none while nothing is sent.
pub(super) fn resolve(otel: &Otel, environment: &Environment) -> (ResolvedOtel, Vec<Problem>) {
    let mut resolver = Resolver {
        variables: environment,
        problems: Vec::new(),
    };
    let metrics = resolver.metrics(otel);
    let traces = resolver.target(Signal::Traces, otel.traces.enabled, &otel.traces.otlp);
    let logs = resolver.target(Signal::Logs, otel.logs.enabled, &otel.logs.otlp);
    let needed = resolver.problems.len();
    let sampler = resolver.sampler(otel.traces.sample_ratio);
    if traces.is_none() {
        resolver.problems.truncate(needed);
    }
    let needed = resolver.problems.len();
    let resource_attributes = resolver.resource_attributes(&otel.resource_attributes);
    if metrics.is_none() && traces.is_none() && logs.is_none() {
        resolver.problems.truncate(needed);
    }
    let resolved = ResolvedOtel {
        metrics,
        traces,
        logs,
        sampler,
        resource_attributes,
    };
    (resolved, resolver.problems)
}

struct Resolver<'a> {
    variables: &'a Environment,
    problems: Vec<Problem>,
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
                // Names in lower case, as HTTP/2 and gRPC demand.
                Some(headers) => headers
                    .iter()
                    .map(|(name, value)| (name.to_lowercase(), value.clone()))
                    .collect(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Flag, Sources, load};

    fn config(settings: &[(&str, &str)], variables: &[(&str, &str)]) -> Config {
        let flags = [("gitlab.token", "t"), ("projects", "[{name: g/p}]")];
        let flags = flags.iter().chain(settings).map(|(path, value)| Flag {
            name: format!("--set {path}"),
            path: (*path).to_owned(),
            value: Secret::from(*value),
        });
        let environment = Environment::from_pairs(variables.iter().copied());
        load(&Sources {
            file: None,
            environment,
            flags: flags.collect(),
        })
        .unwrap()
    }

    fn shown(settings: &[(&str, &str)], variables: &[(&str, &str)]) -> Option<String> {
        config(settings, variables)
            .otlp(Signal::Metrics)
            .map(OtlpTarget::to_string)
    }

    #[test]
    fn the_endpoint_follows_the_rules_of_the_specification() {
        const BASE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
        const OWN: &str = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT";
        const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
        const INSECURE: &str = "OTEL_EXPORTER_OTLP_INSECURE";
        let ours = "otel.metrics.endpoint";
        type Pairs = &'static [(&'static str, &'static str)];
        let variables: &[(Pairs, &str)] = &[
            (
                &[(BASE, "http://c:4318")],
                "http://c:4318/v1/metrics by http/protobuf",
            ),
            (
                &[(BASE, "http://c:4318/otlp/")],
                "http://c:4318/otlp/v1/metrics by http/protobuf",
            ),
            (
                &[(OWN, "http://c:4318/x")],
                "http://c:4318/x by http/protobuf",
            ),
            (&[(OWN, "http://c:4318")], "http://c:4318/ by http/protobuf"),
            (
                &[(BASE, "http://b"), (OWN, "http://c/x")],
                "http://c/x by http/protobuf",
            ),
            (&[(BASE, "http://c:4317")], "http://c:4317/ by grpc"),
            (
                &[(BASE, "http://c:1"), (PROTOCOL, "grpc")],
                "http://c:1/ by grpc",
            ),
            (&[(BASE, "c:4317")], "https://c:4317/ by grpc"),
            (
                &[(BASE, "c:4317"), (INSECURE, "true")],
                "http://c:4317/ by grpc",
            ),
        ];
        for (variables, expected) in variables {
            assert_eq!(
                shown(&[], variables).as_deref(),
                Some(*expected),
                "{variables:?}"
            );
        }
        let settings: &[(&str, &str)] = &[
            ("http://c:4318", "http://c:4318/v1/metrics by http/protobuf"),
            ("http://c:4318/x", "http://c:4318/x by http/protobuf"),
            ("https://c:4317", "https://c:4317/ by grpc"),
        ];
        for (endpoint, expected) in settings {
            let got = shown(
                &[(ours, endpoint)],
                &[(BASE, "http://other"), (OWN, "http://another")],
            );
            assert_eq!(got.as_deref(), Some(*expected), "{endpoint}");
        }
    }

    #[test]
    fn auto_is_on_when_an_endpoint_is_known() {
        let on = ("otel.metrics.enabled", "true");
        let off = ("otel.metrics.enabled", "false");
        let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318");
        let none = ("OTEL_METRICS_EXPORTER", "none");
        let disabled = ("OTEL_SDK_DISABLED", "TRUE");
        assert_eq!(shown(&[], &[]), None);
        assert!(shown(&[], &[base]).is_some());
        assert_eq!(shown(&[], &[base, none]), None);
        assert!(shown(&[on], &[base, none]).is_some());
        assert_eq!(shown(&[off], &[base]), None);
        assert_eq!(shown(&[on], &[base, disabled]), None);
        assert_eq!(
            shown(&[on], &[]).as_deref(),
            Some("http://localhost:4318/v1/metrics by http/protobuf")
        );
        let grpc = ("otel.metrics.protocol", "grpc");
        assert_eq!(
            shown(&[on, grpc], &[]).as_deref(),
            Some("http://localhost:4317/ by grpc")
        );
        // Logs are asked for, or not sent.
        let config = config(&[], &[base]);
        assert!(config.otlp(Signal::Traces).is_some());
        assert_eq!(config.otlp(Signal::Logs), None);
    }

    #[test]
    fn settings_win_over_variables_and_unset_ones_leave_them_be() {
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20a,x=1"),
            ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "2500"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "15000"),
        ];
        let read = config(&[], &variables);
        let target = read.otlp(Signal::Metrics).unwrap();
        assert_eq!(target.headers["authorization"].expose(), "Bearer a");
        assert_eq!(target.headers["x"].expose(), "1");
        assert_eq!(target.timeout, Duration::from_millis(2500));
        assert_eq!(target.compression, OtlpCompression::Gzip);
        assert_eq!(target.interval, Duration::from_secs(15));
        assert_eq!(
            read.otlp(Signal::Traces).unwrap().timeout,
            Duration::from_secs(10)
        );
        let settings = [
            ("otel.metrics.headers", "{Y: '2'}"),
            ("otel.metrics.timeout", "3s"),
            ("otel.metrics.compression", "none"),
            ("otel.metrics.interval", "20s"),
        ];
        let read = config(&settings, &variables);
        let target = read.otlp(Signal::Metrics).unwrap();
        assert_eq!(target.headers.keys().collect::<Vec<_>>(), ["y"]);
        assert_eq!(target.timeout, Duration::from_secs(3));
        assert_eq!(target.compression, OtlpCompression::None);
        assert_eq!(target.interval, Duration::from_secs(20));
    }

    #[test]
    fn the_sampler_and_the_resource_are_resolved_alike() {
        let sampler = |settings: &[_], variables: &[_]| {
            let TraceSampler {
                ratio,
                parent_based,
            } = config(settings, variables).trace_sampler();
            (ratio, parent_based)
        };
        let by_ratio = [
            ("OTEL_TRACES_SAMPLER", "traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
        ];
        assert_eq!(sampler(&[], &[]), (1.0, true));
        assert_eq!(sampler(&[], &by_ratio), (0.25, false));
        assert_eq!(
            sampler(&[], &[("OTEL_TRACES_SAMPLER", "always_off")]),
            (0.0, false)
        );
        assert_eq!(
            sampler(&[("otel.traces.sample_ratio", "0.5")], &by_ratio),
            (0.5, true)
        );

        let attributes = |settings: &[_], variables: &[_]| {
            let config = config(settings, variables);
            let pairs = config
                .resource_attributes()
                .iter()
                .map(|(key, value)| format!("{key}={value}"));
            pairs.collect::<Vec<_>>().join(",")
        };
        assert_eq!(attributes(&[], &[]), "service.name=amazing-gitlab-exporter");
        let variables = [
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=a,team=x%2Cy"),
            ("OTEL_SERVICE_NAME", "b"),
        ];
        assert_eq!(attributes(&[], &variables[..1]), "service.name=a,team=x,y");
        assert_eq!(attributes(&[], &variables), "service.name=b,team=x,y");
        let ours = [("otel.resource_attributes", "{service.name: c}")];
        assert_eq!(attributes(&ours, &variables), "service.name=c,team=x,y");
    }
}
