//! All sources, as one list.

use std::sync::Arc;

use super::Source;
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
use crate::config::Settings;
use crate::gitlab::GitLab;

/// Sources of any kind.
pub type Sources = Vec<Arc<dyn Source>>;

/// The sources whose collectors the settings enable.
#[must_use]
pub fn sources(settings: &Settings, gitlab: &GitLab, feed: &Arc<ChangeFeed>) -> Sources {
    let collectors = &settings.collectors;
    let refs = RefsSource::new(collectors, gitlab, feed.shortest_interval());
    let all = [
        Some(Arc::clone(feed) as Arc<dyn Source>),
        shared(Some(Backfill::new(feed))),
        shared(Some(refs)),
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

fn shared(source: Option<impl Source + 'static>) -> Option<Arc<dyn Source>> {
    source.map(|source| Arc::new(source) as Arc<dyn Source>)
}
