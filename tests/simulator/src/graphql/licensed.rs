//! Enterprise features, as far as a client probes them for the licence: what is not licensed is null,
//! without an error.

use async_graphql::{Context, Object, Result, SimpleObject};

use super::Asked;
use super::scalars::{Date, DeploymentTier, DoraMetricBucketingInterval, LicensedFeature, Time};
use crate::access::Right;
use crate::auth::AccessLevel;
use crate::time::{self, DAY, Millis};
use crate::world::{DoraInterval, DoraRow, EnvironmentTier, FlowIssue, ProjectId, Tier};

/// DORA metrics of a project; Ultimate.
pub struct Dora(pub ProjectId);

/// One bucket.
#[derive(SimpleObject)]
pub struct DoraMetric {
    date: Option<String>,
    deployment_frequency: Option<f64>,
    lead_time_for_changes: Option<f64>,
    time_to_restore_service: Option<f64>,
    change_failure_rate: Option<f64>,
}

impl From<DoraRow> for DoraMetric {
    fn from(row: DoraRow) -> Self {
        Self {
            date: row.date,
            deployment_frequency: row.deployment_frequency,
            lead_time_for_changes: row.lead_time_for_changes,
            time_to_restore_service: row.time_to_restore_service,
            change_failure_rate: row.change_failure_rate,
        }
    }
}

/// Flow metrics of a project; partly Premium.
pub struct ProjectValueStreamAnalyticsFlowMetrics(pub ProjectId);

/// One figure.
#[derive(SimpleObject)]
pub struct ValueStreamAnalyticsMetric {
    identifier: String,
    title: String,
    unit: Option<String>,
    value: Option<f64>,
}

/// Whether the project's licence and the viewer's role allow it; without the quirk a missing licence is
/// an error.
fn allowed(ctx: &Context<'_>, project: ProjectId, tier: Tier) -> Result<bool> {
    let asked = Asked::of(ctx);
    let world = asked.world();
    let Some(found) = world.project(project) else {
        return Ok(false);
    };
    if world.tier_of(found) < tier && !asked.quirks.unlicensed_null {
        return Err("The resource that you are attempting to access is not licensed".into());
    }
    let reads = match tier {
        Tier::Ultimate => {
            asked.viewer.is_admin() || asked.viewer.role(project) >= AccessLevel::Reporter
        }
        _ => asked.viewer.may(found, Right::Analytics),
    };
    Ok(world.tier_of(found) >= tier && reads)
}

#[Object]
impl Dora {
    async fn metrics(
        &self,
        ctx: &Context<'_>,
        start_date: Option<Date>,
        end_date: Option<Date>,
        interval: Option<DoraMetricBucketingInterval>,
        environment_tiers: Option<Vec<DeploymentTier>>,
    ) -> Result<Option<Vec<DoraMetric>>> {
        if !allowed(ctx, self.0, Tier::Ultimate)? {
            return Ok(None);
        }
        let world = Asked::of(ctx).world();
        let read = |date: Option<Date>| date.and_then(|date| time::parse(&date.0));
        let end = read(end_date).unwrap_or(world.now());
        let start = read(start_date).unwrap_or_else(|| time::months_before(end, 3));
        if end - start > 180 * DAY || start >= end {
            return Err("The date range is not valid.".into());
        }
        let interval = match interval.as_ref().map(|interval| &*interval.0) {
            Some("ALL") => DoraInterval::All,
            Some("MONTHLY") => DoraInterval::Monthly,
            _ => DoraInterval::Daily,
        };
        let tiers: Vec<EnvironmentTier> = environment_tiers
            .unwrap_or_else(|| vec!["PRODUCTION".into()])
            .iter()
            .filter_map(|tier| EnvironmentTier::parse(&tier.0))
            .collect();
        let rows = world.dora(self.0, start, end, interval, &tiers);
        Ok(Some(rows.into_iter().map(DoraMetric::from).collect()))
    }
}

/// Whether a project's licence holds a feature.
#[derive(SimpleObject)]
pub struct LicensedFeatureAvailability {
    available: bool,
}

impl LicensedFeatureAvailability {
    /// Whether a project's does.
    pub(super) fn of(asked: &Asked, project: ProjectId, feature: &LicensedFeature) -> Self {
        let world = asked.world();
        let needed = match &*feature.0 {
            "CYCLE_ANALYTICS_FOR_PROJECTS" => Tier::Premium,
            _ => Tier::Ultimate,
        };
        let found = world.project(project);
        let available = found.is_some_and(|found| world.tier_of(found) >= needed);
        Self { available }
    }
}

impl ValueStreamAnalyticsMetric {
    /// A figure.
    pub fn new(identifier: &str, title: &str, unit: Option<&str>, value: Option<f64>) -> Self {
        Self {
            identifier: identifier.to_owned(),
            title: title.to_owned(),
            unit: unit.map(ToOwned::to_owned),
            value,
        }
    }
}

/// The median time from a moment of an issue to its closing, in days with two digits.
fn days(
    ctx: &Context<'_>,
    project: ProjectId,
    (identifier, title): (&str, &str),
    (from, to): (&Time, &Time),
    start: impl Fn(&FlowIssue) -> Option<Millis>,
) -> ValueStreamAnalyticsMetric {
    let world = Asked::of(ctx).world();
    let code = world.code(project).filter(|_| world.issues_aggregated);
    let median = code.and_then(|code| code.issue_median((from.at, to.at), start));
    let value = median.map(|median| (median / DAY as f64 * 100.0).round() / 100.0);
    ValueStreamAnalyticsMetric::new(identifier, title, Some("days"), value)
}

#[Object]
impl ProjectValueStreamAnalyticsFlowMetrics {
    async fn lead_time(
        &self,
        ctx: &Context<'_>,
        from: Time,
        to: Time,
    ) -> Result<Option<ValueStreamAnalyticsMetric>> {
        let names = ("lead_time", "Lead time");
        Ok(allowed(ctx, self.0, Tier::Premium)?.then(|| {
            days(ctx, self.0, names, (&from, &to), |issue| {
                Some(issue.created_at)
            })
        }))
    }

    async fn cycle_time(
        &self,
        ctx: &Context<'_>,
        from: Time,
        to: Time,
    ) -> Result<Option<ValueStreamAnalyticsMetric>> {
        let names = ("cycle_time", "Cycle time");
        Ok(allowed(ctx, self.0, Tier::Premium)?
            .then(|| days(ctx, self.0, names, (&from, &to), |issue| issue.mentioned_at)))
    }

    async fn issue_count(
        &self,
        ctx: &Context<'_>,
        from: Time,
        to: Time,
    ) -> Result<Option<ValueStreamAnalyticsMetric>> {
        let _ = (from, to);
        let none = ValueStreamAnalyticsMetric {
            identifier: "issues".to_owned(),
            title: "New issues".to_owned(),
            unit: None,
            value: Some(0.0),
        };
        Ok(allowed(ctx, self.0, Tier::Free)?.then_some(none))
    }
}
