//! `man`: writes the manual pages.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory};
use clap_mangen::Man;

use super::{Cli, CliError};

/// Where to.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Folder for one page of each command; without it, the page of the program is printed
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
}

/// Prints the page of the program, or writes all.
pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<(), CliError> {
    let mut command = Cli::command();
    // Flags of all commands belong to each page, and each page to the name that it is called by.
    command.build();
    match &arguments.to {
        None => Man::new(command).render(out)?,
        Some(folder) => write(&command, command.get_name(), folder)?,
    }
    Ok(())
}

/// Writes the page of a command and those of its own commands, as `name-command.1`.
fn write(command: &Command, name: &str, folder: &Path) -> Result<(), CliError> {
    // clap needs the name as long as the program.
    let title: &'static str = Box::leak(name.to_owned().into_boxed_str());
    let mut page = Vec::new();
    Man::new(command.clone().name(title).display_name(title)).render(&mut page)?;
    let path = folder.join(format!("{name}.1"));
    std::fs::write(&path, page).map_err(|error| {
        CliError::Failed(format!("{} cannot be written: {error}", path.display()))
    })?;
    for child in command.get_subcommands() {
        if child.get_name() != "help" {
            write(child, &format!("{name}-{}", child.get_name()), folder)?;
        }
    }
    Ok(())
}
