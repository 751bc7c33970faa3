use std::collections::BTreeMap;

use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use prometheus::TextEncoder;

use super::*;
use crate::catalogue::buckets::BucketSettings;
use crate::series::TableSettings;

fn own() -> Arc<OwnMetrics> {
    let table = Table::new(&TableSettings {
        birth_window: Duration::ZERO,
        cardinality_limit: 10,
        buckets: BucketSettings::default(),
    });
    let collectors = ["pipelines", "jobs"];
    OwnMetrics::new(table, &Clock::System, &collectors, &["timeout", "decode"]).unwrap()
}

/// Samples as `/metrics` shows them.
fn samples(own: &OwnMetrics) -> BTreeMap<String, f64> {
    let text = TextEncoder::new().encode_to_string(&own.gather()).unwrap();
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|sample| {
            let (series, value) = sample.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        })
        .collect()
}

#[test]
fn what_is_known_beforehand_starts_at_zero() {
    let samples = samples(&own());
    for series in [
        r#"age_scrape_errors_total{collector_type="pipelines",error_type="timeout"}"#,
        r#"age_scrape_errors_total{collector_type="jobs",error_type="decode"}"#,
        r#"age_otlp_exports_total{outcome="success",signal="metrics"}"#,
        r#"age_otlp_exports_total{outcome="error",signal="traces"}"#,
        r#"age_otlp_exports_total{outcome="partial",signal="logs"}"#,
        "age_store_errors_total",
        "age_api_throttled_seconds_total",
    ] {
        assert_eq!(samples.get(series), Some(&0.0), "{series}");
    }
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        samples[&format!("age_build_info{{version=\"{version}\"}}")],
        1.0
    );
}

#[test]
fn what_is_not_known_is_absent() {
    let samples = samples(&own());
    for name in [
        "age_token_expiry_timestamp",
        "age_api_rate_limit_remaining",
        "age_store_up",
        "age_gitlab_tier",
        "age_gitlab_info",
    ] {
        assert!(
            !samples.keys().any(|series| series.starts_with(name)),
            "{name}"
        );
    }
}

#[test]
fn calls_are_counted_and_timed() {
    let own = own();
    own.request_twice();
    let samples = samples(&own);
    let endpoint = r#"endpoint="/projects/:id""#;
    let requests = |status: &str| {
        samples[&format!(
            "age_api_requests_total{{{endpoint},method=\"GET\",status_code=\"{status}\"}}"
        )]
    };
    assert_eq!((requests("200"), requests("timeout")), (1.0, 1.0));
    let duration = |part: &str, le: &str| {
        samples
            [&format!("age_api_request_duration_seconds_{part}{{{endpoint},method=\"GET\"{le}}}")]
    };
    assert_eq!(duration("count", ""), 2.0);
    assert_eq!(duration("sum", ""), 3.25);
    assert_eq!(duration("bucket", r#",le="0.25""#), 1.0);
    assert_eq!(duration("bucket", r#",le="5""#), 2.0);
    assert_eq!(
        samples[&format!("age_api_retries_total{{{endpoint}}}")],
        1.0
    );
    let server = r#"age_api_server_seconds_total{endpoint="/projects/:id",method="GET"}"#;
    assert_eq!(samples[server], 3.125);
    assert_eq!(samples["age_api_concurrency_limit"], 3.0);
    assert_eq!(samples["age_api_throttled_seconds_total"], 1.5);
    assert_eq!(samples["age_api_rate_limit_limit"], 2000.0);
    assert_eq!(samples["age_api_rate_limit_remaining"], 1999.0);
    assert_eq!(
        samples["age_api_rate_limit_reset_timestamp"],
        1_800_000_060.0
    );
    let complexity = r#"age_api_graphql_complexity_sum{query="ProjectChanges"}"#;
    assert_eq!(samples[complexity], 142.0);
}

impl OwnMetrics {
    /// Through the eyes of the GitLab client.
    fn request_twice(&self) {
        use crate::gitlab::{Accounting, Outcome};
        let accounts: &dyn Accounting = self;
        let endpoint = "/projects/:id";
        accounts.request("GET", endpoint, Outcome::Failed("timeout"), 3.0);
        accounts.server_time("GET", endpoint, 3.0);
        accounts.server_time("GET", endpoint, 0.125);
        accounts.concurrency(4);
        accounts.concurrency(3);
        accounts.retry(endpoint);
        accounts.throttled(Duration::from_millis(1500));
        accounts.request("GET", endpoint, Outcome::Status(200), 0.25);
        accounts.rate_limit(2000, 1999, UnixSeconds(1_800_000_060));
        accounts.complexity("ProjectChanges", 142, 250);
    }
}

#[test]
fn what_is_no_longer_so_is_removed_at_the_next_scrape() {
    let own = own();
    own.gitlab_info("18.5.0", "enterprise", "https://gitlab.example.com");
    own.token_expiry(Some(UnixSeconds(1_800_000_000)));
    assert!(samples(&own).contains_key("age_token_expiry_timestamp"));
    own.gitlab_info("18.6.0", "enterprise", "https://gitlab.example.com");
    own.token_expiry(None);
    let samples = samples(&own);
    let infos: Vec<_> = samples
        .keys()
        .filter(|series| series.starts_with("age_gitlab_info"))
        .collect();
    assert_eq!(
        infos,
        [
            r#"age_gitlab_info{edition="enterprise",url="https://gitlab.example.com",version="18.6.0"}"#
        ]
    );
    assert!(!samples.contains_key("age_token_expiry_timestamp"));
}

#[test]
fn runs_projects_and_store_are_reported() {
    let own = own();
    own.projects(4, 0.25);
    own.tasks(3, 2);
    own.tasks_lag([("backfill", Duration::from_secs(90))]);
    own.scrape_duration("jobs", Duration::from_millis(250));
    own.scrape_error("jobs", "timeout");
    own.collection_succeeded("jobs", UnixSeconds(1_800_000_000), Duration::from_secs(7));
    own.collector_enabled("jobs", true);
    own.collector_enabled("dora", false);
    own.gitlab_tier(Tier::Premium);
    own.store(false);
    own.store(true);
    let samples = samples(&own);
    let of = |name: &str, rest: &str| samples[&format!("{name}{{collector_type=\"jobs\"{rest}}}")];
    assert_eq!(of("age_scrape_duration_seconds_sum", ""), 0.25);
    assert_eq!(
        of("age_scrape_errors_total", r#",error_type="timeout""#),
        1.0
    );
    assert_eq!(
        of("age_collection_last_success_timestamp", ""),
        1_800_000_000.0
    );
    assert_eq!(of("age_collection_lag_seconds", ""), 7.0);
    assert_eq!(of("age_collector_enabled", ""), 1.0);
    assert_eq!(
        samples[r#"age_collector_enabled{collector_type="dora"}"#],
        0.0
    );
    assert_eq!(samples["age_projects_tracked"], 4.0);
    assert_eq!(samples["age_initial_sync_progress_ratio"], 0.25);
    assert_eq!(
        (samples["age_tasks_queued"], samples["age_tasks_running"]),
        (3.0, 2.0)
    );
    assert_eq!(
        samples[r#"age_tasks_lag_seconds{priority="backfill"}"#],
        90.0
    );
    assert_eq!(samples["age_gitlab_tier"], 1.0);
    assert_eq!(
        (samples["age_store_up"], samples["age_store_errors_total"]),
        (1.0, 1.0)
    );
}

#[test]
fn every_built_metric_of_the_exporter_has_an_instrument() {
    let own = own();
    own.request_twice();
    own.token_expiry(Some(UnixSeconds(1)));
    own.gitlab_info("18.5.0", "community", "https://gitlab.example.com");
    own.gitlab_tier(Tier::Free);
    own.collector_enabled("jobs", true);
    own.scrape_duration("jobs", Duration::ZERO);
    own.collection_succeeded("jobs", UnixSeconds(1), Duration::ZERO);
    own.tasks(0, 0);
    own.tasks_lag([("current", Duration::ZERO)]);
    own.projects(1, 1.0);
    own.removals_pending(0);
    own.projects_unavailable([(("jobs", "permission"), 1)]);
    own.store(true);
    own.webhook("pipeline", "accepted", 1.0);
    own.subscriptions([("standing", 1)]);
    own.subscriptions_connected("connected", 1.0);
    own.events_missed("pipelines", 1);
    let second = Some(Duration::from_secs(1));
    own.event_shown("pipelines", "webhook", second, second);
    own.subscriptions([("standing", 1)]);
    own.subscriptions_connected("welcomed", 1.0);
    own.cluster(2, 32);
    let gathered = own.gather();
    let names: Vec<&str> = gathered.iter().map(|family| family.name()).collect();
    // They describe the table's series, and it has none.
    let of_table = [
        exporter::SERIES.desc.name,
        exporter::SERIES_OVERFLOW.desc.name,
    ];
    for desc in exporter::ENTRIES.iter().filter(|desc| desc.implemented) {
        if !of_table.contains(&desc.name) {
            assert!(names.contains(&desc.name), "{}", desc.name);
        }
    }
}

#[test]
fn both_deliveries_have_the_same_metrics() {
    let own = own();
    own.request_twice();
    let gathered = own.gather();
    let mut collected: Vec<(String, &str)> = own
        .collect()
        .into_iter()
        .map(|metric| {
            let kind = match metric.data {
                Some(Data::Gauge(_)) => "gauge",
                Some(Data::Sum(sum)) if sum.is_monotonic => "counter",
                Some(Data::Histogram(_)) => "histogram",
                other => panic!("{}: {other:?}", metric.name),
            };
            (metric.name, kind)
        })
        .collect();
    collected.sort();
    let gathered: Vec<(String, &str)> = gathered
        .iter()
        .map(|family| {
            let kind = match family.get_field_type() {
                prometheus::proto::MetricType::GAUGE => "gauge",
                prometheus::proto::MetricType::COUNTER => "counter",
                prometheus::proto::MetricType::HISTOGRAM => "histogram",
                other => panic!("{}: {other:?}", family.name()),
            };
            (family.name().to_owned(), kind)
        })
        .collect();
    assert_eq!(collected, gathered);
}

#[test]
fn labels_without_bound_are_bounded() {
    let own = own();
    for i in 0..2_000 {
        own.api_retry(&format!("/endpoint/{i}"));
    }
    let samples = samples(&own);
    let retries: Vec<_> = samples
        .iter()
        .filter(|(series, _)| series.starts_with("age_api_retries_total"))
        .collect();
    assert!(retries.len() <= 502, "{}", retries.len());
    assert_eq!(
        retries.iter().map(|(_, count)| **count).sum::<f64>(),
        2_000.0
    );
}

#[test]
fn series_of_the_table_are_counted_by_metric() {
    use crate::catalogue::labels::RefSourceLabels;
    use crate::catalogue::pipelines;
    use crate::series::Update;
    use crate::types::ProjectId;

    let own = own();
    let initializations = (0..12).map(|i| {
        pipelines::RUN_COUNT.series(RefSourceLabels {
            kind: "branch".into(),
            project: "group/project".into(),
            git_ref: format!("branch-{i}").into(),
            source: "push".into(),
        })
    });
    let update = Update {
        initializations: initializations.map(|key| (ProjectId(1), key)).collect(),
        ..Update::default()
    };
    own.table.apply(update, UnixSeconds(1_800_000_000));
    let samples = samples(&own);
    let metric = r#"metric="age_pipeline_run_count""#;
    assert_eq!(samples[&format!("age_series{{{metric}}}")], 10.0);
    assert_eq!(
        samples[&format!("age_series_overflow_total{{{metric}}}")],
        2.0
    );
}
