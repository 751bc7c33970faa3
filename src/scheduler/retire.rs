//! Which series leave with a ref or a path that is no more.

use std::collections::BTreeSet;

use crate::collector::Measured;
use crate::collector::refs::RefName;
use crate::gitlab::model::Text;
use crate::series::Retirement;
use crate::telemetry::catalogue::Collector;

/// The series of refs that are gone, and of what they started elsewhere. Metrics without `kind` go
/// only when no other kind of ref bears the name.
pub(super) fn refs<'a>(
    project: &Text,
    gone: impl Iterator<Item = &'a RefName>,
    after: &BTreeSet<RefName>,
) -> Vec<Retirement> {
    let mut retired = Vec::new();
    for gone in gone {
        let labels = vec![("project", project.clone()), ("ref", gone.name.clone())];
        let mut with_kind = labels.clone();
        with_kind.push(("kind", gone.kind.as_str().into()));
        retired.push(Retirement::Labels(with_kind));
        if !after.iter().any(|left| left.name == gone.name) {
            retired.push(Retirement::Labels(labels));
            retired.push(Retirement::Labels(vec![
                ("parent_project", project.clone()),
                ("parent_ref", gone.name.clone()),
            ]));
        }
    }
    retired
}

/// The series of a project under a path that it does not have any more.
pub(super) fn path(path: &Text) -> [Retirement; 2] {
    ["project", "parent_project"].map(|label| Retirement::Labels(vec![(label, path.clone())]))
}

/// What is read again of a ref that is gone does not bring its series back; what ends on it does.
pub(super) fn withhold_births(measured: &mut [(Collector, Measured)], retirements: &[Retirement]) {
    if retirements.is_empty() {
        return;
    }
    for (_, measured) in measured {
        measured.births.retain(|key| {
            let mut gone = retirements.iter();
            !gone.any(|retirement| retirement.means(key.desc, &key.labels))
        });
    }
}
