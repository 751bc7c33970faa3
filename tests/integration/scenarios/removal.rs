//! Nothing is removed without proof: proxies, empty lists, hidden, moved and deleted projects, and
//! features that are switched off.

use std::time::Duration;

use amazing_gitlab_exporter::config::{Owner, OwnerKind, Settings, Wildcard};
use gitlab_simulator::World;
use gitlab_simulator::auth::AccessLevel;
use gitlab_simulator::faults::{Fault, Rule};
use gitlab_simulator::world::{DEFAULT_TOKEN, Feature, PipelineSpec, ProjectId};
use serde_json::json;

use super::Story;
use crate::support::core::watch_everything;

const STATUS: &str = "age_pipeline_status";
const RUNS: &str = "age_pipeline_run_count";
const PROJECTS: &str = "/api/v4/projects";
/// The same list by GraphQL.
const LIST: &str = "ProjectList";

/// Projects beside `group/app`, so that a tenth of all is one.
const OTHERS: usize = 11;
/// How long a project has to be missing, in seconds.
const GRACE: u64 = 300;

/// All projects, with the usual grace.
fn all() -> Settings {
    let mut settings = watch_everything();
    // Not the default itself, which tests of other things take for none.
    settings.discovery.removal_grace = Duration::from_secs(GRACE - 1);
    settings
}

/// Those of the group `group`.
fn of_group() -> Settings {
    let mut settings = all();
    let settings_of = settings.wildcards.remove(0).settings;
    settings.wildcards.push(Wildcard {
        owner: Some(Owner {
            name: "group".to_owned(),
            kind: OwnerKind::Group,
            include_subgroups: true,
        }),
        settings: settings_of,
        ..Wildcard::default()
    });
    settings
}

fn others(world: &mut World, _: ProjectId) {
    for number in 0..OTHERS {
        let path = format!("group/other-{number}");
        world.add_project(&path).expect("a project");
    }
}

/// A run of `main` that ends at once.
fn run(story: &Story) {
    story.create(&PipelineSpec::branch("main").skipped());
}

impl Story {
    async fn of_many(settings: Settings, use_graphql: bool) -> Self {
        let mut story = Self::unseen(settings, others, |client| client.use_graphql = use_graphql);
        story.look_now().await;
        story.look_for(300).await;
        run(&story);
        story.look_for(60).await;
        assert_eq!(story.runs(), Some(1.0));
        assert_eq!(story.tracked(), OTHERS + 1);
        story
    }

    fn tracked(&self) -> usize {
        self.exporter.heard.tracked()
    }

    /// What is counted of `group/app`.
    fn runs(&self) -> Option<f64> {
        self.value(RUNS, &[("project", "group/app")])
    }

    fn has_states(&self) -> bool {
        let series = self.series();
        !series
            .select(STATUS, &[("project", "group/app")])
            .is_empty()
    }
}

/// A proxy in front of a GitLab that is down, or that knows another host by this name.
#[tokio::test]
async fn what_a_proxy_says_removes_nothing() {
    let html = |status| Fault::Body {
        status,
        content_type: "text/html".to_owned(),
        body: b"<html><h1>Not Found</h1></html>".to_vec(),
    };
    let json = |status| Fault::Body {
        status,
        content_type: "application/json".to_owned(),
        body: br#"{"status":"no such backend"}"#.to_vec(),
    };
    for use_graphql in [true, false] {
        for fault in [html(404), html(403), html(200), json(404), json(403)] {
            let mut story = Story::of_many(all(), use_graphql).await;
            let rule = story.gitlab.faults().add(Rule::new(fault.clone()));
            story.look_for(1800).await;
            run(&story);
            story.look_for(1800).await;
            assert_eq!(story.tracked(), OTHERS + 1, "{fault:?}");
            assert_eq!(story.runs(), Some(1.0), "{fault:?}");
            assert!(story.has_states(), "{fault:?}");
            story.gitlab.faults().remove(rule);
            story.look_for(1200).await;
            assert_eq!(
                story.runs(),
                Some(2.0),
                "what happened meanwhile, {fault:?}"
            );
        }
    }
}

/// A list that lacks projects is a contradiction while GitLab shows them by their ids.
#[tokio::test]
async fn an_empty_list_removes_nothing() {
    for use_graphql in [true, false] {
        let mut story = Story::of_many(all(), use_graphql).await;
        let empty = |pointer: &str| Fault::Replace {
            pointer: pointer.to_owned(),
            value: json!([]),
        };
        let rule = match use_graphql {
            true => Rule::new(empty("/data/projects/nodes")).on(LIST),
            false => Rule::new(empty("")).on(PROJECTS),
        };
        let rule = story.gitlab.faults().add(rule);
        story.look_for(3600).await;
        run(&story);
        story.look_for(60).await;
        assert!(story.gitlab.faults().hits(rule) > 0);
        assert_eq!(story.tracked(), OTHERS + 1);
        assert_eq!(story.runs(), Some(2.0), "it goes on");
    }
}

/// Hides and shows the project.
fn show(story: &Story, role: AccessLevel) {
    let mut world = story.world();
    let done = world.set_role(DEFAULT_TOKEN, story.app, role);
    done.expect("a token");
}

#[tokio::test]
async fn a_project_that_is_hidden_for_a_moment_loses_nothing() {
    for use_graphql in [true, false] {
        let mut story = Story::of_many(all(), use_graphql).await;
        show(&story, AccessLevel::None);
        story.look_for(GRACE - 60).await;
        run(&story);
        assert_eq!(story.tracked(), OTHERS + 1);
        assert_eq!(story.runs(), Some(1.0));
        assert!(story.has_states());
        show(&story, AccessLevel::Maintainer);
        story.look_for(600).await;
        assert_eq!(story.runs(), Some(2.0));
    }
}

#[tokio::test]
async fn a_project_that_is_hidden_for_long_leaves_and_comes_back_with_its_totals() {
    for use_graphql in [true, false] {
        let mut story = Story::of_many(all(), use_graphql).await;
        show(&story, AccessLevel::None);
        story.look_for(GRACE - 60).await;
        assert!(story.has_states(), "within the grace");
        story.look_for(2 * GRACE).await;
        assert_eq!(story.tracked(), OTHERS);
        assert_eq!(story.runs(), None);
        assert!(!story.has_states());
        run(&story);
        story.look_for(3600).await;
        show(&story, AccessLevel::Maintainer);
        story.look_for(900).await;
        assert_eq!(story.tracked(), OTHERS + 1);
        assert_eq!(story.runs(), Some(2.0), "GraphQL {use_graphql}");
        assert!(story.has_states());
    }
}

/// More than a tenth at once waits for a list that is whole.
#[tokio::test]
async fn many_projects_leave_only_when_the_list_is_whole() {
    let mut story = Story::of_many(all(), true).await;
    let broken = [LIST, PROJECTS].map(|list| {
        let broken = Rule::new(Fault::Status { status: 500 }).on(list);
        story.gitlab.faults().add(broken)
    });
    {
        let mut world = story.world();
        let ids: Vec<ProjectId> = world.projects().map(|project| project.id).take(4).collect();
        for id in ids {
            world.delete_project(id).expect("it is there");
        }
    }
    story.look_for(1800).await;
    assert_eq!(story.tracked(), OTHERS + 1, "projects cannot be listed");
    for broken in broken {
        story.gitlab.faults().remove(broken);
    }
    story.look_for(900).await;
    assert_eq!(story.tracked(), OTHERS + 1 - 4);
}

/// GitLab does not redirect from old paths of groups: it answers 404.
#[tokio::test]
async fn a_group_that_is_renamed_keeps_its_projects_and_their_counts() {
    for use_graphql in [true, false] {
        let mut story = Story::of_many(of_group(), use_graphql).await;
        let moved = story.world().move_group("group", "crew");
        moved.expect("it is there");
        story.look_for(1800).await;
        assert_eq!(story.tracked(), OTHERS + 1);
        let new = [("project", "crew/app")];
        assert_eq!(story.value(RUNS, &new), Some(0.0), "a new path begins");
        run(&story);
        story.look_for(60).await;
        assert_eq!(story.value(RUNS, &new), Some(1.0));
        assert!(!story.has_states(), "none under the old path");
    }
}

/// GitLab renames what it will delete, and shows it for a month.
#[tokio::test]
async fn what_is_scheduled_for_deletion_leaves_and_when_restored_continues() {
    for use_graphql in [true, false] {
        let mut story = Story::of_many(all(), use_graphql).await;
        let app = story.app;
        let done = story.world().schedule_deletion(app);
        done.expect("it is there");
        story.look_for(360).await;
        assert_eq!(story.tracked(), OTHERS, "GraphQL {use_graphql}");
        let shown = story.values_of(STATUS, "project");
        assert!(
            !shown.iter().any(|path| path.starts_with("group/app")),
            "{shown:?}"
        );
        assert_eq!(story.runs(), None);
        let done = story.world().restore_project(app);
        done.expect("it is there");
        run(&story);
        story.look_for(600).await;
        assert_eq!(story.tracked(), OTHERS + 1);
        assert_eq!(story.runs(), Some(2.0), "GraphQL {use_graphql}");
    }
}

/// A red `main` does not alert permanently because nobody runs pipelines any more.
#[tokio::test]
async fn states_leave_when_ci_is_switched_off_and_counts_go_on_when_it_is_on_again() {
    for use_graphql in [true, false] {
        let mut story = Story::of_many(all(), use_graphql).await;
        let app = story.app;
        let switch = |story: &Story, on| {
            let mut world = story.world();
            let level = if on {
                Feature::Enabled
            } else {
                Feature::Disabled
            };
            let done = world.change_settings(app, |settings| settings.builds = level);
            done.expect("it is there");
        };
        switch(&story, false);
        story.look_for(60).await;
        assert!(!story.has_states(), "GraphQL {use_graphql}");
        let why = story.unavailable("pipelines");
        // REST says only that it is forbidden.
        let reason = if use_graphql {
            "switched off"
        } else {
            "403 Forbidden"
        };
        assert!(why.contains(reason), "GraphQL {use_graphql}: {why}");
        story.look_for(1200).await;
        assert_eq!(story.tracked(), OTHERS + 1);
        assert_eq!(story.runs(), None, "after the grace");
        switch(&story, true);
        story.look_for(1200).await;
        assert_eq!(story.runs(), Some(1.0), "GraphQL {use_graphql}");
        run(&story);
        story.look_for(60).await;
        assert_eq!(story.runs(), Some(2.0));
        assert!(story.has_states());
    }
}

impl Story {
    /// Why a collector has nothing of `group/app`; empty where it has.
    fn unavailable(&self, name: &str) -> String {
        let registry = self.exporter.registry();
        let registry = registry.lock();
        let entry = registry.get(amazing_gitlab_exporter::types::ProjectId(self.app));
        let all = entry
            .map(|entry| entry.unavailable().iter())
            .into_iter()
            .flatten();
        let mut own = all.filter(|(collector, _)| collector.as_str() == name);
        own.next().map_or(String::new(), |(_, why)| why.to_string())
    }
}
