//! Repositories: their size, languages, branches and releases.

use super::labels::{LanguageLabels, ProjectLabels, ProjectRefLabels, RepositoryInfoLabels};
use super::{Collector, CollectorDesc, Counter, Desc, Gauge, Merge, Spec};
use crate::types::{Query, Tier};

/// The collector.
pub static COLLECTOR: CollectorDesc = CollectorDesc {
    title: "Repository",
    about: "Sizes need the role Reporter, and can be hours old, as in GitLab.",
    role: "Reporter",
    tier: "Free",
    requests: "one query per 50 projects; before GitLab 18.6 two more REST requests after changes",
    queries: &[Query::Repositories],
    entries: ENTRIES,
};

const fn spec(name: &'static str, unit: &'static str, plan: bool, help: &'static str) -> Spec {
    Spec {
        name,
        unit,
        help,
        collector: Collector::Repository,
        tier: Tier::Free,
        plan,
    }
}

/// Share of a language.
pub static LANGUAGE_PERCENTAGE: Gauge<LanguageLabels> = Gauge::new(spec(
    "age_repository_language_percentage",
    "%",
    true,
    "Share of the language in the default branch, in percent of bytes, as GitLab detected it.",
))
.merged(Merge::Sum);

/// Commits.
pub static COMMIT_COUNT: Counter<ProjectRefLabels> = Counter::new(spec(
    "age_repository_commit_count",
    "",
    true,
    "Commits added to the default branch since the exporter first read it, from increases of GitLab's \
     total; a force push that removes commits does not decrease it.",
));

/// Size of the Git repository.
pub static SIZE: Gauge<ProjectLabels> = Gauge::new(spec(
    "age_repository_size_bytes",
    "By",
    true,
    "Size of the Git repository without LFS objects; GitLab updates it with a delay. All sizes and \
     the commit count need the role Reporter, and are absent without it.",
));

/// Coverage of the default branch.
pub static COVERAGE: Gauge<ProjectLabels> = Gauge::new(spec(
    "age_repository_coverage",
    "%",
    true,
    "Code coverage of the newest pipeline of the default branch that reports one, in percent; taken \
     from pipelines read by the collector pipelines, so the branch must be selected.",
));

/// Branches.
pub static BRANCH_COUNT: Gauge<ProjectLabels> = Gauge::new(spec(
    "age_repository_branch_count",
    "",
    false,
    "Branches of the repository.",
));

/// Tags.
pub static TAG_COUNT: Gauge<ProjectLabels> = Gauge::new(spec(
    "age_repository_tag_count",
    "",
    false,
    "Tags of the repository.",
));

/// Open issues.
pub static OPEN_ISSUES_COUNT: Gauge<ProjectLabels> = Gauge::new(spec(
    "age_repository_open_issues_count",
    "",
    false,
    "Open issues of the project.",
));

/// Stars.
pub static STAR_COUNT: Gauge<ProjectLabels> = Gauge::new(spec(
    "age_repository_star_count",
    "",
    false,
    "Users who starred the project.",
));

/// Forks.
pub static FORK_COUNT: Gauge<ProjectLabels> = Gauge::new(spec(
    "age_repository_fork_count",
    "",
    false,
    "Forks of the project.",
));

/// Last activity.
pub static LAST_ACTIVITY_TIMESTAMP: Gauge<ProjectLabels> = Gauge::new(spec(
    "age_repository_last_activity_timestamp",
    "s",
    false,
    "When a user was last active in the project, in seconds since the Unix epoch; GitLab updates it \
     at most once an hour, and pipelines do not count.",
));

/// Size of LFS objects.
pub static LFS_SIZE: Gauge<ProjectLabels> = Gauge::new(spec(
    "age_repository_lfs_size_bytes",
    "By",
    false,
    "Size of the project's Git LFS objects.",
));

/// Size of artifacts.
pub static ARTIFACTS_SIZE: Gauge<ProjectLabels> = Gauge::new(spec(
    "age_repository_artifacts_size_bytes",
    "By",
    false,
    "Size of the job artifacts that the project keeps.",
));

/// Size of packages.
pub static PACKAGES_SIZE: Gauge<ProjectLabels> = Gauge::new(spec(
    "age_repository_packages_size_bytes",
    "By",
    false,
    "Size of the project's package registry.",
));

/// Size of images.
pub static CONTAINER_REGISTRY_SIZE: Gauge<ProjectLabels> = Gauge::new(spec(
    "age_repository_container_registry_size_bytes",
    "By",
    false,
    "Size of the project's container registry; absent where GitLab does not measure it.",
));

/// Size of the wiki.
pub static WIKI_SIZE: Gauge<ProjectLabels> = Gauge::new(spec(
    "age_repository_wiki_size_bytes",
    "By",
    false,
    "Size of the project's wiki repository.",
));

/// What GitLab knows about a repository.
pub static INFO: Gauge<RepositoryInfoLabels> = Gauge::new(spec(
    "age_repository_info",
    "",
    false,
    "Always 1; the labels carry the default branch, the visibility, whether the project is \
     archived, and with collectors.repository.include_topics its topics, sorted and separated by commas.",
))
.merged(Merge::Largest);

/// Releases.
pub static RELEASE_COUNT: Gauge<ProjectLabels> = Gauge::new(spec(
    "age_release_count",
    "",
    false,
    "Releases of the project, including upcoming ones.",
));

/// Newest release.
pub static RELEASE_LATEST_TIMESTAMP: Gauge<ProjectLabels> = Gauge::new(spec(
    "age_release_latest_timestamp",
    "s",
    false,
    "Release date of the newest release of the project, in seconds since the Unix epoch; upcoming \
     releases are excluded.",
));

/// This file's entries, in the order of `/metrics`.
pub static ENTRIES: &[&Desc] = &[
    &LANGUAGE_PERCENTAGE.desc,
    &COMMIT_COUNT.desc,
    &SIZE.desc,
    &COVERAGE.desc,
    &BRANCH_COUNT.desc,
    &TAG_COUNT.desc,
    &OPEN_ISSUES_COUNT.desc,
    &STAR_COUNT.desc,
    &FORK_COUNT.desc,
    &LAST_ACTIVITY_TIMESTAMP.desc,
    &LFS_SIZE.desc,
    &ARTIFACTS_SIZE.desc,
    &PACKAGES_SIZE.desc,
    &CONTAINER_REGISTRY_SIZE.desc,
    &WIKI_SIZE.desc,
    &INFO.desc,
    &RELEASE_COUNT.desc,
    &RELEASE_LATEST_TIMESTAMP.desc,
];
