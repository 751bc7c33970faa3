//! What was read of a project's test reports.

use crate::clock::UnixSeconds;
use crate::facts::Problem;
use crate::gitlab::model::{TestCase, TestReport};
use crate::memory::test_reports::End;

/// What was read of a pipeline.
#[derive(Clone, Debug)]
pub struct ReportFacts {
    /// The pipeline and its end.
    pub end: End,
    /// When it was read, by GitLab's clock.
    pub read_at: UnixSeconds,
    /// Its summary, if it was wanted.
    pub report: Option<TestReport>,
    /// Its cases, if they were wanted.
    pub cases: Option<Vec<TestCase>>,
}

/// What was read of a project.
#[derive(Debug)]
pub struct ReportsRead {
    /// When, by GitLab's clock.
    pub at: UnixSeconds,
    pub reports: Vec<ReportFacts>,
    pub problems: Vec<Problem>,
}
