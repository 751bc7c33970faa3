//! Test report summaries of pipelines that moved, for a batch of projects.

use super::convert::gid;
use super::holes::{ProjectHoles, key};
use super::projects::{Messages, count, gids, over_projects};
use super::{Batch, queries};
use crate::clock::UnixSeconds;
use crate::gitlab::GitLab;
use crate::gitlab::error::GitLabError;
use crate::gitlab::model::{Page, TestCounts, TestReport, TestSuite, sensible};
use crate::types::{PipelineId, ProjectId};
use queries::test_reports::{
    self, TestReportsProjectsNodes as ProjectNode, TestReportsProjectsNodesPipelinesNodes as Node,
};

/// The test reports of one project's pipelines that moved.
#[derive(Clone, Debug, PartialEq)]
pub struct ProjectReports {
    /// The project.
    pub id: ProjectId,
    /// Its pipelines, newest first, children left out. Those with more suites than fit into a page
    /// are missing: REST has them whole.
    pub reports: Page<(PipelineId, TestReport)>,
}

impl Messages for ProjectReports {
    fn messages(&mut self, edit: &mut dyn FnMut(&mut Vec<String>)) {
        edit(&mut self.reports.skipped);
    }
}

impl GitLab {
    /// Most projects in one query for test reports.
    pub const REPORT_PROJECTS: usize = 50;
    /// Most pipelines that a project shows in it: the newest of those that moved.
    pub const REPORT_PIPELINES: u32 = 20;

    /// Test reports of pipelines that moved since a time, of up to [`Self::REPORT_PROJECTS`]
    /// projects, at most [`Self::REPORT_PIPELINES`] of each.
    ///
    /// # Errors
    /// When nothing at all could be read; single projects that could not are in the batch.
    pub async fn test_reports(
        &self,
        ids: &[ProjectId],
        since: UnixSeconds,
    ) -> Result<Batch<ProjectReports>, GitLabError> {
        let variables = test_reports::Variables {
            ids: gids(ids),
            projects: count(ids.len()),
            since: Some(since.to_string()),
            pipelines: self.page_size(Self::REPORT_PIPELINES),
            suites: self.page_size(100),
        };
        self.over_projects::<queries::TestReports>(ids, variables)
            .await
    }
}

over_projects!(queries::TestReports, test_reports, ProjectNode => ProjectReports, project);

fn project(node: ProjectNode, mut holes: ProjectHoles<'_>) -> Result<ProjectReports, String> {
    let id = ProjectId(gid("id", &node.id)?);
    let nodes = node.pipelines.and_then(|page| page.nodes);
    let page = holes.page(&[key("pipelines")], nodes, None, |node, _, _| convert(node));
    Ok(ProjectReports {
        id,
        reports: Page {
            items: page.items.into_iter().flatten().collect(),
            next: None,
            skipped: page.skipped,
        },
    })
}

/// A number of tests; none where it is invalid.
#[expect(clippy::cast_precision_loss, reason = "no report has 2^53 tests")]
fn number(value: Option<i64>) -> f64 {
    sensible(value.map(|value| value as f64)).unwrap_or(0.0)
}

/// Nothing when there are more suites than were read.
fn convert(node: Node) -> Result<Option<(PipelineId, TestReport)>, String> {
    let id = PipelineId(gid("id", &node.id)?);
    let summary = node.test_report_summary;
    if summary.test_suites.page_info.has_next_page {
        return Ok(None);
    }
    let total = summary.total;
    let suites = summary.test_suites.nodes.unwrap_or_default();
    let suites = suites.into_iter().flatten().map(|suite| TestSuite {
        name: suite.name.unwrap_or_default().into(),
        counts: TestCounts {
            seconds: sensible(suite.total_time).unwrap_or(0.0),
            total: number(suite.total_count),
            success: number(suite.success_count),
            failed: number(suite.failed_count),
            skipped: number(suite.skipped_count),
            error: number(suite.error_count),
        },
    });
    let report = TestReport {
        total: TestCounts {
            seconds: sensible(total.time).unwrap_or(0.0),
            total: number(total.count),
            success: number(total.success),
            failed: number(total.failed),
            skipped: number(total.skipped),
            error: number(total.error),
        },
        suites: suites.collect(),
    };
    Ok(Some((id, report)))
}
