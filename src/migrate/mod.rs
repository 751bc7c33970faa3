//! From gitlab-ci-pipelines-exporter: its configuration, and rules and dashboards that use its metrics.
//!
//! Everything here is a function from texts to texts and a [`Report`]; only the command line reads and
//! writes files. Nothing is dropped silently: what has no counterpart is in the report with its line and
//! the reason. Secrets are never copied: the new configuration takes them from variables.

mod config;
mod dashboard;
mod keys;
mod promql;
mod rules;
mod yaml_text;

use std::fmt;

pub use config::{Migrated, configuration, settings_table};
pub use dashboard::dashboard;
pub use keys::{is_old_setting, old_settings};
pub use promql::{Family, Names, families, mapping_table};
pub use rules::{recorded_names, rules};

/// The program whose files are read.
pub const OLD: &str = "gitlab-ci-pipelines-exporter";

/// Why a file cannot be migrated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MigrateError {
    /// It has another syntax.
    #[error("{file}: not valid {format} ({reason})")]
    Syntax {
        /// The file.
        file: String,
        /// YAML or JSON.
        format: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// It is a configuration of this program.
    #[error(
        "{0} is a configuration of amazing-gitlab-exporter already, so there is nothing to migrate; \
         `amazing-gitlab-exporter validate --config {0}` checks it"
    )]
    Ours(String),
    /// It is something else.
    #[error(
        "{file} is not a configuration of gitlab-ci-pipelines-exporter: {reason}; name the file that it is \
         started with (--config or GCPE_CONFIG)"
    )]
    Other {
        /// The file.
        file: String,
        /// How this was seen.
        reason: String,
    },
    /// Neither rules nor a dashboard.
    #[error("{file} holds no {what}, so there is nothing to rewrite; name a file that does")]
    Nothing {
        /// The file.
        file: String,
        /// What it should hold.
        what: &'static str,
    },
}

/// What a note is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoteKind {
    /// Something is to be done by hand.
    ToDo,
    /// Taken over with another meaning or value.
    Changed,
    /// Not taken over.
    Left,
}

impl NoteKind {
    /// Every kind, in the order of a report.
    pub const ALL: [Self; 3] = [Self::ToDo, Self::Changed, Self::Left];

    /// The heading of its notes.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::ToDo => "To do",
            Self::Changed => "Changed",
            Self::Left => "Not migrated",
        }
    }
}

/// One thing that a person should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What it is about.
    pub kind: NoteKind,
    /// Where: a setting with its line, an alert, a panel.
    pub place: String,
    /// What happened to it, and why.
    pub sentence: String,
}

/// What was done with a file. It never holds a secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Settings or expressions taken over.
    pub migrated: usize,
    /// All notes.
    pub notes: Vec<Note>,
}

impl Report {
    fn add(&mut self, kind: NoteKind, place: impl Into<String>, sentence: impl Into<String>) {
        let note = Note {
            kind,
            place: one_line(&place.into()),
            sentence: one_line(&sentence.into()),
        };
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// The notes of a kind, in the order in which they were made.
    pub fn of(&self, kind: NoteKind) -> impl Iterator<Item = &Note> {
        self.notes.iter().filter(move |note| note.kind == kind)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for kind in NoteKind::ALL {
            let mut notes = self.of(kind).peekable();
            if notes.peek().is_some() {
                writeln!(f, "{}:", kind.title())?;
            }
            for note in notes {
                writeln!(f, "  {}: {}", note.place, note.sentence)?;
            }
        }
        Ok(())
    }
}

/// A text without line breaks and control characters: names in old files are any text.
fn one_line(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(plain).collect()
}
