//! Labels as the settings have them (`labels.job_name`, `labels.ref`, `labels.merge_parallel_jobs`,
//! `labels.drop`): values are rewritten, labels are emptied, and series that are one then are merged.
//!
//! It happens where runs are recorded, behind all collectors: these know their subjects by whole names.
//! Counters and histograms add up by themselves. Gauges are merged by the rule of their metric ([`Merge`]). A
//! label that is dropped stays with an empty value, which Prometheus takes for none, so that rows keep their
//! shape.

mod merge;
mod retired;
mod stored;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use regex::Regex;
use serde::{Deserialize, Serialize};

use super::ProjectRun;
use crate::catalogue::{Collector, Desc};
use crate::types::Text;

/// The end of a name that tells jobs of one `parallel` apart: `3/10`, `: [linux, 1.90]`; GitLab's own rule for
/// groups of jobs.
static PARALLEL: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?:[\s:]+(?:\[.*\]|\d+[\s:/\\]+\d+))+\s*$").ok());

/// What the name of a tag begins with where there is no label `kind`.
const TAGS: &str = "tags/";

/// An expression and what stands in the place of each match.
pub type Rewrite = (Regex, String);

/// What becomes of labels.
#[derive(Clone, Debug, Default)]
pub struct LabelRules {
    job_name: Option<Rewrite>,
    parallel: bool,
    git_ref: Option<Rewrite>,
    /// Labels that are dropped, by metric.
    dropped: BTreeMap<String, Vec<String>>,
    /// The rules in words: they are stored with what they led to.
    text: Text,
}

/// The rules as they are stored with a project.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Said {
    /// How names of jobs are rewritten; empty where they are not.
    job_name: String,
    /// How refs are rewritten.
    git_ref: String,
    /// Labels that are dropped, by metric.
    drop: BTreeMap<String, Vec<String>>,
}

impl LabelRules {
    /// By the settings: how names of jobs and refs are rewritten, whether jobs of one `parallel` are one, and the
    /// labels that are dropped, by metric.
    #[must_use]
    pub fn new(
        job_name: Option<Rewrite>,
        merge_parallel: bool,
        git_ref: Option<Rewrite>,
        mut dropped: BTreeMap<String, Vec<String>>,
    ) -> Self {
        dropped.retain(|_, labels| !labels.is_empty());
        for labels in dropped.values_mut() {
            labels.sort_unstable();
            labels.dedup();
        }
        let words = |rewrite: &Option<Rewrite>| match rewrite {
            Some((regexp, by)) => format!("{regexp} -> {by}"),
            None => String::new(),
        };
        let parallel = if merge_parallel { "parallel " } else { "" };
        let said = Said {
            job_name: format!("{parallel}{}", words(&job_name)),
            git_ref: words(&git_ref),
            drop: dropped.clone(),
        };
        let text = match said == Said::default() {
            true => Text::default(),
            false => serde_json::to_string(&said).unwrap_or_default().into(),
        };
        Self {
            job_name,
            parallel: merge_parallel,
            git_ref,
            dropped,
            text,
        }
    }

    /// The rules in words, to be stored with what they led to; empty without any.
    #[must_use]
    pub fn text(&self) -> &Text {
        &self.text
    }

    fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Whether labels of a metric may not be what collectors give.
    fn concerns(&self, desc: &Desc) -> bool {
        let names = self.job_name.is_some() || self.parallel;
        let is_rewritten = |label: &&str| match kind_of(label) {
            Some(What::Job) => names,
            Some(What::Ref) => self.git_ref.is_some(),
            None => false,
        };
        desc.collector != Collector::Compat
            && (desc.labels.iter().any(is_rewritten) || self.dropped.contains_key(desc.name))
    }

    fn dropped_of(&self, desc: &Desc) -> &[String] {
        self.dropped.get(desc.name).map_or(&[], Vec::as_slice)
    }

    fn job_name(&self, name: &str) -> Option<Text> {
        let mut now = name.to_owned();
        if self.parallel
            && let Some(regexp) = &*PARALLEL
        {
            let group = regexp.replace(&now, "").into_owned();
            if !group.is_empty() {
                now = group;
            }
        }
        rewritten(self.job_name.as_ref(), &mut now);
        (now != name).then(|| now.into())
    }

    fn git_ref(&self, name: &str, is_plain: bool) -> Option<Text> {
        // A tag is called `tags/v1` where there is no label `kind`: one rule for both.
        let prefix = if is_plain && name.starts_with(TAGS) {
            TAGS
        } else {
            ""
        };
        let mut now = name[prefix.len()..].to_owned();
        rewritten(self.git_ref.as_ref(), &mut now);
        let now = format!("{prefix}{now}");
        (now != name).then(|| now.into())
    }
}

/// Replaces each match; what would become empty stays.
fn rewritten(rewrite: Option<&Rewrite>, text: &mut String) {
    if let Some((regexp, by)) = rewrite {
        let now = regexp.replace_all(text, by.as_str()).into_owned();
        if !now.is_empty() {
            *text = now;
        }
    }
}

/// What a label names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Job,
    Ref,
}

fn kind_of(label: &str) -> Option<What> {
    match label {
        "job_name" | "bridge_name" => Some(What::Job),
        "ref" | "parent_ref" => Some(What::Ref),
        _ => None,
    }
}

/// Rules at work: values are rewritten once.
struct Relabeling<'a> {
    rules: &'a LabelRules,
    jobs: HashMap<Text, Option<Text>>,
    refs: HashMap<(Text, bool), Option<Text>>,
}

impl<'a> Relabeling<'a> {
    fn new(rules: &'a LabelRules) -> Self {
        Self {
            rules,
            jobs: HashMap::new(),
            refs: HashMap::new(),
        }
    }

    fn job_name(&mut self, name: &Text) -> Option<Text> {
        let known = self.jobs.entry(name.clone());
        let now = known.or_insert_with(|| self.rules.job_name(name));
        now.clone()
    }

    fn git_ref(&mut self, name: &Text, is_plain: bool) -> Option<Text> {
        let known = self.refs.entry((name.clone(), is_plain));
        let now = known.or_insert_with(|| self.rules.git_ref(name, is_plain));
        now.clone()
    }

    /// A value of a label as it is shown; `has_kind` says whether the label `kind` stands beside it.
    fn value(&mut self, label: &str, value: &Text, has_kind: bool) -> Option<Text> {
        match kind_of(label)? {
            What::Job => self.job_name(value),
            What::Ref => self.git_ref(value, !has_kind && label == "ref"),
        }
    }

    /// Rewrites and empties the label values of a metric, as far as `rewrites` says; says whether the metric is
    /// concerned.
    fn apply(&mut self, desc: &Desc, values: &mut [Text], rewrites: impl Fn(What) -> bool) -> bool {
        if !self.rules.concerns(desc) {
            return false;
        }
        let has_kind = desc.labels.contains(&"kind");
        let dropped = self.rules.dropped_of(desc);
        for (label, value) in desc.labels.iter().zip(values) {
            if dropped.iter().any(|dropped| dropped == label) {
                *value = Text::default();
            } else if kind_of(label).is_some_and(&rewrites)
                && let Some(now) = self.value(label, value, has_kind)
            {
                *value = now;
            }
        }
        true
    }
}

impl LabelRules {
    /// Gives a run the labels that are shown.
    pub(super) fn apply(&self, run: &mut ProjectRun) {
        if self.is_empty() {
            return;
        }
        let mut relabeling = Relabeling::new(self);
        for (_, measured) in &mut run.measured {
            for event in &mut measured.events {
                relabeling.apply(event.desc, &mut event.labels, |_| true);
            }
            for key in &mut measured.initializations {
                relabeling.apply(key.desc, &mut key.labels, |_| true);
            }
            let mut is_concerned = false;
            for state in &mut measured.states {
                is_concerned |= relabeling.apply(state.desc, &mut state.labels, |_| true);
            }
            if is_concerned {
                measured.states = merge::merged(self, std::mem::take(&mut measured.states));
            }
        }
        retired::apply(&mut relabeling, run);
    }
}
