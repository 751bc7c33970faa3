//! How tests say what pipeline they want.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ci::{Artifact, JobKind, PipelineKind, Trigger, When};
use super::model::{ProjectId, RunnerId};
use crate::time::Millis;

/// A job to be made. Start with [`JobSpec::new`] or [`JobSpec::child_bridge`] and refine.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobSpec {
    /// Name.
    pub name: Arc<str>,
    /// Stage; stages run in the order in which they first occur.
    pub stage: Arc<str>,
    /// When it may start.
    #[serde(default)]
    pub when: When,
    /// Its failure does not fail the pipeline; a manual job with it does not block.
    #[serde(default)]
    pub allow_failure: bool,
    /// Coverage it will report when it finishes.
    pub coverage: Option<f64>,
    /// Files it will leave when it finishes.
    #[serde(default)]
    pub artifacts: Vec<Artifact>,
    /// Tags it asks of a runner.
    #[serde(default)]
    pub tags: Vec<Arc<str>>,
    /// What it triggers; makes it a bridge.
    #[serde(default)]
    pub trigger: Option<Arc<Trigger>>,
    /// Environment that it deploys to.
    #[serde(default)]
    pub environment: Option<Arc<str>>,
}

impl JobSpec {
    /// A job that starts when all earlier stages went well.
    #[must_use]
    pub fn new(stage: &str, name: &str) -> Self {
        Self {
            name: name.into(),
            stage: stage.into(),
            when: When::OnSuccess,
            allow_failure: false,
            coverage: None,
            artifacts: Vec::new(),
            tags: Vec::new(),
            trigger: None,
            environment: None,
        }
    }

    /// A bridge that triggers a child pipeline in the same project.
    #[must_use]
    pub fn child_bridge(stage: &str, name: &str, depend: bool, jobs: Vec<JobSpec>) -> Self {
        Self::bridge(
            stage,
            name,
            Trigger {
                project_id: None,
                ref_name: None,
                depend,
                jobs,
            },
        )
    }

    /// A bridge that triggers a pipeline in another project, on its default branch.
    #[must_use]
    pub fn multi_project_bridge(
        stage: &str,
        name: &str,
        project: ProjectId,
        depend: bool,
        jobs: Vec<JobSpec>,
    ) -> Self {
        Self::bridge(
            stage,
            name,
            Trigger {
                project_id: Some(project),
                ref_name: None,
                depend,
                jobs,
            },
        )
    }

    fn bridge(stage: &str, name: &str, trigger: Trigger) -> Self {
        Self {
            trigger: Some(Arc::new(trigger)),
            ..Self::new(stage, name)
        }
    }

    /// Starts only when somebody plays it; blocks the pipeline until then.
    #[must_use]
    pub fn manual(mut self) -> Self {
        self.when = When::Manual;
        self
    }

    /// Starts at another occasion.
    #[must_use]
    pub fn when(mut self, when: When) -> Self {
        self.when = when;
        self
    }

    /// Its failure does not fail the pipeline.
    #[must_use]
    pub fn allow_failure(mut self) -> Self {
        self.allow_failure = true;
        self
    }

    /// Reports this coverage, in percent.
    #[must_use]
    pub fn coverage(mut self, percent: f64) -> Self {
        self.coverage = Some(percent);
        self
    }

    /// Leaves this file.
    #[must_use]
    pub fn artifact(mut self, file_type: &str, filename: &str, size: u64) -> Self {
        self.artifacts.push(Artifact {
            file_type: file_type.into(),
            filename: filename.into(),
            size,
        });
        self
    }

    /// Deploys to an environment, which is made where it is missing.
    #[must_use]
    pub fn environment(mut self, name: &str) -> Self {
        self.environment = Some(name.into());
        self
    }

    /// Asks for runners with this tag.
    #[must_use]
    pub fn tag(mut self, tag: &str) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Build or bridge.
    #[must_use]
    pub fn kind(&self) -> JobKind {
        if self.trigger.is_some() {
            JobKind::Bridge
        } else {
            JobKind::Build
        }
    }
}

/// A pipeline to be made. Start with [`PipelineSpec::branch`] and its siblings and refine.
#[derive(Clone, Debug)]
pub struct PipelineSpec {
    /// Branch or tag; for merge requests it follows from the iid.
    pub ref_name: Arc<str>,
    /// What it is made for.
    pub kind: PipelineKind,
    /// Its merge request.
    pub merge_request_iid: Option<u64>,
    /// GitLab's `source`, lower case.
    pub source: Arc<str>,
    /// Its jobs.
    pub jobs: Vec<JobSpec>,
    /// When it was made; `None` is now.
    pub created_at: Option<Millis>,
    /// Coverage that does not come from its jobs.
    pub coverage: Option<f64>,
    /// What is wrong with its configuration: it fails at once, without jobs.
    pub config_error: Option<Arc<str>>,
    /// `[ci skip]`: it is skipped at once.
    pub skipped: bool,
    /// It lives on its own as the world evolves.
    pub auto: bool,
}

impl PipelineSpec {
    fn new(
        ref_name: &str,
        kind: PipelineKind,
        source: &str,
        merge_request_iid: Option<u64>,
    ) -> Self {
        Self {
            ref_name: ref_name.into(),
            kind,
            merge_request_iid,
            source: source.into(),
            jobs: Vec::new(),
            created_at: None,
            coverage: None,
            config_error: None,
            skipped: false,
            auto: false,
        }
    }

    /// After a push to a branch.
    #[must_use]
    pub fn branch(name: &str) -> Self {
        Self::new(name, PipelineKind::Branch, "push", None)
    }

    /// After a push of a tag.
    #[must_use]
    pub fn tag(name: &str) -> Self {
        Self::new(name, PipelineKind::Tag, "push", None)
    }

    /// For a merge request's head.
    #[must_use]
    pub fn merge_request(iid: u64) -> Self {
        Self::for_merge_request(iid, PipelineKind::MergeRequest)
    }

    /// For the merge of a merge request into its target.
    #[must_use]
    pub fn merged_result(iid: u64) -> Self {
        Self::for_merge_request(iid, PipelineKind::MergedResult)
    }

    /// For a merge request in a merge train.
    #[must_use]
    pub fn merge_train(iid: u64) -> Self {
        Self::for_merge_request(iid, PipelineKind::MergeTrain)
    }

    pub(super) fn for_merge_request(iid: u64, kind: PipelineKind) -> Self {
        let ref_name = format!("refs/merge-requests/{iid}/{}", kind.ref_suffix());
        Self::new(&ref_name, kind, "merge_request_event", Some(iid))
    }

    /// Made by something else than a push, such as `schedule`; may be a value GitLab does not know.
    #[must_use]
    pub fn source(mut self, source: &str) -> Self {
        self.source = source.into();
        self
    }

    /// With one more job.
    #[must_use]
    pub fn job(mut self, job: JobSpec) -> Self {
        self.jobs.push(job);
        self
    }

    /// With plain jobs of these names in a stage.
    #[must_use]
    pub fn stage(mut self, stage: &str, names: &[&str]) -> Self {
        self.jobs
            .extend(names.iter().map(|name| JobSpec::new(stage, name)));
        self
    }

    /// With these jobs.
    #[must_use]
    pub fn jobs(mut self, jobs: Vec<JobSpec>) -> Self {
        self.jobs = jobs;
        self
    }

    /// Made at another time than now.
    #[must_use]
    pub fn created_at(mut self, at: Millis) -> Self {
        self.created_at = Some(at);
        self
    }

    /// With a coverage of its own, in percent.
    #[must_use]
    pub fn coverage(mut self, percent: f64) -> Self {
        self.coverage = Some(percent);
        self
    }

    /// Fails at once, without jobs, for its configuration.
    #[must_use]
    pub fn config_error(mut self, message: &str) -> Self {
        self.config_error = Some(message.into());
        self
    }

    /// Skipped at once (`[ci skip]`).
    #[must_use]
    pub fn skipped(mut self) -> Self {
        self.skipped = true;
        self
    }

    /// Lives on its own from now on.
    #[must_use]
    pub fn auto(mut self) -> Self {
        self.auto = true;
        self
    }
}

/// How a job ends.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Finish {
    /// GitLab's failure reason; makes the job fail.
    pub failure_reason: Option<String>,
    /// It was canceled.
    pub canceled: bool,
    /// The runner that ran it, if it did not start yet.
    pub runner_id: Option<RunnerId>,
    /// Its running time: sets its start to that long before now.
    pub duration: Option<Millis>,
    /// Coverage it reports, instead of the one it was made with.
    pub coverage: Option<f64>,
}

impl Finish {
    /// Success.
    #[must_use]
    pub fn success() -> Self {
        Self::default()
    }

    /// Failure for a reason such as `script_failure`.
    #[must_use]
    pub fn failed(reason: &str) -> Self {
        Self {
            failure_reason: Some(reason.to_owned()),
            ..Self::default()
        }
    }

    /// Cancellation.
    #[must_use]
    pub fn canceled() -> Self {
        Self {
            canceled: true,
            ..Self::default()
        }
    }

    /// It ran on this runner.
    #[must_use]
    pub fn on(mut self, runner: RunnerId) -> Self {
        self.runner_id = Some(runner);
        self
    }

    /// It ran this long.
    #[must_use]
    pub fn after(mut self, duration: Millis) -> Self {
        self.duration = Some(duration);
        self
    }
}
