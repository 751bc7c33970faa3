//! GitLab's JSON for each kind of thing.

use serde_json::{Map, Value, json};

use super::USERNAME;
use crate::access::Viewer;
use crate::auth::AccessLevel;
use crate::time::{self, Millis};
use crate::world::reviews::display_name;
use crate::world::{
    GitRef, Job, JobKind, MergeRequest, Note, Pipeline, Project, Runner, RunnerType, World,
};

fn at(time: Millis) -> Value {
    Value::String(time::milliseconds(time))
}

fn maybe(time: Option<Millis>) -> Value {
    time.map_or(Value::Null, at)
}

/// The user who did everything.
pub fn user(base_url: &str) -> Value {
    json!({
        "id": 100,
        "username": USERNAME,
        "name": "Exporter Bot",
        "state": "active",
        "locked": false,
        "avatar_url": null,
        "web_url": format!("{base_url}/{USERNAME}"),
    })
}

/// A project; `simple` leaves most out.
pub fn project(project: &Project, viewer: &Viewer, base_url: &str, simple: bool) -> Value {
    let path = &project.full_path;
    let namespace = project.namespace();
    let mut value = json!({
        "id": project.id,
        "description": null,
        "name": project.path(),
        "name_with_namespace": path.replace('/', " / "),
        "path": project.path(),
        "path_with_namespace": &**path,
        "created_at": at(project.created_at),
        "default_branch": project.default_branch.as_deref(),
        "tag_list": [],
        "topics": [],
        "ssh_url_to_repo": format!("git@gitlab.example.com:{path}.git"),
        "http_url_to_repo": format!("{base_url}/{path}.git"),
        "web_url": format!("{base_url}/{path}"),
        "readme_url": null,
        "forks_count": 0,
        "avatar_url": null,
        "star_count": 0,
        "last_activity_at": at(project.last_activity_at),
        "visibility": project.visibility.as_str(),
        "namespace": {
            "id": project.group_id.unwrap_or(1),
            "name": namespace.rsplit('/').next(),
            "path": namespace.rsplit('/').next(),
            "kind": if project.group_id.is_some() { "group" } else { "user" },
            "full_path": namespace,
            "parent_id": null,
        },
    });
    if !simple && let Some(fields) = value.as_object_mut() {
        let role = viewer.role(project.id);
        let access = (role > AccessLevel::None)
            .then(|| json!({"access_level": role.value(), "notification_level": 3}));
        fields.insert("archived".into(), project.archived.into());
        fields.insert("empty_repo".into(), project.branches.is_empty().into());
        fields.insert("open_issues_count".into(), 0.into());
        fields.insert("jobs_enabled".into(), true.into());
        fields.insert("merge_requests_enabled".into(), true.into());
        fields.insert("updated_at".into(), at(project.last_activity_at));
        fields.insert(
            "permissions".into(),
            json!({"project_access": access, "group_access": null}),
        );
    }
    value
}

/// A commit, shortened.
fn commit(project: &Project, sha: &str, time: Millis, base_url: &str) -> Value {
    json!({
        "id": sha,
        "short_id": sha.get(..8).unwrap_or(sha),
        "created_at": at(time),
        "parent_ids": [],
        "title": "Change something",
        "message": "Change something\n",
        "author_name": "Exporter Bot",
        "author_email": "bot@example.com",
        "authored_date": at(time),
        "committer_name": "Exporter Bot",
        "committer_email": "bot@example.com",
        "committed_date": at(time),
        "trailers": {},
        "extended_trailers": {},
        "web_url": format!("{base_url}/{}/-/commit/{sha}", project.full_path),
    })
}

/// A branch.
pub fn branch(project: &Project, branch: &GitRef, base_url: &str) -> Value {
    let default = project.default_branch.as_ref() == Some(&branch.name);
    json!({
        "name": &*branch.name,
        "commit": commit(project, &branch.sha, branch.committed_at, base_url),
        "merged": false,
        "protected": default,
        "developers_can_push": false,
        "developers_can_merge": false,
        "can_push": false,
        "default": default,
        "web_url": format!("{base_url}/{}/-/tree/{}", project.full_path, branch.name),
    })
}

/// A tag.
pub fn tag(project: &Project, tag: &GitRef, base_url: &str) -> Value {
    json!({
        "name": &*tag.name,
        "message": "",
        "target": &*tag.sha,
        "commit": commit(project, &tag.sha, tag.committed_at, base_url),
        "release": null,
        "protected": false,
        "created_at": null,
    })
}

/// A pipeline as lists and other entities show it.
pub fn pipeline_basic(world: &World, pipeline: &Pipeline, base_url: &str) -> Map<String, Value> {
    let path = world
        .project(pipeline.project_id)
        .map_or("", |project| &project.full_path);
    let value = json!({
        "id": pipeline.id,
        "iid": pipeline.iid,
        "project_id": pipeline.project_id,
        "sha": &*pipeline.sha,
        "ref": &*pipeline.ref_name,
        "status": pipeline.status.as_str(),
        "source": &*pipeline.source,
        "created_at": at(pipeline.created_at),
        "updated_at": at(pipeline.updated_at),
        "web_url": format!("{base_url}/{path}/-/pipelines/{}", pipeline.id),
        "name": null,
    });
    value.as_object().cloned().unwrap_or_default()
}

/// A single pipeline with everything.
pub fn pipeline(world: &World, pipeline: &Pipeline, base_url: &str) -> Value {
    let mut fields = pipeline_basic(world, pipeline, base_url);
    let keep_zero = !world.quirks.null_instead_of_zero_queue;
    let queued = pipeline
        .queued_seconds()
        .filter(|seconds| keep_zero || *seconds != 0);
    let coverage = world.coverage_of(pipeline).map_or(Value::Null, |percent| {
        if world.quirks.coverage_as_string {
            format!("{percent:.2}").into()
        } else {
            percent.into()
        }
    });
    let status = pipeline.status.as_str();
    fields.insert(
        "before_sha".into(),
        "0000000000000000000000000000000000000000".into(),
    );
    fields.insert("tag".into(), pipeline.tag().into());
    fields.insert("yaml_errors".into(), pipeline.yaml_errors.as_deref().into());
    fields.insert("user".into(), user(base_url));
    fields.insert("started_at".into(), maybe(pipeline.started_at));
    fields.insert("finished_at".into(), maybe(pipeline.finished_at));
    fields.insert("committed_at".into(), Value::Null);
    fields.insert("duration".into(), pipeline.duration.into());
    fields.insert("queued_duration".into(), queued.into());
    fields.insert("coverage".into(), coverage);
    fields.insert("archived".into(), false.into());
    fields.insert(
        "detailed_status".into(),
        json!({
            "icon": format!("status_{status}"),
            "text": status,
            "label": status,
            "group": status,
            "tooltip": status,
            "has_details": true,
            "details_path": format!("/-/pipelines/{}", pipeline.id),
            "illustration": null,
            "favicon": format!("/assets/ci_favicons/favicon_status_{status}.png"),
        }),
    );
    Value::Object(fields)
}

/// A job, or a bridge with its downstream pipeline.
pub fn job(world: &World, job: &Job, base_url: &str) -> Value {
    let Some(pipeline) = world.pipeline(job.pipeline_id) else {
        return Value::Null;
    };
    let Some(project) = world.project(pipeline.project_id) else {
        return Value::Null;
    };
    let now = world.now();
    let over = job.status.is_complete();
    let mut value = json!({
        "id": job.id,
        "status": job.status.as_str(),
        "stage": &*job.stage,
        "name": &*job.name,
        "ref": &*pipeline.ref_name,
        "tag": pipeline.tag(),
        "coverage": if over { job.coverage } else { None },
        "allow_failure": job.allow_failure,
        "created_at": at(job.created_at),
        "started_at": maybe(job.started_at),
        "finished_at": maybe(job.finished_at),
        "erased_at": null,
        "duration": job.duration_seconds(now),
        "queued_duration": job.queued_seconds(now),
        "user": user(base_url),
        "commit": commit(project, &pipeline.sha, pipeline.created_at, base_url),
        "pipeline": pipeline_basic(world, pipeline, base_url),
        "web_url": format!("{base_url}/{}/-/jobs/{}", project.full_path, job.id),
        "project": {"ci_job_token_scope_enabled": false},
        "archived": false,
    });
    let Some(fields) = value.as_object_mut() else {
        return Value::Null;
    };
    if job.failure_reason.is_some() || !world.quirks.failure_reason_key_only_if_failed {
        fields.insert(
            "failure_reason".into(),
            job.failure_reason.as_deref().into(),
        );
    }
    if job.kind == JobKind::Bridge {
        let downstream = job.downstream_id.and_then(|id| world.pipeline(id));
        let shown =
            downstream.map(|pipeline| Value::Object(pipeline_basic(world, pipeline, base_url)));
        fields.insert("downstream_pipeline".into(), shown.unwrap_or(Value::Null));
        return value;
    }
    let artifacts = if over { &job.artifacts[..] } else { &[] };
    let archive = artifacts
        .iter()
        .find(|artifact| &*artifact.file_type == "archive");
    if let Some(archive) = archive {
        fields.insert(
            "artifacts_file".into(),
            json!({"filename": &*archive.filename, "size": archive.size}),
        );
    }
    let files = artifacts.iter().map(|artifact| {
        let format = if &*artifact.file_type == "archive" {
            "zip"
        } else {
            "raw"
        };
        json!({
            "file_type": &*artifact.file_type,
            "size": artifact.size,
            "filename": &*artifact.filename,
            "file_format": format,
        })
    });
    fields.insert("artifacts".into(), files.collect());
    fields.insert("artifacts_expire_at".into(), Value::Null);
    fields.insert(
        "tag_list".into(),
        job.tags.iter().map(|tag| json!(&**tag)).collect(),
    );
    let runner = job.runner_id.and_then(|id| world.runner(id));
    fields.insert("runner".into(), runner.map_or(Value::Null, runner_basic));
    fields.insert("runner_manager".into(), Value::Null);
    value
}

fn runner_basic(runner: &Runner) -> Value {
    json!({
        "id": runner.id,
        "description": &*runner.description,
        "ip_address": "",
        "active": true,
        "paused": false,
        "is_shared": runner.runner_type == RunnerType::InstanceType,
        "runner_type": runner.runner_type.as_str(),
        "name": "gitlab-runner",
        "online": true,
        "created_at": null,
        "created_by": null,
        "status": "online",
    })
}

/// A user who works on merge requests.
pub fn member(username: &str, base_url: &str) -> Value {
    json!({
        "id": 1_000 + username.bytes().map(u64::from).sum::<u64>(),
        "username": username,
        "public_email": "",
        "name": display_name(username),
        "state": "active",
        "locked": false,
        "avatar_url": null,
        "web_url": format!("{base_url}/{username}"),
    })
}

/// A note of a merge request.
pub fn note(merge_request: &MergeRequest, note: &Note, base_url: &str) -> Value {
    json!({
        "id": note.id,
        "type": null,
        "body": &*note.body,
        "author": member(&note.author, base_url),
        "created_at": at(note.created_at),
        "updated_at": at(note.created_at),
        "system": note.action.is_some(),
        "noteable_id": merge_request.id,
        "noteable_type": "MergeRequest",
        "project_id": merge_request.project_id,
        "resolvable": false,
        "confidential": false,
        "internal": false,
        "imported": false,
        "imported_from": "none",
        "noteable_iid": merge_request.iid,
        "commands_changes": {},
    })
}

/// A merge request as lists show it.
pub fn merge_request(project: &Project, merge_request: &MergeRequest, base_url: &str) -> Value {
    let reference = format!("!{}", merge_request.iid);
    let review = &merge_request.review;
    let who = member(&review.author, base_url);
    let reviewers = review.reviewers.iter();
    let reviewers: Vec<Value> = reviewers
        .map(|one| member(&one.username, base_url))
        .collect();
    let merged = merge_request.merged_at.is_some();
    json!({
        "id": merge_request.id,
        "iid": merge_request.iid,
        "project_id": merge_request.project_id,
        "title": &*merge_request.title,
        "description": "",
        "state": merge_request.state.as_str(),
        "created_at": at(merge_request.created_at),
        "updated_at": at(merge_request.updated_at),
        "merged_by": if merged { who.clone() } else { Value::Null },
        "merge_user": if merged { who.clone() } else { Value::Null },
        "merged_at": maybe(merge_request.merged_at),
        "closed_by": if merge_request.closed_at.is_some() { who.clone() } else { Value::Null },
        "closed_at": maybe(merge_request.closed_at),
        "target_branch": &*merge_request.target_branch,
        "source_branch": &*merge_request.source_branch,
        "user_notes_count": review.comments(),
        "upvotes": 0,
        "downvotes": 0,
        "author": who,
        "assignees": [],
        "assignee": null,
        "reviewers": reviewers,
        "source_project_id": merge_request.project_id,
        "target_project_id": merge_request.project_id,
        "labels": [],
        "draft": merge_request.title.starts_with("Draft:"),
        "work_in_progress": merge_request.title.starts_with("Draft:"),
        "milestone": null,
        "merge_when_pipeline_succeeds": false,
        "merge_status": if review.conflicts { "cannot_be_merged" } else { "can_be_merged" },
        "has_conflicts": review.conflicts,
        "detailed_merge_status": if merge_request.state.as_str() == "opened" { "mergeable" } else { "not_open" },
        "sha": &*merge_request.sha,
        "merge_commit_sha": null,
        "squash_commit_sha": null,
        "discussion_locked": null,
        "should_remove_source_branch": null,
        "force_remove_source_branch": null,
        "reference": reference.clone(),
        "references": {
            "short": reference.clone(),
            "relative": reference.clone(),
            "full": format!("{}{reference}", project.full_path),
        },
        "web_url": format!("{base_url}/{}/-/merge_requests/{}", project.full_path, merge_request.iid),
        "squash": false,
    })
}
