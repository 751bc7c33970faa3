//! Bounds of plausible values: others are dropped and counted. A sum would keep one absurd value as long as
//! its series lives.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::catalogue::{Collector, Desc, LabelValues, Measurement};
use crate::clock::UnixSeconds;
use crate::collector::Measured;
use crate::observer::Observer;

/// The `error_type` of dropped values.
pub(crate) const IMPLAUSIBLE: &str = "implausible";

/// 2000-01-01: no GitLab is older.
const EARLIEST: UnixSeconds = UnixSeconds(946_684_800);
/// How far the clock of GitLab may be ahead.
const AHEAD: Duration = Duration::from_secs(24 * 3600);
/// A hundred years, in seconds.
const LONGEST: f64 = 100.0 * 365.25 * 24.0 * 3600.0;
/// Beyond this nothing is counted or stored.
const MOST: f64 = 1e18;
/// Most bytes of a label's value: no name, path or address in GitLab is as long.
const MAX_LABEL: usize = 65_536;
/// Timestamps in the future.
const FUTURE: [&str; 1] = ["age_pipeline_schedule_next_run_timestamp"];

/// Metrics with dropped values: each is logged once.
#[derive(Debug, Default)]
pub(super) struct Reported(Mutex<BTreeSet<&'static str>>);

impl Reported {
    /// The plausible values of what a collector measured of a project; the others are counted.
    pub(super) fn filter(
        &self,
        (observer, collector, project): (&dyn Observer, Collector, &str),
        measured: Measured,
        now: UnixSeconds,
    ) -> Measured {
        let is_plausible = |desc: &'static Desc, labels: &LabelValues, value: Option<f64>| {
            let Some(reason) = implausible(desc, labels, value, now) else {
                return true;
            };
            observer.failed(collector.into(), IMPLAUSIBLE);
            let mut reported = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if reported.insert(desc.name) {
                tracing::warn!(
                    metric = desc.name,
                    project,
                    reason,
                    "implausible value dropped; others of this metric are only counted"
                );
            }
            false
        };
        let mut measured = measured;
        let of_measurement =
            |one: &Measurement| is_plausible(one.desc, &one.labels, Some(one.value));
        measured.events.retain(of_measurement);
        measured.states.retain(of_measurement);
        measured
            .initializations
            .retain(|key| is_plausible(key.desc, &key.labels, None));
        measured
    }
}

/// Why a value or its labels are implausible.
fn implausible(
    desc: &Desc,
    labels: &LabelValues,
    value: Option<f64>,
    now: UnixSeconds,
) -> Option<String> {
    let mut named = desc.labels.iter().zip(labels);
    if let Some((name, text)) = named.find(|(_, text)| text.len() > MAX_LABEL) {
        let bytes = text.len();
        return Some(format!(
            "label {name} has {bytes} bytes, maximum {MAX_LABEL}"
        ));
    }
    let value = value?;
    let (least, most) = bounds(desc, now);
    // NaN is in no bounds.
    let is_within = (least..=most).contains(&value);
    (!is_within).then(|| format!("{value} is not between {least} and {most}"))
}

/// The plausible values of a metric.
fn bounds(desc: &Desc, now: UnixSeconds) -> (f64, f64) {
    // 0 where there was none.
    if desc.collector == Collector::Compat && desc.name.ends_with("_timestamp") {
        return (0.0, now.as_f64() + AHEAD.as_secs_f64());
    }
    if desc.name.ends_with("_timestamp") {
        let latest = match FUTURE.contains(&desc.name) {
            true => LONGEST,
            false => AHEAD.as_secs_f64(),
        };
        return (EARLIEST.as_f64(), now.as_f64() + latest);
    }
    match desc.unit {
        "s" => (0.0, LONGEST),
        "%" => (0.0, 100.0),
        _ => (0.0, MOST),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::catalogue::{self, Activity, SeriesKey};

    const NOW: UnixSeconds = UnixSeconds(1_767_600_000);

    #[derive(Default)]
    struct Counting(AtomicUsize);

    impl Observer for Counting {
        fn ran(&self, _: Activity, _: Duration) {}
        fn succeeded(&self, _: Activity, _: UnixSeconds, _: Option<Duration>) {}
        fn tasks(&self, _: usize, _: usize) {}
        fn projects(&self, _: usize, _: f64) {}
        fn store(&self, _: bool) {}

        fn failed(&self, activity: Activity, kind: &'static str) {
            assert_eq!((activity.as_str(), kind), ("jobs", IMPLAUSIBLE));
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn desc(name: &str) -> &'static Desc {
        catalogue::all().find(|desc| desc.name == name).unwrap()
    }

    fn measurement(name: &str, value: f64) -> Measurement {
        let desc = desc(name);
        Measurement {
            desc,
            labels: desc.labels.iter().map(|_| "x".into()).collect(),
            value,
        }
    }

    #[test]
    fn values_are_plausible_within_bounds() {
        let day = 24.0 * 3600.0;
        let now = NOW.as_f64();
        for (name, value, plausible) in [
            ("age_job_queued_duration_seconds", 3600.0, true),
            ("age_job_queued_duration_seconds", 0.0, true),
            ("age_job_queued_duration_seconds", 1e308, false),
            ("age_job_queued_duration_seconds", -1.0, false),
            ("age_job_queued_duration_seconds", f64::NAN, false),
            ("age_job_queued_duration_seconds", f64::INFINITY, false),
            ("age_pipeline_coverage", 0.0, true),
            ("age_pipeline_coverage", 100.0, true),
            ("age_pipeline_coverage", -1.0, false),
            ("age_pipeline_coverage", 101.0, false),
            ("age_job_created_timestamp", now, true),
            ("age_job_created_timestamp", now + day, true),
            ("age_job_created_timestamp", now + day + 1.0, false),
            ("age_job_created_timestamp", 946_684_799.0, false),
            (
                "age_pipeline_schedule_next_run_timestamp",
                now + 400.0 * day,
                true,
            ),
            ("age_repository_size_bytes", 1e15, true),
            ("age_repository_size_bytes", -1.0, false),
            ("age_repository_size_bytes", 1e300, false),
        ] {
            let one = measurement(name, value);
            let reason = implausible(one.desc, &one.labels, Some(value), NOW);
            assert_eq!(reason.is_none(), plausible, "{name} {value}: {reason:?}");
        }
    }

    #[test]
    fn implausible_values_are_dropped_and_counted() {
        let mut long = measurement("age_job_id", 1.0);
        long.labels[0] = "x".repeat(1 << 20).into();
        let measured = Measured {
            events: vec![
                measurement("age_job_queued_duration_seconds", 1e308),
                measurement("age_job_queued_duration_seconds", 5.0),
            ],
            initializations: vec![SeriesKey {
                desc: long.desc,
                labels: long.labels.clone(),
            }],
            states: vec![long, measurement("age_job_id", 2.0)],
        };
        let observer = Arc::new(Counting::default());
        let reported = Reported::default();
        let of = (&*observer as &dyn Observer, Collector::Jobs, "group/app");
        let kept = reported.filter(of, measured, NOW);
        let values = |all: &[Measurement]| all.iter().map(|one| one.value).collect::<Vec<_>>();
        assert_eq!(values(&kept.events), [5.0]);
        assert_eq!(values(&kept.states), [2.0]);
        assert!(kept.initializations.is_empty());
        assert_eq!(observer.0.load(Ordering::Relaxed), 3);
        assert_eq!(reported.0.lock().unwrap().len(), 2);
    }
}
