//! Whether a server is one that state may be entrusted to, by what INFO says: managed Redis has no CONFIG.

use std::collections::HashMap;
use std::fmt;

use redis::Value;

use super::error::Refusal;

/// The oldest version that has all commands that are used.
pub const MIN_VERSION: Version = Version(6, 2);

/// Major and minor number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u32, u32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// What INFO says of one server.
#[derive(Debug, Default)]
pub(super) struct Info<'a>(HashMap<&'a str, &'a str>);

impl<'a> Info<'a> {
    pub(super) fn parse(text: &'a str) -> Self {
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        Self(lines.map(|(key, value)| (key, value.trim())).collect())
    }

    fn get(&self, key: &str) -> &'a str {
        self.0.get(key).copied().unwrap_or_default()
    }

    fn version(&self) -> Option<Version> {
        let mut numbers = self.get("redis_version").split('.').map(str::parse);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => Some(Version(major, minor)),
            _ => None,
        }
    }

    /// Checks a server that calls go to.
    ///
    /// # Errors
    /// The first reason not to use it.
    pub(super) fn check(&self, in_cluster: bool) -> Result<(), Refusal> {
        match self.get("redis_mode") {
            "sentinel" => return Err(Refusal::IsSentinel),
            "cluster" if !in_cluster => return Err(Refusal::IsCluster),
            "standalone" if in_cluster => return Err(Refusal::IsNoCluster),
            _ => {}
        }
        // What does not say its version is something else that speaks the protocol, and judged by its answers.
        if self.version().is_some_and(|version| version < MIN_VERSION) {
            return Err(Refusal::TooOld(self.get("redis_version").to_owned()));
        }
        if self.get("loading") == "1" {
            return Err(Refusal::Busy("it is loading its data".to_owned()));
        }
        if self.get("role") == "slave" {
            return Err(Refusal::ReadOnly);
        }
        let is_limited = !matches!(self.get("maxmemory"), "" | "0");
        let policy = self.get("maxmemory_policy");
        if is_limited && !matches!(policy, "" | "noeviction") {
            return Err(Refusal::Evicting(policy.to_owned()));
        }
        Ok(())
    }
}

/// The texts of an answer to INFO: of one server, or of each node of a Cluster.
pub(super) fn texts(answer: &Value) -> Vec<String> {
    match answer {
        Value::BulkString(bytes) => vec![String::from_utf8_lossy(bytes).into_owned()],
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => vec![text.clone()],
        Value::Array(values) => values.iter().flat_map(texts).collect(),
        Value::Map(pairs) => pairs.iter().flat_map(|(_, value)| texts(value)).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(text: &str) -> Result<(), Refusal> {
        Info::parse(text).check(false)
    }

    #[test]
    fn what_info_says_decides() {
        let evicting = |policy: &str| Err(Refusal::Evicting(policy.to_owned()));
        for (text, want) in [
            ("", Ok(())),
            (
                "# Server\r\nredis_version:7.0.15\r\nrole:master\r\n",
                Ok(()),
            ),
            ("redis_version:6.2.0", Ok(())),
            (
                "redis_version:6.0.16",
                Err(Refusal::TooOld("6.0.16".to_owned())),
            ),
            ("redis_version:10.1", Ok(())),
            ("redis_version:255.255.255", Ok(())),
            ("role:slave", Err(Refusal::ReadOnly)),
            (
                "redis_mode:sentinel\r\nredis_version:7.0.15",
                Err(Refusal::IsSentinel),
            ),
            ("redis_mode:cluster", Err(Refusal::IsCluster)),
            ("maxmemory:0\r\nmaxmemory_policy:allkeys-lru", Ok(())),
            ("maxmemory:100\r\nmaxmemory_policy:noeviction", Ok(())),
            (
                "maxmemory:100\r\nmaxmemory_policy:allkeys-lru",
                evicting("allkeys-lru"),
            ),
            (
                "maxmemory:100\r\nmaxmemory_policy:volatile-ttl",
                evicting("volatile-ttl"),
            ),
            ("maxmemory_policy:allkeys-lru", Ok(())),
            ("maxmemory:100", Ok(())),
        ] {
            assert_eq!(verdict(text), want, "{text}");
        }
        let of_cluster = Info::parse("redis_mode:standalone").check(true);
        assert_eq!(of_cluster, Err(Refusal::IsNoCluster));
    }
}
