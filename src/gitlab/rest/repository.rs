//! Repositories by REST: sizes, languages, counts, releases, contributors, commits; and
//! vulnerabilities.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{Get, read_list};
use crate::clock::UnixSeconds;
use crate::gitlab::GitLab;
use crate::gitlab::error::GitLabError;
use crate::gitlab::model::{
    Commit, Known, Language, Page, RefCounts, Releases, RepositoryInfo, SEVERITIES, Statistics,
};
use crate::types::{ProjectId, Text};

#[derive(Deserialize)]
pub(super) struct RestRepository {
    id: u64,
    default_branch: Option<String>,
    visibility: Option<String>,
    archived: Option<bool>,
    last_activity_at: Option<String>,
    star_count: Option<u64>,
    forks_count: Option<u64>,
    open_issues_count: Option<u64>,
    statistics: Option<RestStatistics>,
    topics: Option<Vec<Text>>,
}

#[derive(Deserialize)]
struct RestStatistics {
    commit_count: u64,
    repository_size: f64,
    #[serde(default)]
    lfs_objects_size: f64,
    #[serde(default)]
    job_artifacts_size: f64,
    #[serde(default)]
    packages_size: f64,
    container_registry_size: Option<f64>,
    wiki_size: Option<f64>,
}

impl From<RestRepository> for RepositoryInfo {
    fn from(raw: RestRepository) -> Self {
        let statistics = raw.statistics.map(|raw| Statistics {
            commits: raw.commit_count,
            repository: raw.repository_size,
            lfs: raw.lfs_objects_size,
            artifacts: raw.job_artifacts_size,
            packages: raw.packages_size,
            container_registry: raw.container_registry_size,
            wiki: raw.wiki_size,
        });
        Self {
            id: ProjectId(raw.id),
            statistics: statistics.map_or(Known::Hidden, Known::Value),
            languages: None,
            default_branch: match raw.default_branch.filter(|name| !name.is_empty()) {
                Some(name) => Known::Value(name.into()),
                None => Known::Nothing,
            },
            visibility: raw.visibility.map(Into::into),
            archived: raw.archived.unwrap_or(false),
            topics: raw.topics.unwrap_or_default(),
            refs: None,
            open_issues: raw.open_issues_count,
            stars: raw.star_count,
            forks: raw.forks_count,
            last_activity_at: time(raw.last_activity_at.as_deref()),
            releases: None,
        }
    }
}

/// A time, where there is one that makes sense.
fn time(text: Option<&str>) -> Option<UnixSeconds> {
    text.and_then(|text| UnixSeconds::parse(text).ok())
}

pub(super) struct Languages(pub(super) Vec<Language>);

impl From<BTreeMap<String, f64>> for Languages {
    fn from(raw: BTreeMap<String, f64>) -> Self {
        let languages = raw.into_iter().map(|(name, share)| Language {
            name: name.into(),
            share,
        });
        Self(languages.collect())
    }
}

#[derive(Deserialize)]
pub(super) struct RestRelease {
    released_at: Option<String>,
    upcoming_release: Option<bool>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct ReleaseTime {
    at: Option<UnixSeconds>,
    upcoming: bool,
}

impl From<RestRelease> for ReleaseTime {
    fn from(raw: RestRelease) -> Self {
        Self {
            at: time(raw.released_at.as_deref()),
            upcoming: raw.upcoming_release.unwrap_or(false),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct RestCommit {
    id: String,
    author_name: String,
    author_email: String,
    authored_date: Option<String>,
    #[serde(default)]
    parent_ids: Vec<String>,
    stats: Option<RestStats>,
}

#[derive(Deserialize)]
struct RestStats {
    additions: u64,
    deletions: u64,
}

impl From<RestCommit> for Commit {
    fn from(raw: RestCommit) -> Self {
        Self {
            sha: raw.id.into(),
            author_name: raw.author_name.into(),
            author_email: raw.author_email.into(),
            authored_at: time(raw.authored_date.as_deref()),
            parents: raw.parent_ids.into_iter().map(Into::into).collect(),
            additions: raw.stats.as_ref().map(|stats| stats.additions),
            deletions: raw.stats.as_ref().map(|stats| stats.deletions),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct RestVulnerability {
    severity: String,
    state: String,
}

/// Place of an open vulnerability's severity in [`SEVERITIES`].
#[derive(Debug)]
pub(super) struct Severity(Option<usize>);

impl From<RestVulnerability> for Severity {
    fn from(raw: RestVulnerability) -> Self {
        let open = matches!(raw.state.as_str(), "detected" | "confirmed");
        let place = SEVERITIES.iter().position(|name| *name == raw.severity);
        Self(open.then(|| place.unwrap_or(SEVERITIES.len() - 1)))
    }
}

/// `/projects/:id` and what is below it.
fn below<'a>(project: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
    [&["projects", project], rest].concat()
}

impl GitLab {
    /// One repository (`GET /projects/:id?statistics=true`); languages, branches, tags and releases
    /// are left open.
    ///
    /// # Errors
    /// [`GitLabError::is_not_found`] when it does not exist or the token may not see it.
    pub async fn repository(&self, project: ProjectId) -> Result<RepositoryInfo, GitLabError> {
        let id = project.to_string();
        let get = Get::new("/projects/:id", &below(&id, &[])).with("statistics", true);
        self.get_one::<RestRepository, _>(&get).await
    }

    /// Languages of the default branch (`GET /projects/:id/languages`).
    ///
    /// # Errors
    /// Those of any call.
    pub async fn languages(&self, project: ProjectId) -> Result<Vec<Language>, GitLabError> {
        let id = project.to_string();
        let get = Get::new("/projects/:id/languages", &below(&id, &["languages"]));
        let languages: Languages = self.get_one::<BTreeMap<String, f64>, _>(&get).await?;
        Ok(languages.0)
    }

    /// Releases, newest first (`GET /projects/:id/releases`): one page, and their number.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn releases(&self, project: ProjectId) -> Result<Releases, GitLabError> {
        let id = project.to_string();
        let get = Get::new("/projects/:id/releases", &below(&id, &["releases"]))
            .with("order_by", "released_at")
            .with("sort", "desc");
        let page: Page<ReleaseTime> = self.get_all::<RestRelease, _>(&get).await?;
        let out = page.items.iter().filter(|release| !release.upcoming);
        Ok(Releases {
            count: u64::try_from(page.items.len()).unwrap_or(u64::MAX),
            latest: out.filter_map(|release| release.at).max(),
        })
    }

    /// How many branches and tags there are (`GET /projects/:id/repository/branches` and `/tags`,
    /// header `X-Total`); `None` where there are too many for GitLab to count.
    ///
    /// # Errors
    /// Those of any call; 404 also where the project has no repository.
    pub async fn counted_refs(&self, project: ProjectId) -> Result<Option<RefCounts>, GitLabError> {
        let id = project.to_string();
        let branches = Get::new(
            "/projects/:id/repository/branches",
            &below(&id, &["repository", "branches"]),
        );
        let tags = Get::new(
            "/projects/:id/repository/tags",
            &below(&id, &["repository", "tags"]),
        );
        let (branches, tags) = (self.total(&branches).await?, self.total(&tags).await?);
        Ok(branches
            .zip(tags)
            .map(|(branches, tags)| RefCounts { branches, tags }))
    }

    /// Whether there is a repository at all (`GET /projects/:id/repository/branches`).
    ///
    /// # Errors
    /// Those of any call but 404.
    pub async fn has_repository(&self, project: ProjectId) -> Result<bool, GitLabError> {
        let id = project.to_string();
        let branches = Get::new(
            "/projects/:id/repository/branches",
            &below(&id, &["repository", "branches"]),
        );
        match self.get(&branches, None, Some(1)).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_object_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The number of a list's items, from its header.
    async fn total(&self, get: &Get) -> Result<Option<u64>, GitLabError> {
        let (call, answer) = self.get(get, None, Some(1)).await?;
        self.decoded(&call, &answer, read_list::<Value, Value>(&answer.body))?;
        let total = answer.headers.get("x-total");
        Ok(total.and_then(|total| total.to_str().ok()?.trim().parse().ok()))
    }

    /// The newest commit of a branch, the default one without a name
    /// (`GET /projects/:id/repository/commits`).
    ///
    /// # Errors
    /// Those of any call; 404 also where there is no repository or no such branch.
    pub async fn newest_commit(
        &self,
        project: ProjectId,
        branch: Option<&str>,
    ) -> Result<Option<Commit>, GitLabError> {
        let id = project.to_string();
        let get = commits(&id).maybe("ref_name", branch);
        let (call, answer) = self.get(&get, None, Some(1)).await?;
        let (items, skipped) = self.decoded(
            &call,
            &answer,
            read_list::<RestCommit, Commit>(&answer.body),
        )?;
        match (items.into_iter().next(), skipped.into_iter().next()) {
            (None, Some(why)) => Err(self.decode_error(&call, &answer, why)),
            (newest, _) => Ok(newest),
        }
    }

    /// Whether a commit is still there, on a branch or not
    /// (`GET /projects/:id/repository/commits/:sha`).
    ///
    /// # Errors
    /// Those of any call.
    pub async fn has_commit(&self, project: ProjectId, sha: &str) -> Result<bool, GitLabError> {
        let id = project.to_string();
        let get = Get::new(
            "/projects/:id/repository/commits/:sha",
            &below(&id, &["repository", "commits", sha]),
        )
        .with("stats", false);
        match self.get_one::<RestCommit, Commit>(&get).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_object_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The commits that `to` has and `from` has not, with their lines, newest first; of very many the
    /// newest, and a `next` (`GET /projects/:id/repository/commits?ref_name=from..to&with_stats=true`).
    ///
    /// # Errors
    /// [`GitLabError::is_not_found`] when one of them is no commit any more.
    pub async fn commits_between(
        &self,
        project: ProjectId,
        from: &str,
        to: &str,
    ) -> Result<Page<Commit>, GitLabError> {
        let id = project.to_string();
        let get = commits(&id)
            .with("ref_name", format!("{from}..{to}"))
            .with("with_stats", true);
        self.get_beginning::<RestCommit, _>(&get).await
    }

    /// Vulnerabilities that are detected or confirmed, in the order of [`SEVERITIES`]
    /// (`GET /projects/:id/vulnerabilities`, all pages).
    ///
    /// # Errors
    /// [`GitLabError::is_forbidden`] without the licence or the role.
    pub async fn vulnerabilities(&self, project: ProjectId) -> Result<[u64; 6], GitLabError> {
        let id = project.to_string();
        let get = Get::new(
            "/projects/:id/vulnerabilities",
            &below(&id, &["vulnerabilities"]),
        );
        let page: Page<Severity> = self.get_all::<RestVulnerability, _>(&get).await?;
        let mut counts = [0; 6];
        for place in page.items.iter().filter_map(|severity| severity.0) {
            counts[place] += 1;
        }
        Ok(counts)
    }
}

fn commits(project: &str) -> Get {
    Get::new(
        "/projects/:id/repository/commits",
        &below(project, &["repository", "commits"]),
    )
}
