//! Rule files of Prometheus, and the same in a PrometheusRule of Kubernetes.

use std::sync::LazyLock;

use regex::Regex;

use super::promql::{self, Family, LabelNow, Names, Outcome, label_in};
use super::yaml_text::{self, Map, Scalar};
use super::{MigrateError, NoteKind, Report};

/// The names that the recording rules of a file make, so that other rules and dashboards may use them.
///
/// # Errors
/// When it is not valid YAML.
pub fn recorded_names(file: &str, text: &str) -> Result<Vec<String>, MigrateError> {
    let maps = yaml_text::maps(file, text)?;
    let names = maps.iter().filter(|map| map.text("expr").is_some());
    let names = names.filter_map(|map| map.text("record"));
    Ok(names.map(|name| name.value.clone()).collect())
}

/// Rewrites the expressions of a rule file, and the labels in its texts. Everything else stays as it is.
///
/// # Errors
/// When it is not valid YAML, or holds no rules.
pub fn rules(file: &str, text: &str, names: &Names) -> Result<(String, Report), MigrateError> {
    let maps = yaml_text::maps(file, text)?;
    let rules: Vec<&Map> = maps
        .iter()
        .filter(|map| map.text("expr").is_some())
        .collect();
    if rules.is_empty() {
        return Err(MigrateError::Nothing {
            file: file.to_owned(),
            what: "rules",
        });
    }
    let mut report = Report::default();
    let mut new = Vec::new();
    for rule in rules {
        one(file, rule, names, &mut report, &mut new);
    }
    Ok((yaml_text::replace(text, new), report))
}

fn one(
    file: &str,
    rule: &Map,
    names: &Names,
    report: &mut Report,
    new: &mut Vec<(Scalar, String)>,
) {
    let Some(expr) = rule.text("expr") else {
        return;
    };
    let name = ["alert", "record"].into_iter().find_map(|key| {
        let name = rule.text(key)?;
        Some(format!("{key} {}", name.value))
    });
    let name = name.unwrap_or_else(|| "rule".to_owned());
    let place = format!("{file}:{}: {name}", expr.line);
    match promql::expression(&expr.value, names) {
        Outcome::Unchanged => {}
        Outcome::Refused(reason) => report.add(NoteKind::Left, place, reason),
        Outcome::Rewritten {
            text,
            changes,
            families,
        } => {
            report.migrated += 1;
            for change in changes {
                report.add(NoteKind::Changed, &*place, change);
            }
            new.push((expr.clone(), text));
            let texts = ["labels", "annotations"];
            for scalar in texts.into_iter().flat_map(|key| rule.below(key)) {
                let (text, gone) = templates(&scalar.value, &families);
                for label in gone {
                    let sentence =
                        format!("its text shows the label {label}, which has no counterpart");
                    report.add(NoteKind::Changed, &*place, sentence);
                }
                if text != scalar.value {
                    new.push((scalar.clone(), text));
                }
            }
        }
    }
}

static LABEL: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\$labels\.(\w+)").ok());

/// A template in new words, and its labels that have no counterpart.
fn templates(text: &str, families: &[&'static Family]) -> (String, Vec<String>) {
    let Some(pattern) = LABEL.as_ref() else {
        return (text.to_owned(), Vec::new());
    };
    let mut gone = Vec::new();
    let new = pattern.replace_all(text, |found: &regex::Captures<'_>| {
        let label = &found[1];
        match label_in(families, label) {
            LabelNow::Renamed(name) => format!("$labels.{name}"),
            LabelNow::Nothing => {
                gone.push(label.to_owned());
                found[0].to_owned()
            }
            LabelNow::Same | LabelNow::Empty => found[0].to_owned(),
        }
    });
    (new.into_owned(), gone)
}

#[cfg(test)]
mod tests;
