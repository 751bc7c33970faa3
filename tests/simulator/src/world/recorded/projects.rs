//! Groups, projects, their repositories and what they deliver.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::rows::{DeploymentRow, EnvironmentRow, ProjectRow, Rows};
use super::{Names, RecordedError, Result, unknown};
use crate::time::{self, DAY, Millis};
use crate::world::code::CommitDetails;
use crate::world::delivery::{Delivery, DeploymentJob};
use crate::world::model::{GitRef, Group, Past, Project, ProjectSettings, Tier};
use crate::world::{
    Code, Commit, Deployment, DeploymentStatus, Environment, EnvironmentState, EnvironmentTier,
    FlowIssue, Incident, Release, Sizes, World,
};

/// How far back the medians of value stream stages reach: as far as they are usually asked for.
const STAGES_OVER: Millis = 30 * DAY;

impl World {
    pub(super) fn read_projects(&mut self, rows: &Rows, names: &Names) -> Result<()> {
        for row in &rows.groups {
            let group = Group {
                id: row.id,
                name: Some(row.name.clone()),
                visibility: Some(row.visibility),
                full_path: row.full_path.clone(),
                parent_id: row.parent_id,
                tier: Tier::Free,
            };
            self.groups.insert(row.id, group);
        }
        for row in &rows.projects {
            self.read_project(rows, row, names)?;
        }
        for row in &rows.redirects {
            self.former_paths
                .insert(row.from.to_lowercase(), row.project_id);
        }
        Ok(())
    }

    fn read_project(&mut self, rows: &Rows, row: &ProjectRow, names: &Names) -> Result<()> {
        let id = row.id;
        let path = &row.path_with_namespace;
        let in_group = rows.groups.iter().find(|group| {
            path.strip_prefix(&*group.full_path)
                .and_then(|rest| rest.strip_prefix('/'))
                .is_some_and(|rest| !rest.contains('/'))
        });
        let mut code = code(rows, row, names)?;
        let since = (self.now - STAGES_OVER).div_euclid(DAY) * DAY;
        code.default_stages[4] = review_stage(rows, id, since);
        let project = Project {
            id,
            group_id: in_group.map(|group| group.id),
            full_path: path.clone(),
            created_at: row.created_at.millis(),
            last_activity_at: row.last_activity_at.millis(),
            archived: row.archived,
            visibility: row.visibility,
            settings: settings(row),
            default_branch: row.default_branch.clone(),
            branches: refs(rows, id, "branch", &code),
            tags: refs(rows, id, "tag", &code),
            merge_requests: BTreeMap::new(),
            former_paths: Vec::new(),
            past: Past::default(),
            next_pipeline_iid: 1,
            pipelines: BTreeSet::new(),
            pipelines_by_update: BTreeSet::new(),
        };
        self.paths.insert(path.to_lowercase(), id);
        self.projects.insert(id, project);
        self.code.insert(id, code);
        self.deliveries
            .projects
            .insert(id, delivery(rows, id, names)?);
        Ok(())
    }
}

fn settings(row: &ProjectRow) -> ProjectSettings {
    ProjectSettings {
        name: Some(row.name.clone()),
        public_jobs: row.public_jobs,
        builds: row.builds_access_level,
        merge_requests: row.merge_requests_access_level,
        repository: row.repository_access_level,
        environments: row.environments_access_level,
        analytics: row.analytics_access_level,
        issues: row.issues_access_level,
        releases: row.releases_access_level,
        deletion_asked_at: row.marked_for_deletion_on.as_deref().and_then(time::parse),
        repository_missing: row.default_branch.is_none(),
        updated_at: Some(row.updated_at.millis()),
        forked_from: row.forked_from_project_id,
        topics: Vec::new(),
        creator_id: row.creator_id,
        namespace_id: Some(row.namespace_id),
    }
}

fn refs(rows: &Rows, project: u64, kind: &str, code: &Code) -> BTreeMap<Arc<str>, GitRef> {
    let own = rows.refs.iter();
    own.filter(|row| row.project_id == project && row.kind == kind)
        .map(|row| {
            let commit = code.commits.get(&row.commit);
            let found = GitRef {
                name: row.name.clone(),
                sha: row.commit.clone(),
                committed_at: commit.map_or(0, |commit| commit.committed_at),
            };
            (row.name.clone(), found)
        })
        .collect()
}

fn commits(rows: &Rows, project: u64) -> BTreeMap<Arc<str>, Commit> {
    let own = rows.commits.iter().filter(|row| row.project_id == project);
    own.map(|row| {
        let mut parents = row.parent_ids.iter().cloned();
        let commit = Commit {
            sha: row.id.clone(),
            parent: parents.next(),
            merge: row.parent_ids.len() > 1,
            author_name: row.author_name.clone(),
            author_email: row.author_email.clone(),
            authored_at: row.authored_date.millis(),
            committed_at: row.committed_date.millis(),
            additions: row.additions.unwrap_or_default(),
            deletions: row.deletions.unwrap_or_default(),
            details: CommitDetails {
                message: Some(row.message.clone()),
                committer: Some((row.committer_name.clone(), row.committer_email.clone())),
                merged: parents.collect(),
            },
        };
        (row.id.clone(), commit)
    })
    .collect()
}

fn code(rows: &Rows, row: &ProjectRow, names: &Names) -> Result<Code> {
    let id = row.id;
    let mut code = Code {
        commits: commits(rows, id),
        tip: rows
            .refs
            .iter()
            .find(|found| {
                found.project_id == id
                    && found.kind == "branch"
                    && Some(&found.name) == row.default_branch.as_ref()
            })
            .map(|found| found.commit.clone()),
        stars: row.star_count,
        forks: rows
            .projects
            .iter()
            .filter(|other| other.forked_from_project_id == Some(id))
            .count() as u32,
        ..Code::default()
    };
    if let Some(found) = rows.statistics.iter().find(|row| row.project_id == id) {
        code.commits_counted = Some(found.commit_count);
        code.sizes = Sizes {
            repository: found.repository_size,
            lfs_objects: found.lfs_objects_size,
            job_artifacts: found.build_artifacts_size,
            packages: found.packages_size,
            container_registry: Some(found.container_registry_size),
            wiki: found.wiki_size,
        };
        code.other_sizes = crate::world::code::OtherSizes {
            pipeline_artifacts: found.pipeline_artifacts_size,
            snippets: found.snippets_size,
            uploads: found.uploads_size,
            together: Some(found.storage_size),
        };
    }
    for found in rows.releases.iter().filter(|row| row.project_id == id) {
        let release = Release {
            tag: found.tag_name.clone(),
            created_at: found.created_at.millis(),
            released_at: found.released_at.millis(),
            name: found.name.clone(),
            author: names.maybe(found.author_id)?,
        };
        code.releases.insert(found.tag_name.clone(), release);
    }
    code.default_stages[3] = test_stage(rows, id);
    code.issues = rows
        .issues
        .iter()
        .filter(|row| row.project_id == id)
        .map(|row| FlowIssue {
            created_at: row.created_at.millis(),
            mentioned_at: None,
            closed_at: row.closed_at.map(|at| at.millis()),
        })
        .collect();
    Ok(code)
}

/// Median of the value stream's stage `test`: from start to end of the newest pipelines of merge requests.
fn test_stage(rows: &Rows, project: u64) -> Option<f64> {
    let own = rows.merge_requests.iter();
    let own = own.filter(|row| row.project_id == project);
    let spans = own.filter_map(|row| {
        let newest = row.metrics_pipeline_id?;
        let pipeline = rows.pipelines.iter().find(|found| found.id == newest)?;
        Some(pipeline.finished_at?.since(pipeline.started_at?))
    });
    median(spans.collect())
}

/// Median of the value stream's stage `review`: from the making of merge requests to their merge.
fn review_stage(rows: &Rows, project: u64, since: Millis) -> Option<f64> {
    let own = rows.merge_requests.iter();
    let own = own.filter(|row| row.project_id == project && row.created_at.millis() >= since);
    median(
        own.filter_map(|row| Some(row.merged_at?.since(row.created_at)))
            .collect(),
    )
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    let (low, high) = (values.get(last / 2)?, values.get(last.div_ceil(2))?);
    Some((low + high) / 2.0)
}

fn delivery(rows: &Rows, project: u64, names: &Names) -> Result<Delivery> {
    let mut delivery = Delivery::default();
    for row in rows
        .environments
        .iter()
        .filter(|row| row.project_id == project)
    {
        delivery.environments.insert(row.id, environment(row)?);
    }
    for row in rows
        .deployments
        .iter()
        .filter(|row| row.project_id == project)
    {
        let found = deployment(rows, row, names)?;
        delivery.deployments.insert(row.id, found);
    }
    for row in rows.issues.iter().filter(|row| row.project_id == project) {
        let issue = Incident {
            id: row.id,
            iid: row.iid,
            project_id: project,
            created_at: row.created_at.millis(),
            updated_at: row.updated_at.millis(),
            closed_at: row.closed_at.map(|at| at.millis()),
            duplicate_of: row.duplicated_to_iid,
            issue_type: Some(row.issue_type.clone()),
            title: Some(row.title.clone()),
            author: Some(names.of(row.author_id)?),
        };
        delivery.incidents.insert(row.iid, issue);
    }
    Ok(delivery)
}

fn environment(row: &EnvironmentRow) -> Result<Environment> {
    let tier = EnvironmentTier::parse(&row.tier).ok_or_else(|| unknown("tier", &row.tier))?;
    let state = EnvironmentState::parse(&row.state);
    Ok(Environment {
        id: row.id,
        project_id: row.project_id,
        name: row.name.clone(),
        tier,
        state: state.ok_or_else(|| unknown("state of an environment", &row.state))?,
        external_url: row.external_url.clone(),
        slug: Some(row.slug.clone()),
        auto_stop_at: row.auto_stop_at.map(|at| at.millis()),
        created_at: row.created_at.millis(),
        updated_at: row.updated_at.millis(),
    })
}

fn deployment(rows: &Rows, row: &DeploymentRow, names: &Names) -> Result<Deployment> {
    let status = DeploymentStatus::parse(&row.status)
        .ok_or_else(|| unknown("status of a deployment", &row.status))?;
    let millis = |at: Option<super::rows::Moment>| at.map(|at| -> Millis { at.millis() });
    // A job that was deleted with its pipeline leaves its id in the row.
    let job = rows
        .jobs
        .iter()
        .find(|job| Some(job.id) == row.deployable_job_id);
    if !rows.projects.iter().any(|found| found.id == row.project_id) {
        return Err(RecordedError::Missing {
            what: "project",
            id: row.project_id,
        });
    }
    Ok(Deployment {
        id: row.id,
        iid: row.iid,
        project_id: row.project_id,
        environment_id: row.environment_id,
        ref_name: row.ref_name.clone(),
        sha: row.sha.clone(),
        status,
        created_at: row.created_at.millis(),
        updated_at: row.updated_at.millis(),
        finished_at: millis(row.finished_at),
        job: job.map(|job| DeploymentJob {
            id: job.id,
            name: job.name.clone(),
            started_at: millis(job.started_at),
            finished_at: millis(job.finished_at),
        }),
        merge_requests: row.merge_request_iids.clone(),
        user: names.maybe(row.user_id)?,
    })
}
