//! `validate`: checks the configuration.

use std::io::Write;

use super::CliError;
use crate::catalogue::Collector;
use crate::config::{Config, Signal, Sources};

/// Prints one sentence about the configuration, or returns everything that is wrong with it.
pub(super) fn run(sources: &Sources, out: &mut dyn Write) -> Result<(), CliError> {
    let config = super::load(sources)?;
    writeln!(out, "{}", summary(&config))?;
    Ok(())
}

fn summary(config: &Config) -> String {
    let enabled: Vec<&str> = config.enabled_collectors().map(Collector::as_str).collect();
    format!(
        "ok: {} and {} at {}, collected by {}; {}.",
        count(config.projects.len(), "project"),
        count(config.wildcards.len(), "wildcard"),
        config.gitlab.url.as_str().trim_end_matches('/'),
        match enabled.as_slice() {
            [] => "no collector".to_owned(),
            enabled => enabled.join(", "),
        },
        match config.otlp(Signal::Metrics) {
            Some(target) => format!("metrics are pushed to {target}"),
            None => "metrics are not pushed".to_owned(),
        },
    )
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
