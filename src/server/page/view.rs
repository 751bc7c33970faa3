//! The status page's content, ready to be written down.

use std::time::Duration;

use askama::Template;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::cards::{self, Card};
use super::words::{Moment, clip, count, length, plural};
use crate::catalogue::{Collector, FamilyId};
use crate::clock::UnixSeconds;
use crate::config::Config;
use crate::series::Table;
use crate::server::status::{
    CollectorState, CollectorStatus, ProjectPage, ProjectQuery, ProjectStatus, Reachability, Status,
};
use crate::types::ProjectId;

/// Characters that a path may contain as they are.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// What is late by less is not worth a word above all others.
const LATE: Duration = Duration::from_secs(120);

/// How something is: the colour it is shown in, never without words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Warn,
    Bad,
    /// Neither good nor bad.
    Calm,
}

impl Tone {
    /// The class in the style sheet.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warn => "warn",
            Self::Bad => "bad",
            Self::Calm => "calm",
        }
    }
}

/// A few words with a colour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Badge {
    pub(super) tone: Tone,
    pub(super) text: String,
}

impl Badge {
    pub(super) fn new(tone: Tone, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { tone, text }
    }
}

/// All series in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SeriesCounts {
    per_family: Vec<(FamilyId, usize)>,
    /// Changes dropped since the start, per metric.
    pub(super) overflow: Vec<(FamilyId, u64)>,
}

impl SeriesCounts {
    pub(super) fn of(table: &Table) -> Self {
        Self {
            per_family: table.sample_counts(),
            overflow: table.overflow(),
        }
    }

    pub(super) fn total(&self) -> usize {
        self.per_family.iter().map(|(_, count)| count).sum()
    }

    fn collector(&self, collector: Collector) -> usize {
        let own = |(family, _): &&(FamilyId, usize)| family.desc().collector == collector;
        self.per_family.iter().filter(own).map(|(_, n)| n).sum()
    }
}

/// The status page.
#[derive(Template)]
#[template(path = "status.html", config = "src/server/askama.toml")]
pub(super) struct StatusPage {
    pub(super) style: &'static str,
    pub(super) script: &'static str,
    version: &'static str,
    now: String,
    overall: Badge,
    cards: Vec<Card>,
    collectors: Vec<CollectorRow>,
    /// Names of the collectors that are switched off.
    disabled: Vec<&'static str>,
    overflow: Vec<(&'static str, String)>,
    projects: Projects,
    /// Whether a project can be polled at once.
    polls: bool,
}

struct CollectorRow {
    name: &'static str,
    state: Badge,
    reason: Option<String>,
    interval: Option<String>,
    ran: Option<Moment>,
    took: Option<String>,
    lag: Option<Badge>,
    /// None where there are none and need not be any.
    series: Option<String>,
    errors: Vec<(&'static str, String)>,
}

struct Projects {
    search: String,
    summary: String,
    rows: Vec<ProjectRow>,
    page: usize,
    pages: usize,
    /// Address of the page before, if there is one.
    previous: Option<String>,
    next: Option<String>,
}

struct ProjectRow {
    id: ProjectId,
    path: String,
    url: String,
    role: &'static str,
    succeeded: Option<Moment>,
    /// Time between two polls.
    interval: Option<String>,
    /// What caused the latest read of a change, and the age of the change then.
    trigger: Option<String>,
    relies_on_events: bool,
    /// How late its next poll is; none when it is not.
    late: Option<String>,
    active: Option<String>,
    state: Badge,
    /// Reasons, each with the collectors that have nothing for it.
    unavailable: Vec<(String, String)>,
}

impl StatusPage {
    /// The page about `status`, as it is at `now`.
    pub(super) fn new(
        status: &Status,
        query: &ProjectQuery,
        series: &SeriesCounts,
        config: &Config,
        now: UnixSeconds,
    ) -> Self {
        let (disabled, collectors): (Vec<_>, Vec<_>) = status
            .collectors
            .iter()
            .partition(|collector| collector.state == CollectorState::Disabled);
        let overflow = series.overflow.iter();
        Self {
            style: super::STYLE,
            script: super::SCRIPT,
            version: env!("CARGO_PKG_VERSION"),
            now: now.to_string(),
            overall: overall(status, series, now),
            cards: cards::all(status, series, config, now),
            disabled: disabled
                .iter()
                .map(|collector| collector.collector.as_str())
                .collect(),
            collectors: collectors
                .into_iter()
                .map(|collector| CollectorRow::new(collector, series, now))
                .collect(),
            overflow: overflow
                .map(|(family, dropped)| (family.desc().name, count(*dropped)))
                .collect(),
            projects: Projects::new(&status.projects, query, &status.gitlab.url, now),
            polls: config.server.enable_poll,
        }
    }
}

/// The one line that matters at a glance: the worst of all.
fn overall(status: &Status, series: &SeriesCounts, now: UnixSeconds) -> Badge {
    let projects = status.projects.counts;
    let failing_push = status.push.iter().find(|push| push.is_failing());
    if let Reachability::Down { .. } = status.gitlab.reachability {
        return Badge::new(Tone::Bad, "GitLab is unreachable");
    }
    if let Reachability::Refused { .. } = status.gitlab.reachability {
        return Badge::new(Tone::Bad, "GitLab refused the token");
    }
    if !status.store.up {
        return Badge::new(Tone::Bad, "State cannot be written");
    }
    let token = cards::token_expiry(status.token.expiry, now);
    if token.tone == Tone::Bad {
        return Badge::new(Tone::Bad, format!("Token: {}", token.text));
    }
    if projects.tracked == 0 {
        return match status.gitlab.reachability {
            Reachability::Unknown => Badge::new(Tone::Calm, "Starting"),
            _ => Badge::new(Tone::Warn, "No project is tracked"),
        };
    }
    if projects.unreadable == projects.tracked {
        return Badge::new(Tone::Bad, "The token cannot read any project");
    }
    if projects.failing > 0 {
        let verb = if projects.failing == 1 {
            "fails"
        } else {
            "fail"
        };
        let failing = count(projects.failing as u64);
        let text = format!(
            "{failing} of {} {verb}",
            plural(projects.tracked, "project")
        );
        return Badge::new(Tone::Warn, text);
    }
    if projects.first_sync.is_under_way() {
        return Badge::new(Tone::Calm, first_sync(status, now));
    }
    if status.config.error.is_some() {
        return Badge::new(Tone::Warn, "The configuration was not reloaded");
    }
    if let Some(push) = failing_push {
        return Badge::new(Tone::Warn, format!("OTLP export of {} fails", push.signal));
    }
    if !series.overflow.is_empty() {
        return Badge::new(Tone::Warn, "Series limit reached, new series are dropped");
    }
    if let Some(late) = late(status) {
        let text = format!("Data is up to {} behind", length(late));
        return Badge::new(Tone::Warn, text);
    }
    if token.tone == Tone::Warn {
        return Badge::new(Tone::Warn, format!("Token: {}", token.text));
    }
    Badge::new(Tone::Good, "All is well")
}

/// How far the first sync is, in numbers and time.
fn first_sync(status: &Status, now: UnixSeconds) -> String {
    let sync = status.projects.counts.first_sync;
    let left = sync.time_left(now.since(status.started_at));
    let left = left.map_or(String::new(), |left| {
        format!(", about {} left", length(left))
    });
    format!("First sync: {} %{left}", sync.percent())
}

/// By how much data is older than the settings ask for, where it matters: an interval and more, and
/// not just a moment in which GitLab was slow.
fn late(status: &Status) -> Option<Duration> {
    let late = status.collectors.iter().filter_map(|collector| {
        // Its latest runs may all have failed.
        let mut late = collector.ran_at?.since(collector.succeeded_at?);
        // What waits for the budget waits at every poll. That a poll at what moves slowly was late
        // once is no news until its next.
        if collector.collector == Collector::Pipelines {
            late = late.max(collector.lag?).max(status.projects.counts.late);
        }
        let at_work = collector.state == CollectorState::Enabled;
        (at_work && late > collector.interval?.max(LATE)).then_some(late)
    });
    late.max()
}

/// For how long every run has failed for all of its projects, where that is no single one.
fn without_success(status: &CollectorStatus) -> Option<Duration> {
    let time = status.ran_at?.since(status.succeeded_at?);
    (time > status.interval?.max(LATE)).then_some(time)
}

impl CollectorRow {
    fn new(status: &CollectorStatus, series: &SeriesCounts, now: UnixSeconds) -> Self {
        let (state, reason) = match &status.state {
            CollectorState::Enabled if status.ran_at.is_none() => {
                (Badge::new(Tone::Calm, "waiting"), None)
            }
            CollectorState::Enabled if status.succeeded_at.is_none() => {
                (Badge::new(Tone::Bad, "failing"), None)
            }
            CollectorState::Enabled => match without_success(status) {
                Some(time) => {
                    let reason = format!("no project was read for {}", length(time));
                    (Badge::new(Tone::Bad, "failing"), Some(reason))
                }
                None => (Badge::new(Tone::Good, "enabled"), None),
            },
            CollectorState::Disabled => (Badge::new(Tone::Calm, "disabled"), None),
            CollectorState::Unavailable { reason } => {
                (Badge::new(Tone::Warn, "unavailable"), Some(clip(reason)))
            }
        };
        let at_work = status.state == CollectorState::Enabled;
        let own = series.collector(status.collector);
        let errors = status.errors.iter();
        Self {
            name: status.collector.as_str(),
            state,
            reason,
            interval: status.interval.filter(|_| at_work).map(length),
            ran: status.ran_at.map(|at| Moment::new(at, now)),
            took: status.duration.map(length),
            lag: status.lag.map(|lag| {
                let late = status.interval.is_some_and(|interval| lag > interval);
                Badge::new(if late { Tone::Warn } else { Tone::Calm }, length(lag))
            }),
            series: (at_work || own > 0).then(|| count(own as u64)),
            errors: errors.map(|(kind, n)| (*kind, count(*n))).collect(),
        }
    }
}

impl Projects {
    fn new(page: &ProjectPage, query: &ProjectQuery, gitlab: &str, now: UnixSeconds) -> Self {
        let search = query.search.trim();
        let tracked = plural(page.counts.tracked, "project");
        let summary = if search.is_empty() {
            tracked
        } else {
            format!("{} of {tracked} match", count(page.matching as u64))
        };
        let link = |number: usize| {
            let search: String = url::form_urlencoded::byte_serialize(search.as_bytes()).collect();
            format!("./?search={search}&page={number}#projects")
        };
        let rows = page.rows.iter();
        Self {
            search: clip(search),
            summary,
            rows: rows.map(|row| ProjectRow::new(row, gitlab, now)).collect(),
            page: page.page,
            pages: page.pages,
            previous: (page.page > 1).then(|| link(page.page - 1)),
            next: (page.page < page.pages).then(|| link(page.page + 1)),
        }
    }
}

impl ProjectRow {
    fn new(project: &ProjectStatus, gitlab: &str, now: UnixSeconds) -> Self {
        let state = match (&project.error, project.succeeded_at) {
            (Some(error), _) => Badge::new(Tone::Bad, clip(error)),
            (None, Some(_)) => Badge::new(Tone::Good, "up to date"),
            (None, None) => Badge::new(Tone::Calm, "not read yet"),
        };
        let path = clip(&project.path);
        Self {
            id: project.id,
            url: format!("{gitlab}{}", utf8_percent_encode(&path, PATH)),
            path,
            role: project.role.map_or("", |role| role.name()),
            succeeded: project.succeeded_at.map(|at| Moment::new(at, now)),
            interval: project.interval.map(length),
            trigger: project.trigger.map(trigger),
            relies_on_events: project.relies_on_events,
            late: (!project.lag.is_zero()).then(|| length(project.lag)),
            active: project.active_pipelines.map(|active| count(active as u64)),
            state,
            unavailable: reasons(&project.unavailable),
        }
    }
}

/// What caused the latest read of a change, in words.
fn trigger((cause, age): (&'static str, Option<Duration>)) -> String {
    match age {
        Some(age) => format!("{cause}, after {}", length(age)),
        None => cause.to_owned(),
    }
}

/// The reasons why collectors have nothing, each once, with the collectors' names.
fn reasons(unavailable: &[(&'static str, String)]) -> Vec<(String, String)> {
    let mut reasons: Vec<(String, String)> = Vec::new();
    for (collector, why) in unavailable {
        let why = clip(why);
        match reasons.iter_mut().find(|(known, _)| *known == why) {
            Some((_, collectors)) => {
                collectors.push_str(", ");
                collectors.push_str(collector);
            }
            None => reasons.push((why, (*collector).to_owned())),
        }
    }
    reasons
}
