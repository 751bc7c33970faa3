//! What an exporter must have counted of commits to default branches, from the world's own ledger.

use gitlab_simulator::World;
use gitlab_simulator::time::Millis;
use gitlab_simulator::world::{Entry, Event};
use rand::RngExt;
use rand::rngs::StdRng;

use super::expected::Counts;

/// Commits by the rises of GitLab's total.
pub const TOTAL: &str = "age_repository_commit_count";

/// Metrics of commits.
pub const COUNTED: &[&str] = &[
    TOTAL,
    "age_contributor_commits_count",
    "age_contributor_additions",
    "age_contributor_deletions",
];

/// Most commits of a branch that are written anew at once.
const REWRITTEN: usize = 5;

/// Every commit of the ledger that is no history for an exporter that first looked at `first_look`;
/// merge commits are no author's.
pub fn counts(entries: &[Entry], first_look: Millis) -> Counts {
    let mut counts = Counts::new();
    for entry in entries.iter().filter(|entry| entry.at > first_look) {
        let Event::Committed {
            project_path,
            branch,
            commit,
            ..
        } = &entry.event
        else {
            continue;
        };
        let mut add = |metric: &str, label: (&str, &str), by: u64| {
            let labels = [("project", &**project_path), label];
            let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
            if by > 0 {
                #[expect(clippy::cast_precision_loss, reason = "small counts")]
                let by = by as f64;
                *counts
                    .entry((metric.to_owned(), labels.into()))
                    .or_default() += by;
            }
        };
        add(TOTAL, ("ref", branch), 1);
        if !commit.merge {
            let author = ("author", &*commit.author_name);
            add("age_contributor_commits_count", author, 1);
            add("age_contributor_additions", author, commit.additions);
            add("age_contributor_deletions", author, commit.deletions);
        }
    }
    counts
}

/// How somebody pushes to a default branch by force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// The newest commits are written anew: nothing is new, and GitLab's total stays.
    Rebase,
    /// The newest commits go, for another one.
    Drop,
}

/// Somebody pushes by force, in a project where the newest commits are older than `age`, so that every
/// look has seen them: what goes unseen nobody can count. Tells whether there was such a project.
pub fn push_by_force(world: &mut World, random: &mut StdRng, how: Force, age: Millis) -> bool {
    let before = world.now() - age;
    let settled = |code: &gitlab_simulator::world::Code| {
        let mut newest = code.history().take(REWRITTEN);
        newest.all(|commit| commit.committed_at < before)
    };
    let all: Vec<_> = world.projects().map(|project| project.id).collect();
    let fit = all.into_iter().filter(|id| {
        let code = world.code(*id);
        code.is_some_and(|code| code.history().count() > REWRITTEN && settled(code))
    });
    let fit: Vec<_> = fit.collect();
    if fit.is_empty() {
        return false;
    }
    let project = fit[random.random_range(0..fit.len())];
    match how {
        Force::Rebase => {
            let commits = random.random_range(1..=REWRITTEN);
            world.rewrite(project, commits).expect("it has commits");
        }
        Force::Drop => {
            world.force_push(project, "main").expect("a default branch");
        }
    }
    true
}
