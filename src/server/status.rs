//! What the status page and `/ready` show, as plain data. The application gives it
//! ([`StatusSource`]); the server only writes it down.

mod projects;

use std::time::Duration;

use crate::catalogue::Collector;
use crate::clock::UnixSeconds;
use crate::gitlab::Pace;
use crate::types::Tier;

pub use projects::{FirstSync, ProjectCounts, ProjectPage, ProjectQuery, ProjectStatus};

/// Where the server asks how things are. It is asked on a thread that may wait for a lock, once per
/// request, and must not wait for GitLab.
pub trait StatusSource: Send + Sync {
    /// Everything the status page shows, with the projects that `query` asks for.
    fn status(&self, query: &ProjectQuery) -> Status;
    /// Whether there is something to scrape yet, and how well things go.
    fn readiness(&self) -> Readiness;
    /// Has a project, named by its full path or its id, polled at once; false where none is tracked.
    fn poll_now(&self, project: &str) -> bool;
}

/// Everything the status page shows, besides the series, which the server counts itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// When this process started.
    pub started_at: UnixSeconds,
    /// The GitLab instance.
    pub gitlab: GitLabStatus,
    /// The token.
    pub token: TokenStatus,
    /// What GitLab's answers say is left of the rate limit; none when they do not say.
    pub budget: Option<Budget>,
    /// What the exporter takes of GitLab.
    pub load: ServerLoad,
    /// The store.
    pub store: StoreStatus,
    /// The replicas; none for a single instance.
    pub replicas: Option<ReplicasStatus>,
    /// What is pushed by OTLP; empty when nothing is.
    pub push: Vec<PushStatus>,
    /// The configuration.
    pub config: ConfigStatus,
    /// Every collector, in the order they are to be shown in.
    pub collectors: Vec<CollectorStatus>,
    /// The projects that were asked for.
    pub projects: ProjectPage,
}

/// How the configuration was last loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigStatus {
    /// When, with success.
    pub loaded_at: UnixSeconds,
    /// Why a later attempt failed.
    pub error: Option<String>,
    /// Changed settings that need a restart.
    pub needs_restart: Vec<String>,
}

/// The GitLab instance.
#[derive(Clone, Debug, PartialEq)]
pub struct GitLabStatus {
    /// Root address, without secrets.
    pub url: String,
    /// Version, such as `18.6.1-ee`; none before it was read.
    pub version: Option<String>,
    /// Edition, such as `Enterprise Edition`; none before it was read.
    pub edition: Option<String>,
    /// The highest tier seen; none before one was.
    pub tier: Option<Tier>,
    /// Whether it answers.
    pub reachability: Reachability,
    /// How the change feed is read now.
    pub reading: Reading,
    /// What GraphQL lacks in this version or for this token, and what is missing then, as sentences.
    pub lost: Vec<String>,
    /// GitLab's own subscriptions; none where they are off.
    pub subscriptions: Option<SubscriptionsStatus>,
}

/// How many GraphQL subscriptions there are, by state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionsStatus {
    /// GitLab announces what moves.
    pub standing: usize,
    /// Not yet, or not now.
    pub pending: usize,
    /// GitLab refuses them.
    pub refused: usize,
    /// Why it does.
    pub why: Option<String>,
}

/// Whether GitLab answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reachability {
    /// It answers, and refuses the token for this reason.
    Refused {
        /// GitLab's reason.
        why: String,
    },
    /// It was not asked yet.
    Unknown,
    /// The latest call was answered.
    Up,
    /// The latest call failed.
    Down {
        /// What failed, as a sentence.
        error: String,
    },
}

/// How the change feed is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// By GraphQL.
    GraphQl,
    /// By REST, because the settings say so.
    Rest,
    /// By REST for now.
    RestFallBack {
        /// Why not by GraphQL, as a sentence.
        reason: String,
    },
}

/// The token, as GitLab describes it. Never the token itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenStatus {
    /// The name it was given; none when GitLab does not say.
    pub name: Option<String>,
    /// Its scopes; empty when GitLab does not say.
    pub scopes: Vec<String>,
    /// When it expires.
    pub expiry: TokenExpiry,
    /// The grants that a fine-grained token lacks, as GitLab names them.
    pub missing_grants: Vec<String>,
}

/// When the token expires.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenExpiry {
    /// GitLab does not say.
    #[default]
    Unknown,
    /// Never.
    Never,
    /// At this time.
    At(UnixSeconds),
}

/// What is left of GitLab's rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Requests left in the window.
    pub remaining: u64,
    /// When the window ends.
    pub reset: UnixSeconds,
}

/// What the exporter takes of GitLab.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ServerLoad {
    /// GitLab workers that its requests kept busy on average in the last five minutes, by the time that
    /// GitLab reports for them; none right after the start.
    pub workers: Option<f64>,
    /// How requests are paced.
    pub pace: Pace,
    /// Whether the jobs of the whole instance say where something begins.
    pub instance_feed: bool,
}

impl ServerLoad {
    /// How much it is, such as `3 % of one GitLab worker`; none right after the start.
    #[must_use]
    pub fn in_words(&self) -> Option<String> {
        let workers = self.workers?;
        Some(if workers < 0.01 {
            "less than 1 % of one GitLab worker".to_owned()
        } else if workers < 1.0 {
            format!("{:.0} % of one GitLab worker", (100.0 * workers).floor())
        } else {
            format!("{workers:.1} GitLab workers")
        })
    }
}

/// The store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreStatus {
    /// What it is, such as `memory`.
    pub kind: &'static str,
    /// Whether it took the latest commit.
    pub up: bool,
}

/// The replicas that share the work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicasStatus {
    /// All that are alive, as far as this one knows.
    pub replicas: Vec<ReplicaStatus>,
    /// Whether this one has taken part since its start.
    pub has_joined: bool,
    /// Why Redis cannot be used now.
    pub trouble: Option<String>,
    /// Shards that this version cannot read, and why.
    pub refused: Option<(usize, String)>,
    /// Shards that Redis has lost and that were written again, and when.
    pub written_again: Option<(usize, UnixSeconds)>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaStatus {
    /// Whether it is this one.
    pub is_this: bool,
    /// Its host.
    pub host: String,
    /// Its version.
    pub version: String,
    /// When it started.
    pub started_at: UnixSeconds,
    /// Shards of projects that it holds.
    pub shards: usize,
    /// Whether it looks for projects.
    pub leads: bool,
    /// Projects that it reads.
    pub projects: usize,
    /// How much later than due its latest project is.
    pub lag: Duration,
}

/// A signal pushed by OTLP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushStatus {
    /// `metrics`, `traces` or `logs`.
    pub signal: &'static str,
    /// Where to, without secrets.
    pub target: String,
    /// The latest push that arrived.
    pub succeeded_at: Option<UnixSeconds>,
    /// The latest push that did not.
    pub failed_at: Option<UnixSeconds>,
}

impl PushStatus {
    /// Whether the latest push did not arrive.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.failed_at.is_some() && self.failed_at > self.succeeded_at
    }
}

/// A collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectorStatus {
    /// Which one.
    pub collector: Collector,
    /// Whether it is enabled.
    pub state: CollectorState,
    /// Its polling interval.
    pub interval: Option<Duration>,
    /// When its latest run ended, successfully or not.
    pub ran_at: Option<UnixSeconds>,
    /// How long that run took.
    pub duration: Option<Duration>,
    /// When a run last ended well for at least one project.
    pub succeeded_at: Option<UnixSeconds>,
    /// How late that run was against its interval.
    pub lag: Option<Duration>,
    /// Errors since the start by kind, those that never happened left out.
    pub errors: Vec<(&'static str, u64)>,
}

/// Whether a collector is enabled, and why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CollectorState {
    /// Enabled.
    Enabled,
    /// Switched off in the settings.
    Disabled,
    /// Asked for, but GitLab's tier or the token's scopes or roles do not allow it.
    Unavailable {
        /// What is missing, as a sentence.
        reason: String,
    },
}

/// Whether there is something to scrape yet, and how well things go.
#[derive(Clone, Debug, PartialEq)]
pub struct Readiness {
    /// Whether every project was polled once, successfully or not.
    pub first_round: bool,
    /// Whether GitLab answers.
    pub gitlab: Reachability,
    /// What the exporter takes of GitLab.
    pub load: ServerLoad,
    /// The store.
    pub store: StoreStatus,
    /// The replicas; none for a single instance.
    pub replicas: Option<ReplicasStatus>,
    /// The largest lag of a collector's latest run, or by now of a project's next poll; none before
    /// a run ended well.
    pub lag: Option<Duration>,
    /// Projects in numbers.
    pub projects: ProjectCounts,
    /// Of how many projects collectors have nothing, by collector and reason (one of
    /// [`Unavailable::KINDS`](crate::facts::Unavailable::KINDS)).
    pub unavailable: Vec<(&'static str, &'static str, usize)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_is_said_in_workers() {
        let words = |workers| {
            let load = ServerLoad {
                workers,
                ..ServerLoad::default()
            };
            load.in_words()
        };
        for (workers, text) in [
            (0.0, "less than 1 % of one GitLab worker"),
            (0.0301, "3 % of one GitLab worker"),
            (0.999, "99 % of one GitLab worker"),
            (1.0, "1.0 GitLab workers"),
            (4.26, "4.3 GitLab workers"),
        ] {
            assert_eq!(words(Some(workers)).as_deref(), Some(text));
        }
        assert_eq!(words(None), None);
    }

    #[test]
    fn a_push_fails_when_its_latest_outcome_is_a_failure() {
        let push = |succeeded_at: Option<i64>, failed_at: Option<i64>| PushStatus {
            signal: "metrics",
            target: String::new(),
            succeeded_at: succeeded_at.map(UnixSeconds),
            failed_at: failed_at.map(UnixSeconds),
        };
        assert!(push(None, Some(1)).is_failing());
        assert!(push(Some(1), Some(2)).is_failing());
        assert!(!push(Some(3), Some(2)).is_failing());
        assert!(!push(None, None).is_failing());
    }
}
