//! What a Prometheus that scrapes all replicas has seen of them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::rig::Replica;
use crate::crash::reading::{self, Rise};
use crate::support::promql::PromQl;

/// Two jobs: as documented, and each replica for itself.
pub fn scraping(replicas: &[Replica]) -> String {
    let targets: Vec<String> = replicas
        .iter()
        .map(|replica| format!("'{}'", replica.address))
        .collect();
    let targets = targets.join(", ");
    format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
- job_name: gitlab
  static_configs: [{{targets: [{targets}]}}]
  metric_relabel_configs:
{}
- job_name: each
  static_configs: [{{targets: [{targets}]}}]
",
        super::relabelling()
    )
}

/// Waits until a Prometheus has scraped every target of a job.
pub async fn looks_at(promql: &PromQl, job: &str) {
    crate::support::until("Prometheus scrapes", async || {
        let up = promql
            .value(&format!("min(up{{job=\"{job}\"}})"), None)
            .await;
        (up == Some(1.0)).then_some(()).ok_or(format!("{up:?}"))
    })
    .await;
}

/// Waits until Prometheus has so many events.
pub async fn agrees(
    promql: &PromQl,
    events: f64,
) -> Vec<((String, BTreeMap<String, String>), Rise)> {
    let start = Instant::now();
    loop {
        let seen = of_prometheus(promql).await;
        let all: f64 = seen.iter().map(|(_, rise)| rise.first + rise.rises).sum();
        if (all - events).abs() < 0.5 || start.elapsed() > Duration::from_secs(30) {
            return seen;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Every series that is counted, as Prometheus has it over all replicas.
async fn of_prometheus(promql: &PromQl) -> Vec<((String, BTreeMap<String, String>), Rise)> {
    let mut all = Vec::new();
    for metric in crate::ledger::COUNTED {
        let selector = format!("{}{{job=\"gitlab\"}}[2h]", reading::sample_name(metric));
        for mut series in promql.raw(&selector).await {
            let rise = reading::rise(&series);
            for foreign in ["__name__", "instance", "job"] {
                series.metric.remove(foreign);
            }
            all.push((((*metric).to_owned(), series.metric), rise));
        }
    }
    all
}

/// What each replica showed of a series: values from when to when, in seconds after `since`.
pub async fn history(
    promql: &PromQl,
    (metric, labels): &(String, BTreeMap<String, String>),
    since: f64,
) -> String {
    let matchers: Vec<String> = labels
        .iter()
        .map(|(name, value)| format!("{name}={value:?}"))
        .collect();
    let metric = reading::sample_name(metric);
    let selector = format!("{metric}{{job=\"each\",{}}}[2h]", matchers.join(","));
    let mut all = String::new();
    for series in promql.raw(&selector).await {
        all += "\n   ";
        all += series.metric.get("instance").map_or("", String::as_str);
        let mut stretches: Vec<(f64, f64, f64)> = Vec::new();
        for (time, value) in series.times().zip(series.values()) {
            let time = time - since;
            match stretches.last_mut() {
                Some((_, end, before))
                    if value.to_bits() == before.to_bits() && time < *end + 2.0 =>
                {
                    *end = time;
                }
                _ => stretches.push((time, time, value)),
            }
        }
        for (begin, end, value) in stretches {
            all += &format!(" {value} {begin:.1}..{end:.1}");
        }
    }
    all
}

/// Series that two replicas showed within the same two seconds: one, the other, and the first again.
pub async fn shown_twice(promql: &PromQl) -> Vec<String> {
    let mut twice = Vec::new();
    for metric in [
        "age_pipeline_run_count",
        "age_pipeline_id",
        "age_job_run_count",
    ] {
        let mut samples = BTreeMap::<String, Vec<(f64, String)>>::new();
        for mut series in promql.raw(&format!("{metric}{{job=\"each\"}}[2h]")).await {
            let instance = series.metric.remove("instance").unwrap_or_default();
            let times = series.times().map(|time| (time, instance.clone()));
            let all = samples.entry(format!("{:?}", series.metric)).or_default();
            all.extend(times);
        }
        for (series, mut times) in samples {
            times.sort_by(|one, other| one.0.total_cmp(&other.0));
            let again = times.windows(3).find(|three| {
                three[0].1 == three[2].1
                    && three[0].1 != three[1].1
                    && three[2].0 - three[0].0 < 2.0
            });
            if let Some(again) = again {
                twice.push(format!("{series}: {again:?}"));
            }
        }
    }
    twice
}

/// A time by the clock of the machine and Prometheus, in seconds.
#[expect(
    clippy::disallowed_methods,
    reason = "it is compared with the times of Prometheus"
)]
pub fn machine_time() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("a time after 1970").as_secs_f64()
}

/// The longest time between two reads of a project, less what of it lies in these times without Redis, in
/// which nobody may show anything. By Prometheus's clock: those of replicas may be off.
pub async fn unread(promql: &PromQl, without_redis: &[Range<f64>]) -> Duration {
    let selector = "age_project_last_success_timestamp{job=\"gitlab\"}[2h]";
    let mut longest = 0.0_f64;
    for series in promql.raw(selector).await {
        let mut last = None;
        for (time, value) in series.times().zip(series.values()) {
            let (since, before) = last.unwrap_or((time, value));
            if (value - before).abs() > 0.0 || last.is_none() {
                let shared = |away: &Range<f64>| time.min(away.end) - since.max(away.start);
                let excused: f64 = without_redis.iter().map(|it| shared(it).max(0.0)).sum();
                longest = longest.max(time - since - excused);
                last = Some((time, value));
            }
        }
    }
    Duration::from_secs_f64(longest)
}
