//! What `run` would find: whether GitLab answers, what the token may do, which projects there are,
//! and what each collector will be able to see.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::part_settings;
use crate::catalogue::Collector;
use crate::clock::{Clock, UnixSeconds};
use crate::config::{Config, ProjectSettings};
use crate::discovery::{Discovery, Scope};
use crate::gitlab::capability::{Edition, Instance, TokenState};
use crate::gitlab::grants::GRANTS;
use crate::gitlab::graphql::Trial;
use crate::gitlab::model::{Known, Permissions, Project, Role};
use crate::gitlab::{GitLab, GitLabError, NoAccounting, SetupError};
use crate::scheduler::capability;
use crate::source::change_feed::ChangeFeed;
use crate::source::sources;
use crate::source::{Needs, Right, Target};
use crate::types::ProjectId;
use crate::types::Tier;

/// Projects named where something is wrong with more.
const NAMED: usize = 5;

/// What is said of a collector that is switched off, everywhere or for a project.
const OFF: &str = "off in the settings";

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
    collectors: Vec<(Collector, Visibility)>,
    is_fine_grained: bool,
    /// What GraphQL lacks in this version or for this token.
    lost: Vec<String>,
    problems: Vec<Problem>,
    now: UnixSeconds,
}

/// Something that a person should know.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Problem {
    fatal: bool,
    text: String,
}

/// What a collector will be able to do.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Visibility {
    Disabled,
    /// It has something of this many projects, and for these reasons nothing of others.
    Sees {
        seen: usize,
        blind: BTreeMap<String, Vec<String>>,
    },
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
    Ok(report)
}

impl Report {
    /// Whether `run` would work.
    #[must_use]
    pub fn is_good(&self) -> bool {
        !self.problems.iter().any(|problem| problem.fatal)
    }

    /// Whether GitLab answers. A fine-grained token that may not ask for the version is enough: what
    /// depends on it is left out.
    fn answers(&self) -> bool {
        match &self.instance {
            Ok(_) => true,
            Err(error) => error.is_forbidden() && self.is_fine_grained,
        }
    }

    fn problem(&mut self, fatal: bool, text: String) {
        self.problems.push(Problem { fatal, text });
    }

    fn problems_of_connection(&mut self) {
        if let Err(error) = &self.instance {
            let (fatal, error) = (!self.answers(), error.to_string());
            let text = match fatal {
                true => error,
                false => format!(
                    "the version and edition of GitLab are unknown, so nothing of the Enterprise \
                     Edition is read by GraphQL: {error}"
                ),
            };
            self.problem(fatal, text);
        }
        match &self.token {
            Err(error) => {
                let text = error.to_string();
                // Reported once: the token is asked for at the same address.
                if self.instance.is_ok() {
                    self.problem(true, text);
                }
            }
            Ok(token) => {
                for finding in token.findings(self.now) {
                    self.problem(finding.fatal, finding.text);
                }
            }
        }
    }

    async fn discover(&mut self, gitlab: &GitLab, config: &Config) {
        let mut discovery = Discovery::new(gitlab.clone(), &config.projects, &config.wildcards);
        let polled = discovery.poll(Scope::All, self.now).await;
        self.projects = polled.found.into_values().collect();
        for error in polled.errors {
            self.problem(false, error.to_string());
        }
        if self.projects.is_empty() {
            self.problem(
                true,
                "no project was found: see projects and wildcards".to_owned(),
            );
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
                    self.problem(false, text);
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
            let queries = on.flat_map(queries_of);
            let mut queries: Vec<&Trial> = queries
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
            self.problem(false, format!("the token has no grant {name}: {needed_by}"));
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
            let visibility = match (config.enabled_anywhere(collector), own) {
                (false, _) => Visibility::Disabled,
                (true, Some(source)) if source.needs() == Needs::Tier => {
                    self.visibility(collector, |target| {
                        let why = source.unavailable(target);
                        why.map(|why| why.to_string())
                    })
                }
                (true, _) => self.visibility(collector, |target| {
                    let why = target.forbids(Right::Pipelines);
                    why.map(|why| why.to_string())
                }),
            };
            self.collectors.push((collector, visibility));
        }
    }

    /// Of which projects a collector has something, as far as that is known without a call.
    fn visibility(
        &self,
        collector: Collector,
        why_not: impl Fn(&Target) -> Option<String>,
    ) -> Visibility {
        let instance = self.instance.as_ref().ok().cloned().map(Arc::new);
        let mut seen = 0;
        let mut blind: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (project, settings) in &self.projects {
            let target = Target {
                tracking: 0,
                project: project.clone(),
                settings: Arc::clone(settings),
                memory: Arc::default(),
                tier: self.tiers.get(&project.id).copied().unwrap_or_default(),
                permissions: self
                    .permissions
                    .get(&project.id)
                    .copied()
                    .unwrap_or_default(),
                permitted_at: self.now,
                instance: instance.clone(),
            };
            let why = match settings.interval(collector) {
                None => Some(OFF.to_owned()),
                Some(_) => why_not(&target),
            };
            match why {
                Some(why) => blind
                    .entry(why)
                    .or_default()
                    .push(project.full_path.to_string()),
                None => seen += 1,
            }
        }
        Visibility::Sees { seen, blind }
    }
}

/// The queries that a collector is read by.
fn queries_of(collector: Collector) -> &'static [Trial] {
    match collector {
        Collector::Pipelines => &[Trial::Changes, Trial::Permissions],
        Collector::Jobs | Collector::ChildPipelines => &[Trial::Jobs],
        Collector::TestReports => &[Trial::TestReports],
        Collector::MergeRequests | Collector::CodeReview => &[Trial::MergeRequests],
        Collector::Dora => &[Trial::Dora],
        Collector::ValueStream => &[Trial::ValueStreams, Trial::FlowTimes],
        Collector::Repository => &[Trial::Repositories],
        Collector::Schedules => &[Trial::Schedules],
        Collector::Runners => &[Trial::Runners],
        Collector::Security => &[Trial::Vulnerabilities],
        Collector::Environments
        | Collector::Contributors
        | Collector::Variables
        | Collector::Exporter => &[],
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GitLab      {}", self.url.trim_end_matches('/'))?;
        match &self.instance {
            Ok(instance) => {
                let edition = match instance.edition {
                    Edition::Community => "Community Edition",
                    Edition::Enterprise => "Enterprise Edition",
                };
                writeln!(f, ", version {}, {edition}", instance.version)?;
            }
            Err(_) if self.answers() => writeln!(f, ", version unknown")?,
            Err(_) => writeln!(f, ", no usable response")?,
        }
        if self.answers() {
            self.write_token(f)?;
            self.write_projects(f)?;
            writeln!(f, "Collectors")?;
            for (collector, visibility) in &self.collectors {
                writeln!(f, "  {:16} {visibility}", collector.as_str())?;
            }
        }
        for problem in &self.problems {
            let word = if problem.fatal { "error" } else { "note" };
            writeln!(f, "{word:11} {}", problem.text)?;
        }
        let would = if self.is_good() {
            "would work"
        } else {
            "would not work"
        };
        writeln!(f, "Result      run {would}")
    }
}

impl Report {
    fn write_token(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(TokenState { token, user }) = &self.token else {
            return Ok(());
        };
        write!(f, "Token       ")?;
        match token {
            Known::Value(token) => {
                write!(
                    f,
                    "{:?} with the scopes {}",
                    token.name,
                    token.scopes.join(", ")
                )?;
                match token.expires_at {
                    Some(at) => {
                        let days = at.since(self.now).as_secs() / 86_400;
                        write!(f, ", expires {at} (in {days} days)")?;
                    }
                    None => write!(f, ", expires never")?,
                }
            }
            _ => write!(f, "GitLab does not say what it may do")?,
        }
        match user {
            Known::Value(user) => writeln!(f, ", of user {}", user.username),
            _ => writeln!(f),
        }
    }

    fn write_projects(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Projects    {} found", self.projects.len())?;
        let mut roles: BTreeMap<&str, usize> = BTreeMap::new();
        for (project, _) in &self.projects {
            let name = project.role.value().map_or("not known", Role::name);
            *roles.entry(name).or_default() += 1;
        }
        if !roles.is_empty() {
            writeln!(
                f,
                "Roles       {}",
                counted(roles.iter().map(|(name, n)| (*name, *n)))
            )?;
        }
        let mut tiers: BTreeMap<Tier, usize> = BTreeMap::new();
        for tier in self.tiers.values().filter_map(|tier| tier.value()) {
            *tiers.entry(tier).or_default() += 1;
        }
        if !tiers.is_empty() {
            let tiers = tiers.iter().map(|(tier, n)| (tier.as_str(), *n));
            writeln!(f, "Tiers       {}", counted(tiers))?;
        }
        if let Err(why) = &self.graphql {
            writeln!(f, "GraphQL     cannot be used, falling back to REST: {why}")?;
        }
        for (number, sentence) in self.lost.iter().enumerate() {
            let title = if number == 0 { "Missing" } else { "" };
            writeln!(f, "{title:11} {sentence}")?;
        }
        Ok(())
    }
}

fn counted<'a>(counts: impl Iterator<Item = (&'a str, usize)>) -> String {
    counts
        .map(|(name, count)| format!("{name} in {count}"))
        .collect::<Vec<_>>()
        .join(", ")
}

impl fmt::Display for Visibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disabled => f.write_str(OFF),
            Self::Sees { seen, blind } => {
                let total = seen + blind.values().map(Vec::len).sum::<usize>();
                write!(f, "sees {seen} of {total} projects")?;
                for (why, projects) in blind {
                    write!(f, "; {why} in {}", named(projects))?;
                }
                Ok(())
            }
        }
    }
}

/// The first of some projects, and how many more there are.
fn named(projects: &[String]) -> String {
    let first = projects.iter().take(NAMED);
    let first: Vec<&str> = first.map(String::as_str).collect();
    match projects.len().saturating_sub(NAMED) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}
