//! Open vulnerabilities by severity.

use super::changes::count;
use super::convert::{gid, project_gid};
use super::holes::Partial;
use super::{Batch, Messages, queries};
use crate::gitlab::GitLab;
use crate::gitlab::error::GitLabError;
use crate::gitlab::model::Known;
use crate::gitlab::repository::Vulnerabilities;
use crate::types::ProjectId;
use queries::vulnerability_counts;

impl Messages for Vulnerabilities {
    fn messages(&mut self, _: &mut dyn FnMut(&mut Vec<String>)) {}
}

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
            ids: ids.iter().copied().map(project_gid).collect(),
            projects: count(ids.len()),
        };
        let answer = self
            .query::<queries::VulnerabilityCounts>(variables)
            .await?;
        batch(ids, answer)
            .map_err(|why| self.query_error("VulnerabilityCounts", &why))
            .map(|batch| self.tidy("VulnerabilityCounts", batch))
    }
}

pub(super) fn batch(
    ids: &[ProjectId],
    answer: Partial<vulnerability_counts::ResponseData>,
) -> Result<Batch<Vulnerabilities>, String> {
    let nodes = answer.data.projects.and_then(|projects| projects.nodes);
    answer.holes.split(
        ids,
        nodes.unwrap_or_default(),
        |node| &node.id,
        |node, _| {
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
        },
    )
}
