//! Refs: which exist, which were removed, which started something elsewhere.

use super::keep::{Map, stored_as, stored_enum, stored_struct};
use crate::gitlab::model::RefKind;
use crate::memory::first_reading::FirstReading;
use crate::memory::parents::{Parent, Parents, Started};
use crate::memory::ref_listing::RefsProgress;
use crate::memory::refs::{Listing, RefName, RefsSeen};
use crate::memory::removed_refs::{RemovedRefs, SourceBranches};
use crate::types::Text;

stored_enum! {
    StoredRefKind of RefKind { Branch, Tag, MergeRequest }
}

stored_struct! {
    StoredRefName of RefName { kind: StoredRefKind, name: Text }
}

stored_struct! {
    StoredRefsState of RefsProgress {
        activity: Option<i64>,
        again_at: Option<i64>,
        pipelines_checked_at: Option<i64>,
        asked: Vec<StoredRefName>,
    }
}

stored_struct! {
    StoredFirstReading of FirstReading { is_whole: bool, has_merge_requests: bool }
}

stored_struct! {
    StoredListing of Listing { at: i64, names: Vec<Text> }
}

stored_struct! {
    StoredRefsSeen of RefsSeen {
        branches: Option<StoredListing>,
        tags: Option<StoredListing>,
        merge_requests: Map<u64, Text>,
    }
}

stored_as!(RemovedRefs: Map<Text, i64>);
stored_as!(SourceBranches: Map<Text, Map<u64, i64>>);

stored_struct! {
    StoredStarted of Started { parent_project: Text, parent_ref: Text, project: Text }
}

stored_struct! {
    StoredParent of Parent { project: u64, last: i64 }
}

stored_as!(Parents: Map<StoredStarted, StoredParent>);
