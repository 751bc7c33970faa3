//! Open vulnerabilities by severity.

use super::convert::gid;
use super::holes::ProjectHoles;
use super::projects::{Messages, count, gids, over_projects};
use super::{Batch, queries};
use crate::gitlab::GitLab;
use crate::gitlab::error::GitLabError;
use crate::gitlab::model::{Known, Vulnerabilities};
use crate::types::ProjectId;
use queries::vulnerability_counts::{self, VulnerabilityCountsProjectsNodes as Node};

impl Messages for Vulnerabilities {}

impl GitLab {
    /// Most projects in one query for vulnerabilities.
    pub const VULNERABILITIES: usize = 50;

    /// Vulnerabilities that are detected or confirmed, of up to [`Self::VULNERABILITIES`] projects;
    /// Enterprise Edition.
    ///
    /// # Errors
    /// When nothing at all could be read; single projects that could not are in the batch.
    pub async fn vulnerability_counts(
        &self,
        ids: &[ProjectId],
    ) -> Result<Batch<Vulnerabilities>, GitLabError> {
        let variables = vulnerability_counts::Variables {
            ids: gids(ids),
            projects: count(ids.len()),
        };
        self.over_projects::<queries::VulnerabilityCounts>(ids, variables)
            .await
    }
}

over_projects!(queries::VulnerabilityCounts, vulnerability_counts, Node => Vulnerabilities, project);

fn project(node: Node, _: ProjectHoles<'_>) -> Result<Vulnerabilities, String> {
    let number = |count: Option<i64>| count.and_then(|count| u64::try_from(count).ok());
    let counts = node.vulnerability_severities_count.map(|found| {
        let all = [
            found.critical,
            found.high,
            found.medium,
            found.low,
            found.info,
            found.unknown,
        ];
        all.map(|count| number(count).unwrap_or(0))
    });
    Ok(Vulnerabilities {
        id: ProjectId(gid("id", &node.id)?),
        counts: counts.map_or(Known::Hidden, Known::Value),
    })
}
