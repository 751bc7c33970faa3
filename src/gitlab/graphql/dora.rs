//! DORA figures as computed by GitLab.

use super::convert::gid;
use super::holes::ProjectHoles;
use super::projects::{Messages, count, gids, over_projects};
use super::{Batch, queries};
use crate::gitlab::GitLab;
use crate::gitlab::error::GitLabError;
use crate::gitlab::model::{Days, DeploymentTier, DoraByTier, DoraFigures, ProjectDora, sensible};
use crate::types::ProjectId;
use queries::dora_metrics::{self, DoraMetricsProjectsNodes as Node};

impl Messages for ProjectDora {}

impl GitLab {
    /// Most projects in one query for DORA figures.
    pub const DORA_PROJECTS: usize = 50;

    /// DORA figures of up to [`Self::DORA_PROJECTS`] projects over some days, at most 180 and at
    /// least two; Enterprise Edition.
    ///
    /// # Errors
    /// When nothing at all could be read; single projects that could not are in the batch.
    pub async fn dora_metrics(
        &self,
        ids: &[ProjectId],
        tiers: &[DeploymentTier],
        days: Days,
    ) -> Result<Batch<ProjectDora>, GitLabError> {
        let [first, last] = days.dates();
        let wanted = |tier| tiers.contains(&tier);
        let variables = dora_metrics::Variables {
            ids: gids(ids),
            projects: count(ids.len()),
            first,
            last,
            production: wanted(DeploymentTier::Production),
            staging: wanted(DeploymentTier::Staging),
            testing: wanted(DeploymentTier::Testing),
            development: wanted(DeploymentTier::Development),
            other: wanted(DeploymentTier::Other),
        };
        self.over_projects::<queries::DoraMetrics>(ids, variables)
            .await
    }
}

/// The figures of a tier without those of incidents.
fn deployments(rows: Vec<dora_metrics::Deployments>) -> DoraFigures {
    let row = rows.into_iter().next();
    row.map_or_else(DoraFigures::default, |row| DoraFigures {
        deployment_frequency: sensible(row.deployment_frequency),
        lead_time: sensible(row.lead_time_for_changes),
        ..DoraFigures::default()
    })
}

over_projects!(queries::DoraMetrics, dora_metrics, Node => ProjectDora, project);

fn project(node: Node, _: ProjectHoles<'_>) -> Result<ProjectDora, String> {
    let production = node.production.and_then(|dora| dora.metrics).map(|rows| {
        let row = rows.into_iter().next();
        row.map_or_else(DoraFigures::default, |row| DoraFigures {
            deployment_frequency: sensible(row.deployment_frequency),
            lead_time: sensible(row.lead_time_for_changes),
            time_to_restore: sensible(row.time_to_restore_service),
            change_failure_rate: sensible(row.change_failure_rate),
        })
    });
    let all = [
        (DeploymentTier::Production, production),
        (
            DeploymentTier::Staging,
            node.staging.and_then(|dora| dora.metrics).map(deployments),
        ),
        (
            DeploymentTier::Testing,
            node.testing.and_then(|dora| dora.metrics).map(deployments),
        ),
        (
            DeploymentTier::Development,
            node.development
                .and_then(|dora| dora.metrics)
                .map(deployments),
        ),
        (
            DeploymentTier::Other,
            node.other.and_then(|dora| dora.metrics).map(deployments),
        ),
    ];
    let shown = all.into_iter();
    let tiers: DoraByTier = shown
        .filter_map(|(tier, figures)| Some((tier, figures?)))
        .collect();
    Ok(ProjectDora {
        id: ProjectId(gid("id", &node.id)?),
        tiers: (!tiers.is_empty()).then_some(tiers),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::gitlab::graphql::{projects, read};

    fn figures(production: Value) -> Result<Option<DoraByTier>, String> {
        let body = json!({"data": {"projects": {"nodes": [
            {"id": "gid://gitlab/Project/1", "production": production, "staging": null},
        ]}, "queryComplexity": null}});
        let answer = read(body.to_string().as_bytes()).map_err(|cause| cause.to_string())?;
        let mut batch = projects::read::<queries::DoraMetrics>(&[ProjectId(1)], answer)?;
        match batch.failed.pop() {
            Some(failed) => Err(failed.why),
            None => Ok(batch.items.pop().and_then(|found| found.tiers)),
        }
    }

    #[test]
    fn what_is_hidden_is_not_nothing_and_nonsense_is_neither() {
        assert_eq!(figures(Value::Null), Ok(None));
        assert_eq!(figures(json!({"metrics": null})), Ok(None));
        let row = json!({"deploymentFrequency": 0.5, "leadTimeForChanges": null,
            "timeToRestoreService": 60, "changeFailureRate": -1});
        let found = figures(json!({"metrics": [row]})).unwrap().unwrap();
        let wanted = DoraFigures {
            deployment_frequency: Some(0.5),
            time_to_restore: Some(60.0),
            ..DoraFigures::default()
        };
        assert_eq!(
            found,
            DoraByTier::from([(DeploymentTier::Production, wanted)])
        );
        // A list without nulls: one bad row spoils the project, and REST is asked.
        let bad = json!({"deploymentFrequency": "often"});
        let why = figures(json!({"metrics": [bad]})).unwrap_err();
        assert!(why.contains("production.metrics"), "{why}");
    }
}
