//! The environment variables of the process: the only place that reads them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

/// The variables that concern the exporter: those that begin with `AGE_` or `OTEL_`, and for the command
/// `migrate` with `GCPE_`.
///
/// `Debug` shows names only: values may be secrets.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, Result<String, NotUnicode>>,
}

/// What variables of gitlab-ci-pipelines-exporter begin with.
const PREDECESSORS: &str = "GCPE_";

/// The value of a variable is not UTF-8.
#[derive(Clone, Copy, Debug)]
pub(super) struct NotUnicode;

impl Environment {
    /// The variables of this process.
    #[expect(clippy::disallowed_methods, reason = "the permitted place")]
    pub fn of_process() -> Self {
        Self::from_os(std::env::vars_os())
    }

    /// The variables given.
    #[cfg(test)]
    pub(crate) fn from_pairs<K: Into<OsString>, V: Into<OsString>>(
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        Self::from_os(
            pairs
                .into_iter()
                .map(|(name, value)| (name.into(), value.into())),
        )
    }

    fn from_os(pairs: impl Iterator<Item = (OsString, OsString)>) -> Self {
        let variables = pairs.filter_map(|(name, value)| {
            let name = name.into_string().ok()?;
            let ours = ["AGE_", "OTEL_", PREDECESSORS]
                .iter()
                .any(|begin| name.starts_with(begin));
            // An empty variable is an unset one, as OpenTelemetry has it: compose files and charts
            // pass on empty ones.
            let keep = ours && !value.is_empty();
            keep.then(|| (name, value.into_string().map_err(|_| NotUnicode)))
        });
        Self {
            variables: variables.collect(),
        }
    }

    /// The value of one variable, if it is set to something readable.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name)?.as_deref().ok()
    }

    /// The variable of gitlab-ci-pipelines-exporter that names its configuration file.
    pub(crate) fn predecessors_file(&self) -> Option<&str> {
        self.get("GCPE_CONFIG")
    }

    /// The names of the variables of gitlab-ci-pipelines-exporter that are set.
    pub(crate) fn predecessors_variables(&self) -> impl Iterator<Item = &str> {
        let names = self.variables.keys().map(String::as_str);
        names.filter(|name| name.starts_with(PREDECESSORS))
    }

    /// The variables that begin with `AGE_`, except those that Kubernetes sets for its services.
    pub(super) fn settings(&self) -> impl Iterator<Item = (&str, Result<&str, NotUnicode>)> {
        self.variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_deref().map_err(|error| *error)))
            .filter(|(name, value)| {
                name.starts_with("AGE_") && !is_service_link(name, value.unwrap_or_default())
            })
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

/// Whether Kubernetes makes such a variable for a service called `age` or `age-…`, such as
/// `AGE_SERVICE_HOST`, `AGE_PORT_8080_TCP_ADDR` or `AGE_PORT=tcp://10.0.0.1:8080`.
fn is_service_link(name: &str, value: &str) -> bool {
    let parts: Vec<&str> = name.split('_').collect();
    let is_transport = |text: &str| matches!(text, "TCP" | "UDP" | "SCTP");
    let is_endpoint =
        |number: &str, transport: &str| number.parse::<u16>().is_ok() && is_transport(transport);
    match parts.as_slice() {
        [.., "SERVICE", "HOST"] => true,
        [.., "PORT", number, transport] if is_endpoint(number, transport) => true,
        [.., "PORT", number, transport, "PROTO" | "PORT" | "ADDR"]
            if is_endpoint(number, transport) =>
        {
            true
        }
        parts if parts.windows(2).any(|pair| pair == ["SERVICE", "PORT"]) => true,
        [.., "PORT"] => ["tcp://", "udp://", "sctp://"]
            .iter()
            .any(|scheme| value.starts_with(scheme)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubernetes_service_variables_are_passed_over() {
        let variables = [
            ("AGE_SERVICE_HOST", "10.0.0.1", true),
            ("AGE_SERVICE_PORT", "8080", true),
            ("AGE_SERVICE_PORT_HTTP", "8080", true),
            ("AGE_PORT", "tcp://10.0.0.1:8080", true),
            ("AGE_PORT_8080_TCP", "tcp://10.0.0.1:8080", true),
            ("AGE_PORT_8080_TCP_ADDR", "10.0.0.1", true),
            ("AGE_REDIS_PORT_6379_TCP_PROTO", "tcp", true),
            ("AGE_PORT", "8080", false),
            ("AGE_SERVER_PORT", "8080", false),
            ("AGE_GITLAB_URL", "tcp://10.0.0.1", false),
        ];
        for (name, value, expected) in variables {
            assert_eq!(is_service_link(name, value), expected, "{name}={value}");
        }
        for (path, _) in crate::config::keys::all() {
            assert!(
                !is_service_link(&crate::config::keys::variable(&path), "tcp://"),
                "{path}"
            );
        }
    }

    #[test]
    fn empty_variables_are_unset_and_debug_shows_names_only() {
        let environment = Environment::from_pairs([
            ("AGE_GITLAB_TOKEN", "hidden"),
            ("AGE_GITLAB_URL", ""),
            ("PATH", "/bin"),
        ]);
        assert_eq!(environment.get("AGE_GITLAB_TOKEN"), Some("hidden"));
        assert_eq!(environment.get("AGE_GITLAB_URL"), None);
        assert_eq!(format!("{environment:?}"), "{\"AGE_GITLAB_TOKEN\"}");
    }
}
