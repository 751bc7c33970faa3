//! What was learned of one GitLab and one token.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::strip::{Stripped, strip};
use super::{GAPS, Gap, Loss, Why, Without};

/// The gaps of a GitLab and a token, kept while the process runs.
#[derive(Debug, Default)]
pub(in crate::gitlab) struct Learned(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The version of GitLab, once it is known: another one has other gaps.
    version: Option<String>,
    /// Its major and minor number.
    release: (u32, u32),
    /// What is missing, by its place in [`GAPS`].
    missing: BTreeMap<usize, Why>,
    /// Documents that are refused for what they cannot do without, by operation, and GitLab's reason.
    refused: HashMap<&'static str, String>,
    /// Documents as they are sent, by operation.
    texts: HashMap<&'static str, Result<Arc<str>, String>>,
}

impl Learned {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The document of an operation as it is to be sent.
    ///
    /// # Errors
    /// Why it is not to be sent.
    pub(in crate::gitlab::graphql) fn text(
        &self,
        operation: &'static str,
        document: &'static str,
    ) -> Result<Arc<str>, String> {
        let mut state = self.state();
        if let Some(why) = state.refused.get(operation) {
            return Err(why.clone());
        }
        if let Some(text) = state.texts.get(operation) {
            return text.clone();
        }
        let missing: Vec<(&'static Gap, Why)> = state.missing().collect();
        let gaps: Vec<&'static Gap> = missing.iter().map(|(gap, _)| *gap).collect();
        let text = match strip(document, &gaps) {
            Stripped::Text(text) => Ok(text.into()),
            Stripped::NotSent(gap) => {
                let why = missing.iter().find(|(missing, _)| *missing == gap);
                let why = why.map_or(Why::Schema, |(_, why)| *why);
                Err(Loss { gap, why }.to_string())
            }
        };
        state.texts.insert(operation, text.clone());
        text
    }

    /// Takes in what is missing.
    pub(in crate::gitlab::graphql) fn learn(&self, gaps: &[&'static Gap], why: Why) {
        let mut state = self.state();
        for gap in gaps {
            let Some(place) = GAPS.iter().position(|known| known == *gap) else {
                continue;
            };
            if state.missing.insert(place, why).is_none() {
                state.texts.clear();
                let loss = Loss { gap, why };
                tracing::info!("{loss}");
            }
        }
    }

    /// Takes in that a document is refused for something that it cannot do without.
    pub(in crate::gitlab::graphql) fn refuse(&self, operation: &'static str, why: String) {
        self.state().refused.insert(operation, why);
    }

    /// Takes in whether a field that is null for tokens without a grant had a value.
    pub(in crate::gitlab::graphql) fn shown(&self, on: &str, field: &str, shown: bool) {
        let mut state = self.state();
        let is_it = |gap: &Gap| gap.without == Without::Null && gap.on == on && gap.field == field;
        let Some(place) = GAPS.iter().position(is_it) else {
            return;
        };
        match shown {
            true => state.missing.remove(&place),
            false => state.missing.insert(place, Why::Token),
        };
    }

    /// Whether GitLab is known to be older than a release.
    pub(in crate::gitlab) fn is_older_than(&self, release: (u32, u32)) -> bool {
        let known = self.state().release;
        known > (0, 0) && known < release
    }

    /// Whether a field is missing.
    pub(in crate::gitlab) fn lacks(&self, on: &str, field: &str) -> bool {
        let state = self.state();
        state
            .missing()
            .any(|(gap, _)| gap.on == on && gap.field == field && gap.argument.is_none())
    }

    /// Whether an argument of a field is missing.
    pub(in crate::gitlab) fn lacks_argument(&self, on: &str, field: &str, argument: &str) -> bool {
        let state = self.state();
        state
            .missing()
            .any(|(gap, _)| gap.on == on && gap.field == field && gap.argument == Some(argument))
    }

    /// Why the document of an operation is refused, if it is.
    pub(in crate::gitlab) fn refusal(&self, operation: &str) -> Option<String> {
        self.state().refused.get(operation).cloned()
    }

    /// Everything that is missing, and the documents that are refused, in sentences.
    pub(in crate::gitlab) fn sentences(&self) -> Vec<String> {
        let state = self.state();
        let mut refused: Vec<_> = state.refused.iter().collect();
        refused.sort_unstable();
        let refused = refused.into_iter();
        let refused = refused.map(|(operation, why)| format!("REST instead of {operation}: {why}"));
        let missing = state.missing();
        let missing = missing.map(|(gap, why)| Loss { gap, why }.to_string());
        missing.chain(refused).collect()
    }

    /// Everything that is missing.
    pub(in crate::gitlab) fn losses(&self) -> Vec<Loss> {
        let state = self.state();
        state
            .missing()
            .map(|(gap, why)| Loss { gap, why })
            .collect()
    }

    /// Takes in the version that GitLab has now. What was learned of another is forgotten, and so is
    /// what the token could not read: its grants may have changed.
    pub(in crate::gitlab) fn version_is(&self, version: &str, release: (u32, u32)) {
        let mut state = self.state();
        let same = state
            .version
            .as_deref()
            .is_none_or(|known| known == version);
        if same {
            state.missing.retain(|_, why| *why == Why::Schema);
        } else {
            state.missing.clear();
        }
        // What no gap explains may have been an accident.
        state.refused.clear();
        state.texts.clear();
        state.version = Some(version.to_owned());
        state.release = release;
    }
}

impl State {
    fn missing(&self) -> impl Iterator<Item = (&'static Gap, Why)> + '_ {
        let missing = self.missing.iter();
        missing.filter_map(|(place, why)| Some((GAPS.get(*place)?, *why)))
    }
}
