//! Versions: what a newer program makes of an older file, and the other way round.

use super::super::super::Commit;
use super::super::super::sample;
use super::super::super::stored::{decode, encode};
use super::write::{Changing, change, rewrite_by};
use super::*;
use crate::store::stored::{Invalid, Row};

fn identity() -> Identity {
    Identity {
        gitlab: "https://gitlab.example.com".to_owned(),
        accept: false,
    }
}

/// A file with something in every part.
fn database() -> Database {
    let memory = redb::backends::InMemoryBackend::new();
    let database = Database::builder().create_with_backend(memory).unwrap();
    begin(&database, &identity()).unwrap();
    write(&database, &sample::commit(), &Committed::new()).unwrap();
    database
}

fn why_too_new(read: Result<Loaded>) -> String {
    match read {
        Err(Error::TooNew(why)) => why,
        other => panic!("{other:?}"),
    }
}

/// A version in which paths are written in another way twice over.
const PATHS: Steps = Steps {
    parts: &[
        STEPS.parts[0],
        STEPS.parts[1],
        STEPS.parts[2],
        STEPS.parts[3],
        STEPS.parts[4],
        STEPS.parts[5],
        ("path", &[with_a, with_b]),
    ],
    ..STEPS
};

fn with_a(content: &[u8]) -> std::result::Result<Vec<u8>, Invalid> {
    encode(&format!("{}a", decode::<String>(content)?))
}

fn with_b(content: &[u8]) -> std::result::Result<Vec<u8>, Invalid> {
    encode(&format!("{}b", decode::<String>(content)?))
}

#[test]
fn an_older_part_is_upgraded_step_by_step_and_an_older_program_refuses_the_newer() {
    let database = database();
    let loaded = read_by(&database, &PATHS).unwrap();
    assert_eq!(loaded.outdated.len(), 3, "one per project");
    assert_eq!(&*loaded.remembered.projects[0].1.path, "group/projectab");
    // Nothing is written before it is to be.
    assert_eq!(read(&database).unwrap().outdated.len(), 0);
    rewrite_by(&database, &loaded, &PATHS).unwrap();
    let again = read_by(&database, &PATHS).unwrap();
    assert_eq!(again.outdated.len(), 0);
    assert_eq!(again.remembered.projects, loaded.remembered.projects);
    assert_eq!(again.remembered.rows, loaded.remembered.rows);
    let why = why_too_new(read(&database));
    assert_eq!(why, "path of project 1 has version 3, 1 is known");
}

/// Counters get another label name; histograms cannot continue.
const LABELS: Steps = Steps {
    rows: &[STEPS.rows[0], STEPS.rows[1], rename],
    ..STEPS
};

fn rename(content: &[u8], _: &ProjectMemory) -> std::result::Result<Option<Vec<u8>>, Invalid> {
    let mut row: Row = decode(content)?;
    if row.name != "age_pipeline_run_count" {
        return Ok(None);
    }
    row.labels[1].0 = "a_project".into();
    row.labels[1].1 = "renamed".into();
    encode(&row).map(Some)
}

#[test]
fn rows_whose_labels_changed_are_rewritten_or_dropped() {
    let database = database();
    let loaded = read_by(&database, &LABELS).unwrap();
    let dropped = [("age_pipeline_queued_duration_seconds".to_owned(), 1)];
    assert_eq!(loaded.outdated.dropped(), dropped.into());
    rewrite_by(&database, &loaded, &LABELS).unwrap();
    let again = read_by(&database, &LABELS).unwrap();
    assert_eq!(again.outdated.len(), 0);
    let [row, _] = &again.remembered.rows[..] else {
        panic!("{:?}", again.remembered.rows)
    };
    assert_eq!(&*row.labels[1].1, "renamed");
    assert_eq!(row.value, sample::remembered().rows[0].value);
    // It is found under its new key.
    let removed = Commit {
        removed: again
            .remembered
            .rows
            .iter()
            .map(crate::series::RowRecord::key)
            .collect(),
        ..Commit::default()
    };
    write(&database, &removed, &Committed::new()).unwrap();
    assert_eq!(read_by(&database, &LABELS).unwrap().remembered.rows, []);
}

#[test]
fn a_part_that_no_version_knows_is_too_new_and_one_that_is_stored_no_more_is_removed() {
    let database = database();
    change(&database, |transaction, meta, bytes| {
        let mut memories = Changing::memories(transaction, meta, bytes)?;
        memories.put(1, b"weather", 1, b"fair")
    })
    .unwrap();
    let why = why_too_new(read(&database));
    assert_eq!(why, "weather of project 1 is not known");
    let without = Steps {
        dropped: &["weather"],
        ..STEPS
    };
    let loaded = read_by(&database, &without).unwrap();
    assert_eq!(loaded.outdated.len(), 1);
    rewrite_by(&database, &loaded, &without).unwrap();
    assert_eq!(read(&database).unwrap().outdated.len(), 0);
}

#[test]
fn a_later_format_is_refused() {
    let database = database();
    let transaction = database.begin_write().unwrap();
    let mut table = transaction.open_table(META).unwrap();
    put_meta(&mut table, FORMAT, FORMAT_RECORD, &(VERSION + 1)).unwrap();
    drop(table);
    transaction.commit().unwrap();
    let why = why_too_new(read(&database));
    assert_eq!(why, "its format has version 2, 1 is known");
    assert!(matches!(
        begin(&database, &identity()),
        Err(Error::TooNew(_))
    ));
}

#[test]
fn a_commit_encodes_only_the_parts_that_changed() {
    let database = database();
    let commit = sample::commit();
    let known: Committed = sample::remembered().projects.into_iter().collect();
    let of = |commit: &Commit, known: &Committed| write(&database, commit, known).unwrap();
    let memories_only = Commit {
        rows: Vec::new(),
        ..commit.clone()
    };
    assert_eq!(of(&memories_only, &known), Bytes::default());
    // Without knowing what is there, everything is encoded, and nothing written.
    let all = of(&memories_only, &Committed::new());
    assert!(all.encoded > 2000 && all.written == 0, "{all:?}");
    let mut moved = memories_only.clone();
    let memory = moved.projects[0].1.as_mut().unwrap();
    Arc::make_mut(memory).variables.regexp = "^OTHER".to_owned();
    let one = of(&moved, &known);
    assert!(one.encoded < 200 && one.written == one.encoded, "{one:?}");
    // What is as in a new project takes no record.
    let memory = moved.projects[0].1.as_mut().unwrap();
    Arc::make_mut(memory).variables = Default::default();
    of(&moved, &known);
    let remembered = read(&database).unwrap().remembered;
    assert_eq!(
        remembered.projects[0].1,
        *moved.projects[0].1.as_ref().unwrap()
    );
}

#[test]
fn what_is_stored_of_a_state_is_read_back_the_same() {
    let loaded = read(&database()).unwrap();
    let expected = sample::remembered();
    assert_eq!(loaded.remembered.projects, expected.projects);
    assert_eq!(loaded.remembered.rows, expected.rows);
    assert_eq!(loaded.remembered.committed_at, expected.committed_at);
    assert_eq!(loaded.outdated.len(), 0);
}
