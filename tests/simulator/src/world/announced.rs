//! Changes of pipelines' statuses, for who is subscribed to them.

use std::collections::{BTreeMap, VecDeque};

use super::World;
use super::ci::Status;
use super::model::{PipelineId, ProjectId};
use crate::time::{MINUTE, Millis};

/// So many are kept.
const KEPT: usize = 10_000;
/// So many of a project are announced within a minute; the rest is dropped.
pub const A_MINUTE: u32 = 50;

/// The last changes, numbered from 0.
#[derive(Clone, Debug, Default)]
pub struct StatusChanges {
    first: u64,
    kept: VecDeque<(ProjectId, PipelineId)>,
    minutes: BTreeMap<ProjectId, (Millis, u32)>,
}

impl StatusChanges {
    /// The number of the next one.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.first + self.kept.len() as u64
    }

    /// Those from a number on: project and pipeline.
    pub fn after(&self, number: u64) -> impl Iterator<Item = (ProjectId, PipelineId)> {
        let skipped = number.saturating_sub(self.first);
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
        self.kept.iter().skip(skipped).copied()
    }

    fn note(&mut self, project: ProjectId, pipeline: PipelineId, now: Millis) {
        let (begun, count) = self.minutes.entry(project).or_insert((now, 0));
        if now - *begun >= MINUTE {
            (*begun, *count) = (now, 0);
        }
        *count += 1;
        if *count > A_MINUTE {
            return;
        }
        if self.kept.len() == KEPT {
            self.kept.pop_front();
            self.first += 1;
        }
        self.kept.push_back((project, pipeline));
    }
}

impl World {
    /// What is announced of pipelines: every change of a status but to `created`.
    #[must_use]
    pub fn status_changes(&self) -> &StatusChanges {
        &self.announced
    }

    pub(super) fn announce_status(&mut self, id: PipelineId) {
        let now = self.now;
        if let Some(pipeline) = self.pipelines.get(id)
            && pipeline.status != Status::Created
        {
            self.announced.note(pipeline.project_id, id, now);
        }
    }
}
