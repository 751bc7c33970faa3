//! The sources beside the change feed and refs, as one list.

use std::sync::Arc;

use super::AnySource;
use crate::config::Settings;
use crate::gitlab::GitLab;

/// Sources of any kind.
pub type Sources = Vec<Arc<dyn AnySource>>;

/// The sources whose collectors the settings enable.
#[must_use]
pub fn sources(_settings: &Settings, _gitlab: &GitLab) -> Sources {
    Vec::new()
}
