//! Open vulnerabilities: Ultimate, role Developer. One GraphQL query for many projects; REST, which
//! lists them one by one, where GraphQL does not answer.

use async_trait::async_trait;

use super::batches::Batches;
use super::{Context, Fetched, Right, Source, SourceError, Target, fetched, side_by_side};
use crate::catalogue::Collector;
use crate::clock::UnixSeconds;
use crate::facts::{Facts, Reading, Unavailable};
use crate::gitlab::GitLab;
use crate::gitlab::capability::Edition;
use crate::gitlab::model::Known;
use crate::gitlab::model::Vulnerabilities;
use crate::types::ProjectId;
use crate::types::Tier;

/// REST reads of one run that run concurrently.
const CALLS_AT_ONCE: usize = 4;

/// The source.
pub struct SecuritySource {
    gitlab: GitLab,
    batches: Batches,
}

impl SecuritySource {
    /// The source of a GitLab.
    #[must_use]
    pub fn new(gitlab: &GitLab) -> Self {
        Self {
            gitlab: gitlab.clone(),
            batches: Batches::new(&gitlab.breaker(), GitLab::VULNERABILITIES),
        }
    }

    /// From GraphQL, or else from REST.
    async fn counts(
        &self,
        id: ProjectId,
        read: Option<Result<Vulnerabilities, SourceError>>,
    ) -> Result<[u64; 6], SourceError> {
        match read {
            Some(Ok(found)) => match found.counts {
                Known::Value(counts) => Ok(counts),
                _ => Err(Unavailable::Unlicensed(Tier::Ultimate).into()),
            },
            Some(Err(error)) if !error.rest_may_answer() => Err(error),
            Some(Err(_)) | None => Ok(self.gitlab.vulnerabilities(id).await?),
        }
    }
}

impl SecuritySource {
    /// Reads some projects: one result for each.
    async fn read(
        &self,
        targets: &[Target],
        now: UnixSeconds,
    ) -> Vec<(ProjectId, Result<[u64; 6], SourceError>)> {
        let ids: Vec<ProjectId> = targets.iter().map(Target::id).collect();
        // The schema of the Community Edition lacks the field: which edition it is must be known.
        let is_enterprise = |target: &&Target| {
            let instance = target.instance.as_ref();
            instance.is_some_and(|known| known.edition == Edition::Enterprise)
        };
        let enterprise = targets.iter().filter(is_enterprise);
        let enterprise: Vec<ProjectId> = enterprise.map(Target::id).collect();
        let ask = async |ids: Vec<ProjectId>| self.gitlab.vulnerability_counts(&ids).await;
        let id_of = |found: &Vulnerabilities| found.id;
        let mut read = self.batches.ask(&enterprise, now, id_of, ask).await;
        let reads = ids.into_iter().map(|id| {
            let read = read.remove(&id);
            async move { (id, self.counts(id, read).await) }
        });
        side_by_side(CALLS_AT_ONCE, reads.collect()).await
    }
}

#[async_trait]
impl Source for SecuritySource {
    fn reading(&self) -> Reading {
        Reading::Security
    }

    fn collectors(&self) -> &[Collector] {
        &[Collector::Security]
    }

    fn batch(&self) -> usize {
        GitLab::VULNERABILITIES
    }

    fn unavailable(&self, target: &Target) -> Option<Unavailable> {
        target.lacks(Tier::Ultimate, Right::Vulnerabilities)
    }

    async fn fetch(&self, targets: &[Target], context: &Context) -> Fetched {
        let read = self.read(targets, context.now).await;
        fetched(read, Facts::Security)
    }
}
