//! Which pipelines are listed, and what is asked of each.

use crate::clock::UnixSeconds;
use crate::gitlab::model::Status;
use crate::types::PipelineId;

/// Which pipelines of a project are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which<'a> {
    /// The newest that are no children: by the order of ids, which an index has.
    Newest,
    /// The newest children. For these GitLab reads all that the project ever had.
    NewestChildren,
    /// Those whose status changed at or after this time. For these GitLab reads every pipeline that the
    /// project ever had.
    MovedSince(UnixSeconds),
    /// Those that have this status now, in upper case.
    Status(&'static str),
    /// Those that have this status since then, or longer and were touched since. An index has them.
    StatusSince(&'static str, UnixSeconds),
    /// These that are no children: at most [`GitLab::PIPELINE_IDS`]. A project lists its own.
    Ids(&'a [PipelineId]),
    /// These children, as many.
    ChildIds(&'a [PipelineId]),
}

/// The variables of the queries that say which pipelines are listed.
pub(super) struct Selected {
    pub(super) since: Option<String>,
    pub(super) status: Option<String>,
    pub(super) pipeline_ids: Option<Vec<String>>,
}

impl Which<'_> {
    /// Running pipelines: their jobs start and end without moving the pipeline.
    pub const RUNNING: Self = Self::Status("RUNNING");

    pub(super) fn selected(self) -> Selected {
        let (since, status) = match self {
            Self::MovedSince(since) => (Some(since.to_string()), None),
            Self::Status(status) => (None, Some(status.to_owned())),
            Self::StatusSince(status, since) => (Some(since.to_string()), Some(status.to_owned())),
            Self::Newest | Self::NewestChildren | Self::Ids(_) | Self::ChildIds(_) => (None, None),
        };
        let pipeline_ids = match self {
            Self::Ids(ids) | Self::ChildIds(ids) => {
                let gid = |id: &PipelineId| format!("gid://gitlab/Ci::Pipeline/{id}");
                Some(ids.iter().map(gid).collect())
            }
            _ => None,
        };
        Selected {
            since,
            status,
            pipeline_ids,
        }
    }

    /// Whether child pipelines are listed.
    pub(super) fn has_children(self) -> bool {
        !matches!(self, Self::Newest | Self::Ids(_))
    }

    /// Whether pipelines that are no children are listed.
    pub(super) fn has_others(self) -> bool {
        !matches!(self, Self::NewestChildren | Self::ChildIds(_))
    }
}

/// What is asked of each pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Parts {
    /// Its jobs.
    pub jobs: JobsPart,
    /// The stages of these jobs, which cost GitLab a query for each.
    pub stages: bool,
    /// Their artifacts, which cost it a query for each.
    pub artifacts: bool,
    /// The coverage of the pipeline, which costs it one or two.
    pub coverage: bool,
    /// Its trigger jobs.
    pub bridges: BridgesPart,
    /// The trigger job that started it, which costs GitLab a query for each.
    pub origin: bool,
}

/// What is asked of trigger jobs. Where there are none, all of it costs GitLab one query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BridgesPart {
    /// Nothing.
    None,
    /// How they are.
    Status,
    /// The same, and their stages, which cost GitLab a query for each.
    Stages,
    /// The same, and the pipelines they started, which cost it up to twelve for each.
    Started,
}

/// Which jobs are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum JobsPart {
    /// None.
    None,
    /// Those that have not ended.
    Active,
    /// All.
    All,
}

/// The statuses of jobs that have not ended, as far as every GitLab knows them.
const ACTIVE_JOBS: [&str; 5] = [
    "CREATED",
    "WAITING_FOR_RESOURCE",
    "PREPARING",
    "PENDING",
    "RUNNING",
];

impl Parts {
    /// Everything that is to be known of a pipeline.
    pub const WHOLE: Self = Self {
        jobs: JobsPart::All,
        stages: true,
        artifacts: true,
        coverage: true,
        bridges: BridgesPart::Started,
        origin: false,
    };
    /// Nothing.
    pub const NONE: Self = Self {
        jobs: JobsPart::None,
        stages: false,
        artifacts: false,
        coverage: false,
        bridges: BridgesPart::None,
        origin: false,
    };
    /// What it started.
    pub const BRIDGES: Self = Self {
        bridges: BridgesPart::Started,
        ..Self::NONE
    };
    /// The trigger job that started it.
    pub const ORIGIN: Self = Self {
        origin: true,
        ..Self::NONE
    };

    pub(super) fn statuses(self) -> Option<Vec<String>> {
        let active = || ACTIVE_JOBS.map(str::to_owned).to_vec();
        (self.jobs == JobsPart::Active).then(active)
    }
}

impl Status {
    /// Whether a job of this status is among those of [`JobsPart::Active`].
    #[must_use]
    pub fn is_listed_active(&self) -> bool {
        let name = self.as_str();
        ACTIVE_JOBS
            .iter()
            .any(|active| active.eq_ignore_ascii_case(name))
    }
}
