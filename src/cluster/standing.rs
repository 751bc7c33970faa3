//! How the replicas are, for the status page and `/ready`.

use std::time::Duration;

use super::wire::Info;
use crate::clock::UnixSeconds;
use crate::shards::Shard;

/// How the replicas are, as one of them knows it.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// This replica's instance id.
    pub instance: String,
    /// All that are alive.
    pub members: Vec<Member>,
    /// Whether it has reached Redis and taken its share since the start.
    pub has_joined: bool,
    /// Why Redis cannot be used now.
    pub trouble: Option<String>,
    /// Shards that it refuses, and why.
    pub refused: Option<(usize, String)>,
    /// Shards that Redis has lost and that this replica has written again, and when.
    pub written_again: Option<(usize, UnixSeconds)>,
}

/// A replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its instance id.
    pub instance: String,
    /// Its host.
    pub host: String,
    /// Its version.
    pub version: String,
    /// When it started.
    pub started_at: UnixSeconds,
    /// How many shards of projects it holds.
    pub shards: usize,
    /// Whether it looks for projects.
    pub leads: bool,
    /// Projects that it reads.
    pub projects: usize,
    /// How much later than due its latest project is.
    pub lag: Duration,
}

impl Member {
    /// A replica by what it says of itself.
    pub(super) fn of((instance, info): (&String, &Info)) -> Self {
        let shards = info.shards();
        let leads = shards.contains(Shard::INSTANCE);
        Self {
            instance: instance.clone(),
            host: info.host.clone(),
            version: info.version.clone(),
            started_at: UnixSeconds(info.started_at),
            shards: shards.len() - usize::from(leads),
            leads,
            projects: info.projects,
            lag: Duration::from_secs(info.lag),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shard_of_the_instance_is_no_shard_of_projects() {
        let info = Info {
            version: "1".to_owned(),
            host: "h".to_owned(),
            started_at: 5,
            shards: vec![0, 1, 64],
            refuses: false,
            projects: 3,
            lag: 7,
        };
        let member = Member::of((&"a".to_owned(), &info));
        assert_eq!((member.shards, member.leads), (2, true));
        assert_eq!(member.lag, Duration::from_secs(7));
    }
}
