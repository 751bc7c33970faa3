//! The state file as users meet it: damaged, held by another process, on a disk that is full or
//! cannot be written.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use gitlab_simulator::world::{Finish, PipelineSpec};
use gitlab_simulator::{Options, Simulator, World, WorldConfig};
use tempfile::TempDir;

#[cfg(target_os = "linux")]
use crate::ledger::{COUNTED, counts, difference};
use crate::support::exporter::{Binary, RealTime, beginning_now, binary, configuration, write};
use crate::support::program::Program;
#[cfg(target_os = "linux")]
use crate::support::samples::Samples;
use crate::support::until;

/// Bytes of a page of the database.
const PAGE: usize = 4096;

const PROJECT: &str = "group-0/project-0";

/// A GitLab, and a folder with a configuration and a state file.
struct Place {
    simulator: Simulator,
    _time: RealTime,
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let world = World::generate(WorldConfig {
            projects: 1,
            pipelines_per_project: 2,
            ..beginning_now()
        });
        let simulator = Simulator::start(world, &Options::default()).expect("a simulator");
        let folder = tempfile::tempdir().expect("a folder");
        let state = folder.path().join("state.redb").display().to_string();
        let more = format!(
            "state: {{path: {state}}}\ntelemetry: {{birth_window: 1s}}\nlabels: {{max_length: 10000}}\n"
        );
        write(&folder, "config.yml", &configuration(&simulator, &more));
        Self {
            _time: RealTime::of(&simulator),
            simulator,
            folder,
        }
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state.redb")
    }

    fn command(&self, flags: &[&str]) -> Command {
        let mut command = binary(&["run", "--config"]);
        command
            .arg(self.folder.path().join("config.yml"))
            .args(["--server-listen-address", "127.0.0.1:0"])
            .args(flags);
        command
    }

    /// The program as one that a limit on the size of files and permissions bind: growing beyond the
    /// one is an error, as on a full disk, and no signal; and root can do without the others.
    #[cfg(target_os = "linux")]
    fn bound(&self, flags: &[&str]) -> Command {
        use std::os::unix::fs::MetadataExt;
        let command = self.command(flags);
        let mut shell = Command::new("sh");
        shell
            .env_clear()
            .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]);
        if fs::metadata("/proc/self").expect("it is there").uid() == 0 {
            shell.args(["setpriv", "--bounding-set=-dac_override,-dac_read_search"]);
        }
        shell.arg(command.get_program()).args(command.get_args());
        shell
    }

    /// Lets the state file and its folder be written, or not.
    #[cfg(target_os = "linux")]
    fn may_be_written(&self, may: bool) {
        use std::os::unix::fs::PermissionsExt;
        let (folder, file) = if may { (0o755, 0o644) } else { (0o555, 0o444) };
        for (path, mode) in [
            (self.folder.path().to_owned(), folder),
            (self.state(), file),
        ] {
            if path.exists() {
                fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
            }
        }
    }

    async fn start(&self) -> Binary {
        Binary::started(Program::start(self.command(&[]))).await
    }

    /// Pipelines run on `main`, from the web, and succeed.
    fn run(&self, count: usize, jobs: &[&str]) {
        let mut world = self.simulator.world();
        let project = world.project_by_path(PROJECT).expect("it is there").id;
        for _ in 0..count {
            let spec = PipelineSpec::branch("main").source("web");
            let spec = spec.stage("build", jobs);
            let pipeline = world.create_pipeline(project, &spec).expect("created");
            let finish = Finish::success();
            world.finish_pipeline(pipeline, &finish).expect("it ends");
        }
    }
}

/// The value of a series that begins like this.
async fn value(exporter: &Binary, series: &str) -> Option<f64> {
    let text = exporter.get("/metrics").await.body;
    let line = text.lines().find(|line| line.starts_with(series))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

const WEB: &str =
    r#"age_pipeline_run_count{kind="branch",project="group-0/project-0",ref="main",source="web"}"#;
const STORE_UP: &str = "age_store_up";
const SYNCED: &str = "age_initial_sync_progress_ratio";

async fn reaches(exporter: &Binary, series: &str, wanted: f64) {
    until(&format!("{series} is {wanted}"), async || {
        let value = value(exporter, series).await;
        (value == Some(wanted))
            .then_some(())
            .ok_or(format!("{value:?}"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_ends_it_with_2_and_a_reset_starts_anew() {
    let place = Place::new();
    let damaged = b"age_pipeline_run_count 42\n".repeat(1000);
    fs::write(place.state(), &damaged).expect("it can be written");
    let mut program = Program::start(place.command(&[]));
    assert_eq!(program.ended().await.code(), Some(2));
    let said = program.stderr();
    let file = place.state().display().to_string();
    for part in ["state.path", &file, "--state-reset"] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    assert_eq!(said.trim().lines().count(), 1, "{said}");
    assert!(fs::read(place.state()).expect("it is there") == damaged);

    let reset = Program::start(place.command(&["--state-reset"]));
    let exporter = Binary::started(reset).await;
    reaches(&exporter, SYNCED, 1.0).await;
    let old = files_like(place.folder.path(), ".old");
    assert_eq!(old.len(), 1, "{old:?}");
    assert!(fs::read(&old[0]).expect("it is there") == damaged);
    let said = exporter.program.stderr() + &exporter.program.stdout();
    assert!(said.contains(&old[0].display().to_string()), "{said}");
}

fn files_like(folder: &Path, end: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).expect("a folder");
    let paths = files.map(|file| file.expect("a file").path());
    paths
        .filter(|path| path.display().to_string().ends_with(end))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_waits_for_the_first_and_goes_on_where_it_was() {
    let place = Place::new();
    let mut first = place.start().await;
    reaches(&first, SYNCED, 1.0).await;
    place.run(2, &["compile"]);
    reaches(&first, WEB, 2.0).await;

    let mut second = Program::start(place.command(&[]));
    let pid = first.program.id().to_string();
    let waits = |said: &str| said.contains(&format!("process {pid}")).then_some(());
    second.tells("who holds the state", waits).await;
    first.program.signal("TERM");
    assert_eq!(first.program.ended().await.code(), Some(0));
    let second = Binary::started(second).await;
    assert_eq!(value(&second, WEB).await, Some(2.0), "it goes on at once");
    place.run(1, &["compile"]);
    reaches(&second, WEB, 3.0).await;
}

/// The exporter's one sentence, when it ends with 2 and leaves the state file as it is.
async fn refused(place: &Place, flags: &[&str]) -> String {
    let before = fs::read(place.state()).expect("it is there");
    let mut command = place.command(flags);
    command.env("RUST_BACKTRACE", "1");
    let mut program = Program::start(command);
    assert_eq!(program.ended().await.code(), Some(2));
    let said = program.stderr();
    assert_eq!(said.trim().lines().count(), 1, "{said}");
    let after = fs::read(place.state()).expect("it is there");
    assert!(before == after, "the file was changed: {said}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_inside_the_file_is_one_sentence_without_a_backtrace() {
    let place = Place::new();
    let mut exporter = place.start().await;
    reaches(&exporter, SYNCED, 1.0).await;
    exporter.program.signal("TERM");
    assert_eq!(exporter.program.ended().await.code(), Some(0));
    let good = fs::read(place.state()).expect("it is there");
    let pages: Vec<usize> = (1..good.len() / PAGE)
        .filter(|page| good[page * PAGE..][..PAGE].iter().any(|byte| *byte != 0))
        .collect();
    let mut refusals = 0;
    // All pages at once, so that some that are in use are hit; then each kind of header by itself.
    for (first, last) in [(0, PAGE), (0, 1), (0, 16), (16, 200)] {
        let mut damaged = good.clone();
        for page in &pages {
            for byte in &mut damaged[page * PAGE..][first..last] {
                *byte ^= 0x55;
            }
        }
        fs::write(place.state(), &damaged).expect("it can be written");
        let said = refused(&place, &[]).await;
        for part in ["state.path", "is damaged", "--state-reset"] {
            assert!(said.contains(part), "no {part:?} in {said}");
        }
        refusals += 1;
    }
    assert_eq!(refusals, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_of_another_gitlab_ends_it_with_2_until_it_is_accepted() {
    let place = Place::new();
    let mut exporter = place.start().await;
    reaches(&exporter, SYNCED, 1.0).await;
    place.run(2, &["compile"]);
    reaches(&exporter, WEB, 2.0).await;
    exporter.program.signal("TERM");
    assert_eq!(exporter.program.ended().await.code(), Some(0));

    // The same GitLab, at what looks like another address.
    let before = place.simulator.url();
    let now = before.replace("127.0.0.1", "localhost");
    assert_ne!(
        before, now,
        "the simulator has another address than expected"
    );
    let moved = ["--gitlab-url", &now];
    let said = refused(&place, &moved).await;
    for part in [
        before.trim_end_matches('/'),
        now.trim_end_matches('/'),
        "--state-reset",
        "state.accept_instance: true",
    ] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    let accept = [&moved[..], &["--set", "state.accept_instance=true"]].concat();
    let mut exporter = Binary::started(Program::start(place.command(&accept))).await;
    assert_eq!(value(&exporter, WEB).await, Some(2.0), "it goes on at once");
    exporter.program.signal("TERM");
    assert_eq!(exporter.program.ended().await.code(), Some(0));
    // The file is the new address's.
    let exporter = Binary::started(Program::start(place.command(&moved))).await;
    assert_eq!(value(&exporter, WEB).await, Some(2.0));
}

/// How a disk refuses what is to be kept.
#[cfg(target_os = "linux")]
#[derive(Clone, Copy)]
enum Disk {
    /// Files cannot grow.
    Full,
    /// Nothing can be written, and no file be opened to be written.
    ReadOnly,
}

/// The exporter on a disk that refuses for a while. A limit on the size of files stands in for the
/// disk's own refusal, and permissions for that to open a file.
#[cfg(target_os = "linux")]
async fn nothing_is_shown_that_is_not_kept(disk: Disk) {
    let place = Place::new();
    let exporter = Binary::started(Program::start(place.bound(&[]))).await;
    reaches(&exporter, SYNCED, 1.0).await;
    // What follows may happen in this very millisecond.
    let first_look = place.simulator.world().now() - 1;
    place.run(1, &["compile"]);
    reaches(&exporter, WEB, 1.0).await;
    reaches(&exporter, STORE_UP, 1.0).await;

    let limit = |bytes: &str| {
        let mut limit = Command::new("prlimit");
        limit.arg(format!("--pid={}", exporter.program.id()));
        let done = limit.arg(format!("--fsize={bytes}:unlimited")).status();
        assert!(done.expect("prlimit runs").success());
    };
    match disk {
        Disk::Full => {
            let size = fs::metadata(place.state()).expect("it is there").len();
            limit(&size.to_string());
        }
        Disk::ReadOnly => {
            place.may_be_written(false);
            limit("0");
        }
    }
    let jobs = match disk {
        // Enough that the file must grow.
        Disk::Full => 400,
        Disk::ReadOnly => 2,
    };
    let names: Vec<String> = (0..jobs)
        .map(|n| format!("job {n} {}", "x".repeat(200)))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    place.run(12, &names);
    reaches(&exporter, STORE_UP, 0.0).await;
    assert_eq!(value(&exporter, WEB).await, Some(1.0), "what is not kept");
    let failures = r#"age_scrape_errors_total{collector_type="pipelines",error_type="store"}"#;
    assert!(value(&exporter, failures).await >= Some(1.0));
    assert!(value(&exporter, "age_store_errors_total").await >= Some(1.0));
    let answer = exporter.get("/ready").await;
    assert_eq!(answer.status, 200, "what was kept is still to be scraped");
    let ready: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
    let store = serde_json::json!({"kind": "file", "up": false});
    assert_eq!(ready["store"], store, "{ready}");
    let page = exporter.get("/").await.body;
    let file = place.state().display().to_string();
    for part in [
        "State cannot be written",
        "file, cannot be written",
        "state cannot be written: state.path: ",
        &file,
    ] {
        assert!(page.contains(part), "no {part:?} in {page}");
    }

    limit("unlimited");
    place.may_be_written(true);
    // A project that failed is read again after a while: twice the interval at first.
    reaches(&exporter, WEB, 13.0).await;
    reaches(&exporter, STORE_UP, 1.0).await;
    let mut want = counts(place.simulator.world().ledger().entries(), first_look);
    want.retain(|(metric, _), _| COUNTED.contains(&metric.as_str()));
    until("all is counted", async || {
        let samples = Samples::of_plain_text(&exporter.get("/metrics").await.body);
        match difference(&samples.counts(COUNTED), &want) {
            None => Ok(()),
            Some(difference) => Err(difference),
        }
    })
    .await;
    until("all is well", async || {
        let page = exporter.get("/").await.body;
        page.contains("All is well").then_some(()).ok_or(page)
    })
    .await;
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_nothing_is_shown_that_is_not_kept_and_all_goes_on_when_there_is_room() {
    nothing_is_shown_that_is_not_kept(Disk::Full).await;
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn on_a_disk_that_becomes_read_only_it_is_the_same() {
    nothing_is_shown_that_is_not_kept(Disk::ReadOnly).await;
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_written_at_the_start_ends_it_with_2() {
    let place = Place::new();
    for has_file in [false, true] {
        if has_file {
            let mut exporter = place.start().await;
            exporter.program.signal("TERM");
            assert_eq!(exporter.program.ended().await.code(), Some(0));
        }
        place.may_be_written(false);
        let mut program = Program::start(place.bound(&[]));
        assert_eq!(program.ended().await.code(), Some(2));
        place.may_be_written(true);
        let said = program.stderr();
        let file = place.state().display().to_string();
        for part in ["state.path: ", &file, "Permission denied", "writable"] {
            assert!(said.contains(part), "no {part:?} in {said}");
        }
        assert_eq!(said.trim().lines().count(), 1, "{said}");
        assert_eq!(place.state().exists(), has_file);
    }
}
