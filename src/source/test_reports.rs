//! Test reports of pipelines that ended: summaries batched by GraphQL, what is missing there and all
//! cases by REST.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::gate::Gate;
use super::{Problem, Reading, Source, SourceError, Target, Unavailable, side_by_side};
use crate::clock::UnixSeconds;
use crate::collector::test_reports::{ReportFacts, TestReports, Wanted};
use crate::collector::{Measures, Subject};
use crate::config::Collectors;
use crate::gitlab::model::{PipelineId, ProjectId, TestReport};
use crate::gitlab::{GitLab, GitLabError};
use crate::project::ProjectMemory;
use crate::telemetry::catalogue::Collector;

/// Pipelines of one project that one look reads by calls of their own.
const ALONE_AT_ONCE: usize = 20;
/// Calls of one project that run side by side.
const CALLS_AT_ONCE: usize = 4;
/// Projects whose ends lie further back are asked for apart from the others.
const FRESH: Duration = Duration::from_secs(3600);

/// What was read of a project.
#[derive(Debug)]
pub struct ReportsRead {
    /// When, by GitLab's clock.
    at: UnixSeconds,
    reports: Vec<ReportFacts>,
    problems: Vec<Problem>,
}

/// The source.
pub struct TestReportsSource {
    gitlab: GitLab,
    collector: TestReports,
    interval: Duration,
    /// Whether the collector that remembers pipelines is enabled.
    pipelines: bool,
    gate: Gate,
}

/// Reports by pipeline.
type Summaries = BTreeMap<PipelineId, TestReport>;

impl TestReportsSource {
    /// The source, where it is enabled.
    #[must_use]
    pub fn new(settings: &Collectors, gitlab: &GitLab) -> Option<Self> {
        let own = &settings.test_reports;
        own.enabled.then(|| Self {
            gitlab: gitlab.clone(),
            collector: TestReports {
                include_cases: own.include_test_cases,
            },
            interval: own.interval,
            pipelines: settings.pipelines.enabled,
            gate: Gate::new(GitLab::REPORT_PROJECTS),
        })
    }

    /// Summaries by GraphQL of the wanted pipelines, as far as it answers.
    async fn summaries(
        &self,
        wanted: &[(&Target, Vec<Wanted>)],
        at: UnixSeconds,
        now: UnixSeconds,
    ) -> BTreeMap<ProjectId, Result<Summaries, SourceError>> {
        let mut found = BTreeMap::new();
        let oldest = |wanted: &[Wanted]| {
            let summaries = wanted.iter().filter(|one| one.summary);
            summaries.map(|one| one.end.at).min()
        };
        let (fresh, old): (Vec<_>, Vec<_>) = wanted
            .iter()
            .filter_map(|(target, wanted)| Some((target.id(), oldest(wanted)?)))
            .partition(|(_, oldest)| at.since(*oldest) <= FRESH);
        for mut group in [fresh, old] {
            while let Some(size) = self.gate.size(&self.gitlab, now)
                && !group.is_empty()
            {
                let chunk = group.split_off(group.len().saturating_sub(size));
                self.ask(&chunk, now, &mut found).await;
            }
        }
        found
    }

    async fn ask(
        &self,
        chunk: &[(ProjectId, UnixSeconds)],
        now: UnixSeconds,
        found: &mut BTreeMap<ProjectId, Result<Summaries, SourceError>>,
    ) {
        let ids: Vec<ProjectId> = chunk.iter().map(|(id, _)| *id).collect();
        let Some(since) = chunk.iter().map(|(_, since)| *since).min() else {
            return;
        };
        match self.gitlab.test_reports(&ids, since).await {
            Ok(batch) => {
                self.gate.note(ids.len(), None, now);
                let read = batch.items.into_iter();
                found.extend(read.map(|read| {
                    let reports = read.reports.items.into_iter().collect();
                    (read.id, Ok(reports))
                }));
                let failed = batch.failed.into_iter();
                found.extend(
                    failed.map(|failed| (failed.id, Err(SourceError::Partial(failed.why)))),
                );
            }
            Err(error) => {
                self.gate.note(ids.len(), Some(&error), now);
                let error = Arc::new(error);
                found.extend(
                    ids.into_iter()
                        .map(|id| (id, Err(SourceError::GitLab(Arc::clone(&error))))),
                );
            }
        }
    }

    /// What is wanted of one project: by REST where GraphQL did not give it.
    async fn project(
        &self,
        target: &Target,
        wanted: Vec<Wanted>,
        summaries: Option<Result<Summaries, SourceError>>,
        at: UnixSeconds,
    ) -> Result<ReportsRead, SourceError> {
        let known = match summaries {
            Some(Ok(known)) => known,
            Some(Err(error)) if !error.rest_may_answer() => return Err(error),
            Some(Err(_)) | None => Summaries::new(),
        };
        let mut calls = 0;
        let mut reads = Vec::new();
        for wanted in wanted {
            let known = known.get(&wanted.end.id).cloned();
            if wanted.cases || (wanted.summary && known.is_none()) {
                calls += 1;
                // The others have their turn at the next look.
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
                Err(error) if error.means_gone() => {}
                Err(error) if error.is_forbidden() => {
                    return Err(Unavailable::Forbidden(error.to_string()).into());
                }
                Err(error) => {
                    let path = &target.project.full_path;
                    let collector = Collector::TestReports.as_str();
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

impl Source for TestReportsSource {
    type Facts = ReportsRead;

    fn reading(&self) -> Reading {
        Reading::TestReports
    }

    fn collectors(&self) -> &[Collector] {
        &[Collector::TestReports]
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn batch(&self) -> usize {
        GitLab::REPORT_PROJECTS
    }

    fn unavailable(&self, _target: &Target) -> Option<Unavailable> {
        let why = "needs collectors.pipelines, which knows the newest pipelines";
        (!self.pipelines).then_some(Unavailable::Settings(why))
    }

    async fn fetch(
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
                (target, self.collector.wanted(subject, known, memory, at))
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

    fn problems<'a>(&self, facts: &'a ReportsRead) -> &'a [Problem] {
        &facts.problems
    }

    fn measure(
        &self,
        subject: Subject<'_>,
        facts: &ReportsRead,
        memory: &mut ProjectMemory,
    ) -> Vec<Measures> {
        let (known, own) = (&memory.pipelines, &mut memory.test_reports);
        let measured = self
            .collector
            .measure(subject, known, &facts.reports, facts.at, own);
        vec![Measures::new(Collector::TestReports, measured)]
    }
}
