//! `contributors`.

use std::collections::BTreeMap;
use std::time::Duration;

use amazing_gitlab_exporter::config::{PeopleNames, ProjectEntry, Settings};
use gitlab_simulator::faults::{Fault, Rule};
use gitlab_simulator::world::{CommitSpec, Event, ProjectId};
use gitlab_simulator::{Simulator, World};
use tempfile::TempDir;

use super::code::{Make, Rig, of};
use crate::support::core::{Core, client_settings, watch_everything};
use crate::support::series::Series;

const COMMITS: &str = "age_contributor_commits_count";
const ADDITIONS: &str = "age_contributor_additions";
const DELETIONS: &str = "age_contributor_deletions";
const FAMILIES: [&str; 1] = ["age_contributor_"];
const LIST: &str = "/api/v4/projects/:id/repository/commits";

fn on(settings: &mut Settings) {
    settings.collectors.contributors.enabled = true;
}

fn ada(lines: u64) -> CommitSpec {
    CommitSpec::by("Ada Fields", "ada@example.com", lines, 1)
}

fn commit(gitlab: &Simulator, app: ProjectId, spec: &CommitSpec) {
    gitlab.world().commit(app, spec).expect("a commit");
}

/// By metric and author, what the ledger says; merge commits are left out.
fn ledger(world: &World, from: usize) -> BTreeMap<(&'static str, String), u64> {
    let mut expected = BTreeMap::new();
    for entry in &world.ledger().entries()[from..] {
        if let Event::Committed { commit, .. } = &entry.event
            && !commit.merge
        {
            let author = commit.author_name.to_string();
            for (metric, rise) in [
                (COMMITS, 1),
                (ADDITIONS, commit.additions),
                (DELETIONS, commit.deletions),
            ] {
                *expected.entry((metric, author.clone())).or_default() += rise;
            }
        }
    }
    expected
}

/// The same as it is shown.
fn counted(series: &Series) -> BTreeMap<(&'static str, String), u64> {
    let mut all = BTreeMap::new();
    for metric in [COMMITS, ADDITIONS, DELETIONS] {
        for (labels, value) in series.metric(metric) {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "small counts"
            )]
            let value = value.count() as u64;
            all.insert((metric, labels["author"].clone()), value);
        }
    }
    all
}

/// All commits that are counted.
fn commits(series: &Series) -> f64 {
    let all = series.metric(COMMITS);
    all.into_values().map(|value| value.count()).sum()
}

/// Looks for two hours and a minute more: nobody commits in the very second of a look.
async fn look_later(rig: &mut Rig) -> f64 {
    rig.look_later().await;
    rig.gitlab.advance(Duration::from_secs(60));
    commits(&rig.series())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_and_lines_are_those_of_the_ledger_and_history_is_not_counted() {
    for graphql in [true, false] {
        let make = Make {
            graphql,
            ..Make::new(on)
        };
        let mut rig = make
            .begin(|world, app| {
                for _ in 0..20 {
                    world.push(app, "main").expect("a push");
                }
            })
            .await;
        let begun = rig.world().ledger().entries().len();
        assert_eq!(counted(&rig.series()), BTreeMap::new(), "history");
        for round in 0..5 {
            for number in 0..round * 3 {
                let mut world = rig.world();
                world.push(rig.app, "main").expect("a push");
                world.push(rig.app, "feature").expect("a push elsewhere");
                let merge = CommitSpec {
                    merge: number % 2 == 0,
                    ..ada(number)
                };
                world.commit(rig.app, &merge).expect("a commit");
            }
            rig.look_later().await;
            let mut expected = ledger(&rig.world(), begun);
            expected.retain(|_, count| *count > 0);
            assert_eq!(counted(&rig.series()), expected);
        }
        let failures = rig.exporter.heard.all_failures();
        assert!(failures.is_empty(), "{failures:?}");
    }
}

/// Looks at the newest commits, of any number of projects.
fn looks(rig: &Rig) -> usize {
    rig.gitlab.requests().count("BranchTips")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_commits_than_a_page_are_read_once() {
    let mut rig = Make::new(on).begin(|_, _| {}).await;
    for _ in 0..250 {
        commit(&rig.gitlab, rig.app, &ada(2));
    }
    rig.gitlab.requests().reset();
    assert_eq!(look_later(&mut rig).await, 250.0);
    assert_eq!(
        rig.value(ADDITIONS, &[("author", "Ada Fields")]),
        Some(500.0)
    );
    assert_eq!(looks(&rig), 2);
    assert_eq!(rig.gitlab.requests().count(LIST), 3, "pages");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_project_where_nothing_happens_costs_no_call() {
    let mut rig = Make::new(on).begin(|_, _| {}).await;
    rig.look_later().await;
    rig.gitlab.requests().reset();
    rig.look_later().await;
    rig.look_later().await;
    assert_eq!(looks(&rig), 0);
    // Once a day it is looked at all the same.
    rig.gitlab.advance(Duration::from_secs(24 * 3_600));
    rig.look_later().await;
    assert_eq!(looks(&rig), 1);
    assert_eq!(rig.gitlab.requests().count(LIST), 0);
    commit(&rig.gitlab, rig.app, &ada(2));
    assert_eq!(look_later(&mut rig).await, 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forced_push_counts_what_is_new_and_nothing_again() {
    let mut rig = Make::new(on).begin(|_, _| {}).await;
    let app = rig.app;
    for _ in 0..4 {
        commit(&rig.gitlab, app, &ada(2));
    }
    assert_eq!(look_later(&mut rig).await, 4.0);
    // A rebase: the same commits under other hashes.
    let before = rig.world().code(app).and_then(|code| code.tip.clone());
    let before = before.expect("a tip");
    rig.world().rewrite(app, 3).expect("a rebase");
    assert_eq!(look_later(&mut rig).await, 4.0);
    // One that brings something new.
    rig.world().rewrite(app, 3).expect("a rebase");
    commit(&rig.gitlab, app, &ada(2));
    assert_eq!(look_later(&mut rig).await, 5.0);
    // Three go, one comes.
    rig.world().force_push(app, "main").expect("a push");
    assert_eq!(look_later(&mut rig).await, 6.0);
    // Back to what was there before all that, and on from there.
    rig.world().set_tip(app, &before).expect("a forced push");
    assert_eq!(look_later(&mut rig).await, 6.0);
    commit(&rig.gitlab, app, &ada(2));
    assert_eq!(look_later(&mut rig).await, 7.0);
    let failures = rig.exporter.heard.all_failures();
    assert!(failures.is_empty(), "{failures:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_branch_that_is_set_back_counts_nothing_again() {
    let mut rig = Make::new(on)
        .begin(|world, app| {
            for _ in 0..3 {
                world.commit(app, &ada(2)).expect("a commit");
            }
        })
        .await;
    let app = rig.app;
    let history: Vec<_> = {
        let world = rig.world();
        let code = world.code(app).expect("a project");
        code.history().map(|commit| commit.sha.clone()).collect()
    };
    rig.world().set_tip(app, &history[2]).expect("set back");
    assert_eq!(look_later(&mut rig).await, 0.0);
    rig.world().set_tip(app, &history[0]).expect("forward");
    assert_eq!(look_later(&mut rig).await, 0.0);
    rig.world().set_tip(app, &history[1]).expect("set back");
    assert_eq!(look_later(&mut rig).await, 0.0);
    commit(&rig.gitlab, app, &ada(2));
    assert_eq!(look_later(&mut rig).await, 1.0);
}

/// What GitLab says of a range whose beginning it does not have any more.
fn answers() -> [Option<Fault>; 3] {
    let empty = Fault::Body {
        status: 200,
        content_type: "application/json".to_owned(),
        body: b"[]".to_vec(),
    };
    [None, Some(empty), Some(Fault::Status { status: 500 })]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_last_commit_is_no_more_counting_begins_anew() {
    for answer in answers() {
        let mut rig = Make::new(on).begin(|_, _| {}).await;
        let app = rig.app;
        commit(&rig.gitlab, app, &ada(2));
        assert_eq!(look_later(&mut rig).await, 1.0);
        rig.world().rewrite(app, 2).expect("a rebase");
        rig.world().prune_commits(app).expect("housekeeping");
        let failing = answer.is_some();
        if let Some(fault) = answer {
            let rule = Rule::new(fault).on(LIST);
            // The newest commit is told, the range is not; with a 500 it is tried again.
            let rule = Rule {
                skip: 1,
                times: Some(2),
                ..rule
            };
            rig.gitlab.faults().add(rule);
            rig.gitlab.advance(Duration::from_secs(3_700));
            rig.look().await;
            rig.gitlab.faults().clear();
        }
        assert_eq!(look_later(&mut rig).await, 1.0, "{failing}");
        commit(&rig.gitlab, app, &ada(2));
        assert_eq!(look_later(&mut rig).await, 2.0, "{failing}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_default_branch_begins_again() {
    let mut rig = Make::new(on).begin(|_, _| {}).await;
    let app = rig.app;
    commit(&rig.gitlab, app, &ada(2));
    assert_eq!(look_later(&mut rig).await, 1.0);
    commit(&rig.gitlab, app, &ada(2));
    rig.world()
        .rename_default_branch(app, "trunk")
        .expect("a name");
    assert_eq!(look_later(&mut rig).await, 1.0, "its commits are history");
    commit(&rig.gitlab, app, &ada(2));
    assert_eq!(look_later(&mut rig).await, 2.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_repository_has_nothing_and_its_first_push_is_history() {
    let empty = |world: &mut World, app| world.empty_repository(app).expect("a project");
    let mut rig = Make::new(on).begin(empty).await;
    rig.look_later().await;
    assert_eq!(of(&rig.series(), &FAMILIES), Vec::<String>::new());
    assert_eq!(rig.unavailable("contributors"), None);
    rig.world().push(rig.app, "main").expect("a push");
    assert_eq!(look_later(&mut rig).await, 0.0);
    commit(&rig.gitlab, rig.app, &ada(2));
    assert_eq!(look_later(&mut rig).await, 1.0);
    rig.world().empty_repository(rig.app).expect("a project");
    assert_eq!(look_later(&mut rig).await, 1.0);
    let failures = rig.exporter.heard.all_failures();
    assert!(failures.is_empty(), "{failures:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_without_an_answer_is_no_error() {
    // The branch is still listed, its repository is gone.
    let broken = |world: &mut World, app| {
        let code = world.code_mut(app).expect("a project");
        code.commits.clear();
        code.tip = None;
    };
    let mut rig = Make::new(on).begin(broken).await;
    rig.look_later().await;
    assert!(rig.gitlab.requests().count(LIST) > 0);
    assert_eq!(of(&rig.series(), &FAMILIES), Vec::<String>::new());
    let failures = rig.exporter.heard.all_failures();
    assert!(failures.is_empty(), "{failures:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_token_may_not_read_is_unavailable_and_no_error() {
    let mut rig = Make::new(on).begin(|_, _| {}).await;
    let fault = Rule::new(Fault::Status { status: 403 }).on(LIST);
    let fault = rig.gitlab.faults().add(fault);
    commit(&rig.gitlab, rig.app, &ada(2));
    assert_eq!(look_later(&mut rig).await, 0.0);
    let why = rig.unavailable("contributors").expect("a reason");
    assert!(why.contains("403"), "{why}");
    let failures = rig.exporter.heard.all_failures();
    assert!(failures.is_empty(), "{failures:?}");
    rig.gitlab.faults().remove(fault);
    assert_eq!(look_later(&mut rig).await, 1.0);
    assert_eq!(rig.unavailable("contributors"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_loses_nothing() {
    let mut rig = Make::new(on).begin(|_, _| {}).await;
    commit(&rig.gitlab, rig.app, &ada(2));
    let fault = Rule::new(Fault::Status { status: 503 }).on(LIST);
    let fault = rig.gitlab.faults().add(fault);
    assert_eq!(look_later(&mut rig).await, 0.0);
    assert!(rig.exporter.heard.failures("contributors", "server") > 0);
    rig.gitlab.faults().remove(fault);
    assert_eq!(look_later(&mut rig).await, 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_project_that_goes_takes_its_authors_with_it() {
    let mut rig = Make::new(on).begin(|_, _| {}).await;
    commit(&rig.gitlab, rig.app, &ada(2));
    assert_eq!(look_later(&mut rig).await, 1.0);
    let app = rig.app;
    rig.world().move_project(app, "group/new").expect("a name");
    rig.look_later().await;
    let shown = rig.series();
    assert_eq!(shown.select(COMMITS, &[("project", "group/app")]).len(), 0);
    commit(&rig.gitlab, app, &ada(2));
    rig.look_later().await;
    let moved = [("project", "group/new"), ("author", "Ada Fields")];
    let moved = rig.series().value(COMMITS, &moved).expect("it is shown");
    assert_eq!(moved.count(), 1.0, "what it counts from then on");
    rig.world().delete_project(app).expect("a project");
    rig.look_later().await;
    assert_eq!(of(&rig.series(), &FAMILIES), Vec::<String>::new());
}

/// A GitLab, and exporters that one after the other use a state file.
struct Kept {
    gitlab: Simulator,
    app: ProjectId,
    folder: TempDir,
    settings: Settings,
}

impl Kept {
    fn new() -> Self {
        let mut world = World::new(gitlab_simulator::WorldConfig::default());
        let app = world.add_project("group/app").expect("a project");
        let options = gitlab_simulator::Options::default();
        let mut settings = watch_everything();
        on(&mut settings);
        Self {
            gitlab: Simulator::start(world, &options).expect("a simulator"),
            app,
            folder: tempfile::tempdir().expect("a folder"),
            settings,
        }
    }

    /// Starts an exporter that goes on with the state.
    async fn start(&self) -> Core {
        let client = client_settings(&self.gitlab);
        let path = self.folder.path().join("state.redb");
        Core::with_state(&self.gitlab, &self.settings, &client, &path).await
    }

    async fn look(&self, exporter: &mut Core) {
        for _ in 0..4 {
            exporter.round(&self.gitlab).await;
        }
    }

    /// Looks for some hours.
    async fn look_later(&self, exporter: &mut Core) -> Series {
        for _ in 0..3 {
            self.gitlab.advance(Duration::from_secs(3_700));
            self.look(exporter).await;
        }
        exporter.series()
    }

    fn commit(&self, spec: &CommitSpec) {
        commit(&self.gitlab, self.app, spec);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_with_a_state_file_counts_nothing_twice_and_misses_nothing() {
    let kept = Kept::new();
    let mut exporter = kept.start().await;
    kept.look(&mut exporter).await;
    let begun = kept.gitlab.world().ledger().entries().len();
    for lines in 0..3 {
        for _ in 0..3 {
            kept.commit(&ada(lines));
        }
        let shown = kept.look_later(&mut exporter).await;
        let of_ada = |counts: BTreeMap<(&'static str, String), u64>| {
            let mut counts = counts;
            counts.retain(|(_, author), count| author == "Ada Fields" && *count > 0);
            counts
        };
        let expected = of_ada(ledger(&kept.gitlab.world(), begun));
        assert_eq!(of_ada(counted(&shown)), expected);
        // Between two looks it is killed; commits come while it is down.
        kept.commit(&ada(7));
        drop(exporter);
        kept.commit(&ada(8));
        exporter = kept.start().await;
        kept.look(&mut exporter).await;
    }
    let shown = kept.look_later(&mut exporter).await;
    assert_eq!(commits(&shown), 15.0);
}

/// Every author that is shown.
fn authors(series: &Series) -> Vec<String> {
    let mut authors: Vec<String> = series
        .0
        .keys()
        .filter_map(|(_, labels)| labels.get("author").cloned())
        .collect();
    authors.sort();
    authors.dedup();
    authors
}

fn call_people(settings: &mut Settings, people: PeopleNames) {
    settings.labels.people = people;
    settings.labels.people_hash_key = Some("a long random text".into());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hash_shows_no_name() {
    let make = Make::new(|settings| {
        on(settings);
        call_people(settings, PeopleNames::Hash);
    });
    let mut rig = make
        .begin(|world, app| {
            world.commit(app, &ada(1)).expect("a commit");
        })
        .await;
    let begun = rig.world().ledger().entries().len();
    for _ in 0..30 {
        rig.world().push(rig.app, "main").expect("a push");
    }
    commit(
        &rig.gitlab,
        rig.app,
        &CommitSpec::by("A. Fields", "Ada@Example.com", 1, 1),
    );
    assert_eq!(look_later(&mut rig).await, 31.0);
    let hashes = authors(&rig.series());
    // The HMAC of ada@example.com, made with openssl.
    assert!(
        hashes.contains(&"a7090f9b3488d3c5".to_owned()),
        "{hashes:?}"
    );
    for hash in &hashes {
        let is_hash = hash.len() == 16 && hash.chars().all(|c| c.is_ascii_hexdigit());
        assert!(is_hash, "{hash}");
    }
    // Nobody is lost or made one with another.
    let names: Vec<_> = ledger(&rig.world(), begun).into_iter().collect();
    let people = names
        .iter()
        .filter(|((metric, name), _)| *metric == COMMITS && name != "A. Fields");
    assert_eq!(hashes.len(), people.count().max(1), "{hashes:?} {names:?}");
    let all = format!("{:?}", rig.series());
    for name in ["Ada", "Fields", "Okafor", "Neri", "example.com"] {
        assert!(!all.contains(name), "{name} is shown");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_people_all_are_one() {
    let make = Make::new(|settings| {
        on(settings);
        call_people(settings, PeopleNames::None);
    });
    let mut rig = make.begin(|_, _| {}).await;
    let begun = rig.world().ledger().entries().len();
    for _ in 0..30 {
        rig.world().push(rig.app, "main").expect("a push");
    }
    assert_eq!(look_later(&mut rig).await, 30.0);
    assert_eq!(authors(&rig.series()), ["all"]);
    let mut sums = BTreeMap::new();
    for ((metric, _), value) in ledger(&rig.world(), begun) {
        *sums.entry((metric, "all".to_owned())).or_default() += value;
    }
    assert_eq!(counted(&rig.series()), sums);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_change_of_the_setting_the_old_names_go_and_counting_goes_on() {
    let mut kept = Kept::new();
    let mut exporter = kept.start().await;
    kept.look(&mut exporter).await;
    kept.commit(&ada(1));
    let shown = kept.look_later(&mut exporter).await;
    assert!(authors(&shown).contains(&"Ada Fields".to_owned()));
    // By full name authors are called as they were.
    for (people, expected) in [
        (PeopleNames::Name, ("Ada Fields", 2.0)),
        (PeopleNames::Hash, ("a7090f9b3488d3c5", 1.0)),
        (PeopleNames::None, ("all", 1.0)),
    ] {
        drop(exporter);
        kept.commit(&ada(1));
        call_people(&mut kept.settings, people);
        exporter = kept.start().await;
        kept.look(&mut exporter).await;
        let shown = kept.look_later(&mut exporter).await;
        let (author, count) = expected;
        assert_eq!(authors(&shown), [author], "{people:?}");
        assert_eq!(commits(&shown), count, "{people:?}");
    }
    // They are not in the state file either.
    drop(exporter);
    exporter = kept.start().await;
    assert_eq!(authors(&exporter.series()), ["all"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_switched_off_takes_its_series_with_it() {
    let mut kept = Kept::new();
    let mut exporter = kept.start().await;
    kept.look(&mut exporter).await;
    kept.commit(&ada(1));
    assert_eq!(commits(&kept.look_later(&mut exporter).await), 1.0);
    drop(exporter);
    kept.settings.collectors.contributors.enabled = false;
    exporter = kept.start().await;
    kept.look(&mut exporter).await;
    assert_eq!(commits(&exporter.series()), 1.0, "it is seen once more");
    let shown = kept.look_later(&mut exporter).await;
    assert_eq!(of(&shown, &FAMILIES), Vec::<String>::new());
    drop(exporter);
    exporter = kept.start().await;
    assert_eq!(of(&exporter.series(), &FAMILIES), Vec::<String>::new());
}

/// It stays on elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_off_for_one_project_since_a_restart_takes_its_series_of_it_along() {
    let mut kept = Kept::new();
    let other = kept.gitlab.world().add_project("group/other");
    let other = other.expect("a project");
    let mut exporter = kept.start().await;
    kept.look(&mut exporter).await;
    kept.commit(&ada(1));
    commit(&kept.gitlab, other, &ada(1));
    assert_eq!(commits(&kept.look_later(&mut exporter).await), 2.0);
    drop(exporter);
    let mut of_app = kept.settings.wildcards[0].settings.clone();
    of_app.collectors.contributors.enabled = Some(false);
    kept.settings.projects = vec![ProjectEntry {
        name: "group/app".to_owned(),
        settings: of_app,
    }];
    for restart in 0..2 {
        exporter = kept.start().await;
        kept.look(&mut exporter).await;
        let shown = kept.look_later(&mut exporter).await;
        assert_eq!(commits(&shown), 1.0, "{restart}");
        drop(exporter);
    }
    exporter = kept.start().await;
    assert_eq!(commits(&exporter.series()), 1.0, "the state has it no more");
}
