//! Messages between replicas: what runs and events say that concerns another one. They may be lost with the
//! replica that they were for; the next poll finds what they announced.

use std::collections::BTreeMap;
use std::time::Duration;

use super::wire::{Message, WireHint};
use crate::redis::{Redis, RedisError, Script};
use crate::registry::Outbox;
use crate::shards::{Shard, ShardSet};
use crate::store::Keys;

/// How long messages wait for who never reads them.
const TTL: Duration = Duration::from_secs(60);
/// Messages that wait for one replica at most; the oldest are dropped.
const MOST: usize = 10_000;
/// Messages that are read at once.
const AT_ONCE: usize = 1000;

/// Whom a message is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum To {
    /// Who looks for projects, whichever replica that is.
    Leader,
    /// One replica.
    Replica(String),
}

/// Sends and receives.
#[derive(Debug)]
pub(super) struct PostClient {
    redis: Redis,
    keys: Keys,
    post: Script,
    drain: Script,
}

impl PostClient {
    pub(super) fn new(redis: Redis, keys: Keys) -> Self {
        Self {
            redis,
            keys,
            post: Script::new(include_str!("post.lua")),
            drain: Script::new(include_str!("drain.lua")),
        }
    }

    fn key(&self, to: &To) -> String {
        match to {
            To::Leader => self.keys.shared("leader"),
            To::Replica(instance) => self.keys.shared(&format!("inbox:{instance}")),
        }
    }

    /// Sends messages.
    pub(super) async fn send(
        &self,
        messages: &BTreeMap<To, Vec<Message>>,
    ) -> Result<(), RedisError> {
        for (to, messages) in messages {
            let mut args = vec![TTL.as_millis().to_string(), MOST.to_string()];
            let texts = messages.iter().map(serde_json::to_string);
            args.extend(texts.filter_map(Result::ok));
            let keys = [self.key(to)];
            self.redis.run::<u64>(&self.post, &keys, &args).await?;
        }
        Ok(())
    }

    /// Takes the messages for a receiver; what is not understood is left out.
    pub(super) async fn receive(&self, to: &To) -> Result<Vec<Message>, RedisError> {
        let keys = [self.key(to)];
        let args = [AT_ONCE.to_string()];
        let texts = self.redis.run::<Vec<String>>(&self.drain, &keys, &args);
        let texts = texts.await?;
        let messages = texts.iter().map(|text| serde_json::from_str(text));
        Ok(messages.filter_map(Result::ok).collect())
    }
}

/// What a replica has to say to others, by receiver. Hints of shards that nobody holds now are dropped.
pub(super) fn messages(
    outbox: &Outbox,
    holders: &BTreeMap<String, ShardSet>,
) -> BTreeMap<To, Vec<Message>> {
    let mut messages = BTreeMap::<To, Vec<Message>>::new();
    let doubts = outbox.doubts.iter().map(|id| Message::Doubt(id.0));
    let changed = outbox.changed.iter().map(|id| Message::Changed(id.0));
    let lists = outbox.lists.then_some(Message::Lists);
    let leader: Vec<Message> = doubts.chain(changed).chain(lists).collect();
    if !leader.is_empty() {
        messages.insert(To::Leader, leader);
    }
    for (project, reading, marks) in &outbox.hints {
        let shard = Shard::of(*project);
        let mut holders = holders.iter();
        if let Some((instance, _)) = holders.find(|(_, shards)| shards.contains(shard)) {
            let hint = WireHint::new(*project, *reading, marks);
            let inbox = messages.entry(To::Replica(instance.clone()));
            inbox.or_default().push(Message::Hint(hint));
        }
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Reading;
    use crate::types::ProjectId;

    #[test]
    fn what_is_said_goes_to_whom_it_concerns() {
        let holders = [(1, "a"), (2, "b")].map(|(id, name)| {
            let shards = [Shard::of(ProjectId(id))].into_iter().collect();
            (name.to_owned(), shards)
        });
        let mut outbox = Outbox {
            doubts: [ProjectId(9)].into(),
            changed: [ProjectId(8)].into(),
            lists: true,
            ..Outbox::default()
        };
        let hint = |id| (ProjectId(id), Reading::ChangeFeed, Vec::new());
        outbox.hints = vec![hint(1), hint(2), hint(3), hint(1)];
        let messages = messages(&outbox, &holders.into());
        let counts: Vec<(&To, usize)> = messages.iter().map(|(to, all)| (to, all.len())).collect();
        let to = |name: &str| To::Replica(name.to_owned());
        assert_eq!(counts, [(&To::Leader, 3), (&to("a"), 2), (&to("b"), 1)]);
    }
}
