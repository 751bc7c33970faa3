//! What was asked: every request, so that tests can count calls.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::Serialize;

use crate::cost::Cost;
use crate::time::Millis;

/// One request.
#[derive(Clone, Debug, Serialize)]
pub struct Recorded {
    /// What the answer's `x-request-id` says.
    pub correlation_id: String,
    /// World time.
    pub at: Millis,
    /// When it arrived by the machine's clock.
    #[serde(skip)]
    pub arrived: Instant,
    /// HTTP method.
    pub method: String,
    /// Path with names for its changing parts, such as `/api/v4/projects/:id/pipelines`.
    pub endpoint: String,
    /// The path as it was asked for.
    pub path: String,
    /// The query string.
    pub query: String,
    /// Name of the GraphQL operation (`anonymous` where it has none).
    pub operation: Option<String>,
    /// GraphQL variables.
    pub variables: Option<serde_json::Value>,
    /// What its GraphQL queries cost; `None` where they were not looked at.
    pub complexity: Option<i32>,
    /// Name of the token; `None` where there was none or an unknown one.
    pub token: Option<String>,
    /// Value of the `user-agent` header.
    pub user_agent: Option<String>,
    /// Status of the answer; 0 where the connection was broken off.
    pub status: u16,
    /// What the answer cost GitLab, by the model.
    pub cost: Cost,
    /// The fault that answered instead of GitLab.
    pub fault: Option<String>,
}

impl Recorded {
    /// The GraphQL operation, or else the endpoint.
    #[must_use]
    pub fn subject(&self) -> &str {
        self.operation.as_deref().unwrap_or(&self.endpoint)
    }
}

/// The record of all requests.
#[derive(Clone, Debug, Default)]
pub struct Requests {
    entries: Arc<Mutex<Vec<Recorded>>>,
    named: Arc<AtomicU64>,
}

impl Requests {
    fn entries(&self) -> MutexGuard<'_, Vec<Recorded>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A name that no request had before.
    pub(crate) fn next_id(&self) -> String {
        format!("{:026X}", self.named.fetch_add(1, Ordering::Relaxed) + 1)
    }

    pub(crate) fn push(&self, request: Recorded) {
        self.entries().push(request);
    }

    /// Everything, in order of the answers.
    #[must_use]
    pub fn all(&self) -> Vec<Recorded> {
        self.entries().clone()
    }

    /// How many there were.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries().len()
    }

    /// Whether there were none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries().is_empty()
    }

    /// How many went to a GraphQL operation or an endpoint template.
    #[must_use]
    pub fn count(&self, subject: &str) -> usize {
        self.entries()
            .iter()
            .filter(|request| request.subject() == subject)
            .count()
    }

    /// How many went to each GraphQL operation and endpoint template.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for request in self.entries().iter() {
            *counts.entry(request.subject().to_owned()).or_default() += 1;
        }
        counts
    }

    /// Forgets everything so far.
    pub fn reset(&self) {
        self.entries().clear();
    }
}
