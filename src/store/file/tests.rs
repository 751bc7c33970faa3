//! The store in a file: what it keeps, what it refuses, and that it leaves alone what it refuses.

use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use tempfile::TempDir;

use super::super::conformance;
use super::*;
use crate::clock::UnixSeconds;
use crate::memory::ProjectMemory;
use crate::series::{RecordedValue, RowRecord};
use crate::types::ProjectId;

const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

fn settings(path: &Path) -> FileSettings {
    FileSettings {
        path: path.to_owned(),
        reset: false,
        patience: Duration::ZERO,
    }
}

fn open(path: &Path) -> Result<FileStore, OpenError> {
    FileStore::open(&settings(path), &Clock::manual(NOW), |_| {})
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    (folder, path)
}

fn commit(total: f64) -> Commit {
    let memory = ProjectMemory {
        path: "group/project".into(),
        ..ProjectMemory::default()
    };
    Commit {
        projects: vec![(ProjectId(1), Some(Arc::new(memory)))],
        rows: vec![RowRecord {
            name: "age_pipeline_run_count".into(),
            labels: vec![("project".into(), "group/project".into())],
            start: NOW,
            changed: NOW,
            value: RecordedValue::Counter(total),
            retiring: false,
        }],
        told: NOW,
        ..Commit::default()
    }
}

fn totals(remembered: &Remembered) -> Vec<&RecordedValue> {
    remembered.rows.iter().map(|row| &row.value).collect()
}

#[tokio::test]
async fn it_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let count = AtomicUsize::new(0);
    let new = async || {
        let number = count.fetch_add(1, Ordering::Relaxed);
        open(&folder.path().join(number.to_string())).unwrap()
    };
    conformance::run(new, FileStore::fence).await;
}

#[tokio::test]
async fn what_was_committed_outlives_the_process_and_so_does_its_name() {
    let (_folder, path) = folder();
    let store = open(&path).unwrap();
    let instance = store.instance_id().to_owned();
    store.commit(commit(5.0)).await.unwrap();
    drop(store);
    let store = open(&path).unwrap();
    assert_eq!(store.instance_id(), instance);
    let remembered = store.load().await.unwrap();
    assert_eq!(totals(&remembered), [&RecordedValue::Counter(5.0)]);
    assert_eq!(&*remembered.projects[0].1.path, "group/project");
    assert_eq!(remembered.told, NOW);
}

#[tokio::test]
async fn a_file_that_another_process_holds_is_waited_for_and_then_named() {
    let (_folder, path) = folder();
    let store = open(&path).unwrap();
    let error = open(&path).unwrap_err().to_string();
    let holder = format!("process {}", std::process::id());
    assert!(error.contains(&holder), "{error}");
    let patient = FileSettings {
        patience: Duration::from_secs(30),
        ..settings(&path)
    };
    let mut said = Vec::new();
    let mut held = Some(store);
    let second = FileStore::open(&patient, &Clock::manual(NOW), |opening| {
        said.push(opening.to_string());
        drop(held.take());
    });
    assert!(second.is_ok(), "{second:?}");
    assert!(
        matches!(&said[..], [one] if one.contains(&holder)),
        "{said:?}"
    );
}

#[tokio::test]
async fn a_reset_starts_anew_and_keeps_the_old_file() {
    let (folder, path) = folder();
    let store = open(&path).unwrap();
    store.commit(commit(5.0)).await.unwrap();
    drop(store);
    let reset = FileSettings {
        reset: true,
        ..settings(&path)
    };
    let mut said = Vec::new();
    let store = FileStore::open(&reset, &Clock::manual(NOW), |it| said.push(it)).unwrap();
    assert!(store.load().await.unwrap().rows.is_empty());
    let aside = folder.path().join("state.redb.1800000000.old");
    assert_eq!(said, [Opening::PutAside(aside.clone())]);
    let old = open(&aside).unwrap().load().await.unwrap();
    assert_eq!(totals(&old), [&RecordedValue::Counter(5.0)]);
}

#[test]
fn what_is_no_state_is_refused_with_a_sentence_and_left_alone() {
    let (folder, path) = folder();
    let cases: [(&[u8], &str); 3] = [
        (b"", "is empty"),
        (b"log: {level: info}\n", "is damaged or no state"),
        (&[0; 100_000], "is damaged or no state"),
    ];
    for (content, why) in cases {
        fs::write(&path, content).unwrap();
        let error = open(&path).unwrap_err().to_string();
        assert!(error.starts_with("state.path: "), "{error}");
        assert!(
            error.contains(why) && error.contains("--state-reset"),
            "{error}"
        );
        assert_eq!(fs::read(&path).unwrap(), content);
    }
    let error = open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("state.path"), "{error}");
    let error = open(&folder.path().join("none/state")).unwrap_err();
    assert!(
        error.to_string().contains("the folder must exist"),
        "{error}"
    );
}

/// A file with enough in it that damage can hit anything.
fn full() -> Vec<u8> {
    let (_folder, path) = folder();
    let store = open(&path).unwrap();
    for number in 0..40 {
        let mut commit = commit(f64::from(number));
        commit.rows[0].labels[0].1 = format!("project-{number}-{}", "x".repeat(300)).into();
        store.shared.commit(&commit).unwrap();
    }
    drop(store);
    fs::read(&path).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn damage_is_never_a_panic_and_what_is_refused_stays_as_it_was(
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1..=255_u8), 0..40),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        thread_local! {
            static FULL: Vec<u8> = full();
        }
        let mut bytes = FULL.with(Clone::clone);
        for (place, flip) in flips {
            let place = place.index(bytes.len());
            bytes[place] ^= flip;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let (_folder, path) = folder();
        fs::write(&path, &bytes).unwrap();
        match open(&path) {
            // Damage where nothing is.
            Ok(store) => drop(store.shared.load()),
            Err(error) => {
                prop_assert!(error.to_string().contains("--state-reset"), "{}", error);
                prop_assert!(fs::read(&path).unwrap() == bytes);
            }
        }
    }
}

#[cfg(unix)]
#[tokio::test]
async fn after_an_error_of_the_disk_the_file_is_opened_anew() {
    let (_folder, path) = folder();
    let store = open(&path).unwrap();
    store.commit(commit(1.0)).await.unwrap();
    // Away from under it: nothing more can be opened or kept there.
    let elsewhere = path.with_extension("away");
    store.shared.lock().database = None;
    fs::rename(&path, &elsewhere).unwrap();
    fs::create_dir(&path).unwrap();
    let refused = store.commit(commit(2.0)).await.unwrap_err();
    assert!(refused.to_string().contains("state.path"), "{refused}");
    assert_eq!(refused.kind(), "store");
    fs::remove_dir(&path).unwrap();
    fs::rename(&elsewhere, &path).unwrap();
    let remembered = store.load().await.unwrap();
    assert_eq!(totals(&remembered), [&RecordedValue::Counter(1.0)]);
    store.commit(commit(3.0)).await.unwrap();
    let remembered = store.load().await.unwrap();
    assert_eq!(totals(&remembered), [&RecordedValue::Counter(3.0)]);
}

#[test]
fn a_damaged_instance_id_is_refused_before_anything_is_written() {
    let (_folder, path) = folder();
    drop(open(&path).unwrap());
    let database = Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    let meta = redb::TableDefinition::<&str, &[u8]>::new("meta");
    let mut table = transaction.open_table(meta).unwrap();
    table.insert("instance", [0xff; 3].as_slice()).unwrap();
    drop(table);
    transaction.commit().unwrap();
    drop(database);
    let before = fs::read(&path).unwrap();
    let error = open(&path).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    assert!(before == fs::read(&path).unwrap(), "the file was changed");
}

#[tokio::test]
async fn a_file_that_is_made_anew_after_an_error_can_be_opened_by_the_next_process() {
    let (_folder, path) = folder();
    let store = open(&path).unwrap();
    store.commit(commit(1.0)).await.unwrap();
    store.shared.lock().database = None;
    fs::remove_file(&path).unwrap();
    store.commit(commit(2.0)).await.unwrap();
    drop(store);
    let remembered = open(&path).unwrap().load().await.unwrap();
    assert_eq!(totals(&remembered), [&RecordedValue::Counter(2.0)]);
}
