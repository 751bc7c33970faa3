//! What every replica knows of all projects: those that discovery found, and what the replica that reads a
//! project says of it. Who looks for projects, and who reads them, writes; all follow.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::wire::{Entry, Listed, WireNote};
use crate::config::Config;
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
    /// The configuration that their intervals were worked out by.
    config: Option<Arc<Config>>,
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
            keys: Self::keys(keys),
            publish: Script::new(include_str!("publish.lua")),
            follow: Script::new(include_str!("follow.lua")),
            revision: 0,
            entries: BTreeMap::new(),
            config: None,
        }
    }

    /// Where it is.
    pub(super) fn keys(keys: &Keys) -> [String; 2] {
        ["directory", "directory:log"].map(|name| keys.shared(name))
    }

    /// Whether discovery has said anything yet.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What changed since the last time; everything after a reload of the configuration.
    pub(super) async fn follow(&mut self, config: &Arc<Config>) -> Result<News, RedisError> {
        let mut news = self.by(config);
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
                self.take_in(field, value, config, &mut news);
            }
            if changes.len() < 3 * AT_ONCE {
                return Ok(news);
            }
        }
    }

    /// Every project by another configuration; nothing by the same.
    fn by(&mut self, config: &Arc<Config>) -> News {
        let mut news = News::default();
        let before = self.config.replace(Arc::clone(config));
        if before.is_some_and(|before| !Arc::ptr_eq(&before, config)) {
            for (id, value) in &self.entries {
                if let Ok(Entry::Listed(listed)) = serde_json::from_str(value) {
                    news.found.insert(*id, listed.into_selected(*id, config));
                }
            }
        }
        news
    }

    fn take_in(&mut self, field: &str, value: &str, config: &Config, news: &mut News) {
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
                        news.found.insert(id, listed.into_selected(id, config));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Collector;
    use crate::redis::{RedisOptions, RedisUrl};

    fn config(seconds: u32) -> Arc<Config> {
        let text = format!(
            "gitlab: {{token: 'glpat-0123456789abcdefghij'}}\n\
             collectors: {{jobs: {{interval_seconds: {seconds}}}}}\nprojects: [{{name: group/app}}]\n"
        );
        Arc::new(Config::from_yaml(&text).unwrap())
    }

    /// One that has never connected.
    fn directory() -> Directory {
        let url = RedisUrl::parse("redis://127.0.0.1:1").unwrap();
        let redis = Redis::new(RedisOptions::new(url)).unwrap();
        Directory::new(redis, &Keys::new("test"))
    }

    fn entry(config: &Config) -> String {
        let settings = serde_json::to_value(&config.projects[0].settings).unwrap();
        serde_json::json!({"listed": {"path": "group/app", "settings": settings}}).to_string()
    }

    /// Seconds between two polls of the jobs of project 7.
    fn interval(news: &News) -> Option<u64> {
        let (_, settings) = news.found.get(&ProjectId(7))?;
        Some(settings.interval(Collector::Jobs)?.as_secs())
    }

    #[test]
    fn a_reload_changes_the_intervals_of_projects_that_are_known() {
        let (mut directory, before) = (directory(), config(33));
        let mut news = directory.by(&before);
        directory.take_in("project:7", &entry(&before), &before, &mut news);
        assert_eq!(interval(&news), Some(33));
        assert_eq!(interval(&directory.by(&before)), None, "nothing is new");
        assert_eq!(interval(&directory.by(&config(44))), Some(44));
    }

    #[test]
    fn what_is_known_is_no_news_and_a_removed_project_is() {
        let (mut directory, config) = (directory(), config(33));
        let entry = entry(&config);
        let mut news = News::default();
        directory.take_in("project:7", &entry, &config, &mut news);
        let mut again = News::default();
        directory.take_in("project:7", &entry, &config, &mut again);
        assert!(again.found.is_empty());
        let removed = r#"{"removed":"archived"}"#;
        directory.take_in("project:7", removed, &config, &mut news);
        assert!(news.found.is_empty());
        assert_eq!(news.removed, [(ProjectId(7), Reason::Archived)]);
        // Of a later version.
        for (field, value) in [("other:7", "x"), ("project:x", "x"), ("project:8", "{")] {
            directory.take_in(field, value, &config, &mut again);
        }
        assert!(again.found.is_empty() && again.removed.is_empty());
    }
}
