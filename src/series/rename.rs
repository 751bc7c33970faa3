//! A project's new path: which series it had under the old one.

use super::Table;
use crate::catalogue::{Kind, SeriesKey};
use crate::types::Text;

/// Labels that name a project by its path.
const PATH_LABELS: [&str; 2] = ["project", "parent_project"];

impl Table {
    /// The counters and histograms that carry the path `from`, as they are named with the path `to`.
    /// Retiring series are left out: they have no future under any path.
    #[must_use]
    pub fn renamed(&self, from: &Text, to: &Text) -> Vec<SeriesKey> {
        let state = self.read();
        let Some(from) = state.labels.text_id(from) else {
            return Vec::new();
        };
        let mut renamed = Vec::new();
        for family in &state.families {
            let places: Vec<usize> = PATH_LABELS
                .iter()
                .filter_map(|path| family.desc.labels.iter().position(|label| label == path))
                .collect();
            if family.desc.kind == Kind::Gauge || places.is_empty() {
                continue;
            }
            for (_, row) in family.living().filter(|(_, row)| !row.is_retiring()) {
                let ids = state.labels.value_ids(row.set);
                let named: Vec<usize> = places
                    .iter()
                    .copied()
                    .filter(|place| ids.get(*place) == Some(&from))
                    .collect();
                if named.is_empty() {
                    continue;
                }
                let mut labels = state.labels.values(row.set);
                for place in named {
                    if let Some(label) = labels.get_mut(place) {
                        *label = to.clone();
                    }
                }
                renamed.push(SeriesKey {
                    desc: family.desc,
                    labels,
                });
            }
        }
        renamed
    }
}
