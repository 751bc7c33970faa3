//! Open vulnerabilities: Ultimate, role Developer. One GraphQL query for many projects; REST, which
//! lists them one by one, where GraphQL does not answer.

use std::sync::Arc;
use std::time::Duration;

use super::batched::batched;
use super::{Reading, Source, SourceError, Target, Unavailable, side_by_side};
use crate::clock::UnixSeconds;
use crate::collector::{Measures, Subject, security};
use crate::gitlab::GitLab;
use crate::gitlab::capability::Tier;
use crate::gitlab::model::{Known, ProjectId, Role};
use crate::gitlab::repository::Vulnerabilities;
use crate::project::ProjectMemory;
use crate::telemetry::catalogue::Collector;

/// REST reads of one run that go on side by side.
const CALLS_AT_ONCE: usize = 4;

/// The source.
pub struct SecuritySource {
    gitlab: GitLab,
    interval: Duration,
}

impl SecuritySource {
    /// The vulnerabilities of a GitLab, read this often.
    #[must_use]
    pub fn new(gitlab: GitLab, interval: Duration) -> Self {
        Self { gitlab, interval }
    }

    async fn by_rest(&self, id: ProjectId) -> Result<[u64; 6], SourceError> {
        match self.gitlab.vulnerabilities(id).await {
            Ok(counts) => Ok(counts),
            Err(error) if error.is_forbidden() => {
                Err(Unavailable::Forbidden(error.to_string()).into())
            }
            Err(error) if error.means_gone() => Err(SourceError::Gone),
            Err(error) => Err(Arc::new(error).into()),
        }
    }
}

impl Source for SecuritySource {
    type Facts = [u64; 6];

    fn reading(&self) -> Reading {
        Reading::Security
    }

    fn collectors(&self) -> &[Collector] {
        &[Collector::Security]
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn batch(&self) -> usize {
        GitLab::VULNERABILITIES
    }

    fn unavailable(&self, target: &Target) -> Option<Unavailable> {
        target.lacks(Tier::Ultimate, Role::DEVELOPER)
    }

    async fn fetch(
        &self,
        targets: &[Target],
        _now: UnixSeconds,
    ) -> Vec<(ProjectId, Result<[u64; 6], SourceError>)> {
        let ids: Vec<ProjectId> = targets.iter().map(Target::id).collect();
        if !self.gitlab.uses_graphql() {
            let reads = ids.into_iter();
            let reads = reads.map(|id| async move { (id, self.by_rest(id).await) });
            return side_by_side(CALLS_AT_ONCE, reads.collect()).await;
        }
        let read = batched(
            &ids,
            self.batch(),
            |found: &Vulnerabilities| found.id,
            |ids| {
                let gitlab = self.gitlab.clone();
                async move { gitlab.vulnerability_counts(&ids).await }
            },
        );
        let reads = read.await.into_iter().map(|(id, read)| async move {
            let counts = match read {
                Ok(found) => match found.counts {
                    Known::Value(counts) => Ok(counts),
                    _ => Err(Unavailable::Unlicensed(Tier::Ultimate).into()),
                },
                Err(error) if error.rest_may_answer() => self.by_rest(id).await,
                Err(error) => Err(error),
            };
            (id, counts)
        });
        side_by_side(CALLS_AT_ONCE, reads.collect()).await
    }

    fn measure(
        &self,
        subject: Subject<'_>,
        facts: &[u64; 6],
        _memory: &mut ProjectMemory,
    ) -> Vec<Measures> {
        let measured = security::measure(subject, *facts);
        vec![Measures::new(Collector::Security, measured)]
    }
}
