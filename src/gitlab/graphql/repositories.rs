//! Repositories: sizes, languages, counts, releases.

use super::convert::{gid, maybe_time, natural};
use super::holes::ProjectHoles;
use super::projects::{Messages, count, gids, over_projects};
use super::{Batch, queries};
use crate::gitlab::GitLab;
use crate::gitlab::error::GitLabError;
use crate::gitlab::model::{Known, Language, RefCounts, Releases, RepositoryInfo, Statistics};
use crate::types::{ProjectId, Text};
use queries::ref_counts::{self, RefCountsProjectsNodes as CountsNode};
use queries::repositories::{self, RepositoriesProjectsNodes as Node};

/// Releases read to find the newest that is not upcoming.
const RELEASES: i64 = 10;

impl Messages for RepositoryInfo {}

/// A project's branches and tags; `None` where the repository is hidden or missing.
pub type CountedRefs = (ProjectId, Option<RefCounts>);

impl Messages for CountedRefs {}

impl GitLab {
    /// Most projects in one query for repositories.
    pub const REPOSITORIES: usize = 50;

    /// Repositories of up to [`Self::REPOSITORIES`] projects, with their `topics` or without; branches and tags are
    /// left open.
    ///
    /// # Errors
    /// When nothing at all could be read; single projects that could not are in the batch.
    pub async fn repositories(
        &self,
        ids: &[ProjectId],
        topics: bool,
    ) -> Result<Batch<RepositoryInfo>, GitLabError> {
        let variables = repositories::Variables {
            topics,
            ids: gids(ids),
            projects: count(ids.len()),
            releases: RELEASES,
        };
        self.over_projects::<queries::Repositories>(ids, variables)
            .await
    }

    /// Branches and tags of up to [`Self::REPOSITORIES`] projects; GitLab 18.6 and later.
    ///
    /// # Errors
    /// When nothing at all could be read; single projects that could not are in the batch.
    pub async fn ref_counts(&self, ids: &[ProjectId]) -> Result<Batch<CountedRefs>, GitLabError> {
        let variables = ref_counts::Variables {
            ids: gids(ids),
            projects: count(ids.len()),
        };
        self.over_projects::<queries::RefCounts>(ids, variables)
            .await
    }
}

over_projects!(queries::Repositories, repositories, Node => RepositoryInfo, convert);

over_projects!(queries::RefCounts, ref_counts, CountsNode => CountedRefs, counts);

fn counts(node: CountsNode, _: ProjectHoles<'_>) -> Result<CountedRefs, String> {
    let counts = node.repository.map(|repository| RefCounts {
        branches: natural(repository.branch_count).unwrap_or(0),
        tags: natural(repository.tag_count).unwrap_or(0),
    });
    Ok((ProjectId(gid("id", &node.id)?), counts))
}

fn convert(node: Node, _: ProjectHoles<'_>) -> Result<RepositoryInfo, String> {
    let bytes = |size: f64| if size.is_finite() { size.max(0.0) } else { 0.0 };
    let statistics = match node.statistics {
        Some(raw) => Known::Value(Statistics {
            commits: whole(raw.commit_count),
            repository: bytes(raw.repository_size),
            lfs: bytes(raw.lfs_objects_size),
            artifacts: bytes(raw.build_artifacts_size),
            packages: bytes(raw.packages_size),
            container_registry: raw.container_registry_size.map(bytes),
            wiki: raw.wiki_size.map(bytes),
        }),
        None => Known::Hidden,
    };
    let languages = node.languages.map(|languages| {
        let languages = languages.into_iter();
        languages
            .filter_map(|language| {
                let share = language.share.filter(|share| share.is_finite())?;
                let name: Text = language.name.into();
                Some(Language { name, share })
            })
            .collect()
    });
    let releases = match node.releases {
        None => None,
        Some(page) => {
            let mut latest = None;
            for release in page.nodes.into_iter().flatten().flatten() {
                if release.upcoming_release != Some(true) {
                    let at = maybe_time("releasedAt", release.released_at.as_deref())?;
                    latest = latest.max(at);
                }
            }
            Some(Releases {
                count: natural(page.count).unwrap_or(0),
                latest,
            })
        }
    };
    Ok(RepositoryInfo {
        id: ProjectId(gid("id", &node.id)?),
        statistics,
        languages,
        default_branch: match node.repository.and_then(|repository| repository.root_ref) {
            Some(name) if !name.is_empty() => Known::Value(name.into()),
            _ => Known::Nothing,
        },
        visibility: node.visibility.map(Into::into),
        archived: node.archived.unwrap_or(false),
        topics: node.topics.into_iter().flatten().map(Text::from).collect(),
        refs: None,
        open_issues: node.open_issues_count.and_then(natural),
        stars: natural(node.star_count),
        forks: natural(node.forks_count),
        last_activity_at: maybe_time("lastActivityAt", node.last_activity_at.as_deref())?,
        releases,
    })
}

/// A count that GitLab writes with a fraction.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast from a float saturates, and counts have no fraction"
)]
fn whole(number: f64) -> u64 {
    number as u64
}
