//! What hangs on pipelines, projects and runners beside pipelines and jobs: test reports, variables,
//! schedules, runners.

use serde::{Deserialize, Serialize};

use super::{PipelineId, RunnerType, Status, Text};
use crate::clock::UnixSeconds;

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
    /// Its name.
    pub name: Text,
    /// GitLab's lower-case result: `success`, `failed`, `skipped`, `error`.
    pub status: Text,
    /// Seconds.
    pub seconds: f64,
}

/// A variable that a pipeline was started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Key.
    pub key: Text,
    /// Value.
    pub value: Text,
    /// Whether its value is the content of a file.
    pub file: bool,
}

/// A pipeline schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Its id.
    pub id: u64,
    /// What people call it.
    pub description: Text,
    /// Branch or tag, without `refs/heads/` or `refs/tags/`.
    pub git_ref: Text,
    /// Whether it is switched on.
    pub active: bool,
    /// When it runs next; GitLab keeps a time for one that is switched off.
    pub next_run_at: Option<UnixSeconds>,
    /// Its newest pipeline; none when there is none, or the token may not see it.
    pub last_pipeline: Option<LastPipeline>,
}

/// The newest pipeline of a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastPipeline {
    /// Its id.
    pub id: PipelineId,
    /// Its status now.
    pub status: Status,
}

/// Branch or tag as people know it.
pub(crate) fn short_ref(git_ref: &str) -> &str {
    let heads = git_ref.strip_prefix("refs/heads/");
    heads
        .or_else(|| git_ref.strip_prefix("refs/tags/"))
        .unwrap_or(git_ref)
}

/// A runner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runner {
    /// Its id.
    pub id: u64,
    /// What people call it.
    pub description: Text,
    /// Whom it serves.
    pub runner_type: RunnerType,
    /// Whether it takes no jobs.
    pub paused: bool,
    /// Whether it has contacted GitLab within the last two hours.
    pub online: bool,
    /// Last contact; none if it never was, or if this way of reading does not tell.
    pub contacted_at: Option<UnixSeconds>,
    /// The processes that work for it, as far as they were read.
    pub managers: Vec<RunnerManager>,
}

/// A process that works for a runner.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunnerManager {
    /// Version of the program.
    pub version: Text,
    /// Operating system.
    pub platform: Text,
    /// Kind of processor.
    pub architecture: Text,
}
