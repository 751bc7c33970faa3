//! What the program knows about itself: every run and every call pass here, into the exporter's
//! own metrics and onto the status page.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use url::Url;

use super::load::Load;
use crate::catalogue::{Activity, Collector};
use crate::clock::{Clock, UnixSeconds};
use crate::events::Trigger;
use crate::gitlab::capability::Instance;
use crate::gitlab::{Accounting, Outcome};
use crate::observer::Observer;
use crate::registry::Priority;
use crate::telemetry::otlp::{CountExports, Outcome as Exported, Signal};
use crate::telemetry::process::OwnMetrics;
use crate::telemetry::secrets::Secrets;
use crate::types::Tier;

/// Between two failures of an endpoint that have nothing to do with each other.
const FORGOTTEN: Duration = Duration::from_secs(600);

/// Without an answer of use for so long, one endpoint that fails is an outage.
const SILENCE: Duration = Duration::from_secs(120);

/// Observes runs and calls.
pub(super) struct Watch {
    own: Arc<OwnMetrics>,
    clock: Clock,
    /// GitLab's address, as people write it.
    gitlab_url: String,
    /// What no metric may show.
    secrets: Secrets,
    seen: Mutex<Seen>,
}

/// What was heard.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// By `collector_type`.
    pub(super) collectors: BTreeMap<&'static str, Runs>,
    /// Whether discovery has ended once, successfully or not.
    pub(super) discovered: bool,
    /// Whether the store took the last commit.
    pub(super) store_up: Option<bool>,
    /// How the last call ended when there was no answer, or none that helps.
    pub(super) trouble: Option<String>,
    /// How the endpoints do.
    endpoints: BTreeMap<&'static str, Endpoint>,
    /// `RateLimit-Remaining` and `RateLimit-Reset`.
    pub(super) budget: Option<(u64, UnixSeconds)>,
    /// GitLab's time of the last minutes.
    pub(super) load: Load,
    /// The highest tier of a tracked project.
    pub(super) tier: Option<Tier>,
    exports: BTreeMap<&'static str, Exports>,
}

/// How an endpoint of GitLab does.
#[derive(Clone, Copy, Debug, Default)]
struct Endpoint {
    answered_at: Option<UnixSeconds>,
    failing_since: Option<UnixSeconds>,
    failed_at: UnixSeconds,
}

impl Seen {
    /// GitLab's last answer that was of use.
    pub(super) fn answered_at(&self) -> Option<UnixSeconds> {
        let endpoints = self.endpoints.values();
        endpoints.filter_map(|endpoint| endpoint.answered_at).max()
    }

    /// An endpoint gave what it is for.
    fn answered(&mut self, endpoint: &'static str, now: UnixSeconds) {
        let answered = Endpoint {
            answered_at: Some(now),
            ..Endpoint::default()
        };
        self.endpoints.insert(endpoint, answered);
        self.trouble = None;
    }

    /// An endpoint fails; since when it does. What failed and was not asked again for a while begins anew.
    fn failed(&mut self, endpoint: &'static str, now: UnixSeconds) -> UnixSeconds {
        let endpoint = self.endpoints.entry(endpoint).or_default();
        let is_old = now.since(endpoint.failed_at) > FORGOTTEN;
        endpoint.failed_at = now;
        match endpoint.failing_since {
            Some(since) if !is_old => since,
            _ => *endpoint.failing_since.insert(now),
        }
    }

    /// Endpoints that have failed since the last answer of use.
    fn failing(&self) -> usize {
        let answered_at = self.answered_at();
        let endpoints = self.endpoints.values();
        let since = endpoints.filter_map(|endpoint| endpoint.failing_since);
        since.filter(|since| answered_at <= Some(*since)).count()
    }

    /// Something fails at `now`, and has since then. While others are answered, that is no outage.
    fn troubled(&mut self, (since, now): (UnixSeconds, UnixSeconds), trouble: String) {
        let answered_at = self.answered_at();
        if answered_at.is_none_or(|at| at <= since || now.since(at) > SILENCE) {
            self.trouble = Some(trouble);
        }
    }
}

/// Whether a status shows that GitLab can be read: not what a proxy answers (407 and redirects), nor a
/// refusal, which everything may meet.
const fn is_of_use(status: u16) -> bool {
    status < 500 && !matches!(status, 300..=399 | 403 | 407)
}

/// When exports of a signal last ended, by how they ended.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Exports {
    pub(super) succeeded_at: Option<UnixSeconds>,
    pub(super) failed_at: Option<UnixSeconds>,
}

/// A collector's runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Runs {
    /// End and length of the last.
    pub(super) last: Option<(UnixSeconds, Duration)>,
    /// End of the last that ended well.
    pub(super) succeeded_at: Option<UnixSeconds>,
    /// How much later than due the last was.
    pub(super) lag: Duration,
    /// Errors since the start, by kind.
    pub(super) errors: BTreeMap<&'static str, u64>,
}

impl Watch {
    pub(super) fn new(
        own: Arc<OwnMetrics>,
        clock: Clock,
        gitlab_url: &Url,
        secrets: Secrets,
    ) -> Self {
        Self {
            own,
            clock,
            gitlab_url: gitlab_url.as_str().trim_end_matches('/').to_owned(),
            secrets,
            seen: Mutex::default(),
        }
    }

    /// A copy of what was heard so far. What is left of a window that has ended is not known.
    pub(super) fn seen(&self) -> Seen {
        let now = self.clock.now();
        let mut seen = self.lock().clone();
        seen.budget = seen.budget.filter(|(_, reset)| *reset >= now);
        seen
    }

    /// How exports of a signal went.
    pub(super) fn exports(&self, signal: &str) -> Exports {
        self.lock().exports.get(signal).copied().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CountExports for Watch {
    fn count_export(&self, signal: Signal, outcome: Exported) {
        self.own.count_export(signal, outcome);
        let now = self.clock.now();
        let mut seen = self.lock();
        let exports = seen.exports.entry(signal.as_str()).or_default();
        match outcome {
            Exported::Success | Exported::Partial => exports.succeeded_at = Some(now),
            Exported::Error => exports.failed_at = Some(now),
        }
    }
}

impl Observer for Watch {
    fn ran(&self, activity: Activity, took: Duration) {
        let collector = activity.as_str();
        self.own.scrape_duration(collector, took);
        let now = self.clock.now();
        let mut seen = self.lock();
        seen.collectors.entry(collector).or_default().last = Some((now, took));
        seen.discovered |= activity == Activity::Discovery;
    }

    fn failed(&self, activity: Activity, kind: &'static str) {
        let collector = activity.as_str();
        self.own.scrape_error(collector, kind);
        let mut seen = self.lock();
        let errors = &mut seen.collectors.entry(collector).or_default().errors;
        *errors.entry(kind).or_default() += 1;
    }

    fn succeeded(&self, activity: Activity, at: UnixSeconds, lag: Option<Duration>) {
        let collector = activity.as_str();
        let mut seen = self.lock();
        let runs = seen.collectors.entry(collector).or_default();
        runs.succeeded_at = Some(at);
        runs.lag = lag.unwrap_or(runs.lag);
        let lag = runs.lag;
        drop(seen);
        self.own.collection_succeeded(collector, at, lag);
    }

    fn tasks(&self, queued: usize, running: usize) {
        self.own.tasks(queued, running);
    }

    fn waiting(&self, lag: [Duration; Priority::ALL.len()]) {
        let lag = Priority::ALL.into_iter().zip(lag);
        self.own
            .tasks_lag(lag.map(|(priority, lag)| (priority.as_str(), lag)));
    }

    fn projects(&self, tracked: usize, first_sync: f64) {
        self.own.projects(tracked, first_sync);
    }

    fn unavailable(&self, projects: BTreeMap<(Collector, &'static str), usize>) {
        let projects = projects.into_iter();
        self.own.projects_unavailable(
            projects.map(|((collector, reason), count)| ((collector.as_str(), reason), count)),
        );
    }

    fn removals_pending(&self, projects: usize) {
        self.own.removals_pending(projects);
    }

    fn store(&self, up: bool) {
        self.own.store(up);
        self.lock().store_up = Some(up);
    }

    fn cluster(&self, members: usize, owned_shards: usize) {
        self.own.cluster(members, owned_shards);
    }

    fn instance(&self, instance: &Instance) {
        let edition = instance.edition.as_str();
        let version = self.secrets.redact(&instance.version);
        self.own.gitlab_info(&version, edition, &self.gitlab_url);
    }

    fn tier(&self, tier: Tier) {
        self.own.gitlab_tier(tier);
        self.lock().tier = Some(tier);
    }

    fn shown(
        &self,
        activity: Activity,
        trigger: Trigger,
        age: Option<Duration>,
        handling: Option<Duration>,
    ) {
        self.own
            .event_shown(activity.as_str(), trigger.as_str(), age, handling);
    }

    fn events_missed(&self, activity: Activity, changes: usize) {
        self.own.events_missed(activity.as_str(), changes);
    }

    fn subscriptions(&self, standing: usize, pending: usize, refused: usize) {
        let states = [
            ("standing", standing),
            ("pending", pending),
            ("refused", refused),
        ];
        self.own.subscriptions(states);
    }

    fn subscriptions_connected(&self, outcome: &'static str) {
        self.own.subscriptions_connected(outcome, 1.0);
    }

    fn availability(&self, collector: Collector, available: bool) {
        self.own.collector_enabled(collector.as_str(), available);
    }
}

impl Accounting for Watch {
    fn request(
        &self,
        method: &'static str,
        endpoint: &'static str,
        outcome: Outcome,
        seconds: f64,
    ) {
        self.own.request(method, endpoint, outcome, seconds);
        let now = self.clock.now();
        let mut seen = self.lock();
        match outcome {
            // Whether it says something is seen when it is read.
            Outcome::Status(200..=299) => {}
            Outcome::Status(status) if is_of_use(status) => seen.answered(endpoint, now),
            Outcome::Status(status) => {
                let trouble = match status {
                    300..=399 => format!("status {status}, a redirect"),
                    _ => format!("status {status}"),
                };
                let since = seen.failed(endpoint, now);
                // One refusal is nothing: it is what a token without that right gets.
                if status != 403 || since < now || seen.failing() > 1 {
                    seen.troubled((since, now), trouble);
                }
            }
            Outcome::TokenRefused => seen.trouble = Some("GitLab refused the token".to_owned()),
            Outcome::NotGitLab(status) => {
                seen.trouble = Some(format!(
                    "status {status}, and the response is not from GitLab"
                ));
            }
            Outcome::Failed(kind) => seen.trouble = Some(kind.to_owned()),
        }
    }

    fn understood(&self, endpoint: &'static str) {
        let now = self.clock.now();
        self.lock().answered(endpoint, now);
    }

    fn garbled(&self, endpoint: &'static str) {
        let now = self.clock.now();
        let mut seen = self.lock();
        let since = seen.failed(endpoint, now);
        let trouble = "the responses do not match GitLab's API";
        seen.troubled((since, now), trouble.to_owned());
    }

    fn server_time(&self, method: &'static str, endpoint: &'static str, seconds: f64) {
        self.own.server_time(method, endpoint, seconds);
        let now = self.clock.now();
        self.lock().load.worked(seconds, now);
    }

    fn concurrency(&self, places: u32) {
        self.own.concurrency(places);
    }

    fn retry(&self, endpoint: &'static str) {
        self.own.retry(endpoint);
    }

    fn throttled(&self, waited: Duration) {
        self.own.throttled(waited);
    }

    fn rate_limit(&self, limit: u64, remaining: u64, reset: UnixSeconds) {
        self.own.rate_limit(limit, remaining, reset);
        self.lock().budget = Some((remaining, reset));
    }

    fn complexity(&self, query: &'static str, score: u32, limit: u32) {
        self.own.complexity(query, score, limit);
    }

    fn token_loaded(&self, token: &str) {
        self.secrets.register_token(token);
    }
}
