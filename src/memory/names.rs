//! People who have series: when they come, when they go, and what happens when all are called
//! otherwise.
//!
//! A person's series stay as long as there is something to count, and go some time after the last:
//! people leave, and their names with them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::UnixSeconds;
use crate::types::Text;

/// How long a person's series stay after the last event.
pub(crate) const QUIET: Duration = Duration::from_secs(90 * 86_400);

/// The label values by which people have series in a project.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Names {
    /// See [`People::naming`](crate::people::People::naming).
    pub(crate) naming: Text,
    /// When something last happened under each.
    pub(crate) last: BTreeMap<Text, UnixSeconds>,
}

impl Names {
    /// What the labels depend on.
    #[must_use]
    pub fn naming(&self) -> &Text {
        &self.naming
    }

    /// Begins a poll. When people are called otherwise than before, all the earlier names go: it
    /// returns them, for [`Self::end`].
    #[must_use]
    pub fn begin(&mut self, naming: Text) -> Vec<Text> {
        if self.naming == naming {
            return Vec::new();
        }
        self.naming = naming;
        std::mem::take(&mut self.last).into_keys().collect()
    }

    /// Notes that something happened under a name.
    pub fn note(&mut self, label: &Text, now: UnixSeconds) {
        self.last.insert(label.clone(), now);
    }

    /// Ends a poll: returns the names whose series are removed, those of `earlier` that are not used again
    /// among them.
    #[must_use]
    pub fn end(&mut self, earlier: Vec<Text>, now: UnixSeconds) -> Vec<Text> {
        let mut removed = earlier;
        self.last.retain(|label, last| {
            let is_quiet = now.since(*last) > QUIET;
            removed.extend(is_quiet.then(|| label.clone()));
            !is_quiet
        });
        removed.retain(|label| !self.last.contains_key(label));
        removed
    }
}
