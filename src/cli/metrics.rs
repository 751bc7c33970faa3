//! `metrics`: shows the catalogue of metrics.

use std::io::Write;

use clap::{Args, ValueEnum};

use super::CliError;
use crate::catalogue;

/// How to show it.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// What to write: lines for a terminal, a list of objects, or docs/metrics.md
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Table,
    Json,
    Markdown,
}

/// Prints every metric that the exporter knows.
pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<(), CliError> {
    out.write_all(render(arguments.format).as_bytes())?;
    Ok(())
}

fn render(format: Format) -> String {
    match format {
        Format::Table => catalogue::table(),
        Format::Json => catalogue::json(),
        Format::Markdown => catalogue::markdown(),
    }
}
