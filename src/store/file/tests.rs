//! The store in a file: what it keeps, what it refuses, and that it leaves alone what it refuses.

use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use rand::SeedableRng as _;
use tempfile::TempDir;

use super::super::{conformance, sample};
use super::*;
use crate::clock::UnixSeconds;
use crate::memory::ProjectMemory;
use crate::memory::compat::CompatMemory;
use crate::memory::first_reading::FirstReading;
use crate::memory::job_names::JobNames;
use crate::memory::withdrawn::Withdrawn;
use crate::series::{RecordedValue, RowRecord};
use crate::types::ProjectId;

const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

fn settings(path: &Path) -> FileSettings {
    FileSettings {
        path: path.to_owned(),
        reset: false,
        patience: Duration::ZERO,
        gitlab: Url::parse("https://gitlab.example.com").unwrap(),
        accept_instance: false,
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
            project: ProjectId(1),
            name: "age_pipeline_run_count".into(),
            labels: vec![("project".into(), "group/project".into())],
            start: NOW,
            window: Some(120),
            changed: NOW,
            value: RecordedValue::Counter(total),
            retiring: false,
            withdrawn: false,
        }],
        committed_at: NOW,
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
    conformance::run(new).await;
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
    assert_eq!(remembered.committed_at, NOW);
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
async fn a_reset_starts_empty_and_keeps_the_old_file() {
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

/// The file of this version.
const NEWEST: &str = "v6.redb.gz";

/// Where the state files of all versions are, packed.
fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/file/samples")
}

/// What a file that is checked in holds.
fn remembered_of(name: &str) -> Remembered {
    let (_folder, path) = folder();
    let mut file = fs::File::create(&path).unwrap();
    let packed = fs::File::open(samples().join(name)).unwrap();
    io::copy(&mut flate2::read::GzDecoder::new(packed), &mut file).unwrap();
    drop(file);
    store_of(&path)
}

/// State files as earlier versions wrote them are read by every later one. A version that adds an
/// upgrade step adds a file of its own, made by `UPDATE_STATE=1 cargo test --lib store::`; existing
/// ones are never made again.
#[test]
fn the_newest_state_file_is_read_as_it_was_written() {
    let packed = samples().join(NEWEST);
    if std::env::var_os("UPDATE_STATE").is_some() && !packed.exists() {
        let (_folder, path) = folder();
        let store = open(&path).unwrap();
        store.shared.commit(&sample::commit()).unwrap();
        drop(store);
        fs::create_dir_all(samples()).unwrap();
        let file = fs::File::create(&packed).unwrap();
        let mut packing = flate2::write::GzEncoder::new(file, flate2::Compression::best());
        packing.write_all(&fs::read(&path).unwrap()).unwrap();
        packing.finish().unwrap();
    }
    let found = remembered_of(NEWEST);
    let expected = sample::remembered();
    assert_eq!(found.projects, expected.projects);
    assert_eq!(found.rows, expected.rows);
    assert_eq!(found.committed_at, expected.committed_at);
}

/// Version 1 stored a project's role and knew nothing that was withdrawn.
#[test]
fn the_state_file_of_version_1_is_read() {
    let found = remembered_of("v1.redb.gz");
    let mut expected = sample::remembered();
    for (_, memory) in &mut expected.projects {
        let memory = Arc::make_mut(memory);
        forget_skipped(memory);
        forget_bridges(memory);
        forget_details(memory);
        memory.compat = CompatMemory::default();
        memory.withdrawn = Withdrawn::default();
        // It knew neither when a deployment started nor which ones wait.
        for known in memory.environments.known.values_mut() {
            known.waiting.clear();
            if let Some(newest) = &mut known.newest {
                newest.started_at = UnixSeconds(0);
            }
        }
    }
    expected.rows.retain(|row| !row.withdrawn);
    expected.rows.iter_mut().for_each(|row| row.window = None);
    assert_eq!(found.projects, expected.projects);
    assert_eq!(found.rows, expected.rows);
    assert_eq!(found.committed_at, expected.committed_at);
}

/// Version 2 told no skipped pipelines from others, and knew neither what runs since when nor how long a series
/// shows 0.
#[test]
fn the_state_file_of_version_2_is_read() {
    let found = remembered_of("v2.redb.gz");
    let mut expected = sample::remembered();
    for (_, memory) in &mut expected.projects {
        let memory = Arc::make_mut(memory);
        forget_skipped(memory);
        forget_bridges(memory);
        forget_details(memory);
        memory.compat = CompatMemory::default();
    }
    expected.rows.iter_mut().for_each(|row| row.window = None);
    assert_eq!(found.projects, expected.projects);
    assert_eq!(found.rows, expected.rows);
    assert_eq!(found.committed_at, expected.committed_at);
}

/// Version 3 knew no trigger jobs, no jobs of child pipelines, and neither when jobs were last had nor what the
/// first reading left to others.
#[test]
fn the_state_file_of_version_3_is_read() {
    let found = remembered_of("v3.redb.gz");
    let mut expected = sample::remembered();
    for (_, memory) in &mut expected.projects {
        let memory = Arc::make_mut(memory);
        forget_details(memory);
        forget_bridges(memory);
        memory.compat = CompatMemory::default();
    }
    assert_eq!(found.projects, expected.projects);
    assert_eq!(found.rows, expected.rows);
    assert_eq!(found.committed_at, expected.committed_at);
}

/// Version 4 knew nothing of the metrics of gitlab-ci-pipelines-exporter.
#[test]
fn the_state_file_of_version_4_is_read() {
    let found = remembered_of("v4.redb.gz");
    let mut expected = sample::remembered();
    for (_, memory) in &mut expected.projects {
        let memory = Arc::make_mut(memory);
        forget_details(memory);
        memory.compat = CompatMemory::default();
    }
    assert_eq!(found.projects, expected.projects);
    assert_eq!(found.rows, expected.rows);
    assert_eq!(found.committed_at, expected.committed_at);
}

/// Version 5 did not note what deployments came from, when pipelines last changed, runners and tags of jobs, nor how
/// long test cases took.
#[test]
fn the_state_file_of_version_5_is_read() {
    let found = remembered_of("v5.redb.gz");
    let mut expected = sample::remembered();
    for (_, memory) in &mut expected.projects {
        forget_details(Arc::make_mut(memory));
    }
    assert_eq!(found.projects, expected.projects);
    assert_eq!(found.rows, expected.rows);
    assert_eq!(found.committed_at, expected.committed_at);
}

fn forget_details(memory: &mut ProjectMemory) {
    memory.labels = Default::default();
    for known in memory.pipelines.newest.refs.values_mut() {
        let entries = known.entries.iter_mut();
        entries.for_each(|entry| entry.value.updated_at = None);
    }
    let of_refs = memory.jobs.newest.refs.values_mut();
    let of_refs = of_refs.flat_map(|known| &mut known.entries);
    let jobs = of_refs.flat_map(|entry| &mut entry.value.jobs);
    let children = memory.child_pipelines.newest.refs.values_mut();
    let children = children.flat_map(|known| &mut known.entries);
    let children = children.flat_map(|entry| entry.value.values_mut());
    for job in jobs.chain(children.flat_map(|child| &mut child.jobs)) {
        job.runner_description = None;
        job.tags.clear();
    }
    let environments = &mut memory.environments;
    (environments.tip, environments.naming) = (None, Default::default());
    let known = environments.known.values_mut();
    for success in known.filter_map(|known| known.success.as_mut()) {
        (success.created_at, success.kind, success.job) = (None, None, None);
        (success.git_ref, success.user) = Default::default();
    }
    for case in memory.test_reports.cases.values_mut().flatten() {
        (case.class, case.seconds) = (Default::default(), None);
    }
}

fn forget_bridges(memory: &mut ProjectMemory) {
    memory.job_names = JobNames::default();
    memory.first_reading = FirstReading::default();
    for known in memory.jobs.newest.refs.values_mut() {
        let entries = known.entries.iter_mut();
        let jobs = entries.flat_map(|entry| &mut entry.value.jobs);
        jobs.for_each(|job| job.is_bridge = false);
    }
    for known in memory.child_pipelines.newest.refs.values_mut() {
        let entries = known.entries.iter_mut();
        let runs = entries.flat_map(|entry| entry.value.values_mut());
        runs.for_each(|run| run.jobs.clear());
    }
}

fn forget_skipped(memory: &mut ProjectMemory) {
    for known in memory.pipelines.newest.refs.values_mut() {
        for entry in &mut known.entries {
            (entry.skipped, entry.value.running_since) = (false, None);
        }
    }
    for known in memory.jobs.newest.refs.values_mut() {
        for entry in &mut known.entries {
            (entry.skipped, entry.value.warnings) = (false, false);
            let jobs = entry.value.jobs.iter_mut();
            jobs.for_each(|job| job.running_since = None);
        }
    }
    for known in memory.child_pipelines.newest.refs.values_mut() {
        known
            .entries
            .iter_mut()
            .for_each(|entry| entry.skipped = false);
    }
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
async fn after_a_disk_error_the_file_is_opened_again() {
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

/// Changes a state file behind the program's back.
fn tamper(path: &Path, change: impl FnOnce(&redb::WriteTransaction)) {
    let database = Database::create(path).unwrap();
    let transaction = database.begin_write().unwrap();
    change(&transaction);
    transaction.commit().unwrap();
}

fn is_refused_as_damaged(path: &Path) -> String {
    let before = fs::read(path).unwrap();
    let error = open(path).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    assert!(before == fs::read(path).unwrap(), "the file was changed");
    error.to_string()
}

#[test]
fn a_damaged_record_of_the_file_itself_is_refused_before_anything_is_written() {
    let meta = redb::TableDefinition::<&str, &[u8]>::new("meta");
    for record in ["state", "format"] {
        for content in [Some(&[0xff; 30][..]), None] {
            let (_folder, path) = folder();
            drop(open(&path).unwrap());
            tamper(&path, |transaction| {
                let mut table = transaction.open_table(meta).unwrap();
                match content {
                    Some(content) => drop(table.insert(record, content).unwrap()),
                    None => drop(table.remove(record).unwrap()),
                }
            });
            let error = is_refused_as_damaged(&path);
            assert!(error.contains(record), "{error}");
        }
    }
}

#[test]
fn a_record_that_was_lost_moved_or_came_back_is_refused() {
    let rows = redb::TableDefinition::<(u64, &[u8]), &[u8]>::new("rows");
    let first = |table: &redb::Table<'_, (u64, &'static [u8]), &'static [u8]>| {
        use redb::ReadableTable as _;
        let (key, value) = table.first().unwrap().unwrap();
        (key.value().1.to_vec(), value.value().to_vec())
    };
    let (_folder, path) = folder();
    let store = open(&path).unwrap();
    store.shared.commit(&commit(1.0)).unwrap();
    drop(store);
    let mut old = None;
    tamper(&path, |transaction| {
        old = Some(first(&transaction.open_table(rows).unwrap()));
    });
    let (key, old) = old.unwrap();
    let store = open(&path).unwrap();
    store.shared.commit(&commit(2.0)).unwrap();
    drop(store);
    let good = fs::read(&path).unwrap();
    type Tamper<'a> = &'a dyn Fn(&mut redb::Table<'_, (u64, &'static [u8]), &'static [u8]>);
    let cases: [(Tamper<'_>, &str); 3] = [
        (
            &|table| drop(table.remove((1, &key[..])).unwrap()),
            "missing",
        ),
        (
            &|table| drop(table.insert((1, &key[..]), &old[..]).unwrap()),
            "missing",
        ),
        (
            &|table| {
                let (key, value) = first(table);
                table.remove((1, &key[..])).unwrap();
                table.insert((2, &key[..]), &value[..]).unwrap();
            },
            "checksum",
        ),
    ];
    for (change, why) in cases {
        fs::write(&path, &good).unwrap();
        tamper(&path, |transaction| {
            change(&mut transaction.open_table(rows).unwrap());
        });
        let error = is_refused_as_damaged(&path);
        assert!(error.contains(why), "{error}");
    }
    fs::write(&path, &good).unwrap();
    assert_eq!(totals(&store_of(&path)), [&RecordedValue::Counter(2.0)]);
}

/// What a file remembers.
fn store_of(path: &Path) -> Remembered {
    open(path).unwrap().shared.load().unwrap()
}

#[test]
fn the_state_of_another_gitlab_is_refused_unless_it_is_accepted() {
    let (_folder, path) = folder();
    let store = open(&path).unwrap();
    store.shared.commit(&commit(5.0)).unwrap();
    drop(store);
    let at = |address: &str, accept_instance| FileSettings {
        gitlab: Url::parse(address).unwrap(),
        accept_instance,
        ..settings(&path)
    };
    // The same, otherwise written.
    for same in [
        "https://GitLab.example.com/",
        "https://gitlab.example.com:443",
    ] {
        FileStore::open(&at(same, false), &Clock::manual(NOW), |_| {}).unwrap();
    }
    let before = fs::read(&path).unwrap();
    let other = "https://git.example.org/gitlab";
    let error = FileStore::open(&at(other, false), &Clock::manual(NOW), |_| {}).unwrap_err();
    assert!(before == fs::read(&path).unwrap(), "the file was changed");
    let error = error.to_string();
    for part in [
        "https://gitlab.example.com,",
        other,
        "--state-reset",
        "state.accept_instance: true",
    ] {
        assert!(error.contains(part), "no {part:?} in {error}");
    }
    let mut said = Vec::new();
    let accepted = FileStore::open(&at(other, true), &Clock::manual(NOW), |it| said.push(it));
    let remembered = accepted.unwrap().shared.load().unwrap();
    assert_eq!(totals(&remembered), [&RecordedValue::Counter(5.0)]);
    let found = "https://gitlab.example.com".to_owned();
    let given = other.to_owned();
    assert_eq!(said, [Opening::Accepted { found, given }]);
    // From now on the file is the other's.
    FileStore::open(&at(other, false), &Clock::manual(NOW), |_| {}).unwrap();
    let error = open(&path).unwrap_err();
    assert!(matches!(error, OpenError::OtherInstance { .. }), "{error}");
}

#[test]
fn of_single_flipped_bits_in_a_closed_file_each_is_found_or_harmless() {
    const FLIPS: usize = 600;
    /// Bytes of the database's header, which says where everything is: more of its bits are flipped.
    const HEADER: usize = 320;
    let good = full();
    let (_folder, path) = folder();
    fs::write(&path, &good).unwrap();
    let whole = store_of(&path);
    let mut random = rand::rngs::StdRng::seed_from_u64(16);
    let (mut refused, mut equal) = (0, 0);
    let anywhere = (0..FLIPS).map(|_| random.random_range(0..good.len() * 8));
    let bits: Vec<usize> = anywhere.chain((0..HEADER * 8).step_by(5)).collect();
    for bit in bits.iter().copied() {
        let mut flipped = good.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &flipped).unwrap();
        match open(&path) {
            Ok(store) => {
                let found = store.shared.load().unwrap();
                assert_eq!(found.projects, whole.projects, "bit {bit}");
                assert_eq!(found.rows, whole.rows, "bit {bit}");
                assert_eq!(found.committed_at, whole.committed_at, "bit {bit}");
                equal += 1;
            }
            Err(error) => {
                assert!(
                    matches!(error, OpenError::Damaged { .. }),
                    "bit {bit}: {error}"
                );
                assert!(
                    flipped == fs::read(&path).unwrap(),
                    "bit {bit} changed the file"
                );
                refused += 1;
            }
        }
    }
    let flips = bits.len();
    println!("{flips} flips: {refused} refused, {equal} harmless, 0 with other numbers");
    assert!(
        refused > FLIPS / 10,
        "{refused} refused: the file is nearly empty"
    );
}

#[tokio::test]
async fn a_file_that_is_created_again_after_an_error_can_be_opened_by_the_next_process() {
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

/// What the fuzz target `state` holds of each of its seeds. One of them makes the database ask for 2 GiB
/// before it refuses: that is left to the fuzzer, whose memory is bounded.
#[test]
fn every_seed_opens_or_is_refused_in_a_sentence_and_left_alone() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/state");
    let mut tried = 0;
    for entry in fs::read_dir(seeds).unwrap() {
        let seed = entry.unwrap().path();
        if seed.ends_with("page_of_2_gib") {
            continue;
        }
        let bytes = fs::read(&seed).unwrap();
        let (kind, rest) = bytes.split_first().unwrap();
        let before = if kind % 2 == 0 {
            let mut file = full();
            for change in rest.chunks_exact(4) {
                let place = u32::from_le_bytes([change[0], change[1], change[2], 0]) as usize;
                let place = place % file.len();
                file[place] = change[3];
            }
            file
        } else {
            rest.to_vec()
        };
        let (_folder, path) = folder();
        fs::write(&path, &before).unwrap();
        if let Err(error) = open(&path) {
            assert!(error.to_string().starts_with("state.path: "), "{error}");
            assert!(before == fs::read(&path).unwrap(), "{seed:?} was changed");
        }
        tried += 1;
    }
    assert!(tried > 3);
}
