//! Authors of commits.

use super::labels::AuthorLabels;
use super::{Collector, Counter, Desc, Spec, Tier};

const fn spec(name: &'static str, unit: &'static str, plan: bool, help: &'static str) -> Spec {
    Spec {
        name,
        unit,
        help,
        collector: Collector::Contributors,
        tier: Tier::Free,
        plan,
    }
}

/// Commits of an author.
pub static COMMITS: Counter<AuthorLabels> = Counter::new(spec(
    "age_contributor_commits_count",
    "",
    true,
    "Commits of the author that came to the default branch since the exporter first saw it.",
));

/// Lines added.
pub static ADDITIONS: Counter<AuthorLabels> = Counter::new(spec(
    "age_contributor_additions",
    "",
    true,
    "Lines that the author's commits to the default branch added since the exporter first saw \
     it; merge commits are left out.",
));

/// Lines deleted.
pub static DELETIONS: Counter<AuthorLabels> = Counter::new(spec(
    "age_contributor_deletions",
    "",
    true,
    "Lines that the author's commits to the default branch deleted since the exporter first saw \
     it; merge commits are left out.",
));

/// This file's entries, in the order of `/metrics`.
pub static ENTRIES: &[&Desc] = &[&COMMITS.desc, &ADDITIONS.desc, &DELETIONS.desc];
