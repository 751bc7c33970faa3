//! Value streams and vulnerabilities.

use super::Known;
use crate::types::{ProjectId, Text};

/// Value stream analytics of a project.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueStreams {
    /// The project.
    pub id: ProjectId,
    /// Stages of all its value streams, in order; `None` when they are hidden.
    pub stages: Option<Vec<StageMedian>>,
    /// Seconds from an issue's creation to its closing.
    pub lead_time: Option<f64>,
    /// Seconds from an issue's first mention in a commit to its closing.
    pub cycle_time: Option<f64>,
}

/// A stage that is not hidden.
#[derive(Clone, Debug, PartialEq)]
pub struct StageMedian {
    /// Its name; default stages in lower case.
    pub name: Text,
    /// Median in seconds; `None` while no item has left it.
    pub median: Option<f64>,
}

/// Vulnerabilities that are detected or confirmed, by severity.
#[derive(Clone, Debug, PartialEq)]
pub struct Vulnerabilities {
    /// The project.
    pub id: ProjectId,
    /// Numbers in the order of [`SEVERITIES`]; hidden without licence or below Developer.
    pub counts: Known<[u64; 6]>,
}

/// GitLab's severities, the worst first.
pub const SEVERITIES: [&str; 6] = ["critical", "high", "medium", "low", "info", "unknown"];
