//! Test reports and variables of pipelines.

use serde::Deserialize;

use super::Get;
use crate::gitlab::GitLab;
use crate::gitlab::error::GitLabError;
use crate::gitlab::model::{Page, TestCase, TestCounts, TestReport, TestSuite, Variable, sensible};
use crate::types::{PipelineId, ProjectId, Text};

#[derive(Deserialize)]
pub(super) struct RestSummary {
    total: RestTotal,
    #[serde(default)]
    test_suites: Vec<RestSuite>,
}

#[derive(Deserialize)]
struct RestTotal {
    time: Option<f64>,
    count: Option<f64>,
    success: Option<f64>,
    failed: Option<f64>,
    skipped: Option<f64>,
    error: Option<f64>,
}

#[derive(Deserialize)]
struct RestSuite {
    name: Option<String>,
    total_time: Option<f64>,
    total_count: Option<f64>,
    success_count: Option<f64>,
    failed_count: Option<f64>,
    skipped_count: Option<f64>,
    error_count: Option<f64>,
    #[serde(default)]
    test_cases: Vec<RestCase>,
}

#[derive(Deserialize)]
struct RestCase {
    status: String,
    name: Option<String>,
    classname: Option<String>,
    execution_time: Option<f64>,
}

/// A report with all its cases.
#[derive(Deserialize)]
pub(super) struct RestReport {
    #[serde(default)]
    test_suites: Vec<RestSuite>,
}

#[derive(Deserialize)]
pub(super) struct RestVariable {
    key: String,
    value: Option<String>,
    variable_type: Option<String>,
}

/// A number of tests, or seconds; none where it is invalid.
fn number(value: Option<f64>) -> f64 {
    sensible(value).unwrap_or(0.0)
}

impl RestSuite {
    fn suite(&self) -> TestSuite {
        TestSuite {
            name: self.name.as_deref().unwrap_or_default().into(),
            counts: TestCounts {
                seconds: number(self.total_time),
                total: number(self.total_count),
                success: number(self.success_count),
                failed: number(self.failed_count),
                skipped: number(self.skipped_count),
                error: number(self.error_count),
            },
        }
    }
}

impl TryFrom<RestSummary> for TestReport {
    type Error = String;

    fn try_from(raw: RestSummary) -> Result<Self, String> {
        let total = raw.total;
        Ok(Self {
            total: TestCounts {
                seconds: number(total.time),
                total: number(total.count),
                success: number(total.success),
                failed: number(total.failed),
                skipped: number(total.skipped),
                error: number(total.error),
            },
            suites: raw.test_suites.iter().map(RestSuite::suite).collect(),
        })
    }
}

impl RestCase {
    /// With the class that it belongs to: names alone are often those of others, too.
    fn full_name(&self) -> Text {
        let name = self.name.as_deref().unwrap_or_default();
        match self.classname.as_deref().unwrap_or_default() {
            "" => name.into(),
            class => format!("{class}.{name}").into(),
        }
    }
}

/// The cases of a whole report.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cases(pub(super) Vec<TestCase>);

impl TryFrom<RestReport> for Cases {
    type Error = String;

    fn try_from(raw: RestReport) -> Result<Self, String> {
        let mut cases = Vec::new();
        for suite in raw.test_suites {
            let name: Text = suite.name.unwrap_or_default().into();
            cases.extend(suite.test_cases.into_iter().map(|case| TestCase {
                suite: name.clone(),
                class: case.classname.as_deref().unwrap_or_default().into(),
                name: case.full_name(),
                status: case.status.to_lowercase().into(),
                seconds: number(case.execution_time),
            }));
        }
        Ok(Self(cases))
    }
}

impl TryFrom<RestVariable> for Variable {
    type Error = String;

    fn try_from(raw: RestVariable) -> Result<Self, String> {
        if raw.key.is_empty() {
            return Err("key: empty".to_owned());
        }
        Ok(Self {
            key: raw.key.into(),
            value: raw.value.unwrap_or_default().into(),
            file: raw.variable_type.as_deref() == Some("file"),
        })
    }
}

impl GitLab {
    /// What a pipeline's jobs reported
    /// (`GET /projects/:id/pipelines/:pipeline_id/test_report_summary`).
    ///
    /// # Errors
    /// Those of any call.
    pub async fn test_report_summary(
        &self,
        project: ProjectId,
        pipeline: PipelineId,
    ) -> Result<TestReport, GitLabError> {
        let get = of_pipeline(
            "/projects/:id/pipelines/:pipeline_id/test_report_summary",
            project,
            pipeline,
            "test_report_summary",
        );
        self.get_one::<RestSummary, _>(&get).await
    }

    /// Every case of a pipeline's report (`GET /projects/:id/pipelines/:pipeline_id/test_report`):
    /// GitLab reads the artifacts for it, and returns none after they have expired.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn test_cases(
        &self,
        project: ProjectId,
        pipeline: PipelineId,
    ) -> Result<Vec<TestCase>, GitLabError> {
        let get = of_pipeline(
            "/projects/:id/pipelines/:pipeline_id/test_report",
            project,
            pipeline,
            "test_report",
        );
        let Cases(cases) = self.get_one::<RestReport, _>(&get).await?;
        Ok(cases)
    }

    /// The variables that a pipeline was started with
    /// (`GET /projects/:id/pipelines/:pipeline_id/variables`).
    ///
    /// # Errors
    /// Those of any call; 403 below Maintainer.
    pub async fn pipeline_variables(
        &self,
        project: ProjectId,
        pipeline: PipelineId,
    ) -> Result<Page<Variable>, GitLabError> {
        let get = of_pipeline(
            "/projects/:id/pipelines/:pipeline_id/variables",
            project,
            pipeline,
            "variables",
        );
        self.get_all::<RestVariable, _>(&get.in_one_page()).await
    }
}

fn of_pipeline(
    endpoint: &'static str,
    project: ProjectId,
    pipeline: PipelineId,
    what: &str,
) -> Get {
    let (project, pipeline) = (project.to_string(), pipeline.to_string());
    Get::new(
        endpoint,
        &["projects", &project, "pipelines", &pipeline, what],
    )
}
