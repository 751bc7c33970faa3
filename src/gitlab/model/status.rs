//! What pipelines, jobs and bridges are doing.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::types::Text;

/// Status of a pipeline, a job or a bridge (`app/models/concerns/ci/has_status.rb`).
///
/// Values this program does not know are kept as GitLab wrote them, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Status {
    /// Exists, nothing asked for yet.
    Created,
    /// Waits for a resource group.
    WaitingForResource,
    /// Prerequisites are being made.
    Preparing,
    /// Waits for an external answer.
    WaitingForCallback,
    /// Waits for a runner.
    Pending,
    /// Runs.
    Running,
    /// Ended well.
    Success,
    /// Ended badly.
    Failed,
    /// Is being stopped.
    Canceling,
    /// Was stopped.
    Canceled,
    /// Left out.
    Skipped,
    /// Blocked until a user starts a manual job.
    Manual,
    /// Blocked until a delay is over.
    Scheduled,
    /// A status newer than this program.
    Other(Text),
}

impl Status {
    /// Every status GitLab has today, in the order of a pipeline's life.
    pub const KNOWN: [Self; 13] = [
        Self::Created,
        Self::WaitingForResource,
        Self::Preparing,
        Self::WaitingForCallback,
        Self::Pending,
        Self::Running,
        Self::Success,
        Self::Failed,
        Self::Canceling,
        Self::Canceled,
        Self::Skipped,
        Self::Manual,
        Self::Scheduled,
    ];

    /// GitLab's own lower-case name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Created => "created",
            Self::WaitingForResource => "waiting_for_resource",
            Self::Preparing => "preparing",
            Self::WaitingForCallback => "waiting_for_callback",
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Canceling => "canceling",
            Self::Canceled => "canceled",
            Self::Skipped => "skipped",
            Self::Manual => "manual",
            Self::Scheduled => "scheduled",
            Self::Other(text) => text,
        }
    }

    /// Ended: nothing moves any more unless it is retried.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        matches!(
            self,
            Self::Success | Self::Failed | Self::Canceled | Self::Skipped
        )
    }

    /// Waits for a person or a timer; moves only with a status change, perhaps in days.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        matches!(self, Self::Manual | Self::Scheduled)
    }

    /// Neither ended nor blocked: worth reading again at every poll.
    #[must_use]
    pub fn is_active(&self) -> bool {
        !self.is_terminal() && !self.is_blocked()
    }
}

impl From<&str> for Status {
    /// Reads REST's lower case and GraphQL's upper case alike.
    fn from(text: &str) -> Self {
        let lower = text.to_lowercase();
        Self::KNOWN
            .into_iter()
            .find(|status| status.as_str() == lower)
            .unwrap_or_else(|| Self::Other(lower.into()))
    }
}

impl From<String> for Status {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_read_in_both_cases_and_unknown_ones_kept() {
        assert_eq!(
            Status::from("WAITING_FOR_CALLBACK"),
            Status::WaitingForCallback
        );
        assert_eq!(Status::from("success"), Status::Success);
        let unknown = Status::from("HIBERNATING");
        assert_eq!(unknown.as_str(), "hibernating");
        assert!(unknown.is_active(), "an unknown status is polled again");
    }

    #[test]
    fn blocked_is_neither_terminal_nor_active() {
        for status in [Status::Manual, Status::Scheduled] {
            assert!(status.is_blocked() && !status.is_active() && !status.is_terminal());
        }
    }
}
