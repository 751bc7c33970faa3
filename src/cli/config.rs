//! `config`: shows the effective configuration, its JSON Schema, or every setting with its meaning.

use std::io::Write;

use clap::Args;

use super::CliError;
use crate::config::{Sources, example, json_schema, markdown};

/// What to show.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(super) struct Arguments {
    /// Show the JSON Schema of the configuration file, for editors
    #[arg(long)]
    schema: bool,
    /// Show a configuration file with every setting, its meaning and its default
    #[arg(long)]
    example: bool,
    /// Show docs/configuration.md: every setting as a table
    #[arg(long)]
    markdown: bool,
}

/// Prints what was asked for; only the effective configuration needs one that is right.
pub(super) fn run(
    arguments: Arguments,
    sources: &Sources,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    if arguments.schema {
        writeln!(out, "{:#}", json_schema())?;
    } else if arguments.example {
        out.write_all(example().as_bytes())?;
    } else if arguments.markdown {
        out.write_all(markdown().as_bytes())?;
    } else {
        out.write_all(super::load(sources)?.to_yaml().as_bytes())?;
    }
    Ok(())
}
