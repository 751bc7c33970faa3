//! All sources, as one list.

use std::sync::Arc;

use super::change_feed::{Backfill, ChangeFeed};
use super::contributors::ContributorsSource;
use super::dora::DoraSource;
use super::environments::EnvironmentsSource;
use super::merge_requests::MergeRequestsSource;
use super::refs::RefsSource;
use super::repository::RepositorySource;
use super::runners::RunnersSource;
use super::schedules::SchedulesSource;
use super::security::SecuritySource;
use super::test_reports::TestReportsSource;
use super::value_stream::ValueStreamSource;
use super::variables::VariablesSource;
use super::{Needs, Source};
use crate::config::Settings;
use crate::gitlab::GitLab;

/// Sources of any kind.
pub type Sources = Vec<Arc<dyn Source>>;

/// The sources of whose collectors one is on for some project.
#[must_use]
pub fn sources(settings: &Settings, gitlab: &GitLab, feed: &Arc<ChangeFeed>) -> Sources {
    let collectors = &settings.collectors;
    let all: [Arc<dyn Source>; 14] = [
        Arc::clone(feed) as _,
        Arc::new(Backfill::new(feed)),
        Arc::new(RefsSource::new(gitlab)),
        Arc::new(MergeRequestsSource::new(settings, gitlab)),
        Arc::new(EnvironmentsSource::new(&collectors.environments, gitlab)),
        Arc::new(DoraSource::new(&collectors.dora, gitlab)),
        Arc::new(RepositorySource::new(gitlab)),
        Arc::new(ValueStreamSource::new(gitlab)),
        Arc::new(SecuritySource::new(gitlab)),
        Arc::new(TestReportsSource::new(&collectors.test_reports, gitlab)),
        Arc::new(SchedulesSource::new(gitlab)),
        Arc::new(VariablesSource::new(&collectors.variables, gitlab)),
        Arc::new(RunnersSource::new(gitlab)),
        Arc::new(ContributorsSource::new(&settings.labels, gitlab)),
    ];
    let is_on = |source: &Arc<dyn Source>| {
        let mut collectors = source.collectors().iter();
        source.needs() != Needs::Tier || collectors.any(|one| settings.enabled_anywhere(*one))
    };
    all.into_iter().filter(is_on).collect()
}
