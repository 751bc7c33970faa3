//! The sources beside the change feed and refs, as one list.

use std::sync::Arc;

use super::AnySource;
use super::environments::EnvironmentsSource;
use crate::config::Settings;
use crate::gitlab::GitLab;

/// Sources of any kind.
pub type Sources = Vec<Arc<dyn AnySource>>;

/// The sources whose collectors the settings enable.
#[must_use]
pub fn sources(settings: &Settings, gitlab: &GitLab) -> Sources {
    let collectors = &settings.collectors;
    let mut sources = Sources::new();
    if collectors.environments.enabled {
        let source = EnvironmentsSource::new(gitlab.clone(), collectors.environments.clone());
        sources.push(Arc::new(Arc::new(source)));
    }
    sources
}
