//! Downstream pipelines in projects that are not tracked: followed from the upstream side.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use super::upstreams::{Upstreams, upstream_of};
use super::{Place, Started, Tracked, Wanted, lock};
use crate::facts::feed::ForeignPipeline;
use crate::gitlab::graphql::Parts;
use crate::gitlab::model::{DownstreamTarget, Pipeline, Upstream};
use crate::gitlab::{GitLab, GitLabError};
use crate::types::{ProjectId, Text};

/// GitLab refuses deeper hierarchies; a longer chain over projects is a loop.
const MAX_FOLLOWED: usize = 100;

/// Follows downstream pipelines out of the tracked projects, to any depth, each once.
pub(super) struct Foreign {
    gitlab: GitLab,
    paths: Mutex<BTreeMap<ProjectId, Text>>,
}

impl Foreign {
    pub(super) fn new(gitlab: GitLab) -> Self {
        Self {
            gitlab,
            paths: Mutex::new(BTreeMap::new()),
        }
    }

    /// All downstream pipelines of a pipeline that run in projects that are not tracked. Those in
    /// tracked projects are in their own project's change feed, with all that they start; what
    /// started them from outside is added to `upstreams`.
    pub(super) async fn follow(
        &self,
        wanted: &Wanted,
        started: Vec<Started>,
        tracked: &Tracked,
        use_graphql: bool,
        upstreams: &Upstreams,
    ) -> Result<Vec<ForeignPipeline>, Arc<GitLabError>> {
        let mut seen = BTreeSet::from([wanted.pipeline.id]);
        let mut found = Vec::new();
        let mut queue: VecDeque<(Upstream, Started)> =
            outside(&wanted.place(), &wanted.pipeline, started, tracked).collect();
        while let Some((upstream, started)) = queue.pop_front() {
            if found.len() >= MAX_FOLLOWED || !seen.insert(started.pipeline) {
                continue;
            }
            let Some(target) = self.target(started).await? else {
                continue;
            };
            let next = self.started_by(&target, use_graphql).await?;
            let place = (target.project_id, target.project.clone());
            upstreams.learn(&place, &target.pipeline, &next);
            queue.extend(outside(&place, &target.pipeline, next, tracked));
            found.push(ForeignPipeline { upstream, target });
        }
        Ok(found)
    }

    /// The pipeline itself; none when the token may not read it.
    async fn target(&self, started: Started) -> Result<Option<DownstreamTarget>, Arc<GitLabError>> {
        if started.target.is_some() {
            return Ok(started.target);
        }
        let read = async {
            let project = self.path(started.project).await?;
            let pipeline = self
                .gitlab
                .pipeline(started.project, started.pipeline)
                .await?;
            Ok(DownstreamTarget {
                project_id: started.project,
                project,
                pipeline,
            })
        };
        readable(read.await)
    }

    async fn path(&self, project: ProjectId) -> Result<Text, GitLabError> {
        let known = lock(&self.paths).get(&project).cloned();
        if let Some(path) = known {
            return Ok(path);
        }
        let path = self.gitlab.project(project).await?.full_path;
        lock(&self.paths).insert(project, path.clone());
        Ok(path)
    }

    async fn started_by(
        &self,
        target: &DownstreamTarget,
        use_graphql: bool,
    ) -> Result<Vec<Started>, Arc<GitLabError>> {
        let DownstreamTarget {
            project_id,
            pipeline,
            ..
        } = target;
        if use_graphql {
            let read = readable(
                self.gitlab
                    .jobs_of(*project_id, pipeline.iid, Parts::BRIDGES)
                    .await,
            )?;
            let all = read
                .flatten()
                .map(|read| read.downstream.items)
                .unwrap_or_default();
            return Ok(all
                .into_iter()
                .filter_map(Started::from_downstream)
                .collect());
        }
        let bridges = readable(self.gitlab.bridges(*project_id, pipeline.id).await)?;
        let bridges = bridges.map(|page| page.items).unwrap_or_default();
        Ok(bridges
            .into_iter()
            .filter_map(Started::from_bridge)
            .collect())
    }
}

/// What was started outside the tracked projects, with what started it.
fn outside<'a>(
    place: &'a Place,
    pipeline: &'a Pipeline,
    started: Vec<Started>,
    tracked: &'a Tracked,
) -> impl Iterator<Item = (Upstream, Started)> + 'a {
    started
        .into_iter()
        .filter(|started| !tracked.contains_key(&started.project))
        .map(|started| (upstream_of(place, pipeline, &started.bridge), started))
}

/// Turns "not there" and "forbidden" into nothing: the rest can still be followed.
fn readable<T>(read: Result<T, GitLabError>) -> Result<Option<T>, Arc<GitLabError>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error) if error.is_not_found() || error.is_forbidden() => Ok(None),
        Err(error) => Err(Arc::new(error)),
    }
}
