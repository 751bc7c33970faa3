//! `merge_requests`: merge requests by the branch they go into.
//!
//! What moved is read with all its notes, and again for a while: the touch of a merge request is
//! throttled. So open merge requests and those that moved lately are remembered, each with the last
//! note that was taken in. For what is not remembered the floor separates events from history: an
//! event before it is history or was counted.
//!
//! Target branches are shown while they exist, if the rules for branches watch them; others only
//! while something is open or ended lately, so that stacked merge requests leave nothing behind.

#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Measured;
use crate::catalogue::labels::{MergeRequestStateLabels, TargetBranchLabels};
use crate::catalogue::merge_requests as metric;
use crate::catalogue::{Gauge, Histogram, Measurement};
use crate::clock::UnixSeconds;
use crate::facts::merge_requests::MergeRequests;
use crate::gitlab::model::ReviewedMergeRequest;
use crate::memory::Subject;
use crate::memory::merge_requests::{MergeRequestsMemory, RememberedMergeRequest, STATES, Thread};
use crate::memory::refs::watches_branch;
use crate::series::Retirement;
use crate::types::Text;

pub use crate::memory::merge_requests::Act;

/// How long a target branch that no rule watches is shown after its last merge request ended.
const UNWATCHED: Duration = Duration::from_secs(30 * 86_400);

/// What happened to a merge request.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// It was created.
    Created,
    /// It was merged.
    Merged,
    /// It was closed.
    Closed,
    /// Something happened in its review.
    Act(Act),
}

/// An event with the merge request as it is now.
#[derive(Clone, Debug)]
pub struct Happening<'a> {
    /// The merge request.
    pub of: &'a ReviewedMergeRequest,
    /// Its review cycles so far.
    pub cycles: u32,
    /// What happened.
    pub event: Event,
}

/// Takes in what was read and returns what happened, each thing once.
pub fn absorb<'a>(read: &'a MergeRequests, memory: &mut MergeRequestsMemory) -> Vec<Happening<'a>> {
    let mut happenings = Vec::new();
    for (numbers, page) in &read.census {
        memory.census.take(numbers.clone(), page);
    }
    if let Some(page) = &read.counted {
        memory.census.compare(page);
    }
    for one in read.open.iter().flatten().chain(&read.moved) {
        take(read, one, &mut memory.known, &mut happenings);
    }
    if let Some(open) = &read.open {
        let listed: BTreeSet<u64> = open.iter().chain(&read.moved).map(|one| one.iid).collect();
        let census = &mut memory.census;
        memory.known.retain(|iid, known| {
            let stays = !known.is_open() || listed.contains(iid);
            if !stays {
                census.remove(*iid);
            }
            stays
        });
    }
    for (iid, known) in &memory.known {
        memory.census.set(*iid, &known.state, &known.target_branch);
    }
    let forget = read.forget;
    memory
        .known
        .retain(|_, known| known.is_open() || known.updated_at >= forget);
    happenings
}

fn take<'a>(
    read: &MergeRequests,
    one: &'a ReviewedMergeRequest,
    all: &mut BTreeMap<u64, RememberedMergeRequest>,
    out: &mut Vec<Happening<'a>>,
) {
    let before = all.remove(&one.iid);
    let remembered = before.is_some();
    let counts = |at: UnixSeconds| remembered || read.floor.is_some_and(|floor| at >= floor);
    let is_recent = remembered || counts(one.created_at);
    let (known_state, known_merge, known_close, mut thread) = match before {
        Some(known) => (known.state, known.merged_at, known.closed_at, known.thread),
        None => (Text::default(), None, None, Thread::default()),
    };
    // Where GitLab lost the time of a merge or close, it moved last then; of one that was created long ago
    // and is seen for the first time, anything may have moved it.
    let ends_as = |state: &str| is_recent && &*one.state == state && &*known_state != state;
    let merged_at = one
        .merged_at
        .or_else(|| ends_as("merged").then_some(one.updated_at))
        .or(known_merge);
    let closed_at = one
        .closed_at
        .or_else(|| ends_as("closed").then_some(one.updated_at))
        .or(known_close);
    let has_begun = thread.has_begun();
    let acts = thread.take(one, |at| {
        has_begun || read.floor.is_some_and(|floor| at >= floor)
    });
    let mut events = Vec::new();
    if !remembered && counts(one.created_at) {
        events.push(Event::Created);
    }
    events.extend(acts.into_iter().map(Event::Act));
    let is_new =
        |at: Option<UnixSeconds>, known| at.is_some_and(|at| Some(at) != known && counts(at));
    // It is merged once: its time may come late.
    if known_merge.is_none() && is_new(merged_at, None) {
        events.push(Event::Merged);
    }
    if is_new(closed_at, known_close) {
        events.push(Event::Closed);
    }
    out.extend(events.into_iter().map(|event| Happening {
        of: one,
        cycles: thread.cycles,
        event,
    }));
    let known = RememberedMergeRequest {
        state: one.state.clone(),
        draft: one.draft,
        conflicts: one.conflicts,
        waits: thread.waits(one),
        target_branch: one.target_branch.clone(),
        created_at: one.created_at,
        updated_at: one.updated_at,
        merged_at,
        closed_at,
        thread,
    };
    all.insert(one.iid, known);
}

/// Measures what happened, and returns all states.
pub fn measure(
    subject: Subject<'_>,
    happenings: &[Happening<'_>],
    memory: &mut MergeRequestsMemory,
) -> (Measured, Vec<Retirement>) {
    let mut measured = Measured::default();
    for happening in happenings {
        count(subject, happening, &mut measured.events);
    }
    let removed = branches(subject, happenings, memory);
    states(subject, memory, &mut measured.states);
    let removed = removed.into_iter().map(|branch| {
        Retirement::Labels(vec![
            ("project", subject.project.clone()),
            ("target_branch", branch),
        ])
    });
    (measured, removed.collect())
}

fn labels(subject: Subject<'_>, branch: &Text) -> TargetBranchLabels {
    TargetBranchLabels {
        project: subject.project.clone(),
        target_branch: branch.clone(),
    }
}

fn count(subject: Subject<'_>, happening: &Happening<'_>, out: &mut Vec<Measurement>) {
    let one = happening.of;
    let labels = || labels(subject, &one.target_branch);
    let mut observe = |histogram: &'static Histogram<TargetBranchLabels>, value: Option<f64>| {
        out.extend(value.map(|value| histogram.observe(labels(), value)));
    };
    match &happening.event {
        Event::Created => out.push(metric::CREATED.add(labels(), 1.0)),
        Event::Merged => {
            let merged_at = one.merged_at.unwrap_or(one.updated_at);
            let age = merged_at.since(one.created_at).as_secs_f64();
            let lines = one
                .diff
                .map(|diff| diff.additions.saturating_add(diff.deletions));
            observe(&metric::TIME_TO_MERGE, Some(age));
            observe(&metric::CHANGES, lines.map(float));
            observe(
                &metric::FILES_CHANGED,
                one.diff.map(|diff| float(diff.files)),
            );
            observe(&metric::COMMITS, one.commits.map(float));
            observe(&metric::APPROVALS, one.approvals.map(float));
            ended(happening, age, &mut observe);
            out.push(metric::THROUGHPUT.add(labels(), 1.0));
        }
        Event::Closed => {
            let closed_at = one.closed_at.unwrap_or(one.updated_at);
            let age = closed_at.since(one.created_at).as_secs_f64();
            ended(happening, age, &mut observe);
            out.push(metric::CLOSED.add(labels(), 1.0));
        }
        Event::Act(Act::FirstReview(age)) => observe(&metric::TIME_TO_FIRST_REVIEW, Some(*age)),
        Event::Act(Act::FirstApproval(age)) => observe(&metric::TIME_TO_APPROVE, Some(*age)),
        Event::Act(_) => {}
    }
}

fn ended(
    happening: &Happening<'_>,
    age: f64,
    observe: &mut impl FnMut(&'static Histogram<TargetBranchLabels>, Option<f64>),
) {
    observe(&metric::OPEN_DURATION, Some(age));
    observe(&metric::REVIEW_CYCLES, Some(f64::from(happening.cycles)));
    observe(&metric::NOTES, happening.of.comments.map(float));
}

/// Keeps the target branches that can have series; returns removed ones.
fn branches(
    subject: Subject<'_>,
    happenings: &[Happening<'_>],
    memory: &mut MergeRequestsMemory,
) -> Vec<Text> {
    let mut used: BTreeMap<Text, UnixSeconds> = BTreeMap::new();
    let mut uses = |branch: &Text, at: UnixSeconds| {
        let known = used.entry(branch.clone()).or_default();
        *known = at.max(*known);
    };
    for one in memory.known.values() {
        if one.is_open() {
            uses(&one.target_branch, one.created_at);
        }
    }
    for happening in happenings {
        let one = happening.of;
        let ended = one.merged_at.max(one.closed_at).unwrap_or_default();
        uses(&one.target_branch, ended.max(one.created_at));
    }
    for branch in memory.census.counts().into_keys() {
        let never = UnixSeconds::default();
        if watches_branch(branch, subject.settings) && !subject.refs.misses_branch(branch, never) {
            uses(branch, never);
        }
    }
    for (branch, at) in used {
        let known = memory.branches.entry(branch).or_default();
        *known = at.max(*known);
    }
    let open: BTreeSet<&Text> = memory
        .known
        .values()
        .filter(|one| one.is_open())
        .map(|one| &one.target_branch)
        .collect();
    let is_removed = |branch: &Text, used: UnixSeconds| {
        !open.contains(branch)
            && match watches_branch(branch, subject.settings) {
                true => subject.refs.misses_branch(branch, used),
                false => subject.now.since(used) > UNWATCHED,
            }
    };
    let mut removed = Vec::new();
    memory.branches.retain(|branch, used| {
        let goes = is_removed(branch, *used);
        if goes {
            removed.push(branch.clone());
        }
        !goes
    });
    removed
}

fn states(subject: Subject<'_>, memory: &MergeRequestsMemory, out: &mut Vec<Measurement>) {
    let census = memory.census.counts();
    for branch in memory.branches.keys() {
        let open: Vec<&RememberedMergeRequest> = memory
            .open()
            .filter(|one| one.target_branch == *branch)
            .collect();
        let mut set = |gauge: &'static Gauge<TargetBranchLabels>, value: f64| {
            out.push(gauge.set(labels(subject, branch), value));
        };
        let number = |is: fn(&RememberedMergeRequest) -> bool| {
            float(open.iter().filter(|one| is(one)).count() as u64)
        };
        set(&metric::OPEN_COUNT, number(|_| true));
        set(&metric::DRAFT_COUNT, number(|one| one.draft));
        set(&metric::CONFLICT_COUNT, number(|one| one.conflicts));
        if let Some(oldest) = open.iter().map(|one| one.created_at).min() {
            let age = subject.now.since(oldest).as_secs_f64();
            set(&metric::OLDEST_OPEN_AGE, age);
        }
        if !memory.census.is_known() {
            continue;
        }
        let counts = census.get(branch).copied().unwrap_or_default();
        for (state, count) in STATES.into_iter().zip(counts) {
            let labels = MergeRequestStateLabels {
                project: subject.project.clone(),
                state: state.into(),
                target_branch: branch.clone(),
            };
            out.push(metric::STATUS.set(labels, float(count)));
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn float(number: u64) -> f64 {
    number as f64
}
