//! What there is, and the rules by which it changes. No I/O; the clock is its own; the same seed and the
//! same calls give the same world.

mod activity;
mod announced;
mod ci;
mod code;
mod delivery;
mod evolve;
pub mod extras;
mod generate;
mod history;
mod jobs;
pub mod ledger;
mod living_code;
pub mod model;
mod ops;
mod pipelines;
pub mod recorded;
mod refs;
pub mod reports;
pub mod reviews;
mod slots;
pub mod spec;
pub mod status;
pub mod users;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::sync::Arc;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

pub use announced::{A_MINUTE, StatusChanges};
pub use ci::*;
pub use code::*;
pub use delivery::*;
pub use extras::{Manager, ManagerDetails, RunnerDetails, Schedule, Variable};
pub use generate::{Mix, WorldConfig};
pub use ledger::{Entry, Event, Ledger};
pub use model::*;
pub use reports::{CaseStatus, JobReport, TestCase};
pub use reviews::{Note, Review, ReviewAct, ReviewState, Reviewer};
pub use spec::{Finish, JobSpec, PipelineSpec};
pub use users::User;

use crate::auth::{AccessLevel, Token};
use crate::quirks::Quirks;
use crate::time::Millis;

/// The token every world knows unless told otherwise.
pub const DEFAULT_TOKEN: &str = "glpat-simulator-0000000000";

/// Why an operation on the world was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorldError {
    /// There is no such thing.
    #[error("there is no {what} {id}")]
    NotFound {
        /// Kind of thing.
        what: &'static str,
        /// Its id or name.
        id: String,
    },
    /// The thing is not in a state that allows it.
    #[error("{what} {id} is {state}, which does not allow to {verb} it")]
    WrongState {
        /// Kind of thing.
        what: &'static str,
        /// Its id.
        id: u64,
        /// Its state.
        state: String,
        /// What was asked for.
        verb: &'static str,
    },
    /// The name is in use.
    #[error("{0} is taken")]
    Taken(String),
}

impl WorldError {
    fn not_found(what: &'static str, id: impl ToString) -> Self {
        Self::NotFound {
            what,
            id: id.to_string(),
        }
    }
}

/// The result of an operation.
pub type Result<T> = std::result::Result<T, WorldError>;

/// A GitLab instance: its contents, its clock, its settings and the ledger of what happened.
#[derive(Debug)]
pub struct World {
    /// Awkward habits.
    pub quirks: Quirks,
    /// `metadata.version`, such as `18.4.1-ee`.
    pub version: String,
    /// `metadata.revision`.
    pub revision: Arc<str>,
    /// `metadata.enterprise`: whether enterprise fields exist.
    pub enterprise: bool,
    /// Whether GitLab has aggregated issues for value streams once: until then lead times are null.
    pub issues_aggregated: bool,
    /// Tokens; the first is the default one.
    pub tokens: Vec<Token>,
    /// Pipelines whose transactions have not ended: no list has them yet, though others with higher ids are
    /// there.
    pub uncommitted: BTreeSet<PipelineId>,
    config: WorldConfig,
    now: Millis,
    rng: ChaCha8Rng,
    queue: BinaryHeap<Reverse<(Millis, u64, evolve::Task)>>,
    /// Whether nobody acts any more.
    is_calm: bool,
    sequence: u64,
    groups: BTreeMap<GroupId, Group>,
    projects: BTreeMap<ProjectId, Project>,
    code: BTreeMap<ProjectId, Code>,
    users: BTreeMap<u64, User>,
    paths: HashMap<String, ProjectId>,
    former_paths: HashMap<String, ProjectId>,
    runners: BTreeMap<RunnerId, Runner>,
    pipelines: slots::Slots<Pipeline>,
    jobs: slots::Slots<Job>,
    next_merge_request_id: u64,
    next_note_id: u64,
    ledger: Ledger,
    announced: announced::StatusChanges,
    extras: extras::Extras,
    deliveries: delivery::Deliveries,
    /// How long background jobs take.
    background_delay: Millis,
    late_notes: BTreeMap<u64, reviews::LateNote>,
    /// Nobody wrote it down: what is missing in it is made up where it is shown.
    made_up: bool,
}

impl World {
    /// An empty world. It has one runner of each type (ids 1, 2, 3: instance, group, project) and the
    /// default token ([`DEFAULT_TOKEN`], scope `read_api`, Maintainer everywhere).
    #[must_use]
    pub fn new(config: WorldConfig) -> Self {
        let runners = [
            RunnerType::InstanceType,
            RunnerType::GroupType,
            RunnerType::ProjectType,
        ]
        .into_iter()
        .zip(1..)
        .map(|(runner_type, id)| {
            let description =
                format!("{} runner", runner_type.as_str().trim_end_matches("_type")).into();
            (
                id,
                Runner {
                    id,
                    runner_type,
                    description,
                },
            )
        })
        .collect();
        Self {
            quirks: Quirks::default(),
            version: "18.4.1-ee".to_owned(),
            revision: crate::rest::REVISION.into(),
            enterprise: true,
            issues_aggregated: true,
            tokens: vec![Token::new(DEFAULT_TOKEN)],
            uncommitted: BTreeSet::new(),
            now: config.start,
            rng: ChaCha8Rng::seed_from_u64(config.seed),
            queue: BinaryHeap::new(),
            is_calm: false,
            sequence: 0,
            groups: BTreeMap::new(),
            projects: BTreeMap::new(),
            code: BTreeMap::new(),
            users: BTreeMap::from([(
                100,
                User {
                    name: "Exporter Bot".into(),
                    bot: false,
                    ..User::named(100, crate::rest::USERNAME)
                },
            )]),
            paths: HashMap::new(),
            former_paths: HashMap::new(),
            runners,
            pipelines: slots::Slots::starting_at(1_000_001),
            jobs: slots::Slots::starting_at(50_000_001),
            next_merge_request_id: 3_000_001,
            next_note_id: 9_000_001,
            ledger: Ledger::default(),
            announced: announced::StatusChanges::default(),
            extras: extras::Extras::default(),
            deliveries: delivery::Deliveries::new(config.seed),
            background_delay: 0,
            late_notes: BTreeMap::new(),
            made_up: true,
            config,
        }
    }

    /// Major and minor number of the version.
    #[must_use]
    pub fn version_numbers(&self) -> (u32, u32) {
        let mut numbers = self
            .version
            .split('.')
            .map(|part| part.parse().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
    }

    /// Whether a commit that it does not keep is made up where it is shown.
    #[must_use]
    pub fn makes_up_commits(&self) -> bool {
        self.made_up
    }

    /// World time.
    #[must_use]
    pub fn now(&self) -> Millis {
        self.now
    }

    /// The settings it was made with.
    #[must_use]
    pub fn config(&self) -> &WorldConfig {
        &self.config
    }

    /// What happened.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// What happened, to clear or pause it.
    pub fn ledger_mut(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    /// All groups by id.
    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.values()
    }

    /// A group.
    #[must_use]
    pub fn group(&self, id: GroupId) -> Option<&Group> {
        self.groups.get(&id)
    }

    /// A group by its path, in any case.
    #[must_use]
    pub fn group_by_path(&self, path: &str) -> Option<&Group> {
        self.groups
            .values()
            .find(|group| group.full_path.eq_ignore_ascii_case(path))
    }

    /// All projects by id.
    pub fn projects(&self) -> impl DoubleEndedIterator<Item = &Project> {
        self.projects.values()
    }

    /// A project.
    #[must_use]
    pub fn project(&self, id: ProjectId) -> Option<&Project> {
        self.projects.get(&id)
    }

    /// A project by its present path, in any case.
    #[must_use]
    pub fn project_by_path(&self, path: &str) -> Option<&Project> {
        self.project(*self.paths.get(&path.to_lowercase())?)
    }

    /// A project by a path that it once had.
    #[must_use]
    pub fn project_by_former_path(&self, path: &str) -> Option<&Project> {
        self.project(*self.former_paths.get(&path.to_lowercase())?)
    }

    /// A pipeline.
    #[must_use]
    pub fn pipeline(&self, id: PipelineId) -> Option<&Arc<Pipeline>> {
        self.pipelines.get(id)
    }

    /// The pipelines of a project that changed at or after `since`, newest id first.
    #[must_use]
    pub fn pipelines_updated_since(&self, project: ProjectId, since: Millis) -> Vec<Arc<Pipeline>> {
        let Some(project) = self.project(project) else {
            return Vec::new();
        };
        let mut ids: Vec<PipelineId> = project
            .pipelines_by_update
            .range((since, 0)..)
            .map(|(_, id)| *id)
            .collect();
        ids.sort_unstable_by(|a, b| b.cmp(a));
        ids.into_iter()
            .filter_map(|id| self.pipeline(id).cloned())
            .collect()
    }

    /// How many pipelines a project ever had: the iid of its newest.
    #[must_use]
    pub fn pipelines_ever(&self, project: ProjectId) -> u64 {
        self.project(project)
            .map_or(0, |project| project.next_pipeline_iid.saturating_sub(1))
    }

    /// All jobs and bridges of the instance, newest id first.
    pub fn newest_jobs(&self) -> impl Iterator<Item = &Arc<Job>> {
        self.jobs.newest()
    }

    /// The pipelines of a project, newest id first.
    pub fn pipelines_of(&self, project: ProjectId) -> impl Iterator<Item = &Arc<Pipeline>> {
        self.project(project)
            .into_iter()
            .flat_map(|project| project.pipelines.iter().rev())
            .filter_map(|id| self.pipeline(*id))
    }

    /// A job or bridge.
    #[must_use]
    pub fn job(&self, id: JobId) -> Option<&Arc<Job>> {
        self.jobs.get(id)
    }

    /// The jobs and bridges of a pipeline, retried ones included, oldest id first.
    pub fn jobs_of(&self, pipeline: PipelineId) -> impl DoubleEndedIterator<Item = &Arc<Job>> {
        self.pipeline(pipeline)
            .into_iter()
            .flat_map(|pipeline| pipeline.jobs.iter())
            .filter_map(|id| self.job(*id))
    }

    /// The current job of a name in a pipeline.
    #[must_use]
    pub fn job_named(&self, pipeline: PipelineId, name: &str) -> Option<&Arc<Job>> {
        self.jobs_of(pipeline)
            .rfind(|job| !job.retried && &*job.name == name)
    }

    /// A runner.
    #[must_use]
    pub fn runner(&self, id: RunnerId) -> Option<&Runner> {
        self.runners.get(&id)
    }

    /// The first runner of a type.
    #[must_use]
    pub fn runner_of(&self, runner_type: RunnerType) -> Option<&Runner> {
        self.runners
            .values()
            .find(|runner| runner.runner_type == runner_type)
    }

    /// The token with this secret.
    #[must_use]
    pub fn token(&self, value: &str) -> Option<&Token> {
        self.tokens.iter().find(|token| token.value == value)
    }

    /// The role of a token in a project.
    #[must_use]
    pub fn role(&self, token: &str, project: ProjectId) -> AccessLevel {
        self.token(token)
            .map_or(AccessLevel::None, |token| token.role(project))
    }

    /// The licence that counts for a project.
    #[must_use]
    pub fn tier_of(&self, project: &Project) -> Tier {
        if !self.enterprise {
            return Tier::Free;
        }
        if !self.quirks.tier_by_top_level_group {
            return self
                .groups
                .values()
                .map(|group| group.tier)
                .max()
                .unwrap_or_default();
        }
        self.group_by_path(project.top_level())
            .map(|group| group.tier)
            .unwrap_or_default()
    }

    /// The coverage of a pipeline: its own, or the mean of its current jobs'.
    #[must_use]
    pub fn coverage_of(&self, pipeline: &Pipeline) -> Option<f64> {
        if pipeline.coverage.is_some() {
            return pipeline.coverage;
        }
        let values: Vec<f64> = pipeline
            .jobs
            .iter()
            .filter_map(|id| self.job(*id))
            .filter(|job| !job.retried)
            .filter_map(|job| job.coverage)
            .collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    }

    /// The pipelines that the bridges of a pipeline triggered, newest first; those of retried bridges are
    /// left out, as GitLab does.
    #[must_use]
    pub fn downstream_of(&self, pipeline: &Pipeline) -> Vec<Arc<Pipeline>> {
        let keep_retried = !self.quirks.retried_downstream_left_out;
        let mut found: Vec<Arc<Pipeline>> = pipeline
            .jobs
            .iter()
            .filter_map(|id| self.job(*id))
            .filter(|job| keep_retried || !job.retried)
            .filter_map(|job| self.pipeline(job.downstream_id?).cloned())
            .collect();
        found.sort_unstable_by_key(|pipeline| Reverse(pipeline.id));
        found
    }
}
