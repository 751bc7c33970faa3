//! `repository`.

use amazing_gitlab_exporter::config::Settings;
use gitlab_simulator::World;
use gitlab_simulator::auth::AccessLevel;
use gitlab_simulator::faults::{Fault, Rule};
use gitlab_simulator::world::{CommitSpec, DEFAULT_TOKEN, Finish, JobSpec, PipelineSpec, Sizes};

use super::code::{Make, Rig, of};

const FAMILIES: [&str; 2] = ["age_repository_", "age_release_"];

fn on(settings: &mut Settings) {
    settings.collectors.repository.enabled = true;
}

fn filled(world: &mut World, app: u64) {
    for name in ["develop", "release"] {
        world.push(app, name).expect("a push");
    }
    world.create_tag(app, "v1").expect("a tag");
    let now = world.now();
    world
        .create_release(app, "v1", now - 5_000)
        .expect("a release");
    world
        .create_release(app, "v2", now + 90_000_000)
        .expect("an upcoming release");
    let code = world.code_mut(app).expect("a project");
    code.languages = vec![("Rust".into(), 82.5), ("Shell".into(), 17.5)];
    code.sizes = Sizes {
        repository: 4_000_000,
        lfs_objects: 5,
        job_artifacts: 6,
        packages: 7,
        container_registry: Some(8),
        wiki: 9,
    };
    (code.stars, code.forks) = (12, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_is_shown_the_same_by_every_way_of_reading() {
    let mut all = Vec::new();
    for (graphql, version) in [
        (true, "19.3.0-ee"),
        (true, "18.4.1-ee"),
        (false, "18.4.1-ee"),
    ] {
        let rig = Make {
            graphql,
            version,
            ..Make::new(on)
        }
        .begin(filled)
        .await;
        let value = |metric: &str| rig.value(metric, &[]);
        assert_eq!(value("age_repository_size_bytes"), Some(4_000_000.0));
        assert_eq!(value("age_repository_lfs_size_bytes"), Some(5.0));
        assert_eq!(value("age_repository_artifacts_size_bytes"), Some(6.0));
        assert_eq!(value("age_repository_packages_size_bytes"), Some(7.0));
        assert_eq!(
            value("age_repository_container_registry_size_bytes"),
            Some(8.0)
        );
        assert_eq!(value("age_repository_wiki_size_bytes"), Some(9.0));
        assert_eq!(value("age_repository_branch_count"), Some(3.0));
        assert_eq!(value("age_repository_tag_count"), Some(1.0));
        assert_eq!(value("age_repository_star_count"), Some(12.0));
        assert_eq!(value("age_repository_fork_count"), Some(3.0));
        assert_eq!(value("age_release_count"), Some(2.0));
        let released = (rig.world().now() - 5_000).div_euclid(1000);
        #[expect(clippy::cast_precision_loss, reason = "a time")]
        let released = released as f64;
        assert_eq!(value("age_release_latest_timestamp"), Some(released));
        let share = rig.value(
            "age_repository_language_percentage",
            &[("language", "Rust")],
        );
        assert_eq!(share, Some(82.5));
        let commits = rig.value("age_repository_commit_count", &[("ref", "main")]);
        assert_eq!(commits, None, "history is not counted");
        all.push(of(&rig.series(), &FAMILIES));
    }
    assert_eq!(all[0], all[1]);
    assert_eq!(all[0], all[2]);
}

async fn commits(rig: &mut Rig) -> f64 {
    rig.look_later().await;
    rig.value("age_repository_commit_count", &[("ref", "main")])
        .expect("it is shown")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_counted_by_rises_and_a_forced_push_takes_none_away() {
    for graphql in [true, false] {
        let make = Make {
            graphql,
            ..Make::new(on)
        };
        let mut rig = make
            .begin(|world, app| {
                for _ in 0..5 {
                    world.push(app, "main").expect("a push");
                }
            })
            .await;
        for _ in 0..3 {
            rig.world().push(rig.app, "main").expect("a push");
        }
        assert_eq!(commits(&mut rig).await, 3.0);
        // Three go, one comes.
        rig.world().force_push(rig.app, "main").expect("a push");
        assert_eq!(commits(&mut rig).await, 3.0);
        let spec = CommitSpec::by("Ada", "ada@example.com", 1, 1);
        rig.world().commit(rig.app, &spec).expect("a commit");
        assert_eq!(commits(&mut rig).await, 4.0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_leave_with_the_statistics_and_come_back_with_their_total() {
    for graphql in [true, false] {
        let make = Make {
            graphql,
            ..Make::new(on)
        };
        let mut rig = make.begin(|_, _| ()).await;
        let push = |rig: &Rig| {
            rig.world().push(rig.app, "main").expect("a push");
        };
        let role = |rig: &Rig, role| {
            let mut world = rig.world();
            world
                .set_role(DEFAULT_TOKEN, rig.app, role)
                .expect("a token");
        };
        push(&rig);
        assert_eq!(commits(&mut rig).await, 1.0);
        // Guests do not see how many commits there are.
        role(&rig, AccessLevel::Guest);
        rig.look_later().await;
        push(&rig);
        rig.look_later().await;
        let shown = of(&rig.series(), &FAMILIES).join("\n");
        assert!(shown.contains("age_repository_star_count"), "{shown}");
        assert!(!shown.contains("age_repository_commit_count"), "{shown}");
        role(&rig, AccessLevel::Reporter);
        assert_eq!(commits(&mut rig).await, 2.0, "with the one meanwhile");
        push(&rig);
        assert_eq!(commits(&mut rig).await, 3.0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_coverage_of_the_default_branch_is_shown() {
    let spec = PipelineSpec::branch("main").job(JobSpec::new("test", "unit").coverage(81.5));
    let mut rig = Make::new(on)
        .begin(|world, app| {
            let pipeline = world.create_pipeline(app, &spec).expect("a pipeline");
            world
                .finish_pipeline(pipeline, &Finish::success())
                .expect("it ends");
        })
        .await;
    rig.look_later().await;
    assert_eq!(rig.value("age_repository_coverage", &[]), Some(81.5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changes_shows_at_the_next_look_and_what_is_deleted_goes() {
    let mut rig = Make::new(on).begin(filled).await;
    rig.world().code_mut(rig.app).expect("a project").languages = vec![("Go".into(), 100.0)];
    rig.world().code_mut(rig.app).expect("a project").stars = 13;
    rig.look_later().await;
    assert_eq!(rig.value("age_repository_star_count", &[]), Some(13.0));
    let languages = rig.series();
    assert_eq!(
        languages.metric("age_repository_language_percentage").len(),
        1
    );
    rig.world().delete_project(rig.app).expect("a project");
    rig.look_later().await;
    assert_eq!(of(&rig.series(), &FAMILIES), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_projects_share_a_query() {
    let make = Make {
        more_projects: 119,
        ..Make::new(on)
    };
    let rig = make.begin(filled).await;
    assert_eq!(rig.series().metric("age_repository_info").len(), 120);
    let requests = rig.gitlab.requests();
    assert!(
        requests.count("Repositories") <= 7,
        "{}",
        requests.count("Repositories")
    );
    assert_eq!(requests.count("/projects/:id/languages"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_releases_than_a_page_are_counted() {
    for graphql in [true, false] {
        let make = Make {
            graphql,
            ..Make::new(on)
        };
        let rig = make
            .begin(|world, app| {
                for number in 0..130 {
                    let at = world.now() - 1_000 * number;
                    world
                        .create_release(app, &format!("v{number}"), at)
                        .expect("a release");
                }
            })
            .await;
        assert_eq!(rig.value("age_release_count", &[]), Some(130.0));
    }
}

/// A star and a commit more, seen at the next look.
async fn look_after_a_push(rig: &mut Rig) {
    rig.world().code_mut(rig.app).expect("a project").stars += 1;
    rig.world().push(rig.app, "main").expect("a push");
    rig.look_later().await;
}

/// One call of several fails: what it told stays, the rest is as new as ever, and the next look
/// asks again. What is not for this token goes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_call_does_not_tell_stays_as_it_was() {
    for (graphql, call, metric) in [
        (false, "/languages", "age_repository_language_percentage"),
        (false, "/releases", "age_release_count"),
        (true, "/repository/branches", "age_repository_branch_count"),
    ] {
        for status in [500, 403] {
            let make = Make {
                graphql,
                version: "18.4.1-ee",
                ..Make::new(on)
            };
            let mut rig = make.begin(filled).await;
            let shown = of(&rig.series(), &[metric]);
            assert!(!shown.is_empty(), "{metric} is shown");
            let rule = Rule::new(Fault::Status { status });
            let rule = rule.on(&format!("/api/v4/projects/:id{call}"));
            let rule = rig.gitlab.faults().add(rule);
            look_after_a_push(&mut rig).await;
            assert!(rig.gitlab.faults().hits(rule) > 0, "{call} is not asked");
            let now = of(&rig.series(), &[metric]);
            match status {
                500 => assert_eq!(now, shown),
                _ => assert!(now.is_empty(), "{metric} goes"),
            }
            let stars = rig.value("age_repository_star_count", &[]);
            assert_eq!(stars, Some(13.0), "the rest is new");
            let errors: Vec<_> = rig.exporter.heard.all_failures().into_keys().collect();
            // What is not for this token is no error.
            let wanted = [("repository", "server")];
            assert_eq!(errors, wanted[..usize::from(status == 500)]);

            rig.gitlab.faults().clear();
            rig.gitlab.requests().reset();
            look_after_a_push(&mut rig).await;
            assert_eq!(of(&rig.series(), &[metric]), shown);
            let asked = rig.gitlab.requests().counts();
            assert!(asked.keys().any(|on| on.ends_with(call)), "{asked:?}");
            let commits = rig.value("age_repository_commit_count", &[("ref", "main")]);
            assert_eq!(commits, Some(2.0));
        }
    }
}

/// Neither way tells anything: all that is known stays, and nothing is lost of the total.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_that_cannot_be_read_stays_as_it_was() {
    let mut rig = Make::new(on).begin(filled).await;
    let before = of(&rig.series(), &FAMILIES);
    for on in ["Repositories", "/api/v4/projects/:id"] {
        let rule = Rule::new(Fault::Status { status: 500 }).on(on);
        rig.gitlab.faults().add(rule);
    }
    look_after_a_push(&mut rig).await;
    assert_eq!(of(&rig.series(), &FAMILIES), before);
    let errors: Vec<_> = rig.exporter.heard.all_failures().into_keys().collect();
    assert_eq!(errors, [("repository", "server")]);
    rig.gitlab.faults().clear();
    look_after_a_push(&mut rig).await;
    assert_eq!(rig.value("age_repository_star_count", &[]), Some(14.0));
    let commits = rig.value("age_repository_commit_count", &[("ref", "main")]);
    assert_eq!(commits, Some(2.0));
}
