//! Pipelines, jobs, schedules, variables and runners.

use std::sync::Arc;

use super::rows::{CountsRow, JobRow, Moment, PipelineRow, Rows};
use super::{Names, RecordedError, Result};
use crate::time::Millis;
use crate::world::{
    Artifact, BelowMillis, CaseStatus, Job, JobDetails, JobKind, JobReport, Manager,
    ManagerDetails, Pipeline, PipelineDetails, PipelineKind, Runner, RunnerDetails, Schedule,
    Status, TestCase, Trigger, Upstream, Variable, When, World,
};

fn millis(at: Option<Moment>) -> Option<Millis> {
    at.map(Moment::millis)
}

impl World {
    pub(super) fn read_ci(&mut self, rows: &Rows, names: &Names) -> Result<()> {
        for row in &rows.pipelines {
            let project = self.projects.get_mut(&row.project_id);
            let project = project.ok_or(RecordedError::Missing {
                what: "project",
                id: row.project_id,
            })?;
            project.pipelines.insert(row.id);
            let changed = (row.updated_at.millis(), row.id);
            project.pipelines_by_update.insert(changed);
            project.next_pipeline_iid = project.next_pipeline_iid.max(row.iid + 1);
            self.pipelines.put(row.id, pipeline(row, names)?);
        }
        for row in &rows.jobs {
            self.jobs.put(row.id, job(row, names)?);
            if let Some(pipeline) = self.pipelines.get_mut(row.pipeline_id) {
                pipeline.jobs.push(row.id);
            }
            if let Some(report) = &row.test_report {
                self.report_tests(row.id, report_of(&report.tests));
            }
        }
        for row in &rows.pipeline_variables {
            let variable = Variable {
                key: row.key.clone(),
                value: row.value.clone(),
                variable_type: row.variable_type.clone(),
                raw: row.raw,
            };
            let variables = &mut self.extras.variables;
            variables.entry(row.pipeline_id).or_default().push(variable);
        }
        for row in &rows.schedules {
            let branch = row.ref_name.trim_start_matches("refs/heads/");
            let schedule = Schedule {
                id: row.id,
                project_id: row.project_id,
                description: row.description.clone(),
                ref_name: branch.into(),
                cron: row.cron.clone(),
                active: row.active,
                created_at: row.created_at.millis(),
                next_run_at: millis(row.next_run_at),
                last_pipeline: None,
                owner: names.maybe(row.owner_id)?,
            };
            self.extras.schedules.insert(row.id, schedule);
        }
        self.read_runners(rows, names)
    }

    fn read_runners(&mut self, rows: &Rows, names: &Names) -> Result<()> {
        for row in &rows.runners {
            let runner = Runner {
                id: row.id,
                runner_type: row.runner_type,
                description: row.description.clone(),
            };
            let own = rows.runner_managers.iter();
            let managers = own
                .filter(|manager| manager.runner_id == row.id)
                .map(|manager| Manager {
                    system_id: manager.system_id.clone(),
                    version: manager.version.clone(),
                    platform: manager.platform.clone(),
                    architecture: manager.architecture.clone(),
                    details: ManagerDetails {
                        id: Some(manager.id),
                        revision: manager.revision.clone(),
                        created_at: Some(manager.created_at.millis()),
                        contacted_at: millis(manager.contacted_at_cached),
                    },
                })
                .collect();
            let details = RunnerDetails {
                paused: row.paused,
                contacted_at: millis(row.contacted_at_cached),
                never_contacted: row.contacted_at_cached.is_none(),
                managers,
                created_at: Some(row.created_at.millis()),
                creator: names.maybe(row.creator_id)?,
                group: row.groups.first().copied(),
                projects: row.projects.clone(),
            };
            self.runners.insert(row.id, runner);
            self.extras.runners.insert(row.id, details);
        }
        Ok(())
    }
}

fn pipeline(row: &PipelineRow, names: &Names) -> Result<Pipeline> {
    let kind = match (row.merge_request_iid, row.tag, &*row.ref_name) {
        (Some(_), _, name) if name.ends_with("/merge") => PipelineKind::MergedResult,
        (Some(_), _, name) if name.ends_with("/train") => PipelineKind::MergeTrain,
        (Some(_), _, _) => PipelineKind::MergeRequest,
        (None, true, _) => PipelineKind::Tag,
        (None, false, _) => PipelineKind::Branch,
    };
    let upstream = row.upstream_pipeline_id.zip(row.upstream_job_id);
    Ok(Pipeline {
        id: row.id,
        iid: row.iid,
        project_id: row.project_id,
        sha: row.sha.clone(),
        ref_name: row.ref_name.clone(),
        kind,
        source: row.source.clone(),
        status: Status::parse(&row.status),
        created_at: row.created_at.millis(),
        updated_at: row.updated_at.millis(),
        started_at: millis(row.started_at),
        finished_at: millis(row.finished_at),
        duration: row.duration,
        coverage: None,
        yaml_errors: row.yaml_errors.clone(),
        merge_request_iid: row.merge_request_iid,
        upstream: upstream.map(|(pipeline_id, job_id)| Upstream {
            pipeline_id,
            job_id,
        }),
        jobs: Vec::new(),
        auto: false,
        details: PipelineDetails {
            user: names.maybe(row.user_id)?,
            without_before_sha: row.before_sha.is_none(),
            before_sha: row.before_sha.clone(),
            protected: row.protected.unwrap_or_default(),
            schedule_id: row.pipeline_schedule_id,
            name: row.name.clone(),
        },
    })
}

fn job(row: &JobRow, names: &Names) -> Result<Job> {
    let bridge = row.kind == "bridge";
    let below = |at: Option<Moment>| at.map_or(0, Moment::below);
    Ok(Job {
        id: row.id,
        pipeline_id: row.pipeline_id,
        name: row.name.clone(),
        stage: row.stage.clone(),
        stage_index: row.stage_idx,
        kind: if bridge {
            JobKind::Bridge
        } else {
            JobKind::Build
        },
        when: when(row.when.as_deref()),
        allow_failure: row.allow_failure,
        status: Status::parse(&row.status),
        created_at: row.created_at.millis(),
        queued_at: millis(row.queued_at),
        started_at: millis(row.started_at),
        finished_at: millis(row.finished_at),
        retried: row.retried,
        failure_reason: row.failure_reason.clone(),
        runner_id: row.runner_id,
        coverage: row.coverage,
        artifacts: row
            .artifacts
            .iter()
            .map(|artifact| Artifact {
                file_type: artifact.file_type.clone(),
                filename: artifact.filename.clone(),
                size: artifact.size,
            })
            .collect(),
        tags: row.tag_list.clone(),
        trigger: bridge.then(|| Arc::new(Trigger::default())),
        downstream_id: row.downstream_pipeline_id,
        details: JobDetails {
            below: BelowMillis {
                queued: below(row.queued_at),
                started: below(row.started_at),
                finished: below(row.finished_at),
            },
            stage_id: Some(row.stage_id),
            user: names.maybe(row.user_id)?,
            manager_id: row.runner_manager_id,
            exit_code: row.exit_code,
            environment: row.environment.clone(),
            needs: row.needs.clone(),
        },
    })
}

fn when(text: Option<&str>) -> When {
    match text {
        Some("on_failure") => When::OnFailure,
        Some("always") => When::Always,
        Some("manual") => When::Manual,
        Some("delayed") => When::Delayed,
        _ => When::OnSuccess,
    }
}

/// A report of which only the counts are known: cases without names share its time.
fn report_of(counts: &CountsRow) -> JobReport {
    let of = |status: CaseStatus, count: usize| {
        (0..count).map(move |number| TestCase {
            name: format!("{} {number}", status.as_str()).into(),
            classname: "recorded".into(),
            status,
            seconds: 0.0,
        })
    };
    let mut cases: Vec<TestCase> = of(CaseStatus::Success, counts.success)
        .chain(of(CaseStatus::Failed, counts.failed))
        .chain(of(CaseStatus::Error, counts.errored))
        .chain(of(CaseStatus::Skipped, counts.skipped))
        .collect();
    if let Some(first) = cases.first_mut() {
        first.seconds = counts.duration;
    }
    JobReport {
        cases,
        suite_error: counts.suite_error.clone(),
    }
}
