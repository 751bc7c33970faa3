//! Worlds of any size, with a history that ends at their start.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::World;
use super::activity::plain_jobs;
use super::ci::Status;
use super::model::{JobId, Past, PipelineId, ProjectId};
use super::spec::{JobSpec, PipelineSpec};
use crate::quirks::Quirks;
use crate::time::{DAY, MINUTE, Millis, SECOND};

/// How often auto pipelines do what, as probabilities.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mix {
    /// A job fails.
    pub job_failure: f64,
    /// A failed job is retried at once (`retry:` keyword).
    pub automatic_retry: f64,
    /// A failed job is retried by somebody later.
    pub job_retry_by_hand: f64,
    /// A failed or canceled pipeline is retried by somebody later.
    pub pipeline_retry: f64,
    /// A job of a successful pipeline is retried by somebody later.
    pub good_job_retry: f64,
    /// A running pipeline is canceled.
    pub canceled: f64,
    /// A pipeline waits on a manual job before its last stage.
    pub blocked: f64,
    /// A pipeline waits for a delay before its last stage.
    pub delayed: f64,
    /// A manual job is played at some time.
    pub played: f64,
    /// A pipeline has a manual job that does not block.
    pub optional_manual: f64,
    /// A pipeline has a job that runs on failure only.
    pub cleanup: f64,
    /// A pipeline has a child, and half of those a grandchild.
    pub child: f64,
    /// A pipeline triggers one in the next project, and that one in the project after.
    pub multi_project: f64,
    /// The configuration is broken.
    pub config_error: f64,
    /// `[ci skip]`.
    pub skipped: f64,
    /// A job reports coverage.
    pub coverage: f64,
}

impl Default for Mix {
    fn default() -> Self {
        Self {
            job_failure: 0.08,
            automatic_retry: 0.3,
            job_retry_by_hand: 0.2,
            pipeline_retry: 0.3,
            good_job_retry: 0.04,
            canceled: 0.03,
            blocked: 0.12,
            delayed: 0.06,
            played: 0.8,
            optional_manual: 0.1,
            cleanup: 0.1,
            child: 0.2,
            multi_project: 0.12,
            config_error: 0.02,
            skipped: 0.02,
            coverage: 0.6,
        }
    }
}

/// What a world is made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorldConfig {
    /// Same seed, same world.
    pub seed: u64,
    /// World time at which history ends and life begins (Unix milliseconds).
    pub start: Millis,
    /// Top-level groups; projects are spread over them and their subgroups.
    pub groups: usize,
    /// Projects.
    pub projects: usize,
    /// Finished pipelines that each project has at the start.
    pub pipelines_per_project: usize,
    /// Jobs of each pipeline, in history and later.
    pub jobs_per_pipeline: usize,
    /// Test cases that each job of the stage `test` reports.
    pub tests_per_job: usize,
    /// How far history reaches back.
    pub history: Millis,
    /// Share of projects in which somebody acts after the start.
    pub active_ratio: f64,
    /// How often somebody acts in such a project.
    pub pushes_per_hour: f64,
    /// Longest running time of an auto job.
    pub longest_job: Millis,
    /// A pipeline that finished does not run again before this time has passed.
    pub min_refinish_gap: Millis,
    /// How often what happens.
    pub mix: Mix,
    /// Awkward habits.
    pub quirks: Quirks,
    /// What each project had before.
    pub past: Past,
}

impl Default for WorldConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            // 2026-01-05T08:00:00Z, a Monday.
            start: 1_767_600_000_000,
            groups: 2,
            projects: 0,
            pipelines_per_project: 0,
            jobs_per_pipeline: 6,
            tests_per_job: 0,
            history: 7 * DAY,
            active_ratio: 0.0,
            pushes_per_hour: 2.0,
            longest_job: 8 * MINUTE,
            min_refinish_gap: 15 * MINUTE,
            mix: Mix::default(),
            quirks: Quirks::default(),
            past: Past::default(),
        }
    }
}

impl World {
    /// Makes a world of the given size. What belongs to its history is not in its ledger.
    #[must_use]
    pub fn generate(config: WorldConfig) -> Self {
        let mut world = Self::new(config);
        world.quirks = world.config.quirks.clone();
        let start = world.config.start;
        let begin = start - world.config.history;
        world.ledger.pause(true);
        world.now = begin;
        let jobs = plain_jobs(world.config.jobs_per_pipeline);
        let ids: Vec<ProjectId> = (0..world.config.projects)
            .filter_map(|index| world.generate_project(index))
            .collect();
        let count = world.config.pipelines_per_project;
        for round in 0..count {
            // Round by round, so that ids grow with time across projects, as on a real instance.
            let step = world.config.history / (count as Millis + 1);
            for project in &ids {
                world.now = begin + step * (round as Millis + 1)
                    - world.between(MINUTE, step.max(2 * MINUTE));
                world.generate_pipeline(*project, round, &jobs);
            }
        }
        for project in &ids {
            world.generate_delivery(*project, start);
        }
        world.now = start;
        world.generate_extras();
        world.ledger.pause(false);
        let active = (ids.len() as f64 * world.config.active_ratio).ceil() as usize;
        for project in ids.into_iter().take(active) {
            world.enliven(project);
        }
        world
    }

    fn generate_project(&mut self, index: usize) -> Option<ProjectId> {
        let group = index % self.config.groups.max(1);
        let path = if index % 3 == 2 {
            format!("group-{group}/team/project-{index}")
        } else {
            format!("group-{group}/project-{index}")
        };
        let id = self.add_project(&path).ok()?;
        self.set_past(id, self.config.past).ok();
        for branch in ["develop", "release"] {
            self.push(id, branch).ok();
        }
        self.create_tag(id, "v1.0.0").ok();
        self.create_merge_request(id, "feature-1", "main").ok();
        self.generate_code(id);
        Some(id)
    }

    fn generate_pipeline(&mut self, project: ProjectId, round: usize, jobs: &[JobSpec]) {
        let spec = match round % 5 {
            1 => PipelineSpec::branch("develop"),
            2 => PipelineSpec::merge_request(self.config.past.merge_requests + 1),
            3 if round == 3 => PipelineSpec::tag("v1.0.0"),
            4 => PipelineSpec::branch("main").source("schedule"),
            _ => PipelineSpec::branch("main"),
        };
        let created = self.now;
        let Ok(id) = self.create_pipeline(project, &spec) else {
            return;
        };
        self.insert_jobs(id, jobs);
        let failed = self.chance(self.config.mix.job_failure);
        let finished = self.run_history(id, created, failed);
        self.now = finished;
        self.touch_pipeline(id);
        if let Some(pipeline) = self.pipelines.get_mut(id) {
            pipeline.started_at = Some(created + 2 * SECOND);
            pipeline.finished_at = Some(finished);
            pipeline.duration = Some((finished - created) / SECOND - 2);
            pipeline.status = if failed {
                Status::Failed
            } else {
                Status::Success
            };
        }
    }

    /// Writes the jobs of a finished pipeline down without living through it. Gives the time of its end.
    fn run_history(&mut self, pipeline: PipelineId, created: Millis, failed: bool) -> Millis {
        let ids: Vec<JobId> = self
            .pipeline(pipeline)
            .map(|pipeline| pipeline.jobs.clone())
            .unwrap_or_default();
        let (mut stage, mut stage_start, mut end) = (0, created, created);
        let runners: Vec<u64> = self.runners.keys().copied().collect();
        let reason: Arc<str> = "script_failure".into();
        for (index, id) in ids.iter().enumerate() {
            let duration = self.between(5 * SECOND, 90 * SECOND);
            let runner_id = self.pick(&runners);
            let last = index + 1 == ids.len();
            let Some(job) = self.jobs.get_mut(*id) else {
                continue;
            };
            if job.stage_index != stage {
                (stage, stage_start) = (job.stage_index, end);
            }
            job.queued_at = Some(stage_start);
            job.started_at = Some(stage_start + 2 * SECOND);
            job.finished_at = Some(stage_start + 2 * SECOND + duration);
            job.runner_id = runner_id;
            job.keep_log();
            job.status = Status::Success;
            if failed && last {
                job.status = Status::Failed;
                job.allow_failure = false;
                job.failure_reason = Some(reason.clone());
            }
            end = end.max(stage_start + 2 * SECOND + duration);
        }
        end
    }
}
