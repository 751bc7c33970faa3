//! Environments, deployments, comparisons of commits, and incidents.

use serde::Deserialize;

use super::Get;
use super::pipelines::{maybe_time, time};
use crate::clock::UnixSeconds;
use crate::gitlab::GitLab;
use crate::gitlab::error::GitLabError;
use crate::gitlab::model::{
    Comparison, Deployment, DeploymentOrigin, Environment, Incident, Page, User,
};
use crate::types::{JobId, ProjectId, Text};

#[derive(Deserialize)]
pub(super) struct RestEnvironment {
    id: u64,
    name: String,
    tier: Option<String>,
    state: Option<String>,
    external_url: Option<String>,
}

impl TryFrom<RestEnvironment> for Environment {
    type Error = String;

    fn try_from(raw: RestEnvironment) -> Result<Self, String> {
        if raw.name.is_empty() {
            return Err(format!("environment {}: name: empty", raw.id));
        }
        Ok(Self {
            id: raw.id,
            name: raw.name.into(),
            tier: raw.tier.unwrap_or_default().to_lowercase().into(),
            state: raw.state.unwrap_or_default().to_lowercase().into(),
            external_url: raw
                .external_url
                .filter(|url| !url.is_empty())
                .map(Into::into),
        })
    }
}

#[derive(Deserialize)]
pub(super) struct RestDeployment {
    id: u64,
    iid: Option<u64>,
    sha: String,
    status: String,
    created_at: String,
    updated_at: Option<String>,
    environment: RestPlace,
    #[serde(rename = "ref")]
    git_ref: Option<String>,
    user: Option<RestUser>,
    deployable: Option<RestDeployable>,
}

#[derive(Deserialize)]
struct RestUser {
    username: String,
    name: Option<String>,
}

#[derive(Deserialize)]
struct RestPlace {
    id: u64,
    name: String,
}

#[derive(Deserialize)]
struct RestDeployable {
    id: Option<u64>,
    tag: Option<bool>,
    user: Option<RestUser>,
    started_at: Option<String>,
    finished_at: Option<String>,
    duration: Option<f64>,
}

impl TryFrom<RestDeployment> for Deployment {
    type Error = String;

    fn try_from(raw: RestDeployment) -> Result<Self, String> {
        let at = |why: String| format!("deployment {}: {why}", raw.id);
        let created_at = time("created_at", &raw.created_at).map_err(at)?;
        let updated_at = maybe_time("updated_at", raw.updated_at.as_deref()).map_err(at)?;
        let updated_at = updated_at.unwrap_or(created_at);
        let status = raw.status.to_lowercase();
        let ended = matches!(&*status, "success" | "failed" | "canceled");
        let started_at = match &raw.deployable {
            Some(job) => {
                maybe_time("deployable.started_at", job.started_at.as_deref()).map_err(at)?
            }
            None => Some(created_at),
        };
        let started_at = started_at.filter(|_| ended || status == "running");
        let (mut finished_at, mut duration) = (None, None);
        if ended {
            let job = raw.deployable.as_ref();
            let end = job.and_then(|job| job.finished_at.as_deref());
            let end = maybe_time("deployable.finished_at", end)
                .map_err(at)?
                .unwrap_or(updated_at);
            finished_at = Some(end);
            duration = match job {
                None => Some(end.since(created_at).as_secs_f64()),
                // One that never started has none.
                Some(job) => job
                    .started_at
                    .as_ref()
                    .and(job.duration)
                    .filter(|seconds| seconds.is_finite() && *seconds >= 0.0),
            };
        }
        let job = raw.deployable.as_ref();
        let user = job.and_then(|job| job.user.as_ref()).or(raw.user.as_ref());
        let origin = DeploymentOrigin::new(
            raw.git_ref.as_deref().unwrap_or_default(),
            job.is_some_and(|job| job.tag == Some(true)),
            job.and_then(|job| job.id).map(JobId),
            user.map(|user| {
                let name = user.name.as_deref().unwrap_or_default();
                User::new(&user.username, name, false)
            }),
        );
        Ok(Self {
            origin,
            id: raw.id,
            iid: raw.iid,
            environment: raw.environment.id,
            environment_name: raw.environment.name.into(),
            sha: raw.sha.into(),
            status: status.into(),
            created_at,
            updated_at,
            started_at,
            finished_at,
            duration,
        })
    }
}

/// Which deployments to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeploymentFilter<'a> {
    /// Those that changed at this time or later, the oldest change first.
    UpdatedAfter(UnixSeconds),
    /// The successful ones that ended at this time or later, the oldest end first; of very many the
    /// oldest, and a `next`.
    SucceededAfter(UnixSeconds),
    /// One page of the newest of any status.
    Newest,
    /// One page of the newest successful ones of an environment.
    NewestSuccess(&'a str),
}

/// When a merge request was merged.
struct Merged(Option<UnixSeconds>);

#[derive(Deserialize)]
struct RestMerged {
    merged_at: Option<String>,
}

impl TryFrom<RestMerged> for Merged {
    type Error = String;

    fn try_from(raw: RestMerged) -> Result<Self, String> {
        maybe_time("merged_at", raw.merged_at.as_deref()).map(Self)
    }
}

#[derive(Deserialize)]
struct RestComparison {
    commits: Vec<RestParents>,
}

#[derive(Deserialize)]
struct RestParents {
    id: Option<Text>,
    #[serde(default)]
    parent_ids: Option<Vec<Text>>,
}

impl TryFrom<RestComparison> for Comparison {
    type Error = String;

    fn try_from(raw: RestComparison) -> Result<Self, String> {
        let count = u64::try_from(raw.commits.len()).unwrap_or(u64::MAX);
        let commits = raw.commits.into_iter();
        let parents = commits.filter_map(|commit| Some((commit.id?, commit.parent_ids?)));
        Ok(Self {
            count,
            parents: parents.collect(),
        })
    }
}

#[derive(Deserialize)]
pub(super) struct RestIncident {
    iid: u64,
    created_at: String,
    updated_at: String,
    closed_at: Option<String>,
    #[serde(rename = "_links")]
    links: Option<RestLinks>,
}

#[derive(Deserialize)]
struct RestLinks {
    closed_as_duplicate_of: Option<String>,
}

impl TryFrom<RestIncident> for Incident {
    type Error = String;

    fn try_from(raw: RestIncident) -> Result<Self, String> {
        let at = |why: String| format!("issue {}: {why}", raw.iid);
        Ok(Self {
            iid: raw.iid,
            created_at: time("created_at", &raw.created_at).map_err(at)?,
            updated_at: time("updated_at", &raw.updated_at).map_err(at)?,
            closed_at: maybe_time("closed_at", raw.closed_at.as_deref()).map_err(at)?,
            duplicate: raw
                .links
                .is_some_and(|links| links.closed_as_duplicate_of.is_some()),
        })
    }
}

impl GitLab {
    /// The environments (`GET /projects/:id/environments`); `available` leaves out those that
    /// stopped.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn environments(
        &self,
        project: ProjectId,
        available: bool,
    ) -> Result<Page<Environment>, GitLabError> {
        let get = Get::new(
            "/projects/:id/environments",
            &["projects", &project.to_string(), "environments"],
        )
        .maybe("states", available.then_some("available"));
        self.get_all::<RestEnvironment, _>(&get).await
    }

    /// One environment (`GET /projects/:id/environments/:environment_id`).
    ///
    /// # Errors
    /// Those of any call; [`GitLabError::is_not_found`] when it was deleted.
    pub async fn environment(
        &self,
        project: ProjectId,
        environment: u64,
    ) -> Result<Environment, GitLabError> {
        let (project, environment) = (project.to_string(), environment.to_string());
        let get = Get::new(
            "/projects/:id/environments/:environment_id",
            &["projects", &project, "environments", &environment],
        );
        self.get_one::<RestEnvironment, _>(&get).await
    }

    /// Deployments (`GET /projects/:id/deployments`).
    ///
    /// # Errors
    /// Those of any call.
    pub async fn deployments(
        &self,
        project: ProjectId,
        filter: DeploymentFilter<'_>,
    ) -> Result<Page<Deployment>, GitLabError> {
        let get = Get::new(
            "/projects/:id/deployments",
            &["projects", &project.to_string(), "deployments"],
        );
        match filter {
            DeploymentFilter::UpdatedAfter(time) => {
                let get = get
                    .with("order_by", "updated_at")
                    .with("sort", "asc")
                    .with("updated_after", time);
                self.get_all::<RestDeployment, _>(&get).await
            }
            DeploymentFilter::SucceededAfter(time) => {
                let get = get
                    .with("status", "success")
                    .with("order_by", "finished_at")
                    .with("sort", "asc")
                    .with("finished_after", time);
                self.get_beginning::<RestDeployment, _>(&get).await
            }
            DeploymentFilter::Newest => {
                let get = get.with("order_by", "id").with("sort", "desc");
                self.get_first::<RestDeployment, _>(&get).await
            }
            DeploymentFilter::NewestSuccess(environment) => {
                let get = get
                    .with("environment", environment)
                    .with("status", "success")
                    .with("order_by", "id")
                    .with("sort", "desc");
                self.get_first::<RestDeployment, _>(&get).await
            }
        }
    }

    /// When the merge requests that a deployment shipped were merged
    /// (`GET /projects/:id/deployments/:deployment_id/merge_requests`).
    ///
    /// # Errors
    /// Those of any call.
    pub async fn merged_by_deployment(
        &self,
        project: ProjectId,
        deployment: u64,
    ) -> Result<Vec<UnixSeconds>, GitLabError> {
        let (project, deployment) = (project.to_string(), deployment.to_string());
        let get = Get::new(
            "/projects/:id/deployments/:deployment_id/merge_requests",
            &[
                "projects",
                &project,
                "deployments",
                &deployment,
                "merge_requests",
            ],
        );
        let page: Page<Merged> = self.get_all::<RestMerged, _>(&get).await?;
        Ok(page
            .items
            .into_iter()
            .filter_map(|merged| merged.0)
            .collect())
    }

    /// The commits that `to` has and `from` has not (`GET /projects/:id/repository/compare`).
    ///
    /// # Errors
    /// Those of any call; [`GitLabError::is_not_found`] when a commit is not there any more.
    pub async fn compare(
        &self,
        project: ProjectId,
        from: &str,
        to: &str,
    ) -> Result<Comparison, GitLabError> {
        let get = Get::new(
            "/projects/:id/repository/compare",
            &["projects", &project.to_string(), "repository", "compare"],
        )
        .with("from", from)
        .with("to", to);
        self.get_one::<RestComparison, _>(&get).await
    }

    /// Incidents that changed at `since` or later (`GET /projects/:id/issues?issue_type=incident`).
    ///
    /// # Errors
    /// Those of any call.
    pub async fn incidents(
        &self,
        project: ProjectId,
        since: UnixSeconds,
    ) -> Result<Page<Incident>, GitLabError> {
        let get = Get::new(
            "/projects/:id/issues",
            &["projects", &project.to_string(), "issues"],
        )
        .with("issue_type", "incident")
        .with("scope", "all")
        .with("order_by", "updated_at")
        .with("sort", "asc")
        .with("updated_after", since);
        self.get_all::<RestIncident, _>(&get).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gitlab::rest::read_list;

    /// The body of a sample of GitLab's; none where the samples are not at hand.
    fn sample(name: &str) -> Option<Vec<u8>> {
        let root = std::env::var_os("AGE_SHARED_DIR")?;
        let path = std::path::Path::new(&root)
            .join("truth/rest/samples")
            .join(name);
        std::fs::read(path).ok()
    }

    #[test]
    fn gitlabs_samples_are_read() {
        let Some(body) = sample("list-deployments--docs.json") else {
            return;
        };
        let (found, skipped) = read_list::<RestDeployment, Deployment>(&body).unwrap();
        assert_eq!((found.len(), skipped.len()), (2, 0));
        let first = &found[0];
        assert_eq!((first.id, first.environment), (41, 9));
        assert_eq!(&*first.environment_name, "production");
        assert_eq!(&*first.status, "created");
        assert_eq!(first.finished_at, None, "its job ended, it did not");
        assert_eq!(first.created_at.to_string(), "2016-08-11T07:36:40Z");

        let body = sample("list-deployments--devlake.json").unwrap();
        let (found, skipped) = read_list::<RestDeployment, Deployment>(&body).unwrap();
        assert!(skipped.is_empty(), "{skipped:?}");
        assert!(!found.is_empty());
        for deployment in found.iter().filter(|deployment| deployment.succeeded()) {
            assert!(deployment.finished_at.is_some());
        }

        let body = sample("list-environments--docs.json").unwrap();
        let (found, _) = read_list::<RestEnvironment, Environment>(&body).unwrap();
        let one = &found[0];
        assert_eq!(
            (one.id, &*one.name, &*one.tier),
            (1, "review/fix-foo", "development")
        );
        assert_eq!(&*one.state, "available");

        let body = sample("list-issues--docs.json").unwrap();
        let (found, skipped) = read_list::<RestIncident, Incident>(&body).unwrap();
        assert!(skipped.is_empty(), "{skipped:?}");
        assert!(found[0].duplicate, "it was closed as one");
    }

    #[test]
    fn without_a_job_a_deployment_ends_when_it_last_changed() {
        let body = br#"[{"id": 1, "sha": "a", "status": "success", "deployable": null,
            "created_at": "2026-01-05T08:00:00.900Z", "updated_at": "2026-01-05T08:01:30.100Z",
            "environment": {"id": 2, "name": "production"}}]"#;
        let (found, _) = read_list::<RestDeployment, Deployment>(body).unwrap();
        assert_eq!(found[0].finished_at, Some(found[0].updated_at));
        assert_eq!(found[0].duration, Some(90.0));
    }
}
