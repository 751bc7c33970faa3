//! The owner of a state file: a note next to it, for a process that finds it held.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::Clock;

/// A process that holds a state file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Owner {
    host: String,
    process: u32,
    since: Timestamp,
}

impl Owner {
    /// This process.
    pub(super) fn this(clock: &Clock) -> Self {
        Self {
            host: gethostname::gethostname().to_string_lossy().into_owned(),
            process: std::process::id(),
            since: Timestamp::from_second(clock.now().0).unwrap_or_default(),
        }
    }

    /// Leaves the note. Without it only a sentence is poorer, so that it cannot be left is no error.
    pub(super) fn note(&self, state: &Path) {
        let Ok(note) = serde_json::to_string(self) else {
            return;
        };
        if let Err(error) = fs::write(note_of(state), note) {
            tracing::debug!(%error, "cannot note the owner of the state file");
        }
    }

    /// Who holds a state file, as far as that is known.
    pub(super) fn of(state: &Path) -> String {
        let note = fs::read(note_of(state)).ok();
        let owner = note.and_then(|note| serde_json::from_slice::<Self>(&note).ok());
        match owner {
            Some(Self {
                host,
                process,
                since,
            }) => format!("process {process} on {host}, since {since}"),
            None => "another process".to_owned(),
        }
    }
}

fn note_of(state: &Path) -> PathBuf {
    let mut name = state.as_os_str().to_owned();
    name.push(".owner");
    PathBuf::from(name)
}
