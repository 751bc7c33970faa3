//! Which metrics of `/metrics` a scrape asks for, as of node_exporter: `collect[]` and `exclude[]` name
//! collectors, `name[]` metrics.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::catalogue::{Collector, FamilyId};

/// Metrics of collectors of these names, and among them those of these names; all by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    collect: BTreeSet<Collector>,
    exclude: BTreeSet<Collector>,
    names: BTreeSet<String>,
}

/// Why a query selects nothing that there is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// No collector of this name.
    #[error("{parameter}={name:?} is not a collector; there are {}", collectors())]
    UnknownCollector {
        /// The parameter.
        parameter: &'static str,
        /// What it names.
        name: String,
    },
    /// Both say which collectors.
    #[error("collect[] and exclude[] cannot be combined; use one of them")]
    Both,
}

fn all() -> impl Iterator<Item = Collector> {
    let all = Collector::ALL.into_iter();
    all.chain([Collector::Exporter, Collector::Compat])
}

fn collectors() -> String {
    let names: Vec<&str> = all().map(Collector::as_str).collect();
    names.join(", ")
}

impl Selection {
    /// What a query string asks for; other parameters mean nothing.
    ///
    /// # Errors
    /// When it names a collector that there is not, or both ways of naming them.
    pub fn of_query(query: &str) -> Result<Self, SelectionError> {
        let mut selection = Self::default();
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let parameter = match &*key {
                "name[]" => {
                    selection.names.insert(value.into_owned());
                    continue;
                }
                "collect[]" => "collect[]",
                "exclude[]" => "exclude[]",
                _ => continue,
            };
            let collector = named(parameter, value)?;
            match parameter {
                "collect[]" => selection.collect.insert(collector),
                _ => selection.exclude.insert(collector),
            };
        }
        if !selection.collect.is_empty() && !selection.exclude.is_empty() {
            return Err(SelectionError::Both);
        }
        Ok(selection)
    }

    /// Whether it asks for all.
    #[must_use]
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it asks for a metric of data from GitLab.
    pub(super) fn has(&self, family: FamilyId) -> bool {
        let desc = family.desc();
        self.has_of(desc.collector, desc.name)
    }

    /// Whether it asks for a metric of the exporter itself.
    pub(super) fn has_own(&self, name: &str) -> bool {
        self.has_of(Collector::Exporter, name)
    }

    fn has_of(&self, collector: Collector, name: &str) -> bool {
        (self.collect.is_empty() || self.collect.contains(&collector))
            && !self.exclude.contains(&collector)
            && (self.names.is_empty() || self.names.contains(name))
    }
}

fn named(parameter: &'static str, name: Cow<'_, str>) -> Result<Collector, SelectionError> {
    let found = all().find(|collector| collector.as_str() == name);
    found.ok_or_else(|| SelectionError::UnknownCollector {
        parameter,
        name: name.into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_names_collectors_and_metrics() {
        let of = |query: &str| Selection::of_query(query).unwrap();
        assert!(of("").is_all() && of("a=b&name=c").is_all());
        let has = |query: &str, name: &str| of(query).has(FamilyId::by_name(name).unwrap());
        let jobs = "collect[]=jobs&collect%5B%5D=exporter";
        assert!(has(jobs, "age_job_status") && !has(jobs, "age_pipeline_status"));
        assert!(of(jobs).has_own("process_cpu_seconds_total"));
        let others = "exclude[]=jobs";
        assert!(!has(others, "age_job_status") && has(others, "age_pipeline_status"));
        let one = "collect[]=jobs&name[]=age_job_status&name[]=age_pipeline_id";
        assert!(has(one, "age_job_status"));
        assert!(!has(one, "age_pipeline_id") && !has(one, "age_job_id"));
        assert!(has("collect[]=compat", "gitlab_ci_pipeline_id"));
        let error = Selection::of_query("collect[]=job")
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("collect[]=\"job\" is not a collector; there are pipelines, "));
        let both = Selection::of_query("collect[]=jobs&exclude[]=dora");
        assert_eq!(both, Err(SelectionError::Both));
    }
}
