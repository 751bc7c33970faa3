//! Authors of commits.

use super::labels::AuthorLabels;
use super::{Collector, CollectorDesc, Counter, Desc, Spec};
use crate::types::Tier;

/// The collector.
pub static COLLECTOR: CollectorDesc = CollectorDesc {
    title: "Contributors",
    about: "",
    role: "Reporter",
    tier: "Free",
    requests: "after repository changes, branch heads in batched queries; one REST request per 100 new commits",
    queries: &[],
    entries: ENTRIES,
};

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
    "Commits by the author added to the default branch since the exporter first read it, each counted \
     once; merge commits are excluded, as in GitLab's list of contributors. After a force push only \
     commits authored since the previous poll count.",
));

/// Lines added.
pub static ADDITIONS: Counter<AuthorLabels> = Counter::new(spec(
    "age_contributor_additions",
    "",
    true,
    "Lines that the commits in age_contributor_commits_count added; merge commits are excluded.",
));

/// Lines deleted.
pub static DELETIONS: Counter<AuthorLabels> = Counter::new(spec(
    "age_contributor_deletions",
    "",
    true,
    "Lines that the commits in age_contributor_commits_count deleted; merge commits are excluded.",
));

/// This file's entries, in the order of `/metrics`.
pub static ENTRIES: &[&Desc] = &[&COMMITS.desc, &ADDITIONS.desc, &DELETIONS.desc];
