//! `code_review`: reviews of merge requests, by reviewer.
//!
//! It measures what the collector `merge_requests` reads. A reviewer's series stay while the
//! reviewer does something, and go some time after the last act: people leave, and their names with
//! them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::merge_requests::{Act, Event, Happening};
use super::{Measured, Subject};
use crate::clock::UnixSeconds;
use crate::gitlab::model::Text;
use crate::gitlab::reviews::User;
use crate::people::{People, Person};
use crate::series::Retirement;
use crate::telemetry::catalogue::code_review as metric;
use crate::telemetry::catalogue::labels::{ProjectLabels, ReviewerLabels};

/// How long a reviewer's series stay after the last act.
const QUIET: Duration = Duration::from_secs(90 * 86_400);

/// What is remembered of a project's reviewers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// How people were called in labels: see [`People::naming`].
    naming: Text,
    /// Labels that have series, and when something last happened there.
    reviewers: BTreeMap<Text, UnixSeconds>,
}

/// Measures what happened in reviews. `named` are the users of merge requests that are history:
/// their series are shown at 0. `pending` is the number of merge requests that wait for a reviewer.
pub fn measure(
    subject: Subject<'_>,
    people: &People,
    happenings: &[Happening<'_>],
    named: &[&User],
    pending: usize,
    memory: &mut Memory,
) -> (Measured, Vec<Retirement>) {
    let mut measured = Measured::default();
    let mut gone = rename(people, memory);
    let label = |user: &User| {
        people.label(&Person {
            username: &user.username,
            name: &user.name,
        })
    };
    for user in named {
        note(subject, label(user), memory, &mut measured);
    }
    for happening in happenings {
        let Event::Act(act) = &happening.event else {
            continue;
        };
        let (user, measurement) = match act {
            Act::Asked(user) => (
                user,
                metric::REQUESTED_COUNT.add(labels(subject, label(user)), 1.0),
            ),
            Act::Approved(user) => (
                user,
                metric::APPROVAL_COUNT.add(labels(subject, label(user)), 1.0),
            ),
            Act::Commented(user) => (
                user,
                metric::COMMENTS.add(labels(subject, label(user)), 1.0),
            ),
            Act::Answered(user, wait) => (
                user,
                metric::TURNAROUND.observe(labels(subject, label(user)), *wait),
            ),
            Act::FirstReview(_) | Act::FirstApproval(_) => continue,
        };
        note(subject, label(user), memory, &mut measured);
        measured.events.push(measurement);
    }
    memory.reviewers.retain(|label, last| {
        let stays = subject.now.since(*last) <= QUIET;
        if !stays {
            gone.push(label.clone());
        }
        stays
    });
    gone.retain(|label| !memory.reviewers.contains_key(label));
    let project = ProjectLabels {
        project: subject.project.clone(),
    };
    #[expect(clippy::cast_precision_loss, reason = "merge requests are few")]
    let pending = pending as f64;
    measured
        .states
        .push(metric::PENDING_COUNT.set(project, pending));
    let gone = gone.into_iter().map(|reviewer| {
        Retirement::Labels(vec![
            ("project", subject.project.clone()),
            ("reviewer", reviewer),
        ])
    });
    (measured, gone.collect())
}

fn labels(subject: Subject<'_>, reviewer: Text) -> ReviewerLabels {
    ReviewerLabels {
        project: subject.project.clone(),
        reviewer,
    }
}

/// When people are called otherwise than before, all the earlier names go.
fn rename(people: &People, memory: &mut Memory) -> Vec<Text> {
    let naming = people.naming();
    if memory.naming == naming {
        return Vec::new();
    }
    memory.naming = naming;
    std::mem::take(&mut memory.reviewers).into_keys().collect()
}

/// Notes that a reviewer is there; a new one is born.
fn note(subject: Subject<'_>, label: Text, memory: &mut Memory, measured: &mut Measured) {
    if memory
        .reviewers
        .insert(label.clone(), subject.now)
        .is_some()
    {
        return;
    }
    let labels = labels(subject, label);
    measured.births.extend([
        metric::TURNAROUND.series(labels.clone()),
        metric::APPROVAL_COUNT.series(labels.clone()),
        metric::REQUESTED_COUNT.series(labels.clone()),
        metric::COMMENTS.series(labels),
    ]);
}
