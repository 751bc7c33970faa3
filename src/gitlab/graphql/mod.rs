//! GraphQL: typed calls in batches, partial answers, sizes that adapt.
//!
//! Queries live in `queries/*.graphql`, the part of the schema they use in `schema.graphql`.

pub mod batch;
#[cfg(any(test, fuzzing))]
pub(super) mod bodies;
mod changes;
#[cfg(test)]
mod complexity;
mod convert;
mod deliveries;
mod dora;
mod features;
pub mod gaps;
mod holes;
mod instance_jobs;
mod jobs;
mod permissions;
mod places;
mod project_list;
mod projects;
mod queries;
mod reports;
mod repositories;
mod reviews;
mod runners;
#[cfg(test)]
mod sample_tests;
mod schedules;
#[cfg(test)]
mod schema_tests;
mod selection;
mod trial;
#[cfg(test)]
mod validation;
mod value_streams;
mod vulnerabilities;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use graphql_client::GraphQLQuery;
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(super) use gaps::Learned;
use gaps::Why;
use holes::{Holes, Partial};

pub use changes::{Active, ProjectChanges};
pub(crate) use convert::gid;
pub use deliveries::{ProjectIncidents, ProjectTip};
pub use features::ProjectTier;
pub use gaps::Loss;
pub use instance_jobs::InstanceJobs;
pub use jobs::{PipelineJobs, ProjectJobs};
pub use permissions::ProjectPermissions;
pub use places::{Asked, Filled};
pub use project_list::{ListFields, ListOf};
pub use reports::ProjectReports;
pub use repositories::CountedRefs;
pub use runners::ProjectRunners;
pub use schedules::ProjectSchedules;
use selection::Selected;
pub use selection::{BridgesPart, JobsPart, Parts, Which};
pub use value_streams::FlowTimes;

use super::answer;
use super::client::{Answer, Call, Query, record_failure};
use super::error::{Cause, GitLabError};
use super::json::{self, Flaw, Step};
use super::{Excess, GitLab};
use crate::types::ProjectId;

/// The endpoint as labels and spans name it.
const ENDPOINT: &str = "/graphql";

/// What a batch over projects gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch<T> {
    /// One entry for every project that was read. A project that is neither here nor in
    /// [`Self::failed`] was removed, or the token may not see it.
    pub items: Vec<T>,
    /// Projects that exist and could not be read now: ask again, perhaps in a smaller batch.
    pub failed: Vec<FailedProject>,
    /// Bytes of the answer.
    pub(crate) bytes: usize,
    /// How long GitLab worked for the answer, where it says so.
    pub(crate) server_time: Duration,
}

/// A project that a batch could not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedProject {
    /// The project.
    pub id: ProjectId,
    /// A sentence that says why.
    pub why: String,
    /// What a list of it has too much of, if that is why.
    pub too_much: Option<Excess>,
}

impl FailedProject {
    /// Whether GitLab did not come to it within the time that it gives a query.
    pub(super) fn has_timed_out(&self) -> bool {
        answer::is_timeout_of_field(&self.why)
    }
}

/// GraphQL's scalars and enums as Rust types. Enums are open: an unknown value is kept.
pub(crate) mod scalars {
    /// `BigInt` comes as a text, though some servers send a number.
    #[derive(Clone, Debug, serde::Deserialize)]
    #[serde(untagged)]
    pub enum BigInt {
        /// As GitLab writes it.
        Text(String),
        /// As JSON would have it.
        Number(u64),
    }

    impl BigInt {
        /// The number, if it is one that cannot be negative.
        pub fn value(&self) -> Option<u64> {
            match self {
                Self::Text(text) => text.parse().ok(),
                Self::Number(number) => Some(*number),
            }
        }
    }

    /// Seconds.
    pub type Duration = f64;
    /// A day.
    pub type Date = String;
    /// A global id.
    pub type CiRunnerID = String;
    /// A global id.
    pub type JobID = String;
    /// ISO 8601.
    pub type Time = String;
    /// A global id.
    pub type UserID = String;

    /// Status of a job, upper case.
    pub type CiJobStatus = String;
    /// Type of an artifact, upper case.
    pub type JobArtifactFileType = String;
    /// Type of a runner, upper case.
    pub type CiRunnerType = String;
    /// Status of a runner, upper case.
    pub type CiRunnerStatus = String;
    /// A global id.
    pub type NoteID = String;

    /// State of a review, upper case.
    pub type MergeRequestReviewState = String;
    /// State of a merge request, lower case.
    pub type MergeRequestState = String;
    /// Status of a pipeline, upper case.
    pub type PipelineStatusEnum = String;
}

/// A GraphQL answer. `errors` next to `data` spoils only the places it names.
#[derive(Deserialize)]
struct Envelope<D> {
    data: Option<D>,
    errors: Option<Vec<Value>>,
}

#[derive(Deserialize)]
struct ServerError {
    message: Option<String>,
    path: Option<Vec<Value>>,
    extensions: Option<Extensions>,
}

#[derive(Deserialize)]
struct Extensions {
    code: Option<String>,
}

/// `queryComplexity` of an answer.
pub(crate) trait Scored {
    /// Score and limit.
    fn score(&self) -> Option<(u32, u32)>;
}

macro_rules! scored {
    ($module:ident) => {
        impl $crate::gitlab::graphql::Scored for $module::ResponseData {
            fn score(&self) -> Option<(u32, u32)> {
                let complexity = self.query_complexity.as_ref()?;
                Some((
                    u32::try_from(complexity.score?).ok()?,
                    u32::try_from(complexity.limit?).ok()?,
                ))
            }
        }
    };
}
pub(crate) use scored;

/// A number for the choice of fields that variables make: their flags, and which of them are set. Times of
/// queries that ask for other fields are not comparable.
fn variant(variables: &impl Serialize) -> u64 {
    let mut hasher = DefaultHasher::new();
    if let Ok(Value::Object(variables)) = serde_json::to_value(variables) {
        for (name, value) in variables.iter().filter(|(_, value)| !value.is_null()) {
            (name, value.as_bool()).hash(&mut hasher);
        }
    }
    hasher.finish()
}

/// A request as it is sent.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a, V> {
    variables: &'a V,
    query: &'a str,
    operation_name: &'static str,
}

impl GitLab {
    /// Runs one query, about so many projects. What the server could not give is in the answer's holes.
    /// Where this GitLab lacks a field that the query can do without, it is asked again without.
    async fn query<Q>(
        &self,
        variables: Q::Variables,
        projects: usize,
    ) -> Result<Partial<Q::ResponseData>, GitLabError>
    where
        Q: GraphQLQuery,
        Q::Variables: Serialize,
        Q::ResponseData: DeserializeOwned + Scored,
    {
        let variant = variant(&variables);
        self.query_of::<Q>(variables, projects, variant).await
    }

    /// The same; its times are comparable with those of the same variant.
    async fn query_of<Q>(
        &self,
        variables: Q::Variables,
        projects: usize,
        variant: u64,
    ) -> Result<Partial<Q::ResponseData>, GitLabError>
    where
        Q: GraphQLQuery,
        Q::Variables: Serialize,
        Q::ResponseData: DeserializeOwned + Scored,
    {
        let request = Q::build_query(variables);
        let (operation, document) = (request.operation_name, request.query);
        let gaps = &self.shared.gaps;
        // Ends: each turn but the last leaves something else out.
        loop {
            let text = gaps.text(operation, document).map_err(|why| {
                let name = format!("{} {operation}", super::error::GRAPHQL);
                self.client().error(name, Cause::GraphQlLacks(why))
            })?;
            let body = Body {
                variables: &request.variables,
                query: &text,
                operation_name: operation,
            };
            let (call, answer) = self.send(operation, &body, (projects, variant)).await?;
            let changed = || gaps.text(operation, document).as_ref() != Ok(&text);
            match read::<Q::ResponseData>(&answer.body) {
                Ok(mut partial) => {
                    partial.server_time = answer::runtime(&answer.headers).unwrap_or_default();
                    self.client().accounting().understood(call.endpoint);
                    self.account(operation, &answer, &partial.data);
                    let unreadable = partial.holes.unreadable(&answer.body);
                    gaps.learn(&unreadable, Why::Token);
                    if unreadable.is_empty() || !changed() {
                        return Ok(partial);
                    }
                }
                Err(cause) => {
                    let refused = matches!(cause, Cause::GraphQlSchema(_));
                    if refused {
                        gaps.learn(&gaps::refused(&answer.body), Why::Schema);
                    }
                    if refused && changed() {
                        continue;
                    }
                    if refused {
                        gaps.refuse(operation, cause.to_string());
                    }
                    if matches!(cause, Cause::Decode(_)) {
                        self.client().accounting().garbled(call.endpoint);
                    }
                    record_failure(&answer.span, &cause);
                    return Err(self.client().error(call.name(), cause));
                }
            }
        }
    }

    /// Sends one query.
    async fn send(
        &self,
        operation: &'static str,
        body: &impl Serialize,
        (projects, variant): (usize, u64),
    ) -> Result<(Call, Answer), GitLabError> {
        let mut url = self.client().root().clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["api", "graphql"]);
        }
        let mut call = Call {
            method: Method::POST,
            endpoint: ENDPOINT,
            url,
            graphql: None,
            body: None,
            waits: true,
        };
        let body = serde_json::to_vec(body).map_err(|error| {
            self.client()
                .error(call.name(), Cause::GraphQl(error.to_string()))
        })?;
        call.graphql = Some(Query {
            operation,
            body,
            projects,
            variant,
        });
        let answer = self.client().send(self.lane(), &call).await?;
        Ok((call, answer))
    }

    /// What GraphQL of this GitLab does not have, or not for this token, as far as it was asked for.
    #[must_use]
    pub fn losses(&self) -> Vec<Loss> {
        self.shared.gaps.losses()
    }

    /// The same in sentences, with the queries that are refused altogether.
    #[must_use]
    pub fn lost(&self) -> Vec<String> {
        let sentences = self.shared.gaps.sentences().into_iter();
        sentences.map(|text| self.tidied(&text)).collect()
    }

    /// Whether lists of pipelines have child pipelines: since GitLab 17.0.
    pub(crate) fn lists_children(&self) -> bool {
        !self.shared.gaps.is_older_than((17, 0))
    }

    /// Why a query is refused altogether, if it is.
    pub(crate) fn refusal(&self, operation: &str) -> Option<String> {
        self.shared.gaps.refusal(operation)
    }

    /// Whether GraphQL of this GitLab, or the token, is known to lack a field.
    pub(crate) fn lacks(&self, on: &str, field: &str) -> bool {
        self.shared.gaps.lacks(on, field)
    }

    fn account(&self, operation: &'static str, answer: &Answer, data: &impl Scored) {
        if let Some((score, limit)) = data.score() {
            answer.span.record("gitlab.graphql.complexity", score);
            self.client()
                .accounting()
                .complexity(operation, score, limit);
        }
    }

    /// Items per page: as many as wanted, within the settings.
    fn page_size(&self, wanted: u32) -> i64 {
        wanted.clamp(1, self.shared.graphql_page_size).into()
    }

    /// `text` fit to be shown.
    fn tidied(&self, text: &str) -> String {
        self.client().tidy(text)
    }

    /// The error of a list that could not be read.
    fn unread(&self, operation: &str, why: Unread) -> GitLabError {
        match why {
            Unread::Because(why) => self.query_error(operation, &why),
            Unread::TooMuch(excess) => {
                let list = format!("{} {operation}", super::error::GRAPHQL);
                self.client().error(list, Cause::TooMuch(excess))
            }
        }
    }

    /// An error of a query that was answered, but not with what was asked for.
    fn query_error(&self, operation: &str, why: &str) -> GitLabError {
        let cause = if answer::is_timeout_of_field(why) {
            Cause::GraphQlTimeout(why.to_owned())
        } else {
            Cause::GraphQl(why.to_owned())
        };
        self.client()
            .error(format!("{} {operation}", super::error::GRAPHQL), cause)
    }
}

/// Why a list that is not of given projects could not be read.
#[derive(Debug)]
enum Unread {
    /// A sentence.
    Because(String),
    /// It has too much.
    TooMuch(Excess),
}

impl From<String> for Unread {
    fn from(why: String) -> Self {
        Self::Because(why)
    }
}

fn read<D: DeserializeOwned>(body: &[u8]) -> Result<Partial<D>, Cause> {
    let (envelope, mut bad) = json::tree::<Envelope<D>>(body).map_err(Cause::Decode)?;
    for flaw in &mut bad {
        // All paths begin below `data`.
        flaw.path.remove(0);
    }
    let errors: Vec<ServerError> = envelope
        .errors
        .unwrap_or_default()
        .into_iter()
        .map(|error| {
            serde_json::from_value(error).unwrap_or(ServerError {
                message: None,
                path: None,
                extensions: None,
            })
        })
        .collect();
    match envelope.data {
        Some(data) => Ok(Partial {
            data,
            holes: Holes::new(
                bad,
                errors.into_iter().map(ServerError::into_flaw).collect(),
            ),
            bytes: body.len(),
            server_time: Duration::ZERO,
        }),
        None => Err(refusal(&errors)),
    }
}

/// Why there is no data at all.
fn refusal(errors: &[ServerError]) -> Cause {
    let text = errors
        .iter()
        .filter_map(|error| error.message.as_deref())
        .collect::<Vec<_>>()
        .join("; ");
    let code = |wanted: &[&str]| {
        errors
            .iter()
            .filter_map(|error| error.extensions.as_ref()?.code.as_deref())
            .any(|code| wanted.contains(&code))
    };
    if errors.is_empty() {
        Cause::Decode("it has neither data nor errors".to_owned())
    } else if text.contains("exceeds max complexity") {
        Cause::GraphQlComplexity(text)
    } else if text.contains("Timeout") || text.contains("timed out") {
        Cause::GraphQlTimeout(text)
    } else if code(&[
        "undefinedField",
        "undefinedType",
        "undefinedDirective",
        "argumentNotAccepted",
        "argumentLiteralsIncompatible",
        "missingRequiredArguments",
        "selectionMismatch",
        "variableRequiresValidType",
    ]) {
        Cause::GraphQlSchema(text)
    } else {
        Cause::GraphQl(text)
    }
}

impl ServerError {
    fn into_flaw(self) -> Flaw {
        let steps = self.path.unwrap_or_default().into_iter();
        Flaw {
            path: steps
                .filter_map(|step| match step {
                    Value::String(key) => Some(Step::Key(key)),
                    Value::Number(index) => {
                        Some(Step::Index(usize::try_from(index.as_u64()?).ok()?))
                    }
                    _ => None,
                })
                .collect(),
            why: self
                .message
                .unwrap_or_else(|| "an error without a message".to_owned()),
            id: None,
        }
    }
}

#[cfg(test)]
mod tests;
