//! What a project holds besides pipelines and merge requests: statistics, languages, repository, releases,
//! value streams, vulnerabilities.

use std::sync::Arc;

use async_graphql::{Context, InputObject, Object, Result, SimpleObject};

use super::Asked;
use super::licensed::ValueStreamAnalyticsMetric;
use super::page::{Page, PageArguments, connection};
use super::scalars::{Date, StageId, StreamId, Time};
use crate::access::Right;
use crate::auth::AccessLevel;
use crate::world::{Code, ProjectId, Release, Stage, Tier, ValueStream};

/// Reads the project's code, if the viewer may.
pub fn read<T>(
    ctx: &Context<'_>,
    project: ProjectId,
    right: Right,
    read: impl FnOnce(&Code) -> T,
) -> Option<T> {
    let asked = Asked::of(ctx);
    let world = asked.world();
    if !asked.may(&world, project, right) {
        return None;
    }
    world.code(project).map(read)
}

/// Sizes in bytes and commits; Reporter.
#[derive(SimpleObject)]
pub struct ProjectStatistics {
    build_artifacts_size: f64,
    commit_count: f64,
    container_registry_size: Option<f64>,
    lfs_objects_size: f64,
    packages_size: f64,
    pipeline_artifacts_size: Option<f64>,
    repository_size: f64,
    snippets_size: Option<f64>,
    storage_size: f64,
    uploads_size: Option<f64>,
    wiki_size: Option<f64>,
}

impl ProjectStatistics {
    /// A project's; null below Reporter, whoever may see the project.
    pub fn of(ctx: &Context<'_>, project: ProjectId) -> Option<Self> {
        if Asked::of(ctx).is_granular() {
            return None;
        }
        read(ctx, project, Right::Statistics, |code| {
            let sizes = &code.sizes;
            let container = sizes.container_registry;
            Self {
                build_artifacts_size: sizes.job_artifacts as f64,
                commit_count: code.commit_count() as f64,
                container_registry_size: container.map(|size| size as f64),
                lfs_objects_size: sizes.lfs_objects as f64,
                packages_size: sizes.packages as f64,
                pipeline_artifacts_size: Some(0.0),
                repository_size: sizes.repository as f64,
                snippets_size: Some(0.0),
                storage_size: code.storage_size() as f64,
                uploads_size: Some(0.0),
                wiki_size: Some(sizes.wiki as f64),
            }
        })
    }
}

/// A language and its share in percent.
#[derive(SimpleObject)]
pub struct RepositoryLanguage {
    name: String,
    share: Option<f64>,
}

impl RepositoryLanguage {
    /// All of a project.
    pub fn of(ctx: &Context<'_>, project: ProjectId) -> Option<Vec<Self>> {
        let asked = Asked::of(ctx);
        let world = asked.world();
        world.code(project).map(|code| {
            let languages = code.languages.iter();
            languages
                .map(|(name, share)| Self {
                    name: name.to_string(),
                    share: Some(*share),
                })
                .collect()
        })
    }
}

/// A Git repository.
pub struct Repository(pub ProjectId);

#[Object]
impl Repository {
    async fn empty(&self, ctx: &Context<'_>) -> bool {
        let world = Asked::of(ctx).world();
        world
            .project(self.0)
            .is_none_or(|project| project.branches.is_empty())
    }

    async fn exists(&self) -> bool {
        true
    }

    async fn root_ref(&self, ctx: &Context<'_>) -> Option<String> {
        let world = Asked::of(ctx).world();
        let project = world.project(self.0)?;
        let fallback = project.settings.repository_missing.then_some("main");
        let branch = project.default_branch.as_deref().or(fallback)?;
        Some(branch.to_owned())
    }

    async fn tree(&self, ctx: &Context<'_>) -> Option<Tree> {
        let world = Asked::of(ctx).world();
        let project = world.project(self.0)?;
        let tip = world.code(self.0)?.tip.clone()?;
        (!project.settings.repository_missing).then_some(Tree(tip))
    }

    /// GitLab 18.6 and later.
    async fn branch_count(&self, ctx: &Context<'_>) -> i32 {
        let world = Asked::of(ctx).world();
        world
            .project(self.0)
            .map_or(0, |project| number(project.branches.len()))
    }

    /// GitLab 18.6 and later.
    async fn tag_count(&self, ctx: &Context<'_>) -> i32 {
        let world = Asked::of(ctx).world();
        world
            .project(self.0)
            .map_or(0, |project| number(project.tags.len()))
    }
}

/// The files of a commit.
pub struct Tree(Arc<str>);

#[Object]
impl Tree {
    async fn last_commit(&self) -> Option<Commit> {
        let sha = self.0.to_string();
        Some(Commit { sha })
    }
}

/// A commit.
#[derive(SimpleObject)]
pub struct Commit {
    sha: String,
}

fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// A release.
#[derive(Clone, Debug)]
pub struct ReleaseNode(Release);

connection!(ReleaseConnection, ReleaseEdge, ReleaseNode {
    async fn count(&self) -> i32 {
        number(self.0.total)
    }
});

#[Object(name = "Release")]
impl ReleaseNode {
    async fn name(&self) -> Option<&str> {
        Some(&self.0.tag)
    }

    async fn tag_name(&self) -> Option<&str> {
        Some(&self.0.tag)
    }

    async fn created_at(&self, ctx: &Context<'_>) -> Option<Time> {
        Some(Asked::of(ctx).time(self.0.created_at))
    }

    async fn released_at(&self, ctx: &Context<'_>) -> Option<Time> {
        Some(Asked::of(ctx).time(self.0.released_at))
    }

    async fn upcoming_release(&self, ctx: &Context<'_>) -> Option<bool> {
        let asked = Asked::of(ctx);
        Some(self.0.released_at > asked.world().now())
    }
}

impl ReleaseConnection {
    /// A page of a project's releases.
    pub fn of(
        ctx: &Context<'_>,
        project: ProjectId,
        sort: &str,
        page: &PageArguments,
    ) -> Result<Option<Self>> {
        let releases = read(ctx, project, Right::Releases, |code| {
            code.releases.values().cloned().collect::<Vec<_>>()
        });
        let Some(releases) = releases else {
            return Ok(Some(Self(Page::empty())));
        };
        let descending = sort.ends_with("_DESC");
        let mut rows: Vec<_> = (1..)
            .zip(releases)
            .map(|(id, release)| {
                let at = if sort.starts_with("CREATED") {
                    release.created_at
                } else {
                    release.released_at
                };
                ((at, id), Some(ReleaseNode(release)))
            })
            .collect();
        rows.sort_by_key(|(key, _)| *key);
        if descending {
            rows.reverse();
        }
        let maximum = Asked::of(ctx).page_maximum();
        page.cut(rows, descending, maximum)
            .map(|page| Some(Self(page)))
    }
}

/// A range of days.
#[derive(Clone, Debug, InputObject)]
#[graphql(name = "Timeframe")]
pub struct Timeframe {
    start: Date,
    end: Date,
}

/// A value stream.
#[derive(Clone, Debug)]
pub struct ValueStreamNode(u64, ValueStream);

connection!(ValueStreamConnection, ValueStreamEdge, ValueStreamNode {});

#[Object(name = "ValueStream")]
impl ValueStreamNode {
    async fn id(&self) -> StreamId {
        StreamId(format!(
            "gid://gitlab/Analytics::CycleAnalytics::ValueStream/{}",
            self.0
        ))
    }

    async fn name(&self) -> &str {
        &self.1.name
    }

    async fn stages(&self) -> Option<Vec<ValueStreamStage>> {
        let stages = self.1.stages.iter().cloned();
        Some(
            (1..)
                .zip(stages)
                .map(|(id, stage)| ValueStreamStage(id, stage))
                .collect(),
        )
    }
}

/// A stage of a value stream.
#[derive(Clone, Debug)]
pub struct ValueStreamStage(u64, Stage);

#[Object]
impl ValueStreamStage {
    async fn id(&self) -> StageId {
        StageId(format!(
            "gid://gitlab/Analytics::CycleAnalytics::Stage/{}",
            self.0
        ))
    }

    async fn name(&self) -> &str {
        &self.1.name
    }

    async fn custom(&self) -> bool {
        self.1.custom
    }

    async fn hidden(&self) -> bool {
        self.1.hidden
    }

    async fn metrics(&self, timeframe: Timeframe) -> Result<ValueStreamStageMetrics> {
        // The world keeps the medians themselves, whatever the range.
        if timeframe.start.0 > timeframe.end.0 {
            return Err("`start` must be before `end`".into());
        }
        Ok(ValueStreamStageMetrics {
            median: Some(ValueStreamAnalyticsMetric::new(
                "median",
                "Median",
                Some("seconds"),
                self.1.median,
            )),
        })
    }
}

/// Figures of a stage.
#[derive(SimpleObject)]
pub struct ValueStreamStageMetrics {
    median: Option<ValueStreamAnalyticsMetric>,
}

impl ValueStreamConnection {
    /// A page of a project's value streams: without a licence the default one, with it those made.
    pub fn of(ctx: &Context<'_>, project: ProjectId, page: &PageArguments) -> Result<Option<Self>> {
        let tier = {
            let world = Asked::of(ctx).world();
            world
                .project(project)
                .map_or(Tier::Free, |project| world.tier_of(project))
        };
        let granular = Asked::of(ctx).is_granular();
        let streams = read(ctx, project, Right::Analytics, |code| {
            if granular {
                return Vec::new();
            }
            code.streams(tier)
        });
        let Some(streams) = streams else {
            return Ok(None);
        };
        let rows = (1..)
            .zip(streams)
            .map(|(id, stream)| ((0, id), Some(ValueStreamNode(id, stream))))
            .collect();
        let maximum = Asked::of(ctx).page_maximum();
        page.cut(rows, false, maximum).map(|page| Some(Self(page)))
    }
}

/// Vulnerabilities by severity; Ultimate, Developer.
#[derive(SimpleObject)]
pub struct VulnerabilitySeveritiesCount {
    critical: Option<i32>,
    high: Option<i32>,
    info: Option<i32>,
    low: Option<i32>,
    medium: Option<i32>,
    unknown: Option<i32>,
}

impl VulnerabilitySeveritiesCount {
    /// Those of a project in these states, or in any.
    pub fn of(ctx: &Context<'_>, project: ProjectId, states: Option<&[String]>) -> Option<Self> {
        let licensed = {
            let world = Asked::of(ctx).world();
            world
                .project(project)
                .is_some_and(|project| world.tier_of(project) >= Tier::Ultimate)
        };
        if !licensed {
            return None;
        }
        let viewer = &Asked::of(ctx).viewer;
        if !viewer.is_admin() && viewer.role(project) < AccessLevel::Developer {
            return None;
        }
        let world = Asked::of(ctx).world();
        world.code(project).map(|code| {
            let count = |severity: &str| {
                let found = code.vulnerabilities.iter().filter(|found| {
                    let state = found.state.to_uppercase();
                    *found.severity == *severity
                        && states.is_none_or(|states| states.contains(&state))
                });
                Some(number(found.count()))
            };
            Self {
                critical: count("critical"),
                high: count("high"),
                info: count("info"),
                low: count("low"),
                medium: count("medium"),
                unknown: count("unknown"),
            }
        })
    }
}
