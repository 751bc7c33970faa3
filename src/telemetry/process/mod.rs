//! The exporter's own metrics: facts of this process. They take the standard road: instruments of
//! a provider whose one reader is opentelemetry-prometheus's exporter.

mod accounts;
mod events;
mod exemplars;
mod http;
mod instruments;
mod system;
mod waiting;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_sdk::error::OTelSdkError;

use super::otlp::{CountExports, Outcome, Signal};
use crate::catalogue::labels::{
    ApiEndpointLabels, ApiRequestLabels, ApiStatusLabels, BuildLabels, CollectorErrorLabels,
    CollectorLabels, CollectorReasonLabels, GitLabLabels, MetricLabels, NoLabels, OtlpExportLabels,
    PriorityLabels, QueryLabels,
};
use crate::catalogue::{self, exporter};
use crate::clock::{Clock, UnixSeconds};
use crate::series::Table;
use crate::types::Tier;
use exemplars::Traced;
use instruments::{Counter, Gauge, Histogram, Meters, Total};
use system::Usage;
use waiting::Waiting;

pub use exemplars::{Exemplar, Exemplars};
pub use http::HttpRefusal;

/// How long after the end of its window a rate limit is still believed.
const WINDOW_ENDED: Duration = Duration::from_secs(60);

/// The exporter's own metrics, recorded from any thread.
///
/// Every label has few values: endpoints are templates, queries and kinds of error are names in
/// this program.
pub struct OwnMetrics {
    meters: Meters,
    table: Arc<Table>,
    clock: Clock,
    api: Api,
    runs: Runs,
    gitlab_info: Gauge<GitLabLabels>,
    gitlab_tier: Gauge<NoLabels>,
    token_expiry: Gauge<NoLabels>,
    store_up: Gauge<NoLabels>,
    cluster_members: Gauge<NoLabels>,
    cluster_owned_shards: Gauge<NoLabels>,
    store_errors: Counter<NoLabels>,
    series: Gauge<MetricLabels>,
    series_overflow: Total<MetricLabels>,
    otlp_exports: Counter<OtlpExportLabels>,
    http: http::Http,
    events: events::Events,
    process: Process,
    reload_successful: Gauge<NoLabels>,
    reloaded_at: Gauge<NoLabels>,
}

struct Api {
    requests: Counter<ApiStatusLabels>,
    duration: Traced<ApiRequestLabels>,
    server_time: Counter<ApiRequestLabels>,
    concurrency: Gauge<NoLabels>,
    retries: Counter<ApiEndpointLabels>,
    throttled: Counter<NoLabels>,
    waiting: Mutex<Waiting>,
    complexity: Histogram<QueryLabels>,
    limit: Gauge<NoLabels>,
    remaining: Gauge<NoLabels>,
    reset: Gauge<NoLabels>,
    /// When the window of the last answer ends, in Unix seconds.
    window_end: AtomicI64,
}

struct Runs {
    projects: Gauge<NoLabels>,
    removals: Gauge<NoLabels>,
    unavailable: Gauge<CollectorReasonLabels>,
    progress: Gauge<NoLabels>,
    enabled: Gauge<CollectorLabels>,
    duration: Traced<CollectorLabels>,
    errors: Counter<CollectorErrorLabels>,
    last_success: Gauge<CollectorLabels>,
    lag: Gauge<CollectorLabels>,
    queued: Gauge<NoLabels>,
    running: Gauge<NoLabels>,
    waiting: Gauge<PriorityLabels>,
}

struct Process {
    cpu: Total<NoLabels>,
    open_fds: Gauge<NoLabels>,
    max_fds: Gauge<NoLabels>,
    resident: Gauge<NoLabels>,
    virtual_memory: Gauge<NoLabels>,
    start: Gauge<NoLabels>,
    threads: Gauge<NoLabels>,
}

impl OwnMetrics {
    /// Builds the instruments; exemplars are dated by `clock`. `age_series` and `age_series_overflow_total` are read from `table`;
    /// `age_scrape_errors_total` starts at 0 for each of `error_types` of each of `collectors`.
    ///
    /// # Errors
    /// When the SDK refuses the reader or a metric of the catalogue.
    pub fn new(
        table: Arc<Table>,
        clock: &Clock,
        collectors: &[&'static str],
        error_types: &[&'static str],
    ) -> Result<Arc<Self>, OTelSdkError> {
        let meters = Meters::new()?;
        let own = Self {
            api: Api::new(&meters, clock),
            runs: Runs::new(&meters, clock),
            gitlab_info: meters.gauge(&exporter::GITLAB_INFO),
            gitlab_tier: meters.gauge(&exporter::GITLAB_TIER),
            token_expiry: meters.gauge(&exporter::TOKEN_EXPIRY),
            store_up: meters.gauge(&exporter::STORE_UP),
            cluster_members: meters.gauge(&exporter::CLUSTER_MEMBERS),
            cluster_owned_shards: meters.gauge(&exporter::CLUSTER_OWNED_SHARDS),
            store_errors: meters.counter(&exporter::STORE_ERRORS),
            series: meters.gauge(&exporter::SERIES),
            series_overflow: meters.total(&exporter::SERIES_OVERFLOW),
            otlp_exports: meters.counter(&exporter::OTLP_EXPORTS),
            http: http::Http::new(&meters),
            events: events::Events::new(&meters),
            process: Process::new(&meters),
            reload_successful: meters.gauge(&exporter::CONFIG_RELOAD_SUCCESSFUL),
            reloaded_at: meters.gauge(&exporter::CONFIG_RELOAD_SUCCESS),
            clock: clock.clone(),
            table,
            meters,
        };
        own.begin_at_zero(collectors, error_types);
        own.config_reloaded(true, clock.now());
        let version = env!("CARGO_PKG_VERSION").into();
        let build = own.meters.gauge(&exporter::BUILD_INFO);
        build.set(BuildLabels { version }, 1.0);
        Ok(Arc::new(own))
    }

    /// The configuration was loaded, or could not be.
    pub fn config_reloaded(&self, is_successful: bool, now: UnixSeconds) {
        self.reload_successful
            .set(NoLabels {}, f64::from(u8::from(is_successful)));
        if is_successful {
            self.reloaded_at.set(NoLabels {}, now.0 as f64);
        }
    }

    /// A counter's first sample is lost to `increase()`; where all series are known it is a 0.
    fn begin_at_zero(&self, collectors: &[&str], error_types: &[&'static str]) {
        for collector in collectors {
            for error_type in error_types {
                self.count_scrape_error(collector, error_type, 0.0);
            }
        }
        for signal in Signal::ALL {
            for outcome in Outcome::ALL {
                self.count_exports(signal, outcome, 0.0);
            }
        }
        self.api.throttled.add(NoLabels {}, 0.0);
        self.store_errors.add(NoLabels {}, 0.0);
    }

    fn count_scrape_error(&self, collector: &str, error_type: &str, count: f64) {
        let labels = CollectorErrorLabels {
            collector_type: collector.into(),
            error_type: error_type.into(),
        };
        self.runs.errors.add(labels, count);
    }

    fn count_exports(&self, signal: Signal, outcome: Outcome, count: f64) {
        let labels = OtlpExportLabels {
            outcome: outcome.as_str().into(),
            signal: signal.as_str().into(),
        };
        self.otlp_exports.add(labels, count);
    }

    /// One HTTP exchange with GitLab, retries counted one by one. `endpoint` is a template,
    /// `status_code` the status or the kind of failure, `seconds` without waiting for the limiter.
    /// To be called within the call's span.
    pub fn api_request(&self, method: &str, endpoint: &str, status_code: &str, seconds: f64) {
        self.api.requests.add(
            ApiStatusLabels {
                endpoint: endpoint.into(),
                method: method.into(),
                status_code: status_code.into(),
            },
            1.0,
        );
        self.api.duration.observe(
            ApiRequestLabels {
                endpoint: endpoint.into(),
                method: method.into(),
            },
            seconds,
        );
    }

    /// GitLab worked this long for an exchange.
    pub fn api_server_time(&self, method: &str, endpoint: &str, seconds: f64) {
        let labels = ApiRequestLabels {
            endpoint: endpoint.into(),
            method: method.into(),
        };
        self.api.server_time.add(labels, seconds);
    }

    /// So many places under way are allowed now.
    pub fn api_concurrency_limit(&self, places: u32) {
        self.api.concurrency.set(NoLabels {}, f64::from(places));
    }

    /// A call is tried again.
    pub fn api_retry(&self, endpoint: &str) {
        let endpoint = endpoint.into();
        self.api.retries.add(ApiEndpointLabels { endpoint }, 1.0);
    }

    /// A call waited this long for the limiter, until `end`. Those that wait at once count once.
    pub fn api_throttled(&self, waited: Duration, end: Instant) {
        let waiting = self.api.waiting.lock();
        let mut waiting = waiting.unwrap_or_else(PoisonError::into_inner);
        let new = waiting.until(end, waited);
        self.api.throttled.add(NoLabels {}, new.as_secs_f64());
    }

    /// What GitLab says of its rate limit; `limit` is 0 where it does not say.
    pub fn api_rate_limit(&self, limit: u64, remaining: u64, reset: UnixSeconds) {
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 requests")]
        if limit > 0 {
            self.api.limit.set(NoLabels {}, limit as f64);
        }
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 requests")]
        self.api.remaining.set(NoLabels {}, remaining as f64);
        self.api.reset.set(NoLabels {}, reset.as_f64());
        self.api.window_end.store(reset.0, Ordering::Relaxed);
    }

    /// Whether GitLab has not said what is left of the rate limit since its last window ended: it is
    /// not known then.
    fn forget_rate_limit(&self) {
        let end = UnixSeconds(self.api.window_end.load(Ordering::Relaxed));
        if self.clock.now() > end.plus(WINDOW_ENDED) {
            self.api.limit.replace([]);
            self.api.remaining.replace([]);
            self.api.reset.replace([]);
        }
    }

    /// The complexity that GitLab found for a query, which is named as in its document.
    pub fn api_graphql_complexity(&self, query: &str, score: u32) {
        let query = query.into();
        self.api
            .complexity
            .observe(QueryLabels { query }, f64::from(score));
    }

    /// When the token expires; `None` when it does not.
    pub fn token_expiry(&self, expiry: Option<UnixSeconds>) {
        let series = expiry.map(|expiry| (NoLabels {}, expiry.as_f64()));
        self.token_expiry.replace(series);
    }

    /// Which GitLab answers.
    pub fn gitlab_info(&self, version: &str, edition: &str, url: &str) {
        let labels = GitLabLabels {
            edition: edition.into(),
            url: url.into(),
            version: version.into(),
        };
        // One at a time: an upgraded GitLab is not two.
        self.gitlab_info.replace([(labels, 1.0)]);
    }

    /// The highest tier seen.
    pub fn gitlab_tier(&self, tier: Tier) {
        let value = match tier {
            Tier::Free => 0.0,
            Tier::Premium => 1.0,
            Tier::Ultimate => 2.0,
        };
        self.gitlab_tier.set(NoLabels {}, value);
    }

    /// Whether a collector is enabled.
    pub fn collector_enabled(&self, collector: &str, enabled: bool) {
        let value = f64::from(u8::from(enabled));
        self.runs.enabled.set(of(collector), value);
    }

    /// A run took this long for a collector. To be called within the run's span.
    pub fn scrape_duration(&self, collector: &str, took: Duration) {
        self.runs
            .duration
            .observe(of(collector), took.as_secs_f64());
    }

    /// A project or an item failed for a collector; `error_type` is the `kind()` of an error.
    pub fn scrape_error(&self, collector: &str, error_type: &'static str) {
        self.count_scrape_error(collector, error_type, 1.0);
    }

    /// A collector's run ended well, so late against its interval.
    pub fn collection_succeeded(&self, collector: &str, at: UnixSeconds, lag: Duration) {
        self.runs.last_success.set(of(collector), at.as_f64());
        self.runs.lag.set(of(collector), lag.as_secs_f64());
    }

    /// Tasks that wait and that run.
    pub fn tasks(&self, queued: usize, running: usize) {
        self.runs.queued.set(NoLabels {}, number(queued));
        self.runs.running.set(NoLabels {}, number(running));
    }

    /// How much later than due the latest task is that waits, by priority.
    pub fn tasks_lag(&self, lag: impl IntoIterator<Item = (&'static str, Duration)>) {
        for (priority, lag) in lag {
            let priority = priority.into();
            self.runs
                .waiting
                .set(PriorityLabels { priority }, lag.as_secs_f64());
        }
    }

    /// Projects tracked, and how far the first sync is, from 0 to 1.
    pub fn projects(&self, tracked: usize, first_sync: f64) {
        self.runs.projects.set(NoLabels {}, number(tracked));
        self.runs.progress.set(NoLabels {}, first_sync);
    }

    /// Projects whose removal waits.
    pub fn removals_pending(&self, projects: usize) {
        self.runs.removals.set(NoLabels {}, number(projects));
    }

    /// Projects of which collectors have nothing, by collector and reason.
    pub fn projects_unavailable(
        &self,
        projects: impl IntoIterator<Item = ((&'static str, &'static str), usize)>,
    ) {
        let labels = |(collector, reason): (&'static str, &'static str)| CollectorReasonLabels {
            collector_type: collector.into(),
            reason: reason.into(),
        };
        let projects = projects.into_iter();
        self.runs
            .unavailable
            .replace(projects.map(|(of, count)| (labels(of), number(count))));
    }

    /// How many replicas there are, and how many shards of projects this one holds.
    pub fn cluster(&self, members: usize, owned_shards: usize) {
        self.cluster_members.set(NoLabels {}, number(members));
        self.cluster_owned_shards
            .set(NoLabels {}, number(owned_shards));
    }

    /// Whether the store took a commit.
    pub fn store(&self, up: bool) {
        self.store_up.set(NoLabels {}, f64::from(u8::from(up)));
        if !up {
            self.store_errors.add(NoLabels {}, 1.0);
        }
    }

    /// All metrics as they are now, for the Prometheus text: by name, series by labels.
    #[must_use]
    pub fn gather(&self) -> Vec<prometheus::proto::MetricFamily> {
        self.refresh();
        self.meters.gather()
    }

    /// The traces behind the durations of calls and runs. Ask for them before [`Self::gather`]:
    /// then what is an exemplar is counted, too.
    #[must_use]
    pub fn exemplars(&self) -> Exemplars {
        let mut exemplars = Exemplars::default();
        self.api.duration.show(&mut exemplars);
        self.runs.duration.show(&mut exemplars);
        exemplars
    }

    /// All metrics as they are now, for OTLP.
    #[must_use]
    pub(crate) fn collect(&self) -> Vec<Metric> {
        self.refresh();
        self.meters.collect()
    }

    /// Reads what others keep: the table and the operating system.
    fn refresh(&self) {
        self.forget_rate_limit();
        let metric = |family: catalogue::FamilyId| {
            let metric = family.desc().name.into();
            MetricLabels { metric }
        };
        let counts = self.table.sample_counts().into_iter();
        self.series
            .replace(counts.map(|(family, count)| (metric(family), number(count))));
        let overflow = self.table.overflow().into_iter();
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 changes")]
        let overflow = overflow.map(|(family, count)| (metric(family), count as f64));
        self.series_overflow.replace(overflow);
        self.process.show(Usage::now());
    }
}

impl CountExports for OwnMetrics {
    fn count_export(&self, signal: Signal, outcome: Outcome) {
        self.count_exports(signal, outcome, 1.0);
    }
}

impl Api {
    fn new(meters: &Meters, clock: &Clock) -> Self {
        let duration = meters.histogram(&exporter::API_REQUEST_DURATION);
        Self {
            requests: meters.counter(&exporter::API_REQUESTS),
            duration: Traced::new(duration, clock.clone()),
            server_time: meters.counter(&exporter::API_SERVER_SECONDS),
            concurrency: meters.gauge(&exporter::API_CONCURRENCY_LIMIT),
            retries: meters.counter(&exporter::API_RETRIES),
            throttled: meters.counter(&exporter::API_THROTTLED),
            waiting: Mutex::default(),
            complexity: meters.histogram(&exporter::API_GRAPHQL_COMPLEXITY),
            limit: meters.gauge(&exporter::API_RATE_LIMIT),
            remaining: meters.gauge(&exporter::API_RATE_LIMIT_REMAINING),
            reset: meters.gauge(&exporter::API_RATE_LIMIT_RESET),
            window_end: AtomicI64::new(0),
        }
    }
}

impl Runs {
    fn new(meters: &Meters, clock: &Clock) -> Self {
        let duration = meters.histogram(&exporter::SCRAPE_DURATION);
        Self {
            projects: meters.gauge(&exporter::PROJECTS_TRACKED),
            removals: meters.gauge(&exporter::PROJECTS_REMOVAL_PENDING),
            unavailable: meters.gauge(&exporter::PROJECTS_UNAVAILABLE),
            progress: meters.gauge(&exporter::INITIAL_SYNC_PROGRESS),
            enabled: meters.gauge(&exporter::COLLECTOR_ENABLED),
            duration: Traced::new(duration, clock.clone()),
            errors: meters.counter(&exporter::SCRAPE_ERRORS),
            last_success: meters.gauge(&exporter::COLLECTION_LAST_SUCCESS),
            lag: meters.gauge(&exporter::COLLECTION_LAG),
            queued: meters.gauge(&exporter::TASKS_QUEUED),
            running: meters.gauge(&exporter::TASKS_RUNNING),
            waiting: meters.gauge(&exporter::TASKS_LAG),
        }
    }
}

impl Process {
    fn new(meters: &Meters) -> Self {
        Self {
            cpu: meters.total(&exporter::PROCESS_CPU),
            open_fds: meters.gauge(&exporter::PROCESS_OPEN_FDS),
            max_fds: meters.gauge(&exporter::PROCESS_MAX_FDS),
            resident: meters.gauge(&exporter::PROCESS_RESIDENT_MEMORY),
            virtual_memory: meters.gauge(&exporter::PROCESS_VIRTUAL_MEMORY),
            start: meters.gauge(&exporter::PROCESS_START_TIME),
            threads: meters.gauge(&exporter::PROCESS_THREADS),
        }
    }

    fn show(&self, usage: Usage) {
        let one = |value: Option<f64>| value.map(|value| (NoLabels {}, value));
        self.cpu.replace(one(usage.cpu_seconds));
        self.open_fds.replace(one(usage.open_fds));
        self.max_fds.replace(one(usage.max_fds));
        self.resident.replace(one(usage.resident_bytes));
        self.virtual_memory.replace(one(usage.virtual_bytes));
        self.start.replace(one(usage.start_seconds));
        self.threads.replace(one(usage.threads));
    }
}

fn of(collector: &str) -> CollectorLabels {
    CollectorLabels {
        collector_type: collector.into(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
fn number(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests;
