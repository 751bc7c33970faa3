//! The sources beside the change feed and refs, as one list.

use std::sync::Arc;

use super::contributors::ContributorsSource;
use super::dora::DoraSource;
use super::environments::EnvironmentsSource;
use super::merge_requests::MergeRequestsSource;
use super::repository::RepositorySource;
use super::runners::RunnersSource;
use super::schedules::SchedulesSource;
use super::security::SecuritySource;
use super::test_reports::TestReportsSource;
use super::value_stream::ValueStreamSource;
use super::variables::VariablesSource;
use super::{AnySource, Source};
use crate::config::Settings;
use crate::gitlab::GitLab;

/// Sources of any kind.
pub type Sources = Vec<Arc<dyn AnySource>>;

/// The sources whose collectors the settings enable.
#[must_use]
pub fn sources(settings: &Settings, gitlab: &GitLab) -> Sources {
    let collectors = &settings.collectors;
    let all = [
        shared(MergeRequestsSource::new(settings, gitlab)),
        shared(EnvironmentsSource::new(collectors, gitlab)),
        shared(DoraSource::new(collectors, gitlab)),
        shared(RepositorySource::new(collectors, gitlab)),
        shared(ValueStreamSource::new(collectors, gitlab)),
        shared(SecuritySource::new(collectors, gitlab)),
        shared(TestReportsSource::new(collectors, gitlab)),
        shared(SchedulesSource::new(collectors, gitlab)),
        shared(VariablesSource::new(collectors, gitlab)),
        shared(RunnersSource::new(collectors, gitlab)),
        shared(ContributorsSource::new(settings, gitlab)),
    ];
    all.into_iter().flatten().collect()
}

fn shared(source: Option<impl Source>) -> Option<Arc<dyn AnySource>> {
    source.map(|source| Arc::new(Arc::new(source)) as Arc<dyn AnySource>)
}
