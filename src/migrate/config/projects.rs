//! Projects, wildcards and their defaults.

use super::old::{OldFile, Read, Settings, place};
use super::output::{Part, text};
use super::{Writer, written};
use crate::migrate::{NoteKind, OLD};

/// Settings that are the same for each project, under another name or under their own.
pub(super) const SAME: [(&str, &str); 17] = [
    (
        "output_sparse_status_metrics",
        "output_sparse_status_metrics",
    ),
    ("pull.refs.branches.enabled", "refs.branches.enabled"),
    ("pull.refs.branches.regexp", "refs.branches.regexp"),
    (
        "pull.refs.branches.most_recent",
        "refs.branches.most_recent",
    ),
    (
        "pull.refs.branches.exclude_deleted",
        "refs.branches.exclude_deleted",
    ),
    ("pull.refs.tags.enabled", "refs.tags.enabled"),
    ("pull.refs.tags.regexp", "refs.tags.regexp"),
    ("pull.refs.tags.most_recent", "refs.tags.most_recent"),
    (
        "pull.refs.tags.exclude_deleted",
        "refs.tags.exclude_deleted",
    ),
    (
        "pull.refs.merge_requests.enabled",
        "refs.merge_requests.enabled",
    ),
    (
        "pull.refs.merge_requests.most_recent",
        "refs.merge_requests.most_recent",
    ),
    (
        "pull.environments.enabled",
        "collectors.environments.enabled",
    ),
    ("pull.environments.regexp", "collectors.environments.regexp"),
    (
        "pull.environments.exclude_stopped",
        "collectors.environments.exclude_stopped",
    ),
    ("pull.pipeline.jobs.enabled", "collectors.jobs.enabled"),
    (
        "pull.pipeline.jobs.from_child_pipelines.enabled",
        "collectors.pipelines.include_child_pipelines",
    ),
    (
        "pull.pipeline.test_reports.enabled",
        "collectors.test_reports.enabled",
    ),
];

/// Ages in seconds there and in days here.
pub(super) const AGES: [(&str, &str); 3] = [
    (
        "pull.refs.branches.max_age_seconds",
        "refs.branches.max_age_days",
    ),
    ("pull.refs.tags.max_age_seconds", "refs.tags.max_age_days"),
    (
        "pull.refs.merge_requests.max_age_seconds",
        "refs.merge_requests.max_age_days",
    ),
];

/// Defaults of the old program that are others here, as they are written here.
pub(super) const DEFAULTS: [(&str, &str, &str); 9] = [
    (
        "pull.refs.branches.regexp",
        "refs.branches.regexp",
        "^(?:main|master)$",
    ),
    ("pull.refs.tags.regexp", "refs.tags.regexp", ".*"),
    ("pull.refs.tags.most_recent", "refs.tags.most_recent", "0"),
    (
        "pull.refs.tags.max_age_seconds",
        "refs.tags.max_age_days",
        "0",
    ),
    (
        "pull.refs.merge_requests.enabled",
        "refs.merge_requests.enabled",
        "false",
    ),
    (
        "pull.refs.merge_requests.most_recent",
        "refs.merge_requests.most_recent",
        "0",
    ),
    (
        "pull.refs.merge_requests.max_age_seconds",
        "refs.merge_requests.max_age_days",
        "0",
    ),
    (
        "pull.refs.merge_requests.exclude_non_opened",
        "refs.merge_requests.states",
        "[all]",
    ),
    (
        "pull.pipeline.jobs.enabled",
        "collectors.jobs.enabled",
        "false",
    ),
];

/// Settings of projects that belong to the collector here, for all projects.
pub(super) const FOR_ALL: [(&str, &str); 2] = [
    (
        "pull.pipeline.per_ref",
        "collectors.pipelines.max_pipelines_per_ref",
    ),
    (
        "pull.pipeline.test_reports.test_cases.enabled",
        "collectors.test_reports.include_test_cases",
    ),
];

const SECONDS_PER_DAY: i64 = 86_400;

/// Writes the defaults, projects and wildcards.
pub(super) fn migrate(old: &OldFile, new: &mut Writer) {
    for_all(old, new);
    let switches = variables(old, new);
    let switch = |shown: &str, part: &mut Part| {
        if let Some((_, value)) = switches.iter().find(|(place, _)| place == shown) {
            part.set("collectors.variables.enabled", value.clone());
        }
    };
    let mut defaults = settings(&old.defaults, "project_defaults", new);
    switch("project_defaults", &mut defaults);
    for (from, to, value) in DEFAULTS {
        if !old.defaults.contains_key(from) {
            let value = match value.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[') {
                true => value.to_owned(),
                false => text(value),
            };
            let comment = format!("default of {OLD}; the one here is another");
            defaults.set(to, Part::Value(value, comment));
        }
    }
    new.part.set("project_defaults", defaults);
    runners(old, new);
    let projects = old.projects.iter().enumerate();
    let projects: Vec<Part> = projects
        .map(|(index, one)| {
            let shown = format!("projects[{index}]");
            let mut part = project(&shown, one, new);
            switch(&shown, &mut part);
            part
        })
        .collect();
    if !projects.is_empty() {
        new.part.set("projects", Part::List(projects));
    }
    let wildcards = old.wildcards.iter().enumerate();
    let wildcards: Vec<Part> = wildcards
        .map(|(index, one)| {
            let shown = format!("wildcards[{index}]");
            let mut part = wildcard(&shown, one, new);
            switch(&shown, &mut part);
            part
        })
        .collect();
    if !wildcards.is_empty() {
        new.part.set("wildcards", Part::List(wildcards));
    }
}

fn project(shown: &str, old: &Settings, new: &mut Writer) -> Part {
    let mut entry = Part::new();
    if let Some(name) = old.text("name") {
        let comment = format!("line {}", old.line("name"));
        entry.set("name", Part::Value(text(name), comment));
        new.migrated += 1;
    }
    join(&mut entry, settings(old, shown, new));
    entry
}

fn wildcard(shown: &str, old: &Settings, new: &mut Writer) -> Part {
    let mut entry = Part::new();
    owner(old, shown, &mut entry, new);
    for key in ["search", "archived"] {
        same(old, key, key, &mut entry, new);
    }
    join(&mut entry, settings(old, shown, new));
    entry
}

/// The owner: without a kind the old program lists every visible project and takes those below the name.
fn owner(old: &Settings, shown: &str, entry: &mut Part, new: &mut Writer) {
    let Some(name) = old.text("owner.name").filter(|name| !name.is_empty()) else {
        for key in ["owner.kind", "owner.include_subgroups"] {
            let why = "it has no owner.name: every project visible to the token is selected";
            new.leave(old, key, why);
        }
        return;
    };
    let name_at = place(&format!("{shown}.owner.name"), old.line("owner.name"));
    entry.set("owner.name", Part::Value(text(name), name_at.clone()));
    new.migrated += 1;
    match old.text("owner.kind").filter(|kind| !kind.is_empty()) {
        Some(_) => same(old, "owner.kind", "owner.kind", entry, new),
        None => {
            let value = Part::Value("group".to_owned(), String::new());
            entry.set("owner.kind", value);
            let sentence = format!(
                "without owner.kind {OLD} searches all visible projects for those below this path; here it is a \
                 group with its subgroups: set owner.kind to user if it is a user"
            );
            new.report.add(NoteKind::Changed, name_at, sentence);
            let value = Part::Value("true".to_owned(), String::new());
            entry.set("owner.include_subgroups", value);
            return;
        }
    }
    match old.bool("owner.include_subgroups") {
        Some(_) => same(
            old,
            "owner.include_subgroups",
            "owner.include_subgroups",
            entry,
            new,
        ),
        None => {
            let comment = format!("default of {OLD}; the one here is true");
            let value = Part::Value("false".to_owned(), comment);
            entry.set("owner.include_subgroups", value);
        }
    }
}

fn join(entry: &mut Part, settings: Part) {
    if let Part::Section(parts) = settings {
        for (name, part) in parts {
            entry.set(&name, part);
        }
    }
}

fn same(old: &Settings, from: &str, to: &str, entry: &mut Part, new: &mut Writer) {
    if let Some(set) = old.get(from)
        && let Some(value) = written(&set.value)
    {
        let comment = place(from, set.line);
        entry.set(to, Part::Value(value, comment));
        new.migrated += 1;
    }
}

/// The settings of the defaults, of a project or of a wildcard, which notes call `shown`.
fn settings(old: &Settings, shown: &str, new: &mut Writer) -> Part {
    let mut section = Part::new();
    for (from, to) in SAME {
        same(old, from, to, &mut section, new);
    }
    let at = |key: &str| place(&format!("{shown}.{key}"), old.line(key));
    for (from, to) in AGES {
        let Some(seconds) = old.whole(from) else {
            continue;
        };
        let days =
            seconds.max(0).div_euclid(SECONDS_PER_DAY) + i64::from(seconds % SECONDS_PER_DAY > 0);
        let comment = format!("{}: {seconds} seconds", place(from, old.line(from)));
        section.set(to, Part::Value(days.to_string(), comment));
        new.migrated += 1;
        if days * SECONDS_PER_DAY != seconds {
            let sentence = format!("ages are in days here: {seconds} seconds became {days}");
            new.report.add(NoteKind::Changed, at(from), sentence);
        }
    }
    let states = "pull.refs.merge_requests.exclude_non_opened";
    if let Some(opened_only) = old.bool(states) {
        let value = if opened_only { "[opened]" } else { "[all]" };
        let comment = place(states, old.line(states));
        section.set(
            "refs.merge_requests.states",
            Part::Value(value.to_owned(), comment),
        );
        new.migrated += 1;
    }
    for (key, why) in LEFT {
        if old.contains_key(key) && old.text(key) != Some(".*") {
            new.report.add(NoteKind::Left, at(key), why);
        }
    }
    section
}

/// Settings of projects without a counterpart, and why.
pub(super) const LEFT: [(&str, &str); 2] = [
    (
        "pull.refs.merge_requests.regexp",
        "merge requests cannot be selected by title; refs.merge_requests.states and most_recent limit them",
    ),
    (
        "pull.pipeline.test_reports.from_child_pipelines.enabled",
        "reports of child pipelines in the same project are always included",
    ),
];

/// Settings that a collector has for all projects: those of the defaults; of projects only what they agree on.
fn for_all(old: &OldFile, new: &mut Writer) {
    for (from, to) in FOR_ALL {
        if let Some(set) = old.defaults.get(from)
            && let Some(value) = written(&set.value)
        {
            let comment = place(&format!("project_defaults.{from}"), set.line);
            new.put(to, value, &comment);
        }
        for (shown, entry) in entries(old) {
            let Some(set) = entry.get(from) else { continue };
            if old
                .defaults
                .get(from)
                .is_some_and(|default| default.value == set.value)
            {
                continue;
            }
            let sentence =
                format!("{to} applies to all projects; set it there if they all should have it");
            let place = place(&format!("{shown}.{from}"), set.line);
            new.report.add(NoteKind::Left, place, sentence);
        }
    }
}

const RUNNERS: &str = "pull.pipeline.jobs.runner_description.enabled";
pub(super) const AGGREGATION: &str = "pull.pipeline.jobs.runner_description.aggregation_regexp";

/// Runners: one expression for all projects, that of the defaults.
fn runners(old: &OldFile, new: &mut Writer) {
    let is_off = old.defaults.bool(RUNNERS) == Some(false);
    let set = |key: &'static str| Some((key, old.defaults.get(key)?.line));
    let set = set(AGGREGATION)
        .or_else(|| set(RUNNERS))
        .filter(|_| !is_off);
    if let Some((key, line)) = set {
        // What stands first is tried first; all others are shown as they are.
        let aggregation = old.defaults.text(AGGREGATION);
        let regexp = aggregation.map_or(".+".to_owned(), |regexp| format!("{regexp}|.+"));
        let comment = place(&format!("project_defaults.{key}"), line);
        let to = "collectors.jobs.runner_description_regexp";
        new.put(to, text(&regexp), &comment);
        let sentence = "the description is a label of age_job_runner_info alone, and of the old metrics \
                        (compat.gitlab_ci_metrics): the part that the expression matches, not the expression. \
                        collectors.jobs.tags_regexp exports the tags of jobs";
        new.report.add(NoteKind::Changed, comment, sentence);
    }
    let elsewhere = entries(old).map(|(shown, settings)| (shown, settings, false));
    let all = elsewhere.chain([("project_defaults".to_owned(), &old.defaults, true)]);
    for (shown, settings, is_default) in all {
        for key in [RUNNERS, AGGREGATION] {
            let Some(set) = settings.get(key) else {
                continue;
            };
            let sentence = match is_default {
                true if is_off => "not needed: descriptions of runners are off by default",
                true => continue,
                false => {
                    "collectors.jobs.runner_description_regexp applies to all projects; set it there if they all \
                     should have it"
                }
            };
            let place = place(&format!("{shown}.{key}"), set.line);
            new.report.add(NoteKind::Left, place, sentence);
        }
    }
}

/// Every project and wildcard, as notes call them.
fn entries(old: &OldFile) -> impl Iterator<Item = (String, &Settings)> {
    let projects = old.projects.iter().enumerate();
    let wildcards = old.wildcards.iter().enumerate();
    let projects = projects.map(|(index, one)| (format!("projects[{index}]"), one));
    projects.chain(wildcards.map(|(index, one)| (format!("wildcards[{index}]"), one)))
}

const ENABLED: &str = "pull.pipeline.variables.enabled";
const REGEXP: &str = "pull.pipeline.variables.regexp";

/// Variables: one expression for all projects, and a switch for each, by the place in the old file. What one
/// project may show another may not, so expressions are not combined.
fn variables(old: &OldFile, new: &mut Writer) -> Vec<(String, Part)> {
    let all: Vec<(String, &Settings)> =
        std::iter::once(("project_defaults".to_owned(), &old.defaults))
            .chain(entries(old))
            .collect();
    let default = old.defaults.text(REGEXP).unwrap_or(".*");
    let of = |settings: &Settings| settings.text(REGEXP).unwrap_or(default).to_owned();
    let is_on = |settings: &Settings| {
        let inherited = old.defaults.bool(ENABLED).unwrap_or(false);
        settings.bool(ENABLED).unwrap_or(inherited)
    };
    let mut on = all.iter().filter(|(_, settings)| is_on(settings));
    let regexp = on.next().map(|(_, settings)| of(settings));
    write_regexp(regexp.as_deref(), &all, new);
    let mut switches = Vec::new();
    for (shown, settings) in &all {
        let set = settings.get(ENABLED);
        let comment = set.map_or_else(String::new, |set| place(ENABLED, set.line));
        if is_on(settings) && Some(of(settings)) != regexp {
            let sentence = "collectors.variables.regexp applies to all projects, and this one has another \
                            expression: its variables are not collected";
            let place = place(&format!("{shown}.{REGEXP}"), settings.line(REGEXP));
            new.report.add(NoteKind::Left, place, sentence);
            switches.push((shown.clone(), Part::Value("false".to_owned(), comment)));
        } else if let Some(value) = set.and_then(|set| written(&set.value)) {
            new.migrated += 1;
            switches.push((shown.clone(), Part::Value(value, comment)));
        }
    }
    switches
}

fn write_regexp(regexp: Option<&str>, all: &[(String, &Settings)], new: &mut Writer) {
    let Some(regexp) = regexp else {
        for (shown, settings) in all {
            if let Some(set) = settings.get(REGEXP) {
                let place = place(&format!("{shown}.{REGEXP}"), set.line);
                new.report.add(
                    NoteKind::Left,
                    place,
                    "not needed: variables are not collected",
                );
            }
        }
        return;
    };
    let named = all
        .iter()
        .find(|(_, settings)| settings.text(REGEXP) == Some(regexp));
    let comment = match named {
        Some((shown, settings)) => place(&format!("{shown}.{REGEXP}"), settings.line(REGEXP)),
        None => format!("default of {OLD}"),
    };
    new.put("collectors.variables.regexp", text(regexp), &comment);
    if regexp == ".*" {
        let sentence = "`.*` exports the value of every variable, secrets included, to anyone with access to the \
                        metrics; name the keys that you need";
        new.report
            .add(NoteKind::ToDo, "collectors.variables.regexp", sentence);
    }
}
