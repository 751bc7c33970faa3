//! `check`: connects to GitLab and says what `run` would find.

use std::io::Write;
use std::time::Duration;

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};

use super::CliError;
use crate::app::check::{Assumed, Step, buckets, check};
use crate::config::Sources;

/// How to show it.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// What to write: lines for a terminal, or one JSON object with every project and collector
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Exit with 1 on warnings, too: an entry that finds no project, a receiver that does not answer
    #[arg(long)]
    strict: bool,
    /// Estimate the cost of the projects that were found: samples of a scrape, memory, disk of Prometheus
    #[arg(long)]
    estimate: bool,
    /// For --estimate: selected branches, tags and merge requests of a project, on average
    #[arg(long, value_name = "NUMBER", requires = "estimate", default_value_t = Assumed::default().refs)]
    refs: u32,
    /// For --estimate: jobs in the pipeline of a ref, on average
    #[arg(long, value_name = "NUMBER", requires = "estimate", default_value_t = Assumed::default().jobs)]
    jobs: u32,
    /// For --estimate: environments of a project, on average
    #[arg(long, value_name = "NUMBER", requires = "estimate", default_value_t = Assumed::default().environments)]
    environments: u32,
}

impl Arguments {
    const fn assumed(&self) -> Assumed {
        Assumed {
            refs: self.refs,
            jobs: self.jobs,
            environments: self.environments,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Prints what was found; fails when `run` would not work, or by `--strict` when it has warnings.
pub(super) fn run(
    arguments: &Arguments,
    sources: &Sources,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let config = super::load(sources)?;
    let failed = |error: String| CliError::Failed(error);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| failed(format!("no runtime can be started: {error}")))?;
    let bar = progress_bar();
    let report = runtime.block_on(check(&config, |step| show(&bar, step)));
    bar.finish_and_clear();
    let report = report.map_err(|error| failed(error.to_string()))?;
    let estimate = arguments
        .estimate
        .then(|| report.estimate(&buckets(&config), arguments.assumed()));
    match arguments.format {
        Format::Text => {
            write!(out, "{report}")?;
            if let Some(estimate) = estimate {
                write!(out, "{estimate}")?;
            }
        }
        Format::Json => {
            let mut json = report.to_json();
            if let (Some(object), Some(estimate)) = (json.as_object_mut(), estimate) {
                object.insert("estimate".to_owned(), estimate.to_json());
            }
            writeln!(out, "{json:#}")?;
        }
    }
    if !report.is_good() {
        return Err(failed(
            "run would not work; see the errors above".to_owned(),
        ));
    }
    if arguments.strict && report.has_warnings() {
        return Err(failed(
            "run would work with warnings, which --strict forbids; see above".to_owned(),
        ));
    }
    Ok(())
}

/// A bar on a terminal, nothing elsewhere.
fn progress_bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {wide_bar} {pos}/{len}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

fn show(bar: &ProgressBar, step: Step) {
    match step {
        Step::Instance => bar.set_message("reading the version of GitLab"),
        Step::Token => bar.set_message("reading the scopes of the token"),
        Step::Projects => bar.set_message("finding projects"),
        Step::Queries => bar.set_message("testing queries"),
        Step::Redis => bar.set_message("connecting to Redis"),
        Step::Receivers => bar.set_message("trying OTLP receivers"),
        Step::Roles(done, total) => {
            bar.set_message("reading roles and tiers");
            bar.set_length(total as u64);
            bar.set_position(done as u64);
        }
    }
}
