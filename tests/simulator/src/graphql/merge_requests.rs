//! Merge requests, their reviewers and notes.

use std::sync::Arc;

use async_graphql::{Context, ID, Object, Result, SimpleObject};

use super::page::{PageArguments, connection};
use super::project::ProjectNode;
use super::scalars::{
    MergeRequestReviewState, MergeRequestSort, MergeRequestState, NoteId, NotesFilterType,
    SystemNoteMetadataId, Time, UserId,
};
use super::{Asked, gid};
use crate::world::{MergeRequest, Note, Project, Reviewer};

/// A merge request.
#[derive(Clone, Debug)]
pub struct MergeRequestNode(pub MergeRequest);

connection!(MergeRequestConnection, MergeRequestEdge, MergeRequestNode {
    async fn count(&self) -> i32 {
        i32::try_from(self.0.total).unwrap_or(i32::MAX)
    }
});

/// Which merge requests to list.
pub(super) struct MergeRequestFilter {
    pub iids: Option<Vec<String>>,
    pub source_branches: Option<Vec<String>>,
    pub target_branches: Option<Vec<String>>,
    pub state: Option<MergeRequestState>,
    pub updated_after: Option<Time>,
    pub updated_before: Option<Time>,
    /// Numbers of those that a deployment shipped.
    pub deployed: Option<Vec<u64>>,
    pub sort: Option<MergeRequestSort>,
}

impl MergeRequestFilter {
    fn passes(&self, found: &MergeRequest) -> bool {
        let among = |names: &Option<Vec<String>>, name: &str| {
            let names = names.as_ref();
            names.is_none_or(|names| names.iter().any(|one| one == name))
        };
        let (after, before) = (self.updated_after.as_ref(), self.updated_before.as_ref());
        among(&self.iids, &found.iid.to_string())
            && among(&self.source_branches, &found.source_branch)
            && among(&self.target_branches, &found.target_branch)
            && self
                .state
                .as_ref()
                .is_none_or(|state| state.0 == "all" || state.0 == found.state.as_str())
            && self
                .deployed
                .as_ref()
                .is_none_or(|shipped| shipped.contains(&found.iid))
            && after.is_none_or(|time| found.updated_at >= time.at)
            && before.is_none_or(|time| found.updated_at <= time.at)
    }

    /// A page of the merge requests of some projects.
    pub fn list<'w>(
        self,
        asked: &Asked,
        projects: impl Iterator<Item = &'w Project>,
        page: &PageArguments,
    ) -> Result<MergeRequestConnection> {
        let sort = self.sort.as_ref();
        let sort = sort.map_or_else(|| "CREATED_DESC".to_owned(), |sort| sort.0.to_uppercase());
        let descending = !sort.ends_with("_ASC");
        let mut rows: Vec<_> = projects
            .flat_map(|project| project.merge_requests.values())
            .filter(|found| self.passes(found))
            .map(|found| {
                let at = if sort.starts_with("UPDATED") {
                    found.updated_at
                } else {
                    found.created_at
                };
                ((at, found.id), Some(MergeRequestNode(found.clone())))
            })
            .collect();
        rows.sort_by_key(|(key, _)| *key);
        if descending {
            rows.reverse();
        }
        page.cut(rows, descending, asked.page_maximum())
            .map(MergeRequestConnection)
    }
}

#[Object(name = "MergeRequest")]
impl MergeRequestNode {
    async fn id(&self) -> ID {
        gid("MergeRequest", self.0.id)
    }

    async fn iid(&self) -> String {
        self.0.iid.to_string()
    }

    async fn title(&self) -> &str {
        &self.0.title
    }

    async fn state(&self) -> MergeRequestState {
        self.0.state.as_str().into()
    }

    async fn draft(&self) -> bool {
        self.0.title.starts_with("Draft:")
    }

    async fn source_branch(&self) -> &str {
        &self.0.source_branch
    }

    async fn target_branch(&self) -> &str {
        &self.0.target_branch
    }

    async fn diff_head_sha(&self) -> Option<&str> {
        Some(&self.0.sha)
    }

    async fn created_at(&self, ctx: &Context<'_>) -> Time {
        Asked::of(ctx).time(self.0.created_at)
    }

    async fn updated_at(&self, ctx: &Context<'_>) -> Time {
        Asked::of(ctx).time(self.0.updated_at)
    }

    async fn merged_at(&self, ctx: &Context<'_>) -> Option<Time> {
        self.0.merged_at.map(|at| Asked::of(ctx).time(at))
    }

    async fn closed_at(&self, ctx: &Context<'_>) -> Option<Time> {
        self.0.closed_at.map(|at| Asked::of(ctx).time(at))
    }

    async fn conflicts(&self) -> bool {
        self.0.review.conflicts
    }

    async fn commit_count(&self) -> Option<i32> {
        i32::try_from(self.0.review.commits).ok()
    }

    async fn user_notes_count(&self) -> Option<i32> {
        i32::try_from(self.0.review.comments()).ok()
    }

    async fn author(&self, ctx: &Context<'_>) -> Option<MergeRequestAuthor> {
        let author = self.0.review.author.clone();
        Asked::of(ctx)
            .shows_users()
            .then_some(MergeRequestAuthor(author))
    }

    async fn diff_stats_summary(&self, ctx: &Context<'_>) -> Option<DiffStatsSummary> {
        if Asked::of(ctx).is_granular() {
            return None;
        }
        let review = &self.0.review;
        let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
        Some(DiffStatsSummary {
            additions: number(review.additions),
            deletions: number(review.deletions),
            changes: number(review.additions + review.deletions),
            file_count: number(review.files),
        })
    }

    async fn approved_by(
        &self,
        ctx: &Context<'_>,
        after: Option<String>,
        before: Option<String>,
        first: Option<i32>,
        last: Option<i32>,
    ) -> Result<Option<UserCoreConnection>> {
        let page = PageArguments {
            after,
            before,
            first,
            last,
        };
        let users = self.0.review.approved_by.iter();
        let rows = users
            .zip(0..)
            .map(|((name, at), index)| ((*at, index), Some(UserCore(name.clone()))))
            .collect();
        let maximum = Asked::of(ctx).page_maximum();
        page.cut(rows, false, maximum)
            .map(|page| Some(UserCoreConnection(page)))
    }

    async fn reviewers(
        &self,
        ctx: &Context<'_>,
        after: Option<String>,
        before: Option<String>,
        first: Option<i32>,
        last: Option<i32>,
    ) -> Result<Option<MergeRequestReviewerConnection>> {
        let page = PageArguments {
            after,
            before,
            first,
            last,
        };
        let reviewers = self.0.review.reviewers.iter();
        let rows = reviewers
            .zip(0..)
            .map(|(one, index)| ((0, index), Some(MergeRequestReviewer(one.clone()))))
            .collect();
        let maximum = Asked::of(ctx).page_maximum();
        page.cut(rows, false, maximum)
            .map(|page| Some(MergeRequestReviewerConnection(page)))
    }

    async fn notes(
        &self,
        ctx: &Context<'_>,
        filter: Option<NotesFilterType>,
        after: Option<String>,
        before: Option<String>,
        first: Option<i32>,
        last: Option<i32>,
    ) -> Result<NoteConnection> {
        let page = PageArguments {
            after,
            before,
            first,
            last,
        };
        let filter = filter.map_or("ALL_NOTES".into(), |filter| filter.0);
        let notes = self.0.review.notes.iter();
        let rows = notes
            .filter(|note| match &*filter {
                "ONLY_COMMENTS" => note.action.is_none(),
                "ONLY_ACTIVITY" => note.action.is_some(),
                _ => true,
            })
            .map(|note| ((note.created_at, note.id), Some(NoteNode(note.clone()))));
        let mut rows: Vec<_> = rows.collect();
        rows.sort_by_key(|(key, _)| *key);
        let maximum = Asked::of(ctx).page_maximum();
        page.cut(rows, false, maximum).map(NoteConnection)
    }

    async fn project(&self) -> ProjectNode {
        ProjectNode(self.0.project_id)
    }
}

/// The global id of a user.
fn user_id(ctx: &Context<'_>, username: &str) -> UserId {
    let id = Asked::of(ctx).world().account(username).id;
    UserId(gid("User", id).0)
}

/// Defines a user in one of the roles that GitLab's schema tells apart.
macro_rules! user {
    ($(#[$doc:meta])* $type:ident = $name:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $type(pub(super) Arc<str>);

        #[Object(name = $name)]
        impl $type {
            async fn id(&self, ctx: &Context<'_>) -> UserId {
                user_id(ctx, &self.0)
            }

            async fn username(&self) -> &str {
                &self.0
            }

            async fn name(&self, ctx: &Context<'_>) -> String {
                Asked::of(ctx).world().account(&self.0).name.to_string()
            }

            async fn bot(&self, ctx: &Context<'_>) -> bool {
                Asked::of(ctx).world().account(&self.0).bot
            }
        }
    };
}

user!(
    /// Who opened a merge request.
    MergeRequestAuthor = "MergeRequestAuthor"
);
user!(
    /// A user.
    UserCore = "UserCore"
);

connection!(UserCoreConnection, UserCoreEdge, UserCore {
    async fn count(&self) -> i32 {
        i32::try_from(self.0.total).unwrap_or(i32::MAX)
    }
});

/// Somebody whose review is asked for.
#[derive(Clone, Debug)]
pub struct MergeRequestReviewer(Reviewer);

#[Object]
impl MergeRequestReviewer {
    async fn id(&self, ctx: &Context<'_>) -> UserId {
        user_id(ctx, &self.0.username)
    }

    async fn username(&self) -> &str {
        &self.0.username
    }

    async fn name(&self, ctx: &Context<'_>) -> String {
        let world = Asked::of(ctx).world();
        world.account(&self.0.username).name.to_string()
    }

    async fn bot(&self, ctx: &Context<'_>) -> bool {
        Asked::of(ctx).world().account(&self.0.username).bot
    }

    async fn merge_request_interaction(&self) -> Option<UserMergeRequestInteraction> {
        let state = self.0.state.as_str().to_uppercase();
        Some(UserMergeRequestInteraction {
            approved: state == "APPROVED",
            reviewed: state != "UNREVIEWED",
            review_state: Some(state.into()),
        })
    }
}

connection!(MergeRequestReviewerConnection, MergeRequestReviewerEdge, MergeRequestReviewer {
    async fn count(&self) -> i32 {
        i32::try_from(self.0.total).unwrap_or(i32::MAX)
    }
});

/// How far a reviewer is.
#[derive(SimpleObject)]
pub struct UserMergeRequestInteraction {
    approved: bool,
    review_state: Option<MergeRequestReviewState>,
    reviewed: bool,
}

/// Lines and files that a merge request changes.
#[derive(SimpleObject)]
pub struct DiffStatsSummary {
    additions: i32,
    changes: i32,
    deletions: i32,
    file_count: i32,
}

/// A note.
#[derive(Clone, Debug)]
pub struct NoteNode(Note);

#[Object(name = "Note")]
impl NoteNode {
    async fn id(&self) -> NoteId {
        let kind = self.0.details.note_type.as_deref();
        NoteId(gid(kind.unwrap_or("Note"), self.0.id).0)
    }

    async fn created_at(&self, ctx: &Context<'_>) -> Time {
        Asked::of(ctx).time(self.0.created_at)
    }

    async fn updated_at(&self, ctx: &Context<'_>) -> Time {
        Asked::of(ctx).time(self.0.created_at)
    }

    async fn system(&self) -> bool {
        self.0.action.is_some()
    }

    async fn body(&self) -> &str {
        &self.0.body
    }

    async fn author(&self, ctx: &Context<'_>) -> Option<UserCore> {
        let author = self.0.author.clone();
        Asked::of(ctx).shows_users().then_some(UserCore(author))
    }

    async fn system_note_metadata(&self, ctx: &Context<'_>) -> Option<SystemNoteMetadata> {
        let granular = Asked::of(ctx).is_granular();
        let action = self.0.action.filter(|_| !granular)?;
        Some(SystemNoteMetadata {
            id: SystemNoteMetadataId(gid("SystemNoteMetadata", self.0.id).0),
            action: Some(action.to_owned()),
        })
    }
}

connection!(NoteConnection, NoteEdge, NoteNode {
    async fn count(&self) -> i32 {
        i32::try_from(self.0.total).unwrap_or(i32::MAX)
    }
});

/// What GitLab keeps beside a note of its own.
#[derive(SimpleObject)]
pub struct SystemNoteMetadata {
    action: Option<String>,
    id: SystemNoteMetadataId,
}
