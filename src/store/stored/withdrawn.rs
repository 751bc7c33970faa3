//! What was withdrawn of a project.

use super::keep::{Map, stored_struct};
use crate::memory::withdrawn::Withdrawn;
use crate::types::Text;

stored_struct! {
    StoredWithdrawn of Withdrawn { removed_at: Option<i64>, collectors: Map<Text, i64> }
}
