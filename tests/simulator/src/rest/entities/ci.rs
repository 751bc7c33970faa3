//! Pipelines, jobs and runners.

use serde_json::{Map, Value, json};

use super::{View, at, maybe};
use crate::access::{Right, Viewer};
use crate::world::{Job, JobKind, Manager, Pipeline, Runner, RunnerType, Status};

/// Where there was no commit before a push.
const NO_COMMIT: &str = "0000000000000000000000000000000000000000";

/// GitLab's names of a status for people: text, label.
fn status_names(status: &Status) -> (String, String) {
    let (text, label) = match status {
        Status::Success => ("Passed", "passed"),
        Status::Failed => ("Failed", "failed"),
        Status::Canceled => ("Canceled", "canceled"),
        Status::Canceling => ("Canceling", "canceling"),
        Status::Running => ("Running", "running"),
        Status::Pending => ("Pending", "pending"),
        Status::Created => ("Created", "created"),
        Status::Skipped => ("Skipped", "skipped"),
        Status::Manual => ("Blocked", "waiting for manual action"),
        Status::Scheduled => ("Delayed", "waiting for delayed job"),
        Status::Preparing => ("Preparing", "preparing"),
        Status::WaitingForResource => ("Waiting", "waiting for resource"),
        Status::WaitingForCallback => ("Waiting", "waiting for callback"),
        Status::Other(raw) => return (raw.to_string(), raw.to_string()),
    };
    (text.to_owned(), label.to_owned())
}

impl View<'_> {
    /// A pipeline as lists and other entities show it.
    pub fn pipeline_in_lists(&self, pipeline: &Pipeline) -> Map<String, Value> {
        let mut fields = self.pipeline_basic(pipeline);
        fields.insert("name".into(), pipeline.details.name.as_deref().into());
        fields
    }

    /// A pipeline as jobs and deployments show it.
    pub fn pipeline_basic(&self, pipeline: &Pipeline) -> Map<String, Value> {
        let path = self.path_of(pipeline.project_id);
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
            "web_url": format!("{}/{path}/-/pipelines/{}", self.base_url, pipeline.id),
        });
        value.as_object().cloned().unwrap_or_default()
    }

    fn path_of(&self, project: u64) -> &str {
        let project = self.world.project(project);
        project.map_or("", |project| &project.full_path)
    }

    /// A single pipeline with everything.
    pub fn pipeline(&self, pipeline: &Pipeline) -> Value {
        let world = self.world;
        let mut fields = self.pipeline_in_lists(pipeline);
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
        let details = &pipeline.details;
        let before = details.before_sha.as_deref();
        let before = before.or((!details.without_before_sha).then_some(NO_COMMIT));
        let more = json!({
            "before_sha": before,
            "tag": pipeline.tag(),
            "yaml_errors": pipeline.yaml_errors.as_deref(),
            "user": self.user(details.user.as_deref()),
            "started_at": maybe(pipeline.started_at),
            "finished_at": maybe(pipeline.finished_at),
            "committed_at": null,
            "duration": pipeline.duration,
            "queued_duration": queued,
            "coverage": coverage,
            "archived": false,
            "detailed_status": self.detailed_status(pipeline),
        });
        if let Value::Object(more) = more {
            fields.extend(more);
        }
        Value::Object(fields)
    }

    fn detailed_status(&self, pipeline: &Pipeline) -> Value {
        let status = pipeline.status.as_str();
        // As nobody in particular sees it.
        let nobody = Viewer::new(self.world, None);
        let project = self.world.project(pipeline.project_id);
        let details = project.is_some_and(|project| nobody.may(project, Right::Pipelines));
        let warnings = pipeline.status == Status::Success
            && self.world.jobs_of(pipeline.id).any(|job| {
                job.allow_failure
                    && !job.retried
                    && matches!(job.status, Status::Failed | Status::Canceled)
            });
        let (icon, group) = if warnings {
            ("status_warning".to_owned(), "success-with-warnings")
        } else {
            (format!("status_{status}"), status)
        };
        let (text, label) = if warnings {
            ("Warning".to_owned(), "passed with warnings".to_owned())
        } else {
            status_names(&pipeline.status)
        };
        let tooltip = match pipeline.status {
            Status::Success => label.as_str(),
            _ => status,
        };
        json!({
            "icon": icon,
            "text": text,
            "label": label,
            "group": group,
            "tooltip": tooltip,
            "has_details": details,
            "details_path": format!("/{}/-/pipelines/{}", self.path_of(pipeline.project_id), pipeline.id),
            "illustration": null,
            "favicon": format!("/images/ci_favicons/favicon_status_{status}.png"),
        })
    }

    /// A job, or a bridge with its downstream pipeline.
    pub fn job(&self, job: &Job) -> Value {
        let world = self.world;
        let Some(pipeline) = world.pipeline(job.pipeline_id) else {
            return Value::Null;
        };
        let Some(project) = world.project(pipeline.project_id) else {
            return Value::Null;
        };
        let now = world.now();
        let over = job.status.is_complete();
        let user = job.details.user.as_deref();
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
            "user": self.public_user(user.or(pipeline.details.user.as_deref())),
            "commit": self.commit_of(project, &pipeline.sha, Some(pipeline.created_at)),
            "pipeline": self.pipeline_basic(pipeline),
            "web_url": format!("{}/{}/-/jobs/{}", self.base_url, project.full_path, job.id),
            "project": {"ci_job_token_scope_enabled": false},
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
            let shown = downstream.map(|pipeline| Value::Object(self.pipeline_basic(pipeline)));
            fields.insert("downstream_pipeline".into(), shown.unwrap_or(Value::Null));
            return value;
        }
        self.add_artifacts(job, fields);
        fields.insert("archived".into(), false.into());
        fields.insert(
            "tag_list".into(),
            job.tags.iter().map(|tag| json!(&**tag)).collect(),
        );
        let runner = job.runner_id.and_then(|id| world.runner(id));
        let manager = job.details.manager_id.zip(runner).map(|(id, runner)| {
            let managers = self.managers(runner);
            let found = managers.into_iter().find(|manager| manager["id"] == id);
            found.unwrap_or(Value::Null)
        });
        fields.insert(
            "runner".into(),
            runner.map_or(Value::Null, |runner| self.runner(runner)),
        );
        fields.insert("runner_manager".into(), manager.unwrap_or(Value::Null));
        value
    }

    fn add_artifacts(&self, job: &Job, fields: &mut Map<String, Value>) {
        let artifacts = &job.artifacts[..];
        let artifacts = if job.status.is_complete() {
            artifacts
        } else {
            &[]
        };
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
            let format = match &*artifact.file_type {
                "archive" => Some("zip"),
                "metadata" | "junit" => Some("gzip"),
                "trace" => None,
                _ => Some("raw"),
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
    }

    /// A runner as lists and jobs show it.
    pub fn runner(&self, runner: &Runner) -> Value {
        let details = self.world.runner_details(runner.id);
        let status = self.world.runner_status(&details);
        let contact = self.world.contact_of(&details);
        let creator = details.creator.as_deref();
        json!({
            "id": runner.id,
            "description": &*runner.description,
            "ip_address": null,
            "active": !details.paused,
            "paused": details.paused,
            "is_shared": runner.runner_type == RunnerType::InstanceType,
            "runner_type": runner.runner_type.as_str(),
            "name": null,
            "online": contact.map(|_| status == "online"),
            "created_by": creator.map(|name| self.user(Some(name))),
            "created_at": at(details.created_at.unwrap_or(self.world.config().start)),
            "status": status,
        })
    }

    /// The processes that work for a runner.
    pub fn managers(&self, runner: &Runner) -> Vec<Value> {
        let details = self.world.runner_details(runner.id);
        let contact = self.world.contact_of(&details);
        let status = self.world.runner_status(&details);
        let one = |(manager, place): (&Manager, u64)| {
            let own = &manager.details;
            let contact = own.contacted_at.or(contact);
            let created = own.created_at.or(details.created_at);
            json!({
                "id": own.id.unwrap_or(runner.id * 100 + place),
                "system_id": &*manager.system_id,
                "version": manager.version.as_deref(),
                "revision": own.revision.as_deref(),
                "platform": manager.platform.as_deref(),
                "architecture": manager.architecture.as_deref(),
                "created_at": at(created.unwrap_or(self.world.config().start)),
                "contacted_at": maybe(contact),
                "ip_address": "127.0.0.1",
                "status": status,
            })
        };
        details.managers.iter().zip(1..).map(one).collect()
    }
}
