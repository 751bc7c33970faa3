//! Rules about labels that are rewritten or dropped.

use super::Rules;
use crate::catalogue::{Collector, Desc, FamilyId, Kind, Merge, all};
use crate::config::model::{Rewriting, Settings};
use crate::config::problem::nearest;

/// Labels that say which project a series belongs to.
const PROJECTS: [&str; 2] = ["project", "parent_project"];

impl Rules<'_> {
    pub(super) fn labels(&mut self, settings: &Settings) {
        let labels = &settings.labels;
        self.rewriting("labels.job_name", &labels.job_name);
        self.rewriting("labels.ref", &labels.git_ref);
        for (metric, dropped) in &labels.drop {
            let key = format!("labels.drop.{metric}");
            let family = FamilyId::by_name(metric).map(FamilyId::desc);
            let own = family
                .filter(|desc| !matches!(desc.collector, Collector::Exporter | Collector::Compat));
            let Some(desc) = own else {
                let sentence = match family {
                    Some(_) => format!("{key} is not a metric of data from GitLab; remove it"),
                    None => {
                        let names = all().map(|desc| desc.name);
                        let meant = nearest(metric, names);
                        let meant = meant.map(|name| format!("; did you mean {name}?"));
                        format!("{key} is not a metric{}", meant.unwrap_or_default())
                    }
                };
                self.report(&key, sentence);
                continue;
            };
            for (index, label) in dropped.iter().enumerate() {
                if let Some(why) = refusal(desc, label) {
                    let key = format!("{key}[{index}]");
                    self.report(&key, format!("{key} {label:?} {why}"));
                }
            }
        }
    }

    fn rewriting(&mut self, key: &str, rewriting: &Rewriting) {
        if rewriting.regexp.is_none() && !rewriting.replacement.is_empty() {
            let sentence = format!("{key}.replacement needs {key}.regexp, what it replaces");
            self.report(&format!("{key}.replacement"), sentence);
        }
    }
}

/// Why a label of a metric cannot be dropped.
fn refusal(desc: &Desc, label: &str) -> Option<String> {
    if !desc.labels.contains(&label) {
        let labels = desc.labels.join(", ");
        return Some(format!(
            "is not a label of {}, which has {labels}",
            desc.name
        ));
    }
    if PROJECTS.contains(&label) {
        return Some(
            "cannot be dropped: series belong to their project; use sum by() instead".to_owned(),
        );
    }
    match (desc.kind, desc.merge) {
        (Kind::Gauge, Merge::None) => Some(format!(
            "cannot be dropped: no rule merges several values of {} into one that says something",
            desc.name
        )),
        (Kind::Gauge, Merge::Worst) if label == "status" => {
            Some("cannot be dropped: the value alone does not say which status it is".to_owned())
        }
        _ => None,
    }
}
