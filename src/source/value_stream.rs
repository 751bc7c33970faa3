//! Value stream analytics: stages on every tier, lead and cycle time with Premium. Only GraphQL has
//! them.

use std::time::Duration;

use super::batched::{PerProject, batched};
use super::{Problem, Reading, Source, SourceError, Target, Unavailable};
use crate::clock::UnixSeconds;
use crate::collector::{Measures, Subject, value_stream};
use crate::gitlab::GitLab;
use crate::gitlab::capability::{Edition, Tier};
use crate::gitlab::graphql::FlowTimes;
use crate::gitlab::model::{ProjectId, Role};
use crate::gitlab::repository::ValueStreams;
use crate::project::ProjectMemory;
use crate::telemetry::catalogue::Collector;

/// How far back medians look; GitLab allows 180 days.
const PERIOD: Duration = Duration::from_secs(30 * 86_400);
const NO_GRAPHQL: &str =
    "only GraphQL gives value streams, and gitlab.use_graphql or GitLab leaves it out";

/// The source.
pub struct ValueStreamSource {
    gitlab: GitLab,
    interval: Duration,
}

/// What was read of a project.
#[derive(Debug)]
pub struct Read {
    found: ValueStreams,
    problems: Vec<Problem>,
}

impl ValueStreamSource {
    /// The value streams of a GitLab, read this often.
    #[must_use]
    pub fn new(gitlab: GitLab, interval: Duration) -> Self {
        Self { gitlab, interval }
    }

    /// Lead and cycle time, where edition and tier may give them.
    async fn flow(&self, targets: &[Target], now: UnixSeconds) -> PerProject<FlowTimes> {
        let may_have = |target: &&Target| {
            let instance = target.instance.as_ref();
            let enterprise = instance.is_some_and(|known| known.edition == Edition::Enterprise);
            enterprise && target.lacks(Tier::Premium, Role::REPORTER).is_none()
        };
        let ids: Vec<ProjectId> = targets.iter().filter(may_have).map(Target::id).collect();
        batched(
            &ids,
            self.batch(),
            |flow: &FlowTimes| flow.id,
            |ids| {
                let gitlab = self.gitlab.clone();
                async move { gitlab.flow_times(&ids, PERIOD, now).await }
            },
        )
        .await
    }
}

impl Source for ValueStreamSource {
    type Facts = Read;

    fn reading(&self) -> Reading {
        Reading::ValueStream
    }

    fn collectors(&self) -> &[Collector] {
        &[Collector::ValueStream]
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn batch(&self) -> usize {
        GitLab::VALUE_STREAMS
    }

    fn unavailable(&self, target: &Target) -> Option<Unavailable> {
        if !self.gitlab.uses_graphql() {
            return Some(Unavailable::Settings(NO_GRAPHQL));
        }
        target.lacks(Tier::Free, Role::REPORTER)
    }

    async fn fetch(
        &self,
        targets: &[Target],
        now: UnixSeconds,
    ) -> Vec<(ProjectId, Result<Read, SourceError>)> {
        let ids: Vec<ProjectId> = targets.iter().map(Target::id).collect();
        let stages = batched(
            &ids,
            self.batch(),
            |found: &ValueStreams| found.id,
            |ids| {
                let gitlab = self.gitlab.clone();
                async move { gitlab.value_streams(&ids, PERIOD, now).await }
            },
        );
        let mut stages = stages.await;
        let mut flow = self.flow(targets, now).await;
        let each = targets.iter().map(|target| {
            let id = target.id();
            let stages = stages.remove(&id).unwrap_or(Err(SourceError::Gone));
            (id, put_together(target, stages, flow.remove(&id)))
        });
        each.collect()
    }

    fn problems<'a>(&self, facts: &'a Read) -> &'a [Problem] {
        &facts.problems
    }

    fn measure(
        &self,
        subject: Subject<'_>,
        facts: &Read,
        _memory: &mut ProjectMemory,
    ) -> Vec<Measures> {
        let measured = value_stream::measure(subject, &facts.found);
        vec![Measures::new(Collector::ValueStream, measured)]
    }
}

fn put_together(
    target: &Target,
    stages: Result<ValueStreams, SourceError>,
    flow: Option<Result<FlowTimes, SourceError>>,
) -> Result<Read, SourceError> {
    let mut found = match stages {
        Ok(found) => found,
        Err(error) if error.kind() == "graphql_schema" => {
            return Err(Unavailable::Settings(NO_GRAPHQL).into());
        }
        Err(error) => return Err(error),
    };
    let mut problems = Vec::new();
    let mut shown = false;
    match flow {
        Some(Ok(flow)) => {
            (found.lead_time, found.cycle_time) = (flow.lead_time, flow.cycle_time);
            shown = flow.shown;
        }
        Some(Err(error)) => problems.push(Problem {
            project: target.project.full_path.clone(),
            collector: Collector::ValueStream.as_str(),
            kind: error.kind(),
            sentence: format!("lead and cycle time: {error}"),
        }),
        None => {}
    }
    if found.stages.is_none() && !shown && problems.is_empty() {
        return Err(Unavailable::SwitchedOff("value stream analytics").into());
    }
    Ok(Read { found, problems })
}
