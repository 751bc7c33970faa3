//! DORA figures as GitLab returns them, however they were read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock::UnixSeconds;
use crate::types::ProjectId;

/// What an environment is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum DeploymentTier {
    /// What users use.
    Production,
    /// What is shown before production.
    Staging,
    /// What tests run on.
    Testing,
    /// What developers use.
    Development,
    /// Everything else.
    Other,
}

impl DeploymentTier {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Production,
        Self::Staging,
        Self::Testing,
        Self::Development,
        Self::Other,
    ];

    /// GitLab's lower-case name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Staging => "staging",
            Self::Testing => "testing",
            Self::Development => "development",
            Self::Other => "other",
        }
    }

    /// The tier of this name; one that GitLab does not say, or that is new, is another.
    #[must_use]
    pub fn parse(name: &str) -> Self {
        let mut all = Self::ALL.into_iter();
        all.find(|tier| tier.as_str() == name)
            .unwrap_or(Self::Other)
    }
}

/// The figures of one tier over some days.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DoraFigures {
    /// Successful deployments per day, all days counted.
    pub deployment_frequency: Option<f64>,
    /// Seconds from merge to deployment: the median of the daily medians.
    pub lead_time: Option<f64>,
    /// Seconds from an incident's creation to its closing: the median of the daily medians.
    pub time_to_restore: Option<f64>,
    /// Incidents per successful deployment.
    pub change_failure_rate: Option<f64>,
}

/// The figures of each tier.
pub type DoraByTier = BTreeMap<DeploymentTier, DoraFigures>;

/// A project's figures.
#[derive(Clone, Debug, PartialEq)]
pub struct ProjectDora {
    /// The project.
    pub id: ProjectId,
    /// Its figures; none where licence or role hide them.
    pub tiers: Option<DoraByTier>,
}

/// Whole days, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Days {
    /// A time on the first day.
    pub first: UnixSeconds,
    /// A time on the last day.
    pub last: UnixSeconds,
}

impl Days {
    /// First and last day as GitLab's `Date` has it: `2026-01-05`.
    pub(in crate::gitlab) fn dates(self) -> [String; 2] {
        [self.first, self.last].map(|at| {
            let text = at.to_string();
            text.split('T').next().unwrap_or_default().to_owned()
        })
    }

    /// How many they are.
    #[must_use]
    pub fn count(self) -> i64 {
        self.last.day() - self.first.day() + 1
    }
}
