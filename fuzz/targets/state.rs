//! Any bytes as a state file: it opens, or is refused in a sentence and left as it was. Where the
//! first byte is even, the rest replaces a few bytes of a file that was good.

#![no_main]

use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use amazing_gitlab_exporter::catalogue::buckets::BucketSettings;
use amazing_gitlab_exporter::clock::{Clock, UnixSeconds};
use amazing_gitlab_exporter::delivery::text::{Format, TextStream};
use amazing_gitlab_exporter::series::{RecordedValue, RowRecord, Table, TableSettings};
use amazing_gitlab_exporter::store::{Commit, FileSettings, FileStore, OpenError, Store as _};
use amazing_gitlab_exporter::types::ProjectId;
use libfuzzer_sys::fuzz_target;
use tokio::runtime::Runtime;

static GOOD: LazyLock<Vec<u8>> = LazyLock::new(good);
static FOLDER: LazyLock<tempfile::TempDir> =
    LazyLock::new(|| tempfile::tempdir().expect("a folder"));

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime")
});

const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

fn open(path: &Path) -> Result<FileStore, OpenError> {
    let settings = FileSettings {
        path: path.to_owned(),
        reset: false,
        patience: Duration::ZERO,
        gitlab: "https://gitlab.example.com".parse().expect("an address"),
        accept_instance: false,
    };
    FileStore::open(&settings, &Clock::manual(NOW), |_| {})
}

/// A state file with some rows.
fn good() -> Vec<u8> {
    let path = FOLDER.path().join("good");
    let store = open(&path).expect("a new file");
    let row = |n: u32| RowRecord {
        project: ProjectId(1),
        name: "age_pipeline_run_count".into(),
        labels: vec![("project".into(), format!("group/{n}").into())],
        start: NOW,
        window: None,
        changed: NOW,
        value: RecordedValue::Counter(f64::from(n)),
        retiring: false,
        withdrawn: false,
    };
    let commit = Commit {
        rows: (0..20).map(row).collect(),
        committed_at: NOW,
        ..Commit::default()
    };
    RUNTIME.block_on(store.commit(commit)).expect("it is kept");
    drop(store);
    fs::read(path).expect("it is there")
}

/// The good file with changes of four bytes each: place (three bytes) and value.
fn changed(changes: &[u8]) -> Vec<u8> {
    let mut file = GOOD.clone();
    for change in changes.chunks_exact(4) {
        let place = u32::from_le_bytes([change[0], change[1], change[2], 0]) as usize;
        let place = place % file.len();
        file[place] = change[3];
    }
    file
}

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, rest)) = bytes.split_first() else {
        return;
    };
    let before = if kind % 2 == 0 {
        changed(rest)
    } else {
        LazyLock::force(&GOOD);
        rest.to_vec()
    };
    let path = FOLDER.path().join("state");
    fs::write(&path, &before).expect("it is written");
    match open(&path) {
        Ok(store) => {
            // What it remembers is somebody's word: the table takes or refuses it, row by row.
            let Ok(remembered) = RUNTIME.block_on(store.load()) else {
                return;
            };
            let table = Table::new(&TableSettings {
                birth_window: Duration::from_secs(100),
                cardinality_limit: 10,
                buckets: BucketSettings::default(),
            });
            let _ = table.restore(remembered.rows, remembered.committed_at, NOW);
            for format in [Format::Text, Format::OpenMetrics] {
                let stream = TextStream::new(table.walk(NOW), Vec::new(), format, false);
                assert!(stream.into_iter().all(|chunk| chunk.is_ok()));
            }
        }
        Err(error) => {
            assert!(error.to_string().starts_with("state.path: "), "{error}");
            let after = fs::read(&path).expect("it is still there");
            assert!(before == after, "a refused file was changed: {error}");
        }
    }
});
