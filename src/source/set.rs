//! The sources beside the change feed and refs, as one list.

use std::sync::Arc;

use super::AnySource;
use super::repository::RepositorySource;
use super::security::SecuritySource;
use super::value_stream::ValueStreamSource;
use crate::config::Settings;
use crate::gitlab::GitLab;

/// Sources of any kind.
pub type Sources = Vec<Arc<dyn AnySource>>;

/// The sources whose collectors the settings enable.
#[must_use]
pub fn sources(settings: &Settings, gitlab: &GitLab) -> Sources {
    let collectors = &settings.collectors;
    let mut sources = Sources::new();
    if collectors.repository.enabled {
        let source = RepositorySource::new(gitlab.clone(), collectors.repository.interval);
        sources.push(Arc::new(Arc::new(source)));
    }
    if collectors.value_stream.enabled {
        let source = ValueStreamSource::new(gitlab.clone(), collectors.value_stream.interval);
        sources.push(Arc::new(Arc::new(source)));
    }
    if collectors.security.enabled {
        let source = SecuritySource::new(gitlab.clone(), collectors.security.interval);
        sources.push(Arc::new(Arc::new(source)));
    }
    sources
}
