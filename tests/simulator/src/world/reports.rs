//! Test reports of jobs, and how pipelines sum them up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::World;
use super::ci::{Job, JobKind, Pipeline, Status};
use super::model::{JobId, PipelineId};

/// The result of a test case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaseStatus {
    /// Passed.
    Success,
    /// Its expectation did not hold.
    Failed,
    /// Left out.
    Skipped,
    /// Broke.
    Error,
}

impl CaseStatus {
    /// GitLab's value, the same in REST and (upper or lower case) elsewhere.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Error => "error",
        }
    }
}

/// A test case of a report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestCase {
    /// Its name.
    pub name: Arc<str>,
    /// Its class.
    #[serde(default)]
    pub classname: Arc<str>,
    /// Its result.
    pub status: CaseStatus,
    /// Seconds.
    #[serde(default)]
    pub seconds: f64,
}

/// What a job reported.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobReport {
    /// Its test cases.
    #[serde(default)]
    pub cases: Vec<TestCase>,
    /// Why its file could not be read: then it counts nothing.
    #[serde(default)]
    pub suite_error: Option<Arc<str>>,
}

fn full_name(case: &TestCase) -> Arc<str> {
    match &*case.classname {
        "" => case.name.clone(),
        class => format!("{class}.{}", case.name).into(),
    }
}

impl JobReport {
    /// With one more case.
    #[must_use]
    pub fn case(mut self, name: &str, status: CaseStatus, seconds: f64) -> Self {
        self.cases.push(TestCase {
            name: name.into(),
            classname: "spec".into(),
            status,
            seconds,
        });
        self
    }

    /// A file that GitLab cannot read.
    #[must_use]
    pub fn broken(why: &str) -> Self {
        Self {
            cases: Vec::new(),
            suite_error: Some(why.into()),
        }
    }
}

/// A suite of a pipeline's report: the cases of the jobs of one name.
#[derive(Clone, Debug, PartialEq)]
pub struct Suite {
    /// Name of the jobs.
    pub name: Arc<str>,
    /// The jobs.
    pub jobs: Vec<JobId>,
    /// Their cases.
    pub cases: Vec<TestCase>,
    /// Why one of their files could not be read.
    pub suite_error: Option<Arc<str>>,
}

impl Suite {
    /// Seconds that all cases took.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.cases.iter().map(|case| case.seconds).sum()
    }

    /// Number of cases with a result.
    #[must_use]
    pub fn count(&self, status: CaseStatus) -> usize {
        let cases = self.cases.iter();
        cases.filter(|case| case.status == status).count()
    }
}

impl World {
    /// Says what a job reported, in place of what it would report by itself.
    pub fn report_tests(&mut self, job: JobId, report: JobReport) {
        self.extras.reports.insert(job, report);
    }

    /// The suites of a pipeline, by name: those of its own finished jobs and of its child pipelines',
    /// without retried ones.
    #[must_use]
    pub fn test_suites(&self, pipeline: PipelineId) -> Vec<Suite> {
        let mut suites: BTreeMap<Arc<str>, Suite> = BTreeMap::new();
        for id in self.with_children(pipeline) {
            for job in self.jobs_of(id) {
                let Some(report) = self.report_of(job) else {
                    continue;
                };
                let suite = suites.entry(job.name.clone()).or_insert_with(|| Suite {
                    name: job.name.clone(),
                    jobs: Vec::new(),
                    cases: Vec::new(),
                    suite_error: None,
                });
                suite.jobs.push(job.id);
                suite.cases.extend(report.cases);
                suite.suite_error = suite.suite_error.take().or(report.suite_error);
            }
        }
        for suite in suites.values_mut() {
            if suite.suite_error.is_some() {
                suite.cases.clear();
            }
        }
        suites.into_values().collect()
    }

    /// Suite and name, with the class, of a pipeline's test cases that were not left out.
    pub(super) fn cases_run(&self, pipeline: PipelineId) -> Vec<(Arc<str>, Arc<str>)> {
        let suites = self.test_suites(pipeline).into_iter();
        let cases = suites.flat_map(|suite| {
            let run = suite.cases.into_iter();
            let run = run.filter(|case| case.status != CaseStatus::Skipped);
            run.map(move |case| (suite.name.clone(), full_name(&case)))
        });
        cases.collect()
    }

    /// A pipeline and its child pipelines in the same project, to any depth.
    fn with_children(&self, pipeline: PipelineId) -> BTreeSet<PipelineId> {
        let mut found = BTreeSet::from([pipeline]);
        let mut open = vec![pipeline];
        while let Some(id) = open.pop() {
            let Some(parent) = self.pipeline(id) else {
                continue;
            };
            let is_child =
                |child: &Pipeline| child.is_child() && child.project_id == parent.project_id;
            for child in self.downstream_of(parent) {
                if is_child(&child) && found.insert(child.id) {
                    open.push(child.id);
                }
            }
        }
        found
    }

    fn report_of(&self, job: &Job) -> Option<JobReport> {
        let ended = matches!(job.status, Status::Success | Status::Failed);
        if job.retried || !ended || job.kind != JobKind::Build {
            return None;
        }
        match self.extras.reports.get(&job.id) {
            Some(report) => Some(report.clone()),
            None => self.own_report(job),
        }
    }

    /// What a job of the stage `test` reports by itself, if the world's settings say so.
    fn own_report(&self, job: &Job) -> Option<JobReport> {
        let count = self.config().tests_per_job;
        if count == 0 || &*job.stage != "test" {
            return None;
        }
        let cases = (0..count).map(|index| {
            let luck = self.luck(&[job.id, index as u64]);
            TestCase {
                name: format!("case {index}").into(),
                classname: format!("spec.{}", job.name).into(),
                status: match luck % 100 {
                    0..3 if job.status == Status::Failed => CaseStatus::Error,
                    3..15 if job.status == Status::Failed => CaseStatus::Failed,
                    15..20 => CaseStatus::Skipped,
                    _ => CaseStatus::Success,
                },
                seconds: ((luck >> 8) % 4_000) as f64 / 1_000.0,
            }
        });
        Some(JobReport {
            cases: cases.collect(),
            suite_error: None,
        })
    }

    /// A number that is the same in every world of this seed, and that no other draw depends on.
    pub(super) fn luck(&self, of: &[u64]) -> u64 {
        of.iter().fold(self.config().seed, |state, part| {
            let mut mixed = (state ^ part).wrapping_add(0x9E37_79B9_7F4A_7C15);
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            mixed ^ (mixed >> 31)
        })
    }
}
