//! What every replica knows of all projects: those that discovery found, and what the replica that reads a
//! project says of it. Who looks for projects, and who reads them, writes; all follow.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::wire::{Entry, Listed, WireNote};
use crate::config::Settings;
use crate::discovery::Found;
use crate::redis::{Redis, RedisError, Script};
use crate::registry::{Note, Outbox, Projects, Reason};
use crate::store::Keys;
use crate::types::ProjectId;

/// Changes that are written or read at once.
const AT_ONCE: usize = 500;

/// Writes and follows it.
#[derive(Debug)]
pub(super) struct Directory {
    redis: Redis,
    keys: [String; 2],
    publish: Script,
    follow: Script,
    /// Up to which change it is known.
    revision: u64,
    /// What discovery has said of projects.
    entries: BTreeMap<ProjectId, Arc<str>>,
}

/// What others wrote.
#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) found: Found,
    pub(super) removed: Vec<(ProjectId, Reason)>,
    pub(super) notes: Vec<(ProjectId, Note)>,
    /// Whether Redis has lost what was written: all is to be written again.
    pub(super) is_lost: bool,
}

impl Directory {
    pub(super) fn new(redis: Redis, keys: &Keys) -> Self {
        Self {
            redis,
            keys: ["directory", "directory:log"].map(|name| keys.shared(name)),
            publish: Script::new(include_str!("publish.lua")),
            follow: Script::new(include_str!("follow.lua")),
            revision: 0,
            entries: BTreeMap::new(),
        }
    }

    /// Whether discovery has said anything yet.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What changed since the last time.
    pub(super) async fn follow(&mut self, settings: &Settings) -> Result<News, RedisError> {
        let mut news = News::default();
        loop {
            let args = [self.revision.to_string(), AT_ONCE.to_string()];
            let answer = self
                .redis
                .run::<Vec<String>>(&self.follow, &self.keys, &args);
            let answer = answer.await?;
            let (revision, changes) = match answer.split_first() {
                Some((revision, changes)) => (revision.parse().unwrap_or(0), changes),
                None => (0, &[][..]),
            };
            if revision < self.revision {
                self.revision = 0;
                self.entries.clear();
                news.is_lost = true;
                continue;
            }
            for change in changes.chunks_exact(3) {
                let [field, at, value] = change else { continue };
                self.revision = at.parse().unwrap_or(self.revision).max(self.revision);
                self.take_in(field, value, settings, &mut news);
            }
            if changes.len() < 3 * AT_ONCE {
                return Ok(news);
            }
        }
    }

    fn take_in(&mut self, field: &str, value: &str, settings: &Settings, news: &mut News) {
        let Some((kind, id)) = field.split_once(':') else {
            return;
        };
        let Ok(id) = id.parse().map(ProjectId) else {
            return;
        };
        match kind {
            "project" => {
                if self.entries.get(&id).is_some_and(|known| **known == *value) {
                    return;
                }
                self.entries.insert(id, value.into());
                match serde_json::from_str(value) {
                    Ok(Entry::Listed(listed)) => {
                        news.removed.retain(|(removed, _)| *removed != id);
                        news.found.insert(id, listed.into_selected(id, settings));
                    }
                    Ok(Entry::Removed(why)) => {
                        news.found.remove(&id);
                        news.removed.push((id, why.into()));
                    }
                    Err(error) => {
                        tracing::warn!(project = id.0, %error, "project entry in Redis not understood");
                    }
                }
            }
            "note" => {
                if let Ok(note) = serde_json::from_str::<WireNote>(value) {
                    news.notes.push((id, note.into()));
                }
            }
            // Of a later version.
            _ => {}
        }
    }

    /// What is to be written of what a replica has to say.
    pub(super) fn changes(&self, outbox: &Outbox, projects: &Projects) -> Vec<(String, String)> {
        let mut changes = Vec::new();
        if outbox.is_listed && projects.leads() {
            for (id, entry) in projects.iter() {
                let listed = Listed::of(entry.project(), entry.settings());
                let value = encoded(&Entry::Listed(Box::new(listed)));
                if self.entries.get(&id).is_none_or(|known| **known != *value) {
                    changes.push((format!("project:{id}"), value));
                }
            }
        }
        for (id, reason) in &outbox.removed {
            let value = encoded(&Entry::Removed((*reason).into()));
            changes.push((format!("project:{id}"), value));
        }
        for id in &outbox.noted {
            if let Some(note) = projects.note_of(*id) {
                changes.push((format!("note:{id}"), encoded(&WireNote::from(note))));
            }
        }
        changes
    }

    /// Writes changes.
    pub(super) async fn write(&self, changes: &[(String, String)]) -> Result<(), RedisError> {
        for changes in changes.chunks(AT_ONCE) {
            let args = changes.iter();
            let args = args.flat_map(|(field, value)| [field.as_str(), value.as_str()]);
            let args: Vec<&str> = args.collect();
            let written = self.redis.run::<u64>(&self.publish, &self.keys, &args);
            written.await?;
        }
        Ok(())
    }
}

fn encoded<T: serde::Serialize>(value: &T) -> String {
    // Names and numbers: it cannot fail.
    serde_json::to_string(value).unwrap_or_default()
}
