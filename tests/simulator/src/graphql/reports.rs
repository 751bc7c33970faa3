//! Test report summaries of pipelines.

use async_graphql::{Context, ID, Object, Result, SimpleObject};

use super::page::{PageArguments, connection};
use super::{Asked, gid};
use crate::world::PipelineId;
use crate::world::reports::{CaseStatus, Suite};

/// What the jobs of a pipeline reported.
pub struct TestReportSummary(pub PipelineId);

/// All suites together.
#[derive(SimpleObject)]
pub struct TestReportTotal {
    time: Option<f64>,
    count: Option<i32>,
    success: Option<i32>,
    failed: Option<i32>,
    skipped: Option<i32>,
    error: Option<i32>,
    suite_error: Option<String>,
}

/// One suite.
#[derive(Clone, Debug)]
pub struct TestSuiteSummary(Suite);

connection!(TestSuiteSummaryConnection, TestSuiteSummaryEdge, TestSuiteSummary {
    async fn count(&self) -> i32 {
        number(self.0.total)
    }
});

fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

#[Object]
impl TestReportSummary {
    async fn total(&self, ctx: &Context<'_>) -> TestReportTotal {
        let suites = Asked::of(ctx).world().test_suites(self.0);
        let sum = |status| number(suites.iter().map(|suite| suite.count(status)).sum());
        TestReportTotal {
            time: Some(suites.iter().map(Suite::seconds).sum()),
            count: Some(number(suites.iter().map(|suite| suite.cases.len()).sum())),
            success: Some(sum(CaseStatus::Success)),
            failed: Some(sum(CaseStatus::Failed)),
            skipped: Some(sum(CaseStatus::Skipped)),
            error: Some(sum(CaseStatus::Error)),
            suite_error: None,
        }
    }

    async fn test_suites(
        &self,
        ctx: &Context<'_>,
        after: Option<String>,
        before: Option<String>,
        first: Option<i32>,
        last: Option<i32>,
    ) -> Result<TestSuiteSummaryConnection> {
        let page = PageArguments {
            after,
            before,
            first,
            last,
        };
        let asked = Asked::of(ctx);
        let suites = asked.world().test_suites(self.0).into_iter().zip(1..);
        let rows = suites.map(|(suite, place)| ((0, place), Some(TestSuiteSummary(suite))));
        page.cut(rows.collect(), false, asked.page_maximum())
            .map(TestSuiteSummaryConnection)
    }
}

#[Object]
impl TestSuiteSummary {
    async fn name(&self) -> Option<&str> {
        Some(&self.0.name)
    }

    async fn total_time(&self) -> Option<f64> {
        Some(self.0.seconds())
    }

    async fn total_count(&self) -> Option<i32> {
        Some(number(self.0.cases.len()))
    }

    async fn success_count(&self) -> Option<i32> {
        Some(number(self.0.count(CaseStatus::Success)))
    }

    async fn failed_count(&self) -> Option<i32> {
        Some(number(self.0.count(CaseStatus::Failed)))
    }

    async fn skipped_count(&self) -> Option<i32> {
        Some(number(self.0.count(CaseStatus::Skipped)))
    }

    async fn error_count(&self) -> Option<i32> {
        Some(number(self.0.count(CaseStatus::Error)))
    }

    async fn suite_error(&self) -> Option<&str> {
        self.0.suite_error.as_deref()
    }

    async fn build_ids(&self) -> Option<Vec<ID>> {
        Some(self.0.jobs.iter().map(|id| gid("Ci::Build", *id)).collect())
    }
}
