//! `validate`: checks the configuration.

use std::io::Write;

use super::CliError;
use crate::config::{Config, Sources};

/// Prints one sentence about the configuration, or returns everything that is wrong with it.
pub(super) fn run(sources: &Sources, out: &mut dyn Write) -> Result<(), CliError> {
    let config = super::load(sources)?;
    writeln!(out, "{}", summary(&config))?;
    Ok(())
}

fn summary(config: &Config) -> String {
    let switches = config.collectors.switches();
    let enabled: Vec<&str> = switches
        .iter()
        .filter(|(_, on)| *on)
        .map(|(name, _)| *name)
        .collect();
    format!(
        "ok: {} and {} on {}, collectors {}.",
        count(config.projects.len(), "project"),
        count(config.wildcards.len(), "wildcard"),
        config.gitlab.url,
        enabled.join(", "),
    )
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
