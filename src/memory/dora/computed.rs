//! GitLab's definitions of the four figures, as pure arithmetic
//! (<https://docs.gitlab.com/user/analytics/dora_metrics/>; in GitLab `Dora::DailyMetrics`).
//!
//! GitLab keeps a row for each environment and day and makes its figures from the rows, which is why
//! medians are medians of daily medians. Days are UTC days here; GitLab takes the days of the
//! instance's time zone, which is UTC unless its administrator changed it.

use std::collections::BTreeMap;

use super::{Deployed, Life};
use crate::clock::UnixSeconds;
use crate::gitlab::model::{Days, DoraFigures};

/// Days that the figures look back on, the current one included.
pub const PERIOD_DAYS: i64 = 30;
pub(crate) const DAY_SECONDS: i64 = 86_400;

/// The days that figures are made of: whole UTC days, the last of them not over yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    pub(crate) first: i64,
    pub(crate) last: i64,
}

impl Period {
    /// The [`PERIOD_DAYS`] that end with the day of `now`.
    #[must_use]
    pub const fn ending(now: UnixSeconds) -> Self {
        let last = now.day();
        Self {
            first: last - PERIOD_DAYS + 1,
            last,
        }
    }

    /// When it begins.
    #[must_use]
    pub const fn start(self) -> UnixSeconds {
        UnixSeconds(self.first * DAY_SECONDS)
    }

    /// Its days, as GitLab is asked for them.
    #[must_use]
    pub const fn days(self) -> Days {
        Days {
            first: self.start(),
            last: UnixSeconds(self.last * DAY_SECONDS),
        }
    }

    /// Whether a time is on one of its days.
    #[must_use]
    pub const fn has(self, at: UnixSeconds) -> bool {
        let day = at.day();
        self.first <= day && day <= self.last
    }
}

/// `percentile_cont(0.5)`: the middle value, or the mean of the two in the middle.
#[must_use]
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = *values.get(values.len() / 2 - 1)?;
    Some(lower + (upper - lower) * 0.5)
}

/// The median of the rows' medians; rows are days, or environments' days.
#[must_use]
pub fn median_of_medians<Row: Ord>(values: impl Iterator<Item = (Row, f64)>) -> Option<f64> {
    let mut rows: BTreeMap<Row, Vec<f64>> = BTreeMap::new();
    for (row, value) in values {
        rows.entry(row).or_default().push(value);
    }
    median(rows.into_values().filter_map(median).collect())
}

/// Frequency and lead time of successful deployments of one tier. The lead time is left out while it
/// is not known of each of them what it shipped.
#[must_use]
pub fn of_deployments<'a>(
    deployments: impl Iterator<Item = &'a Deployed>,
    period: Period,
) -> DoraFigures {
    let within: Vec<_> = deployments
        .filter(|deployed| period.has(deployed.finished_at))
        .collect();
    let leads = within.iter().flat_map(|deployed| {
        let row = (deployed.environment, deployed.finished_at.day());
        let leads = deployed.shipped.leads();
        leads.iter().map(move |lead| (row, f64::from(*lead)))
    });
    let is_known = within.iter().all(|deployed| deployed.shipped.was_asked());
    DoraFigures {
        deployment_frequency: Some(count(within.len()) / count(period.days().count())),
        lead_time: is_known.then(|| median_of_medians(leads)).flatten(),
        ..DoraFigures::default()
    }
}

/// Adds what incidents show about production with that many successful deployments.
///
/// An incident counts once, as GitLab documents it. GitLab itself counts it again for a further
/// production environment that was deployed to later on the same day, which is not meant.
pub fn add_incidents<'a>(
    figures: &mut DoraFigures,
    incidents: impl Iterator<Item = &'a Life>,
    period: Period,
) {
    let incidents: Vec<_> = incidents.collect();
    let lives = incidents.iter().filter_map(|life| {
        let end = life.closed_at.filter(|end| period.has(*end))?;
        Some((end.day(), end.since(life.created_at).as_secs_f64()))
    });
    figures.time_to_restore = median_of_medians(lives);
    let created = incidents
        .iter()
        .filter(|life| !life.duplicate && period.has(life.created_at))
        .count();
    let frequency = figures.deployment_frequency.unwrap_or(0.0);
    let deployments = (frequency * count(period.days().count())).round();
    // Where nothing happened GitLab has no row, and nothing failed of nothing is no rate.
    let any = deployments > 0.0 || created > 0 || figures.time_to_restore.is_some();
    figures.change_failure_rate = any.then(|| count(created) / deployments.max(1.0));
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
pub(crate) fn count(number: impl TryInto<i64>) -> f64 {
    number.try_into().unwrap_or(i64::MAX) as f64
}
