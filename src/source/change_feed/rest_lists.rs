//! Which pipelines moved, by REST: the same lists as by GraphQL ([`super::lists`]), for one project.

use std::collections::BTreeMap;

use super::Target;
use super::lists::{CHILDREN_AT_FIRST, STATUSES, missing};
use super::pasts::Past;
use super::rest::Rest;
use crate::clock::UnixSeconds;
use crate::facts::feed::PARENT_PIPELINE;
use crate::gitlab::GitLabError;
use crate::gitlab::model::{PipelineHead, Status};
use crate::gitlab::rest::PipelineFilter;
use crate::memory::feed::FeedProgress;
use crate::types::PipelineId;

/// Lists of pipelines that are no children, and of children.
const SOURCES: [Option<&str>; 2] = [None, Some(PARENT_PIPELINE)];

/// What listings returned.
#[derive(Default)]
pub(super) struct Heads {
    pub(super) heads: BTreeMap<PipelineId, PipelineHead>,
    pub(super) skipped: Vec<String>,
    /// What moved after this is not all listed.
    pub(super) until: Option<UnixSeconds>,
    /// Those that were known before and are not listed, though they should be.
    pub(super) missing: Vec<PipelineId>,
    /// At a first poll, whether there are older pipelines, too.
    pub(super) has_more: bool,
}

impl Rest {
    /// What moved in a project, or at its first poll what it shows.
    pub(super) async fn heads(
        &self,
        target: &Target,
        now: UnixSeconds,
    ) -> Result<Heads, GitLabError> {
        let mut heads = Heads::default();
        let Some(feed) = target.memory.feed.as_ref() else {
            self.first_heads(target, now, &mut heads).await?;
            return Ok(heads);
        };
        let past = match self.pasts.get(target.id()) {
            Some(past) => past,
            None => {
                let mut newest = Heads::default();
                let all = PipelineFilter::default();
                self.list(target, &all, true, &mut newest).await?;
                self.pasts.get(target.id()).unwrap_or_default()
            }
        };
        if past.is_long() {
            self.long_heads(target, feed, past, now, &mut heads).await?;
            return Ok(heads);
        }
        for source in SOURCES {
            let moved = PipelineFilter {
                updated_after: Some(feed.since()),
                source,
                ..PipelineFilter::default()
            };
            self.list(target, &moved, false, &mut heads).await?;
        }
        if past.is_check_due(feed.last_moved(), now) {
            let mut newest = Heads::default();
            let all = PipelineFilter::default();
            let has_more = self.list(target, &all, true, &mut newest).await?;
            let listed = newest.heads.into_keys().collect();
            heads.missing = missing(target, &listed, has_more);
            self.pasts.checked(target.id(), now);
        }
        Ok(heads)
    }

    /// The newest pipelines, their children, and all that run: their jobs end without moving them.
    async fn first_heads(
        &self,
        target: &Target,
        now: UnixSeconds,
        heads: &mut Heads,
    ) -> Result<(), GitLabError> {
        let newest = PipelineFilter::default();
        let mut has_more = self.list(target, &newest, true, heads).await?;
        self.pasts.checked(target.id(), now);
        let past = self.pasts.get(target.id()).unwrap_or_default();
        if past.is_long() {
            let since = now.minus(CHILDREN_AT_FIRST);
            for status in statuses() {
                let lately = PipelineFilter {
                    updated_after: Some(since),
                    source: Some(PARENT_PIPELINE),
                    status: Some(status),
                    ..PipelineFilter::default()
                };
                self.list(target, &lately, true, heads).await?;
            }
        } else {
            let children = PipelineFilter {
                source: Some(PARENT_PIPELINE),
                ..PipelineFilter::default()
            };
            has_more |= self.list(target, &children, true, heads).await?;
        }
        heads.has_more = has_more;
        if has_more {
            self.running(target, heads).await?;
        }
        Ok(())
    }

    async fn running(&self, target: &Target, heads: &mut Heads) -> Result<(), GitLabError> {
        for source in SOURCES {
            let running = PipelineFilter {
                status: Some(Status::Running),
                source,
                ..PipelineFilter::default()
            };
            self.list(target, &running, false, heads).await?;
        }
        Ok(())
    }

    /// What moved in a project whose past is long.
    async fn long_heads(
        &self,
        target: &Target,
        feed: &FeedProgress,
        past: Past,
        now: UnixSeconds,
        heads: &mut Heads,
    ) -> Result<(), GitLabError> {
        let listed = self
            .gitlab
            .pipelines_after(target.id(), past.newest)
            .await?;
        let newest = listed.items.iter().map(|head| head.id).max();
        if past.newest.is_some() && newest < past.newest {
            heads.missing.extend(past.newest);
            self.pasts.newest_is(target.id(), newest);
        }
        self.take(target, listed, heads);
        self.running(target, heads).await?;
        for (id, followed) in &feed.followed {
            let pipeline = &followed.pipeline;
            if pipeline.status.is_active() && !heads.heads.contains_key(id) {
                // It is none of those that run: its own call says what became of it.
                let head = PipelineHead {
                    id: *id,
                    iid: pipeline.iid,
                    git_ref: pipeline.git_ref.clone(),
                    source: pipeline.source.clone(),
                    status: Status::Other("".into()),
                    created_at: pipeline.created_at,
                    updated_at: pipeline.updated_at,
                };
                heads.heads.insert(*id, head);
            }
        }
        heads.until = Some(feed.watermark);
        if past.is_sweep_due(feed.last_moved(), now) {
            for status in statuses() {
                for source in SOURCES {
                    let moved = PipelineFilter {
                        updated_after: Some(feed.since()),
                        source,
                        status: Some(status.clone()),
                        ..PipelineFilter::default()
                    };
                    self.list(target, &moved, false, heads).await?;
                }
            }
            self.pasts.swept(target.id(), now);
            heads.until = None;
        }
        let since = feed.since();
        heads
            .heads
            .retain(|id, head| head.updated_at >= since || feed.followed.contains_key(id));
        Ok(())
    }
}

/// The statuses that a pipeline may have moved to, in lower case.
fn statuses() -> impl Iterator<Item = Status> {
    let all = STATUSES.into_iter();
    all.map(|status| Status::from(status.to_lowercase()))
}
