//! Which projects are tracked, and how they come and go.

use std::collections::BTreeSet;

use amazing_gitlab_exporter::config::{
    Exclude, Owner, OwnerKind, ProjectEntry, Settings, Wildcard,
};
use gitlab_simulator::auth::AccessLevel;
use gitlab_simulator::faults::{Fault, Rule};
use gitlab_simulator::world::{DEFAULT_TOKEN, PipelineSpec, ProjectId};
use gitlab_simulator::{Simulator, World};

use super::Story;
use crate::support::core::watch_everything;

const STATUS: &str = "age_pipeline_status";
const RUNS: &str = "age_pipeline_run_count";

/// How often projects are looked up, in seconds.
const INTERVAL: u64 = 300;

/// A world in which every project has run a pipeline of `main`.
fn populate(world: &mut World) {
    world.add_user("alice");
    for path in [
        "group/web",
        "group/team/api",
        "group/team/deep/job",
        "other/tool",
        "alice/notes",
    ] {
        world.add_project(path).expect("a project");
    }
    let ids: Vec<u64> = world.projects().map(|project| project.id).collect();
    for id in ids {
        let spec = PipelineSpec::branch("main").skipped();
        world.create_pipeline(id, &spec).expect("a pipeline");
    }
}

fn settings(entries: &[&str], wildcards: Vec<Wildcard>) -> Settings {
    let watched = watch_everything().wildcards.remove(0).settings;
    let projects = entries.iter().map(|name| ProjectEntry {
        name: (*name).to_owned(),
        settings: watched.clone(),
    });
    Settings {
        projects: projects.collect(),
        wildcards,
        ..Settings::default()
    }
}

fn owned_by(name: &str, kind: OwnerKind, include_subgroups: bool) -> Wildcard {
    Wildcard {
        owner: Some(Owner {
            name: name.to_owned(),
            kind,
            include_subgroups,
        }),
        ..Wildcard::default()
    }
}

fn searching(text: &str) -> Wildcard {
    Wildcard {
        search: Some(text.to_owned()),
        ..Wildcard::default()
    }
}

impl Story {
    async fn tracking_by(settings: Settings) -> Self {
        Self::with(settings, |world, _| populate(world)).await
    }

    /// The projects that have states.
    fn shown_projects(&self) -> BTreeSet<String> {
        self.values_of(STATUS, "project").into_iter().collect()
    }

    fn assert_tracked(&self, paths: &[&str], what: &str) {
        let want: BTreeSet<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        assert_eq!(self.shown_projects(), want, "{what}");
        assert_eq!(self.exporter.heard.tracked(), paths.len(), "{what}");
    }
}

#[tokio::test]
async fn projects_are_found_by_name_owner_and_search() {
    let group = |deep| owned_by("group", OwnerKind::Group, deep);
    let cases: Vec<(&str, Settings, &[&str])> = vec![
        (
            "by name",
            settings(&["group/web", "other/tool"], vec![]),
            &["group/web", "other/tool"],
        ),
        (
            "a group with its subgroups",
            settings(&[], vec![group(true)]),
            &[
                "group/app",
                "group/team/api",
                "group/team/deep/job",
                "group/web",
            ],
        ),
        (
            "a group without its subgroups",
            settings(&[], vec![group(false)]),
            &["group/app", "group/web"],
        ),
        (
            "a user",
            settings(&[], vec![owned_by("alice", OwnerKind::User, false)]),
            &["alice/notes"],
        ),
        (
            "a search",
            settings(&[], vec![searching("api")]),
            &["group/team/api"],
        ),
        (
            "everything",
            settings(&[], vec![Wildcard::default()]),
            &[
                "alice/notes",
                "group/app",
                "group/team/api",
                "group/team/deep/job",
                "group/web",
                "other/tool",
            ],
        ),
        (
            "several together, some twice",
            settings(&["group/web"], vec![searching("api"), group(false)]),
            &["group/app", "group/team/api", "group/web"],
        ),
    ];
    for (what, settings, want) in cases {
        let story = Story::tracking_by(settings).await;
        story.assert_tracked(want, what);
    }
}

#[tokio::test]
async fn many_projects_are_read_to_the_last_page() {
    let mut story = Story::unseen(
        settings(&[], vec![owned_by("group", OwnerKind::Group, true)]),
        |world, _| {
            for number in 0..24 {
                let path = format!("group/project-{number}");
                world.add_project(&path).expect("a project");
            }
        },
        |client| client.graphql_page_size = 5,
    );
    story.look_now().await;
    assert_eq!(story.exporter.heard.tracked(), 25);
    assert_eq!(story.gitlab.requests().count("ProjectList"), 5);
    // REST's list is as long.
    story.client.use_graphql = false;
    story.client.rest_page_size = 5;
    story.restart();
    story.look_now().await;
    assert_eq!(story.exporter.heard.tracked(), 25);
    assert_eq!(
        story.gitlab.requests().count("/api/v4/groups/:id/projects"),
        5
    );
}

#[tokio::test]
async fn a_project_matched_twice_follows_its_own_entry() {
    let mut settings = settings(&["group/app"], vec![Wildcard::default()]);
    settings.projects[0].settings.refs.branches.regexp = "^special$".parse().expect("a regexp");
    let mut story = Story::with(settings, |_, _| {}).await;
    for branch in ["main", "special"] {
        story.create(&PipelineSpec::branch(branch).skipped());
    }
    story.look_for(120).await;
    assert_eq!(story.values_of(STATUS, "ref"), ["special"]);
    assert_eq!(story.value(RUNS, &[]), Some(1.0), "counted once");
    assert_eq!(story.exporter.heard.tracked(), 1);
}

#[tokio::test]
async fn new_projects_are_found_and_begin_with_history() {
    let mut story = Story::tracking_by(settings(&[], vec![Wildcard::default()])).await;
    let fresh = {
        let mut world = story.world();
        let fresh = world.add_project("group/fresh").expect("a project");
        let spec = PipelineSpec::branch("main").skipped();
        world.create_pipeline(fresh, &spec).expect("a pipeline");
        fresh
    };
    story.look_for(INTERVAL).await;
    let labels = [("project", "group/fresh")];
    assert_eq!(story.value(STATUS, &labels), Some(1.0));
    {
        let mut world = story.world();
        let spec = PipelineSpec::branch("main").skipped();
        world.create_pipeline(fresh, &spec).expect("a pipeline");
    }
    story.look_for(60).await;
    assert_eq!(story.value(RUNS, &labels), Some(1.0));
}

#[tokio::test]
async fn a_named_project_that_appears_later_is_found() {
    let mut story = Story::with(settings(&["group/later"], vec![]), |_, _| {}).await;
    assert_eq!(story.exporter.heard.tracked(), 0);
    assert_eq!(story.exporter.heard.failures("discovery", "not_found"), 1);
    story.world().add_project("group/later").expect("a project");
    story.look_for(INTERVAL).await;
    assert_eq!(story.exporter.heard.tracked(), 1);
}

/// One entry cannot be looked up when the exporter starts: it is tried again soon, alone.
#[tokio::test]
async fn what_cannot_be_looked_up_is_tried_again_soon() {
    const LIST: &str = "ProjectList";
    const NAMED: &str = "/api/v4/projects/:id";
    let group = Wildcard {
        archived: true,
        ..owned_by("group", OwnerKind::Group, true)
    };
    let mut story = Story::unseen(
        settings(&["other/tool"], vec![group]),
        |world, _| populate(world),
        |_| {},
    );
    let fails = Rule::new(Fault::Status { status: 503 }).on(NAMED);
    story.gitlab.faults().add(fails);
    story.look_now().await;
    let asked = story.gitlab.requests().counts();
    assert_eq!(asked.get(LIST), Some(&1), "{asked:?}");
    let listed = story.exporter.heard.tracked();
    assert!(listed > 0);
    assert_eq!(story.exporter.heard.failures("discovery", "server"), 1);

    // What the list is to be asked for at its time stays until then.
    story
        .world()
        .set_archived(story.app, true)
        .expect("it is there");
    story.look_for(90).await;
    story.gitlab.faults().clear();
    story.gitlab.requests().reset();
    story.look_for(120).await;
    let asked = story.gitlab.requests().counts();
    assert_eq!(story.exporter.heard.tracked(), listed + 1, "{asked:?}");
    assert_eq!((asked.get(NAMED), asked.get(LIST)), (Some(&1), None));
    let labels = [("project", "other/tool")];
    assert_eq!(story.value(STATUS, &labels), Some(1.0));
}

/// Lets something happen to `group/web`, which is tracked by name and by a group, and expects it
/// to leave, with all its series but those that `shown` are.
async fn leaves(what: &str, within: u64, shown: &[&str], happens: impl Fn(&Simulator, u64)) {
    for use_graphql in [true, false] {
        for by_name in [true, false] {
            let entries: &[&str] = if by_name {
                &["group/web", "group/app"]
            } else {
                &[]
            };
            let group = owned_by("group", OwnerKind::Group, true);
            let wildcards = if by_name { vec![] } else { vec![group] };
            let mut story = Story::unseen(
                settings(entries, wildcards),
                |world, _| populate(world),
                |client| client.use_graphql = use_graphql,
            );
            story.look_now().await;
            story.look_for(300).await;
            let what = format!("{what}, GraphQL {use_graphql}, by name {by_name}");
            assert!(story.shown_projects().contains("group/web"), "{what}");
            let web = story.world().project_by_path("group/web").expect("it").id;
            happens(&story.gitlab, web);
            story.look_for(within).await;
            assert!(!story.shown_projects().contains("group/web"), "{what}");
            assert!(story.shown_projects().contains("group/app"), "{what}");
            story.look_for(300).await;
            let all = story.exporter.shown();
            let left = all.0.keys().filter(|(metric, labels)| {
                labels.get("project").is_some_and(|path| path == "group/web")
                    && !shown.iter().any(|prefix| metric.starts_with(prefix))
                    // By REST a quiet project is read for it once a day.
                    && (use_graphql || !metric.starts_with("age_dora_"))
            });
            let left: Vec<_> = left.map(|(metric, _)| metric).collect();
            assert_eq!(left, [""; 0], "{what}");
        }
    }
}

#[tokio::test]
async fn a_deleted_project_leaves_at_the_next_look() {
    leaves("deleted", 60, &[], |gitlab, web| {
        gitlab.world().delete_project(web).expect("it is gone");
    })
    .await;
}

#[tokio::test]
async fn a_project_that_is_hidden_leaves_at_the_next_look() {
    leaves("hidden", 60, &[], |gitlab, web| {
        gitlab
            .world()
            .set_role(DEFAULT_TOKEN, web, AccessLevel::None)
            .expect("a token");
    })
    .await;
}

#[tokio::test]
async fn a_project_whose_role_is_too_low_leaves_at_the_next_look() {
    // The role is asked for at once where the project shows its jobs to members only from now on.
    let shown = [
        "age_project_last_success_timestamp",
        "age_repository_",
        "age_release_",
    ];
    leaves("guest", 120, &shown, |gitlab, web| {
        let mut world = gitlab.world();
        world
            .set_role(DEFAULT_TOKEN, web, AccessLevel::Guest)
            .expect("a token");
        // Guests read pipelines where jobs are public.
        world
            .change_settings(web, |settings| settings.public_jobs = false)
            .expect("a project");
    })
    .await;
}

#[tokio::test]
async fn an_archived_project_leaves_when_projects_are_looked_up() {
    leaves("archived", 2 * INTERVAL, &[], |gitlab, web| {
        gitlab.world().set_archived(web, true).expect("a project");
    })
    .await;
}

#[tokio::test]
async fn archived_projects_are_tracked_on_request() {
    let wildcard = Wildcard {
        archived: true,
        ..Wildcard::default()
    };
    for (wildcard, want) in [(wildcard, 2), (Wildcard::default(), 1)] {
        let story = Story::with(settings(&[], vec![wildcard]), |world, _| {
            let old = world.add_project("group/old").expect("a project");
            world.set_archived(old, true).expect("a project");
        })
        .await;
        assert_eq!(story.exporter.heard.tracked(), want);
    }
}

#[tokio::test]
async fn a_role_that_comes_back_brings_its_totals_back_and_counts_what_it_missed() {
    let hide = |world: &mut World, app: ProjectId| {
        // Guests read pipelines where jobs are public.
        world
            .change_settings(app, |settings| settings.public_jobs = false)
            .expect("a project");
    };
    let mut story = Story::with(settings(&[], vec![Wildcard::default()]), hide).await;
    let set = |story: &Story, role| {
        let mut world = story.world();
        world
            .set_role(DEFAULT_TOKEN, story.app, role)
            .expect("a token");
    };
    let create = |story: &Story| story.create(&PipelineSpec::branch("main").skipped());
    create(&story);
    story.look().await;
    assert_eq!(story.value(RUNS, &[]), Some(1.0));
    set(&story, AccessLevel::Guest);
    // What the token may read is asked for every quarter of an hour.
    story.look_for(1000).await;
    create(&story);
    story.look_for(600).await;
    assert_eq!(story.labels_of(RUNS).len(), 0, "nothing to see");
    set(&story, AccessLevel::Reporter);
    story.look_for(1000).await;
    assert_eq!(
        story.value(RUNS, &[]),
        Some(2.0),
        "the one before, and the one meanwhile"
    );
    create(&story);
    story.look_for(60).await;
    assert_eq!(story.value(RUNS, &[]), Some(3.0));
}

#[tokio::test]
async fn a_lookup_that_fails_keeps_what_is_known() {
    let faults = [
        Fault::Status { status: 500 },
        Fault::Status { status: 403 },
        Fault::Status { status: 401 },
        Fault::Reset,
        Fault::Html,
        Fault::InvalidJson,
        Fault::ApplicationLimit { retry_after: 0 },
    ];
    let group = owned_by("group", OwnerKind::Group, true);
    let mut story = Story::tracking_by(settings(&["other/tool"], vec![group])).await;
    let want = [
        "group/app",
        "group/team/api",
        "group/team/deep/job",
        "group/web",
        "other/tool",
    ];
    story.assert_tracked(&want, "at first");
    for fault in faults {
        let what = format!("{fault:?}");
        let before = story.exporter.heard.all_failures().len();
        for endpoint in [
            "ProjectList",
            "/api/v4/groups/:id/projects",
            "/api/v4/projects/:id",
        ] {
            let rule = Rule::new(fault.clone()).on(endpoint);
            // Each limit that is hit makes the next wait longer, and it is waited for in real time.
            let rule = match fault {
                Fault::ApplicationLimit { .. } => rule.times(2),
                _ => rule,
            };
            story.gitlab.faults().add(rule);
        }
        // Named projects are asked for once an hour.
        story.wait(3600);
        story.look_for(INTERVAL).await;
        story.assert_tracked(&want, &what);
        let after = story.exporter.heard.all_failures();
        assert!(after.len() > before, "{what} is told: {after:?}");
        story.gitlab.faults().clear();
        story.look_for(INTERVAL).await;
    }
}

#[tokio::test]
async fn a_listing_that_breaks_off_keeps_what_is_known() {
    let mut story = Story::unseen(
        settings(&[], vec![owned_by("group", OwnerKind::Group, true)]),
        |world, _| populate(world),
        |client| (client.use_graphql, client.rest_page_size) = (false, 2),
    );
    story.look_now().await;
    assert_eq!(story.exporter.heard.tracked(), 4);
    let rule = Rule::new(Fault::Status { status: 502 })
        .on("/api/v4/groups/:id/projects")
        .page(2);
    let broken = story.gitlab.faults().add(rule);
    story.look_for(2 * INTERVAL).await;
    assert!(story.gitlab.faults().hits(broken) > 0);
    assert_eq!(story.exporter.heard.tracked(), 4);
}

/// A group that is renamed, moved or hidden answers 404: that says nothing of its projects, which are
/// asked for one by one.
#[tokio::test]
async fn projects_of_a_group_that_is_not_found_leave_when_they_are_not_found_themselves() {
    let group = owned_by("group", OwnerKind::Group, true);
    let mut story = Story::tracking_by(settings(&["other/tool"], vec![group])).await;
    let no_group = Fault::Replace {
        pointer: "/data/group".to_owned(),
        value: serde_json::Value::Null,
    };
    let rule = Rule::new(Fault::Status { status: 404 }).on("/api/v4/groups/:id/projects");
    story.gitlab.faults().add(rule);
    story
        .gitlab
        .faults()
        .add(Rule::new(no_group).on("ProjectList"));
    let all = [
        "group/app",
        "group/team/api",
        "group/team/deep/job",
        "group/web",
        "other/tool",
    ];
    story.look_for(2 * INTERVAL).await;
    story.assert_tracked(&all, "the group alone is not found");
    for path in &all[..4] {
        let mut world = story.world();
        let id = world.project_by_path(path).expect("it").id;
        world.delete_project(id).expect("it is there");
    }
    story.look_for(2 * INTERVAL).await;
    story.assert_tracked(&all[4..], "only what is named is left");
}

#[tokio::test]
async fn everything_forbidden_for_a_while_is_no_reason_to_forget() {
    // GitLab bans an address for an hour after too many refused calls: 403 for everything.
    for use_graphql in [true, false] {
        let mut story = Story::unseen(
            settings(&[], vec![Wildcard::default()]),
            |_, _| {},
            |client| client.use_graphql = use_graphql,
        );
        story.look_now().await;
        story.create(&PipelineSpec::branch("main").skipped());
        story.look_for(300).await;
        let ban = Rule::new(Fault::Status { status: 403 });
        story.gitlab.faults().add(ban);
        story.look_for(3600).await;
        story.create(&PipelineSpec::branch("main").skipped());
        story.look_for(600).await;
        assert_eq!(story.exporter.heard.tracked(), 1);
        story.gitlab.faults().clear();
        story.look_for(900).await;
        assert_eq!(story.value(RUNS, &[]), Some(2.0), "GraphQL {use_graphql}");
    }
}

fn excluding(exclude: Exclude) -> Wildcard {
    Wildcard {
        exclude,
        ..Wildcard::default()
    }
}

/// A world with a fork, a project with a topic, and one in which nobody was for a year.
fn populate_for_exclusion(world: &mut World) {
    populate(world);
    let id = |world: &World, path: &str| {
        let mut all = world.projects();
        all.find(|project| &*project.full_path == path).unwrap().id
    };
    let (tool, web) = (id(world, "other/tool"), id(world, "group/web"));
    let api = id(world, "group/team/api");
    let change = |world: &mut World, id, topics: &[&str], fork: Option<u64>| {
        let topics = topics.iter().map(|topic| (*topic).into()).collect();
        let changed = world.change_settings(id, |settings| {
            settings.topics = topics;
            settings.forked_from = fork;
        });
        changed.expect("a project");
    };
    change(world, tool, &["go"], Some(web));
    change(world, api, &["Legacy", "go"], None);
}

#[tokio::test]
async fn what_is_excluded_is_not_tracked_by_graphql_and_by_rest() {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let cases: Vec<(&str, Exclude, &[&str])> = vec![
        (
            "a group and a project",
            Exclude {
                paths: texts(&["Group/team", "alice/notes"]),
                ..Exclude::default()
            },
            &["group/app", "group/web", "other/tool"],
        ),
        (
            "an expression and a topic",
            Exclude {
                regexps: vec!["/(app|job)$".parse().expect("a regexp")],
                topics: texts(&["legacy"]),
                ..Exclude::default()
            },
            &["alice/notes", "group/web", "other/tool"],
        ),
        (
            "forks",
            Exclude {
                forks: true,
                ..Exclude::default()
            },
            &[
                "alice/notes",
                "group/app",
                "group/team/api",
                "group/team/deep/job",
                "group/web",
            ],
        ),
        (
            "everything",
            Exclude {
                regexps: vec![".".parse().expect("a regexp")],
                ..Exclude::default()
            },
            &["group/app"],
        ),
    ];
    for (what, exclude, want) in cases {
        for graphql in [true, false] {
            // What is named is selected all the same.
            let named: &[&str] = if what == "everything" {
                &["group/app"]
            } else {
                &[]
            };
            let mut story = Story::unseen(
                settings(named, vec![excluding(exclude.clone())]),
                |world, _| populate_for_exclusion(world),
                |client| client.use_graphql = graphql,
            );
            story.look_now().await;
            story.assert_tracked(want, what);
            let lists = story.gitlab.requests().count("ProjectList");
            assert_eq!(lists > 0, graphql, "{what}: {lists}");
        }
    }
}

#[tokio::test]
async fn a_project_that_gets_an_excluded_topic_is_removed_and_comes_back() {
    let exclude = Exclude {
        topics: vec!["legacy".to_owned()],
        ..Exclude::default()
    };
    let settings = settings(&[], vec![excluding(exclude)]);
    let mut story = Story::with(settings, |_, _| {}).await;
    story.create(&PipelineSpec::branch("main").skipped());
    story.look_for(60).await;
    assert_eq!(story.value(STATUS, &[]), Some(1.0));
    let topics = |story: &Story, topics: Vec<std::sync::Arc<str>>| {
        let mut world = story.world();
        let changed = world.change_settings(story.app, |settings| settings.topics = topics);
        changed.expect("a project");
    };
    topics(&story, vec!["legacy".into()]);
    story.look_for(2 * INTERVAL).await;
    assert_eq!(story.exporter.heard.tracked(), 0);
    assert_eq!(story.value(STATUS, &[]), None);
    topics(&story, Vec::new());
    story.look_for(2 * INTERVAL).await;
    assert_eq!(story.value(STATUS, &[]), Some(1.0));
}

#[tokio::test]
async fn a_project_in_which_nobody_is_active_is_not_tracked() {
    let exclude = Exclude {
        inactive_days: 2,
        ..Exclude::default()
    };
    let settings = settings(&[], vec![excluding(exclude)]);
    let mut story = Story::with(settings, |_, _| {}).await;
    assert_eq!(story.exporter.heard.tracked(), 1);
    // No pipeline is activity.
    for _ in 0..3 {
        story.create(&PipelineSpec::branch("main").skipped());
        for _ in 0..24 {
            story.look_after(3600).await;
        }
    }
    assert_eq!(story.exporter.heard.tracked(), 0);
}
