//! Merge requests and reviews, poll by poll.

use std::collections::BTreeMap;

use super::*;
use crate::collector::code_review;
use crate::config::{Labels, ProjectSettings};
use crate::gitlab::model::{CensusEntry, CensusPage, DiffStats, Note, NoteKind, Reviewer, User};
use crate::gitlab::model::{Known, Page};
use crate::memory::names::Names;
use crate::memory::refs::{Listing, RefsSeen};
use crate::people::People;
use crate::store::{content, read};
use crate::types::ProjectId;

const HOUR: i64 = 3600;

fn user(name: &str) -> User {
    User {
        id: None,
        username: name.into(),
        name: name.into(),
        bot: name == "bot",
    }
}

fn note(id: u64, at: i64, author: &str, kind: NoteKind) -> Note {
    Note {
        id,
        created_at: UnixSeconds(at),
        author: Some(user(author)),
        kind,
    }
}

fn asks(id: u64, at: i64, names: &[&str]) -> Note {
    let asked = names.iter().map(|&name| name.into()).collect();
    let kind = NoteKind::Reviewers {
        asked,
        released: Vec::new(),
    };
    note(id, at, "ada", kind)
}

pub(crate) fn merge_request(iid: u64, created: i64) -> ReviewedMergeRequest {
    ReviewedMergeRequest {
        iid,
        state: "opened".into(),
        draft: false,
        conflicts: false,
        target_branch: "main".into(),
        created_at: UnixSeconds(created),
        updated_at: UnixSeconds(created),
        merged_at: None,
        closed_at: None,
        author: Some(user("ada")),
        commits: Some(2),
        comments: Some(1),
        diff: Some(DiffStats {
            additions: 30,
            deletions: 12,
            files: 3,
        }),
        approvals: Some(1),
        reviewers: Vec::new(),
        notes: Page::default(),
        notes_read: true,
    }
}

fn merged(one: &ReviewedMergeRequest, at: i64) -> ReviewedMergeRequest {
    ReviewedMergeRequest {
        state: "merged".into(),
        merged_at: Some(UnixSeconds(at)),
        updated_at: UnixSeconds(at),
        ..one.clone()
    }
}

fn closed(one: &ReviewedMergeRequest, at: i64) -> ReviewedMergeRequest {
    ReviewedMergeRequest {
        state: "closed".into(),
        closed_at: Some(UnixSeconds(at)),
        updated_at: UnixSeconds(at),
        ..one.clone()
    }
}

fn noted(one: &ReviewedMergeRequest, at: i64, notes: &[Note]) -> ReviewedMergeRequest {
    ReviewedMergeRequest {
        updated_at: UnixSeconds(at),
        notes: Page {
            items: notes.to_vec(),
            ..Page::default()
        },
        ..one.clone()
    }
}

/// A project that is polled again and again.
#[derive(Default)]
struct Watched {
    memory: MergeRequestsMemory,
    reviews: Names,
    refs: RefsSeen,
    now: i64,
    first: Option<i64>,
}

/// What a poll gave.
struct Poll {
    measured: [Measured; 2],
    retired: Vec<Retirement>,
}

impl Poll {
    /// Events as `metric label value`.
    fn events(&self) -> Vec<String> {
        let events = self.measured.iter().flat_map(|measured| &measured.events);
        events.map(shown).collect()
    }

    fn state(&self, metric: &str, labels: &str) -> Option<f64> {
        let states = self.measured.iter().flat_map(|measured| &measured.states);
        let mut found = states
            .filter(|state| state.desc.name == metric && text(state).ends_with(labels))
            .map(|state| state.value);
        found.next()
    }
}

fn text(measurement: &Measurement) -> String {
    let values: Vec<&str> = measurement.labels.iter().map(|value| &**value).collect();
    values[1..].join(" ")
}

fn shown(measurement: &Measurement) -> String {
    let name = measurement.desc.name.trim_start_matches("age_");
    format!("{name} {} {}", text(measurement), measurement.value)
}

impl Watched {
    fn poll(&mut self, at: i64, read: MergeRequests) -> Poll {
        self.now = at;
        let first = *self.first.get_or_insert(at);
        let read = MergeRequests {
            floor: (at > first).then(|| UnixSeconds((at - 600).max(first))),
            forget: UnixSeconds(at - 600),
            ..read
        };
        let happenings = absorb(&read, &mut self.memory);
        let (settings, paths) = (ProjectSettings::default(), BTreeMap::new());
        let subject = Subject {
            id: ProjectId(1),
            project: &"group/app".into(),
            paths: &paths,
            settings: &settings,
            max_pipelines_per_ref: 1,
            refs: &self.refs,
            tier: Known::Unread,
            now: UnixSeconds(at),
        };
        let (mine, mut retired) = measure(subject, &happenings, &mut self.memory);
        let (theirs, others) = code_review::measure(
            subject,
            &People::new(&Labels::default()),
            &happenings,
            self.memory.pending(),
            &mut self.reviews,
        );
        retired.extend(others);
        Poll {
            measured: [mine, theirs],
            retired,
        }
    }

    fn open(&mut self, at: i64, open: &[ReviewedMergeRequest]) -> Poll {
        let open = Some(open.to_vec());
        self.poll(
            at,
            MergeRequests {
                open,
                ..MergeRequests::default()
            },
        )
    }

    fn moved(&mut self, at: i64, moved: &[ReviewedMergeRequest]) -> Poll {
        let moved = moved.to_vec();
        self.poll(
            at,
            MergeRequests {
                moved,
                ..MergeRequests::default()
            },
        )
    }
}

#[test]
fn history_is_shown_and_not_counted() {
    let mut watched = Watched::default();
    let old = noted(
        &merge_request(1, 0),
        HOUR,
        &[
            asks(1, 10, &["ben"]),
            note(2, 20, "ben", NoteKind::Approved),
        ],
    );
    let poll = watched.open(10 * HOUR, &[old.clone(), merge_request(2, 5 * HOUR)]);
    assert_eq!(poll.events(), [""; 0]);
    assert_eq!(poll.state("age_mr_open_count", "main"), Some(2.0));
    assert_eq!(
        poll.state("age_mr_oldest_open_age_seconds", "main"),
        Some(36_000.0)
    );
    assert_eq!(poll.measured[0].initializations, []);
    assert_eq!(
        poll.state("age_mr_status", "opened main"),
        None,
        "not counted yet"
    );
}

#[test]
fn what_happens_is_counted_once_however_often_it_is_read() {
    let mut watched = Watched::default();
    watched.open(HOUR, &[]);
    let new = merge_request(7, HOUR + 60);
    let poll = watched.moved(HOUR + 120, std::slice::from_ref(&new));
    assert_eq!(poll.events(), ["mr_created_total main 1"]);
    let done = merged(&new, HOUR + 200);
    let poll = watched.moved(HOUR + 240, std::slice::from_ref(&done));
    assert_eq!(
        poll.events(),
        [
            "mr_time_to_merge_seconds main 140",
            "mr_changes_count main 42",
            "mr_files_changed_count main 3",
            "mr_commits_count main 2",
            "mr_approvals_count main 1",
            "mr_open_duration_seconds main 140",
            "mr_review_cycles_count main 0",
            "mr_notes_count main 1",
            "mr_throughput_count main 1",
        ]
    );
    let again = watched.moved(HOUR + 360, std::slice::from_ref(&done));
    assert_eq!(again.events(), [""; 0], "the overlap");
    // Forgotten by now, and read again for a comment.
    watched.moved(3 * HOUR, &[]);
    assert!(watched.memory.known.is_empty());
    let comment = note(9, 3 * HOUR + 60, "ben", NoteKind::Comment);
    let late = noted(&done, 3 * HOUR + 60, &[comment]);
    let poll = watched.moved(3 * HOUR + 120, &[late]);
    assert_eq!(
        poll.events(),
        [
            "mr_time_to_first_review_seconds main 7200",
            "review_comments_total ben 1"
        ]
    );
}

#[test]
fn a_merge_request_opened_and_merged_between_two_polls_is_counted_whole() {
    let mut watched = Watched::default();
    watched.open(HOUR, &[]);
    let quick = merged(&merge_request(7, HOUR + 10), HOUR + 50);
    let events = watched.moved(HOUR + 120, &[quick]).events();
    assert_eq!(events[0], "mr_created_total main 1");
    assert_eq!(events.last().unwrap(), "mr_throughput_count main 1");
}

#[test]
fn closing_again_counts_again() {
    let mut watched = Watched::default();
    let one = merge_request(1, 0);
    watched.open(HOUR, std::slice::from_ref(&one));
    let counted = |poll: &Poll| {
        let events = poll.events();
        events
            .iter()
            .filter(|event| event.starts_with("mr_closed"))
            .count()
    };
    assert_eq!(
        counted(&watched.moved(HOUR + 120, &[closed(&one, HOUR + 60)])),
        1
    );
    assert_eq!(
        counted(&watched.moved(HOUR + 240, &[closed(&one, HOUR + 60)])),
        0
    );
    assert_eq!(
        counted(&watched.moved(HOUR + 360, std::slice::from_ref(&one))),
        0
    );
    assert_eq!(
        counted(&watched.moved(HOUR + 480, &[closed(&one, HOUR + 400)])),
        1
    );
}

#[test]
fn a_review_goes_from_request_to_answer_and_round_again() {
    let mut watched = Watched::default();
    watched.open(HOUR, &[]);
    let start = HOUR + 60;
    let mut notes = vec![
        note(1, start + 5, "ada", NoteKind::Comment),
        note(2, start + 6, "bot", NoteKind::Comment),
        asks(3, start + 10, &["ben", "bot", "ada"]),
    ];
    let one = merge_request(7, start);
    let poll = watched.moved(start + 20, &[noted(&one, start + 10, &notes)]);
    assert_eq!(
        poll.events(),
        ["mr_created_total main 1", "review_requested_count ben 1"],
        "neither the author nor a program reviews"
    );
    notes.push(note(4, start + 40, "ben", NoteKind::RequestedChanges));
    notes.push(note(5, start + 50, "ada", NoteKind::Pushed));
    notes.push(note(6, start + 70, "ben", NoteKind::Approved));
    notes.push(note(7, start + 80, "ada", NoteKind::Pushed));
    let poll = watched.moved(start + 100, &[noted(&one, start + 80, &notes)]);
    assert_eq!(
        poll.events(),
        [
            "mr_time_to_first_review_seconds main 40",
            "mr_time_to_approve_seconds main 70",
            "review_turnaround_seconds ben 30",
            "review_approval_count ben 1",
        ]
    );
    let poll = watched.moved(start + 200, &[merged(&noted(&one, 0, &notes), start + 150)]);
    let cycles = "mr_review_cycles_count main 1".to_owned();
    assert!(poll.events().contains(&cycles), "{:?}", poll.events());
}

#[test]
fn who_was_named_at_creation_needs_no_note_that_asks() {
    let mut watched = Watched::default();
    watched.open(HOUR, &[]);
    let reviewer = Reviewer {
        user: user("ben"),
        waits: Some(true),
    };
    let one = ReviewedMergeRequest {
        reviewers: vec![reviewer],
        ..merge_request(7, HOUR + 60)
    };
    let poll = watched.moved(HOUR + 120, std::slice::from_ref(&one));
    assert!(
        poll.events()
            .contains(&"review_requested_count ben 1".to_owned())
    );
    assert_eq!(poll.state("age_review_pending_count", ""), Some(1.0));
    let poll = watched.moved(HOUR + 240, &[one]);
    assert_eq!(poll.events(), [""; 0]);
}

#[test]
fn what_rest_reads_without_notes_is_begun_when_it_moves() {
    let mut watched = Watched::default();
    let unread = ReviewedMergeRequest {
        notes_read: false,
        ..merge_request(1, 0)
    };
    watched.open(HOUR, &[unread]);
    let notes = [
        note(1, 10, "ben", NoteKind::Comment),
        note(2, HOUR + 50, "chiara", NoteKind::Comment),
    ];
    let poll = watched.moved(
        HOUR + 120,
        &[noted(&merge_request(1, 0), HOUR + 50, &notes)],
    );
    assert_eq!(poll.events(), ["review_comments_total chiara 1"]);
}

#[test]
fn an_open_one_that_was_deleted_is_removed_at_the_next_full_poll() {
    let mut watched = Watched::default();
    let both = [merge_request(1, 0), merge_request(2, 0)];
    let entry = |iid| CensusEntry {
        iid,
        state: "opened".into(),
        target_branch: "main".into(),
    };
    let page = CensusPage {
        project: ProjectId(1),
        count: Some(2),
        last: 2,
        entries: Page {
            items: vec![entry(1), entry(2)],
            ..Page::default()
        },
    };
    let poll = watched.poll(
        HOUR,
        MergeRequests {
            open: Some(both.to_vec()),
            census: vec![(1..=100, page)],
            ..MergeRequests::default()
        },
    );
    assert_eq!(poll.state("age_mr_status", "opened main"), Some(2.0));
    let poll = watched.open(2 * HOUR, &both[1..]);
    assert_eq!(poll.state("age_mr_open_count", "main"), Some(1.0));
    assert_eq!(poll.state("age_mr_status", "opened main"), Some(1.0));
    assert_eq!(poll.events(), [""; 0], "that is no closing");
}

#[test]
fn a_target_branch_goes_when_it_was_deleted() {
    let mut watched = Watched::default();
    let one = merge_request(1, 0);
    watched.open(HOUR, std::slice::from_ref(&one));
    let done = merged(&one, HOUR + 60);
    assert_eq!(watched.moved(HOUR + 120, &[done]).retired, []);
    watched.refs.branches = Some(Listing {
        at: UnixSeconds(HOUR + 200),
        names: ["develop".into()].into(),
    });
    let poll = watched.moved(HOUR + 240, &[]);
    let removed = vec![
        ("project", "group/app".into()),
        ("target_branch", "main".into()),
    ];
    assert_eq!(poll.retired, [Retirement::Labels(removed)]);
    assert_eq!(poll.state("age_mr_open_count", "main"), None);
}

#[test]
fn stacked_merge_requests_leave_nothing_behind() {
    let mut watched = Watched::default();
    watched.open(HOUR, &[]);
    let stacked = ReviewedMergeRequest {
        target_branch: "feature-1".into(),
        ..merge_request(7, HOUR + 60)
    };
    let poll = watched.moved(HOUR + 120, &[merged(&stacked, HOUR + 100)]);
    assert_eq!(poll.state("age_mr_open_count", "feature-1"), Some(0.0));
    let poll = watched.moved(32 * 24 * HOUR, &[]);
    assert_eq!(poll.retired.len(), 1);
    assert_eq!(poll.state("age_mr_open_count", "feature-1"), None);
}

#[test]
fn a_reviewer_goes_a_while_after_the_last_act() {
    let mut watched = Watched::default();
    let one = merge_request(1, 0);
    watched.open(HOUR, std::slice::from_ref(&one));
    let said = note(1, HOUR + 60, "ben", NoteKind::Comment);
    watched.moved(HOUR + 120, &[noted(&one, HOUR + 60, &[said])]);
    assert_eq!(watched.moved(80 * 24 * HOUR, &[]).retired, []);
    let removed = vec![("project", "group/app".into()), ("reviewer", "ben".into())];
    assert_eq!(
        watched.moved(95 * 24 * HOUR, &[]).retired,
        [Retirement::Labels(removed)]
    );
}

#[test]
fn who_is_waited_for_is_remembered_without_a_name() {
    let mut watched = Watched::default();
    watched.open(1000, &[]);
    let one = ReviewedMergeRequest {
        reviewers: vec![Reviewer {
            user: user("chiara"),
            waits: None,
        }],
        ..merge_request(1, 1100)
    };
    let asked = noted(&one, 1200, &[asks(1, 1200, &["chiara", "ben"])]);
    watched.open(2000, std::slice::from_ref(&asked));
    let remembered = content(&watched.memory);
    let text = String::from_utf8_lossy(&remembered);
    for name in ["chiara", "ben"] {
        assert!(!text.contains(name), "{text}");
    }
    // After a restart the answer is that of who was asked.
    watched.memory = read(&remembered);
    let notes = [
        asks(1, 1200, &["chiara", "ben"]),
        note(2, 2300, "ben", NoteKind::Reviewed),
    ];
    let poll = watched.open(2500, &[noted(&asked, 2300, &notes)]);
    let events = poll.events();
    let answered = "review_turnaround_seconds ben 1100".to_owned();
    assert!(events.contains(&answered), "{events:?}");
    assert_eq!(poll.state("age_review_pending_count", ""), Some(1.0));
}

#[test]
fn a_merge_whose_time_gitlab_lost_counts_once() {
    let timeless = |one: &ReviewedMergeRequest, at: i64| ReviewedMergeRequest {
        merged_at: None,
        ..merged(one, at)
    };
    let merges = |poll: &Poll| {
        let events = poll.events();
        let throughput = events.iter().filter(|event| event.contains("throughput"));
        throughput.count()
    };
    let mut watched = Watched::default();
    let one = merge_request(1, 0);
    watched.open(HOUR, std::slice::from_ref(&one));
    let poll = watched.moved(HOUR + 120, &[timeless(&one, HOUR + 60)]);
    assert_eq!(merges(&poll), 1, "{:?}", poll.events());
    let poll = watched.moved(HOUR + 240, &[timeless(&one, HOUR + 200)]);
    assert_eq!(merges(&poll), 0, "a comment moved it");
    let poll = watched.moved(HOUR + 360, &[merged(&one, HOUR + 50)]);
    assert_eq!(merges(&poll), 0, "its time came late");
    // One of the past, seen for the first time.
    let old = timeless(&merge_request(2, 0), HOUR + 400);
    assert_eq!(merges(&watched.moved(HOUR + 480, &[old])), 0);
}
