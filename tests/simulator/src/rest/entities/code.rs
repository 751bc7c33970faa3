//! Commits, branches and tags.

use serde_json::{Value, json};

use super::View;
use crate::auth::AccessLevel;
use crate::time::{self, Millis};
use crate::world::{Commit, GitRef, Project};

/// A time of Git: it has an offset where others have a `Z`.
fn git_time(time: Millis) -> String {
    time::milliseconds(time).replace('Z', "+00:00")
}

impl View<'_> {
    /// A commit.
    pub fn commit(&self, project: &Project, commit: &Commit) -> Value {
        let mut parents: Vec<String> = commit.parent.iter().map(ToString::to_string).collect();
        parents.extend(commit.details.merged.iter().map(ToString::to_string));
        if commit.merge && commit.details.merged.is_empty() {
            // The tip of a branch that this world does not keep.
            parents.push(commit.sha.chars().rev().collect());
        }
        let (name, email) = (&commit.author_name, &commit.author_email);
        let committer = commit.details.committer.as_ref();
        let (by, by_email) = committer.map_or((name, email), |(name, email)| (name, email));
        let message = commit.details.message.as_deref();
        let message = message.unwrap_or("Change something\n");
        json!({
            "id": &*commit.sha,
            "short_id": commit.sha.get(..8).unwrap_or(&commit.sha),
            "created_at": git_time(commit.committed_at),
            "parent_ids": parents,
            "title": message.lines().next().unwrap_or_default(),
            "message": message,
            "author_name": &**name,
            "author_email": &**email,
            "authored_date": git_time(commit.authored_at),
            "committer_name": &**by,
            "committer_email": &**by_email,
            "committed_date": git_time(commit.committed_at),
            "trailers": {},
            "extended_trailers": {},
            "web_url": format!("{}/{}/-/commit/{}", self.base_url, project.full_path, commit.sha),
        })
    }

    /// A commit by its hash: one that the world does not keep is made up for the time, where there is one.
    pub fn commit_of(&self, project: &Project, sha: &str, time: Option<Millis>) -> Value {
        let known = self.world.code(project.id);
        if let Some(commit) = known.and_then(|code| code.commits.get(sha)) {
            return self.commit(project, commit);
        }
        let Some(at) = time.filter(|_| self.world.makes_up_commits()) else {
            return Value::Null;
        };
        self.commit(
            project,
            &Commit {
                sha: sha.into(),
                parent: None,
                merge: false,
                author_name: "Exporter Bot".into(),
                author_email: "bot@example.com".into(),
                authored_at: at,
                committed_at: at,
                additions: 0,
                deletions: 0,
                details: Default::default(),
            },
        )
    }

    /// A branch.
    pub fn branch(&self, project: &Project, branch: &GitRef) -> Value {
        let default = project.default_branch.as_ref() == Some(&branch.name);
        let role = self.viewer.role(project.id);
        let pushes = if default {
            role >= AccessLevel::Maintainer
        } else {
            role >= AccessLevel::Developer
        };
        json!({
            "name": &*branch.name,
            "commit": self.commit_of(project, &branch.sha, Some(branch.committed_at)),
            "merged": !default && self.is_merged(project, branch),
            "protected": default,
            "developers_can_push": false,
            "developers_can_merge": false,
            "can_push": pushes || self.viewer.is_admin(),
            "default": default,
            "web_url": format!("{}/{}/-/tree/{}", self.base_url, project.full_path, branch.name),
        })
    }

    /// A tag.
    pub fn tag(&self, project: &Project, tag: &GitRef) -> Value {
        let code = self.world.code(project.id);
        let release = code.and_then(|code| code.releases.get(&tag.name));
        json!({
            "name": &*tag.name,
            "message": "",
            "target": &*tag.sha,
            "commit": self.commit_of(project, &tag.sha, Some(tag.committed_at)),
            "release": release.map(|release| json!({
                "tag_name": &*release.tag,
                "description": null,
            })),
            "protected": false,
            "created_at": null,
        })
    }

    fn is_merged(&self, project: &Project, branch: &GitRef) -> bool {
        let code = self.world.code(project.id);
        code.is_some_and(|code| code.history().any(|commit| commit.sha == branch.sha))
    }
}
