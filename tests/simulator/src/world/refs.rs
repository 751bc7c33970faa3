//! Operations on branches, tags and merge requests.

use std::sync::Arc;

use rand::RngExt;

use super::code::CommitSpec;
use super::ledger::Event;
use super::model::{GitRef, MergeRequest, MergeRequestDetails, MergeRequestState, ProjectId};
use super::{Result, World, WorldError};

impl World {
    pub(super) fn new_sha(&mut self) -> Arc<str> {
        let bytes: [u8; 20] = self.rng.random();
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
            .into()
    }

    /// Pushes a commit to a branch, which is made where it is missing. Makes no pipeline.
    ///
    /// # Errors
    /// If there is no such project.
    pub fn push(&mut self, project_id: ProjectId, branch: &str) -> Result<Arc<str>> {
        self.push_with(project_id, branch, None)
    }

    /// The same, with a commit of the caller's choice.
    pub(super) fn push_with(
        &mut self,
        project_id: ProjectId,
        branch: &str,
        commit: Option<&CommitSpec>,
    ) -> Result<Arc<str>> {
        let (sha, now) = (self.new_sha(), self.now);
        let name: Arc<str> = branch.into();
        let project = self.project_mut(project_id)?;
        // The first push to an empty repository makes its default branch.
        project.default_branch.get_or_insert_with(|| name.clone());
        let tip = GitRef {
            name: name.clone(),
            sha: sha.clone(),
            committed_at: now,
        };
        let fresh = project.branches.insert(name.clone(), tip).is_none();
        for merge_request in project.merge_requests.values_mut() {
            if merge_request.state == MergeRequestState::Opened
                && merge_request.source_branch == name
            {
                merge_request.sha = sha.clone();
                merge_request.updated_at = now;
            }
        }
        let default = project.default_branch.as_ref() == Some(&name);
        if default {
            self.deliveries.pushed(project_id, sha.clone());
        }
        self.note_commit(project_id, branch, &sha, commit);
        self.note_push(project_id, branch);
        self.record_activity(project_id);
        if fresh {
            self.ledger
                .write(now, || Event::BranchCreated { project_id, name });
        }
        Ok(sha)
    }

    /// Moves a branch to a commit that does not descend from its last one.
    ///
    /// # Errors
    /// If there is no such project or branch.
    pub fn force_push(&mut self, project_id: ProjectId, branch: &str) -> Result<Arc<str>> {
        if !self.project_mut(project_id)?.branches.contains_key(branch) {
            return Err(WorldError::not_found("branch", branch));
        }
        self.rewind(project_id, branch);
        let sha = self.push(project_id, branch)?;
        let name = branch.into();
        self.ledger
            .write(self.now, || Event::ForcePushed { project_id, name });
        Ok(sha)
    }

    /// Deletes a branch. Its pipelines stay.
    ///
    /// # Errors
    /// If there is no such project or branch.
    pub fn delete_branch(&mut self, project_id: ProjectId, branch: &str) -> Result<()> {
        let gone = self.project_mut(project_id)?.branches.remove(branch);
        let gone = gone.ok_or_else(|| WorldError::not_found("branch", branch))?;
        self.record_activity(project_id);
        self.ledger.write(self.now, || Event::BranchDeleted {
            project_id,
            name: gone.name,
        });
        Ok(())
    }

    /// Makes a tag on the default branch. Makes no pipeline.
    ///
    /// # Errors
    /// If there is no such project.
    pub fn create_tag(&mut self, project_id: ProjectId, tag: &str) -> Result<()> {
        let (sha, now) = (self.new_sha(), self.now);
        let name: Arc<str> = tag.into();
        let project = self.project_mut(project_id)?;
        project.tags.insert(
            name.clone(),
            GitRef {
                name: name.clone(),
                sha,
                committed_at: now,
            },
        );
        self.record_activity(project_id);
        self.ledger
            .write(now, || Event::TagCreated { project_id, name });
        Ok(())
    }

    /// Deletes a tag. Its pipelines stay.
    ///
    /// # Errors
    /// If there is no such project or tag.
    pub fn delete_tag(&mut self, project_id: ProjectId, tag: &str) -> Result<()> {
        let gone = self.project_mut(project_id)?.tags.remove(tag);
        let gone = gone.ok_or_else(|| WorldError::not_found("tag", tag))?;
        self.record_activity(project_id);
        self.ledger.write(self.now, || Event::TagDeleted {
            project_id,
            name: gone.name,
        });
        Ok(())
    }

    /// Opens a merge request; its source branch is made where it is missing. Gives its iid.
    ///
    /// # Errors
    /// If there is no such project.
    pub fn create_merge_request(
        &mut self,
        project_id: ProjectId,
        source: &str,
        target: &str,
    ) -> Result<u64> {
        let project = self.project_mut(project_id)?;
        let last = project.merge_requests.last_key_value();
        let iid = last.map_or(project.past.merge_requests, |(last, _)| *last) + 1;
        self.create_merge_request_numbered(project_id, iid, source, target)?;
        Ok(iid)
    }

    /// Opens a merge request with a given iid.
    ///
    /// # Errors
    /// If there is no such project or the iid is taken.
    pub fn create_merge_request_numbered(
        &mut self,
        project_id: ProjectId,
        iid: u64,
        source: &str,
        target: &str,
    ) -> Result<()> {
        let project = self.project_mut(project_id)?;
        if project.merge_requests.contains_key(&iid) {
            return Err(WorldError::Taken(format!("merge request {iid}")));
        }
        let tip = project
            .branches
            .get(source)
            .map(|branch| branch.sha.clone());
        let sha = match tip {
            Some(sha) => sha,
            None => self.push(project_id, source)?,
        };
        let (now, id) = (self.now, self.next_merge_request_id);
        self.next_merge_request_id += 1;
        let target_branch: Arc<str> = target.into();
        let review = self.begin_review(project_id, iid);
        self.project_mut(project_id)?.merge_requests.insert(
            iid,
            MergeRequest {
                id,
                iid,
                project_id,
                title: format!("Merge {source}").into(),
                state: MergeRequestState::Opened,
                source_branch: source.into(),
                target_branch: target_branch.clone(),
                sha,
                created_at: now,
                updated_at: now,
                review,
                merged_at: None,
                closed_at: None,
                details: MergeRequestDetails::default(),
            },
        );
        self.record_activity(project_id);
        let project_path = self.project_mut(project_id)?.full_path.clone();
        self.ledger.write(now, || Event::MergeRequestChanged {
            project_id,
            project_path,
            iid,
            state: "opened",
            target_branch,
        });
        Ok(())
    }

    /// Merges, closes or reopens a merge request. A merge moves the target branch, every second one by a
    /// merge commit; the source branch stays.
    ///
    /// # Errors
    /// If there is no such project or merge request.
    pub fn set_merge_request_state(
        &mut self,
        project_id: ProjectId,
        iid: u64,
        state: MergeRequestState,
    ) -> Result<()> {
        let now = self.now;
        let merge_request = self
            .project_mut(project_id)?
            .merge_requests
            .get_mut(&iid)
            .ok_or_else(|| WorldError::not_found("merge request", iid))?;
        merge_request.state = state;
        merge_request.updated_at = now;
        merge_request.merged_at = (state == MergeRequestState::Merged).then_some(now);
        merge_request.closed_at = (state == MergeRequestState::Closed).then_some(now);
        let author = Some(merge_request.review.author.clone());
        let details = &mut merge_request.details;
        details.merged_by = author.clone().filter(|_| merge_request.merged_at.is_some());
        details.closed_by = author.filter(|_| merge_request.closed_at.is_some());
        let target_branch = merge_request.target_branch.clone();
        if state == MergeRequestState::Merged {
            let commit = iid.is_multiple_of(2).then(|| self.merge_commit(project_id));
            self.push_with(project_id, &target_branch, commit.as_ref())?;
            let default = self.project_mut(project_id)?.default_branch.as_ref();
            if default == Some(&target_branch) {
                self.deliveries.merged(project_id, iid);
            }
        }
        self.record_activity(project_id);
        let state = state.as_str();
        let project_path = self.project_mut(project_id)?.full_path.clone();
        self.ledger.write(now, || Event::MergeRequestChanged {
            project_id,
            project_path,
            iid,
            state,
            target_branch,
        });
        Ok(())
    }
}
