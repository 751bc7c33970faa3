//! The owner of a state file: a note next to it, for a process that finds it held.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::Clock;

/// Bytes of the longest note.
const LONGEST: u64 = 4096;

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
        if let Err(error) = replace(&note_of(state), &note) {
            tracing::debug!(%error, "cannot note the owner of the state file");
        }
    }

    /// Who holds a state file, as far as that is known.
    pub(super) fn of(state: &Path) -> String {
        match read(&note_of(state)) {
            Some(Self {
                host,
                process,
                since,
            }) => format!("process {process} on {host}, since {since}"),
            None => "another process".to_owned(),
        }
    }
}

/// Puts a new file in the place of what is there: a link that somebody laid there is not followed.
fn replace(path: &Path, note: &str) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(format!(".{}", std::process::id()));
    let new = PathBuf::from(new);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&new)
        .and_then(|mut file| file.write_all(note.as_bytes()))
        .and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        // One that a process with the same number left, or half of this one.
        let _ = fs::remove_file(&new);
    }
    written
}

/// A note, unless something else is in its place.
fn read(path: &Path) -> Option<Owner> {
    let is_file = fs::symlink_metadata(path).is_ok_and(|found| found.is_file());
    let file = is_file.then(|| File::open(path).ok()).flatten()?;
    let mut note = Vec::new();
    file.take(LONGEST).read_to_end(&mut note).ok()?;
    serde_json::from_slice(&note).ok()
}

fn note_of(state: &Path) -> PathBuf {
    let mut name = state.as_os_str().to_owned();
    name.push(".owner");
    PathBuf::from(name)
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::clock::UnixSeconds;

    #[test]
    fn a_link_in_the_place_of_the_note_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (state, precious) = (folder.path().join("state"), folder.path().join("precious"));
        fs::write(&precious, "mine").unwrap();
        symlink(&precious, note_of(&state)).unwrap();
        assert_eq!(Owner::of(&state), "another process");
        Owner::this(&Clock::manual(UnixSeconds(1_767_600_000))).note(&state);
        assert_eq!(fs::read_to_string(&precious).unwrap(), "mine");
        let owner = Owner::of(&state);
        assert!(
            owner.contains(&format!("process {}", std::process::id())),
            "{owner}"
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
