//! Tries queries on one project, to see what this GitLab lacks of them.

use std::time::Duration;

use super::{Parts, Which};
use crate::clock::UnixSeconds;
use crate::gitlab::GitLab;
use crate::gitlab::error::GitLabError;
use crate::gitlab::model::{Days, DeploymentTier, RunnerType, WhichMergeRequests};
use crate::types::{ProjectId, Query};

/// How far back a query that is tried reads.
const PERIOD: Duration = Duration::from_secs(86_400);

impl GitLab {
    /// Sends queries for one project and leaves the answers unread: [`Self::losses`] has then what they
    /// lack here. What fails otherwise is no loss.
    pub async fn try_queries<'a>(
        &self,
        project: ProjectId,
        queries: impl IntoIterator<Item = &'a Query>,
        now: UnixSeconds,
    ) {
        for query in queries {
            if let Err(error) = self.try_query(project, *query, now).await {
                tracing::debug!("a query was tried: {error}");
            }
        }
    }

    async fn try_query(
        &self,
        project: ProjectId,
        query: Query,
        now: UnixSeconds,
    ) -> Result<(), GitLabError> {
        let (ids, which) = (&[project], Which::StatusSince("SUCCESS", now.minus(PERIOD)));
        match query {
            Query::Changes => self.project_changes(ids, which, 1).await.map(drop),
            Query::Permissions => self.permissions(ids).await.map(drop),
            Query::Jobs => self
                .pipeline_jobs(ids, which, Parts::WHOLE, 1)
                .await
                .map(drop),
            Query::TestReports => self.test_reports(ids, now.minus(PERIOD)).await.map(drop),
            Query::MergeRequests => {
                let asked = self.reviewed_merge_requests(ids, WhichMergeRequests::Open);
                asked.await.map(drop)
            }
            Query::Dora => {
                let days = Days {
                    first: now.minus(PERIOD),
                    last: now,
                };
                let asked = self.dora_metrics(ids, &[DeploymentTier::Production], days);
                asked.await.map(drop)
            }
            Query::ValueStreams => self.value_streams(ids, PERIOD, now).await.map(drop),
            Query::FlowTimes => self.flow_times(ids, PERIOD, now).await.map(drop),
            Query::Repositories => self.repositories(ids, false).await.map(drop),
            Query::Schedules => self.project_schedules(ids).await.map(drop),
            Query::Runners => {
                let asked = self.project_runners(ids, RunnerType::Instance);
                asked.await.map(drop)
            }
            Query::Vulnerabilities => self.vulnerability_counts(ids).await.map(drop),
        }
    }
}
