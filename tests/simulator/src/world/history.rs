//! What can become of the commits of a default branch besides pushes.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::code::Commit;
use super::ledger::Event;
use super::model::{GitRef, ProjectId};
use super::{Result, World, WorldError};

impl World {
    /// Empties a repository: it has no branch and no commit, as after the project was made.
    ///
    /// # Errors
    /// If there is no such project.
    pub fn empty_repository(&mut self, id: ProjectId) -> Result<()> {
        let project = self.project_mut(id)?;
        project.default_branch = None;
        project.branches.clear();
        let code = self.code_mut(id)?;
        code.commits.clear();
        code.tip = None;
        Ok(())
    }

    /// Gives the default branch another name.
    ///
    /// # Errors
    /// If there is no such project, or it has no default branch.
    pub fn rename_default_branch(&mut self, id: ProjectId, name: &str) -> Result<()> {
        let name: Arc<str> = name.into();
        let project = self.project_mut(id)?;
        let before = project.default_branch.replace(name.clone());
        let tip = before.and_then(|before| project.branches.remove(&before));
        let tip = tip.ok_or_else(|| WorldError::not_found("default branch of project", id))?;
        let renamed = GitRef {
            name: name.clone(),
            ..tip
        };
        project.branches.insert(name, renamed);
        self.record_activity(id);
        Ok(())
    }

    /// Sets the default branch to a commit that there is, by a forced push where it must be.
    ///
    /// # Errors
    /// If there is no such project or commit.
    pub fn set_tip(&mut self, id: ProjectId, sha: &str) -> Result<()> {
        let code = self.code_mut(id)?;
        let commit = code.commits.get(sha);
        let sha = commit
            .map(|commit| commit.sha.clone())
            .ok_or_else(|| WorldError::not_found("commit", sha))?;
        code.tip = Some(sha.clone());
        self.show_tip(id, sha)
    }

    /// Writes the newest commits of the default branch anew, with other hashes and the same authors
    /// and times of writing, as a rebase does, and pushes them by force. Gives the new tip.
    ///
    /// # Errors
    /// If there is no such project, or it has no commit.
    pub fn rewrite(&mut self, id: ProjectId, commits: usize) -> Result<Arc<str>> {
        let code = self.code_mut(id)?;
        let mut old: Vec<Commit> = code.history().take(commits).cloned().collect();
        old.reverse();
        let first = old.first();
        let mut tip = first.and_then(|commit| commit.parent.clone());
        for commit in old {
            let (sha, committed_at) = (self.new_sha(), self.now);
            let new = Commit {
                sha: sha.clone(),
                parent: tip.replace(sha.clone()),
                committed_at,
                ..commit
            };
            self.code_mut(id)?.commits.insert(sha, new);
        }
        let tip = tip.ok_or_else(|| WorldError::not_found("commit of project", id))?;
        self.code_mut(id)?.tip = Some(tip.clone());
        self.show_tip(id, tip.clone())?;
        Ok(tip)
    }

    /// Forgets the commits that the default branch does not lead to, as housekeeping does after a
    /// while.
    ///
    /// # Errors
    /// If there is no such project.
    pub fn prune_commits(&mut self, id: ProjectId) -> Result<()> {
        let code = self.code_mut(id)?;
        let kept: BTreeSet<Arc<str>> = code.history().map(|commit| commit.sha.clone()).collect();
        code.commits.retain(|sha, _| kept.contains(sha));
        Ok(())
    }

    /// Shows the default branch where a forced push left it.
    fn show_tip(&mut self, id: ProjectId, sha: Arc<str>) -> Result<()> {
        let now = self.now;
        let project = self.project_mut(id)?;
        let name = project.default_branch.clone();
        let name = name.ok_or_else(|| WorldError::not_found("default branch of project", id))?;
        if let Some(branch) = project.branches.get_mut(&name) {
            branch.sha = sha;
        }
        self.record_activity(id);
        self.ledger.write(now, || Event::ForcePushed {
            project_id: id,
            name,
        });
        Ok(())
    }
}
