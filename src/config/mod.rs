//! The configuration: what every setting means, where its value comes from, and whether it is right.
//!
//! [`load`] reads the layers (defaults < file < environment < flags) into a tree whose values know
//! their place, holds it against the keys that [`model`] knows, and makes a [`Config`] of it, or a
//! [`ConfigError`] that names everything that is wrong. Nothing else makes a `Config`, so every
//! `Config` is valid. This is also the only part that reads environment variables.

mod check;
mod duration;
mod entries;
mod environment;
mod example;
mod format;
mod keys;
mod layers;
mod listen;
pub mod model;
mod otlp;
mod predecessor;
mod problem;
mod reference;
mod reload;
mod render;
mod rules;
mod schema;
#[cfg(test)]
mod tests;
pub(crate) mod tree;
mod values;
mod web;
pub(crate) mod yaml;

use std::collections::BTreeMap;
use std::ops::Deref;

pub use environment::Environment;
pub use example::example;
pub use layers::{Flag, Sources};
pub use listen::{ListenAddress, ListenAddresses};
pub use model::*;
pub use otlp::{OtlpTarget, Signal, TraceSampler};
pub(crate) use predecessor::{own_settings, predecessors_settings};
pub use problem::{ConfigError, Problem};
pub use reference::markdown;
pub use reload::{Changes, LiveConfig};
pub use schema::json_schema;
pub use values::{Pattern, Secret, Switch};
pub use web::WebConfig;

use layers::Layers;
use otlp::ResolvedOtel;
use tree::Node;

/// A configuration that was checked. It reads like its [`Settings`]: `config.gitlab.url`.
#[derive(Clone, Debug)]
pub struct Config {
    settings: Settings,
    push: ResolvedOtel,
    tree: Node,
}

/// Reads, merges and checks the configuration.
pub fn load(sources: &Sources) -> Result<Config, ConfigError> {
    Config::build(Layers::read(sources), &sources.environment)
}

/// Where `run` answers probes, and how.
#[derive(Clone, Debug)]
pub struct ProbeTarget {
    /// The addresses.
    pub addresses: ListenAddresses,
    /// Whether they may speak TLS: `server.web_config_file` decides.
    pub may_be_tls: bool,
}

/// Where `run` answers probes, whatever else is wrong with the configuration: a running exporter stays
/// reachable while its file is being edited.
///
/// # Errors
/// When a part that may name the addresses cannot be read at all.
pub fn probe_target(sources: &Sources) -> Result<ProbeTarget, ConfigError> {
    let layers = Layers::read(sources);
    let of_setting = |key: &str| serde_json::from_value(layers.tree.at(key)?.to_json()).ok();
    let own = of_setting("server.probes.listen_address");
    let web: Option<String> = layers
        .tree
        .at("server.web_config_file")
        .and_then(|node| serde_json::from_value(node.to_json()).ok());
    let may_be_tls = own.is_none() && web.is_some_and(|path| !path.is_empty());
    match own.or_else(|| of_setting("server.listen_address")) {
        Some(addresses) if !layers.incomplete => Ok(ProbeTarget {
            addresses,
            may_be_tls,
        }),
        _ => Err(ConfigError::new(layers.problems)),
    }
}

impl Config {
    /// Reads a configuration from a YAML text alone, without environment and flags.
    pub fn from_yaml(text: &str) -> Result<Self, ConfigError> {
        Self::from_yaml_and_flags(text, &[])
    }

    /// Reads a configuration from a YAML text and flags, without environment.
    pub(crate) fn from_yaml_and_flags(text: &str, flags: &[Flag]) -> Result<Self, ConfigError> {
        let layers = Layers::of_text("config.yml", text, flags);
        Self::build(layers, &Environment::default())
    }

    fn build(layers: Layers, environment: &Environment) -> Result<Self, ConfigError> {
        let Layers {
            tree,
            mut problems,
            incomplete,
        } = layers;
        let mut settings: Settings = match entries::settings(&tree) {
            Ok(settings) => settings,
            Err(error) => {
                problems.push(Problem::new(
                    None,
                    "",
                    format!("the configuration cannot be read ({error})"),
                ));
                return Err(ConfigError::new(problems));
            }
        };
        settings.resolve();
        let (push, mut further) = otlp::resolve(&settings.otel, environment);
        // What is missing may be in the part that could not be read.
        if !incomplete {
            further.extend(rules::check(&settings, &push, &tree));
        }
        further.retain(|new| !problems.iter().any(|known| known.overlaps(new)));
        problems.append(&mut further);
        if problems.is_empty() {
            Ok(Self {
                settings,
                push,
                tree,
            })
        } else {
            Err(ConfigError::new(problems))
        }
    }

    /// Where and how `signal` is pushed by OTLP; `None` when it is not.
    pub fn otlp(&self, signal: Signal) -> Option<&OtlpTarget> {
        match signal {
            Signal::Metrics => self.push.metrics.as_ref(),
            Signal::Traces => self.push.traces.as_ref(),
            Signal::Logs => self.push.logs.as_ref(),
        }
    }

    /// Which of the exporter's own traces are recorded.
    pub fn trace_sampler(&self) -> TraceSampler {
        self.push.sampler
    }

    /// The attributes of the OpenTelemetry resource, `service.name` included.
    pub fn resource_attributes(&self) -> &BTreeMap<String, String> {
        &self.push.resource_attributes
    }

    /// The effective configuration as YAML: secrets redacted, behind each value where it came from;
    /// at the end, as comments, what `OTEL_*` variables and the settings under `otel` come to.
    pub fn to_yaml(&self) -> String {
        let mut yaml = render::effective(&self.tree);
        for signal in Signal::ALL {
            let name = signal.as_str();
            match self.otlp(signal) {
                Some(target) => yaml.push_str(&format!("# {name} are pushed to {target}\n")),
                None => yaml.push_str(&format!("# {name} are not pushed\n")),
            }
        }
        yaml
    }
}

impl Deref for Config {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        &self.settings
    }
}
