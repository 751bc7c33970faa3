//! DORA figures by REST: one call for each tier and figure.

use serde::Deserialize;

use super::Get;
use crate::gitlab::GitLab;
use crate::gitlab::error::{Cause, GitLabError};
use crate::gitlab::model::{Days, DeploymentTier, DoraByTier, DoraFigures, sensible};
use crate::types::ProjectId;

/// Rows by interval, or the value alone: the interval `all` has been answered both ways.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum RestFigure {
    Rows(Vec<RestRow>),
    Value(Option<f64>),
}

#[derive(Deserialize)]
pub(super) struct RestRow {
    value: Option<f64>,
}

/// A figure's values, one for each row.
pub(super) struct Figure(Vec<f64>);

impl From<RestFigure> for Figure {
    fn from(raw: RestFigure) -> Self {
        let values: Vec<Option<f64>> = match raw {
            RestFigure::Rows(rows) => rows.into_iter().map(|row| row.value).collect(),
            RestFigure::Value(value) => vec![value],
        };
        Self(values.into_iter().filter_map(sensible).collect())
    }
}

/// Whether it is the endpoint's way to say that licence or role do not give it: a 401 in words of its
/// own, though the token is good.
fn is_hidden(error: &GitLabError) -> bool {
    match &error.cause {
        Cause::Forbidden(detail) => {
            !detail.starts_with("403") && !detail.starts_with("insufficient")
        }
        // Community Edition has no such endpoint.
        Cause::NotFound(..) => true,
        _ => false,
    }
}

impl GitLab {
    /// DORA figures of a project over some days (`GET /projects/:id/dora/metrics`); `None` where
    /// licence or role hide them.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn project_dora(
        &self,
        project: ProjectId,
        tiers: &[DeploymentTier],
        days: Days,
    ) -> Result<Option<DoraByTier>, GitLabError> {
        let mut all = DoraByTier::new();
        for tier in tiers {
            match self.dora_of_tier(project, *tier, days).await {
                Ok(figures) => all.insert(*tier, figures),
                Err(error) if is_hidden(&error) => return Ok(None),
                Err(error) => return Err(error),
            };
        }
        Ok(Some(all))
    }

    async fn dora_of_tier(
        &self,
        project: ProjectId,
        tier: DeploymentTier,
        days: Days,
    ) -> Result<DoraFigures, GitLabError> {
        let read = async |metric, interval| {
            let figure = self.dora_figure(project, tier, days, metric, interval);
            figure.await.map(|figure| figure.0)
        };
        // By day it is a number of deployments; over all days some releases divide, others do not.
        let deployments: f64 = read("deployment_frequency", "daily").await?.iter().sum();
        let lead_time = read("lead_time_for_changes", "all").await?;
        let mut figures = DoraFigures {
            #[expect(clippy::cast_precision_loss, reason = "days are few")]
            deployment_frequency: Some(deployments / days.count() as f64),
            lead_time: lead_time.first().copied(),
            ..DoraFigures::default()
        };
        if tier == DeploymentTier::Production {
            let restore = read("time_to_restore_service", "all").await?;
            let failures = read("change_failure_rate", "all").await?;
            figures.time_to_restore = restore.first().copied();
            figures.change_failure_rate = failures.first().copied();
        }
        Ok(figures)
    }

    async fn dora_figure(
        &self,
        project: ProjectId,
        tier: DeploymentTier,
        days: Days,
        metric: &str,
        interval: &str,
    ) -> Result<Figure, GitLabError> {
        let [first, last] = days.dates();
        let get = Get::new(
            "/projects/:id/dora/metrics",
            &["projects", &project.to_string(), "dora", "metrics"],
        )
        .with("metric", metric)
        .with("interval", interval)
        .with("environment_tiers[]", tier.as_str())
        .with("start_date", first)
        .with("end_date", last);
        self.get_one::<RestFigure, _>(&get).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::UnixSeconds;
    use crate::gitlab::rest::read_one;
    use crate::gitlab::testing::{Fake, Reply, truth};

    const DAY: i64 = 86_400;

    fn days() -> Days {
        Days {
            first: UnixSeconds(20_000 * DAY),
            last: UnixSeconds(20_009 * DAY + 5),
        }
    }

    async fn read(
        tiers: &[DeploymentTier],
        replies: Vec<Reply>,
    ) -> Result<Option<DoraByTier>, GitLabError> {
        let fake = Fake::script(replies).await;
        let gitlab = fake.gitlab();
        gitlab.project_dora(ProjectId(1), tiers, days()).await
    }

    fn json(body: &str) -> Reply {
        Reply::json(body.to_owned())
    }

    #[tokio::test]
    async fn each_figure_is_asked_for_by_itself() {
        let replies = vec![
            json(r#"[{"date":"2024-10-04","value":3},{"date":"2024-10-05","value":null}]"#),
            json(r#"[{"date":null,"value":60.5}]"#),
            json(r#"[{"date":null,"value":null}]"#),
            json("1.5"),
            json("[]"),
            json("null"),
        ];
        let tiers = [DeploymentTier::Production, DeploymentTier::Staging];
        let found = read(&tiers, replies).await.unwrap().unwrap();
        let production = DoraFigures {
            deployment_frequency: Some(0.3),
            lead_time: Some(60.5),
            time_to_restore: None,
            change_failure_rate: Some(1.5),
        };
        let staging = DoraFigures {
            deployment_frequency: Some(0.0),
            ..DoraFigures::default()
        };
        assert_eq!(found[&DeploymentTier::Production], production);
        assert_eq!(found[&DeploymentTier::Staging], staging);
    }

    #[tokio::test]
    async fn a_401_of_the_licence_is_not_one_of_the_token() {
        let tiers = [DeploymentTier::Production];
        for (status, body, hidden) in [
            (
                401,
                r#"{"message":"You do not have permission to access dora metrics."}"#,
                true,
            ),
            (
                401,
                r#"{"message":"Sie haben keine Berechtigung für die DORA-Metriken."}"#,
                true,
            ),
            (404, r#"{"error":"404 Not Found"}"#, true),
            (401, r#"{"message":"401 Unauthorized"}"#, false),
            (
                401,
                r#"{"error":"invalid_token","error_description":"Token was revoked."}"#,
                false,
            ),
            (401, "", false),
            (403, r#"{"error":"insufficient_granular_scope"}"#, false),
        ] {
            let found = read(&tiers, vec![Reply::status(status, body)]).await;
            match hidden {
                true => assert_eq!(found.unwrap(), None, "{body}"),
                false => assert!(found.is_err(), "{body}"),
            }
        }
    }

    #[test]
    fn gitlabs_samples_are_read() {
        for name in [
            "project-dora-metrics--docs.json",
            "project-dora-metrics--client-go.json",
        ] {
            let Some(file) = truth(&format!("rest/samples/{name}")) else {
                println!("skipped: {name} is not at hand");
                continue;
            };
            let body = std::fs::read(file).unwrap();
            let figure: Figure = read_one::<RestFigure, _>(&body).unwrap();
            assert_eq!(figure.0, [3.0, 6.0, 0.0, 0.0, 0.0, 0.0, 0.0, 4.0], "{name}");
        }
    }
}
