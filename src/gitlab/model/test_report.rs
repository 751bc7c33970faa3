//! What tests a pipeline reported.

use serde::{Deserialize, Serialize};

use crate::types::Text;

/// Numbers of tests and the time they took together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TestCounts {
    /// Seconds.
    pub seconds: f64,
    /// All of them.
    pub total: f64,
    /// Passed.
    pub success: f64,
    /// Their expectation did not hold.
    pub failed: f64,
    /// Left out.
    pub skipped: f64,
    /// Ended with an error instead of a result.
    pub error: f64,
}

/// A suite of a pipeline's test report: the jobs of one name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TestSuite {
    /// Name of the jobs.
    pub name: Text,
    /// Its tests.
    pub counts: TestCounts,
}

/// What the jobs of a pipeline, and of its child pipelines in the same project, reported.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TestReport {
    /// All tests.
    pub total: TestCounts,
    /// The suites.
    pub suites: Vec<TestSuite>,
}

/// A test case of a report.
#[derive(Clone, Debug, PartialEq)]
pub struct TestCase {
    /// Name of its suite.
    pub suite: Text,
    /// The class that it belongs to; empty where the report has none.
    pub class: Text,
    /// Its name, with the class before it: names alone are often those of others, too.
    pub name: Text,
    /// GitLab's lower-case result: `success`, `failed`, `skipped`, `error`.
    pub status: Text,
    /// Seconds.
    pub seconds: f64,
}
