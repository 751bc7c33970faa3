//! DORA figures by the rules of GitLab's aggregator: one row for each environment and day, and
//! figures over intervals made from the rows.

use std::collections::BTreeMap;

use super::Delivery;
use super::model::{DeploymentStatus, EnvironmentTier};
use crate::time::{DAY, Millis, SECOND};
use crate::world::model::ProjectId;
use crate::world::{Result, World, WorldError};

/// How rows are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DoraInterval {
    /// All of them.
    All,
    /// By month.
    Monthly,
    /// By day.
    Daily,
}

/// Figures of an interval.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DoraRow {
    /// First day of the interval; `None` for [`DoraInterval::All`].
    pub date: Option<String>,
    /// Successful deployments; by day their number, else per day.
    pub deployment_frequency: Option<f64>,
    /// Seconds.
    pub lead_time_for_changes: Option<f64>,
    /// Seconds.
    pub time_to_restore_service: Option<f64>,
    /// Ratio.
    pub change_failure_rate: Option<f64>,
    /// GitLab keeps figures of some day in it.
    pub kept: bool,
}

/// A line of `dora_daily_metrics`: an environment's day.
#[derive(Clone, Debug, Default)]
struct Daily {
    deployments: u32,
    lead: Option<f64>,
    restore: Option<f64>,
    incidents: Option<u32>,
}

/// `percentile_cont(0.5)`.
fn percentile(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    let position = 0.5 * last as f64;
    let (low, high) = (position.floor() as usize, position.ceil() as usize);
    let part = position - position.floor();
    Some(values[low] + (values[high] - values[low]) * part)
}

fn seconds(span: Millis) -> f64 {
    span.max(0) as f64 / SECOND as f64
}

impl World {
    /// The figures of a project over the days from `start` to `end`, both included (times within
    /// the days), for the environments of some tiers together.
    #[must_use]
    pub fn dora(
        &self,
        project: ProjectId,
        start: Millis,
        end: Millis,
        interval: DoraInterval,
        tiers: &[EnvironmentTier],
    ) -> Vec<DoraRow> {
        let Some(delivery) = self.delivery(project) else {
            return Vec::new();
        };
        let days = start.div_euclid(DAY)..=end.div_euclid(DAY);
        let production = tiers.contains(&EnvironmentTier::Production);
        let mut rows: BTreeMap<i64, Vec<Daily>> = BTreeMap::new();
        for environment in delivery.environments.values() {
            if !tiers.contains(&environment.tier) {
                continue;
            }
            for day in days.clone() {
                let row = self.daily(project, delivery, environment.id, environment.tier, day);
                rows.entry(day).or_default().extend(row);
            }
        }
        if interval == DoraInterval::Daily {
            return days
                .map(|day| {
                    let found = rows.remove(&day).unwrap_or_default();
                    DoraRow {
                        date: Some(crate::time::date(day * DAY)),
                        ..aggregate(&found, None, production)
                    }
                })
                .collect();
        }
        let month = |day: i64| match interval {
            DoraInterval::Monthly => {
                let date = crate::time::date(day * DAY);
                Some(format!("{}-01", date.get(..7).unwrap_or_default()))
            }
            _ => None,
        };
        let mut groups: BTreeMap<Option<String>, (i64, Vec<Daily>)> = BTreeMap::new();
        for day in days {
            let group = groups.entry(month(day)).or_default();
            group.0 += 1;
            group.1.extend(rows.remove(&day).unwrap_or_default());
        }
        groups
            .into_iter()
            .map(|(date, (count, found))| DoraRow {
                date,
                ..aggregate(&found, Some(count), production)
            })
            .collect()
    }

    /// The row of an environment's day; there is none where nothing happened.
    fn daily(
        &self,
        project: ProjectId,
        delivery: &Delivery,
        environment: u64,
        tier: EnvironmentTier,
        day: i64,
    ) -> Option<Daily> {
        let within = |at: Option<Millis>| at.is_some_and(|at| at.div_euclid(DAY) == day);
        let merge_requests = &self.project(project)?.merge_requests;
        let shipped: Vec<_> = delivery
            .deployments
            .values()
            .filter(|deployment| {
                deployment.environment_id == environment
                    && deployment.status == DeploymentStatus::Success
                    && within(deployment.finished_at)
            })
            .collect();
        let leads = shipped.iter().flat_map(|deployment| {
            deployment.merge_requests.iter().filter_map(|iid| {
                let merged = merge_requests.get(iid)?.merged_at?;
                Some(seconds(deployment.finished_at? - merged))
            })
        });
        let mut row = Daily {
            deployments: u32::try_from(shipped.len()).unwrap_or(u32::MAX),
            lead: percentile(leads.collect()).map(f64::round_ties_even),
            ..Daily::default()
        };
        let mut any = row.deployments > 0;
        if tier == EnvironmentTier::Production {
            let closed = delivery.incidents.values().filter(|i| within(i.closed_at));
            let lives = closed.filter_map(|i| Some(seconds(i.closed_at? - i.created_at)));
            row.restore = percentile(lives.collect()).map(f64::round_ties_even);
            let opened = delivery
                .incidents
                .values()
                .filter(|i| i.duplicate_of.is_none() && within(Some(i.created_at)))
                .count();
            row.incidents = Some(u32::try_from(opened).unwrap_or(u32::MAX));
            any = any || row.restore.is_some() || opened > 0;
        }
        match delivery.aggregated_since {
            None => any.then_some(row),
            Some(since) => since
                .filter(|since| since.div_euclid(DAY) <= day)
                .map(|_| row),
        }
    }

    /// Says from when on GitLab has kept daily figures of a project, whether something happened on a day
    /// or not; `None`: it never has. Otherwise it keeps those of the days on which something happened.
    ///
    /// # Errors
    /// If there is no such project.
    pub fn aggregate_dora(&mut self, project: ProjectId, since: Option<Millis>) -> Result<()> {
        let missing = WorldError::not_found("project", project);
        let delivery = self.deliveries.projects.get_mut(&project);
        delivery.ok_or(missing)?.aggregated_since = Some(since);
        Ok(())
    }
}

/// `days`: how many calendar days the rows stand for, where their deployments are shown per day.
fn aggregate(rows: &[Daily], days: Option<i64>, production: bool) -> DoraRow {
    if rows.is_empty() {
        return DoraRow::default();
    }
    let deployments: u32 = rows.iter().map(|row| row.deployments).sum();
    let incidents: u32 = rows.iter().filter_map(|row| row.incidents).sum();
    let count = f64::from(deployments);
    DoraRow {
        kept: true,
        date: None,
        deployment_frequency: Some(days.map_or(count, |days| count / days as f64)),
        lead_time_for_changes: percentile(rows.iter().filter_map(|row| row.lead).collect()),
        time_to_restore_service: percentile(rows.iter().filter_map(|row| row.restore).collect()),
        change_failure_rate: production.then(|| f64::from(incidents) / count.max(1.0)),
    }
}
