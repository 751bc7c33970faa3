//! What was read of a project's DORA figures.

use crate::facts::Problem;
use crate::gitlab::model::DoraByTier;
use crate::memory::dora::{DoraMemory, DoraProgress};

/// What was read of a project.
#[derive(Debug)]
pub struct DoraRead {
    pub figures: Figures,
    pub progress: DoraProgress,
    pub problems: Vec<Problem>,
}

/// Where the figures come from.
#[derive(Debug)]
pub enum Figures {
    /// GitLab returns them.
    GitLab(DoraByTier),
    /// They are computed from what is remembered.
    Computed(Box<DoraMemory>),
}
