//! What the projects that were found will cost: samples of a scrape, memory, what Prometheus stores.
//!
//! Samples follow from the catalogue: each metric has as many series as its labels have values. How many refs
//! and jobs there are is assumed; memory per series was measured (docs/performance.md).

use std::fmt;

use super::{Access, Column, Report};
use crate::catalogue::buckets::BucketSettings;
use crate::catalogue::{Collector, Desc, Kind};
use crate::config::ProjectSettings;
use crate::gitlab::model::Status;

/// What a project has on average.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assumed {
    /// Branches, tags and merge requests that are selected.
    pub refs: u32,
    /// Jobs in a pipeline of a ref.
    pub jobs: u32,
    /// Environments.
    pub environments: u32,
}

impl Default for Assumed {
    /// As in the measurements of `docs/performance.md`, with fewer jobs.
    fn default() -> Self {
        Self {
            refs: 4,
            jobs: 20,
            environments: 3,
        }
    }
}

/// Samples and series of the exporter's own metrics, about.
const OWN: f64 = 700.0;
/// Resident memory without series, in bytes.
const BASE: f64 = 32e6;
/// Resident memory per series, where a histogram is one.
const PER_SERIES: f64 = 115.0;
/// Size of the state file per job of a ref, and per project.
const STATE: (f64, f64) = (180.0, 1000.0);
/// Seconds between two scrapes.
const SCRAPE: f64 = 30.0;
/// What Prometheus stores of a sample, in bytes, where values change ten times a day; 1 to 2 in general, by its
/// documentation.
const PER_SAMPLE: f64 = 1.0;
/// Memory of Prometheus per series that is scraped, in bytes.
const HEAD: f64 = 3000.0;
const DAY: f64 = 86_400.0;

/// The estimate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    assumed: Assumed,
    projects: usize,
    /// Samples of a scrape after the first sync: states.
    pub states: f64,
    /// Samples when every ref and job has counted.
    pub counted: f64,
    /// Series of the latter, where a histogram is one.
    series: f64,
}

/// How many values a label has in a project, on average; `None` if that is not known.
fn values(label: &str, kind: Kind, assumed: Assumed, is_sparse: bool) -> Option<f64> {
    let is_state = kind == Kind::Gauge;
    Some(match label {
        "project" | "parent_project" | "parent_ref" | "kind" | "stage" | "visibility"
        | "archived" | "default_branch" | "external_url" | "runner_type" | "bridge_name"
        | "tier" | "environment_id" | "commit" | "latest_commit" | "job_id" | "user" | "topics" => {
            1.0
        }
        "ref" => assumed.refs.into(),
        "job_name" => assumed.jobs.into(),
        "environment" => assumed.environments.into(),
        "environment_tier" => f64::from(assumed.environments.min(2)),
        "target_branch" => 1.0,
        // Of a state one, of an event success and failure.
        "status" if is_state && is_sparse => 1.0,
        "status" if is_state => Status::KNOWN.len() as f64,
        "status" => 2.0,
        // A state has the reason of its failure, and few jobs fail.
        "failure_reason" if is_state => 1.0,
        "failure_reason" => 0.3,
        "source" if is_state => 1.0,
        // By a push and by something else.
        "source" => 1.5,
        "state" if is_state => 2.0,
        "reviewer" | "author" => 5.0,
        "suite_name" => 2.0,
        "schedule" => 0.5,
        "language" => 4.0,
        "stage_name" => 6.0,
        "severity" => 6.0,
        "key" => 2.0,
        "value" => 1.0,
        _ => return None,
    })
}

/// Events that most jobs never have, as a share of them.
fn share(name: &str) -> f64 {
    match name {
        "age_job_flaky_total" | "age_job_retries_total" | "age_job_allowed_failures_total" => 0.1,
        "age_job_running_since_timestamp" | "age_pipeline_running_since_timestamp" => 0.1,
        name if name.starts_with("age_child_pipeline_") => 0.1,
        _ => 1.0,
    }
}

/// Series of a metric in a project; none for what is not known before it is read: test cases, runners and
/// their tags.
fn series(desc: &Desc, assumed: Assumed, is_sparse: bool) -> f64 {
    let labels = desc.labels.iter();
    let values = labels.map(|label| values(label, desc.kind, assumed, is_sparse));
    let subjects: Option<f64> = values.product();
    // A schedule and an environment name one ref.
    let has_one_ref = ["schedule", "environment"]
        .iter()
        .any(|one| desc.labels.contains(one))
        && desc.labels.contains(&"ref");
    let subjects = match has_one_ref {
        true => subjects.map(|all| all / f64::from(assumed.refs.max(1))),
        false => subjects,
    };
    subjects.unwrap_or_default() * share(desc.name)
}

impl Estimate {
    /// Of projects with their collectors.
    fn of<'a>(
        projects: impl Iterator<Item = (&'a ProjectSettings, Vec<Collector>)>,
        buckets: &BucketSettings,
        assumed: Assumed,
    ) -> Self {
        let mut estimate = Self {
            assumed,
            projects: 0,
            states: OWN,
            counted: OWN,
            series: OWN,
        };
        for (settings, collectors) in projects {
            estimate.projects += 1;
            let entries = collectors.iter().flat_map(|one| one.entries());
            for desc in entries.filter(|desc| desc.implemented) {
                let series = series(desc, assumed, settings.output_sparse_status_metrics);
                let samples = match desc.kind {
                    // Its bounds, infinity, sum and count.
                    Kind::Histogram => series * (buckets.bounds(desc).len() + 3) as f64,
                    Kind::Counter | Kind::Gauge => series,
                };
                if desc.kind == Kind::Gauge {
                    estimate.states += samples;
                }
                estimate.counted += samples;
                estimate.series += series;
            }
        }
        estimate
    }

    pub(super) fn memory(&self) -> f64 {
        BASE + self.series * PER_SERIES
    }

    pub(super) fn state_file(&self) -> f64 {
        let jobs = f64::from(self.assumed.refs) * f64::from(self.assumed.jobs);
        self.projects as f64 * (STATE.1 + STATE.0 * jobs)
    }
}

impl Report {
    /// What the projects that were found will cost.
    #[must_use]
    pub fn estimate(&self, buckets: &BucketSettings, assumed: Assumed) -> Estimate {
        let projects = self.projects.iter().enumerate();
        let projects = projects.map(|(place, (_, settings))| {
            let reads = self.collectors.iter().filter(|(_, column)| match column {
                Column::Off => false,
                Column::On(all) => {
                    let access = all.get(place);
                    matches!(access, Some(Access::Reads | Access::Unknown))
                }
            });
            let reads = reads.map(|(collector, _)| *collector).collect();
            (&**settings, reads)
        });
        Estimate::of(projects, buckets, assumed)
    }
}

/// A number with a comma at each thousand, in two digits that count.
fn rounded(number: f64) -> String {
    let digits = number.max(1.0).log10().floor();
    let unit = 10_f64.powf((digits - 1.0).max(0.0));
    let text = format!("{:.0}", (number / unit).round() * unit);
    let mut grouped = String::new();
    for (place, digit) in text.chars().enumerate() {
        if place > 0 && (text.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Bytes in MB or GB.
fn bytes(bytes: f64) -> String {
    match bytes {
        large if large >= 1e10 => format!("{} GB", rounded(large / 1e9)),
        large if large >= 1e9 => format!("{:.1} GB", large / 1e9),
        small => format!("{} MB", rounded((small / 1e6).ceil())),
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Assumed {
            refs,
            jobs,
            environments,
        } = self.assumed;
        let projects = match self.projects {
            1 => "1 project".to_owned(),
            count => format!("{count} projects"),
        };
        writeln!(
            f,
            "Estimate    for {projects} with {refs} refs, {jobs} jobs per ref and {environments} environments each \
             (--refs, --jobs, --environments); without test cases and runners"
        )?;
        let (first, last) = (self.states, self.counted);
        let rows = [
            (
                "samples",
                format!(
                    "{} per scrape after the first sync, up to {} when every job has run",
                    rounded(first),
                    rounded(last)
                ),
            ),
            (
                "exporter",
                format!(
                    "{} of memory, {} of state file",
                    bytes(self.memory()),
                    bytes(self.state_file())
                ),
            ),
            (
                "Prometheus",
                format!(
                    "{} to {} samples per second at one scrape in {SCRAPE} s, {} to {} of disk in 30 days, {} to {} \
                     of memory",
                    rounded(first / SCRAPE),
                    rounded(last / SCRAPE),
                    bytes(first / SCRAPE * DAY * 30.0 * PER_SAMPLE),
                    bytes(last / SCRAPE * DAY * 30.0 * PER_SAMPLE),
                    bytes(first * HEAD),
                    bytes(last * HEAD),
                ),
            ),
        ];
        for (name, text) in rows {
            writeln!(f, "  {name:10}{text}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue;
    use crate::config::Config;

    fn collectors(names: &[&str]) -> Vec<Collector> {
        let all = Collector::ALL.into_iter();
        all.filter(|one| names.contains(&one.as_str())).collect()
    }

    /// The default collectors of so many equal projects.
    fn estimate(projects: usize, assumed: Assumed) -> Estimate {
        let settings = ProjectSettings::default();
        let on = collectors(&[
            "pipelines",
            "child_pipelines",
            "jobs",
            "merge_requests",
            "code_review",
            "dora",
            "value_stream",
            "repository",
        ]);
        let projects = (0..projects).map(|_| (&settings, on.clone()));
        Estimate::of(projects, &BucketSettings::default(), assumed)
    }

    /// The figures of section *whole* and *Cost for Prometheus* in docs/performance.md: series and memory.
    #[test]
    fn it_agrees_with_what_was_measured() {
        let of = |refs, jobs| Assumed {
            refs,
            jobs,
            environments: 3,
        };
        let near = |what: &str, estimated: f64, measured: f64| {
            let ratio = estimated / measured;
            assert!(
                (0.7..1.45).contains(&ratio),
                "{what}: {estimated} for {measured}"
            );
        };
        for (projects, refs, series, memory) in [
            (100, 1, 46_738.0, 34.2e6),
            (1000, 1, 467_289.0, 83.1e6),
            (100, 4, 184_482.0, 60.5e6),
            (1000, 4, 1_844_839.0, 236.9e6),
        ] {
            let estimate = estimate(projects, of(refs, 50));
            near("samples", estimate.states, series);
            let states = BASE + estimate.states * PER_SERIES;
            near("memory", states, memory);
        }
        near("samples", estimate(300, of(4, 12)).states, 95_502.0);
        let state = estimate(1000, of(4, 50)).state_file();
        near("state file", state, 35.656e6);
    }

    #[test]
    fn every_label_of_a_project_has_a_number() {
        // What is not known before it is read.
        let unknown = [
            "case_name",
            "suite",
            "runner_id",
            "description",
            "runner_description",
        ];
        for desc in catalogue::all().filter(|desc| desc.labels.contains(&"project")) {
            if desc.labels.iter().any(|label| unknown.contains(label)) {
                continue;
            }
            let series = series(desc, Assumed::default(), true);
            assert!(series > 0.0, "{}: {:?}", desc.name, desc.labels);
        }
    }

    #[test]
    fn collectors_refs_jobs_and_statuses_count() {
        let small = estimate(10, Assumed::default());
        let more_refs = Assumed {
            refs: 8,
            ..Assumed::default()
        };
        let more_jobs = Assumed {
            jobs: 40,
            ..Assumed::default()
        };
        for other in [more_refs, more_jobs] {
            let large = estimate(10, other);
            assert!(large.states > 1.5 * small.states, "{large:?} {small:?}");
            assert!(large.counted > 1.5 * small.counted, "{large:?} {small:?}");
        }
        let yaml = "gitlab: {token: t}\nwildcards: [{}]\n\
                    project_defaults: {output_sparse_status_metrics: false}";
        let config = Config::from_yaml(yaml).expect("a configuration");
        let jobs = || collectors(&["jobs"]);
        let of = |settings: &ProjectSettings| {
            let projects = [(settings, jobs())].into_iter();
            Estimate::of(projects, &BucketSettings::default(), Assumed::default()).states
        };
        let sparse = of(&ProjectSettings::default());
        let all = of(&config.project_defaults);
        // Twelve statuses more of 4 times 20 jobs.
        assert_eq!((all - sparse).round(), 960.0);
    }

    /// The table of docs/sizing.md.
    fn table() -> String {
        let mut out = String::from(
            "| projects | refs | jobs per ref | samples per scrape | memory of the exporter | state file | Prometheus: samples \
             per second | disk in 30 days | memory |\n|---|---|---|---|---|---|---|---|---|\n",
        );
        for (projects, refs, jobs) in [
            (100, 1, 10),
            (100, 4, 20),
            (100, 10, 50),
            (1000, 1, 10),
            (1000, 4, 20),
            (1000, 4, 50),
            (10_000, 1, 10),
            (10_000, 4, 20),
        ] {
            let assumed = Assumed {
                refs,
                jobs,
                environments: 3,
            };
            let estimate = estimate(projects, assumed);
            let both = |show: &dyn Fn(f64) -> String| {
                let ends = [estimate.states, estimate.counted];
                ends.map(show).join(" to ")
            };
            out += &format!(
                "| {} | {refs} | {jobs} | {} | {} | {} | {} | {} | {} |\n",
                rounded(projects as f64),
                both(&|samples| rounded(samples)),
                bytes(estimate.memory()),
                bytes(estimate.state_file()),
                both(&|samples| rounded(samples / SCRAPE)),
                both(&|samples| bytes(samples / SCRAPE * DAY * 30.0 * PER_SAMPLE)),
                both(&|samples| bytes(samples * HEAD)),
            );
        }
        out
    }

    #[test]
    fn the_table_of_docs_sizing_md_is_up_to_date() {
        const BEGIN: &str = "<!-- sizing: written by UPDATE_DOCS=1 cargo test --lib -->\n\n";
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/sizing.md");
        let written = std::fs::read_to_string(path).unwrap();
        let (before, rest) = written.split_once(BEGIN).unwrap();
        let (_, after) = rest.split_once("\n\n").unwrap();
        let fresh = format!("{before}{BEGIN}{}\n{after}", table());
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, &fresh).unwrap();
        } else {
            assert!(
                written == fresh,
                "docs/sizing.md is old: UPDATE_DOCS=1 cargo test --lib writes it"
            );
        }
    }

    #[test]
    fn it_is_readable() {
        let text = estimate(120, Assumed::default()).to_string();
        assert!(
            text.starts_with("Estimate    for 120 projects with 4 refs, 20 jobs per ref"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 4, "{text}");
        assert_eq!(rounded(1_844_839.0), "1,800,000");
        assert_eq!(rounded(7.0), "7");
        assert_eq!(bytes(2_340_000_000.0), "2.3 GB");
        assert_eq!(bytes(34_100_000.0), "35 MB");
        assert_eq!(bytes(1_149_500_000_000.0), "1,100 GB");
    }
}
