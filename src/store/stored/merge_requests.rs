//! Merge requests, reviews, and people who have series.

use super::keep::{Map, stored_enum, stored_struct};
use crate::memory::contributors::{Begun, ContributorsMemory};
use crate::memory::merge_requests::census::Census;
use crate::memory::merge_requests::thread::{Phase, Thread};
use crate::memory::merge_requests::{
    MergeRequestsMemory, MergeRequestsProgress, RememberedMergeRequest,
};
use crate::memory::names::Names;
use crate::types::Text;

stored_struct! {
    StoredMergeRequestsState of MergeRequestsProgress {
        first_seen: i64,
        read_at: Option<i64>,
        full_at: i64,
    }
}

stored_struct! {
    StoredCensus of Census {
        branches: Vec<Text>,
        cells: Vec<u16>,
        read: u64,
        last: Option<u64>,
        known: bool,
        doubted: bool,
    } without { read_again, hidden }
}

stored_enum! {
    StoredPhase of Phase { Unreviewed, Reviewed, Changed }
}

stored_struct! {
    StoredThread of Thread {
        begun: bool,
        last: u64,
        phase: StoredPhase,
        approved: bool,
        reviewed: bool,
        cycles: u32,
        waiting: Map<Text, i64>,
    }
}

stored_struct! {
    StoredKnownMergeRequestState of RememberedMergeRequest {
        state: Text,
        draft: bool,
        conflicts: bool,
        waits: bool,
        target_branch: Text,
        created_at: i64,
        updated_at: i64,
        merged_at: Option<i64>,
        closed_at: Option<i64>,
        thread: StoredThread,
    }
}

stored_struct! {
    StoredMergeRequests of MergeRequestsMemory {
        census: StoredCensus,
        known: Map<u64, StoredKnownMergeRequestState>,
        branches: Map<Text, i64>,
    }
}

stored_struct! {
    StoredNames of Names { naming: Text, last: Map<Text, i64> }
}

stored_struct! {
    StoredBegun of Begun { branch: Text, base: Text, tip: Text }
}

stored_struct! {
    StoredContributors of ContributorsMemory {
        begun: Option<StoredBegun>,
        read_at: Option<i64>,
        activity: Option<i64>,
        names: StoredNames,
        claims: Vec<u64>,
    }
}
