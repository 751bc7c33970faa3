//! `code_review`: reviews of merge requests, by reviewer.
//!
//! It measures what the collector `merge_requests` reads.

use super::Measured;
use super::merge_requests::{Act, Event, Happening};
use crate::catalogue::code_review as metric;
use crate::catalogue::labels::{ProjectLabels, ReviewerLabels};
use crate::gitlab::model::User;
use crate::memory::Subject;
use crate::memory::names::Names;
use crate::people::{People, Person};
use crate::series::Retirement;
use crate::types::Text;

/// Measures what happened in reviews. `pending` is the number of merge requests that wait for a
/// reviewer.
pub fn measure(
    subject: Subject<'_>,
    people: &People,
    happenings: &[Happening<'_>],
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
        names.note(&reviewer, subject.now);
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
