//! What `run` would find: whether GitLab answers, what the token may do, which projects there are,
//! and what each collector will be able to see.

mod estimate;
mod json;
mod receivers;
mod redis;
mod report;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::part_settings;
pub use super::part_settings::buckets;
use crate::catalogue::Collector;
use crate::clock::{Clock, UnixSeconds};
use crate::config::{Config, ProjectSettings};
use crate::discovery::{Discovery, Scope};
use crate::facts::Unavailable;
use crate::gitlab::capability::{Edition, Instance, TokenState};
use crate::gitlab::grants::GRANTS;
use crate::gitlab::model::{Known, Permissions, Project, Role};
use crate::gitlab::{GitLab, GitLabError, NoAccounting, SetupError};
use crate::scheduler::capability;
use crate::source::change_feed::ChangeFeed;
use crate::source::sources;
use crate::source::{Needs, Right, Target};
use crate::types::Tier;
use crate::types::{ProjectId, Query};
pub use estimate::{Assumed, Estimate};
use receivers::Receiver;
use redis::TriedRedis;

/// What was found.
#[derive(Debug)]
pub struct Report {
    url: String,
    instance: Result<Instance, GitLabError>,
    token: Result<TokenState, GitLabError>,
    projects: Vec<(Project, Arc<ProjectSettings>)>,
    graphql: Result<(), String>,
    tiers: BTreeMap<ProjectId, Known<Tier>>,
    permissions: BTreeMap<ProjectId, Permissions>,
    collectors: Vec<(Collector, Column)>,
    is_fine_grained: bool,
    /// What GraphQL lacks in this version or for this token.
    lost: Vec<String>,
    /// Whether Redis can be used, where it is set.
    redis: Option<TriedRedis>,
    /// How the OTLP receivers answer.
    receivers: Vec<Receiver>,
    problems: Vec<Problem>,
    now: UnixSeconds,
}

/// Something that a person should know.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Problem {
    level: Level,
    text: String,
}

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    /// Good to know.
    Note,
    /// `run` works, and something that the settings ask for is missing.
    Warning,
    /// `run` would not work.
    Error,
}

impl Level {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }

    /// By whether `run` would not work.
    const fn of(fatal: bool) -> Self {
        match fatal {
            true => Self::Error,
            false => Self::Note,
        }
    }
}

/// What a collector will be able to do.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Column {
    /// It is switched off everywhere.
    Off,
    /// What it will read, project by project, in the order of [`Report::projects`].
    On(Vec<Access>),
}

/// What a collector will read of a project, as far as that is known without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Access {
    /// Nothing stands against it.
    Reads,
    /// GitLab does not say what the token may read: it is seen when it is read.
    Unknown,
    /// It is switched off for the project in the settings.
    Off,
    /// It has nothing of it.
    Nothing(Unavailable),
}

/// A step of the check, for a progress bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Asking for version and edition.
    Instance,
    /// Asking for the token's scopes.
    Token,
    /// Looking projects up.
    Projects,
    /// Asking for roles and tiers of this many of so many projects.
    Roles(usize, usize),
    /// Trying the queries of the collectors.
    Queries,
    /// Connecting to Redis.
    Redis,
    /// Sending an empty message to each OTLP receiver.
    Receivers,
}

/// Checks the connection and everything the configuration needs of it; `progress` is called with each
/// step.
///
/// # Errors
/// When no client can be built from the settings.
pub async fn check(config: &Config, progress: impl Fn(Step)) -> Result<Report, SetupError> {
    let clock = Clock::System;
    let now = clock.now();
    let gitlab = GitLab::new(
        &part_settings::gitlab(config),
        Arc::new(NoAccounting),
        clock,
    )?;
    progress(Step::Instance);
    let instance = gitlab.instance().await;
    progress(Step::Token);
    let token = gitlab.token_state().await;
    let mut report = Report {
        url: gitlab.url().to_owned(),
        instance,
        token,
        projects: Vec::new(),
        graphql: Ok(()),
        tiers: BTreeMap::new(),
        permissions: BTreeMap::new(),
        collectors: Vec::new(),
        is_fine_grained: gitlab.has_fine_grained_token(),
        lost: Vec::new(),
        redis: None,
        receivers: Vec::new(),
        problems: Vec::new(),
        now,
    };
    report.problems_of_connection();
    if report.answers() {
        progress(Step::Projects);
        report.discover(&gitlab, config).await;
        report.roles_and_tiers(&gitlab, config, &progress).await;
        progress(Step::Queries);
        report.missing(&gitlab, config).await;
    }
    report.collectors(config, &gitlab);
    progress(Step::Redis);
    report.try_redis(config).await;
    progress(Step::Receivers);
    report.try_receivers(config).await;
    Ok(report)
}

impl Report {
    /// Whether `run` would work.
    #[must_use]
    pub fn is_good(&self) -> bool {
        !self.has(Level::Error)
    }

    /// Whether `run` would work, but without something that the settings ask for.
    #[must_use]
    pub fn has_warnings(&self) -> bool {
        self.has(Level::Warning)
    }

    fn has(&self, level: Level) -> bool {
        self.problems.iter().any(|problem| problem.level == level)
    }

    /// Whether GitLab answers. A fine-grained token that may not ask for the version is enough: what
    /// depends on it is left out.
    fn answers(&self) -> bool {
        match &self.instance {
            Ok(_) => true,
            Err(error) => error.is_forbidden() && self.is_fine_grained,
        }
    }

    fn problem(&mut self, level: Level, text: String) {
        self.problems.push(Problem { level, text });
    }

    fn problems_of_connection(&mut self) {
        if let Err(error) = &self.instance {
            let (fatal, error) = (!self.answers(), error.to_string());
            let text = match fatal {
                true => error,
                false => format!(
                    "GitLab version and edition are unknown, so no Enterprise Edition data is read by \
                     GraphQL: {error}"
                ),
            };
            self.problem(Level::of(fatal), text);
        }
        match &self.token {
            Err(error) => {
                let text = error.to_string();
                // Reported once: the token is asked for at the same address.
                if self.instance.is_ok() {
                    self.problem(Level::Error, text);
                }
            }
            Ok(token) => {
                for finding in token.findings(self.now) {
                    self.problem(Level::of(finding.fatal), finding.text);
                }
            }
        }
    }

    async fn discover(&mut self, gitlab: &GitLab, config: &Config) {
        let mut discovery = Discovery::new(gitlab.clone(), &config.projects, &config.wildcards);
        let polled = discovery.poll(Scope::All, self.now).await;
        self.projects = polled.found.into_values().collect();
        for error in polled.errors {
            self.problem(Level::Warning, error.to_string());
        }
        for notice in polled.notices {
            self.problem(Level::Warning, notice.to_string());
        }
        if self.projects.is_empty() {
            let text = "no project was found; check projects and wildcards";
            self.problem(Level::Error, text.to_owned());
        }
    }

    async fn roles_and_tiers(
        &mut self,
        gitlab: &GitLab,
        config: &Config,
        progress: &impl Fn(Step),
    ) {
        let ids: Vec<ProjectId> = self
            .projects
            .iter()
            .map(|(project, _)| project.id)
            .collect();
        let total = ids.len();
        for (number, ids) in ids.chunks(GitLab::TIER_PROJECTS).enumerate() {
            progress(Step::Roles(number * GitLab::TIER_PROJECTS, total));
            if gitlab.uses_graphql() {
                self.permissions(gitlab, ids).await;
            }
            self.tiers(gitlab, config, ids).await;
        }
        progress(Step::Roles(total, total));
    }

    async fn permissions(&mut self, gitlab: &GitLab, ids: &[ProjectId]) {
        match gitlab.permissions(ids).await {
            Ok(batch) => {
                self.permissions.extend(batch.items);
                for (project, _) in &mut self.projects {
                    if let Some(permissions) = self.permissions.get(&project.id) {
                        project.role = permissions.role;
                    }
                }
            }
            Err(error) => self.graphql = Err(error.to_string()),
        }
    }

    async fn tiers(&mut self, gitlab: &GitLab, config: &Config, ids: &[ProjectId]) {
        if let Some(tier) = capability::set(config.gitlab.tier) {
            let tiers = ids.iter().map(|id| (*id, Known::Value(tier)));
            self.tiers.extend(tiers);
            return;
        }
        let Ok(instance) = &self.instance else { return };
        match gitlab.project_tiers(ids, instance, self.now).await {
            Ok(batch) => {
                for project in batch.items {
                    let tier = project.with_role(self.reads_as(project.id));
                    let tier = tier.map_or(project.tier, Known::Value);
                    self.tiers.insert(project.id, tier);
                }
            }
            Err(error) => {
                let text = format!("the tier cannot be read: {error}");
                if !self.problems.iter().any(|problem| problem.text == text) {
                    self.problem(Level::Warning, text);
                }
            }
        }
    }

    /// Tries the queries of the collectors and the grants of a fine-grained token on one project.
    async fn missing(&mut self, gitlab: &GitLab, config: &Config) {
        let Some((project, _)) = self.projects.first() else {
            return;
        };
        let project = project.id;
        if gitlab.uses_graphql() {
            let enterprise = self
                .instance
                .as_ref()
                .is_ok_and(|instance| instance.edition == Edition::Enterprise);
            let on = Collector::ALL.into_iter();
            let on = on.filter(|collector| config.enabled_anywhere(*collector));
            let queries = on.filter_map(Collector::desc).flat_map(|desc| desc.queries);
            let mut queries: Vec<&Query> = queries
                .filter(|query| enterprise || !query.is_enterprise())
                .collect();
            queries.dedup();
            gitlab.try_queries(project, queries, self.now).await;
            self.lost = gitlab.lost();
        }
        if gitlab.has_fine_grained_token() {
            gitlab.try_grants(project).await;
        }
        for name in gitlab.missing_grants() {
            let known = GRANTS.iter().find(|grant| grant.name == name);
            let needed_by = known.map_or("", |grant| grant.needed_by);
            let text = format!("the token has no grant {name}: {needed_by}");
            self.problem(Level::Warning, text);
        }
    }

    fn reads_as(&self, id: ProjectId) -> Known<Role> {
        let permissions = self.permissions.get(&id);
        permissions.map_or(Known::Unread, Permissions::reads_as)
    }

    fn collectors(&mut self, config: &Config, gitlab: &GitLab) {
        let feed = Arc::new(ChangeFeed::new(config, gitlab, Clock::System));
        let sources = sources(config, gitlab, &feed);
        for collector in Collector::ALL {
            let mut own = sources.iter();
            let own = own.find(|source| source.collectors().contains(&collector));
            let column = match (config.enabled_anywhere(collector), own) {
                (false, _) => Column::Off,
                (true, Some(source)) if source.needs() == Needs::Tier => {
                    self.column(collector, |target| source.unavailable(target))
                }
                (true, _) => self.column(collector, |target| target.forbids(Right::Pipelines)),
            };
            self.collectors.push((collector, column));
        }
        let all = self.collectors.iter().flat_map(|(_, column)| match column {
            Column::Off => &[][..],
            Column::On(all) => all,
        });
        let mut of_those_on = all.filter(|access| **access != Access::Off).peekable();
        let is_any_on = of_those_on.peek().is_some();
        if is_any_on && of_those_on.all(|access| matches!(access, Access::Nothing(_))) {
            let text = "the token cannot read any project; give its user a role in them";
            self.problem(Level::Error, text.to_owned());
        }
    }

    /// What a collector will read of each project, as far as that is known without a call.
    fn column(
        &self,
        collector: Collector,
        why_not: impl Fn(&Target) -> Option<Unavailable>,
    ) -> Column {
        let instance = self.instance.as_ref().ok().cloned().map(Arc::new);
        let access = self.projects.iter().map(|(project, settings)| {
            let permissions = self.permissions.get(&project.id).copied();
            let target = Target {
                tracking: 0,
                project: project.clone(),
                settings: Arc::clone(settings),
                memory: Arc::default(),
                tier: self.tiers.get(&project.id).copied().unwrap_or_default(),
                permissions: permissions.unwrap_or_default(),
                permitted_at: self.now,
                instance: instance.clone(),
                is_asked_for: false,
            };
            let is_known = permissions.is_some_and(|known| known != Permissions::default());
            match (settings.interval(collector), why_not(&target)) {
                (None, _) => Access::Off,
                (Some(_), Some(why)) => Access::Nothing(why),
                (Some(_), None) if is_known => Access::Reads,
                (Some(_), None) => Access::Unknown,
            }
        });
        Column::On(access.collect())
    }
}
