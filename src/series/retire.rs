//! Retirement: counters and histograms whose subject was removed are removed once their last change
//! was delivered.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::family::Family;
use super::labels::LabelSets;
use crate::catalogue::{Collector, Desc, FamilyId, Kind};
use crate::types::{ProjectId, Text};

/// What was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Retirement {
    /// What is named by these label values: series that have all of these labels with these
    /// values. Metrics that lack one of the labels are not affected.
    Labels(Vec<(&'static str, Text)>),
    /// A ref of a project: branch, tag or merge request. Metrics without a label `ref` are not affected.
    Ref {
        /// `project`.
        project: Text,
        /// `kind`.
        kind: Text,
        /// `ref` of metrics with `kind`.
        name: Text,
        /// `ref` of the others.
        plain: Text,
    },
    /// A project: its states at once, and the counters and histograms about it. Downstream
    /// pipelines are about the project that started them.
    Project {
        /// Whose states go.
        id: ProjectId,
        /// The full path that the series carry.
        path: Text,
    },
    /// What is named by these label values in one metric.
    OfMetric(FamilyId, Vec<(&'static str, Text)>),
    /// All that a collector counts, of every project or of the one with this full path.
    Collector(Collector, Option<Text>),
}

impl Retirement {
    /// The label values that a series of `desc` must have to be meant; `None` when none is.
    fn selector(&self, desc: &Desc) -> Option<Vec<(&'static str, &Text)>> {
        match self {
            Self::Labels(labels) => {
                let labels = labels.iter().map(|(name, value)| (*name, value));
                Some(labels.collect()).filter(|labels: &Vec<_>| !labels.is_empty())
            }
            Self::OfMetric(family, labels) => {
                let labels = labels.iter().map(|(name, value)| (*name, value));
                (family.desc() == desc).then(|| labels.collect())
            }
            Self::Ref {
                project,
                kind,
                name,
                plain,
            } => Some(match desc.labels.contains(&"kind") {
                true => vec![("kind", kind), ("project", project), ("ref", name)],
                false => vec![("project", project), ("ref", plain)],
            }),
            Self::Project { path, .. } => {
                let parent = desc.labels.contains(&"parent_project");
                let label = if parent { "parent_project" } else { "project" };
                Some(vec![(label, path)])
            }
            Self::Collector(collector, path) => {
                let label = ["parent_project", "project"]
                    .into_iter()
                    .find(|label| desc.labels.contains(label));
                let selector = match (path, label) {
                    (Some(path), Some(label)) => Some(vec![(label, path)]),
                    (Some(_), None) => None,
                    (None, _) => Some(Vec::new()),
                };
                selector.filter(|_| desc.collector == *collector)
            }
        }
    }
}

impl Retirement {
    /// Whether a series with these label values is meant.
    #[must_use]
    pub fn means(&self, desc: &Desc, values: &[Text]) -> bool {
        self.selector(desc).is_some_and(|selector| {
            selector.iter().all(|(name, value)| {
                let place = desc.labels.iter().position(|label| label == name);
                place.and_then(|place| values.get(place)) == Some(*value)
            })
        })
    }
}

/// Label values by the places of their labels.
type Wanted = HashMap<Vec<usize>, HashSet<Vec<u32>>>;

/// The label values in `retirements` that a family's series can have.
fn wanted(family: &Family, labels: &LabelSets, retirements: &[Retirement]) -> Wanted {
    let mut wanted = Wanted::new();
    for retirement in retirements {
        let Some(selector) = retirement.selector(family.desc) else {
            continue;
        };
        let places_and_values: Option<(Vec<usize>, Vec<u32>)> = selector
            .into_iter()
            .map(|(name, value)| {
                let place = family.desc.labels.iter().position(|label| *label == name)?;
                Some((place, labels.text_id(value)?))
            })
            .collect();
        if let Some((places, values)) = places_and_values {
            wanted.entry(places).or_default().insert(values);
        }
    }
    wanted
}

/// Marks a family's rows whose subject was removed; returns the label sets newly marked.
pub(super) fn mark(
    family: &mut Family,
    labels: &LabelSets,
    retirements: &[Retirement],
) -> Vec<u32> {
    let meant = meant(family, labels, retirements);
    for slot in &meant {
        family.row_mut(*slot).set_retiring(true);
    }
    meant.iter().map(|slot| family.rows()[*slot].set).collect()
}

/// The places of a family's rows whose subject was removed, and that are not marked.
pub(super) fn meant(family: &Family, labels: &LabelSets, retirements: &[Retirement]) -> Vec<usize> {
    let wanted = match family.desc.kind {
        Kind::Gauge => return Vec::new(),
        Kind::Counter | Kind::Histogram => wanted(family, labels, retirements),
    };
    let mut meant = BTreeSet::new();
    let mut values = Vec::new();
    for (places, wanted) in wanted {
        let slots = family.living().filter(|(_, row)| {
            let ids = labels.value_ids(row.set);
            values.clear();
            values.extend(places.iter().filter_map(|place| ids.get(*place)));
            !row.is_retiring() && wanted.contains(&values)
        });
        meant.extend(slots.map(|(slot, _)| slot));
    }
    meant.into_iter().collect()
}
