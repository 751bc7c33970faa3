//! What the status page and `/ready` show, as plain data. The application gives it
//! ([`StatusSource`]); the server only writes it down.

use std::cmp::Ordering;
use std::time::Duration;

use crate::catalogue::Collector;
use crate::clock::UnixSeconds;
use crate::gitlab::Pace;
use crate::gitlab::model::Role;
use crate::types::Tier;
use crate::types::{ProjectId, Text};

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

/// A tracked project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectStatus {
    /// Its id.
    pub id: ProjectId,
    /// Its full path.
    pub path: Text,
    /// The token's role in it, where known.
    pub role: Option<Role>,
    /// The latest poll that ended well.
    pub succeeded_at: Option<UnixSeconds>,
    /// Time between two polls: longer where nothing has moved for long.
    pub interval: Option<Duration>,
    /// How late the next poll is by now.
    pub lag: Duration,
    /// Why the latest poll failed, as a sentence.
    pub error: Option<String>,
    /// Pipelines that are neither ended nor blocked, where known.
    pub active_pipelines: Option<usize>,
    /// Collectors that have nothing of it, and why, as sentences.
    pub unavailable: Vec<(&'static str, String)>,
    /// Whether every collector that is on for it is among these.
    pub reads_nothing: bool,
    /// What caused the latest read of a change (`poll`, `webhook`, `subscription`), and the age of the change
    /// when it was shown.
    pub trigger: Option<(&'static str, Option<Duration>)>,
    /// Whether it is polled less often because its events are reliable.
    pub relies_on_events: bool,
}

impl ProjectStatus {
    /// Whether GitLab has answered for it since the start, be it with a refusal.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        let pipelines = Collector::Pipelines.as_str();
        let mut unavailable = self.unavailable.iter();
        self.succeeded_at.is_some() || unavailable.any(|(collector, _)| *collector == pipelines)
    }
}

/// Which projects are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectQuery {
    /// Part of the path, whatever the case; empty for all.
    pub search: String,
    /// Which page, from 1.
    pub page: usize,
    /// Projects per page.
    pub page_size: usize,
}

/// A page of projects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProjectPage {
    /// How many there are of each kind, whatever was asked for.
    pub counts: ProjectCounts,
    /// How many match the search.
    pub matching: usize,
    /// Which page this is, from 1; the last one when fewer exist than were asked for.
    pub page: usize,
    /// How many pages there are, at least 1.
    pub pages: usize,
    /// The projects of this page.
    pub rows: Vec<ProjectStatus>,
}

/// Projects in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProjectCounts {
    /// Tracked.
    pub tracked: usize,
    /// Polled since the start, successfully or not.
    pub polled: usize,
    /// Whose latest poll failed.
    pub failing: usize,
    /// How late by now the poll is that is most overdue.
    pub late: Duration,
    /// Of which no collector reads anything.
    pub unreadable: usize,
    /// That GitLab no longer shows and that are not removed yet.
    pub removals_pending: usize,
    /// How far the first sync is.
    pub first_sync: FirstSync,
}

/// How far the first sync is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FirstSync {
    /// First reads that are done: one for each project and source.
    pub done: usize,
    /// First reads in all.
    pub due: usize,
    /// Projects of which all are done.
    pub projects: usize,
}

impl FirstSync {
    /// Whether something that is due was not read yet.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        self.done < self.due
    }

    /// What is done, in percent; 100 only where everything is.
    #[must_use]
    pub fn percent(&self) -> usize {
        100 * self.done / self.due.max(1)
    }

    /// About how long it takes still, at the pace so far; none right after the start.
    #[must_use]
    pub fn time_left(&self, elapsed: Duration) -> Option<Duration> {
        let (done, left) = (self.done, self.due.saturating_sub(self.done));
        (done > 0 && elapsed >= ENOUGH)
            .then(|| elapsed.mul_f64(left as f64 / done as f64))
            .map(|left| Duration::from_secs(left.as_secs().max(1)))
    }
}

/// Before this the pace of the first sync is unknown.
const ENOUGH: Duration = Duration::from_secs(10);

impl ProjectCounts {
    /// Counts a project whose next poll is `late` by now.
    pub fn add(&mut self, succeeded: bool, failing: bool, late: Duration) {
        self.tracked += 1;
        self.polled += usize::from(succeeded || failing);
        self.failing += usize::from(failing);
        self.late = self.late.max(late);
    }
}

impl Default for ProjectQuery {
    /// The first 50 of all projects.
    fn default() -> Self {
        Self {
            search: String::new(),
            page: 1,
            page_size: 50,
        }
    }
}

impl ProjectQuery {
    /// Of all tracked projects those that are asked for: what needs attention first, that is, failing
    /// ones, then those never read, then those read longest ago.
    #[must_use]
    pub fn select(&self, projects: impl IntoIterator<Item = ProjectStatus>) -> ProjectPage {
        let needle = self.search.trim().to_lowercase();
        let mut counts = ProjectCounts::default();
        let mut matching: Vec<ProjectStatus> = projects
            .into_iter()
            .inspect(|project| {
                counts.add(project.is_answered(), project.error.is_some(), project.lag);
                counts.unreadable += usize::from(project.reads_nothing);
            })
            .filter(|project| project.path.to_lowercase().contains(&needle))
            .collect();
        matching.sort_by(by_urgency);
        let page_size = self.page_size.max(1);
        let pages = matching.len().div_ceil(page_size).max(1);
        let page = self.page.clamp(1, pages);
        let total = matching.len();
        let rows = matching
            .into_iter()
            .skip((page - 1) * page_size)
            .take(page_size);
        ProjectPage {
            counts,
            matching: total,
            page,
            pages,
            rows: rows.collect(),
        }
    }
}

fn by_urgency(a: &ProjectStatus, b: &ProjectStatus) -> Ordering {
    let key = |project: &ProjectStatus| (project.error.is_none(), project.succeeded_at);
    key(a).cmp(&key(b)).then_with(|| a.path.cmp(&b.path))
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

    fn project(path: &str, succeeded_at: Option<i64>, error: Option<&str>) -> ProjectStatus {
        ProjectStatus {
            id: ProjectId(1),
            path: path.into(),
            role: None,
            succeeded_at: succeeded_at.map(UnixSeconds),
            interval: None,
            lag: Duration::ZERO,
            error: error.map(Into::into),
            active_pipelines: None,
            unavailable: Vec::new(),
            reads_nothing: false,
            trigger: None,
            relies_on_events: false,
        }
    }

    fn query(search: &str, page: usize, page_size: usize) -> ProjectQuery {
        ProjectQuery {
            search: search.into(),
            page,
            page_size,
        }
    }

    fn paths(page: &ProjectPage) -> Vec<&str> {
        page.rows.iter().map(|row| &*row.path).collect()
    }

    fn world() -> Vec<ProjectStatus> {
        vec![
            project("team/fresh", Some(900), None),
            ProjectStatus {
                lag: Duration::from_secs(40),
                ..project("team/Stale", Some(100), None)
            },
            project("team/new", None, None),
            project("other/broken", Some(950), Some("GitLab answered 500")),
            project("other/also-fresh", Some(900), None),
        ]
    }

    #[test]
    fn what_needs_attention_comes_first() {
        let page = query("", 1, 10).select(world());
        assert_eq!(
            paths(&page),
            [
                "other/broken",
                "team/new",
                "team/Stale",
                "other/also-fresh",
                "team/fresh"
            ]
        );
        let counts = ProjectCounts {
            tracked: 5,
            polled: 4,
            failing: 1,
            late: Duration::from_secs(40),
            unreadable: 0,
            removals_pending: 0,
            first_sync: FirstSync::default(),
        };
        assert_eq!(page.counts, counts);
    }

    #[test]
    fn a_search_narrows_the_rows_and_not_the_counts() {
        let page = query(" stALE ", 1, 10).select(world());
        assert_eq!(paths(&page), ["team/Stale"]);
        assert_eq!((page.matching, page.counts.tracked), (1, 5));
    }

    #[test]
    fn a_page_beyond_the_last_is_the_last() {
        let page = query("", 99, 2).select(world());
        assert_eq!(paths(&page), ["team/fresh"]);
        assert_eq!((page.page, page.pages), (3, 3));
        let none = query("nowhere", 7, 0).select(world());
        assert_eq!((none.page, none.pages, none.rows.len()), (1, 1, 0));
    }

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
