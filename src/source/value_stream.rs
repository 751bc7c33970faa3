//! Value stream analytics: stages on every tier, lead and cycle time with Premium. Only GraphQL has
//! them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::batches::{Batches, PerProject};
use super::{Context, Fetched, Right, Source, SourceError, Target, fetched};
use crate::catalogue::Collector;
use crate::clock::UnixSeconds;
use crate::facts::ValueStreamRead;
use crate::facts::{Facts, Problem, Reading, Unavailable};
use crate::gitlab::GitLab;
use crate::gitlab::capability::Edition;
use crate::gitlab::graphql::FlowTimes;
use crate::gitlab::model::ValueStreams;
use crate::types::ProjectId;
use crate::types::Tier;

/// The period of medians; GitLab allows 180 days.
const PERIOD: Duration = Duration::from_secs(30 * 86_400);
const NO_GRAPHQL: &str =
    "only GraphQL gives value streams, and gitlab.use_graphql or GitLab leaves it out";
const PAUSED: &str = "GraphQL, which alone has value streams, did not answer lately";

/// The source.
pub struct ValueStreamSource {
    gitlab: GitLab,
    stages: Batches,
    flow: Batches,
    /// What was found last: it stands while one of the two queries fails.
    last: Mutex<BTreeMap<ProjectId, ValueStreams>>,
}

impl ValueStreamSource {
    /// The source of a GitLab.
    #[must_use]
    pub fn new(gitlab: &GitLab) -> Self {
        Self {
            gitlab: gitlab.clone(),
            stages: Batches::new(&gitlab.breaker(), GitLab::VALUE_STREAMS),
            flow: Batches::new(&gitlab.breaker(), GitLab::VALUE_STREAMS),
            last: Mutex::default(),
        }
    }

    /// Lead and cycle time, where edition and tier may give them.
    async fn flow(&self, targets: &[Target], now: UnixSeconds) -> PerProject<FlowTimes> {
        let may_have = |target: &&Target| {
            let instance = target.instance.as_ref();
            let enterprise = instance.is_some_and(|known| known.edition == Edition::Enterprise);
            enterprise && target.lacks(Tier::Premium, Right::Analytics).is_none()
        };
        let ids: Vec<ProjectId> = targets.iter().filter(may_have).map(Target::id).collect();
        let ask = async |ids: Vec<ProjectId>| self.gitlab.flow_times(&ids, PERIOD, now).await;
        let id_of = |flow: &FlowTimes| flow.id;
        self.flow.ask(&ids, now, id_of, ask).await
    }
}

impl ValueStreamSource {
    /// Reads some projects: one result for each.
    async fn read(
        &self,
        targets: &[Target],
        now: UnixSeconds,
    ) -> Vec<(ProjectId, Result<ValueStreamRead, SourceError>)> {
        let ids: Vec<ProjectId> = targets.iter().map(Target::id).collect();
        let ask = async |ids: Vec<ProjectId>| self.gitlab.value_streams(&ids, PERIOD, now).await;
        let id_of = |found: &ValueStreams| found.id;
        let mut stages = self.stages.ask(&ids, now, id_of, ask).await;
        let mut flow = self.flow(targets, now).await;
        let each = targets.iter().map(|target| {
            let id = target.id();
            let paused = || Err(SourceError::Partial(PAUSED.to_owned()));
            let stages = stages.remove(&id).unwrap_or_else(paused);
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            let read = put_together(target, stages, flow.remove(&id), last.get(&id));
            match &read {
                Ok(read) => drop(last.insert(id, read.found.clone())),
                Err(error) if is_failure(error) => {}
                Err(_) => drop(last.remove(&id)),
            }
            (id, read)
        });
        each.collect()
    }
}

#[async_trait]
impl Source for ValueStreamSource {
    fn reading(&self) -> Reading {
        Reading::ValueStream
    }

    fn collectors(&self) -> &[Collector] {
        &[Collector::ValueStream]
    }

    fn batch(&self) -> usize {
        GitLab::VALUE_STREAMS
    }

    fn unavailable(&self, target: &Target) -> Option<Unavailable> {
        if !self.gitlab.uses_graphql() {
            return Some(Unavailable::Settings(NO_GRAPHQL));
        }
        target.lacks(Tier::Free, Right::Analytics)
    }

    async fn fetch(&self, targets: &[Target], context: &Context) -> Fetched {
        let read = self.read(targets, context.now).await;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.retain(|id, _| context.tracked.contains_key(id));
        drop(last);
        fetched(read, Facts::ValueStream)
    }
}

/// Whether it says nothing about what the project has.
fn is_failure(error: &SourceError) -> bool {
    matches!(error, SourceError::Partial(_) | SourceError::GitLab(_))
}

fn put_together(
    target: &Target,
    stages: Result<ValueStreams, SourceError>,
    flow: Option<Result<FlowTimes, SourceError>>,
    last: Option<&ValueStreams>,
) -> Result<ValueStreamRead, SourceError> {
    let mut problems = Vec::new();
    let mut failed = |what: &str, error: &SourceError| {
        problems.push(Problem {
            project: target.project.full_path.clone(),
            activity: Collector::ValueStream.into(),
            kind: error.kind(),
            sentence: format!("{what}: {error}"),
            is_failure: true,
        });
    };
    let has_flow = matches!(&flow, Some(Ok(flow)) if flow.shown);
    let mut found = match stages {
        Ok(found) => found,
        // GitLab 16 has the times and not the stages.
        Err(error) if error.kind() == "graphql_schema" && has_flow => ValueStreams {
            id: target.id(),
            stages: None,
            lead_time: None,
            cycle_time: None,
        },
        Err(error) if error.kind() == "graphql_schema" => {
            return Err(Unavailable::Settings(NO_GRAPHQL).into());
        }
        Err(error) => match last.filter(|_| has_flow && is_failure(&error)) {
            Some(last) => {
                failed("stages", &error);
                last.clone()
            }
            None => return Err(error),
        },
    };
    let mut shown = false;
    match flow {
        Some(Ok(flow)) => {
            (found.lead_time, found.cycle_time) = (flow.lead_time, flow.cycle_time);
            shown = flow.shown;
        }
        Some(Err(error)) => {
            failed("lead and cycle time", &error);
            if let Some(last) = last.filter(|_| is_failure(&error)) {
                (found.lead_time, found.cycle_time) = (last.lead_time, last.cycle_time);
            }
        }
        None => {}
    }
    if found.stages.is_none() && !shown && problems.is_empty() {
        return Err(Unavailable::SwitchedOff("value stream analytics").into());
    }
    Ok(ValueStreamRead { found, problems })
}
