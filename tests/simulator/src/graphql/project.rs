//! Projects, groups and merge requests.

use async_graphql::{Context, ID, Object, Result, SimpleObject};

use super::code::{
    ProjectStatistics, ReleaseConnection, Repository, RepositoryLanguage, ValueStreamConnection,
    VulnerabilitySeveritiesCount,
};
use super::environments::{
    DeploymentNode, EnvironmentConnection, EnvironmentNode, ProjectPermissions,
};
use super::incidents::IssueConnection;
use super::licensed::{Dora, LicensedFeatureAvailability, ProjectValueStreamAnalyticsFlowMetrics};
use super::merge_requests::{MergeRequestConnection, MergeRequestFilter, MergeRequestNode};
use super::page::{PageArguments, connection};
use super::pipeline::{PipelineConnection, PipelineFilter, PipelineNode};
use super::runners::CiRunnerConnection;
use super::scalars::{
    AccessLevelEnum, CiJobKind, CiJobStatus, CiPipelineId, CiRunnerType, IssueSort, IssueType,
    LicensedFeature, MergeRequestSort, MergeRequestState, PipelineScheduleStatus,
    PipelineScopeEnum, PipelineStatusEnum, ReleaseSort, Time, VulnerabilityState,
};
use super::schedules::PipelineScheduleConnection;
use super::{Asked, cannot_be_null, gid, gid_number};
use crate::access::Right;
use crate::cost::lists;
use crate::graphql::job::{CiJobConnection, CiJobNode};
use crate::world::{Code, Feature, PipelineId, Project, ProjectId, World};

/// Pipelines that one field may name by their ids.
const MAX_PIPELINE_IDS: usize = 20;

/// A project, by its id; every field is looked up when it is asked for.
#[derive(Clone, Debug)]
pub struct ProjectNode(pub ProjectId);

connection!(ProjectConnection, ProjectEdge, ProjectNode {
    async fn count(&self) -> i32 {
        i32::try_from(self.0.total).unwrap_or(i32::MAX)
    }
});

/// A role as GitLab shows it.
#[derive(SimpleObject)]
pub struct AccessLevel {
    integer_value: Option<i32>,
    string_value: Option<AccessLevelEnum>,
}

impl ProjectNode {
    fn with<T>(&self, ctx: &Context<'_>, read: impl FnOnce(&Project) -> T) -> Option<T> {
        Asked::of(ctx).world().project(self.0).map(read)
    }

    fn code<T>(&self, ctx: &Context<'_>, read: impl FnOnce(&Code) -> Option<T>) -> Option<T> {
        Asked::of(ctx).world().code(self.0).and_then(read)
    }

    /// Whether the viewer may see this of the project.
    fn may(&self, ctx: &Context<'_>, right: Right) -> bool {
        let asked = Asked::of(ctx);
        asked.may(&asked.world(), self.0, right)
    }

    /// What is set of the project.
    fn setting(&self, ctx: &Context<'_>, read: impl FnOnce(&Project) -> bool) -> Option<bool> {
        self.with(ctx, read)
    }
}

/// The numbers of the merge requests that a deployment shipped; none for one that there is not.
fn shipped_by(world: &World, project: ProjectId, deployment: &str) -> Vec<u64> {
    let id = deployment.parse().ok();
    let delivery = world.delivery(project);
    let deployment = id.and_then(|id: u64| delivery?.deployments.get(&id));
    deployment.map_or_else(Vec::new, |found| found.merge_requests.clone())
}

#[Object(name = "Project")]
#[expect(clippy::too_many_arguments, reason = "the arguments are GitLab's")]
impl ProjectNode {
    pub(super) async fn id(&self) -> ID {
        gid("Project", self.0)
    }

    pub(super) async fn full_path(&self, ctx: &Context<'_>) -> ID {
        ID(self
            .with(ctx, |project| project.full_path.to_string())
            .unwrap_or_default())
    }

    async fn path(&self, ctx: &Context<'_>) -> String {
        self.with(ctx, |project| project.path().to_owned())
            .unwrap_or_default()
    }

    pub(super) async fn name(&self, ctx: &Context<'_>) -> String {
        self.with(ctx, |project| project.name().to_owned())
            .unwrap_or_default()
    }

    pub(super) async fn name_with_namespace(&self, ctx: &Context<'_>) -> String {
        self.with(ctx, |project| project.full_path.replace('/', " / "))
            .unwrap_or_default()
    }

    pub(super) async fn web_url(&self, ctx: &Context<'_>) -> Option<String> {
        let asked = Asked::of(ctx);
        self.with(ctx, |project| {
            format!("{}/{}", asked.base_url, project.full_path)
        })
    }

    async fn archived(&self, ctx: &Context<'_>) -> Option<bool> {
        self.with(ctx, |project| project.archived)
    }

    async fn visibility(&self, ctx: &Context<'_>) -> Option<String> {
        self.with(ctx, |project| project.visibility.as_str().to_owned())
    }

    async fn public_jobs(&self, ctx: &Context<'_>) -> Option<bool> {
        self.setting(ctx, |project| project.settings.public_jobs)
    }

    async fn jobs_enabled(&self, ctx: &Context<'_>) -> Option<bool> {
        self.setting(ctx, |project| project.settings.builds != Feature::Disabled)
    }

    async fn merge_requests_enabled(&self, ctx: &Context<'_>) -> Option<bool> {
        self.setting(ctx, |project| {
            project.settings.merge_requests != Feature::Disabled
        })
    }

    async fn issues_enabled(&self, ctx: &Context<'_>) -> Option<bool> {
        self.setting(ctx, |project| project.settings.issues != Feature::Disabled)
    }

    async fn topics(&self, ctx: &Context<'_>) -> Option<Vec<String>> {
        self.with(ctx, |project| {
            let topics = project.settings.topics.iter();
            topics.map(ToString::to_string).collect()
        })
    }

    async fn is_forked(&self, ctx: &Context<'_>) -> bool {
        self.setting(ctx, |project| project.settings.forked_from.is_some())
            .unwrap_or_default()
    }

    async fn marked_for_deletion(&self, ctx: &Context<'_>) -> Option<bool> {
        self.setting(ctx, |project| project.settings.deletion_asked_at.is_some())
    }

    async fn user_permissions(&self, ctx: &Context<'_>) -> Result<ProjectPermissions> {
        let asked = Asked::of(ctx);
        let found = ProjectPermissions::of(asked, self.0);
        found
            .filter(|_| !asked.is_granular())
            .ok_or_else(|| cannot_be_null("Project", "userPermissions"))
    }

    async fn environments(
        &self,
        ctx: &Context<'_>,
        name: Option<String>,
        search: Option<String>,
        states: Option<Vec<String>>,
        after: Option<String>,
        before: Option<String>,
        first: Option<i32>,
        last: Option<i32>,
    ) -> Result<Option<EnvironmentConnection>> {
        let page = PageArguments {
            after,
            before,
            first,
            last,
        };
        let filter = (name.as_deref(), search.as_deref(), states.as_deref());
        EnvironmentConnection::of_project(ctx, self.0, filter, &page)
    }

    async fn environment(
        &self,
        ctx: &Context<'_>,
        name: Option<String>,
    ) -> Option<EnvironmentNode> {
        if !self.may(ctx, Right::Environments) {
            return None;
        }
        let world = Asked::of(ctx).world();
        let found = world.delivery(self.0)?.environment(&name?)?;
        Some(EnvironmentNode(found.clone()))
    }

    async fn deployment(&self, ctx: &Context<'_>, iid: ID) -> Option<DeploymentNode> {
        if !self.may(ctx, Right::Deployments) {
            return None;
        }
        let iid: u64 = iid.parse().ok()?;
        let world = Asked::of(ctx).world();
        let mut deployments = world.delivery(self.0)?.deployments.values();
        let found = deployments.find(|deployment| deployment.iid == iid)?;
        Some(DeploymentNode(found.clone()))
    }

    async fn created_at(&self, ctx: &Context<'_>) -> Option<Time> {
        let asked = Asked::of(ctx);
        self.with(ctx, |project| asked.time(project.created_at))
    }

    async fn last_activity_at(&self, ctx: &Context<'_>) -> Option<Time> {
        let asked = Asked::of(ctx);
        self.with(ctx, |project| asked.time(project.last_activity_at))
    }

    async fn max_access_level(&self, ctx: &Context<'_>) -> Result<AccessLevel> {
        let asked = Asked::of(ctx);
        if asked.is_granular() {
            return Err(cannot_be_null("Project", "maxAccessLevel"));
        }
        let role = asked.viewer.role(self.0);
        Ok(AccessLevel {
            integer_value: Some(role.value()),
            string_value: Some(role.graphql().into()),
        })
    }

    async fn group(&self, ctx: &Context<'_>) -> Option<super::query::GroupNode> {
        self.with(ctx, |project| project.group_id)
            .flatten()
            .map(super::query::GroupNode)
    }

    /// GitLab 18.11 and later.
    async fn licensed_feature_availability(
        &self,
        ctx: &Context<'_>,
        feature: LicensedFeature,
    ) -> LicensedFeatureAvailability {
        LicensedFeatureAvailability::of(Asked::of(ctx), self.0, &feature)
    }

    async fn dora(&self, ctx: &Context<'_>) -> Option<Dora> {
        let asked = Asked::of(ctx);
        let role = asked.viewer.role(self.0);
        let reads = asked.viewer.is_admin() || role >= crate::auth::AccessLevel::Reporter;
        let licensed = {
            let world = asked.world();
            let project = world.project(self.0);
            project.map(|project| world.tier_of(project) >= crate::world::Tier::Ultimate)
        };
        // Without the licence it is there, and its figures are null.
        (reads || licensed != Some(true)).then_some(Dora(self.0))
    }

    async fn flow_metrics(&self) -> Option<ProjectValueStreamAnalyticsFlowMetrics> {
        Some(ProjectValueStreamAnalyticsFlowMetrics(self.0))
    }

    async fn repository(&self, ctx: &Context<'_>) -> Option<Repository> {
        if !self.may(ctx, Right::Code) {
            return None;
        }
        Some(Repository(self.0))
    }

    async fn statistics(&self, ctx: &Context<'_>) -> Option<ProjectStatistics> {
        ProjectStatistics::of(ctx, self.0)
    }

    async fn languages(&self, ctx: &Context<'_>) -> Option<Vec<RepositoryLanguage>> {
        RepositoryLanguage::of(ctx, self.0)
    }

    async fn star_count(&self, ctx: &Context<'_>) -> i32 {
        self.code(ctx, |code| i32::try_from(code.stars).ok())
            .unwrap_or(0)
    }

    async fn forks_count(&self, ctx: &Context<'_>) -> i32 {
        self.code(ctx, |code| i32::try_from(code.forks).ok())
            .unwrap_or(0)
    }

    async fn open_issues_count(&self, ctx: &Context<'_>) -> Option<i32> {
        self.code(ctx, |code| {
            let open = code.issues.iter().filter(|issue| issue.closed_at.is_none());
            i32::try_from(open.count()).ok()
        })
    }

    async fn releases(
        &self,
        ctx: &Context<'_>,
        sort: Option<ReleaseSort>,
        after: Option<String>,
        before: Option<String>,
        first: Option<i32>,
        last: Option<i32>,
    ) -> Result<Option<ReleaseConnection>> {
        let page = PageArguments {
            after,
            before,
            first,
            last,
        };
        let sort = sort.map_or("RELEASED_AT_DESC".into(), |sort| sort.0);
        ReleaseConnection::of(ctx, self.0, &sort, &page)
    }

    async fn value_streams(
        &self,
        ctx: &Context<'_>,
        after: Option<String>,
        before: Option<String>,
        first: Option<i32>,
        last: Option<i32>,
    ) -> Result<Option<ValueStreamConnection>> {
        let page = PageArguments {
            after,
            before,
            first,
            last,
        };
        ValueStreamConnection::of(ctx, self.0, &page)
    }

    async fn vulnerability_severities_count(
        &self,
        ctx: &Context<'_>,
        state: Option<Vec<VulnerabilityState>>,
    ) -> Option<VulnerabilitySeveritiesCount> {
        let states: Option<Vec<String>> =
            state.map(|states| states.into_iter().map(|state| state.0.into()).collect());
        VulnerabilitySeveritiesCount::of(ctx, self.0, states.as_deref())
    }

    async fn pipelines(
        &self,
        ctx: &Context<'_>,
        status: Option<PipelineStatusEnum>,
        scope: Option<PipelineScopeEnum>,
        r#ref: Option<String>,
        sha: Option<String>,
        source: Option<String>,
        updated_after: Option<Time>,
        updated_before: Option<Time>,
        username: Option<String>,
        ids: Option<Vec<ID>>,
        after: Option<String>,
        before: Option<String>,
        first: Option<i32>,
        last: Option<i32>,
    ) -> Result<Option<PipelineConnection>> {
        let page = PageArguments {
            after,
            before,
            first,
            last,
        };
        if ids.as_ref().is_some_and(|ids| ids.len() > MAX_PIPELINE_IDS) {
            return Err("Cannot query more than 20 pipelines by ID at once.".into());
        }
        if !self.may(ctx, Right::Pipelines) {
            return Asked::of(ctx)
                .denied()
                .map(|()| Some(PipelineConnection(super::page::Page::empty())));
        }
        let filter = PipelineFilter {
            status: status.map(|status| status.0.to_string()),
            scope: scope.map(|scope| scope.0.to_string()),
            ref_name: r#ref,
            sha,
            source,
            updated_after: updated_after.map(|time| time.at),
            updated_before: updated_before.map(|time| time.at),
            username,
            // None at all is no filter.
            ids: ids.filter(|ids| !ids.is_empty()).map(|ids| {
                let ids = ids
                    .iter()
                    .filter(|id| id.starts_with("gid://gitlab/Ci::Pipeline/"));
                ids.filter_map(|id| gid_number(id)).collect()
            }),
        };
        PipelineConnection::of_project(ctx, self.0, &filter, &page).map(Some)
    }

    async fn pipeline(
        &self,
        ctx: &Context<'_>,
        id: Option<CiPipelineId>,
        iid: Option<ID>,
        sha: Option<String>,
    ) -> Option<PipelineNode> {
        if !self.may(ctx, Right::Pipelines) {
            return None;
        }
        let asked = Asked::of(ctx);
        let world = asked.world();
        let id: Option<PipelineId> = id.and_then(|id| gid_number(&id.0));
        let iid: Option<u64> = iid.and_then(|iid| iid.parse().ok());
        let found = match id {
            Some(id) => world
                .pipeline(id)
                .filter(|pipeline| pipeline.project_id == self.0),
            None => world.pipelines_of(self.0).find(|pipeline| {
                iid.is_some_and(|iid| pipeline.iid == iid)
                    || sha.as_deref().is_some_and(|sha| &*pipeline.sha == sha)
            }),
        };
        found.cloned().map(PipelineNode)
    }

    async fn merge_requests(
        &self,
        ctx: &Context<'_>,
        iids: Option<Vec<String>>,
        source_branches: Option<Vec<String>>,
        target_branches: Option<Vec<String>>,
        state: Option<MergeRequestState>,
        updated_after: Option<Time>,
        updated_before: Option<Time>,
        deployment_id: Option<String>,
        sort: Option<MergeRequestSort>,
        after: Option<String>,
        before: Option<String>,
        first: Option<i32>,
        last: Option<i32>,
    ) -> Result<Option<MergeRequestConnection>> {
        let page = PageArguments {
            after,
            before,
            first,
            last,
        };
        let asked = Asked::of(ctx);
        if !self.may(ctx, Right::MergeRequests) {
            return asked
                .denied()
                .map(|()| Some(MergeRequestConnection(super::page::Page::empty())));
        }
        let filter = MergeRequestFilter {
            iids,
            source_branches,
            target_branches,
            state,
            updated_after,
            updated_before,
            deployed: deployment_id.map(|id| shipped_by(&asked.world(), self.0, &id)),
            sort,
        };
        let world = asked.world();
        let projects = world.project(self.0).into_iter();
        filter.list(asked, projects, &page).map(Some)
    }

    async fn pipeline_schedules(
        &self,
        ctx: &Context<'_>,
        status: Option<PipelineScheduleStatus>,
        after: Option<String>,
        before: Option<String>,
        first: Option<i32>,
        last: Option<i32>,
    ) -> Result<Option<PipelineScheduleConnection>> {
        let page = PageArguments {
            after,
            before,
            first,
            last,
        };
        PipelineScheduleConnection::of_project(ctx, self.0, status.as_ref(), &page)
    }

    async fn runners(
        &self,
        ctx: &Context<'_>,
        r#type: Option<CiRunnerType>,
        after: Option<String>,
        before: Option<String>,
        first: Option<i32>,
        last: Option<i32>,
    ) -> Result<Option<CiRunnerConnection>> {
        let page = PageArguments {
            after,
            before,
            first,
            last,
        };
        CiRunnerConnection::of_project(ctx, self.0, r#type.as_ref(), &page)
    }

    async fn merge_request(&self, ctx: &Context<'_>, iid: String) -> Option<MergeRequestNode> {
        if !self.may(ctx, Right::MergeRequests) {
            return None;
        }
        let iid: u64 = iid.parse().ok()?;
        self.with(ctx, |project| {
            project
                .merge_requests
                .get(&iid)
                .cloned()
                .map(MergeRequestNode)
        })
        .flatten()
    }

    async fn issues(
        &self,
        ctx: &Context<'_>,
        types: Option<Vec<IssueType>>,
        updated_after: Option<Time>,
        sort: Option<IssueSort>,
        after: Option<String>,
        before: Option<String>,
        first: Option<i32>,
        last: Option<i32>,
    ) -> Result<Option<IssueConnection>> {
        let page = PageArguments {
            after,
            before,
            first,
            last,
        };
        let sort = sort.map_or_else(|| "CREATED_DESC".to_owned(), |sort| sort.0.to_uppercase());
        let (types, since) = (types.as_deref(), updated_after.as_ref());
        IssueConnection::of_project(Asked::of(ctx), self.0, types, since, &sort, &page).map(Some)
    }

    async fn jobs(
        &self,
        ctx: &Context<'_>,
        statuses: Option<Vec<CiJobStatus>>,
        kind: Option<CiJobKind>,
        after: Option<String>,
        before: Option<String>,
        first: Option<i32>,
        last: Option<i32>,
    ) -> Result<Option<CiJobConnection>> {
        let asked = Asked::of(ctx);
        if !asked.first_parent(ctx, "Project", self.0) || !self.may(ctx, Right::Pipelines) {
            return Ok(None);
        }
        let page = PageArguments {
            after,
            before,
            first,
            last,
        };
        let world = asked.world();
        let mut rows: Vec<_> = world
            .pipelines_of(self.0)
            .flat_map(|pipeline| world.jobs_of(pipeline.id))
            .filter(|job| CiJobNode::matches(job, statuses.as_deref(), kind.as_ref(), None))
            .map(|job| ((0, job.id), Some(CiJobNode(job.clone()))))
            .collect();
        rows.sort_by_key(|(key, _)| std::cmp::Reverse(*key));
        let page = page.cut(rows, true, asked.page_maximum())?;
        let wanted: Vec<String> = statuses
            .iter()
            .flatten()
            .map(|status| status.0.to_ascii_lowercase())
            .collect();
        let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
        let last = page.rows.last().and_then(|(_, node)| node.as_ref());
        let read = lists::JobsPage {
            statuses: &wanted,
            before: None,
            last: last.filter(|_| page.info.has_more()).map(|node| node.0.id),
            returned: page.rows.len(),
        };
        asked.note_list(ctx, self.0, lists::jobs(&world, self.0, &read));
        Ok(Some(CiJobConnection(page)))
    }
}
