//! `webhooks`: plans, installs, removes and tests the webhooks of all projects of the configuration.

use std::io::Write;

use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};

use super::CliError;
use crate::app::webhooks::{Scope, Task, Wanted, run as run_task};
use crate::config::Sources;

/// What follows the help.
const AFTER_HELP: &str = "\
Examples:
  amazing-gitlab-exporter webhooks plan --url https://exporter.example.com/webhook --config config.yml
  AGE_WEBHOOKS_TOKEN=glpat-… amazing-gitlab-exporter webhooks install --url … --config config.yml

plan needs the role Maintainer and the scope read_api, the others the scope api: the token in the variable
AGE_WEBHOOKS_TOKEN, if set, is used instead of the configured one. --scope groups needs GitLab Premium and the role
Owner, --scope system an administrator. Only webhooks with this URL are changed.

Exit codes: 0 it worked, 1 something failed, 2 the configuration or the command line is wrong";

/// What to do with webhooks.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows what install would do
    Plan(Options),
    /// Creates missing webhooks and corrects existing ones
    Install(Options),
    /// Removes the webhooks
    Remove(Options),
    /// Sends a test event through GitLab for each project and shows the response GitLab received
    Test(Options),
}

#[derive(Debug, Args)]
struct Options {
    /// URL of the receiver as GitLab reaches it, ending with /webhook
    #[arg(long, value_name = "URL")]
    url: url::Url,
    /// Where webhooks are created
    #[arg(long, value_enum, default_value_t = Where::Projects)]
    scope: Where,
    /// Send job events as well: ten times as many
    #[arg(long)]
    jobs: bool,
    /// Do not let GitLab verify the certificate of the URL
    #[arg(long)]
    no_tls_verify: bool,
}

/// Where webhooks are created.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Where {
    /// In each project
    Projects,
    /// In each group of the wildcards (GitLab Premium); without group webhooks, in its projects
    Groups,
    /// One system hook for the instance: the list of projects, branches and merge requests; no pipelines
    System,
}

/// Does it and prints what was done; fails where something failed.
pub(super) fn run(
    arguments: Arguments,
    sources: &Sources,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let (task, options) = match arguments.command {
        Command::Plan(options) => (Task::Plan, options),
        Command::Install(options) => (Task::Install, options),
        Command::Remove(options) => (Task::Remove, options),
        Command::Test(options) => (Task::Test, options),
    };
    let config = super::load(sources)?;
    let failed = |error: String| CliError::Failed(error);
    let wanted = Wanted {
        scope: match options.scope {
            Where::Projects => Scope::Projects,
            Where::Groups => Scope::Groups,
            Where::System => Scope::Instance,
        },
        url: options.url.to_string(),
        jobs: options.jobs,
        verify_tls: !options.no_tls_verify,
        token: sources.webhooks_token(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| failed(format!("no runtime can be started: {error}")))?;
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("webhooks {wide_bar} {pos}/{len}") {
        bar.set_style(style);
    }
    let show = |done: usize, total: usize| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    };
    let report = runtime.block_on(run_task(&config, task, &wanted, show));
    bar.finish_and_clear();
    let report = report.map_err(|error| failed(error.to_string()))?;
    write!(out, "{report}")?;
    match report.is_good() {
        true => Ok(()),
        false => Err(failed("something failed; see above".to_owned())),
    }
}
