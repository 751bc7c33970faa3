//! Webhooks of projects, groups and the instance: listing them, and, with a token of the scope `api`,
//! changing them. The exporter's own requests never use any of it; the command `webhooks` does.

use std::collections::BTreeMap;

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Get;
use crate::gitlab::GitLab;
use crate::gitlab::error::{Cause, GitLabError};
use crate::gitlab::model::Page;
use crate::types::{ProjectId, Text};

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

/// What a group's webhook sends besides.
pub const GROUP_EVENTS: [&str; 1] = ["subgroup_events"];

/// The events of a system hook that the exporter uses; those of projects and groups it always sends.
pub const SYSTEM_EVENTS: [&str; 2] = ["merge_requests_events", "repository_update_events"];

/// What a webhook belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookOwner {
    /// A project: its Maintainers see and change it.
    Project(ProjectId),
    /// A group, by its full path: GitLab Premium, and its Owners.
    Group(Text),
    /// The instance: a system hook, for administrators.
    Instance,
}

/// A webhook.
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

/// Endpoint templates of one kind of owner.
struct Endpoints {
    hooks: &'static str,
    hook: &'static str,
    test: &'static str,
    deliveries: &'static str,
}

const OF_PROJECT: Endpoints = Endpoints {
    hooks: "/projects/:id/hooks",
    hook: "/projects/:id/hooks/:hook_id",
    test: "/projects/:id/hooks/:hook_id/test/:trigger",
    deliveries: "/projects/:id/hooks/:hook_id/events",
};

const OF_GROUP: Endpoints = Endpoints {
    hooks: "/groups/:id/hooks",
    hook: "/groups/:id/hooks/:hook_id",
    test: "/groups/:id/hooks/:hook_id/test/:trigger",
    deliveries: "/groups/:id/hooks/:hook_id/events",
};

const OF_INSTANCE: Endpoints = Endpoints {
    hooks: "/hooks",
    hook: "/hooks/:hook_id",
    // Its test and its deliveries have no paths of their own.
    test: "/hooks/:hook_id",
    deliveries: "/hooks/:hook_id",
};

impl HookOwner {
    const fn endpoints(&self) -> &'static Endpoints {
        match self {
            Self::Project(_) => &OF_PROJECT,
            Self::Group(_) => &OF_GROUP,
            Self::Instance => &OF_INSTANCE,
        }
    }

    /// A path below the owner's webhooks.
    fn get(&self, endpoint: &'static str, below: &[&str]) -> Get {
        let of = match self {
            Self::Project(id) => vec!["projects".to_owned(), id.to_string()],
            Self::Group(path) => vec!["groups".to_owned(), path.to_string()],
            Self::Instance => Vec::new(),
        };
        let of = of.iter().map(String::as_str);
        let path: Vec<&str> = of.chain(["hooks"]).chain(below.iter().copied()).collect();
        Get::new(endpoint, &path)
    }

    fn hook(&self, hook: u64) -> Get {
        self.get(self.endpoints().hook, &[&hook.to_string()])
    }
}

impl GitLab {
    /// All webhooks of an owner (`GET /projects/:id/hooks`, `/groups/:id/hooks`, `/hooks`).
    ///
    /// # Errors
    /// Those of any call; 404 for a group without GitLab Premium.
    pub async fn hooks(&self, owner: &HookOwner) -> Result<Page<Hook>, GitLabError> {
        let get = owner.get(owner.endpoints().hooks, &[]);
        self.get_all::<Hook, _>(&get).await
    }

    /// The newest deliveries of a webhook (`GET …/hooks/:hook_id/events`); GitLab does not show those of a
    /// system hook.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn hook_deliveries(
        &self,
        owner: &HookOwner,
        hook: u64,
    ) -> Result<Page<HookEvent>, GitLabError> {
        if *owner == HookOwner::Instance {
            return Ok(Page::default());
        }
        let get = owner.get(owner.endpoints().deliveries, &[&hook.to_string(), "events"]);
        self.get_first::<HookEvent, _>(&get).await
    }

    /// Creates a webhook (`POST …/hooks`).
    ///
    /// # Errors
    /// Those of any call.
    pub async fn create_hook(&self, owner: &HookOwner, spec: &HookSpec) -> Result<(), GitLabError> {
        let get = owner.get(owner.endpoints().hooks, &[]);
        self.write(Method::POST, &get, Some(spec)).await
    }

    /// Changes a webhook (`PUT …/hooks/:hook_id`).
    ///
    /// # Errors
    /// Those of any call.
    pub async fn update_hook(
        &self,
        owner: &HookOwner,
        hook: u64,
        spec: &HookSpec,
    ) -> Result<(), GitLabError> {
        self.write(Method::PUT, &owner.hook(hook), Some(spec)).await
    }

    /// Removes a webhook (`DELETE …/hooks/:hook_id`).
    ///
    /// # Errors
    /// Those of any call.
    pub async fn delete_hook(&self, owner: &HookOwner, hook: u64) -> Result<(), GitLabError> {
        self.write(Method::DELETE, &owner.hook(hook), None::<&()>)
            .await
    }

    /// Has GitLab send a real object of the owner as an event (`POST …/hooks/:hook_id/test/:trigger`), five a
    /// minute; of a system hook, made-up data (`POST /hooks/:hook_id`).
    ///
    /// # Errors
    /// Those of any call; a 422 where there is no such object.
    pub async fn test_hook(
        &self,
        owner: &HookOwner,
        hook: u64,
        trigger: &'static str,
    ) -> Result<(), GitLabError> {
        let get = match owner {
            HookOwner::Instance => owner.hook(hook),
            _ => owner.get(
                owner.endpoints().test,
                &[&hook.to_string(), "test", trigger],
            ),
        };
        self.write(Method::POST, &get, None::<&()>).await
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
