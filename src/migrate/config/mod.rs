//! The configuration: what is taken over, what changed, what has no counterpart and why.
//!
//! What the old program does by default and this one does not (which refs are read, above all) is written
//! out, so that the same refs, jobs and environments are shown. The result is checked as `validate` does;
//! what it refuses is taken out again and reported.

mod global;
mod old;
mod output;
mod projects;
mod table;
#[cfg(test)]
mod tests;

pub use table::settings_table;

use super::{MigrateError, Note, NoteKind, OLD, Report};
use crate::config::{Config, ConfigError, Flag, Secret};
use old::{Read, Settings, place};
use output::Part;

/// A new configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// The file, with comments.
    pub text: String,
    /// What was done.
    pub report: Report,
}

/// The variables of the old program, and what they are here.
const VARIABLES: [(&str, &str); 6] = [
    ("GCPE_CONFIG", "set AGE_CONFIG, or --config"),
    ("GCPE_GITLAB_TOKEN", "set AGE_GITLAB_TOKEN"),
    (
        "GCPE_WEBHOOK_SECRET_TOKEN",
        "set AGE_SERVER_WEBHOOK_SECRET_TOKEN",
    ),
    ("GCPE_REDIS_URL", NO_REDIS),
    ("GCPE_GITLAB_HEALTH_URL", NO_HEALTH),
    (
        "GCPE_INTERNAL_MONITORING_LISTENER_ADDRESS",
        "not needed: the page / of the server shows the same",
    ),
];

const NO_REDIS: &str = "not needed by a single exporter: state.path keeps counters over restarts in a file; several \
                        replicas share one Redis: set redis.url, or the variable AGE_REDIS_URL, to the same address \
                        (docs/high-availability.md)";
const NO_HEALTH: &str = "not needed: /ready does not send requests to GitLab";

/// Makes our configuration of the old file `text`; `variables` are the names of the old program's
/// variables that are set.
///
/// # Errors
/// When it is no configuration of the old program.
pub fn configuration(file: &str, text: &str, variables: &[&str]) -> Result<Migrated, MigrateError> {
    let mut report = Report::default();
    let old = old::read(file, text, &mut report)?;
    let mut new = Writer {
        part: Part::new(),
        report,
        migrated: 0,
    };
    global::migrate(&old, &mut new);
    projects::migrate(&old, &mut new);
    for (name, sentence) in VARIABLES {
        if variables.contains(&name) {
            let kind = match sentence.starts_with("set ") {
                true => NoteKind::ToDo,
                false => NoteKind::Left,
            };
            new.report
                .add(kind, format!("the variable {name}"), sentence);
        }
    }
    if !variables.contains(&"GCPE_GITLAB_TOKEN") && !old.global.is_secret("gitlab.token") {
        let sentence = "set it to a token with the scope read_api (the old one may have api)";
        new.report
            .add(NoteKind::ToDo, "the variable AGE_GITLAB_TOKEN", sentence);
    }
    new.withdraw_what_is_refused();
    let Writer {
        part,
        mut report,
        migrated,
    } = new;
    report.migrated = migrated;
    let text = format!("{}{}{}", head(file), part.to_yaml(), foot(&report));
    Ok(Migrated { text, report })
}

fn head(file: &str) -> String {
    let file = super::one_line(file);
    format!(
        "# Configuration of amazing-gitlab-exporter, made by `amazing-gitlab-exporter migrate {file}`.\n\
         # A comment behind a setting names the old one and its line. What has to be done, what changed and\n\
         # what was not taken over stands at the end.\n\
         # Collectors that {OLD} does not have keep their defaults: merge_requests,\n\
         # code_review, dora, value_stream and repository are on; `collectors.NAME.enabled: false` disables one.\n\
         # `compat: {{gitlab_ci_metrics: true}}` also exports the old metrics until rules and dashboards have changed.\n"
    )
}

fn foot(report: &Report) -> String {
    let mut text = String::new();
    for kind in NoteKind::ALL {
        let notes: Vec<&Note> = report.of(kind).collect();
        if !notes.is_empty() {
            text.push_str(&format!("\n# {}\n", kind.title()));
        }
        for note in notes {
            text.push_str(&format!("# - {}: {}\n", note.place, note.sentence));
        }
    }
    text
}

/// The new configuration while it is written.
struct Writer {
    part: Part,
    report: Report,
    migrated: usize,
}

impl Writer {
    /// Takes a setting over as it is: `old` of `settings`, called `shown`, becomes `new`.
    fn same(&mut self, settings: &Settings, old: &'static str, new: &str) {
        if let Some(set) = settings.get(old)
            && let Some(text) = written(&set.value)
        {
            self.put(new, text, &place(old, set.line));
        }
    }

    /// Sets a setting that comes from the old file.
    fn put(&mut self, new: &str, value: String, comment: &str) {
        self.migrated += 1;
        self.part.set(new, Part::Value(value, comment.to_owned()));
    }

    /// Notes that a setting, if it is there, is not taken over.
    fn leave(&mut self, settings: &Settings, old: &'static str, why: &str) {
        if let Some(set) = settings.get(old) {
            self.report.add(NoteKind::Left, place(old, set.line), why);
        }
    }

    /// Takes out what `validate` would refuse, until it refuses nothing that was set here.
    fn withdraw_what_is_refused(&mut self) {
        for _ in 0..MOST_REFUSALS {
            let Err(error) = check(&self.part) else {
                return;
            };
            let mut gone = false;
            for problem in error.problems() {
                let removed = problem.keys().iter().find_map(|key| self.part.remove(key));
                if let Some(path) = removed {
                    gone = true;
                    self.migrated = self.migrated.saturating_sub(1);
                    let sentence = format!("it was not taken over, since {}", problem.sentence());
                    self.report.add(NoteKind::Left, path, sentence);
                } else if error.problems().len() == 1 {
                    self.report
                        .add(NoteKind::ToDo, "the new file", problem.sentence());
                }
            }
            if !gone {
                return;
            }
        }
    }
}

/// Rounds of checks: each removes at least one setting.
const MOST_REFUSALS: usize = 200;

/// Checks it as `validate` does, with the secrets that variables have to give.
fn check(part: &Part) -> Result<Config, ConfigError> {
    let secret = |path: &str| Flag {
        name: "--set".to_owned(),
        path: path.to_owned(),
        value: Secret::from("a-secret-of-a-variable"),
    };
    let secrets = ["gitlab.token", "server.webhook.secret_token"].map(secret);
    Config::from_yaml_and_flags(&part.to_yaml(), &secrets)
}

fn written(value: &old::Value) -> Option<String> {
    Some(match value {
        old::Value::Bool(value) => value.to_string(),
        old::Value::Whole(value) => value.to_string(),
        old::Value::Text(value) => output::text(value),
        old::Value::Secret => return None,
    })
}
