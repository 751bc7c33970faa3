//! `merge_requests` and `code_review`.

use std::time::Duration;

use amazing_gitlab_exporter::config::{PeopleNames, Settings};
use gitlab_simulator::AccessLevel;
use gitlab_simulator::World;
use gitlab_simulator::auth::Token;
use gitlab_simulator::faults::{Fault, Rule};
use gitlab_simulator::world::DEFAULT_TOKEN;
use gitlab_simulator::world::MergeRequestState::{Closed, Merged, Opened};
use gitlab_simulator::world::reviews::ReviewAct::{
    Approve, Ask, Comment, Release, RequestChanges, Review,
};

use super::code::{Make, Rig, of};
use crate::support::series::Value;

const FAMILIES: [&str; 2] = ["age_mr_", "age_review_"];
const MAIN: &[(&str, &str)] = &[("target_branch", "main")];

fn on(settings: &mut Settings) {
    settings.collectors.merge_requests.enabled = true;
    settings.collectors.code_review.enabled = true;
}

fn by(graphql: bool) -> Make {
    Make {
        graphql,
        ..Make::new(on)
    }
}

/// Opens a merge request of ada's into main.
fn open(world: &mut World, app: u64, name: &str) -> u64 {
    let iid = world.create_merge_request(app, name, "main").expect("one");
    let one = world.merge_request_mut(app, iid).expect("it is there");
    one.review.author = "ada".into();
    (one.review.additions, one.review.deletions) = (30, 12);
    (one.review.files, one.review.commits) = (3, 2);
    iid
}

/// One open merge request.
fn one(world: &mut World, app: u64) {
    open(world, app, "a");
}

impl Rig {
    /// Lets three minutes pass, and looks.
    async fn next(&mut self) {
        self.gitlab.advance(Duration::from_secs(180));
        self.look().await;
    }

    fn pass(&self, seconds: u64) {
        self.gitlab.advance(Duration::from_secs(seconds));
    }

    fn review(&self, iid: u64, who: &str, act: gitlab_simulator::world::reviews::ReviewAct<'_>) {
        let app = self.app;
        self.world()
            .review(app, iid, who, act)
            .expect("it is there");
    }

    fn set(&self, iid: u64, state: gitlab_simulator::world::MergeRequestState) {
        let app = self.app;
        let done = self.world().set_merge_request_state(app, iid, state);
        done.expect("it is there");
    }

    fn main(&self, metric: &str) -> Option<f64> {
        self.value(metric, MAIN)
    }

    fn state(&self, state: &str) -> Option<f64> {
        self.value(
            "age_mr_status",
            &[("target_branch", "main"), ("state", state)],
        )
    }

    fn by(&self, metric: &str, reviewer: &str) -> Option<f64> {
        self.value(metric, &[("reviewer", reviewer)])
    }

    /// Sum of the one histogram of the branch.
    fn sum(&self, metric: &str) -> f64 {
        match self.series().value(metric, MAIN) {
            Some(Value::Histogram { sum, .. }) => sum,
            other => panic!("{metric}: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_life_from_creation_to_merge_is_told_the_same_by_every_way_of_reading() {
    let mut all = Vec::new();
    for graphql in [true, false] {
        let mut rig = by(graphql)
            .begin(|world, app| {
                let old = open(world, app, "old");
                world.set_merge_request_state(app, old, Merged).expect("it");
                open(world, app, "waiting");
            })
            .await;
        assert_eq!(rig.state("merged"), Some(1.0));
        assert_eq!(rig.state("opened"), Some(1.0));
        assert_eq!(rig.main("age_mr_throughput_count"), None, "history");
        assert_eq!(rig.main("age_mr_time_to_merge_seconds"), None, "history");

        let app = rig.app;
        rig.pass(60);
        let iid = open(&mut rig.world(), app, "new");
        rig.pass(60);
        rig.review(iid, "ada", Ask(&["ben", "chiara"]));
        rig.next().await;
        assert_eq!(rig.main("age_mr_created_total"), Some(1.0));
        assert_eq!(rig.main("age_mr_open_count"), Some(2.0));
        assert_eq!(rig.by("age_review_requested_count", "chiara"), Some(1.0));
        assert_eq!(rig.value("age_review_pending_count", &[]), Some(1.0));

        rig.review(iid, "ada", Comment);
        rig.review(iid, "project_7_bot_4f1c", Comment);
        rig.pass(60);
        rig.review(iid, "ben", RequestChanges);
        rig.review(iid, "ada", Release(&["chiara"]));
        rig.pass(60);
        rig.world().push(app, "new").expect("a push");
        rig.pass(60);
        rig.review(iid, "ben", Review);
        rig.review(iid, "ben", Approve);
        rig.next().await;
        assert_eq!(rig.value("age_review_pending_count", &[]), Some(0.0));
        // Created, asked 60 s later, three minutes of waiting, the first look is none.
        assert_eq!(rig.sum("age_mr_time_to_first_review_seconds"), 300.0);
        assert_eq!(rig.sum("age_mr_time_to_approve_seconds"), 420.0);
        assert_eq!(rig.by("age_review_turnaround_seconds", "ben"), Some(1.0));
        assert_eq!(rig.by("age_review_approval_count", "ben"), Some(1.0));
        assert_eq!(rig.by("age_review_comments_total", "ben"), None);

        rig.set(iid, Merged);
        rig.next().await;
        rig.next().await;
        assert_eq!(rig.main("age_mr_throughput_count"), Some(1.0));
        assert_eq!(rig.sum("age_mr_time_to_merge_seconds"), 600.0);
        assert_eq!(rig.sum("age_mr_review_cycles_count"), 1.0);
        assert_eq!(rig.sum("age_mr_notes_count"), 2.0);
        assert_eq!(rig.sum("age_mr_approvals_count"), 1.0);
        if graphql {
            assert_eq!(rig.sum("age_mr_changes_count"), 54.0, "42 and a push of 12");
            assert_eq!(rig.sum("age_mr_files_changed_count"), 3.0);
            assert_eq!(rig.sum("age_mr_commits_count"), 3.0);
        }
        assert_eq!(rig.state("merged"), Some(2.0));
        assert_eq!(rig.state("opened"), Some(1.0));
        let shown = of(&rig.series(), &FAMILIES);
        let told = |one: &String| {
            !["changes", "files", "commits"]
                .iter()
                .any(|word| one.contains(word))
        };
        all.push(shown.into_iter().filter(told).collect::<Vec<_>>());
    }
    assert_eq!(all[0], all[1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn states_follow_drafts_conflicts_closing_and_deletion() {
    for graphql in [true, false] {
        let mut rig = by(graphql).begin(|_, _| {}).await;
        assert_eq!(of(&rig.series(), &["age_mr_"]), [""; 0], "there is none");
        let app = rig.app;
        let (first, second) = {
            let mut world = rig.world();
            let (first, second) = (open(&mut world, app, "a"), open(&mut world, app, "b"));
            world.set_draft(app, first, true).expect("it is there");
            (first, second)
        };
        rig.next().await;
        assert_eq!(rig.main("age_mr_open_count"), Some(2.0));
        assert_eq!(rig.main("age_mr_draft_count"), Some(1.0));
        assert_eq!(rig.main("age_mr_conflict_count"), Some(0.0));
        {
            let mut world = rig.world();
            let one = world.merge_request_mut(app, second);
            one.expect("it is there").review.conflicts = true;
        }
        rig.world()
            .set_draft(app, first, false)
            .expect("it is there");
        rig.next().await;
        assert_eq!(rig.main("age_mr_draft_count"), Some(0.0));
        // Conflicts come without a touch: they are seen within the hour.
        rig.pass(3600);
        rig.look().await;
        assert_eq!(rig.main("age_mr_conflict_count"), Some(1.0));
        rig.set(first, Closed);
        rig.next().await;
        assert_eq!(rig.main("age_mr_closed_total"), Some(1.0));
        assert_eq!(rig.state("closed"), Some(1.0));
        rig.set(first, Opened);
        rig.next().await;
        assert_eq!(rig.state("closed"), Some(0.0));
        assert_eq!(rig.main("age_mr_open_count"), Some(2.0));
        rig.world()
            .delete_merge_request(app, second)
            .expect("it is there");
        rig.pass(3600);
        rig.look().await;
        assert_eq!(rig.main("age_mr_open_count"), Some(1.0));
        assert_eq!(rig.state("opened"), Some(1.0));
        rig.world().delete_project(app).expect("it is there");
        rig.pass(3600);
        rig.look().await;
        rig.pass(3600);
        rig.look().await;
        assert_eq!(of(&rig.series(), &FAMILIES), [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_lists_are_read_to_the_end() {
    for graphql in [true, false] {
        let mut rig = by(graphql)
            .begin(|world, app| {
                for number in 0..230 {
                    let iid = open(world, app, &format!("old-{number}"));
                    if number % 2 == 0 {
                        world.set_merge_request_state(app, iid, Merged).expect("it");
                    }
                }
            })
            .await;
        assert_eq!(rig.state("merged"), Some(115.0));
        assert_eq!(rig.state("opened"), Some(115.0));
        assert_eq!(rig.main("age_mr_open_count"), Some(115.0));
        let app = rig.app;
        rig.pass(30);
        let iids: Vec<u64> = (0..45)
            .map(|number| open(&mut rig.world(), app, &format!("new-{number}")))
            .collect();
        for _ in 0..250 {
            rig.review(iids[0], "ben", Comment);
        }
        rig.next().await;
        assert_eq!(rig.main("age_mr_created_total"), Some(45.0));
        assert_eq!(rig.by("age_review_comments_total", "ben"), Some(250.0));
        assert_eq!(rig.state("opened"), Some(160.0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quick_notes_that_leave_no_touch_are_counted() {
    let mut rig = by(true).begin(one).await;
    rig.pass(110);
    rig.review(1, "ben", Comment);
    // GitLab's clock is known to be past the touch when merge requests are read, every two minutes.
    rig.pass(9);
    rig.look().await;
    rig.pass(2);
    rig.look().await;
    assert_eq!(rig.by("age_review_comments_total", "ben"), Some(1.0));
    // Within the minute, so that GitLab does not touch the merge request again.
    rig.pass(20);
    rig.review(1, "ben", Comment);
    rig.next().await;
    assert_eq!(rig.by("age_review_comments_total", "ben"), Some(2.0));
    rig.next().await;
    assert_eq!(rig.by("age_review_comments_total", "ben"), Some(2.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_quiet_projects_share_a_query() {
    let make = Make {
        more_projects: 119,
        ..by(true)
    };
    let mut rig = make.begin(one).await;
    rig.gitlab.requests().reset();
    rig.next().await;
    let requests = rig.gitlab.requests();
    assert_eq!(
        requests.count("MergeRequestReviews"),
        2,
        "120 projects, 100 at a time"
    );
    assert_eq!(requests.count("MergeRequestCensus"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_not_be_read_is_said_and_no_error() {
    let make = Make {
        role: AccessLevel::Guest,
        ..by(true)
    };
    let rig = make.begin(one).await;
    assert_eq!(of(&rig.series(), &FAMILIES), [""; 0]);

    let mut rig = by(false).begin(one).await;
    assert_eq!(rig.main("age_mr_open_count"), Some(1.0));
    let forbidden = Rule::new(Fault::Status { status: 403 });
    rig.gitlab
        .faults()
        .add(forbidden.on("/api/v4/projects/:id/merge_requests"));
    rig.next().await;
    assert_eq!(rig.main("age_mr_open_count"), None, "states go");
    let why = rig.unavailable("merge_requests").expect("a reason");
    assert!(why.contains("403"), "{why}");
    assert!(rig.unavailable("code_review").is_some());
}

/// The usual token, with a scope that reads repositories and no API.
fn narrow() -> Token {
    Token::new(DEFAULT_TOKEN).with_scopes(&["read_repository"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_whose_scope_does_not_reach_them_is_told_by_its_reason() {
    // REST says which scope is missing, and that is the reason. GraphQL says that the token is no
    // good: an error, after which REST is not asked in its place.
    let mut rig = by(false).begin(one).await;
    assert_eq!(rig.main("age_mr_open_count"), Some(1.0));
    rig.world().add_token(narrow());
    rig.next().await;
    for collector in ["merge_requests", "code_review"] {
        let why = rig.unavailable(collector).expect("a reason");
        assert!(why.contains("scope"), "{collector}: {why}");
    }
    assert_eq!(rig.main("age_mr_open_count"), None, "states go");
    assert_eq!(
        rig.main("age_mr_created_total"),
        None,
        "counts too, after the grace"
    );

    let mut rig = by(true).begin(one).await;
    rig.world().add_token(narrow());
    rig.next().await;
    let failures = rig.exporter.heard.failures("merge_requests", "auth");
    let all = rig.exporter.heard.all_failures();
    assert!(failures > 0, "{all:?}");
    assert_eq!(rig.main("age_mr_open_count"), Some(1.0), "the last known");

    // With its scope back, all goes on.
    rig.world().add_token(Token::new(DEFAULT_TOKEN));
    let app = rig.app;
    open(&mut rig.world(), app, "b");
    rig.pass(700);
    rig.look().await;
    assert_eq!(rig.main("age_mr_created_total"), Some(1.0));
    assert_eq!(rig.main("age_mr_open_count"), Some(2.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rest_stands_in_while_graphql_is_refused_and_nothing_is_counted_twice() {
    let mut rig = by(true).begin(one).await;
    for round in 0..12 {
        if round % 4 == 1 {
            let refused = Rule::new(Fault::Status { status: 500 }).on("/api/graphql");
            rig.gitlab.faults().add(refused);
        }
        if round % 4 == 3 {
            rig.gitlab.faults().clear();
        }
        let app = rig.app;
        let iid = open(&mut rig.world(), app, &format!("new-{round}"));
        rig.review(iid, "ben", Approve);
        rig.set(iid, Merged);
        rig.next().await;
    }
    rig.gitlab.faults().clear();
    rig.pass(700);
    rig.look().await;
    assert_eq!(rig.main("age_mr_created_total"), Some(12.0));
    assert_eq!(rig.main("age_mr_throughput_count"), Some(12.0));
    assert_eq!(rig.main("age_mr_time_to_first_review_seconds"), Some(12.0));
    assert_eq!(rig.by("age_review_approval_count", "ben"), Some(12.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_are_called_as_the_settings_say() {
    for (names, label) in [
        (PeopleNames::Name, "Ben Example"),
        (PeopleNames::None, "all"),
    ] {
        let enable = match names {
            PeopleNames::Name => |settings: &mut Settings| {
                on(settings);
                settings.labels.people = PeopleNames::Name;
            },
            _ => |settings: &mut Settings| {
                on(settings);
                settings.labels.people = PeopleNames::None;
            },
        };
        let make = Make::new(enable);
        let mut rig = make.begin(one).await;
        rig.pass(60);
        rig.review(1, "ada", Ask(&["ben"]));
        rig.review(1, "ben", Approve);
        rig.next().await;
        assert_eq!(rig.by("age_review_approval_count", label), Some(1.0));
        assert_eq!(rig.series().metric("age_review_requested_count").len(), 1);
    }
}

/// What a role that shrinks hides leaves, as GitLab says it; when the role is back, the counts go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_role_they_leave_and_with_it_they_come_back() {
    use gitlab_simulator::auth::AccessLevel;
    let mut rig = by(true).begin(one).await;
    let app = rig.app;
    open(&mut rig.world(), app, "b");
    rig.next().await;
    let pending = |rig: &Rig| rig.value("age_review_pending_count", &[]);
    let shown = (rig.main("age_mr_created_total"), pending(&rig));
    assert_eq!(shown, (Some(1.0), Some(0.0)));
    let set = |rig: &Rig, role| {
        let done = rig.world().set_default_role(DEFAULT_TOKEN, role);
        done.expect("a token");
    };
    set(&rig, AccessLevel::Guest);
    // What the token may read is asked for every quarter of an hour.
    for _ in 0..6 {
        rig.next().await;
    }
    let why = rig.unavailable("merge_requests").expect("a reason");
    assert!(why.contains("may not read its merge requests"), "{why}");
    assert_eq!((rig.main("age_mr_open_count"), pending(&rig)), (None, None));
    assert_eq!(rig.main("age_mr_created_total"), None);
    open(&mut rig.world(), app, "c");
    set(&rig, AccessLevel::Reporter);
    for _ in 0..6 {
        rig.next().await;
    }
    assert_eq!(rig.unavailable("merge_requests"), None);
    assert_eq!(rig.main("age_mr_open_count"), Some(3.0));
    assert_eq!(
        rig.main("age_mr_created_total"),
        Some(2.0),
        "and the one meanwhile"
    );
    assert_eq!(pending(&rig), Some(0.0));
}
