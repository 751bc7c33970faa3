use super::{bars, lines, stat, table};
use crate::{Dashboard, Panel, Unit, Variable};

/// Is the exporter up to date, within its budget, and well?
pub fn dashboard() -> Dashboard {
    Dashboard::new(
        "exporter-health",
        "Exporter health",
        "Whether the exporter is up to date, within GitLab's limits, and well: calls, latency, rate \
         limit, errors, lag, series and delivery.",
        "",
    )
    .variable(Variable::Tempo)
    .row("Now", now())
    .row("Calls to GitLab", calls())
    .row("What GitLab pays", price())
    .row("Collecting", collecting())
    .row("Live updates", live())
    .row("Series and delivery", delivery())
}

fn now() -> [Panel; 8] {
    [
            stat("Last success", "Time since the last success of the collector that is furthest behind.")
                .sized(3, 4)
                .unit(Unit::Seconds)
                .steps("green", &[(3600.0, "yellow"), (21_600.0, "red")])
                .query("time() - min(max by (collector_type) (age_collection_last_success_timestamp))", "Furthest behind"),
            stat("Initial sync", "Progress of the first sync since the start: the share of first reads that succeeded.")
                .sized(3, 4)
                .unit(Unit::Share)
                .between(0.0, 1.0)
                .steps("orange", &[(1.0, "green")])
                .query("min(age_initial_sync_progress_ratio)", "Read"),
            stat("Projects", "Tracked projects of all replicas.")
                .sized(3, 4)
                .query("sum(age_projects_tracked)", "Projects"),
            stat("Requests in the last hour", "Requests to GitLab in the last hour, to compare with gitlab.max_requests_per_hour or GitLab's limit.")
                .sized(3, 4)
                .query("sum(increase(age_api_requests_total[1h]))", "Requests"),
            stat("Rate limit left", "Requests left in the current rate limit window of GitLab.")
                .sized(3, 4)
                .steps("red", &[(50.0, "yellow"), (200.0, "green")])
                .when_empty("GitLab names no limit")
                .query("min(age_api_rate_limit_remaining)", "Left"),
            stat("Token expires", "When the GitLab token expires.")
                .sized(3, 4)
                .unit(Unit::Ago)
                .when_empty("Does not expire")
                .query("1000 * min(age_token_expiry_timestamp)", "Expires"),
            stat("State file", "Whether the last write of the state succeeded; without a state file it is in memory.")
                .sized(3, 4)
                .words(&[(0.0, 0.5, "Not written", "red"), (0.5, 1.5, "Written", "green")])
                .when_empty("Nothing was written yet")
                .query("min(age_store_up)", "Last commit"),
            stat("GitLab tier", "The highest GitLab tier of a tracked project.")
                .sized(3, 4)
                .words(&[(0.0, 0.5, "Free", "text"), (0.5, 1.5, "Premium", "text"), (1.5, 2.5, "Ultimate", "text")])
                .when_empty("Not known yet")
                .query("max(age_gitlab_tier)", "Tier"),
        ]
}

fn calls() -> [Panel; 4] {
    [
            bars("Calls", "Requests to GitLab per second by endpoint, retries included.")
                .unit(Unit::PerSecond)
                .from_zero()
                .query("sum by (endpoint) (rate(age_api_requests_total[$__rate_interval]))", "{{endpoint}}"),
            lines(
                "Latency",
                "How long calls take; with scrapes, a diamond is one call, and a click opens its trace; exemplars do not come by OTLP. The trace is of \
                 the exporter's own call, not of a pipeline.",
            )
            .unit(Unit::Seconds)
            .from_zero()
            .link("Traces of slow calls", TRACES)
            .query_with_exemplars(&latency("0.5"), "P50")
            .query_with_exemplars(&latency("0.95"), "P95")
            .query_with_exemplars(&latency("0.99"), "P99"),
            bars(
                "Answers that are no success",
                "Requests per second with a status of 400 or more, or without a response, by status.",
            )
            .unit(Unit::PerSecond)
            .from_zero()
            .when_empty("Every call succeeded")
            .query(
                "sum by (status_code) \
                 (rate(age_api_requests_total{status_code!~\"[23].+\"}[$__rate_interval])) > 0",
                "{{status_code}}",
            ),
            lines(
                "Waiting and retries",
                "Seconds per second that calls waited for the rate limiter (right axis), and calls \
                 that were tried again.",
            )
            .unit(Unit::PerSecond)
            .from_zero()
            .query("sum(rate(age_api_retries_total[$__rate_interval]))", "Retries")
            .query("sum(rate(age_api_throttled_seconds_total[$__rate_interval]))", "Waiting")
            .override_of("Waiting", &[
                ("unit", serde_json::json!("suffix:s/s")),
                ("custom.axisPlacement", serde_json::json!("right")),
            ]),
        ]
}

fn price() -> [Panel; 3] {
    [
            bars(
                "GitLab's time",
                "Seconds per second that GitLab worked for the exporter's requests, by endpoint: 1 keeps \
                 one of its workers busy.",
            )
            .sized(8, 8)
            .unit(Unit::PerSecond)
            .from_zero()
            .query(
                "sum by (endpoint) (rate(age_api_server_seconds_total[$__rate_interval]))",
                "{{endpoint}}",
            ),
            lines(
                "Time per request and concurrency",
                "GitLab's time for a request on average, and how many requests may be under way at once \
                 (right axis): it grows while GitLab answers as quickly as before and halves when it \
                 slows down.",
            )
            .sized(8, 8)
            .unit(Unit::Seconds)
            .from_zero()
            .query(
                "sum(rate(age_api_server_seconds_total[$__rate_interval])) / \
                 (sum(rate(age_api_requests_total[$__rate_interval])) > 0)",
                "Time per request",
            )
            .query("sum(age_api_concurrency_limit)", "Concurrency")
            .override_of("Concurrency", &[
                ("unit", serde_json::json!("locale")),
                ("custom.axisPlacement", serde_json::json!("right")),
            ]),
            lines("Complexity of queries", "95 % of the GraphQL queries had at most this complexity in the time before each point; GitLab refuses more than 250.")
                .sized(8, 8)
                .from_zero()
                .points(super::POINTS)
                .query(
                    "histogram_quantile(0.95, sum by (le, query) \
                     (increase(age_api_graphql_complexity_bucket[$__range]))) >= 0",
                    "{{query}}",
                ),
        ]
}

fn collecting() -> [Panel; 7] {
    [
            table("Collectors", "All collectors: whether enabled, time since the last success, and errors in the time range.")
                .when_empty("No collector")
                .label("collector_type", "Collector")
                .column("Enabled", Unit::YesNo, "max by (collector_type) (age_collector_enabled)")
                .column("Last success", Unit::Ago, "1000 * max by (collector_type) (age_collection_last_success_timestamp)")
                .column("Errors", Unit::Count, "sum by (collector_type) (increase(age_scrape_errors_total[$__range]))")
                .sorted_by("Errors"),
            table("Projects without data", "Tracked projects without data for an enabled collector, by reason.")
                .when_empty("Every collector has data of every project")
                .label("collector_type", "Collector")
                .label("reason", "Reason")
                .column("Projects", Unit::Count, "sort_desc(sum by (collector_type, reason) (age_projects_unavailable))"),
            lines("Lag", "Delay of each collector's last run against its interval. If it rises, the budget is too small for the intervals.")
                .unit(Unit::Seconds)
                .from_zero()
                .query("max by (collector_type) (age_collection_lag_seconds)", "{{collector_type}}"),
            bars("Errors", "Projects or items that could not be read or measured, by collector and kind.")
                .from_zero()
                .when_empty("No errors")
                .query(
                    "sum by (collector_type, error_type) \
                     (increase(age_scrape_errors_total[$__rate_interval])) > 0",
                    "{{collector_type}} {{error_type}}",
                ),
            lines("Duration of runs", "95th percentile of the duration of the collectors' runs over a batch of projects.")
                .unit(Unit::Seconds)
                .from_zero()
                .at_least_every("5m")
                .query_with_exemplars(
                    "histogram_quantile(0.95, sum by (le, collector_type) \
                     (rate(age_scrape_duration_seconds_bucket[$__rate_interval]))) >= 0",
                    "{{collector_type}}",
                ),
            lines("Delay of tasks", "Delay of the most overdue waiting task, by priority.")
                .unit(Unit::Seconds)
                .from_zero()
                .query("max by (priority) (age_tasks_lag_seconds)", "{{priority}}"),
            lines("Tasks", "Waiting and running tasks; projects pending removal.")
                .from_zero()
                .query("sum(age_tasks_queued)", "Waiting")
                .query("sum(age_tasks_running)", "Running")
                .query("sum(age_projects_removal_pending)", "Removals pending"),
        ]
}

fn live() -> [Panel; 5] {
    [
            lines("Freshness", "Median age of changes when they were first exported, by what caused the read: poll, webhook or subscription. It includes GitLab's own delay of events.")
                .sized(8, 8)
                .unit(Unit::Seconds)
                .from_zero()
                .at_least_every("5m")
                .query(
                    "histogram_quantile(0.5, sum by (le, trigger) \
                     (rate(age_event_freshness_seconds_bucket[$__rate_interval]))) >= 0",
                    "{{trigger}}",
                ),
            lines("Handling of events", "Time from the arrival of an event until its change is exported: median and P95.")
                .sized(8, 8)
                .unit(Unit::Seconds)
                .from_zero()
                .at_least_every("5m")
                .when_empty("No events were received")
                .query(
                    "histogram_quantile(0.5, sum by (le) \
                     (rate(age_event_handling_seconds_bucket[$__rate_interval]))) >= 0",
                    "median",
                )
                .query(
                    "histogram_quantile(0.95, sum by (le) \
                     (rate(age_event_handling_seconds_bucket[$__rate_interval]))) >= 0",
                    "P95",
                ),
            bars("Webhooks", "Webhook requests per interval by outcome, and changes that no event reported.")
                .sized(8, 8)
                .from_zero()
                .when_empty("No webhooks were received")
                .query(
                    "sum by (outcome) (increase(age_webhook_events_total[$__rate_interval])) > 0",
                    "{{outcome}}",
                )
                .query(
                    "sum(increase(age_webhook_missed_total[$__rate_interval])) > 0",
                    "missed",
                ),
            lines("Subscriptions", "GraphQL subscriptions by state: standing (GitLab reports changes), pending, refused.")
                .sized(12, 8)
                .from_zero()
                .when_empty("Subscriptions are off")
                .query("sum by (state) (age_subscriptions)", "{{state}}"),
            bars("Connections for subscriptions", "Attempts to open a connection for subscriptions per interval, by outcome. GitLab closes connections whenever it replaces a server process.")
                .sized(12, 8)
                .from_zero()
                .when_empty("No connection was opened")
                .query(
                    "sum by (outcome) (increase(age_subscription_connects_total[$__rate_interval])) > 0",
                    "{{outcome}}",
                ),
    ]
}

fn delivery() -> [Panel; 7] {
    [
            table("Series", "Series by metric, and updates dropped because the metric reached telemetry.cardinality_limit.")
                .sized(8, 9)
                .label("metric", "Metric")
                .column("Series", Unit::Count, "sort_desc(topk(50, sum by (metric) (age_series)))")
                .column("Left out", Unit::Count, "sum by (metric) (increase(age_series_overflow_total[$__range])) > 0")
                .sorted_by("Series"),
            bars("OTLP messages", "OTLP exports of metrics, traces and logs, by outcome.")
                .sized(8, 9)
                .unit(Unit::PerSecond)
                .from_zero()
                .when_empty("Nothing is pushed by OTLP")
                .query(
                    "sum by (outcome) (rate(age_otlp_exports_total[$__rate_interval]))",
                    "{{outcome}}",
                ),
            lines("Memory and processor", "Resident memory, and CPU usage in cores (right axis).")
                .sized(8, 9)
                .unit(Unit::Bytes)
                .from_zero()
                .query("sum(process_resident_memory_bytes and on (job, instance) age_build_info)", "Memory")
                .query("sum(rate(process_cpu_seconds_total[$__rate_interval]) and on (job, instance) age_build_info)", "Processor")
                .override_of("Processor", &[
                    ("unit", serde_json::json!("percentunit")),
                    ("custom.axisPlacement", serde_json::json!("right")),
                ]),
            lines(
            "Store errors and open files",
            "Failed writes of the state per interval, and open file descriptors (right axis).",
        )
        .sized(16, 6)
        .from_zero()
        .query("sum(increase(age_store_errors_total[$__rate_interval]))", "Store errors")
        .query("sum(process_open_fds and on (job, instance) age_build_info)", "Open files")
        .on_the_right("Open files"),
            stat("Configuration", "Whether the last load of the configuration succeeded; after a failure the previous one still applies.")
                .sized(4, 6)
                .words(&[(0.0, 0.5, "Not reloaded", "red"), (0.5, 1.5, "Loaded", "green")])
                .query("min(age_config_last_reload_successful)", "Last load"),
            stat("Configuration loaded", "When the configuration was last loaded with success.")
                .sized(4, 6)
                .unit(Unit::Ago)
                .query("1000 * min(age_config_last_reload_success_timestamp_seconds)", "Loaded"),
        lines(
            "Replicas",
            "Replicas that share the projects by way of Redis, and how many of the 64 shards each holds.",
        )
        .sized(24, 6)
        .from_zero()
        .when_empty("A single instance")
        .query("max(age_cluster_members)", "Replicas")
        .query("sum by (instance) (age_cluster_owned_shards)", "{{instance}}"),
    ]
}

/// Grafana's Explore over the traces of the exporter.
const TRACES: &str = "/explore?schemaVersion=1&panes={\"age\":{\"datasource\":\"${tempo}\",\"queries\":[{\"refId\":\"A\",\
     \"queryType\":\"traceql\",\"query\":\"{resource.service.name=\\\"amazing-gitlab-exporter\\\" \
     %26%26 duration>1s}\"}],\"range\":{\"from\":\"now-1h\",\"to\":\"now\"}}}";

fn latency(share: &str) -> String {
    format!(
        "histogram_quantile({share}, sum by (le) \
         (rate(age_api_request_duration_seconds_bucket[$__rate_interval]))) >= 0"
    )
}
