//! What replicas report to each other: projects and what is known of them, doubts, events.

use std::time::{Duration, Instant};

use super::Cluster;
use super::directory::News;
use super::post::{To, messages};
use super::wire::Message;
use crate::events::Hint;
use crate::redis::RedisError;
use crate::registry::Outbox;
use crate::shards::Shard;
use crate::types::ProjectId;

/// How often series of disabled collectors and withdrawn projects are removed, and projects that are remembered
/// and in no list are reported.
const TIDY: Duration = Duration::from_secs(60);

impl Cluster {
    /// Takes in what other replicas wrote about projects.
    pub(super) async fn follow(&mut self) -> Result<(), RedisError> {
        let News {
            found,
            removed,
            notes,
            is_lost,
        } = self.directory.follow(&self.parts.config.now()).await?;
        let now = self.parts.clock.now();
        {
            let mut projects = self.parts.registry.lock();
            if is_lost {
                projects.publish_everything();
            }
            if !found.is_empty() {
                projects.listed(found, now);
            }
            for (id, note) in notes {
                projects.note(id, Some(note));
            }
        }
        if !removed.is_empty() {
            self.parts.ingest.removed_elsewhere(removed).await;
        }
        Ok(())
    }

    /// Does what discovery does after each run where there are no replicas. Not at each step: it waits for
    /// what is being recorded.
    pub(super) async fn tidy(&mut self) {
        if Instant::now() < self.tidy_due {
            return;
        }
        self.tidy_due = Instant::now() + TIDY;
        let now = self.parts.clock.now();
        if !self.directory.is_empty() {
            self.parts.registry.lock().doubt_unlisted(now);
        }
        self.parts.ingest.switch_off().await;
        self.parts.ingest.forget_withdrawn(now).await;
    }

    /// Publishes what others have to know.
    pub(super) async fn publish(&mut self) -> Result<(), RedisError> {
        let (outbox, changes) = {
            let mut projects = self.parts.registry.lock();
            let outbox = projects.take_outbox();
            if outbox == Outbox::default() {
                return Ok(());
            }
            let changes = self.directory.changes(&outbox, &projects);
            (outbox, changes)
        };
        let sent = self.send(&outbox, &changes).await;
        if sent.is_err() {
            self.parts.registry.lock().put_back(outbox);
        }
        sent
    }

    async fn send(&self, outbox: &Outbox, changes: &[(String, String)]) -> Result<(), RedisError> {
        self.directory.write(changes).await?;
        let holders = self.members.iter();
        let holders = holders.map(|(instance, info)| (instance.clone(), info.shards()));
        let messages = messages(outbox, &holders.collect());
        self.post.send(&messages).await
    }

    /// Handles the messages of other replicas.
    pub(super) async fn receive(&mut self) -> Result<(), RedisError> {
        let own = To::Replica(self.settings.instance.clone());
        let mut messages = self.post.receive(&own).await?;
        if self.held.contains_key(&Shard::INSTANCE) {
            messages.extend(self.post.receive(&To::Leader).await?);
        }
        let now = self.parts.clock.now();
        for message in messages {
            match message {
                Message::Doubt(id) => self.parts.registry.lock().doubted(ProjectId(id), now),
                Message::Changed(id) => {
                    self.parts.registry.lock().changed_elsewhere(ProjectId(id));
                }
                Message::Lists => self.parts.hints.push_lists(tokio::time::Instant::now()),
                Message::Hint(hint) => {
                    let Some((project, reading, marks)) = hint.into_parts() else {
                        continue;
                    };
                    // One that was handed over meanwhile is not sent on and on.
                    if self.parts.registry.lock().is_own(project) {
                        for mark in marks {
                            self.parts.hints.push(Hint {
                                project,
                                reading,
                                mark,
                            });
                        }
                    }
                }
            }
        }
        Ok(())
    }
}
