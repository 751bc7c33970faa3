//! The messages of Action Cable, as GitLab's channel of GraphQL uses them.

use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::CableMessage;
use crate::gitlab::graphql::gid;
use crate::types::{PipelineId, ProjectId};

/// The field that is subscribed to.
const FIELD: &str = "ciPipelineStatusesUpdated";
/// Only the id is asked for: what else GitLab sends is of another moment.
const QUERY: &str = "subscription PipelineStatuses($project: ProjectID!) { \
                     ciPipelineStatusesUpdated(projectId: $project) { id } }";
/// Errors of one message that are kept.
const ERRORS: usize = 4;

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    Welcome,
    Disconnect {
        reason: String,
    },
    Message(CableMessage),
    /// A ping, a confirmation (which comes for what failed, too), or what is not known.
    Nothing,
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "type")]
    kind: Option<String>,
    identifier: Option<String>,
    reason: Option<String>,
    message: Option<Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Data {
    result: Option<Executed>,
    more: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Executed {
    data: Value,
    errors: Option<Vec<Value>>,
}

/// Names a subscription. GitLab compares and repeats it as a text, so it is written once.
pub(super) fn identifier(project: ProjectId, nonce: Uuid) -> String {
    json!({
        "channel": "GraphqlChannel",
        "query": QUERY,
        "variables": {"project": format!("gid://gitlab/Project/{}", project.0)},
        "operationName": null,
        "nonce": nonce.to_string(),
    })
    .to_string()
}

/// A command of ours.
pub(super) fn command(command: &str, identifier: &str) -> String {
    json!({"command": command, "identifier": identifier}).to_string()
}

/// Reads a message.
///
/// # Errors
/// A sentence when it is none of Action Cable.
pub(super) fn read(text: &str) -> Result<Incoming, String> {
    let envelope: Envelope =
        serde_json::from_str(text).map_err(|error| format!("invalid message: {error}"))?;
    Ok(match (envelope.kind.as_deref(), envelope.identifier) {
        (Some("welcome"), _) => Incoming::Welcome,
        (Some("disconnect"), _) => Incoming::Disconnect {
            reason: envelope.reason.unwrap_or_else(|| "no reason".to_owned()),
        },
        (Some("reject_subscription"), Some(subscription)) => {
            Incoming::Message(CableMessage::Rejected { subscription })
        }
        (None, Some(subscription)) => match envelope.message {
            Some(message) => Incoming::Message(data(subscription, message)?),
            None => Incoming::Nothing,
        },
        _ => Incoming::Nothing,
    })
}

fn data(subscription: String, message: Value) -> Result<CableMessage, String> {
    let data: Data =
        serde_json::from_value(message).map_err(|error| format!("invalid message: {error}"))?;
    let result = data.result.unwrap_or_default();
    let errors = result.errors.iter().flatten().take(ERRORS);
    let errors = errors.map(|error| match error.get("message").and_then(Value::as_str) {
        Some(message) => message.to_owned(),
        None => "an error without a message".to_owned(),
    });
    let id = result.data.get(FIELD).and_then(|one| one.get("id"));
    let id = id.and_then(Value::as_str);
    Ok(CableMessage::Data {
        subscription,
        // An id of another form is no reason to end the connection: the project is read all the same.
        pipeline: id.and_then(|id| gid("id", id).ok()).map(PipelineId),
        errors: errors.collect(),
        more: data.more.unwrap_or(true),
    })
}
