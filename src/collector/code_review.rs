//! `code_review`: reviews of merge requests, by reviewer.
//!
//! It measures what the collector `merge_requests` reads.

use super::Measured;
use super::merge_requests::{Act, Event, Happening};
use crate::catalogue::code_review as metric;
use crate::catalogue::labels::{ProjectLabels, ReviewerLabels};
use crate::facts::merge_requests::MergeRequests;
use crate::gitlab::model::User;
use crate::memory::Subject;
use crate::memory::names::Names;
use crate::people::{People, Person};
use crate::series::Retirement;
use crate::types::Text;

/// Measures what happened in reviews. `named` are the users of merge requests that are history:
/// their series are shown at 0. `pending` is the number of merge requests that wait for a reviewer.
pub fn measure(
    subject: Subject<'_>,
    people: &People,
    happenings: &[Happening<'_>],
    named: &[&User],
    pending: usize,
    names: &mut Names,
) -> (Measured, Vec<Retirement>) {
    let mut measured = Measured::default();
    let earlier = names.begin(people.naming());
    let label = |user: &User| {
        people.label(&Person {
            username: &user.username,
            name: &user.name,
        })
    };
    for user in named {
        note(subject, &label(user), names, &mut measured);
    }
    for happening in happenings {
        let Event::Act(act) = &happening.event else {
            continue;
        };
        let (Act::Asked(user)
        | Act::Approved(user)
        | Act::Commented(user)
        | Act::Answered(user, _)) = act
        else {
            continue;
        };
        let reviewer = label(user);
        note(subject, &reviewer, names, &mut measured);
        let labels = labels(subject, reviewer);
        measured.events.push(match act {
            Act::Asked(_) => metric::REQUESTED_COUNT.add(labels, 1.0),
            Act::Approved(_) => metric::APPROVAL_COUNT.add(labels, 1.0),
            Act::Answered(_, wait) => metric::TURNAROUND.observe(labels, *wait),
            _ => metric::COMMENTS.add(labels, 1.0),
        });
    }
    let project = ProjectLabels {
        project: subject.project.clone(),
    };
    #[expect(clippy::cast_precision_loss, reason = "merge requests are few")]
    let pending = pending as f64;
    measured
        .states
        .push(metric::PENDING_COUNT.set(project, pending));
    let removed = names.end(earlier, subject.now).into_iter();
    let removed = removed.map(|reviewer| {
        Retirement::Labels(vec![
            ("project", subject.project.clone()),
            ("reviewer", reviewer),
        ])
    });
    (measured, removed.collect())
}

fn labels(subject: Subject<'_>, reviewer: Text) -> ReviewerLabels {
    ReviewerLabels {
        project: subject.project.clone(),
        reviewer,
    }
}

/// Notes that a reviewer is there, with all series.
fn note(subject: Subject<'_>, reviewer: &Text, names: &mut Names, measured: &mut Measured) {
    if !names.note(reviewer, subject.now) {
        return;
    }
    let labels = labels(subject, reviewer.clone());
    measured.initializations.extend([
        metric::TURNAROUND.series(labels.clone()),
        metric::APPROVAL_COUNT.series(labels.clone()),
        metric::REQUESTED_COUNT.series(labels.clone()),
        metric::COMMENTS.series(labels),
    ]);
}

/// The reviewers of open merge requests, when a project is first read.
#[must_use]
pub fn reviewers_of_history(read: &MergeRequests) -> Vec<&User> {
    let history = read.open.iter().flatten().filter(|_| read.is_first);
    let named = history.flat_map(|one| one.reviewers.iter().map(|reviewer| &reviewer.user));
    named.filter(|user| !user.bot).collect()
}
