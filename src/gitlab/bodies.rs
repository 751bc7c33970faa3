//! What this program makes of GitLab's answers, without a server: for property tests and fuzzing
//! only.

pub use super::graphql::bodies::{GraphQlAnswer, graphql};
pub use super::rest::bodies::{RestAnswer, rest};

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Every item, and every list's owner, as `Debug` writes them.
    pub items: Vec<String>,
    /// A sentence for each that was left out.
    pub skipped: Vec<String>,
}

impl Reading {
    /// Notes an item.
    pub(super) fn item(&mut self, item: &impl std::fmt::Debug) {
        self.items.push(format!("{item:?}"));
    }

    /// Notes all of a page.
    pub(super) fn page<T: std::fmt::Debug>(&mut self, page: super::model::Page<T>) {
        for item in &page.items {
            self.item(item);
        }
        self.skipped.extend(page.skipped);
    }
}
