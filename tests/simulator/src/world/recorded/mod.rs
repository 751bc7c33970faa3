//! Reads the rows of a real GitLab instance: the world is then that instance at a moment.

mod ci;
mod people;
mod projects;
mod reviews;
mod rows;

use std::collections::BTreeMap;
use std::sync::Arc;

use rows::Rows;

use super::{World, WorldConfig, slots};
use crate::time::Millis;

pub use people::token_of;

/// Why rows cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordedError {
    /// They are not what they should be.
    #[error("the rows cannot be read: {0}")]
    Rows(#[from] serde_json::Error),
    /// A row names something that there is not.
    #[error("a row names the {what} {id}, which there is not")]
    Missing {
        /// Kind of thing.
        what: &'static str,
        /// Its id.
        id: u64,
    },
    /// A row has a value that is not known.
    #[error("{value} is no {what}")]
    Unknown {
        /// Kind of value.
        what: &'static str,
        /// The value.
        value: String,
    },
}

/// What reading rows gives.
type Result<T> = std::result::Result<T, RecordedError>;

fn unknown(what: &'static str, value: &str) -> RecordedError {
    RecordedError::Unknown {
        what,
        value: value.to_owned(),
    }
}

/// The names of users by id.
struct Names(BTreeMap<u64, Arc<str>>);

impl Names {
    fn of(&self, id: u64) -> Result<Arc<str>> {
        let missing = RecordedError::Missing { what: "user", id };
        self.0.get(&id).cloned().ok_or(missing)
    }

    /// The name of a user who may be nobody.
    fn maybe(&self, id: Option<u64>) -> Result<Option<Arc<str>>> {
        id.map(|id| self.of(id)).transpose()
    }
}

impl World {
    /// The world that rows of an instance describe, as it was at `now`. Its ledger is empty. It stands
    /// still until somebody changes it.
    ///
    /// # Errors
    /// If the rows are no JSON of the right form, or do not fit together.
    pub fn recorded(rows: &str, now: Millis) -> std::result::Result<Self, RecordedError> {
        let rows: Rows = serde_json::from_str(rows)?;
        let mut world = Self::new(WorldConfig {
            start: now,
            ..WorldConfig::default()
        });
        world.version.clone_from(&rows.gitlab.version);
        world.enterprise = rows.gitlab.enterprise;
        world.revision = "Unknown".into();
        world.made_up = false;
        world.tokens.clear();
        world.users.clear();
        world.runners.clear();
        world.pipelines = slots::Slots::starting_at(1);
        world.jobs = slots::Slots::starting_at(1);
        world.ledger.pause(true);
        let names = Names(
            rows.users
                .iter()
                .map(|user| (user.id, user.username.clone()))
                .collect(),
        );
        world.read_people(&rows);
        world.read_projects(&rows, &names)?;
        world.read_ci(&rows, &names)?;
        world.read_reviews(&rows, &names)?;
        world.ledger.clear();
        world.ledger.pause(false);
        Ok(world)
    }
}
