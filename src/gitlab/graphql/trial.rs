//! Tries queries on one project, to see what this GitLab lacks of them.

use std::time::Duration;

use super::{Parts, Which};
use crate::clock::UnixSeconds;
use crate::gitlab::GitLab;
use crate::gitlab::error::GitLabError;
use crate::gitlab::model::{Days, DeploymentTier, RunnerType, WhichMergeRequests};
use crate::types::ProjectId;

/// How far back a query that is tried reads.
const PERIOD: Duration = Duration::from_secs(86_400);

/// A query to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named after what it reads")]
pub enum Trial {
    Changes,
    Permissions,
    Jobs,
    TestReports,
    MergeRequests,
    Dora,
    ValueStreams,
    FlowTimes,
    Repositories,
    Schedules,
    Runners,
    Vulnerabilities,
}

impl Trial {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Changes,
        Self::Permissions,
        Self::Jobs,
        Self::TestReports,
        Self::MergeRequests,
        Self::Dora,
        Self::ValueStreams,
        Self::FlowTimes,
        Self::Repositories,
        Self::Schedules,
        Self::Runners,
        Self::Vulnerabilities,
    ];

    /// Whether only the Enterprise Edition has what it asks for.
    #[must_use]
    pub const fn is_enterprise(self) -> bool {
        matches!(self, Self::Dora | Self::FlowTimes | Self::Vulnerabilities)
    }
}

impl GitLab {
    /// Sends queries for one project and leaves the answers unread: [`Self::losses`] has then what they
    /// lack here. What fails otherwise is no loss.
    pub async fn try_queries<'a>(
        &self,
        project: ProjectId,
        queries: impl IntoIterator<Item = &'a Trial>,
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
        query: Trial,
        now: UnixSeconds,
    ) -> Result<(), GitLabError> {
        let (ids, which) = (&[project], Which::StatusSince("SUCCESS", now.minus(PERIOD)));
        match query {
            Trial::Changes => self.project_changes(ids, which, 1).await.map(drop),
            Trial::Permissions => self.permissions(ids).await.map(drop),
            Trial::Jobs => self
                .pipeline_jobs(ids, which, Parts::WHOLE, 1)
                .await
                .map(drop),
            Trial::TestReports => self.test_reports(ids, now.minus(PERIOD)).await.map(drop),
            Trial::MergeRequests => {
                let asked = self.reviewed_merge_requests(ids, WhichMergeRequests::Open);
                asked.await.map(drop)
            }
            Trial::Dora => {
                let days = Days {
                    first: now.minus(PERIOD),
                    last: now,
                };
                let asked = self.dora_metrics(ids, &[DeploymentTier::Production], days);
                asked.await.map(drop)
            }
            Trial::ValueStreams => self.value_streams(ids, PERIOD, now).await.map(drop),
            Trial::FlowTimes => self.flow_times(ids, PERIOD, now).await.map(drop),
            Trial::Repositories => self.repositories(ids).await.map(drop),
            Trial::Schedules => self.project_schedules(ids).await.map(drop),
            Trial::Runners => {
                let asked = self.project_runners(ids, RunnerType::Instance);
                asked.await.map(drop)
            }
            Trial::Vulnerabilities => self.vulnerability_counts(ids).await.map(drop),
        }
    }
}
