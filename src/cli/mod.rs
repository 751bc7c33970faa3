//! The command line: one file per command.
//!
//! Exit codes: 0 = it worked, 1 = it failed while running, 2 = the configuration or the command line
//! is wrong.

mod check;
mod completions;
mod config;
mod healthcheck;
mod man;
mod metrics;
mod migrate;
mod run;
mod signals;
mod state;
mod validate;
mod version;
mod webhooks;

use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, ConfigError, Environment, Flag, Secret, Sources};
use crate::store::OpenError;

/// The exit code for a failure while running.
const FAILED: u8 = 1;
/// The exit code for a wrong configuration; clap uses the same for a wrong command line.
const WRONG_CONFIGURATION: u8 = 2;

/// What follows the help.
const AFTER_HELP: &str = "\
Examples:
  amazing-gitlab-exporter run --config config.yml
  AGE_GITLAB_TOKEN=glpat-… amazing-gitlab-exporter run --set 'wildcards=[{}]'
  amazing-gitlab-exporter check --config config.yml --format json

Exit codes: 0 it worked, 1 it failed while running, 2 the configuration, the command line or the state file
is not usable";

/// Exports GitLab pipelines, jobs, merge requests, deployments and DORA figures as Prometheus and
/// OpenTelemetry metrics.
#[derive(Debug, Parser)]
#[command(
    name = "amazing-gitlab-exporter",
    version,
    long_version = version::long(),
    max_term_width = 100,
    after_help = AFTER_HELP
)]
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
    /// Collects from GitLab, serves metrics and pushes them, until it is stopped
    Run(run::Arguments),
    /// Connects to GitLab and says what `run` would find: version, token, projects, collectors
    Check(check::Arguments),
    /// Checks the health of the exporter that runs on this machine: exit code 0, or 1 if unhealthy
    Healthcheck(healthcheck::Arguments),
    /// Checks the configuration and says everything that is wrong with it
    Validate,
    /// Shows the effective configuration and where each value comes from
    Config(config::Arguments),
    /// Shows every metric that the exporter knows
    Metrics(metrics::Arguments),
    /// Converts the configuration, rules and dashboards of gitlab-ci-pipelines-exporter
    Migrate(migrate::Arguments),
    /// Plans, installs, removes and tests the webhooks of all projects
    Webhooks(webhooks::Arguments),
    /// Moves the state between a state file and Redis
    State(state::Arguments),
    /// Writes completions of commands and flags for a shell
    Completions(completions::Arguments),
    /// Writes the manual page, or the pages of all commands
    Man(man::Arguments),
}

/// Runs the command of this process and returns its exit code.
pub fn main() -> ExitCode {
    let done = Cli::parse().run(Environment::of_process(), &mut std::io::stdout());
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of the output has seen enough, as in `config | head`.
        Err(CliError::Output(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            error.exit_code().into()
        }
    }
}

impl Cli {
    fn run(self, environment: Environment, out: &mut dyn Write) -> Result<(), CliError> {
        let sources = self.settings.sources(environment);
        match self.command {
            Command::Run(arguments) => run::run(arguments, &sources),
            Command::Check(arguments) => check::run(&arguments, &sources, out),
            Command::Healthcheck(arguments) => healthcheck::run(&arguments, &sources, out),
            Command::Validate => validate::run(&sources, out),
            Command::Config(arguments) => config::run(arguments, &sources, out),
            Command::Metrics(arguments) => metrics::run(&arguments, out),
            Command::Migrate(arguments) => {
                migrate::run(&arguments, &sources, out, &mut std::io::stderr())
            }
            Command::Webhooks(arguments) => webhooks::run(arguments, &sources, out),
            Command::State(arguments) => state::run(arguments, &sources, out),
            Command::Completions(arguments) => completions::run(&arguments, out),
            Command::Man(arguments) => man::run(&arguments, out),
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
    /// The same, and no file was named that could make it right.
    #[error(
        "{0}\nno configuration file is named; name one with --config or the variable AGE_CONFIG \
         (config/minimal.yml is one to begin with)"
    )]
    Unnamed(ConfigError),
    /// The state file cannot be used.
    #[error(transparent)]
    State(#[from] OpenError),
    /// There is nothing that `--state-reset` could reset.
    #[error(
        "--state-reset: state.path is not set, so there is no state file to reset; set state.path, or leave \
         the flag out: without a state file every start begins with empty state"
    )]
    NoStateFile,
    /// A file cannot be migrated.
    #[error("{0}")]
    Migrate(String),
    /// It failed while running.
    #[error("{0}")]
    Failed(String),
    /// The output could not be written.
    #[error("the output cannot be written ({0})")]
    Output(#[from] std::io::Error),
}

impl CliError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_)
            | Self::Unnamed(_)
            | Self::State(_)
            | Self::NoStateFile
            | Self::Migrate(_) => WRONG_CONFIGURATION,
            Self::Failed(_) | Self::Output(_) => FAILED,
        }
    }
}

/// Loads the configuration for a command.
fn load(sources: &Sources) -> Result<Config, CliError> {
    crate::config::load(sources).map_err(|error| match sources.names_a_file() {
        true => CliError::Config(error),
        false => CliError::Unnamed(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gitlab::testing::{Fake, Reply};
    use clap::CommandFactory;

    /// What a command line prints, or the error and its exit code.
    fn run(arguments: &[&str]) -> Result<String, (u8, String)> {
        let arguments = ["amazing-gitlab-exporter"].iter().chain(arguments);
        let cli = Cli::try_parse_from(arguments)
            .map_err(|error| (u8::try_from(error.exit_code()).unwrap(), error.to_string()))?;
        let mut out = Vec::new();
        match cli.run(Environment::default(), &mut out) {
            Ok(()) => Ok(String::from_utf8(out).unwrap()),
            Err(error) => Err((error.exit_code(), error.to_string())),
        }
    }

    #[test]
    fn the_command_tree_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn validate_says_ok_or_everything_that_is_wrong() {
        let right = [
            "validate",
            "--gitlab-token",
            "t",
            "--set",
            "projects=[{name: g/p}]",
        ];
        assert_eq!(
            run(&right).unwrap(),
            "ok: 1 project and 0 wildcards at https://gitlab.com, collected by pipelines, child_pipelines, jobs, \
             merge_requests, code_review, dora, value_stream, repository; metrics are not pushed.\n"
        );
        let (code, message) = run(&["validate", "--log-level", "loud"]).unwrap_err();
        assert_eq!(code, 2);
        assert_eq!(message.lines().count(), 4, "{message}");
        assert!(
            message.ends_with("(config/minimal.yml is one to begin with)"),
            "{message}"
        );
        assert!(
            message.starts_with("--log-level: log.level must be"),
            "{message}"
        );
    }

    #[test]
    fn flags_stand_before_or_behind_the_command_and_set_wins() {
        let common = [
            "--gitlab-token",
            "hunter2",
            "--set",
            "wildcards=[{}]",
            "--log-level",
            "warn",
        ];
        let before = [&common[..], &["config"]].concat();
        let behind = [&["config"], &common[..], &["--set", "log.level=debug"]].concat();
        let shown = run(&before).unwrap();
        assert!(shown.contains("  level: warn # --log-level\n"), "{shown}");
        assert!(
            shown.contains("  token: \"[redacted]\" # --gitlab-token\n"),
            "{shown}"
        );
        assert!(!shown.contains("hunter2"));
        assert!(
            run(&behind)
                .unwrap()
                .contains("  level: debug # --set log.level\n")
        );
    }

    #[test]
    fn metrics_are_shown_without_a_configuration() {
        let table = run(&["metrics"]).unwrap();
        assert!(table.starts_with("NAME "), "{table}");
        let json = run(&["metrics", "--format", "json"]).unwrap();
        let list: Vec<serde_json::Value> = serde_json::from_str(&json).unwrap();
        assert_eq!(list.len() + 1, table.lines().count());
        let markdown = run(&["metrics", "--format", "markdown"]).unwrap();
        assert!(markdown.starts_with("# Metrics\n"), "{markdown}");
        assert_eq!(run(&["metrics", "--format", "xml"]).unwrap_err().0, 2);
    }

    #[test]
    fn every_named_flag_sets_a_setting() {
        let flags = SettingFlags {
            config: None,
            gitlab_url: Some("x".into()),
            gitlab_token: Some("x".into()),
            gitlab_token_file: Some("x".into()),
            log_level: Some("x".into()),
            log_format: Some("x".into()),
            server_listen_address: Some("x".into()),
            set: Vec::new(),
        };
        let sources = flags.sources(Environment::default());
        assert_eq!(sources.flags.len(), 6);
        for flag in sources.flags {
            // The flag is the path of the setting, spelled as flags are.
            assert_eq!(
                flag.name,
                format!("--{}", flag.path.replace(['.', '_'], "-"))
            );
            assert!(
                crate::config::json_schema()
                    .pointer(&format!(
                        "/properties/{}",
                        flag.path.replace('.', "/properties/")
                    ))
                    .is_some()
            );
        }
    }

    #[test]
    fn completions_and_manual_pages_name_every_command() {
        let commands = Cli::command();
        let commands: Vec<&str> = commands
            .get_subcommands()
            .map(clap::Command::get_name)
            .collect();
        assert!(commands.len() > 8, "{commands:?}");
        for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
            let text = run(&["completions", shell]).unwrap();
            for command in &commands {
                assert!(text.contains(command), "{shell}: {command}");
            }
        }
        assert_eq!(run(&["completions", "basic"]).unwrap_err().0, 2);
        let page = run(&["man"]).unwrap();
        assert!(page.starts_with(".ie"), "{page}");
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().to_str().unwrap();
        assert_eq!(run(&["man", "--to", to]).unwrap(), "");
        for command in commands {
            let page = folder
                .path()
                .join(format!("amazing-gitlab-exporter-{command}.1"));
            let page = std::fs::read_to_string(page).unwrap();
            let called = format!(
                "amazing\\-gitlab\\-exporter\\-{}",
                command.replace('-', "\\-")
            );
            assert!(page.contains(&called), "{command}: {page}");
            // Flags of all commands.
            assert!(page.contains("\\-\\-gitlab\\-url"), "{command}: {page}");
        }
        let install = folder
            .path()
            .join("amazing-gitlab-exporter-webhooks-install.1");
        assert!(install.exists());
        let missing = folder.path().join("missing");
        let (code, said) = run(&["man", "--to", missing.to_str().unwrap()]).unwrap_err();
        assert_eq!(code, 1);
        assert!(said.contains("cannot be written"), "{said}");
    }

    #[test]
    fn schema_and_example_need_no_configuration() {
        let schema: serde_json::Value =
            serde_json::from_str(&run(&["config", "--schema"]).unwrap()).unwrap();
        assert_eq!(
            schema["$schema"],
            "https://json-schema.org/draft/2020-12/schema"
        );
        assert_eq!(
            run(&["config", "--example"]).unwrap(),
            crate::config::example()
        );
        assert_eq!(
            run(&["config", "--markdown"]).unwrap(),
            crate::config::markdown()
        );
        assert_eq!(run(&["config"]).unwrap_err().0, 2);
        assert_eq!(run(&["config", "--schema", "--example"]).unwrap_err().0, 2);
    }

    #[test]
    fn a_state_reset_without_a_state_file_is_refused() {
        let settings = ["--gitlab-token", "t", "--set", "wildcards=[{}]"];
        // A free port is not needed: it ends before it listens.
        let (code, message) =
            run(&[&["run", "--state-reset"], &settings[..]].concat()).unwrap_err();
        assert_eq!(code, 2);
        assert!(
            message.contains("set state.path, or leave the flag out"),
            "{message}"
        );
    }

    #[test]
    fn a_strict_check_fails_by_warnings() {
        let gitlab = tokio::runtime::Runtime::new().unwrap();
        let fake = gitlab.block_on(Fake::start(|request, _| {
            match request.target.trim_start_matches("/api/v4") {
                "/metadata" => Reply::json(r#"{"version":"19.3.0","enterprise":false}"#),
                "/projects/group%2Fp" => {
                    Reply::json(r#"{"id": 7, "path_with_namespace": "group/p"}"#)
                }
                "/api/graphql" => Reply::json(r#"{"data":{"projects":{"nodes":[]}}}"#),
                _ => Reply::status(404, r#"{"message":"404 Not Found"}"#),
            }
        }));
        let url = fake.url().to_string();
        let projects = "projects=[{name: group/p}, {name: group/typo}]";
        let check = [
            "check",
            "--gitlab-url",
            &url,
            "--gitlab-token",
            "t",
            "--set",
            projects,
        ];
        let text = run(&check).unwrap();
        assert!(text.contains("warning     project group/typo"), "{text}");
        assert!(!text.contains("Estimate"), "{text}");
        let estimated = [&check[..], &["--estimate", "--refs", "2"]].concat();
        let text = run(&estimated).unwrap();
        assert!(
            text.contains("Estimate    for 1 project with 2 refs, 20 jobs"),
            "{text}"
        );
        let json = run(&[&estimated[..], &["--format", "json"]].concat()).unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert!(json["estimate"]["memory_bytes"].as_u64() > Some(32_000_000));
        // Its numbers mean nothing without it.
        assert_eq!(
            run(&[&check[..], &["--refs", "2"]].concat()).unwrap_err().0,
            2
        );
        let strict = run(&[&check[..], &["--strict"]].concat());
        assert_eq!(strict.unwrap_err().0, 1);
    }

    #[test]
    fn a_wrong_command_line_exits_with_2() {
        assert_eq!(run(&["validate", "--set", "nothing"]).unwrap_err().0, 2);
        assert_eq!(run(&["walk"]).unwrap_err().0, 2);
        assert_eq!(run(&[]).unwrap_err().0, 2);
    }
}
