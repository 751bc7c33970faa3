//! The command line: one file per command.
//!
//! Exit codes: 0 = it worked, 1 = it failed while running, 2 = the configuration or the command line
//! is wrong.

mod config;
mod validate;

use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, ConfigError, Environment, Flag, Secret, Sources};

/// The exit code for a failure while running.
const FAILED: u8 = 1;
/// The exit code for a wrong configuration; clap uses the same for a wrong command line.
const WRONG_CONFIGURATION: u8 = 2;

/// Exports GitLab pipelines, jobs, merge requests, deployments and DORA figures as Prometheus and
/// OpenTelemetry metrics.
#[derive(Debug, Parser)]
#[command(name = "amazing-gitlab-exporter", version, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    settings: SettingFlags,
    #[command(subcommand)]
    command: Command,
}

/// Flags that set settings; they win over environment variables (AGE_…) and the file.
#[derive(Debug, Args)]
#[command(next_help_heading = "Settings")]
struct SettingFlags {
    /// Configuration file (YAML); the variable AGE_CONFIG does the same
    #[arg(long, short, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address of the GitLab instance
    #[arg(long, global = true, value_name = "URL")]
    gitlab_url: Option<Secret>,
    /// GitLab token; other users of the machine can see it here, the variable AGE_GITLAB_TOKEN they
    /// cannot
    #[arg(long, global = true, value_name = "TOKEN", hide_default_value = true)]
    gitlab_token: Option<Secret>,
    /// File that holds the GitLab token
    #[arg(long, global = true, value_name = "FILE")]
    gitlab_token_file: Option<Secret>,
    /// Log level: trace, debug, info, warn or error
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<Secret>,
    /// Log format: text or json
    #[arg(long, global = true, value_name = "FORMAT")]
    log_format: Option<Secret>,
    /// Address of the HTTP server, such as :8080
    #[arg(long, global = true, value_name = "HOST:PORT")]
    server_listen_address: Option<Secret>,
    /// Any other setting, such as collectors.jobs.enabled=false; can be repeated
    #[arg(long, global = true, value_name = "PATH=VALUE", value_parser = assignment)]
    set: Vec<Assignment>,
}

/// The value of `--set`.
#[derive(Clone, Debug)]
struct Assignment {
    path: String,
    value: Secret,
}

fn assignment(text: &str) -> Result<Assignment, String> {
    let (path, value) = text
        .split_once('=')
        .ok_or("a setting and its value are needed, like log.level=debug")?;
    Ok(Assignment {
        path: path.trim().to_owned(),
        value: Secret::from(value),
    })
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Checks the configuration and says everything that is wrong with it
    Validate,
    /// Shows the effective configuration and where each value comes from
    Config(config::Arguments),
}

/// Runs the command of this process and returns its exit code.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    cli.run(Environment::of_process(), &mut std::io::stdout())
}

impl Cli {
    fn run(self, environment: Environment, out: &mut dyn Write) -> ExitCode {
        let sources = self.settings.sources(environment);
        let done = match self.command {
            Command::Validate => validate::run(&sources, out),
            Command::Config(arguments) => config::run(arguments, &sources, out),
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => error.report(),
        }
    }
}

impl SettingFlags {
    /// The layers of the configuration; a later flag wins over an earlier one, `--set` over all.
    fn sources(self, environment: Environment) -> Sources {
        let named = [
            ("--gitlab-url", "gitlab.url", self.gitlab_url),
            ("--gitlab-token", "gitlab.token", self.gitlab_token),
            (
                "--gitlab-token-file",
                "gitlab.token_file",
                self.gitlab_token_file,
            ),
            ("--log-level", "log.level", self.log_level),
            ("--log-format", "log.format", self.log_format),
            (
                "--server-listen-address",
                "server.listen_address",
                self.server_listen_address,
            ),
        ];
        let named = named.into_iter().filter_map(|(name, path, value)| {
            Some(Flag {
                name: name.to_owned(),
                path: path.to_owned(),
                value: value?,
            })
        });
        let set = self.set.into_iter().map(|Assignment { path, value }| Flag {
            name: format!("--set {path}"),
            path,
            value,
        });
        Sources {
            file: self.config,
            environment,
            flags: named.chain(set).collect(),
        }
    }
}

/// Why a command did not work.
#[derive(Debug, thiserror::Error)]
enum CliError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The output could not be written.
    #[error("the output cannot be written ({0})")]
    Output(#[from] std::io::Error),
}

impl CliError {
    /// Says it on standard error and returns the exit code.
    fn report(&self) -> ExitCode {
        match self {
            // Whoever reads the output has seen enough, as in `config | head`.
            Self::Output(error) if error.kind() == ErrorKind::BrokenPipe => {
                return ExitCode::SUCCESS;
            }
            _ => eprintln!("{self}"),
        }
        match self {
            Self::Config(_) => WRONG_CONFIGURATION.into(),
            Self::Output(_) => FAILED.into(),
        }
    }
}

/// Loads the configuration for a command.
fn load(sources: &Sources) -> Result<Config, CliError> {
    Ok(crate::config::load(sources)?)
}
