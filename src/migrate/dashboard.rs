//! Grafana dashboards: the expressions of panels, variables and annotations, and labels in legends.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value};

use super::promql::{self, Family, GONE, LabelNow, Names, Outcome, label_in, mentions_old};
use super::{MigrateError, NoteKind, Report};

/// Rewrites a dashboard.
///
/// # Errors
/// When it is not valid JSON, or has no panels.
pub fn dashboard(file: &str, text: &str, names: &Names) -> Result<(String, Report), MigrateError> {
    let mut json: Value = serde_json::from_str(text).map_err(|error| MigrateError::Syntax {
        file: file.to_owned(),
        format: "JSON",
        reason: error.to_string(),
    })?;
    // As the API returns it, the dashboard is a part.
    let inner = match json.get("dashboard").is_some_and(Value::is_object) {
        true => json.get_mut("dashboard"),
        false => Some(&mut json),
    };
    let board = inner.and_then(Value::as_object_mut);
    let board = board.filter(|board| board.contains_key("panels") || board.contains_key("rows"));
    let Some(board) = board else {
        return Err(MigrateError::Nothing {
            file: file.to_owned(),
            what: "dashboard with panels",
        });
    };
    let mut walk = Walk {
        file,
        names,
        report: Report::default(),
    };
    for (key, value) in board.iter_mut() {
        walk.value(value, key, "dashboard");
    }
    let report = walk.report;
    let written = serde_json::to_string_pretty(&json).map_err(|error| MigrateError::Syntax {
        file: file.to_owned(),
        format: "JSON",
        reason: error.to_string(),
    })?;
    Ok((written + "\n", report))
}

struct Walk<'a> {
    file: &'a str,
    names: &'a Names,
    report: Report,
}

/// Keys that hold expressions.
const EXPRESSIONS: [&str; 3] = ["expr", "query", "definition"];

impl Walk<'_> {
    fn note(&mut self, kind: NoteKind, place: &str, sentence: String) {
        self.report
            .add(kind, format!("{}: {place}", self.file), sentence);
    }

    fn value(&mut self, value: &mut Value, key: &str, place: &str) {
        match value {
            Value::Object(object) => {
                let place = own_place(object).unwrap_or_else(|| place.to_owned());
                self.object(object, &place);
            }
            Value::Array(items) => items
                .iter_mut()
                .for_each(|item| self.value(item, key, place)),
            Value::String(text) if EXPRESSIONS.contains(&key) => {
                self.expression(text, place);
            }
            Value::String(text) => self.text(text, key, place),
            _ => {}
        }
    }

    fn object(&mut self, object: &mut Map<String, Value>, place: &str) {
        // The legend belongs to the expression next to it.
        let families = match object.get_mut("expr") {
            Some(Value::String(text)) => self.expression(text, place),
            _ => Vec::new(),
        };
        if let Some(Value::String(legend)) = object.get_mut("legendFormat") {
            self.legend(legend, &families, place);
        }
        for (key, value) in object.iter_mut() {
            if key != "expr" && key != "legendFormat" {
                if let Some(label) = GONE.into_iter().find(|label| *label == key.as_str()) {
                    self.names_label(label, place);
                }
                self.value(value, key, place);
            }
        }
    }

    /// Rewrites an expression in place; returns the old metrics in it.
    fn expression(&mut self, text: &mut String, place: &str) -> Vec<&'static Family> {
        let outcome = match function(text) {
            Some(call) => self.query(&call),
            None => promql::expression(text, self.names),
        };
        match outcome {
            Outcome::Unchanged => Vec::new(),
            Outcome::Refused(reason) => {
                self.note(NoteKind::Left, place, reason);
                Vec::new()
            }
            Outcome::Rewritten {
                text: new,
                changes,
                families,
            } => {
                self.report.migrated += 1;
                *text = new;
                for change in changes {
                    self.note(NoteKind::Changed, place, change);
                }
                families
            }
        }
    }

    /// Rewrites the query of a variable: a function of Grafana around an expression.
    fn query(&self, call: &Call<'_>) -> Outcome {
        match *call {
            Call::LabelValues { metric, label } => match promql::expression(metric, self.names) {
                Outcome::Rewritten {
                    text,
                    changes,
                    families,
                } => {
                    let name = match label_in(&families, label) {
                        LabelNow::Same => label,
                        LabelNow::Renamed(name) => name,
                        LabelNow::Empty | LabelNow::Nothing => {
                            return Outcome::Refused(format!(
                                "its values are those of the label {label}, which has no counterpart"
                            ));
                        }
                    };
                    Outcome::Rewritten {
                        text: format!("label_values({text}, {name})"),
                        changes,
                        families,
                    }
                }
                other => other,
            },
            Call::QueryResult(inner) => match promql::expression(inner, self.names) {
                Outcome::Rewritten {
                    text,
                    changes,
                    families,
                } => Outcome::Rewritten {
                    text: format!("query_result({text})"),
                    changes,
                    families,
                },
                other => other,
            },
            Call::Metrics(pattern) => match mentions_old(pattern) {
                true => Outcome::Refused(
                    "it lists metrics by an expression for their names; the names here begin with age_".to_owned(),
                ),
                false => Outcome::Unchanged,
            },
        }
    }

    fn legend(&mut self, legend: &mut String, families: &[&'static Family], place: &str) {
        let Some(pattern) = IN_LEGEND.as_ref() else {
            return;
        };
        let mut gone = Vec::new();
        let new = pattern.replace_all(legend, |found: &regex::Captures<'_>| {
            match label_in(families, &found[1]) {
                LabelNow::Renamed(name) => format!("{{{{{name}}}}}"),
                LabelNow::Nothing => {
                    gone.push(found[1].to_owned());
                    found[0].to_owned()
                }
                LabelNow::Same | LabelNow::Empty => found[0].to_owned(),
            }
        });
        *legend = new.into_owned();
        for label in gone {
            let sentence = format!("its legend shows the label {label}, which has no counterpart");
            self.note(NoteKind::Changed, place, sentence);
        }
    }

    /// Other texts are not touched; they may name what is no longer there.
    fn text(&mut self, text: &str, key: &str, place: &str) {
        if mentions_old(text) {
            let sentence =
                format!("{key} mentions a metric outside of an expression, and stays as it is");
            self.note(NoteKind::Left, place, sentence);
        }
        let words = || text.split(|c: char| !c.is_alphanumeric() && c != '_');
        for label in GONE
            .into_iter()
            .filter(|label| words().any(|word| word == *label))
        {
            self.names_label(label, place);
        }
    }

    fn names_label(&mut self, label: &str, place: &str) {
        let sentence = format!(
            "it names the label {label} outside of an expression (columns, links, overrides), which has no \
             counterpart of that name"
        );
        self.note(NoteKind::Left, place, sentence);
    }
}

static IN_LEGEND: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"\{\{\s*(\w+)\s*\}\}").ok());

/// What an object is, where it is something with a name.
fn own_place(object: &Map<String, Value>) -> Option<String> {
    let text = |key: &str| {
        object
            .get(key)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    if object.contains_key("targets") || object.contains_key("gridPos") {
        let id = object.get("id").and_then(Value::as_u64);
        return match (text("title"), id) {
            (Some(title), _) => Some(format!("panel {title:?}")),
            (None, Some(id)) => Some(format!("panel {id}")),
            (None, None) => None,
        };
    }
    let is_variable = object.contains_key("query") && object.contains_key("type");
    match (is_variable, object.contains_key("enable")) {
        (true, _) => text("name").map(|name| format!("variable {name}")),
        (_, true) => text("name").map(|name| format!("annotation {name:?}")),
        _ => None,
    }
}

/// A function of Grafana's variables.
enum Call<'a> {
    LabelValues { metric: &'a str, label: &'a str },
    QueryResult(&'a str),
    Metrics(&'a str),
}

fn function(text: &str) -> Option<Call<'_>> {
    let (name, rest) = text.trim().split_once('(')?;
    let inner = rest.trim_end().strip_suffix(')')?;
    match name.trim() {
        "label_values" => {
            // The label is the last argument; without an expression it is the only one.
            let (metric, label) = inner.rsplit_once(',')?;
            Some(Call::LabelValues {
                metric: metric.trim(),
                label: label.trim(),
            })
        }
        "query_result" => Some(Call::QueryResult(inner)),
        "metrics" => Some(Call::Metrics(inner)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
