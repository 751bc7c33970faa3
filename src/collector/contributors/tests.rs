//! Commits are counted once, whatever happens to the branch.

use std::collections::BTreeMap;

use super::*;
use crate::clock::UnixSeconds;
use crate::config::{Labels, PeopleNames, ProjectSettings};
use crate::gitlab::model::Known;
use crate::memory::contributors::CLAIMS;
use crate::memory::refs::RefsSeen;
use crate::types::ProjectId;

/// A hash from a word: its beginning identifies it.
fn sha(word: &str) -> Text {
    let hex: String = word.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("{hex:0<40}").into()
}

/// A commit by Ada with three lines added and one deleted, written at this time.
fn commit(word: &str, parents: &[&str], authored: i64) -> Commit {
    Commit {
        sha: sha(word),
        author_name: "Ada".into(),
        author_email: "ada@example.com".into(),
        authored_at: Some(UnixSeconds(authored)),
        parents: parents.iter().map(|parent| sha(parent)).collect(),
        additions: Some(3),
        deletions: Some(1),
    }
}

fn by(name: &str, commit: Commit) -> Commit {
    Commit {
        author_name: name.into(),
        author_email: format!("{name}@example.com").into(),
        ..commit
    }
}

fn people(people: PeopleNames) -> People {
    let people_hash_key = Some("a long random text".into());
    People::new(&Labels {
        people,
        people_hash_key,
        ..Labels::default()
    })
}

/// A branch that began, and what is remembered of it.
struct Watched {
    memory: ContributorsMemory,
    people: People,
    now: i64,
}

impl Watched {
    /// One that is at the commit `tip` at time 100.
    fn at(tip: &str) -> Self {
        let mut watched = Self::new(PeopleNames::Username);
        watched.begins(tip);
        watched
    }

    fn new(names: PeopleNames) -> Self {
        Self {
            memory: ContributorsMemory::default(),
            people: people(names),
            now: 0,
        }
    }

    /// A poll, 100 seconds after the last one.
    fn poll(&mut self, branch: Branch) -> Measures {
        self.now += 100;
        let subject = Subject {
            id: ProjectId(1),
            project: &"group/app".into(),
            paths: &BTreeMap::new(),
            settings: &ProjectSettings::default(),
            max_pipelines_per_ref: 1,
            refs: &RefsSeen::default(),
            tier: Known::Unread,
            now: UnixSeconds(self.now),
        };
        let read = Commits {
            branch,
            activity: None,
            read_at: UnixSeconds(self.now),
        };
        let measures = measure(subject, &self.people, &read, &mut self.memory);
        assert_eq!(measures.measured.states, []);
        measures
    }

    fn begins(&mut self, tip: &str) -> Measures {
        self.poll(Branch::Begins {
            name: "main".into(),
            tip: sha(tip),
        })
    }

    /// Commits, the newest first, that lead to the first of them.
    fn moves(&mut self, commits: Vec<Commit>) -> Vec<String> {
        let tip = commits.first().map(|commit| commit.sha.clone()).unwrap();
        let measures = self.poll(Branch::Moved { tip, commits });
        assert_eq!(measures.retirements, []);
        shown(&measures)
    }
}

/// The events, in short.
fn shown(measures: &Measures) -> Vec<String> {
    let events = measures.measured.events.iter();
    let short = |event: &Measurement| {
        let name = event.desc.name.trim_start_matches("age_contributor_");
        format!("{} {name} {}", event.labels[0], event.value)
    };
    events.map(short).collect()
}

const NOTHING: [&str; 0] = [];
const ONE: [&str; 3] = ["Ada commits_count 1", "Ada additions 3", "Ada deletions 1"];

#[test]
fn what_exists_at_the_first_poll_is_history() {
    let mut watched = Watched::new(PeopleNames::Username);
    let first = watched.begins("a");
    assert_eq!(shown(&first), NOTHING);
    assert_eq!(first.measured.initializations, []);
    assert_eq!(shown(&watched.poll(Branch::Unmoved)), NOTHING);
}

#[test]
fn new_commits_are_counted_by_author_without_merges() {
    let mut watched = Watched::at("a");
    let merge = by("Ben", commit("m", &["a", "c"], 150));
    let counted = watched.moves(vec![
        merge,
        commit("c", &["b"], 20),
        by("Ben", commit("b", &["a"], 10)),
        by(
            "Ben",
            Commit {
                additions: None,
                deletions: Some(0),
                ..commit("x", &["a"], 10)
            },
        ),
        commit("y", &["x"], 10),
    ]);
    // They were written long ago, on another branch, and come now.
    assert_eq!(
        counted,
        [
            "Ada commits_count 2",
            "Ada additions 6",
            "Ada deletions 2",
            "Ben commits_count 2",
            "Ben additions 3",
            "Ben deletions 1"
        ]
    );
    assert_eq!(shown(&watched.poll(Branch::Unmoved)), NOTHING);
    let begun = watched.memory.begun.unwrap();
    assert_eq!((begun.base, begun.tip), (sha("m"), sha("m")));
}

#[test]
fn an_author_without_lines_has_commits() {
    let mut watched = Watched::at("a");
    let empty = Commit {
        additions: Some(0),
        deletions: Some(0),
        ..commit("b", &["a"], 150)
    };
    let tip = empty.sha.clone();
    let commits = vec![empty];
    let measures = watched.poll(Branch::Moved { tip, commits });
    assert_eq!(shown(&measures), ["Ada commits_count 1"]);
}

#[test]
fn after_a_forced_push_only_what_was_written_since_the_last_poll_counts() {
    let mut watched = Watched::at("a");
    assert_eq!(watched.moves(vec![commit("b", &["a"], 150)]), ONE);
    // At 200: b is rewritten as b2 on another a, and c comes.
    let rewritten = vec![
        commit("c", &["b2"], 250),
        commit("b2", &["a2"], 150),
        commit("a2", &[], 50),
    ];
    assert_eq!(watched.moves(rewritten), ONE);
    // What follows is ordinary again.
    assert_eq!(watched.moves(vec![commit("d", &["c"], 5)]), ONE);
    // Without a time nothing is known.
    let untimed = Commit {
        authored_at: None,
        ..commit("e", &["z"], 0)
    };
    assert_eq!(watched.moves(vec![untimed]), NOTHING);
}

#[test]
fn a_branch_that_is_set_back_and_comes_forward_again_counts_nothing() {
    let mut watched = Watched::at("c");
    let back = Branch::SetBack { tip: sha("a") };
    assert_eq!(shown(&watched.poll(back)), NOTHING);
    let begun = watched.memory.begun.clone().unwrap();
    assert_eq!((begun.base, begun.tip), (sha("c"), sha("a")));
    let forward = Branch::SetBack { tip: sha("c") };
    assert_eq!(shown(&watched.poll(forward)), NOTHING);
    // The branch continues from the commit it was set back to: nothing was rewritten.
    watched.poll(Branch::SetBack { tip: sha("a") });
    assert_eq!(watched.moves(vec![commit("d", &["a"], 5)]), ONE);
}

#[test]
fn counted_commits_that_went_and_come_back_by_a_merge_are_known() {
    let mut watched = Watched::at("a");
    watched.moves(vec![commit("c", &["b"], 20), commit("b", &["a"], 10)]);
    // A forced push takes them away, for another commit.
    assert_eq!(watched.moves(vec![commit("d", &["a"], 250)]), ONE);
    let back = vec![
        commit("m", &["d", "e"], 350),
        commit("e", &["c"], 340),
        commit("c", &["b"], 20),
        commit("b", &["a"], 10),
    ];
    assert_eq!(watched.moves(back), ONE);
}

#[test]
fn claims_are_bounded_and_the_newest_stay() {
    let mut memory = ContributorsMemory::default();
    let numbered = |number: usize| commit(&format!("{number:08}"), &[], 0);
    for number in 0..CLAIMS + 10 {
        assert!(memory.claim(&numbered(number)));
    }
    assert_eq!(memory.claims.len(), CLAIMS);
    assert!(!memory.claim(&numbered(CLAIMS + 9)) && memory.claim(&numbered(0)));
    // What is no hash is not known again, and does no harm.
    let odd = Commit {
        sha: "ä".into(),
        ..numbered(0)
    };
    assert!(memory.claim(&odd) && memory.claim(&odd));
}

#[test]
fn a_branch_that_cannot_be_followed_begins_again() {
    let mut watched = Watched::at("a");
    let again = watched.begins("z");
    assert_eq!(shown(&again), NOTHING);
    assert_eq!(again.measured.initializations, []);
    assert_eq!(watched.moves(vec![commit("y", &["z"], 5)]), ONE);
}

#[test]
fn an_empty_repository_has_nothing() {
    let mut watched = Watched::new(PeopleNames::Username);
    let empty = watched.poll(Branch::Empty);
    assert!(empty.measured.is_empty());
    assert_eq!(watched.memory.begun, None);
    assert_eq!(watched.memory.read_at, Some(UnixSeconds(100)));
}

#[test]
fn people_are_called_what_the_settings_say() {
    for (names, label) in [
        (PeopleNames::Name, "Ada"),
        (PeopleNames::Hash, "a7090f9b3488d3c5"),
        (PeopleNames::None, "all"),
    ] {
        let mut watched = Watched::new(names);
        watched.begins("a");
        let counted = watched.moves(vec![
            commit("c", &["b"], 150),
            by("Ben", commit("b", &["a"], 150)),
        ]);
        let expected = if names == PeopleNames::None { 2 } else { 1 };
        let expected = format!("{label} commits_count {expected}");
        assert!(counted.contains(&expected), "{counted:?}");
    }
}

fn removed(author: &str) -> Retirement {
    Retirement::Labels(vec![
        ("project", "group/app".into()),
        ("author", author.into()),
    ])
}

#[test]
fn after_a_change_of_the_setting_the_old_names_go_and_counting_goes_on() {
    let mut watched = Watched::new(PeopleNames::Username);
    watched.begins("a");
    watched.moves(vec![
        by("Ben", commit("b", &["a0"], 140)),
        commit("a0", &["a"], 130),
    ]);
    // By full name they are called as they were.
    watched.people = people(PeopleNames::Name);
    assert_eq!(watched.poll(Branch::Unmoved).retirements, []);
    watched.people = people(PeopleNames::None);
    let poll = watched.poll(Branch::Moved {
        tip: sha("c"),
        commits: vec![commit("c", &["b"], 250)],
    });
    // An author really has this name: the series stay.
    assert_eq!(poll.retirements, [removed("Ada"), removed("Ben")]);
    assert_eq!(shown(&poll)[0], "all commits_count 1");
    assert_eq!(watched.poll(Branch::Unmoved).retirements, []);
}

#[test]
fn an_author_who_has_not_committed_for_long_goes() {
    let mut watched = Watched::new(PeopleNames::Username);
    watched.begins("a");
    watched.moves(vec![by("Ben", commit("a1", &["a"], 140))]);
    watched.now += 80 * 86_400;
    watched.moves(vec![commit("b", &["a1"], 150)]);
    watched.now += 11 * 86_400;
    assert_eq!(watched.poll(Branch::Unmoved).retirements, [removed("Ben")]);
    assert_eq!(watched.poll(Branch::Unmoved).retirements, []);
    watched.now += 80 * 86_400;
    let back = watched.poll(Branch::Moved {
        tip: sha("c"),
        commits: vec![by("Ben", commit("c", &["b"], 250))],
    });
    assert_eq!(back.retirements, [removed("Ada")]);
}
