//! What not every GitLab has, or shows to every token, of what the queries ask for: learned from
//! refusals, left out of the documents, and listed for people.
//!
//! A document names every field that some GitLab has. One unknown field makes GitLab refuse the whole
//! document, and one field that a fine-grained token cannot read makes the whole project null. So what
//! is missing is remembered for this GitLab and token, and the document is sent without it.

mod learned;
mod missing;
mod strip;
#[cfg(test)]
mod tests;

use std::fmt;

pub(in crate::gitlab) use learned::Learned;
pub(super) use missing::{refused, unreadable};
#[cfg(test)]
pub(super) use strip::{Stripped, strip};

/// A field or argument that may be missing, and what is done without it.
#[derive(Debug, PartialEq, Eq)]
pub struct Gap {
    /// The type that has the field.
    pub on: &'static str,
    /// The field.
    pub field: &'static str,
    /// The argument, where only an argument of the field may be missing.
    pub argument: Option<&'static str>,
    /// The newest release that was seen without it, if one was.
    pub until: Option<(u32, u32)>,
    /// Whether the Community Edition never has it.
    pub enterprise: bool,
    /// Whether no fine-grained token can read it, or not without a grant.
    pub fine_grained: bool,
    without: Without,
    /// Fields of the same type that are of no use without it: they are left out with it.
    along: &'static [&'static str],
    /// What is missing then, or what replaces it.
    pub lost: &'static str,
}

/// What becomes of a document without the field.
#[derive(Debug, PartialEq, Eq)]
enum Without {
    /// It is sent without the field, or without the argument.
    LeftOut,
    /// These fields of the same type are asked for in its place.
    Instead(&'static [&'static str]),
    /// It has no use without the field and is not sent.
    NotSent,
    /// It is sent as it is: the field is there, and null.
    Null,
}

impl Gap {
    const fn new(on: &'static str, field: &'static str, lost: &'static str) -> Self {
        Self {
            on,
            field,
            argument: None,
            until: None,
            enterprise: false,
            fine_grained: false,
            without: Without::LeftOut,
            along: &[],
            lost,
        }
    }

    const fn argument(self, argument: &'static str) -> Self {
        Self {
            argument: Some(argument),
            ..self
        }
    }

    const fn until(self, major: u32, minor: u32) -> Self {
        Self {
            until: Some((major, minor)),
            ..self
        }
    }

    const fn enterprise(self) -> Self {
        Self {
            enterprise: true,
            ..self
        }
    }

    const fn fine_grained(self) -> Self {
        Self {
            fine_grained: true,
            ..self
        }
    }

    const fn along(self, along: &'static [&'static str]) -> Self {
        Self { along, ..self }
    }

    const fn without(self, without: Without) -> Self {
        Self { without, ..self }
    }
}

/// `Pipeline.type`, or `Pipeline.jobs(jobKind:)`.
impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.on, self.field)?;
        match self.argument {
            Some(argument) => write!(f, "({argument}:)"),
            None => Ok(()),
        }
    }
}

/// Why something is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// The schema of this GitLab does not have it.
    Schema,
    /// The token cannot read it.
    Token,
}

/// Something that is missing here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// What.
    pub gap: &'static Gap,
    /// Why.
    pub why: Why,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.why {
            Why::Schema => "the GraphQL API of this GitLab has no",
            Why::Token => "the token cannot read",
        };
        write!(f, "{why} {}: {}", self.gap, self.gap.lost)
    }
}

const DEPLOYMENTS: &str =
    "no data is missing; deployments are listed by REST, one request per project with changes";

/// Everything that may be missing. What is not here must be there: without it, REST answers instead of
/// the document.
pub const GAPS: &[Gap] = &[
    Gap::new(
        "Query",
        "jobs",
        "no data is missing; every project is polled by itself, even without changes",
    )
    .until(15, 3)
    .without(Without::NotSent),
    Gap::new("Pipeline", "type", "no data is missing; the kind of a pipeline is read from `refPath`")
        .until(17, 6)
        .without(Without::Instead(&["refPath"])),
    Gap::new(
        "Pipeline",
        "source",
        "no data is missing; sources are read by REST, one request per project and poll with new pipelines",
    )
    .until(16, 3),
    Gap::new(
        "Pipeline",
        "mergeRequest",
        "no data is missing; branches are read by REST, one request per merge request",
    )
    .until(16, 3),
    Gap::new(
        "Pipeline",
        "jobs",
        "no data is missing; trigger jobs are recognized by their ids",
    )
    .argument("jobKind")
    .until(15, 8),
    Gap::new(
        "Pipeline",
        "testReportSummary",
        "no data is missing; test reports are read by REST, one request per finished pipeline",
    )
    .fine_grained()
    .without(Without::NotSent),
    Gap::new(
        "Project",
        "pipelines",
        "no data is missing; pipelines are read by status or number, which takes more queries",
    )
    .argument("ids")
    .until(18, 4),
    Gap::new(
        "Project",
        "pipeline",
        "no data is missing; variables are read by REST, one request per pipeline",
    )
    .argument("id")
    .until(16, 3)
    .without(Without::NotSent),
    Gap::new(
        "Project",
        "mergeRequests",
        "no data is missing; merge requests of deployments are read by REST, one request per deployment",
    )
    .argument("deploymentId")
    .until(16, 3)
    .without(Without::NotSent),
    Gap::new("Project", "deployment", DEPLOYMENTS)
        .until(15, 3)
        .without(Without::NotSent),
    Gap::new("Deployment", "webPath", DEPLOYMENTS)
        .until(16, 3)
        .without(Without::NotSent),
    Gap::new(
        "Project",
        "markedForDeletion",
        "no data is missing; scheduled deletions are read by REST at each discovery",
    )
    .until(17, 6),
    Gap::new(
        "Project",
        "isForked",
        "no data is missing; projects are listed by REST where forks are excluded",
    )
    .until(16, 3),
    Gap::new(
        "Project",
        "maxAccessLevel",
        "the role is read by REST; missing permissions are detected by rejected requests",
    )
    .until(16, 3)
    .fine_grained(),
    Gap::new(
        "Project",
        "userPermissions",
        "no data is missing; missing permissions are detected by rejected requests",
    )
    .fine_grained(),
    Gap::new(
        "ProjectPermissions",
        "readEnvironment",
        "no data is missing; missing permissions are detected by rejected requests",
    )
    .until(15, 3),
    Gap::new(
        "Project",
        "languages",
        "no data is missing; languages are read by REST, one request per project",
    )
    .until(15, 3),
    Gap::new(
        "Project",
        "pipelineSchedules",
        "no data is missing; schedules are read by REST, one request per project and one per schedule",
    )
    .until(15, 3)
    .without(Without::NotSent),
    Gap::new(
        "Project",
        "runners",
        "no data is missing; runners are read by REST, requests per project and runner",
    )
    .until(15, 3)
    .without(Without::NotSent),
    Gap::new(
        "Project",
        "valueStreams",
        "`age_value_stream_stage_duration_seconds` is missing; no other API has stages",
    )
    .until(16, 3)
    .without(Without::NotSent),
    Gap::new(
        "Project",
        "flowMetrics",
        "`age_value_stream_lead_time_seconds` and `age_value_stream_cycle_time_seconds` are missing; \
         no other API has them. The tier is unknown unless `gitlab.tier` is set",
    )
    .until(15, 8)
    .without(Without::NotSent),
    Gap::new(
        "Project",
        "dora",
        "no data is missing; DORA metrics are computed from deployments, merge requests and incidents",
    )
    .enterprise()
    .without(Without::NotSent),
    Gap::new(
        "DoraMetric",
        "deploymentFrequency",
        "no data is missing; DORA metrics are read by REST, one request per project, tier and metric",
    )
    .until(15, 8)
    .enterprise()
    .without(Without::NotSent),
    Gap::new(
        "ProjectValueStreamAnalyticsFlowMetrics",
        "leadTime",
        "the Community Edition has no lead and cycle time",
    )
    .until(15, 8)
    .enterprise()
    .without(Without::NotSent),
    Gap::new(
        "Project",
        "licensedFeatureAvailability",
        "no data is missing; the tier is detected by licensed fields",
    )
    .until(18, 4)
    .enterprise()
    .without(Without::NotSent),
    Gap::new(
        "Project",
        "vulnerabilitySeveritiesCount",
        "the Community Edition has no vulnerabilities",
    )
    .enterprise()
    .without(Without::NotSent),
    Gap::new(
        "Repository",
        "branchCount",
        "no data is missing; branches and tags are counted by REST, two requests per project with changes",
    )
    .until(18, 4)
    .without(Without::NotSent),
    Gap::new(
        "CiJob",
        "runner",
        "no data is missing; runner types are read by REST, one request per finished pipeline",
    )
    .until(15, 8),
    Gap::new(
        "CiJobArtifact",
        "size",
        "no data is missing while `collectors.jobs.include_runner_details` is on; artifact sizes are read by \
         REST with the runner types",
    )
    .until(15, 3)
    .along(&["fileType"]),
    Gap::new(
        "CiRunner",
        "managers",
        "no data is missing; version and platform are read from the runner",
    )
    .until(15, 8)
    .without(Without::Instead(&["version", "platformName", "architectureName"])),
    Gap::new(
        "MergeRequest",
        "closedAt",
        "no data is missing; the time is read by REST, one request per project with a closed merge request",
    )
    .until(16, 3),
    Gap::new("MergeRequest", "notes", "no data is missing; all notes are read")
        .argument("filter")
        .until(16, 3),
    Gap::new(
        "MergeRequest",
        "author",
        "fine-grained tokens need the permission *User: Read*; without it no review is counted",
    )
    .fine_grained()
    .without(Without::Null),
    Gap::new(
        "Note",
        "systemNoteMetadata",
        "no data is missing; the action is read from the text of the note",
    )
    .until(15, 3),
];
