//! The webhooks of all projects that the configuration selects, of their groups, or of the instance: what is
//! there, what would be changed, and changing it. Only webhooks with the exporter's own address are ever
//! touched.

mod places;
mod report;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::config::{Config, Secret};
use crate::discovery::{self, Discovery};
use crate::files;
use crate::gitlab::model::Project;
use crate::gitlab::rest::hooks::{
    EVENTS, GROUP_EVENTS, Hook, HookOwner, HookSpec, JOB_EVENTS, SYSTEM_EVENTS,
};
use crate::gitlab::{GitLab, GitLabError, NoAccounting, SetupError, TokenSource};

use super::part_settings;
pub use places::Place;
pub use report::Report;

/// Projects that are worked on at once.
const AT_ONCE: usize = 4;
/// GitLab sends five tests a minute for each project and user; one is enough.
const TEST: &str = "pipeline_events";
/// How long GitLab may take to note a delivery.
const NOTED: Duration = Duration::from_secs(10);

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Say what `install` would do.
    Plan,
    /// Create what is missing and correct what is not as it should be.
    Install,
    /// Remove them.
    Remove,
    /// Have GitLab send a real object of each project, and say what it saw.
    Test,
}

/// What webhooks belong to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// Each project has its own.
    #[default]
    Projects,
    /// Each group that the configuration names has one, where GitLab has group webhooks; elsewhere the
    /// projects.
    Groups,
    /// The instance has one: a system hook, which announces no pipelines.
    Instance,
}

/// The settings of the command.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// What webhooks belong to.
    pub scope: Scope,
    /// Where GitLab reaches `/webhook`.
    pub url: String,
    /// Whether jobs are announced, too.
    pub jobs: bool,
    /// Whether GitLab verifies the certificate of `url`.
    pub verify_tls: bool,
    /// A token of the scope `api`, for this command alone; none: the configured one.
    pub token: Option<Secret>,
}

/// Why there is nothing to be reported.
#[derive(Debug, thiserror::Error)]
pub enum WebhooksError {
    /// The client cannot be built.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// No secret token is configured.
    #[error(
        "no secret token is configured, and a webhook without one would be rejected; set \
         server.webhook.secret_token or server.webhook.secret_token_file"
    )]
    NoSecret,
    /// The file of the secret token cannot be read.
    #[error("server.webhook.secret_token_file {0:?} cannot be read ({1})")]
    SecretFile(std::path::PathBuf, String),
    /// No project was found.
    #[error("no project was found{0}; check projects and wildcards")]
    NoProjects(String),
}

/// What is, or was, to be done in a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// There is a webhook as it should be.
    Unchanged,
    /// There is none; one is created.
    Create,
    /// There is one that differs in these points.
    Update(Vec<&'static str>),
    /// There is one, or several, to be removed.
    Remove(usize),
    /// There is none to be removed or tested.
    Missing,
    /// A test was delivered; GitLab saw this status.
    Tested(String),
    /// A test was sent; GitLab does not say what was answered.
    Sent,
    /// The project has no object to test with.
    NothingToTest,
}

/// What became of a place.
#[derive(Debug)]
pub struct Outcome {
    /// What the webhook belongs to.
    pub place: Place,
    /// What is or was done, or why not.
    pub result: Result<Action, String>,
    /// Further webhooks with the same address: each event comes once more for each.
    pub duplicates: usize,
}

/// Does it for all projects; `progress` is called with how many of so many are done.
///
/// # Errors
/// When nothing could be done at all. What fails for a project is in the report.
pub async fn run(
    config: &Config,
    task: Task,
    wanted: &Wanted,
    progress: impl Fn(usize, usize),
) -> Result<Report, WebhooksError> {
    let clock = Clock::System;
    let mut settings = part_settings::gitlab(config);
    if let Some(token) = &wanted.token {
        settings.token = TokenSource::Secret(token.expose().to_owned().into());
    }
    let secret = secret(config)?;
    if matches!(task, Task::Plan | Task::Install) && secret.is_none() {
        return Err(WebhooksError::NoSecret);
    }
    let gitlab = GitLab::new(&settings, Arc::new(NoAccounting), clock.clone())?;
    let found = match wanted.scope {
        Scope::Instance => places::Found::instance(),
        Scope::Projects | Scope::Groups => {
            let projects = projects(config, &gitlab, &clock).await?;
            places::find(config, &gitlab, wanted.scope, projects).await
        }
    };
    let spec = |owner: &HookOwner| HookSpec {
        url: wanted.url.clone(),
        token: secret.clone().unwrap_or_default(),
        enable_ssl_verification: wanted.verify_tls,
        events: events(owner, wanted.jobs),
    };
    let (places, mut notices) = (found.places, found.notices);
    let mut outcomes = Vec::with_capacity(places.len());
    for together in places.chunks(AT_ONCE) {
        let each = together.iter().map(|place| {
            let spec = spec(&place.owner);
            let gitlab = &gitlab;
            async move { one(gitlab, task, place, &spec).await }
        });
        outcomes.extend(crate::source::side_by_side(AT_ONCE, each.collect()).await);
        progress(outcomes.len(), places.len());
    }
    if task == Task::Plan && wanted.scope != Scope::Instance {
        let spec = spec(&HookOwner::Instance);
        notices.extend(places::offer(&gitlab, &spec).await);
    }
    Ok(Report::new(
        task,
        wanted.url.clone(),
        outcomes,
        found.errors,
        notices,
    ))
}

/// The projects of the configuration, and what could not be read of it.
async fn projects(
    config: &Config,
    gitlab: &GitLab,
    clock: &Clock,
) -> Result<(Vec<Project>, Vec<String>), WebhooksError> {
    let mut discovery = Discovery::new(gitlab.clone(), &config.projects, &config.wildcards);
    let polled = discovery.poll(discovery::Scope::All, clock.now()).await;
    if polled.found.is_empty() {
        let why = polled.errors.first();
        let why = why.map_or_else(String::new, |error| format!(": {error}"));
        return Err(WebhooksError::NoProjects(why));
    }
    let errors = polled.errors.iter().map(ToString::to_string);
    let errors = errors.collect();
    let projects = polled.found.into_values();
    Ok((projects.map(|(project, _)| project).collect(), errors))
}

/// The secret token that webhooks are to send.
fn secret(config: &Config) -> Result<Option<String>, WebhooksError> {
    let settings = &config.server.webhook;
    if let Some(path) = &settings.secret_token_file {
        let text = files::read_text(path, files::MAX_SECRET);
        let text = text.map_err(|why| WebhooksError::SecretFile(path.clone(), why))?;
        return Ok(Some(text.trim().to_owned()));
    }
    // During a rotation the last one is the new one.
    let token = settings
        .secret_token
        .as_ref()
        .or(settings.secret_tokens.last());
    Ok(token.map(|token| token.expose().to_owned()))
}

fn events(owner: &HookOwner, jobs: bool) -> BTreeMap<&'static str, bool> {
    let on = |events: &[&'static str]| {
        let events = events.iter().map(|events| (*events, true));
        events.collect::<Vec<_>>()
    };
    let mut events = match owner {
        // The event of the repository has all refs of a push.
        HookOwner::Instance => {
            let off = ["push_events", "tag_push_events"].map(|events| (events, false));
            return on(&SYSTEM_EVENTS).into_iter().chain(off).collect();
        }
        HookOwner::Group(_) => on(&GROUP_EVENTS),
        HookOwner::Project(_) => Vec::new(),
    };
    events.extend(on(&EVENTS));
    events.into_iter().chain([(JOB_EVENTS, jobs)]).collect()
}

async fn one(gitlab: &GitLab, task: Task, place: &Place, spec: &HookSpec) -> Outcome {
    let owner = &place.owner;
    let failed = |error: &GitLabError| why(owner, error);
    let ours = match gitlab.hooks(owner).await {
        Ok(hooks) => hooks.items.into_iter().filter(|hook| is_ours(hook, spec)),
        Err(error) => {
            return Outcome {
                place: place.clone(),
                result: Err(failed(&error)),
                duplicates: 0,
            };
        }
    };
    let ours: Vec<Hook> = ours.collect();
    let result = match task {
        Task::Plan => Ok(needed(&ours, spec)),
        Task::Install => install(gitlab, owner, &ours, spec).await,
        Task::Remove => remove(gitlab, owner, &ours).await,
        Task::Test => test(gitlab, owner, &ours).await,
    };
    let removed = task == Task::Remove && result.is_ok();
    Outcome {
        place: place.clone(),
        result: result.map_err(|error| failed(&error)),
        duplicates: if removed {
            0
        } else {
            ours.len().saturating_sub(1)
        },
    }
}

/// GitLab accepts the same address twice, so it is looked for first.
fn is_ours(hook: &Hook, spec: &HookSpec) -> bool {
    let trimmed = |url: &str| url.trim_end_matches('/').to_ascii_lowercase();
    trimmed(&hook.url) == trimmed(&spec.url)
}

/// What `install` does where these webhooks are ours.
fn needed(ours: &[Hook], spec: &HookSpec) -> Action {
    let Some(hook) = ours.first() else {
        return Action::Create;
    };
    let mut differs: Vec<&'static str> = spec
        .events
        .iter()
        .filter(|(events, on)| hook.sends(events) != **on)
        .map(|(events, _)| *events)
        .collect();
    if hook.enable_ssl_verification != spec.enable_ssl_verification {
        differs.push("enable_ssl_verification");
    }
    if hook
        .alert_status
        .as_deref()
        .is_some_and(|status| status != "executable")
    {
        differs.push("alert_status");
    }
    match differs.is_empty() {
        true => Action::Unchanged,
        false => Action::Update(differs),
    }
}

async fn install(
    gitlab: &GitLab,
    owner: &HookOwner,
    ours: &[Hook],
    spec: &HookSpec,
) -> Result<Action, GitLabError> {
    let action = needed(ours, spec);
    match (&action, ours.first()) {
        (Action::Create, _) | (_, None) => gitlab.create_hook(owner, spec).await?,
        // Whether the secret token is the same GitLab does not say: it is set again.
        (_, Some(hook)) => gitlab.update_hook(owner, hook.id, spec).await?,
    }
    Ok(action)
}

async fn remove(gitlab: &GitLab, owner: &HookOwner, ours: &[Hook]) -> Result<Action, GitLabError> {
    for hook in ours {
        gitlab.delete_hook(owner, hook.id).await?;
    }
    Ok(match ours.len() {
        0 => Action::Missing,
        removed => Action::Remove(removed),
    })
}

async fn test(gitlab: &GitLab, owner: &HookOwner, ours: &[Hook]) -> Result<Action, GitLabError> {
    let Some(hook) = ours.first() else {
        return Ok(Action::Missing);
    };
    let before = gitlab.hook_deliveries(owner, hook.id).await?.items;
    match gitlab.test_hook(owner, hook.id, TEST).await {
        Err(error) if error.is_unprocessable() => return Ok(Action::NothingToTest),
        result => result?,
    }
    if *owner == HookOwner::Instance {
        return Ok(Action::Sent);
    }
    let deadline = tokio::time::Instant::now() + NOTED;
    loop {
        let after = gitlab.hook_deliveries(owner, hook.id).await?.items;
        if after.len() > before.len() || after.first() != before.first() {
            let status = after.first().map(|event| event.status());
            return Ok(Action::Tested(status.unwrap_or_default()));
        }
        if tokio::time::Instant::now() >= deadline {
            return Ok(Action::Tested("no delivery noted by GitLab yet".to_owned()));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// What failed, and what to do about it.
fn why(owner: &HookOwner, error: &GitLabError) -> String {
    if !error.is_forbidden() && !error.is_not_found() {
        return error.to_string();
    }
    let role = match owner {
        HookOwner::Project(_) => "webhooks need the role Maintainer",
        HookOwner::Group(_) => "group webhooks need GitLab Premium and the role Owner",
        HookOwner::Instance => "system hooks need an administrator",
    };
    format!("{error}; {role}, and changing them the scope api: set AGE_WEBHOOKS_TOKEN")
}
