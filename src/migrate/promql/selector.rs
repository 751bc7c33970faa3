//! One selector: the name of its metric and its matchers.

use promql_parser::label::{MatchOp, Matcher, Matchers};
use promql_parser::parser::VectorSelector;

use super::families::{Family, New, families, family_of};
use super::labels::LabelNow;
use super::matchers::{Kinds, Op, Refs, matcher, of_ref};
use super::variables::has_variable;
use super::{Names, mentions_old};

/// A selector in new words.
pub(super) struct NewSelector {
    pub selector: VectorSelector,
    pub family: &'static Family,
    pub changes: Vec<String>,
}

/// The status that only the old program has.
const WITH_WARNINGS: &str = "success_with_warnings";

/// Rewrites a selector; nothing where it is of no metric of the old program.
pub(super) fn rewrite(old: &VectorSelector, names: &Names) -> Result<Option<NewSelector>, String> {
    let Some(name) = metric_name(old)? else {
        return Ok(None);
    };
    if names.recorded.contains(name) || !mentions_old(name) {
        return Ok(None);
    }
    let Some(family) = family_of(name) else {
        return Err(format!("{name} is no metric of {}", crate::migrate::OLD));
    };
    if !old.matchers.or_matchers.is_empty() {
        return Err("it has several sets of matchers (`or`)".to_owned());
    }
    let new = match family.new {
        New::Metric(new) | New::SumOf(new) | New::CountOf(new) => new,
        New::Nothing(why) => return Err(format!("{name} has no counterpart: {why}")),
    };
    let mut one = One {
        family,
        new,
        changes: Vec::new(),
    };
    if !family.change.is_empty() {
        one.change(format!("{new}: {}", family.change));
    }
    let matchers = old.matchers.matchers.iter();
    let matchers: Vec<Matcher> = matchers
        .filter(|one| one.name != "__name__")
        .cloned()
        .collect();
    let matchers = one.matchers(&matchers)?;
    Ok(Some(NewSelector {
        selector: VectorSelector {
            name: Some(one.new.to_owned()),
            matchers: Matchers::new(matchers),
            offset: old.offset.clone(),
            at: old.at.clone(),
        },
        family,
        changes: one.changes,
    }))
}

/// The metric of a selector.
fn metric_name(selector: &VectorSelector) -> Result<Option<&str>, String> {
    if let Some(name) = &selector.name {
        return Ok(Some(name));
    }
    for matcher in selector
        .matchers
        .matchers
        .iter()
        .filter(|one| one.name == "__name__")
    {
        match matcher.op {
            MatchOp::Equal => return Ok(Some(&matcher.value)),
            _ if families().iter().any(|family| matcher.is_match(family.old))
                && mentions_old(&matcher.value) =>
            {
                return Err("it selects metrics by an expression for their names".to_owned());
            }
            _ => {}
        }
    }
    Ok(None)
}

struct One {
    family: &'static Family,
    new: &'static str,
    changes: Vec<String>,
}

impl One {
    fn change(&mut self, sentence: String) {
        if !self.changes.contains(&sentence) {
            self.changes.push(sentence);
        }
    }

    fn has(&self, label: &str) -> bool {
        self.family
            .desc()
            .is_some_and(|desc| desc.labels.contains(&label))
    }

    fn had(&self, label: &str) -> bool {
        self.family.labels.contains(&label)
    }

    fn matchers(&mut self, old: &[Matcher]) -> Result<Vec<Matcher>, String> {
        let kinds = Kinds::of(old);
        let refs = Refs {
            has_kind: self.has("kind"),
            counts: self.family.kind == "counter",
        };
        let had_refs = self.had("ref") && self.has("ref");
        let mut new = Vec::new();
        let mut selects_kind = false;
        for one in old {
            match one.name.as_str() {
                "ref" if had_refs => {
                    let found = of_ref(one, &kinds, refs)?;
                    selects_kind |= found.selects_kind;
                    new.push(found.matcher);
                }
                "kind" if self.had("kind") && had_refs && !refs.has_kind => {}
                "status" if self.had("status") => new.extend(self.status(one, old)?),
                "available" if self.had("available") => new.push(available(one)?),
                "job" | "instance" => {
                    self.change(format!(
                        "{}=… selects the scrape of the old exporter: adapt it to that of the new one",
                        one.name
                    ));
                    new.push(one.clone());
                }
                _ => new.extend(self.other(one)?),
            }
        }
        let is_restricted = old.iter().any(|one| one.name == "kind");
        if is_restricted && self.had("kind") && had_refs && !refs.has_kind && !selects_kind {
            new.extend(kinds.as_ref_matcher()?);
        }
        Ok(new)
    }

    /// A matcher of a label that keeps its name, gets another, or has no counterpart.
    fn other(&self, one: &Matcher) -> Result<Option<Matcher>, String> {
        match self.family.label(&one.name) {
            LabelNow::Same => Ok(Some(one.clone())),
            LabelNow::Renamed(name) => Ok(Some(Matcher {
                name: name.to_owned(),
                ..one.clone()
            })),
            // A matcher that matched every value selects nothing.
            LabelNow::Empty if has_variable(&one.value) || one.is_match("") => Ok(None),
            LabelNow::Empty => Err(format!(
                "{} was always empty, so it never matched",
                one.name
            )),
            LabelNow::Nothing => {
                let all = ["x", "a.b/c", "1"].iter().all(|value| one.is_match(value));
                match all && Op::of(one) == Op::Regex && !has_variable(&one.value) {
                    true => Ok(None),
                    false => Err(format!(
                        "it selects by {}, which {} does not have{}",
                        one.name,
                        self.new,
                        match one.name.as_str() {
                            "variables" =>
                                ": age_pipeline_variable_info has a series for each variable, to be joined by `* \
                                 on(project, kind, ref) group_left(value)`",
                            "source" => ": age_pipeline_status has it",
                            "failure_reason" =>
                                ": age_job_status and age_job_failures_total have it",
                            "runner_description" | "tag_list" => ": age_job_runner_info has it",
                            _ => "",
                        }
                    )),
                }
            }
        }
    }

    fn status(&mut self, one: &Matcher, all: &[Matcher]) -> Result<Option<Matcher>, String> {
        if has_variable(&one.value) {
            return Ok(Some(one.clone()));
        }
        let (with_warnings, success) = (one.is_match(WITH_WARNINGS), one.is_match("success"));
        let names_it = one.value.contains(WITH_WARNINGS);
        match self.family.old {
            "gitlab_ci_pipeline_status" if with_warnings && !success && names_it => {
                self.warnings(one, all)?;
                return Ok(None);
            }
            "gitlab_ci_pipeline_status" if success && !with_warnings => {
                self.change(
                    "status success includes pipelines whose jobs with allow_failure failed \
                     (success_with_warnings before); age_pipeline_warnings is 1 for these"
                        .to_owned(),
                );
            }
            "gitlab_ci_pipeline_job_status"
                if with_warnings && names_it && !one.is_match("failed") =>
            {
                return Err(
                    "jobs have no status success_with_warnings here: they failed, and are counted in \
                     age_job_allowed_failures_total"
                        .to_owned(),
                );
            }
            "gitlab_ci_pipeline_job_status" if one.is_match("failed") && !with_warnings => {
                self.change(
                    "status failed includes jobs with allow_failure (success_with_warnings before); \
                     age_job_failures_total counts without them"
                        .to_owned(),
                );
            }
            _ => {}
        }
        Ok(Some(one.clone()))
    }

    /// `success_with_warnings` alone is a metric of its own here.
    fn warnings(&mut self, one: &Matcher, all: &[Matcher]) -> Result<(), String> {
        let others = |label: &str| all.iter().any(|other| other.name == label);
        if Op::of(one) != Op::Equal || others("source") || others("variables") {
            return Err(
                "success_with_warnings is age_pipeline_warnings here, which has neither source nor variables"
                    .to_owned(),
            );
        }
        self.new = "age_pipeline_warnings";
        self.change(
            "age_pipeline_warnings is 1 for a pipeline with warnings, and absent for others; it has no label status \
             and source"
                .to_owned(),
        );
        Ok(())
    }
}

/// `available` was true or false; `state` is available, stopping or stopped.
fn available(old: &Matcher) -> Result<Matcher, String> {
    if has_variable(&old.value) {
        return Err(
            "available is a dashboard variable; the label state here is available or stopped"
                .to_owned(),
        );
    }
    match (old.is_match("true"), old.is_match("false")) {
        (true, false) => matcher("state", Op::Equal, "available"),
        (false, true) => matcher("state", Op::NotEqual, "available"),
        (true, true) => matcher("state", Op::Regex, ".*"),
        (false, false) => Err("its matcher of available matches neither true nor false".to_owned()),
    }
}
