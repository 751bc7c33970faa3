//! What a fine-grained token must be granted, and which of it is missing.
//!
//! REST names the grant that a call lacks; GraphQL leaves empty what the token may not read. So each
//! grant is tried by one small REST call.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::GitLab;
use super::error::Cause;
use crate::types::ProjectId;

/// How the text of a refusal for want of a grant begins.
const REFUSAL: &str = "insufficient_granular_scope";
/// Longest name of a grant; GitLab's own are shorter.
const MAX_NAME: usize = 60;

/// A grant, all for reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// As GitLab names it when it is missing.
    pub name: &'static str,
    /// Where it is asked for in GitLab.
    pub boundary: &'static str,
    /// What needs it, in words.
    pub needed_by: &'static str,
    /// The part of a project's address that needs it; none where it is no project's.
    pub(super) path: Option<(&'static str, &'static [&'static str])>,
}

impl Grant {
    const fn project(
        name: &'static str,
        needed_by: &'static str,
        endpoint: &'static str,
        path: &'static [&'static str],
    ) -> Self {
        Self {
            name,
            boundary: "group or project",
            needed_by,
            path: Some((endpoint, path)),
        }
    }

    const fn other(name: &'static str, boundary: &'static str, needed_by: &'static str) -> Self {
        Self {
            name,
            boundary,
            needed_by,
            path: None,
        }
    }
}

/// The grant for version and edition.
pub(super) const METADATA: &str = "Metadata: Read";
/// The grant for users, the token's own among them.
pub(super) const USER: &str = "User: Read";
/// The grant for the token itself.
pub(super) const TOKEN: &str = "Personal Access Token: Read";

/// All grants that some collector needs.
pub const GRANTS: &[Grant] = &[
    Grant::other(
        METADATA,
        "instance",
        "version and edition: without it no Enterprise Edition data is read by GraphQL",
    ),
    Grant::other(
        USER,
        "user",
        "`code_review`, `merge_requests`: without it authors are hidden, and no review is counted",
    ),
    Grant::other(TOKEN, "user", "the expiry of the token"),
    Grant::project("Project: Read", "everything", "/projects/:id", &[]),
    Grant::project(
        "Pipeline: Read",
        "`pipelines`, `jobs`, `child_pipelines`, `test_reports`",
        "/projects/:id/pipelines",
        &["pipelines"],
    ),
    Grant::project(
        "Job: Read",
        "`jobs`, `child_pipelines`",
        "/projects/:id/jobs",
        &["jobs"],
    ),
    Grant::project(
        "Merge Request: Read",
        "`merge_requests`, `code_review`, `dora`, pipelines of merge requests",
        "/projects/:id/merge_requests",
        &["merge_requests"],
    ),
    Grant::project(
        "Work Item: Read",
        "`merge_requests`, `code_review` (notes), `dora` (incidents)",
        "/projects/:id/issues",
        &["issues"],
    ),
    Grant::project(
        "Deployment: Read",
        "`dora`, `environments`",
        "/projects/:id/deployments",
        &["deployments"],
    ),
    Grant::project(
        "Environment: Read",
        "`environments`, `dora`",
        "/projects/:id/environments",
        &["environments"],
    ),
    Grant::project(
        "Release: Read",
        "`repository`",
        "/projects/:id/releases",
        &["releases"],
    ),
    Grant::project(
        "Repository: Read",
        "`contributors`, `environments`",
        "/projects/:id/repository/contributors",
        &["repository", "contributors"],
    ),
    Grant::project(
        "Commit: Read",
        "`contributors`, `environments`",
        "/projects/:id/repository/commits",
        &["repository", "commits"],
    ),
    Grant::project(
        "Branch: Read",
        "`pipelines` (branches that were deleted), `repository`",
        "/projects/:id/repository/branches",
        &["repository", "branches"],
    ),
    Grant::project(
        "Repository Tag: Read",
        "`pipelines` (tags that were deleted), `repository`",
        "/projects/:id/repository/tags",
        &["repository", "tags"],
    ),
    Grant::project(
        "Code: Read",
        "`repository` (languages), `environments` (commits behind)",
        "/projects/:id/languages",
        &["languages"],
    ),
    Grant::project(
        "Pipeline Schedule: Read",
        "`schedules`",
        "/projects/:id/pipeline_schedules",
        &["pipeline_schedules"],
    ),
    Grant::project(
        "Runner: Read",
        "`runners`",
        "/projects/:id/runners",
        &["runners"],
    ),
];

/// What was seen of the token's grants.
#[derive(Debug, Default)]
pub(super) struct Grants(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    is_fine_grained: bool,
    missing: BTreeSet<String>,
}

impl Grants {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in why a call failed: it may name the grants that it lacks.
    pub(super) fn failed(&self, cause: &Cause) {
        let Cause::Forbidden(text) = cause else {
            return;
        };
        let named = named(text);
        if text.starts_with(REFUSAL) {
            let mut seen = self.seen();
            seen.is_fine_grained = true;
            seen.missing.extend(named);
        }
    }
}

/// The grants that a refusal names: `… the following project permissions: [Branch: Read].`
fn named(text: &str) -> Vec<String> {
    let list = text
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'));
    let names = list.map(|(list, _)| list.split(',')).into_iter().flatten();
    names
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty() && name.len() <= MAX_NAME)
        .collect()
}

impl GitLab {
    /// Takes in that a call was answered that needs this grant.
    pub(super) fn granted(&self, name: &str) {
        self.client().grants().seen().missing.remove(name);
    }

    /// Takes in whether the token is fine-grained.
    pub(super) fn note_kind_of_token(&self, is_fine_grained: bool) {
        self.client().grants().seen().is_fine_grained = is_fine_grained;
    }

    /// Whether the token is known to be fine-grained.
    #[must_use]
    pub fn has_fine_grained_token(&self) -> bool {
        self.client().grants().seen().is_fine_grained
    }

    /// The grants that calls were refused for, as GitLab names them.
    #[must_use]
    pub fn missing_grants(&self) -> Vec<String> {
        let seen = self.client().grants().seen();
        seen.missing.iter().cloned().collect()
    }

    /// Tries what a fine-grained token needs grants for, on one project: [`Self::missing_grants`] has then
    /// all that are missing there.
    pub async fn try_grants(&self, project: ProjectId) {
        for grant in GRANTS {
            let Some((endpoint, path)) = grant.path else {
                continue;
            };
            match self.try_list(project, endpoint, path).await {
                Ok(()) => self.granted(grant.name),
                Err(error) => tracing::debug!(grant = grant.name, "a grant was tried: {error}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gitlab::testing::{Fake, Reply};

    fn refusal(grants: &str) -> Reply {
        let text = format!(
            "Access denied: This operation requires a fine-grained personal access token with the \
             following project permissions: [{grants}]."
        );
        let body = serde_json::json!({"error": REFUSAL, "error_description": text});
        Reply::status(403, body.to_string())
    }

    #[tokio::test]
    async fn each_missing_grant_is_named_and_no_other() {
        let fake = Fake::start(|request, _| {
            let path = request.target.split('?').next().unwrap_or_default();
            match path {
                "/api/v4/projects/7/repository/branches" => refusal("Branch: Read"),
                "/api/v4/projects/7/runners" => refusal("Runner: Read, Job: Read"),
                // A role that is too low is no missing grant.
                "/api/v4/projects/7/environments" => {
                    Reply::status(403, r#"{"message":"403 Forbidden [Environment: Read]"}"#)
                }
                _ => Reply::json("[]"),
            }
        })
        .await;
        let gitlab = fake.gitlab();
        assert!(!gitlab.has_fine_grained_token());
        gitlab.try_grants(ProjectId(7)).await;
        assert!(gitlab.has_fine_grained_token());
        assert_eq!(
            gitlab.missing_grants(),
            ["Branch: Read", "Job: Read", "Runner: Read"]
        );
        let tried = fake.seen().len();
        assert!(gitlab.missing_grants().iter().all(|name| name != TOKEN));
        let of_projects = GRANTS.iter().filter(|grant| grant.path.is_some()).count();
        assert_eq!(tried, of_projects, "one call each");
    }

    /// GitLab's own refusals name grants of the list, in the words of the list.
    #[test]
    fn gitlabs_refusals_are_understood() {
        let Some(file) = crate::gitlab::testing::truth("recorded/19.3-ce/rest.jsonl") else {
            return;
        };
        let mut found = BTreeSet::new();
        for line in std::fs::read_to_string(file).unwrap().lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let description = line["body"]["error_description"].as_str();
            if line["body"]["error"] == REFUSAL {
                found.extend(named(description.unwrap()));
            }
        }
        assert!(found.len() >= 9, "{found:?}");
        for name in found {
            let is_listed = GRANTS.iter().any(|grant| grant.name == name);
            assert!(is_listed, "{name}");
        }
    }

    #[test]
    fn the_documentation_lists_every_grant() {
        let text = include_str!("../../docs/getting-started.md");
        for grant in GRANTS {
            let row = format!(
                "| *{}* | {} | {} |",
                grant.name, grant.boundary, grant.needed_by
            );
            assert!(text.contains(&row), "missing in getting-started.md: {row}");
        }
    }
}
