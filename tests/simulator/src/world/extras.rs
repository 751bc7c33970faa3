//! What hangs on pipelines, projects and runners beside CI itself: test reports, schedules, variables,
//! runner managers.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ci::Pipeline;
use super::model::{GroupId, JobId, PipelineId, Project, ProjectId, Runner, RunnerId, RunnerType};
use super::reports::JobReport;
use super::{Result, World, WorldError};
use crate::time::{DAY, HOUR, MINUTE, Millis};

/// All of it, by the ids it hangs on.
#[derive(Clone, Debug, Default)]
pub struct Extras {
    pub(super) reports: BTreeMap<JobId, JobReport>,
    pub(super) schedules: BTreeMap<u64, Schedule>,
    pub(super) variables: BTreeMap<PipelineId, Vec<Variable>>,
    pub(super) runners: BTreeMap<RunnerId, RunnerDetails>,
}

/// A pipeline schedule.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Schedule {
    /// Its id.
    pub id: u64,
    /// Its project.
    pub project_id: ProjectId,
    /// Text.
    pub description: Arc<str>,
    /// Branch.
    pub ref_name: Arc<str>,
    /// When it runs.
    pub cron: Arc<str>,
    /// Switched on.
    pub active: bool,
    /// Made.
    pub created_at: Millis,
    /// The next run, if it is not simply the next full hour.
    pub next_run_at: Option<Millis>,
    /// Its newest pipeline, if it is not simply the newest scheduled one of the branch.
    pub last_pipeline: Option<PipelineId>,
    /// User name of its owner; nobody where `None`.
    pub owner: Option<Arc<str>>,
}

/// A variable that a pipeline was started with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Variable {
    /// Key.
    pub key: Arc<str>,
    /// Value.
    pub value: Arc<str>,
    /// `env_var` or `file`.
    pub variable_type: Arc<str>,
    /// Its value is taken as it is.
    #[serde(default)]
    pub raw: bool,
}

impl Variable {
    /// A plain variable.
    #[must_use]
    pub fn new(key: &str, value: &str) -> Self {
        Self {
            key: key.into(),
            value: value.into(),
            variable_type: "env_var".into(),
            raw: false,
        }
    }
}

/// A process that works for a runner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manager {
    /// Its name among the runner's.
    pub system_id: Arc<str>,
    /// Version of the program.
    pub version: Option<Arc<str>>,
    /// Operating system.
    pub platform: Option<Arc<str>>,
    /// Kind of processor.
    pub architecture: Option<Arc<str>>,
    /// What else GitLab knows of it.
    #[serde(default)]
    pub details: ManagerDetails,
}

/// What GitLab keeps of a runner's process besides.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ManagerDetails {
    /// Id; made up where `None`.
    pub id: Option<u64>,
    /// Revision of the program.
    pub revision: Option<Arc<str>>,
    /// First contact.
    pub created_at: Option<Millis>,
    /// Last contact; the runner's where `None`.
    pub contacted_at: Option<Millis>,
}

impl Manager {
    /// A process of version 18.4.0 on Linux.
    #[must_use]
    pub fn new(system_id: &str) -> Self {
        Self {
            system_id: system_id.into(),
            version: Some("18.4.0".into()),
            platform: Some("linux".into()),
            architecture: Some("amd64".into()),
            details: ManagerDetails::default(),
        }
    }
}

/// What is known of a runner beside its name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunnerDetails {
    /// Takes no jobs.
    pub paused: bool,
    /// Last contact; `None`: five minutes ago at most, as of a runner that lives.
    pub contacted_at: Option<Millis>,
    /// It has never been in contact.
    pub never_contacted: bool,
    /// Its processes.
    pub managers: Vec<Manager>,
    /// Made.
    pub created_at: Option<Millis>,
    /// User name of who made it.
    pub creator: Option<Arc<str>>,
    /// The group it serves.
    pub group: Option<GroupId>,
    /// The projects it serves.
    pub projects: Vec<ProjectId>,
}

impl Default for RunnerDetails {
    fn default() -> Self {
        Self {
            paused: false,
            contacted_at: None,
            never_contacted: false,
            managers: vec![Manager::new("s_0")],
            created_at: None,
            creator: None,
            group: None,
            projects: Vec::new(),
        }
    }
}

impl World {
    /// Makes a pipeline schedule that runs every hour.
    ///
    /// # Errors
    /// If there is no such project.
    pub fn add_schedule(
        &mut self,
        project: ProjectId,
        description: &str,
        branch: &str,
    ) -> Result<u64> {
        self.project_mut(project)?;
        let last = self.extras.schedules.last_key_value();
        let id = last.map_or(701, |(last, _)| last + 1);
        let schedule = Schedule {
            id,
            project_id: project,
            description: description.into(),
            ref_name: branch.into(),
            cron: "0 * * * *".into(),
            active: true,
            created_at: self.now,
            next_run_at: None,
            last_pipeline: None,
            owner: None,
        };
        self.extras.schedules.insert(id, schedule);
        Ok(id)
    }

    /// Changes a schedule.
    ///
    /// # Errors
    /// If there is no such schedule.
    pub fn change_schedule(&mut self, id: u64, change: impl FnOnce(&mut Schedule)) -> Result<()> {
        let schedule = self.extras.schedules.get_mut(&id);
        change(schedule.ok_or_else(|| WorldError::not_found("schedule", id))?);
        Ok(())
    }

    /// Deletes a schedule.
    ///
    /// # Errors
    /// If there is no such schedule.
    pub fn delete_schedule(&mut self, id: u64) -> Result<()> {
        let deleted = self.extras.schedules.remove(&id);
        deleted
            .map(|_| ())
            .ok_or_else(|| WorldError::not_found("schedule", id))
    }

    /// A schedule.
    #[must_use]
    pub fn schedule(&self, id: u64) -> Option<&Schedule> {
        self.extras.schedules.get(&id)
    }

    /// The schedules of a project by id.
    pub fn schedules_of(&self, project: ProjectId) -> impl Iterator<Item = &Schedule> {
        let schedules = self.extras.schedules.values();
        schedules.filter(move |schedule| schedule.project_id == project)
    }

    /// When a schedule is to run next. GitLab keeps the time of one that is switched off.
    #[must_use]
    pub fn next_run_of(&self, schedule: &Schedule) -> Millis {
        let next_hour = (self.now / HOUR + 1) * HOUR;
        schedule.next_run_at.unwrap_or(next_hour)
    }

    /// The newest pipeline of a schedule.
    #[must_use]
    pub fn last_pipeline_of(&self, schedule: &Schedule) -> Option<&Arc<Pipeline>> {
        match schedule.last_pipeline {
            Some(id) => self.pipeline(id),
            None => self.pipelines_of(schedule.project_id).find(|pipeline| {
                let of_branch =
                    &*pipeline.source == "schedule" && pipeline.ref_name == schedule.ref_name;
                pipeline
                    .details
                    .schedule_id
                    .map_or(of_branch, |id| id == schedule.id)
            }),
        }
    }

    /// Says which variables a pipeline was started with.
    pub fn set_variables(&mut self, pipeline: PipelineId, variables: Vec<Variable>) {
        self.extras.variables.insert(pipeline, variables);
    }

    /// The variables that a pipeline was started with. In generated worlds those that somebody or
    /// something started by hand have two.
    #[must_use]
    pub fn variables_of(&self, pipeline: &Pipeline) -> Vec<Variable> {
        if let Some(variables) = self.extras.variables.get(&pipeline.id) {
            return variables.clone();
        }
        let by_hand = matches!(&*pipeline.source, "schedule" | "web" | "api" | "trigger");
        if self.config().projects == 0 || !by_hand {
            return Vec::new();
        }
        let target = ["production", "staging", "review"][(pipeline.id % 3) as usize];
        vec![
            Variable::new("DEPLOY_TARGET", target),
            Variable::new("API_PASSWORD", "hunter2"),
        ]
    }

    /// Changes what is known of a runner.
    ///
    /// # Errors
    /// If there is no such runner.
    pub fn change_runner(
        &mut self,
        id: RunnerId,
        change: impl FnOnce(&mut RunnerDetails),
    ) -> Result<()> {
        if !self.runners.contains_key(&id) {
            return Err(WorldError::not_found("runner", id));
        }
        change(self.extras.runners.entry(id).or_default());
        Ok(())
    }

    /// Deletes a runner.
    ///
    /// # Errors
    /// If there is no such runner.
    pub fn delete_runner(&mut self, id: RunnerId) -> Result<()> {
        let deleted = self.runners.remove(&id);
        self.extras.runners.remove(&id);
        deleted
            .map(|_| ())
            .ok_or_else(|| WorldError::not_found("runner", id))
    }

    /// What is known of a runner.
    #[must_use]
    pub fn runner_details(&self, id: RunnerId) -> RunnerDetails {
        self.extras.runners.get(&id).cloned().unwrap_or_default()
    }

    /// When a runner was last in contact.
    #[must_use]
    pub fn contact_of(&self, details: &RunnerDetails) -> Option<Millis> {
        let lately = self.now / (5 * MINUTE) * (5 * MINUTE);
        (!details.never_contacted).then(|| details.contacted_at.unwrap_or(lately))
    }

    /// `online`, `offline`, `stale` or `never_contacted`.
    #[must_use]
    pub fn runner_status(&self, details: &RunnerDetails) -> &'static str {
        match self.contact_of(details) {
            None => "never_contacted",
            Some(at) if self.now - at < 2 * HOUR => "online",
            Some(at) if self.now - at < 7 * DAY => "offline",
            Some(_) => "stale",
        }
    }

    /// All runners, newest first.
    pub fn all_runners(&self) -> impl Iterator<Item = &Runner> {
        self.runners.values().rev()
    }

    /// Whether a runner serves a project.
    #[must_use]
    pub fn serves(&self, runner: &Runner, project: &Project) -> bool {
        let details = self.runner_details(runner.id);
        match runner.runner_type {
            RunnerType::InstanceType => true,
            RunnerType::ProjectType => details.projects.contains(&project.id),
            RunnerType::GroupType => details.group.is_some_and(|group| {
                let path = self
                    .group(group)
                    .map(|group| format!("{}/", group.full_path));
                path.is_some_and(|path| project.full_path.starts_with(&path))
            }),
        }
    }

    /// What generated worlds have beside CI: schedules, and runners that serve a group and a project.
    pub(super) fn generate_extras(&mut self) {
        let projects: Vec<ProjectId> = self.projects.keys().copied().collect();
        for (index, project) in projects.iter().enumerate() {
            self.add_schedule(*project, "nightly", "main").ok();
            if index % 4 == 1
                && let Ok(weekly) = self.add_schedule(*project, "weekly", "develop")
            {
                self.change_schedule(weekly, |schedule| schedule.active = false)
                    .ok();
            }
        }
        let group = self.groups.keys().next().copied();
        let of_type = |wanted| self.runner_of(wanted).map(|runner| runner.id);
        let (grouped, own) = (
            of_type(RunnerType::GroupType),
            of_type(RunnerType::ProjectType),
        );
        if let Some(id) = grouped {
            self.change_runner(id, |runner| runner.group = group).ok();
        }
        if let Some(id) = own {
            let served = projects.into_iter().take(1).collect();
            self.change_runner(id, |runner| runner.projects = served)
                .ok();
        }
    }
}
