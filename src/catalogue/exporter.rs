//! The exporter's own metrics: facts of this process, recorded on a provider of their own.

use super::labels::{
    ApiEndpointLabels, ApiRequestLabels, ApiStatusLabels, BuildLabels, CollectorErrorLabels,
    CollectorLabels, CollectorReasonLabels, CollectorTriggerLabels, GitLabLabels, MetricLabels,
    NoLabels, OtlpExportLabels, OutcomeLabels, PriorityLabels, QueryLabels, ReasonLabels,
    StateLabels, WebhookLabels,
};
use super::{Buckets, Collector, Counter, Desc, Gauge, Histogram, Spec};
use crate::types::Tier;

const fn spec(name: &'static str, unit: &'static str, plan: bool, help: &'static str) -> Spec {
    Spec {
        name,
        unit,
        help,
        collector: Collector::Exporter,
        tier: Tier::Free,
        plan,
    }
}

/// Bounds for calls and runs, in seconds.
const SECONDS: Buckets =
    Buckets::Fixed(&[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0]);

/// Bounds for how fresh what is shown is, in seconds.
const FRESHNESS: Buckets = Buckets::Fixed(&[
    0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0,
]);

/// Calls to GitLab.
pub static API_REQUESTS: Counter<ApiStatusLabels> = Counter::new(spec(
    "age_api_requests_total",
    "",
    true,
    "Requests to the GitLab API, retries included, by status of the response or kind of failure.",
));

/// Duration of calls to GitLab.
pub static API_REQUEST_DURATION: Histogram<ApiRequestLabels> = Histogram::new(
    spec(
        "age_api_request_duration_seconds",
        "s",
        true,
        "Duration of requests to the GitLab API, without the wait for the rate limiter.",
    ),
    SECONDS,
);

/// GitLab's time.
pub static API_SERVER_SECONDS: Counter<ApiRequestLabels> = Counter::new(spec(
    "age_api_server_seconds_total",
    "s",
    false,
    "Time that GitLab spent on requests, from its header X-Runtime; the request duration where the \
     header is missing. A rate of 1 keeps one GitLab worker busy.",
));

/// Calls under way.
pub static API_CONCURRENCY_LIMIT: Gauge<NoLabels> = Gauge::new(spec(
    "age_api_concurrency_limit",
    "",
    false,
    "Current limit of concurrent requests to GitLab; GraphQL queries and long lists count as two. It \
     grows up to gitlab.max_concurrent_requests while response times hold and is halved when GitLab \
     slows down.",
));

/// Calls a minute.
pub static API_RATE_LIMIT: Gauge<NoLabels> = Gauge::new(spec(
    "age_api_rate_limit_limit",
    "",
    false,
    "Requests that GitLab allows per minute; absent if not reported.",
));

/// Calls left.
pub static API_RATE_LIMIT_REMAINING: Gauge<NoLabels> = Gauge::new(spec(
    "age_api_rate_limit_remaining",
    "",
    true,
    "Requests left in the current rate limit window of GitLab; absent if not reported.",
));

/// End of the window.
pub static API_RATE_LIMIT_RESET: Gauge<NoLabels> = Gauge::new(spec(
    "age_api_rate_limit_reset_timestamp",
    "s",
    true,
    "When GitLab's current rate limit window ends, in seconds since the Unix epoch.",
));

/// Tracked projects.
pub static PROJECTS_TRACKED: Gauge<NoLabels> =
    Gauge::new(spec("age_projects_tracked", "", true, "Projects tracked."));

/// Projects whose removal waits.
pub static PROJECTS_REMOVAL_PENDING: Gauge<NoLabels> = Gauge::new(spec(
    "age_projects_removal_pending",
    "",
    false,
    "Tracked projects missing in GitLab, which are removed if still missing after discovery.removal_grace.",
));

/// Projects that a collector has nothing of.
pub static PROJECTS_UNAVAILABLE: Gauge<CollectorReasonLabels> = Gauge::new(spec(
    "age_projects_unavailable",
    "",
    false,
    "Tracked projects without data for an enabled collector, by reason: permission (missing for the \
     token), switched_off (feature disabled in GitLab), tier (the licence), release (GitLab is too \
     old) or settings.",
));

/// Duration of runs.
pub static SCRAPE_DURATION: Histogram<CollectorLabels> = Histogram::new(
    spec(
        "age_scrape_duration_seconds",
        "s",
        true,
        "Duration of a collector's runs over a batch of projects.",
    ),
    SECONDS,
);

/// Errors of runs.
pub static SCRAPE_ERRORS: Counter<CollectorErrorLabels> = Counter::new(spec(
    "age_scrape_errors_total",
    "",
    true,
    "Projects or items that failed in runs of the collector, by error type.",
));

/// Tier.
pub static GITLAB_TIER: Gauge<NoLabels> = Gauge::new(spec(
    "age_gitlab_tier",
    "",
    true,
    "Highest GitLab tier seen: 0 free, 1 premium, 2 ultimate.",
));

/// Collectors.
pub static COLLECTOR_ENABLED: Gauge<CollectorLabels> = Gauge::new(spec(
    "age_collector_enabled",
    "",
    true,
    "Whether a collector is enabled: 1 yes, 0 no.",
));

/// This program.
pub static BUILD_INFO: Gauge<BuildLabels> = Gauge::new(spec(
    "age_build_info",
    "",
    false,
    "Always 1; the labels carry the version of the exporter.",
));

/// GitLab.
pub static GITLAB_INFO: Gauge<GitLabLabels> = Gauge::new(spec(
    "age_gitlab_info",
    "",
    false,
    "Always 1; the labels carry address, version and edition of GitLab.",
));

/// Last success.
pub static COLLECTION_LAST_SUCCESS: Gauge<CollectorLabels> = Gauge::new(spec(
    "age_collection_last_success_timestamp",
    "s",
    false,
    "Time of the last successful collection for at least one project, in seconds since the Unix \
     epoch. It does not advance while all calls of the collector fail.",
));

/// Lag.
pub static COLLECTION_LAG: Gauge<CollectorLabels> = Gauge::new(spec(
    "age_collection_lag_seconds",
    "s",
    false,
    "Delay of the collector's last run against its interval. First readings and backfill do not count: \
     their delay is age_tasks_lag_seconds.",
));

/// Waiting tasks.
pub static TASKS_QUEUED: Gauge<NoLabels> = Gauge::new(spec(
    "age_tasks_queued",
    "",
    false,
    "Due tasks that are waiting to run.",
));

/// Lag by priority.
pub static TASKS_LAG: Gauge<PriorityLabels> = Gauge::new(spec(
    "age_tasks_lag_seconds",
    "s",
    false,
    "Delay of the most overdue waiting task, by priority: urgent (requested by a user or an event), \
     current (recent changes), backfill (first reads and history, which never delay the others). 0 if \
     none is waiting.",
));

/// Running tasks.
pub static TASKS_RUNNING: Gauge<NoLabels> = Gauge::new(spec(
    "age_tasks_running",
    "",
    false,
    "Tasks currently running.",
));

/// Retries.
pub static API_RETRIES: Counter<ApiEndpointLabels> = Counter::new(spec(
    "age_api_retries_total",
    "",
    false,
    "Retried requests to the GitLab API.",
));

/// Waiting for the limiter.
pub static API_THROTTLED: Counter<NoLabels> = Counter::new(spec(
    "age_api_throttled_seconds_total",
    "s",
    false,
    "Time in which at least one request waited for the rate limiter; concurrent waits count once.",
));

/// Complexity of queries.
pub static API_GRAPHQL_COMPLEXITY: Histogram<QueryLabels> = Histogram::new(
    spec(
        "age_api_graphql_complexity",
        "",
        false,
        "Complexity of GraphQL queries as computed by GitLab, which rejects more than 250.",
    ),
    Buckets::Fixed(&[25.0, 50.0, 100.0, 150.0, 200.0, 225.0, 250.0]),
);

/// Expiry of the token.
pub static TOKEN_EXPIRY: Gauge<NoLabels> = Gauge::new(spec(
    "age_token_expiry_timestamp",
    "s",
    false,
    "When the GitLab token expires, in seconds since the Unix epoch; absent if it never expires.",
));

/// The store.
pub static STORE_UP: Gauge<NoLabels> = Gauge::new(spec(
    "age_store_up",
    "",
    false,
    "Whether the last write of the state succeeded: 1 yes, 0 no.",
));

/// Errors of the store.
pub static STORE_ERRORS: Counter<NoLabels> = Counter::new(spec(
    "age_store_errors_total",
    "",
    false,
    "Failed writes of the state.",
));

/// Open connections.
pub static HTTP_CONNECTIONS: Gauge<NoLabels> = Gauge::new(spec(
    "age_http_connections",
    "",
    false,
    "Open connections to the exporter's HTTP server.",
));

/// Refused requests and connections.
pub static HTTP_REFUSALS: Counter<ReasonLabels> = Counter::new(spec(
    "age_http_refusals_total",
    "",
    false,
    "Requests and connections rejected or closed by the exporter's HTTP server, by reason: \
     bad_request (not HTTP), slow_request (headers took too long), too_many_connections (limit \
     reached, or an idle connection closed for a new one), client_limit \
     (server.max_connections_per_client), host (server.allowed_hosts), tls (failed handshake), unauthorized \
     (wrong user or password) or too_many_logins.",
));

/// Series.
pub static SERIES: Gauge<MetricLabels> = Gauge::new(spec(
    "age_series",
    "",
    false,
    "Exported series by metric, counted as in Prometheus: one per histogram bucket, plus sum and count.",
));

/// Series that did not fit.
pub static SERIES_OVERFLOW: Counter<MetricLabels> = Counter::new(spec(
    "age_series_overflow_total",
    "",
    false,
    "Updates of new series dropped because the metric reached telemetry.cardinality_limit.",
));

/// Exports.
pub static OTLP_EXPORTS: Counter<OtlpExportLabels> = Counter::new(spec(
    "age_otlp_exports_total",
    "",
    false,
    "OTLP exports by signal and outcome after retries: success, partial (the receiver rejected a \
     part) or error.",
));

/// First round.
pub static INITIAL_SYNC_PROGRESS: Gauge<NoLabels> = Gauge::new(spec(
    "age_initial_sync_progress_ratio",
    "",
    false,
    "Progress of the first sync since the start, from 0 to 1: the share of first reads that succeeded, \
     one for each tracked project and enabled data source. 0 while no project is tracked.",
));

/// Webhook events.
pub static WEBHOOK_EVENTS: Counter<WebhookLabels> = Counter::new(spec(
    "age_webhook_events_total",
    "",
    false,
    "Requests to the webhook receiver, by GitLab's kind of event (`other` for what is not known, or could not \
     be read) and by what became of them: accepted, ignored (nothing measured depends on it), untracked (no \
     setting selects the project), unauthorized, rate_limited (unauthorized, more than 60 times in a minute), \
     bad_request, too_large, method (a GET, as after a redirect), timeout (the body did not come).",
));

/// Missed events.
pub static WEBHOOK_MISSED: Counter<CollectorLabels> = Counter::new(spec(
    "age_webhook_missed_total",
    "",
    false,
    "Changes that polling found and that no webhook or subscription had announced a minute later, although \
     events of the project had come before.",
));

/// Freshness.
pub static EVENT_FRESHNESS: Histogram<CollectorTriggerLabels> = Histogram::new(
    spec(
        "age_event_freshness_seconds",
        "s",
        false,
        "Age of what moved in GitLab when it was first shown, by GitLab's time of it and by what brought the \
         read about: poll, webhook or subscription. GitLab's own queue delays events by up to some seconds.",
    ),
    FRESHNESS,
);

/// Handling.
pub static EVENT_HANDLING: Histogram<CollectorTriggerLabels> = Histogram::new(
    spec(
        "age_event_handling_seconds",
        "s",
        false,
        "Time from the arrival of an event to when what it announced is shown.",
    ),
    FRESHNESS,
);

/// Subscriptions.
pub static SUBSCRIPTIONS: Gauge<StateLabels> = Gauge::new(spec(
    "age_subscriptions",
    "",
    false,
    "GraphQL subscriptions to pipelines by state: standing (GitLab reports changes), pending (not requested \
     yet, or lost), refused (requested again after an hour).",
));

/// Connections for subscriptions.
pub static SUBSCRIPTION_CONNECTS: Counter<OutcomeLabels> = Counter::new(spec(
    "age_subscription_connects_total",
    "",
    false,
    "Attempts to open a connection for GraphQL subscriptions by outcome: welcomed, refused (by GitLab or a \
     proxy), failed (no usable response).",
));

/// Replicas.
pub static CLUSTER_MEMBERS: Gauge<NoLabels> = Gauge::new(spec(
    "age_cluster_members",
    "",
    false,
    "Replicas that share the projects by way of Redis, this one included; absent for a single instance.",
));

/// Shards of this replica.
pub static CLUSTER_OWNED_SHARDS: Gauge<NoLabels> = Gauge::new(spec(
    "age_cluster_owned_shards",
    "",
    false,
    "Shards of projects that this replica holds, of 64; absent for a single instance.",
));

/// CPU time.
pub static PROCESS_CPU: Counter<NoLabels> = Counter::new(spec(
    "process_cpu_seconds_total",
    "s",
    false,
    "Total user and system CPU time spent in seconds.",
));

/// File descriptors.
pub static PROCESS_OPEN_FDS: Gauge<NoLabels> = Gauge::new(spec(
    "process_open_fds",
    "",
    false,
    "Number of open file descriptors.",
));

/// Limit of file descriptors.
pub static PROCESS_MAX_FDS: Gauge<NoLabels> = Gauge::new(spec(
    "process_max_fds",
    "",
    false,
    "Maximum number of open file descriptors.",
));

/// Resident memory.
pub static PROCESS_RESIDENT_MEMORY: Gauge<NoLabels> = Gauge::new(spec(
    "process_resident_memory_bytes",
    "By",
    false,
    "Resident memory size in bytes.",
));

/// Virtual memory.
pub static PROCESS_VIRTUAL_MEMORY: Gauge<NoLabels> = Gauge::new(spec(
    "process_virtual_memory_bytes",
    "By",
    false,
    "Virtual memory size in bytes.",
));

/// Start.
pub static PROCESS_START_TIME: Gauge<NoLabels> = Gauge::new(spec(
    "process_start_time_seconds",
    "s",
    false,
    "Start time of the process since the Unix epoch in seconds.",
));

/// Threads.
pub static PROCESS_THREADS: Gauge<NoLabels> = Gauge::new(spec(
    "process_threads",
    "",
    false,
    "Number of operating system threads in the process.",
));

/// Whether the last load of the configuration worked.
pub static CONFIG_RELOAD_SUCCESSFUL: Gauge<NoLabels> = Gauge::new(spec(
    "age_config_last_reload_successful",
    "",
    false,
    "Whether the last attempt to load the configuration succeeded (1) or not (0). After a failure the \
     previous configuration still applies.",
));

/// When the configuration was last loaded.
pub static CONFIG_RELOAD_SUCCESS: Gauge<NoLabels> = Gauge::new(spec(
    "age_config_last_reload_success_timestamp_seconds",
    "s",
    false,
    "Time of the last successful load of the configuration, as a Unix timestamp.",
));

/// This file's entries, in the order of `/metrics`.
pub static ENTRIES: &[&Desc] = &[
    &API_REQUESTS.desc,
    &API_REQUEST_DURATION.desc,
    &API_RATE_LIMIT.desc,
    &API_RATE_LIMIT_REMAINING.desc,
    &API_RATE_LIMIT_RESET.desc,
    &PROJECTS_TRACKED.desc,
    &SCRAPE_DURATION.desc,
    &SCRAPE_ERRORS.desc,
    &GITLAB_TIER.desc,
    &COLLECTOR_ENABLED.desc,
    &BUILD_INFO.desc,
    &GITLAB_INFO.desc,
    &COLLECTION_LAST_SUCCESS.desc,
    &COLLECTION_LAG.desc,
    &TASKS_QUEUED.desc,
    &TASKS_RUNNING.desc,
    &TASKS_LAG.desc,
    &API_SERVER_SECONDS.desc,
    &API_CONCURRENCY_LIMIT.desc,
    &API_RETRIES.desc,
    &API_THROTTLED.desc,
    &API_GRAPHQL_COMPLEXITY.desc,
    &TOKEN_EXPIRY.desc,
    &STORE_UP.desc,
    &STORE_ERRORS.desc,
    &SERIES.desc,
    &SERIES_OVERFLOW.desc,
    &OTLP_EXPORTS.desc,
    &INITIAL_SYNC_PROGRESS.desc,
    &PROJECTS_REMOVAL_PENDING.desc,
    &PROJECTS_UNAVAILABLE.desc,
    &CONFIG_RELOAD_SUCCESSFUL.desc,
    &CONFIG_RELOAD_SUCCESS.desc,
    &HTTP_CONNECTIONS.desc,
    &HTTP_REFUSALS.desc,
    &WEBHOOK_EVENTS.desc,
    &WEBHOOK_MISSED.desc,
    &EVENT_FRESHNESS.desc,
    &EVENT_HANDLING.desc,
    &SUBSCRIPTIONS.desc,
    &SUBSCRIPTION_CONNECTS.desc,
    &CLUSTER_MEMBERS.desc,
    &CLUSTER_OWNED_SHARDS.desc,
    &PROCESS_CPU.desc,
    &PROCESS_OPEN_FDS.desc,
    &PROCESS_MAX_FDS.desc,
    &PROCESS_RESIDENT_MEMORY.desc,
    &PROCESS_VIRTUAL_MEMORY.desc,
    &PROCESS_START_TIME.desc,
    &PROCESS_THREADS.desc,
];
