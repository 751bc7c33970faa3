//! What went wrong while a project was read and left the rest of it whole.

use crate::catalogue::Activity;
use crate::gitlab::GitLabError;
use crate::types::Text;

/// Something that went wrong in one project and left the rest whole.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{project}: {sentence}")]
pub struct Problem {
    /// Full path of the project.
    pub project: Text,
    /// What was read for.
    pub activity: Activity,
    /// Value of the label `error_type`.
    pub kind: &'static str,
    /// What happened.
    pub sentence: String,
    /// Whether a call failed, so that what the collector knows is as old as before.
    pub is_failure: bool,
}

impl Problem {
    /// A failed call.
    #[must_use]
    pub fn call(project: &Text, activity: impl Into<Activity>, error: &GitLabError) -> Self {
        Self {
            project: project.clone(),
            activity: activity.into(),
            kind: error.kind(),
            sentence: error.to_string(),
            is_failure: true,
        }
    }

    /// An item that made no sense and was left out.
    #[must_use]
    pub fn skipped(project: &Text, activity: impl Into<Activity>, sentence: String) -> Self {
        Self {
            project: project.clone(),
            activity: activity.into(),
            kind: "decode",
            sentence,
            is_failure: false,
        }
    }
}
