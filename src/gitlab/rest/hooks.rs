//! Webhooks of projects: listing them, and, with a token of the scope `api`, changing them. The exporter's
//! own requests never use the latter; the command `webhooks` does.

use std::collections::BTreeMap;

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Get;
use crate::gitlab::GitLab;
use crate::gitlab::error::{Cause, GitLabError};
use crate::gitlab::model::Page;
use crate::types::ProjectId;

/// The events of a webhook that the exporter uses; without those of jobs.
pub const EVENTS: [&str; 10] = [
    "confidential_issues_events",
    "confidential_note_events",
    "deployment_events",
    "issues_events",
    "merge_requests_events",
    "note_events",
    "pipeline_events",
    "push_events",
    "releases_events",
    "tag_push_events",
];

/// The events of jobs, which are ten times as many.
pub const JOB_EVENTS: &str = "job_events";

/// A webhook of a project.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct Hook {
    /// Its id.
    pub id: u64,
    /// Where it sends events.
    pub url: String,
    /// Whether GitLab verifies the receiver's certificate.
    #[serde(default)]
    pub enable_ssl_verification: bool,
    /// Why GitLab does not use it: `disabled`, `temporarily_disabled`; else `executable`.
    #[serde(default)]
    pub alert_status: Option<String>,
    /// Everything else, the switches of events among it.
    #[serde(flatten)]
    pub rest: BTreeMap<String, Value>,
}

impl Hook {
    /// Whether events of a kind are sent.
    #[must_use]
    pub fn sends(&self, events: &str) -> bool {
        self.rest.get(events).and_then(Value::as_bool) == Some(true)
    }
}

/// What a webhook is to be. The token reaches GitLab and nothing else.
#[derive(Clone, Serialize)]
pub struct HookSpec {
    /// Where it sends events.
    pub url: String,
    /// The secret token.
    pub token: String,
    /// Whether GitLab verifies the receiver's certificate.
    pub enable_ssl_verification: bool,
    /// The switches of events.
    #[serde(flatten)]
    pub events: BTreeMap<&'static str, bool>,
}

/// A delivery of a webhook, as GitLab remembers it.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct HookEvent {
    /// Status of the answer, or `internal error`.
    #[serde(default)]
    pub response_status: Option<Value>,
    /// The event, such as `pipeline_hooks`.
    #[serde(default)]
    pub trigger: Option<String>,
}

impl HookEvent {
    /// The status as text.
    #[must_use]
    pub fn status(&self) -> String {
        match &self.response_status {
            Some(Value::String(text)) => text.clone(),
            Some(status) => status.to_string(),
            None => "no status".to_owned(),
        }
    }
}

const HOOKS: &str = "/projects/:id/hooks";
const HOOK: &str = "/projects/:id/hooks/:hook_id";
const TEST: &str = "/projects/:id/hooks/:hook_id/test/:trigger";
const DELIVERIES: &str = "/projects/:id/hooks/:hook_id/events";

impl GitLab {
    /// All webhooks of a project (`GET /projects/:id/hooks`). Needs the role Maintainer.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn hooks(&self, project: ProjectId) -> Result<Page<Hook>, GitLabError> {
        let get = Get::new(HOOKS, &["projects", &project.to_string(), "hooks"]);
        self.get_all::<Hook, _>(&get).await
    }

    /// The newest deliveries of a webhook (`GET /projects/:id/hooks/:hook_id/events`).
    ///
    /// # Errors
    /// Those of any call.
    pub async fn hook_deliveries(
        &self,
        project: ProjectId,
        hook: u64,
    ) -> Result<Page<HookEvent>, GitLabError> {
        let (project, hook) = (project.to_string(), hook.to_string());
        let get = Get::new(
            DELIVERIES,
            &["projects", &project, "hooks", &hook, "events"],
        );
        self.get_first::<HookEvent, _>(&get).await
    }

    /// Creates a webhook (`POST /projects/:id/hooks`). Needs the role Maintainer and the scope `api`.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn create_hook(
        &self,
        project: ProjectId,
        spec: &HookSpec,
    ) -> Result<(), GitLabError> {
        let path = ["projects", &project.to_string(), "hooks"];
        self.write(Method::POST, &Get::new(HOOKS, &path), Some(spec))
            .await
    }

    /// Changes a webhook (`PUT /projects/:id/hooks/:hook_id`).
    ///
    /// # Errors
    /// Those of any call.
    pub async fn update_hook(
        &self,
        project: ProjectId,
        hook: u64,
        spec: &HookSpec,
    ) -> Result<(), GitLabError> {
        let (project, hook) = (project.to_string(), hook.to_string());
        let get = Get::new(HOOK, &["projects", &project, "hooks", &hook]);
        self.write(Method::PUT, &get, Some(spec)).await
    }

    /// Removes a webhook (`DELETE /projects/:id/hooks/:hook_id`).
    ///
    /// # Errors
    /// Those of any call.
    pub async fn delete_hook(&self, project: ProjectId, hook: u64) -> Result<(), GitLabError> {
        let (project, hook) = (project.to_string(), hook.to_string());
        let get = Get::new(HOOK, &["projects", &project, "hooks", &hook]);
        self.write(Method::DELETE, &get, None::<&()>).await
    }

    /// Has GitLab send a real object of the project as an event
    /// (`POST /projects/:id/hooks/:hook_id/test/:trigger`); five a minute for each project.
    ///
    /// # Errors
    /// Those of any call; a 422 where the project has no such object.
    pub async fn test_hook(
        &self,
        project: ProjectId,
        hook: u64,
        trigger: &'static str,
    ) -> Result<(), GitLabError> {
        let (project, hook) = (project.to_string(), hook.to_string());
        let path = ["projects", &project, "hooks", &hook, "test", trigger];
        self.write(Method::POST, &Get::new(TEST, &path), None::<&()>)
            .await
    }

    async fn write(
        &self,
        method: Method,
        to: &Get,
        body: Option<&impl Serialize>,
    ) -> Result<(), GitLabError> {
        let body = body.map(serde_json::to_vec).transpose();
        let mut call = to.call(self.client().root(), None, None);
        call.method = method;
        match body {
            Ok(body) => call.body = body,
            Err(error) => {
                let cause = Cause::Decode(error.to_string());
                return Err(self.client().error(call.name(), cause));
            }
        }
        self.client().send(self.lane(), &call).await?;
        Ok(())
    }
}
