//! How things are, for the status page and `/ready`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::probe::Probe;
use super::reload::ReloadStatus;
use super::watch::{Runs, Seen, Watch};
use crate::catalogue::Collector;
use crate::clock::{Clock, UnixSeconds};
use crate::cluster;
use crate::config::{LiveConfig, Signal};
use crate::gitlab::GitLab;
use crate::gitlab::capability::TokenState;
use crate::gitlab::model::Known;
use crate::locks::lock;
use crate::registry::timer::shown_lag;
use crate::registry::{Entry, Registry};
use crate::scheduler::subscriptions::Standing;
use crate::server::status::{
    Budget, CollectorState, CollectorStatus, FirstSync, GitLabStatus, ProjectQuery, ProjectStatus,
    PushStatus, Reachability, Readiness, Reading, ReplicaStatus, ReplicasStatus, ServerLoad,
    Status, StatusSource, StoreStatus, SubscriptionsStatus, TokenExpiry, TokenStatus,
};
use crate::source::change_feed::{ChangeFeed, WayOfReading};
use crate::types::ProjectId;

/// Where the server asks.
pub(super) struct AppStatus {
    pub(super) config: Arc<LiveConfig>,
    pub(super) reload: Arc<ReloadStatus>,
    pub(super) clock: Clock,
    pub(super) started_at: UnixSeconds,
    pub(super) gitlab: GitLab,
    pub(super) watch: Arc<Watch>,
    pub(super) probe: Arc<Probe>,
    pub(super) registry: Arc<Registry>,
    pub(super) feed: Arc<ChangeFeed>,
    /// None where they are off.
    pub(super) subscriptions: Option<Arc<Mutex<Standing>>>,
    /// None for a single instance.
    pub(super) replicas: Option<Arc<Mutex<cluster::Standing>>>,
    /// Whether every project was read or refused once.
    pub(super) first_round: AtomicBool,
}

impl StatusSource for AppStatus {
    fn status(&self, query: &ProjectQuery) -> Status {
        let now = self.clock.now();
        let seen = self.watch.seen();
        let (rows, removals_pending, sync) = {
            let mut projects = self.registry.lock();
            let sync = projects.first_sync(now);
            let rows = projects.own().map(|(_, entry)| project(entry, now));
            (rows.collect::<Vec<_>>(), projects.removals_pending(), sync)
        };
        let mut projects = query.select(rows);
        projects.counts.removals_pending = removals_pending;
        projects.counts.first_sync = FirstSync {
            done: sync.done,
            due: sync.due,
            projects: sync.projects,
        };
        Status {
            started_at: self.started_at,
            gitlab: self.gitlab_status(&seen, now),
            token: self.token(),
            budget: seen
                .budget
                .map(|(remaining, reset)| Budget { remaining, reset }),
            load: self.load(&seen, now),
            store: self.store(&seen),
            replicas: self.replicas(),
            push: self.push(),
            config: self.reload.now(),
            collectors: self.collectors(&seen),
            projects,
        }
    }

    fn poll_now(&self, project: &str) -> bool {
        let mut projects = self.registry.lock();
        let id = match project.parse() {
            Ok(id) => Some(ProjectId(id)),
            Err(_) => projects.id_of(project),
        };
        id.is_some_and(|id| projects.poll_now(id, self.clock.now()))
    }

    fn readiness(&self) -> Readiness {
        let now = self.clock.now();
        let seen = self.watch.seen();
        let mut projects = crate::server::status::ProjectCounts::default();
        let replicas = self.replicas();
        // One replica looks for projects; the others read what it found.
        let mut first_round = match &replicas {
            Some(replicas) => {
                replicas.has_joined && (seen.discovered || !self.registry.lock().is_empty())
            }
            None => seen.discovered,
        };
        for (_, entry) in self.registry.lock().own() {
            let succeeded = entry.succeeded_at().is_some();
            projects.add(succeeded, entry.failure().is_some(), entry.feed_lag(now));
            projects.unreadable += usize::from(entry.reads_nothing());
            // What else could not be read is not waited for.
            first_round &= entry.is_answered() || entry.feed_fails();
        }
        let counts = self.registry.lock().unavailable().into_iter();
        let counts = counts.map(|((collector, reason), count)| (collector.as_str(), reason, count));
        let lags = self.collectors(&seen).into_iter();
        let lags = lags.filter_map(|collector| collector.lag);
        // Projects that are found later do not begin it again.
        let first_round = self.first_round.fetch_or(first_round, Ordering::Relaxed) || first_round;
        Readiness {
            first_round,
            gitlab: reachability(&self.gitlab, &seen),
            load: self.load(&seen, now),
            store: self.store(&seen),
            replicas,
            lag: lags.map(|lag| lag.max(projects.late)).max(),
            projects,
            unavailable: counts.collect(),
        }
    }
}

impl AppStatus {
    fn store(&self, seen: &Seen) -> StoreStatus {
        StoreStatus {
            kind: match (&self.replicas, &self.config.now().state.path) {
                (Some(_), _) => "redis",
                (None, Some(_)) => "file",
                (None, None) => "memory",
            },
            up: seen.store_up.unwrap_or(true),
        }
    }

    fn replicas(&self) -> Option<ReplicasStatus> {
        let standing = lock(self.replicas.as_ref()?).clone();
        let replica = |member: cluster::Member| ReplicaStatus {
            is_this: member.instance == standing.instance,
            host: member.host,
            version: member.version,
            started_at: member.started_at,
            shards: member.shards,
            leads: member.leads,
            projects: member.projects,
            lag: member.lag,
        };
        Some(ReplicasStatus {
            replicas: standing.members.into_iter().map(replica).collect(),
            has_joined: standing.has_joined,
            trouble: standing.trouble,
            refused: standing.refused,
            written_again: standing.written_again,
        })
    }

    fn load(&self, seen: &Seen, now: UnixSeconds) -> ServerLoad {
        ServerLoad {
            workers: seen.load.workers(now),
            pace: self.gitlab.pace(),
            instance_feed: self.registry.lock().is_announced(),
        }
    }

    fn gitlab_status(&self, seen: &Seen, now: UnixSeconds) -> GitLabStatus {
        let instance = self.registry.lock().instance();
        let instance = instance.as_deref();
        GitLabStatus {
            url: self.gitlab.url().to_owned(),
            version: instance.map(|instance| instance.version.clone()),
            edition: instance.map(|instance| instance.edition.as_str().to_owned()),
            tier: seen.tier,
            reachability: reachability(&self.gitlab, seen),
            reading: match self.feed.way_of_reading(now) {
                WayOfReading::GraphQl => Reading::GraphQl,
                WayOfReading::Rest => Reading::Rest,
                WayOfReading::RestFallBack(reason) => Reading::RestFallBack { reason },
            },
            lost: self.gitlab.lost(),
            subscriptions: self.subscriptions(),
        }
    }

    fn subscriptions(&self) -> Option<SubscriptionsStatus> {
        let standing = self.subscriptions.as_ref()?;
        let Standing {
            standing,
            pending,
            refused,
            why,
        } = lock(standing).clone();
        Some(SubscriptionsStatus {
            standing,
            pending,
            refused,
            why,
        })
    }

    fn token(&self) -> TokenStatus {
        let Some(TokenState {
            token: Known::Value(token),
            ..
        }) = self.probe.token()
        else {
            return TokenStatus {
                missing_grants: self.gitlab.missing_grants(),
                ..TokenStatus::default()
            };
        };
        TokenStatus {
            name: Some(token.name),
            scopes: token.scopes,
            expiry: token.expires_at.map_or(TokenExpiry::Never, TokenExpiry::At),
            missing_grants: self.gitlab.missing_grants(),
        }
    }

    fn push(&self) -> Vec<PushStatus> {
        let config = self.config.now();
        let signals = [Signal::Metrics, Signal::Traces, Signal::Logs];
        let targets = signals.into_iter().filter_map(|signal| {
            let target = config.otlp(signal)?;
            let outcomes = self.watch.exports(signal.as_str());
            Some(PushStatus {
                signal: signal.as_str(),
                target: target.to_string(),
                succeeded_at: outcomes.succeeded_at,
                failed_at: outcomes.failed_at,
            })
        });
        targets.collect()
    }

    fn collectors(&self, seen: &Seen) -> Vec<CollectorStatus> {
        let config = self.config.now();
        let statuses = Collector::ALL.into_iter().map(|collector| {
            let interval = config.shortest_interval(collector);
            let runs = seen
                .collectors
                .get(collector.as_str())
                .cloned()
                .unwrap_or_default();
            let Runs {
                last,
                succeeded_at,
                lag,
                errors,
            } = runs;
            CollectorStatus {
                collector,
                state: match interval {
                    Some(_) => self.state_of_enabled(collector),
                    None => CollectorState::Disabled,
                },
                interval,
                ran_at: last.map(|(at, _)| at),
                duration: last.map(|(_, took)| took),
                succeeded_at,
                lag: succeeded_at.map(|_| shown_lag(lag, interval.unwrap_or_default())),
                errors: errors.into_iter().collect(),
            }
        });
        statuses.collect()
    }

    /// A collector that is enabled works unless the token is known to be of no use,
    /// and some project has something for it.
    fn state_of_enabled(&self, collector: Collector) -> CollectorState {
        let findings = self
            .probe
            .token()
            .map(|token| token.findings(self.clock.now()))
            .unwrap_or_default();
        match findings.into_iter().find(|finding| finding.fatal) {
            Some(finding) => CollectorState::Unavailable {
                reason: finding.text,
            },
            None => self.availability(collector),
        }
    }

    /// Unavailable where no project that it is on for has anything for it, with the reason that
    /// most have.
    fn availability(&self, collector: Collector) -> CollectorState {
        let registry = self.registry.lock();
        let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
        let asked = registry
            .iter()
            .filter(|(_, entry)| entry.settings().interval(collector).is_some());
        for (_, entry) in asked {
            match entry.unavailable().get(&collector) {
                Some(why) => *reasons.entry(why.to_string()).or_default() += 1,
                None => return CollectorState::Enabled,
            }
        }
        let most = reasons.into_iter().max_by_key(|(_, projects)| *projects);
        most.map_or(CollectorState::Enabled, |(reason, _)| {
            CollectorState::Unavailable { reason }
        })
    }
}

fn project(entry: &Entry, now: UnixSeconds) -> ProjectStatus {
    ProjectStatus {
        id: entry.id(),
        path: entry.project().full_path.clone(),
        role: entry.project().role.value(),
        succeeded_at: entry.succeeded_at(),
        interval: entry.feed_interval(now),
        lag: entry.feed_lag(now),
        error: entry.failure().map(str::to_owned),
        active_pipelines: entry
            .succeeded_at()
            .map(|_| entry.memory().pipelines.active_count()),
        unavailable: entry
            .unavailable()
            .iter()
            .map(|(collector, why)| (collector.as_str(), why.to_string()))
            .collect(),
        reads_nothing: entry.reads_nothing(),
        trigger: entry
            .events()
            .last()
            .map(|(trigger, age)| (trigger.as_str(), age)),
        relies_on_events: entry.events().are_relied_on(),
    }
}

fn reachability(gitlab: &GitLab, seen: &Seen) -> Reachability {
    if let Some(why) = gitlab.token_refusal() {
        return Reachability::Refused { why };
    }
    match (&seen.trouble, seen.answered_at()) {
        (Some(trouble), _) => Reachability::Down {
            error: trouble.clone(),
        },
        (None, Some(_)) => Reachability::Up,
        (None, None) => Reachability::Unknown,
    }
}
