//! The projects to subscribe to, where not all can be.

use std::collections::{BTreeMap, BTreeSet};

use super::Slot;
use crate::clock::UnixSeconds;
use crate::registry::ProjectActivity;
use crate::types::ProjectId;

/// A subscribed project gives way to one that moved so much later.
const LATER: i64 = 3600;
/// So many give way at once: each costs GitLab some queries.
const AT_ONCE: usize = 20;

const fn rank(project: &ProjectActivity) -> (bool, UnixSeconds) {
    (project.is_active, project.moved_at)
}

/// Whether a project takes the place of another.
fn replaces(project: &ProjectActivity, other: &ProjectActivity) -> bool {
    let is_later = project.moved_at.0.saturating_sub(other.moved_at.0) >= LATER;
    !other.is_active && is_later
}

/// The busiest; what is subscribed to stays unless another is much busier.
pub(super) fn choose(
    slots: &BTreeMap<ProjectId, Slot>,
    candidates: &[ProjectActivity],
    most: usize,
) -> BTreeSet<ProjectId> {
    let is_kept = |busy: &&ProjectActivity| slots.contains_key(&busy.id);
    let (mut kept, mut others): (Vec<&ProjectActivity>, Vec<&ProjectActivity>) =
        candidates.iter().partition(is_kept);
    kept.sort_by_key(|busy| std::cmp::Reverse(rank(busy)));
    others.sort_by_key(|busy| std::cmp::Reverse(rank(busy)));
    kept.truncate(most);
    let mut others = others.into_iter();
    let free = most - kept.len();
    let added: Vec<&ProjectActivity> = others.by_ref().take(free).collect();
    for busy in others.take(AT_ONCE) {
        let quietest = kept.last().is_some_and(|quietest| replaces(busy, quietest));
        if !quietest {
            break;
        }
        kept.pop();
        kept.insert(0, busy);
    }
    kept.into_iter().chain(added).map(|busy| busy.id).collect()
}
