//! `validate`: checks the configuration.

use std::io::Write;

use super::CliError;
use crate::config::{Config, Signal, Sources};
use crate::telemetry::catalogue::Collector;

/// Prints one sentence about the configuration, or returns everything that is wrong with it.
pub(super) fn run(sources: &Sources, out: &mut dyn Write) -> Result<(), CliError> {
    let config = super::load(sources)?;
    writeln!(out, "{}", summary(&config))?;
    Ok(())
}

fn summary(config: &Config) -> String {
    let switches = config.collectors.switches();
    let enabled = Collector::ALL.into_iter().filter(|collector| {
        let name = collector.as_str();
        switches.iter().any(|(switch, on)| *switch == name && *on)
    });
    let (built, planned): (Vec<Collector>, Vec<Collector>) =
        enabled.partition(|collector| collector.is_built());
    let planned = match planned.as_slice() {
        [] => String::new(),
        planned => format!(" (enabled, but not built yet: {})", names(planned)),
    };
    format!(
        "ok: {} and {} at {}, collected by {}{planned}; {}.",
        count(config.projects.len(), "project"),
        count(config.wildcards.len(), "wildcard"),
        config.gitlab.url.as_str().trim_end_matches('/'),
        if built.is_empty() {
            "no collector".to_owned()
        } else {
            names(&built)
        },
        match config.otlp(Signal::Metrics) {
            Some(target) => format!("metrics are pushed to {target}"),
            None => "metrics are not pushed".to_owned(),
        },
    )
}

fn names(collectors: &[Collector]) -> String {
    let names: Vec<&str> = collectors
        .iter()
        .map(|collector| collector.as_str())
        .collect();
    names.join(", ")
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
