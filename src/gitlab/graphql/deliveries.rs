//! What projects deliver, for many projects in a query: deployments by their numbers, what they shipped,
//! the tips of default branches, incidents; and the variables of pipelines.

use serde::Deserialize;
use serde_json::Value;

use super::batch::Breaker;
use super::convert::{gid, iid, maybe_time, time};
use super::holes::{ProjectHoles, key};
use super::places::{Asked, Filled, Places};
use super::projects::{Messages, count, gids, over_projects};
use super::{Batch, queries};
use crate::clock::UnixSeconds;
use crate::gitlab::GitLab;
use crate::gitlab::error::GitLabError;
use crate::gitlab::model::{Deployment, DeploymentOrigin, Incident, Page, User, sensible};
use crate::types::{JobId, PipelineId, ProjectId, Text};
use queries::branch_tips::{self, BranchTipsProjectsNodes as TipNode};
use queries::incidents::{
    self, IncidentsProjectsNodes as IncidentsNode, IncidentsProjectsNodesIssuesNodes as IssueNode,
};

/// Merge requests of a deployment in one page; of more, REST has the rest.
const MERGE_REQUESTS: u32 = 20;
/// Incidents of a project in one page; of more, REST has the rest.
const INCIDENTS: u32 = 50;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageInfo {
    has_next_page: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listed<T> {
    nodes: Vec<T>,
    page_info: PageInfo,
}

impl<T> Listed<T> {
    /// The items, if these are all.
    fn whole(self) -> Option<Vec<T>> {
        (!self.page_info.has_next_page).then_some(self.nodes)
    }
}

/// When the merge requests of a deployment were merged.
pub(super) struct MergedByDeployment;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MergedNode {
    merged_at: Option<String>,
}

impl Places for MergedByDeployment {
    const NAME: &'static str = "DeploymentMergeRequests";
    const DOCUMENT: &'static str = include_str!("queries/deployment_merge_requests.graphql");
    const PROJECTS: usize = 3;
    const ITEMS: usize = 6;
    const FIRST: Option<u32> = Some(MERGE_REQUESTS);
    type Key = u64;
    type Node = Listed<MergedNode>;
    type Item = Vec<UnixSeconds>;

    fn variable(deployment: u64) -> Value {
        deployment.to_string().into()
    }

    fn convert(page: Listed<MergedNode>) -> Option<Vec<UnixSeconds>> {
        let mut merged = Vec::new();
        for node in page.whole()? {
            merged.extend(maybe_time("mergedAt", node.merged_at.as_deref()).ok()?);
        }
        Some(merged)
    }
}

/// The keys of a pipeline's variables.
pub(super) struct VariablesOfPipeline;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PipelineNode {
    id: String,
    manual_variables: Option<Listed<VariableNode>>,
}

#[derive(Deserialize)]
struct VariableNode {
    key: Option<String>,
    value: Option<String>,
}

impl Places for VariablesOfPipeline {
    const NAME: &'static str = "PipelineVariables";
    const DOCUMENT: &'static str = include_str!("queries/pipeline_variables.graphql");
    const PROJECTS: usize = 40;
    const ITEMS: usize = 1;
    type Key = PipelineId;
    type Node = PipelineNode;
    type Item = Vec<Text>;

    fn variable(pipeline: PipelineId) -> Value {
        format!("gid://gitlab/Ci::Pipeline/{pipeline}").into()
    }

    fn convert(pipeline: PipelineNode) -> Option<Vec<Text>> {
        gid("id", &pipeline.id).ok()?;
        let mut keys = Vec::new();
        for variable in pipeline.manual_variables?.whole()? {
            // GitLab hides values, not keys, from roles that may not read them.
            variable.value?;
            keys.push(variable.key?.into());
        }
        Some(keys)
    }
}

/// A deployment by its number.
pub(super) struct DeploymentByNumber;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeploymentNode {
    id: String,
    status: String,
    sha: String,
    created_at: String,
    web_path: String,
    #[serde(rename = "ref")]
    git_ref: Option<String>,
    tag: Option<bool>,
    triggerer: Option<UserNode>,
    job: JobNode,
}

#[derive(Deserialize)]
struct UserNode {
    username: String,
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JobNode {
    id: Option<String>,
    started_at: Option<String>,
    finished_at: Option<String>,
    duration: Option<f64>,
}

impl Places for DeploymentByNumber {
    const NAME: &'static str = "Deployments";
    const DOCUMENT: &'static str = include_str!("queries/deployments.graphql");
    const PROJECTS: usize = 4;
    const ITEMS: usize = GitLab::NUMBERS_TOGETHER;
    type Key = u64;
    type Node = DeploymentNode;
    type Item = Option<Deployment>;

    fn variable(number: u64) -> Value {
        number.to_string().into()
    }

    fn blank() -> Value {
        "0".into()
    }

    /// One without a job has none, or it is hidden: it is read by REST.
    fn convert(node: DeploymentNode) -> Option<Option<Deployment>> {
        deployment(node).ok().map(Some)
    }

    fn absent() -> Option<Option<Deployment>> {
        Some(None)
    }
}

/// A deployment; its number and the name of its environment are not in the answer. One that ended with a job
/// that shows no end yet is left to REST.
fn deployment(node: DeploymentNode) -> Result<Deployment, String> {
    let created_at = time("createdAt", &node.created_at)?;
    let environment = environment_of(&node.web_path)?;
    let status = node.status.to_lowercase();
    let ended = matches!(&*status, "success" | "failed" | "canceled");
    let job = node.job;
    let started_at = maybe_time("job.startedAt", job.started_at.as_deref())?;
    let end = maybe_time("job.finishedAt", job.finished_at.as_deref())?;
    let user = node.triggerer.as_ref();
    let id = job.id.as_deref();
    let origin = DeploymentOrigin::new(
        node.git_ref.as_deref().unwrap_or_default(),
        node.tag == Some(true),
        id.and_then(|id| gid("job.id", id).ok()).map(JobId),
        user.map(|user| User::new(&user.username, &user.name, false)),
    );
    if ended && started_at.is_some() && end.is_none() {
        return Err("job.finishedAt: null".to_owned());
    }
    Ok(Deployment {
        id: gid("id", &node.id)?,
        iid: None,
        environment,
        environment_name: Text::default(),
        sha: node.sha.into(),
        created_at,
        updated_at: end.unwrap_or(created_at),
        started_at: started_at.filter(|_| ended || status == "running"),
        finished_at: end.filter(|_| ended),
        // One that never started has none.
        duration: sensible(job.duration).filter(|_| ended && started_at.is_some()),
        status: status.into(),
        origin,
    })
}

/// The id in `/group/project/-/environments/7/deployments/12`.
fn environment_of(path: &str) -> Result<u64, String> {
    let (_, rest) = path
        .rsplit_once("/-/environments/")
        .ok_or("webPath: it names no environment")?;
    let id = rest.split('/').next().unwrap_or_default();
    id.parse()
        .map_err(|_| "webPath: it names no environment".to_owned())
}

/// A project's default branch: what was asked for; none where there is none, or it is hidden.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectTip {
    /// The project.
    pub id: ProjectId,
    /// Its name.
    pub name: Option<Text>,
    /// Its newest commit.
    pub sha: Option<Text>,
}

impl Messages for ProjectTip {}

over_projects!(queries::BranchTips, branch_tips, TipNode => ProjectTip, tip);

fn tip(node: TipNode, _: ProjectHoles<'_>) -> Result<ProjectTip, String> {
    let repository = node.repository;
    let name = repository
        .as_ref()
        .and_then(|repository| repository.root_ref.as_deref());
    let name = name.map(Text::from);
    let tree = repository.and_then(|repository| repository.tree);
    let commit = tree.and_then(|tree| tree.last_commit);
    Ok(ProjectTip {
        id: ProjectId(gid("id", &node.id)?),
        name,
        sha: commit.map(|commit| commit.sha.into()),
    })
}

/// A project's incidents that changed.
#[derive(Clone, Debug, PartialEq)]
pub struct ProjectIncidents {
    /// The project.
    pub id: ProjectId,
    /// The oldest changes, with a `next` where there are more.
    pub incidents: Page<Incident>,
}

impl Messages for ProjectIncidents {
    fn messages(&mut self, edit: &mut dyn FnMut(&mut Vec<String>)) {
        edit(&mut self.incidents.skipped);
    }
}

over_projects!(queries::Incidents, incidents, IncidentsNode => ProjectIncidents, project_incidents);

fn project_incidents(
    node: IncidentsNode,
    mut holes: ProjectHoles<'_>,
) -> Result<ProjectIncidents, String> {
    let id = ProjectId(gid("id", &node.id)?);
    // Where they are off, the list is empty, too.
    let issues = node.issues.filter(|_| node.issues_enabled == Some(true));
    let issues = issues.ok_or("issues: they are off")?;
    let next = issues.page_info.has_next_page.then(String::new);
    let place = [key("issues")];
    let incidents = holes.page(&place, issues.nodes, next, |node, _, _| incident(node));
    Ok(ProjectIncidents { id, incidents })
}

fn incident(node: IssueNode) -> Result<Incident, String> {
    Ok(Incident {
        iid: iid(&node.iid)?,
        created_at: time("createdAt", &node.created_at)?,
        updated_at: time("updatedAt", &node.updated_at)?,
        closed_at: maybe_time("closedAt", node.closed_at.as_deref())?,
        duplicate: node.closed_as_duplicate_of.is_some(),
    })
}

impl GitLab {
    /// Numbers of deployments of one project that have a place together in a query.
    pub(crate) const NUMBERS_TOGETHER: usize = 3;
    /// Most projects in one query for the tips of their branches.
    pub const TIP_PROJECTS: usize = 100;
    /// Most projects in one query for incidents.
    pub const INCIDENT_PROJECTS: usize = 50;

    /// When the merge requests of deployments were merged, by the deployments' ids; GitLab 17 and later.
    pub(crate) async fn merged_by_deployments(
        &self,
        asked: &[Asked<u64>],
        breaker: &Breaker,
        now: UnixSeconds,
    ) -> Filled<Vec<UnixSeconds>> {
        self.fill::<MergedByDeployment>(asked, breaker, now).await
    }

    /// The keys of the variables of pipelines; GitLab 17 and later. Nothing of pipelines whose variables
    /// the token may not read.
    pub(crate) async fn variables_of_pipelines(
        &self,
        asked: &[Asked<PipelineId>],
        breaker: &Breaker,
        now: UnixSeconds,
    ) -> Filled<Vec<Text>> {
        self.fill::<VariablesOfPipeline>(asked, breaker, now).await
    }

    /// Deployments by their numbers in their projects, without these and the names of their environments; none
    /// where there is no such deployment. GitLab 17 and later. Nothing of those without a job.
    pub(crate) async fn deployments_by_number(
        &self,
        asked: &[Asked<u64>],
        breaker: &Breaker,
        now: UnixSeconds,
    ) -> Filled<Option<Deployment>> {
        self.fill::<DeploymentByNumber>(asked, breaker, now).await
    }

    /// The newest commits of the default branches of up to [`Self::TIP_PROJECTS`] projects.
    ///
    /// # Errors
    /// When nothing at all could be read; single projects that could not are in the batch.
    pub async fn branch_tips(&self, ids: &[ProjectId]) -> Result<Batch<ProjectTip>, GitLabError> {
        self.default_branches_of(ids, false).await
    }

    /// The names of the default branches of up to [`Self::TIP_PROJECTS`] projects.
    ///
    /// # Errors
    /// When nothing at all could be read; single projects that could not are in the batch.
    pub async fn default_branches(
        &self,
        ids: &[ProjectId],
    ) -> Result<Batch<ProjectTip>, GitLabError> {
        self.default_branches_of(ids, true).await
    }

    async fn default_branches_of(
        &self,
        ids: &[ProjectId],
        names: bool,
    ) -> Result<Batch<ProjectTip>, GitLabError> {
        let variables = branch_tips::Variables {
            ids: gids(ids),
            projects: count(ids.len()),
            names,
            commits: !names,
        };
        self.over_projects::<queries::BranchTips>(ids, variables)
            .await
    }

    /// Incidents of up to [`Self::INCIDENT_PROJECTS`] projects that changed at `since` or later.
    ///
    /// # Errors
    /// When nothing at all could be read; single projects that could not are in the batch.
    pub async fn incidents_of_projects(
        &self,
        ids: &[ProjectId],
        since: UnixSeconds,
    ) -> Result<Batch<ProjectIncidents>, GitLabError> {
        let variables = incidents::Variables {
            ids: gids(ids),
            projects: count(ids.len()),
            since: since.to_string(),
            first: self.page_size(INCIDENTS),
        };
        self.over_projects::<queries::Incidents>(ids, variables)
            .await
    }
}
