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
            Why::Schema => "GraphQL of this GitLab has no",
            Why::Token => "the token cannot read",
        };
        write!(f, "{why} {}: {}", self.gap, self.gap.lost)
    }
}

const DEPLOYMENTS: &str =
    "nothing is lost: REST lists the deployments, one call per project in which something moved";

/// Everything that may be missing. What is not here must be there: without it, REST answers instead of
/// the document.
pub const GAPS: &[Gap] = &[
    Gap::new(
        "Query",
        "jobs",
        "nothing is lost: each project is polled for itself, also where nothing moves",
    )
    .until(15, 3)
    .without(Without::NotSent),
    Gap::new("Pipeline", "type", "nothing is lost: `refPath` shows the kind of a pipeline")
        .until(17, 6)
        .without(Without::Instead(&["refPath"])),
    Gap::new(
        "Pipeline",
        "source",
        "nothing is lost: REST lists the sources, one call per project and poll in which a pipeline is new",
    )
    .until(16, 3),
    Gap::new(
        "Pipeline",
        "mergeRequest",
        "nothing is lost: REST shows the branches, one call per merge request",
    )
    .until(16, 3),
    Gap::new(
        "Pipeline",
        "jobs",
        "nothing is lost: trigger jobs are recognized by their ids",
    )
    .argument("jobKind")
    .until(15, 8),
    Gap::new(
        "Pipeline",
        "testReportSummary",
        "nothing is lost: REST has test reports, one call per pipeline that ended",
    )
    .fine_grained()
    .without(Without::NotSent),
    Gap::new(
        "Project",
        "pipelines",
        "nothing is lost: a pipeline is found by its status, or by its number, with more queries",
    )
    .argument("ids")
    .until(18, 4),
    Gap::new(
        "Project",
        "pipeline",
        "nothing is lost: REST has the variables of pipelines, one call per pipeline",
    )
    .argument("id")
    .until(16, 3)
    .without(Without::NotSent),
    Gap::new(
        "Project",
        "mergeRequests",
        "nothing is lost: REST shows what a deployment shipped, one call per deployment",
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
        "nothing is lost: REST's list of projects shows which are scheduled for deletion, at each discovery",
    )
    .until(17, 6),
    Gap::new(
        "Project",
        "isForked",
        "nothing is lost: REST lists the projects where forks are excluded",
    )
    .until(16, 3),
    Gap::new(
        "Project",
        "maxAccessLevel",
        "the role is the one that REST shows; what the token may not read is learned when it is refused",
    )
    .until(16, 3)
    .fine_grained(),
    Gap::new(
        "Project",
        "userPermissions",
        "nothing is lost: what the token may not read is learned when it is refused",
    )
    .fine_grained(),
    Gap::new(
        "ProjectPermissions",
        "readEnvironment",
        "nothing is lost: what the token may not read is learned when it is refused",
    )
    .until(15, 3),
    Gap::new(
        "Project",
        "languages",
        "nothing is lost: REST has the languages, one call per project",
    )
    .until(15, 3),
    Gap::new(
        "Project",
        "pipelineSchedules",
        "nothing is lost: REST has the schedules, one call per project and one per schedule",
    )
    .until(15, 3)
    .without(Without::NotSent),
    Gap::new(
        "Project",
        "runners",
        "nothing is lost: REST has the runners, with calls per project and runner",
    )
    .until(15, 3)
    .without(Without::NotSent),
    Gap::new(
        "Project",
        "valueStreams",
        "`age_value_stream_stage_duration_seconds` is missing: nothing else has the stages of value streams",
    )
    .until(16, 3)
    .without(Without::NotSent),
    Gap::new(
        "Project",
        "flowMetrics",
        "`age_value_stream_lead_time_seconds` and `age_value_stream_cycle_time_seconds` are missing: nothing \
         else has them; tiers are unknown, unless `gitlab.tier` sets them",
    )
    .until(15, 8)
    .without(Without::NotSent),
    Gap::new(
        "Project",
        "dora",
        "nothing is lost: DORA figures are computed from deployments, merge requests and incidents",
    )
    .enterprise()
    .without(Without::NotSent),
    Gap::new(
        "DoraMetric",
        "deploymentFrequency",
        "nothing is lost: REST has the DORA figures, one call per project, tier and figure",
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
        "nothing is lost: the tier shows in what licensed fields answer",
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
        "nothing is lost: REST counts branches and tags, two calls per project in which something moved",
    )
    .until(18, 4)
    .without(Without::NotSent),
    Gap::new(
        "CiJob",
        "runner",
        "nothing is lost: REST shows the type of the runner, one call per pipeline that ended",
    )
    .until(15, 8),
    Gap::new(
        "CiJobArtifact",
        "size",
        "nothing is lost while `collectors.jobs.include_runner_details` is on: REST has the sizes of \
         artifacts, in the call that shows the runners",
    )
    .until(15, 3)
    .along(&["fileType"]),
    Gap::new(
        "CiRunner",
        "managers",
        "nothing is lost: version and platform belong to the runner itself",
    )
    .until(15, 8)
    .without(Without::Instead(&["version", "platformName", "architectureName"])),
    Gap::new(
        "MergeRequest",
        "closedAt",
        "nothing is lost: REST has the time, one call per project in which a merge request was closed",
    )
    .until(16, 3),
    Gap::new("MergeRequest", "notes", "nothing is lost: without a filter all notes come")
        .argument("filter")
        .until(16, 3),
    Gap::new(
        "MergeRequest",
        "author",
        "a fine-grained token needs the grant *User: Read*, without which no review is counted",
    )
    .fine_grained()
    .without(Without::Null),
    Gap::new(
        "Note",
        "systemNoteMetadata",
        "nothing is lost: the text of a note shows what was done",
    )
    .until(15, 3),
];
