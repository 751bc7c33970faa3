//! What people do in a living world: they push, open and merge merge requests, tag, schedule; and the
//! pipelines that come of it.

use std::sync::Arc;

use rand::RngExt;

use super::World;
use super::ci::{PipelineKind, When};
use super::model::{MergeRequestState, ProjectId};
use super::spec::{JobSpec, PipelineSpec};

impl World {
    /// One thing that somebody does in a project.
    pub(super) fn act(&mut self, project: ProjectId) {
        self.live_on(project);
        self.review_on(project);
        let dice: f64 = self.rng.random();
        let open: Vec<u64> = self
            .project(project)
            .into_iter()
            .flat_map(|project| project.merge_requests.values())
            .filter(|merge_request| merge_request.state == MergeRequestState::Opened)
            .map(|merge_request| merge_request.iid)
            .collect();
        let branch = self
            .project(project)
            .and_then(|project| project.default_branch.clone())
            .unwrap_or_else(|| "main".into());
        match (dice, self.pick(&open)) {
            (0.0..0.30, Some(iid)) => self.push_to_merge_request(project, iid),
            (0.30..0.42, Some(iid)) => self.merge(project, iid, &branch),
            (0.42..0.45, Some(iid)) => {
                self.set_merge_request_state(project, iid, MergeRequestState::Closed)
                    .ok();
            }
            (0.45..0.60, _) => self.open_merge_request(project, &branch),
            (0.60..0.66, _) => self.release(project),
            (0.66..0.74, _) => {
                self.run_auto(project, PipelineSpec::branch(&branch).source("schedule"))
            }
            (0.74..0.78, _) => {
                let source = self.pick(&["web", "api", "trigger"]).unwrap_or("web");
                self.run_auto(project, PipelineSpec::branch(&branch).source(source));
            }
            _ => {
                self.push(project, &branch).ok();
                self.run_auto(project, PipelineSpec::branch(&branch));
            }
        }
    }

    fn push_to_merge_request(&mut self, project: ProjectId, iid: u64) {
        let source = self
            .project(project)
            .and_then(|project| project.merge_requests.get(&iid))
            .map(|merge_request| merge_request.source_branch.clone());
        let Some(source) = source else { return };
        self.push(project, &source).ok();
        let kind = match self.rng.random::<f64>() {
            0.0..0.5 => PipelineKind::MergeRequest,
            0.5..0.8 => PipelineKind::MergedResult,
            _ => PipelineKind::MergeTrain,
        };
        self.run_auto(project, PipelineSpec::for_merge_request(iid, kind));
    }

    fn open_merge_request(&mut self, project: ProjectId, target: &str) {
        let number = self.between(1, 1_000_000);
        let source = format!("feature-{number}");
        if self.push(project, &source).is_err() {
            return;
        }
        if self.chance(0.5) {
            self.run_auto(project, PipelineSpec::branch(&source));
        }
        if let Ok(iid) = self.create_merge_request(project, &source, target) {
            self.run_auto(project, PipelineSpec::merge_request(iid));
        }
    }

    fn merge(&mut self, project: ProjectId, iid: u64, target: &str) {
        let source = self
            .project(project)
            .and_then(|project| project.merge_requests.get(&iid))
            .map(|merge_request| merge_request.source_branch.clone());
        self.set_merge_request_state(project, iid, MergeRequestState::Merged)
            .ok();
        if let Some(source) = source
            && self.chance(0.8)
        {
            self.delete_branch(project, &source).ok();
        }
        self.run_auto(project, PipelineSpec::branch(target));
    }

    fn release(&mut self, project: ProjectId) {
        let tags = self
            .project(project)
            .map_or(0, |project| project.tags.len());
        let tag = format!("v1.{tags}.0");
        self.create_tag(project, &tag).ok();
        self.create_release(project, &tag, self.now).ok();
        self.run_auto(project, PipelineSpec::tag(&tag));
    }

    /// Makes an auto pipeline with the jobs of the project's template, or one of the odd ones.
    fn run_auto(&mut self, project: ProjectId, spec: PipelineSpec) {
        let mix = self.mix();
        let spec = if self.chance(mix.config_error) {
            spec.config_error("jobs:deploy config contains unknown keys: scripts")
        } else if self.chance(mix.skipped) {
            spec.skipped()
        } else {
            let jobs = self.template(project);
            spec.jobs(jobs)
        };
        self.create_pipeline(project, &spec.auto()).ok();
    }

    fn template(&mut self, project: ProjectId) -> Vec<JobSpec> {
        let mix = self.mix();
        let mut jobs = plain_jobs(self.config.jobs_per_pipeline);
        if self.chance(mix.coverage)
            && let Some(job) = jobs.iter_mut().find(|job| &*job.stage == "test")
        {
            job.coverage = Some(self.between(5_000, 9_900) as f64 / 100.0);
        }
        if self.chance(mix.blocked) {
            jobs.push(JobSpec::new("approve", "approve").manual());
            jobs.push(JobSpec::new("production", "deploy to production"));
        } else if self.chance(mix.delayed) {
            jobs.push(JobSpec::new("rollout", "roll out slowly").when(When::Delayed));
            jobs.push(JobSpec::new("verify", "verify"));
        } else if self.chance(mix.optional_manual) {
            jobs.push(
                JobSpec::new("production", "deploy to review")
                    .manual()
                    .allow_failure(),
            );
        }
        if self.chance(mix.cleanup) {
            jobs.push(JobSpec::new("cleanup", "report failure").when(When::OnFailure));
        }
        if self.chance(mix.child) {
            let mut child = plain_jobs(3);
            if self.chance(0.5) {
                child.push(JobSpec::child_bridge(
                    "trigger",
                    "grandchild",
                    false,
                    plain_jobs(2),
                ));
            }
            let depend = self.chance(0.6);
            jobs.push(JobSpec::child_bridge("trigger", "child", depend, child));
        }
        if self.chance(mix.multi_project)
            && let Some(bridge) = self.chain(project)
        {
            jobs.push(bridge);
        }
        jobs
    }

    /// A bridge to the next project, whose pipeline triggers one in the project after that.
    fn chain(&mut self, project: ProjectId) -> Option<JobSpec> {
        let second = self.project_after(project)?;
        let mut jobs = plain_jobs(2);
        if let Some(third) = self.project_after(second).filter(|third| *third != project) {
            jobs.push(JobSpec::multi_project_bridge(
                "downstream",
                "trigger third",
                third,
                false,
                plain_jobs(2),
            ));
        }
        let depend = self.chance(0.5);
        Some(JobSpec::multi_project_bridge(
            "downstream",
            "trigger second",
            second,
            depend,
            jobs,
        ))
    }

    fn project_after(&self, project: ProjectId) -> Option<ProjectId> {
        let next = self
            .projects
            .range(project + 1..)
            .next()
            .or_else(|| self.projects.iter().next());
        next.map(|(id, _)| *id).filter(|id| *id != project)
    }
}

/// `count` plain jobs in stages build, test and deploy.
pub(super) fn plain_jobs(count: usize) -> Vec<JobSpec> {
    let builds = count.div_ceil(4);
    let deploys = count / 6;
    (0..count)
        .map(|index| {
            let (stage, name): (&str, Arc<str>) = if index < builds {
                ("build", format!("build {index}").into())
            } else if index < count - deploys {
                ("test", format!("test {index}").into())
            } else {
                ("deploy", format!("deploy {index}").into())
            };
            let job = JobSpec {
                name,
                ..JobSpec::new(stage, "")
            }
            .artifact("trace", "job.log", 2_048 + index as u64);
            match index % 5 {
                0 => job
                    .artifact("archive", "artifacts.zip", 100_000 + index as u64)
                    .tag("linux"),
                3 => job.allow_failure(),
                _ => job,
            }
        })
        .collect()
}
