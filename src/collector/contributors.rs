//! `contributors`: commits to the default branch and their lines, by author.
//!
//! The newest commit at the first poll is remembered: what leads to it is history. From then on
//! what is reachable from the newest commit and not from the one counted up to is new, so a commit
//! is met once however many pushes and merges bring it. Merge commits are left out, as in GitLab's
//! own list of contributors.
//!
//! # Forced pushes
//! When the commits that are new do not stand on what was seen before, the branch was rewritten:
//! old commits come again under new hashes. What was written before the last poll was counted or is
//! history, and is not counted; what was written since is. A branch that is set back counts
//! nothing, nor does it when it comes forward again. Commits that were counted, went with a forced
//! push and come back by a merge are known by their hashes, the last few hundred of them.

use std::collections::BTreeMap;

use super::{Measured, Measures};
use crate::catalogue::contributors as metric;
use crate::catalogue::labels::AuthorLabels;
use crate::catalogue::{Collector, Measurement};
use crate::facts::contributors::{Branch, Commits};
use crate::gitlab::model::Commit;
use crate::memory::Subject;
use crate::memory::contributors::{Begun, ContributorsMemory};
use crate::people::{Author, People};
use crate::series::Retirement;
use crate::types::Text;

/// Takes in what was read: counts each commit once.
pub fn measure(
    subject: Subject<'_>,
    people: &People,
    read: &Commits,
    memory: &mut ContributorsMemory,
) -> Measures {
    let mut out = Measured::default();
    let earlier = memory.names.begin(people.author_naming());
    follow(subject, people, &read.branch, memory, &mut out);
    memory.read_at = Some(read.read_at);
    memory.activity = read.activity;
    let removed = memory.names.end(earlier, subject.now).into_iter();
    let removed = removed.map(|author| {
        let project = subject.project.clone();
        Retirement::Labels(vec![("project", project), ("author", author)])
    });
    Measures {
        retirements: removed.collect(),
        ..Measures::new(Collector::Contributors, out)
    }
}

/// Follows the branch.
fn follow(
    subject: Subject<'_>,
    people: &People,
    branch: &Branch,
    memory: &mut ContributorsMemory,
    out: &mut Measured,
) {
    match branch {
        Branch::Empty | Branch::Unmoved => {}
        Branch::Begins { name, tip } => {
            memory.begun = Some(Begun {
                branch: name.clone(),
                base: tip.clone(),
                tip: tip.clone(),
            });
        }
        Branch::SetBack { tip } => {
            if let Some(begun) = &mut memory.begun {
                begun.tip = tip.clone();
            }
        }
        Branch::Moved { tip, commits } => {
            count(subject, people, commits, memory, out);
            if let Some(begun) = &mut memory.begun {
                (begun.base, begun.tip) = (tip.clone(), tip.clone());
            }
        }
    }
}

/// Counts what is new, summed up by author.
fn count(
    subject: Subject<'_>,
    people: &People,
    commits: &[Commit],
    memory: &mut ContributorsMemory,
    out: &mut Measured,
) {
    let seen_at = memory.read_at;
    let is_rewritten = !memory
        .begun
        .as_ref()
        .is_some_and(|begun| stands_on(begun, commits));
    let is_new = |commit: &Commit| !is_rewritten || commit.authored_at > seen_at;
    let mut sums: BTreeMap<Text, Sum> = BTreeMap::new();
    // The oldest first, so that the newest claims stay.
    for commit in commits.iter().rev() {
        if commit.is_merge() || !is_new(commit) || !memory.claim(commit) {
            continue;
        }
        let author = people.author_label(&Author {
            name: &commit.author_name,
            email: &commit.author_email,
        });
        let sum = sums.entry(author).or_default();
        sum.commits += 1;
        sum.additions += commit.additions.unwrap_or_default();
        sum.deletions += commit.deletions.unwrap_or_default();
    }
    for (author, sum) in sums {
        out.events.extend(sum.events(subject, &author));
        memory.names.note(&author, subject.now);
    }
}

/// Whether one of these commits follows what was seen before: the branch continued from there.
fn stands_on(begun: &Begun, commits: &[Commit]) -> bool {
    let mut parents = commits.iter().flat_map(|commit| &commit.parents);
    parents.any(|parent| *parent == begun.base || *parent == begun.tip)
}

/// What an author's new commits come to.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    commits: u64,
    additions: u64,
    deletions: u64,
}

impl Sum {
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    fn events(self, subject: Subject<'_>, author: &Text) -> impl Iterator<Item = Measurement> {
        let rises = [
            (&metric::COMMITS, self.commits),
            (&metric::ADDITIONS, self.additions),
            (&metric::DELETIONS, self.deletions),
        ];
        let rises = rises.into_iter().filter(|(_, rise)| *rise > 0);
        rises.map(move |(metric, rise)| metric.add(labels(subject, author), rise as f64))
    }
}

fn labels(subject: Subject<'_>, author: &Text) -> AuthorLabels {
    AuthorLabels {
        author: author.clone(),
        project: subject.project.clone(),
    }
}

#[cfg(test)]
mod tests;
