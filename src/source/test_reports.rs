//! Test reports of pipelines that ended: summaries batched by GraphQL, what is missing there and all
//! cases by REST.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;

use super::batches::{Batches, PerProject};
use super::{Context, Fetched, Source, SourceError, Target, fetched, side_by_side};
use crate::catalogue::Collector;
use crate::clock::UnixSeconds;
use crate::config::TestReports;
use crate::facts::test_reports::{ReportFacts, ReportsRead};
use crate::facts::{Facts, Problem, Reading, Unavailable};
use crate::gitlab::graphql::ProjectReports;
use crate::gitlab::model::TestReport;
use crate::gitlab::{GitLab, GitLabError};
use crate::memory::test_reports::{Wanted, wanted};
use crate::types::{PipelineId, ProjectId};

/// Pipelines of one project that one poll reads by calls of their own.
const ALONE_AT_ONCE: usize = 20;
/// Calls of one project that run concurrently.
const CALLS_AT_ONCE: usize = 4;
/// Projects whose ends lie further back are asked for apart from the others.
const FRESH: Duration = Duration::from_secs(3600);

/// The source.
pub struct TestReportsSource {
    gitlab: GitLab,
    /// Whether test cases are measured one by one.
    cases: bool,
    batches: Batches,
}

/// Reports by pipeline.
type Summaries = BTreeMap<PipelineId, TestReport>;

impl TestReportsSource {
    /// The source of a GitLab.
    #[must_use]
    pub fn new(settings: &TestReports, gitlab: &GitLab) -> Self {
        Self {
            gitlab: gitlab.clone(),
            cases: settings.include_test_cases,
            batches: Batches::new(&gitlab.breaker(), GitLab::REPORT_PROJECTS),
        }
    }

    /// Summaries by GraphQL of the wanted pipelines, as far as it answers.
    async fn summaries(
        &self,
        wanted: &[(&Target, Vec<Wanted>)],
        at: UnixSeconds,
        now: UnixSeconds,
    ) -> PerProject<ProjectReports> {
        let oldest = |wanted: &[Wanted]| {
            let summaries = wanted.iter().filter(|one| one.summary);
            summaries.map(|one| one.end.at).min()
        };
        let oldest: BTreeMap<ProjectId, UnixSeconds> = wanted
            .iter()
            .filter_map(|(target, wanted)| Some((target.id(), oldest(wanted)?)))
            .collect();
        let (fresh, old): (Vec<ProjectId>, Vec<ProjectId>) =
            oldest.keys().partition(|id| at.since(oldest[*id]) <= FRESH);
        let ask = async |ids: Vec<ProjectId>| {
            let since = ids.iter().filter_map(|id| oldest.get(id)).min();
            let since = since.copied().unwrap_or(at);
            self.gitlab.test_reports(&ids, since).await
        };
        let id_of = |read: &ProjectReports| read.id;
        let mut found = self.batches.ask(&fresh, now, id_of, ask).await;
        found.extend(self.batches.ask(&old, now, id_of, ask).await);
        found
    }

    /// What is wanted of one project: by REST where GraphQL did not give it.
    async fn project(
        &self,
        target: &Target,
        wanted: Vec<Wanted>,
        summaries: Option<Result<ProjectReports, SourceError>>,
        at: UnixSeconds,
    ) -> Result<ReportsRead, SourceError> {
        let known = match summaries {
            Some(Ok(read)) => read.reports.items.into_iter().collect(),
            Some(Err(error)) if !error.rest_may_answer() => return Err(error),
            Some(Err(_)) | None => Summaries::new(),
        };
        let mut calls = 0;
        let mut reads = Vec::new();
        for wanted in wanted {
            let known = known.get(&wanted.end.id).cloned();
            if wanted.cases || (wanted.summary && known.is_none()) {
                calls += 1;
                // The others are read at the next poll.
                if calls > ALONE_AT_ONCE {
                    continue;
                }
            }
            reads.push(self.one(target.id(), wanted, known, at));
        }
        let mut read = ReportsRead {
            at,
            reports: Vec::new(),
            problems: Vec::new(),
        };
        for one in side_by_side(CALLS_AT_ONCE, reads).await {
            match one {
                Ok(facts) => read.reports.push(facts),
                // It was deleted since.
                Err(error) if error.is_object_not_found() => {}
                Err(error) if error.is_forbidden() => return Err(error.into()),
                Err(error) => {
                    let path = &target.project.full_path;
                    let collector = Collector::TestReports;
                    read.problems.push(Problem::call(path, collector, &error));
                }
            }
        }
        Ok(read)
    }

    async fn one(
        &self,
        project: ProjectId,
        wanted: Wanted,
        known: Option<TestReport>,
        read_at: UnixSeconds,
    ) -> Result<ReportFacts, GitLabError> {
        let id = wanted.end.id;
        let report = match known {
            Some(report) => Some(report),
            None if wanted.summary => Some(self.gitlab.test_report_summary(project, id).await?),
            None => None,
        };
        let cases = match wanted.cases {
            true => Some(self.gitlab.test_cases(project, id).await?),
            false => None,
        };
        Ok(ReportFacts {
            end: wanted.end,
            read_at,
            report,
            cases,
        })
    }
}

impl TestReportsSource {
    /// Reads some projects: one result for each.
    async fn read(
        &self,
        targets: &[Target],
        now: UnixSeconds,
    ) -> Vec<(ProjectId, Result<ReportsRead, SourceError>)> {
        let at = self.gitlab.server_time().unwrap_or(now);
        let wanted: Vec<(&Target, Vec<Wanted>)> = targets
            .iter()
            .map(|target| {
                let (known, memory) = (&target.memory.pipelines, &target.memory.test_reports);
                let subject = target.subject(&super::NO_PATHS, now);
                (target, wanted(subject, known, memory, self.cases, at))
            })
            .collect();
        let mut summaries = self.summaries(&wanted, at, now).await;
        let mut reads = Vec::new();
        for (target, wanted) in wanted {
            let known = summaries.remove(&target.id());
            reads.push(async move { (target.id(), self.project(target, wanted, known, at).await) });
        }
        side_by_side(CALLS_AT_ONCE, reads).await
    }
}

#[async_trait]
impl Source for TestReportsSource {
    fn reading(&self) -> Reading {
        Reading::TestReports
    }

    fn collectors(&self) -> &[Collector] {
        &[Collector::TestReports]
    }

    fn batch(&self) -> usize {
        GitLab::REPORT_PROJECTS
    }

    fn unavailable(&self, target: &Target) -> Option<Unavailable> {
        let why = "needs collectors.pipelines, which knows the newest pipelines";
        target
            .settings
            .interval(Collector::Pipelines)
            .is_none()
            .then_some(Unavailable::Settings(why))
    }

    async fn fetch(&self, targets: &[Target], context: &Context) -> Fetched {
        let read = self.read(targets, context.now).await;
        fetched(read, Facts::TestReports)
    }
}
