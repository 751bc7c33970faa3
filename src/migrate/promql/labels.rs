//! Labels of the old program in groupings and matchings.

use std::collections::BTreeSet;

use promql_parser::label::Labels;

use super::families::Family;

/// What a label of an old metric is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::migrate) enum LabelNow {
    /// The same.
    Same,
    /// It has another name.
    Renamed(&'static str),
    /// It was always empty, and is absent.
    Empty,
    /// It has no counterpart.
    Nothing,
}

/// Labels in new words, and those that have no counterpart.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Translated {
    pub kept: Vec<String>,
    pub dropped: Vec<String>,
}

/// Translates the labels of a grouping over `families`.
///
/// # Errors
/// When one label has two names here.
pub(super) fn translate(
    labels: &Labels,
    families: &[&'static Family],
) -> Result<Translated, String> {
    let mut translated = Translated::default();
    for label in &labels.labels {
        let mut names = BTreeSet::new();
        let mut nowhere = !families.is_empty();
        for family in families {
            match family.label(label) {
                LabelNow::Same => {
                    names.insert(label.as_str());
                }
                LabelNow::Renamed(name) => {
                    names.insert(name);
                }
                LabelNow::Empty | LabelNow::Nothing => continue,
            }
            nowhere = false;
        }
        let names: Vec<&str> = names.into_iter().collect();
        match names.as_slice() {
            [] if nowhere => translated.dropped.push(label.clone()),
            [] => translated.kept.push(label.clone()),
            [name] => translated.kept.push((*name).to_owned()),
            several => {
                return Err(format!(
                    "the label {label} has several names here ({}); write the parts by hand",
                    several.join(", ")
                ));
            }
        }
    }
    translated.kept.dedup();
    Ok(translated)
}
