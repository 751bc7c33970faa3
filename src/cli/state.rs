//! `state`: moves the state between a file and Redis.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::CliError;
use crate::app::state_move::{Target, run as move_state};
use crate::clock::Clock;
use crate::config::Sources;

/// What follows the help.
const AFTER_HELP: &str = "\
Examples:
  amazing-gitlab-exporter state move --to redis --file state.redb --config config.yml
  amazing-gitlab-exporter state move --to file --file state.redb --config config.yml

The configuration is the one with redis.url. Stop all exporters that use the file or this Redis first. The file
is renamed after it was moved to Redis; Redis is emptied after its state was moved to a file.

Exit codes: 0 it worked, 1 the state was not moved, 2 the configuration or the command line is wrong";

/// What to do with the state.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Moves the state from a file to Redis, or back
    Move(Options),
}

#[derive(Debug, Args)]
struct Options {
    /// Where the state goes
    #[arg(long, value_enum, value_name = "WHERE")]
    to: Where,
    /// The state file
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Where {
    /// From the file to Redis
    Redis,
    /// From Redis to the file, which must not exist
    File,
}

/// Moves it and prints what was moved.
pub(super) fn run(
    arguments: Arguments,
    sources: &Sources,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let Command::Move(Options { to, file }) = arguments.command;
    let config = super::load(sources)?;
    let target = match to {
        Where::Redis => Target::Redis,
        Where::File => Target::File,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| CliError::Failed(format!("no runtime can be started: {error}")))?;
    let moved = runtime.block_on(move_state(&config, &file, target, Clock::System));
    let moved = moved.map_err(|error| CliError::Failed(error.to_string()))?;
    writeln!(out, "{moved}")?;
    Ok(())
}
