//! Users.

use std::sync::Arc;

use serde::Serialize;

use super::World;
use super::reviews::{display_name, is_bot};
use crate::time::Millis;

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct User {
    /// Id.
    pub id: u64,
    /// Name in paths and mentions.
    pub username: Arc<str>,
    /// Name to be called by.
    pub name: Arc<str>,
    /// A program.
    pub bot: bool,
    /// May not sign in.
    pub blocked: bool,
    /// When the account was made.
    pub created_at: Option<Millis>,
}

impl User {
    /// A user whose other names follow from the user name.
    #[must_use]
    pub fn named(id: u64, username: &str) -> Self {
        Self {
            id,
            username: username.into(),
            name: display_name(username).into(),
            bot: is_bot(username),
            blocked: false,
            created_at: None,
        }
    }
}

impl World {
    /// The user of a name. People of generated worlds are known by name alone; their ids follow from it.
    #[must_use]
    pub fn account(&self, username: &str) -> User {
        let known = self.users.values().find(|user| *user.username == *username);
        known.cloned().unwrap_or_else(|| {
            let sum = |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte));
            let id = 1_000 + username.bytes().fold(7, sum) % (1 << 31);
            User::named(id, username)
        })
    }

    /// The user of an id.
    #[must_use]
    pub fn account_by_id(&self, id: u64) -> Option<&User> {
        self.users.get(&id)
    }

    /// The name of a user, by name or id.
    #[must_use]
    pub fn user(&self, name_or_id: &str) -> Option<&str> {
        let by_id = name_or_id
            .parse()
            .ok()
            .and_then(|id: u64| self.users.get(&id));
        let by_name = || {
            let mut users = self.users.values();
            users.find(|user| user.username.eq_ignore_ascii_case(name_or_id))
        };
        by_id.or_else(by_name).map(|user| &*user.username)
    }
}
