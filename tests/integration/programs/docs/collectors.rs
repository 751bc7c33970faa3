//! The words in the table of collectors in docs/getting-started.md against sources and queries.

use std::sync::Arc;

use amazing_gitlab_exporter::clock::{Clock, UnixSeconds};
use amazing_gitlab_exporter::config::Config;
use amazing_gitlab_exporter::gitlab::model::{
    Attributes, Features, Known, Permissions, Project, Role,
};
use amazing_gitlab_exporter::gitlab::{GitLab, NoAccounting, Settings, TokenSource};
use amazing_gitlab_exporter::source::change_feed::ChangeFeed;
use amazing_gitlab_exporter::source::sources;
use amazing_gitlab_exporter::source::{Needs, Source, Target};
use amazing_gitlab_exporter::types::ProjectId;
use amazing_gitlab_exporter::types::Tier;

use super::markdown::{cells, read};

struct Row {
    collector: String,
    role: String,
    tier: String,
    requests: String,
}

fn table() -> Vec<Row> {
    let text = read("docs/getting-started.md");
    let lines = text.lines();
    let rows = lines.skip_while(|line| !line.starts_with("| collector | default |"));
    let rows = rows.skip(2).take_while(|line| line.starts_with('|'));
    let row = |line: &str| {
        let cells: [String; 6] = cells(line).try_into().expect("six cells");
        let [collector, _default, _every, role, tier, requests] = cells;
        Row {
            collector: collector.trim_matches('`').to_owned(),
            role,
            tier,
            requests,
        }
    };
    rows.map(row).collect()
}

fn config(more: &str) -> Config {
    let yaml = format!("gitlab: {{token: t}}\nwildcards: [{{}}]\n{more}");
    Config::from_yaml(&yaml).expect("a configuration")
}

fn target(config: &Config, role: Role, tier: Tier) -> Target {
    Target {
        is_asked_for: false,
        tracking: 0,
        project: Project {
            id: ProjectId(1),
            full_path: "group/project".into(),
            default_branch: Known::Unread,
            archived: false,
            is_scheduled_for_deletion: false,
            last_activity_at: None,
            role: Known::Value(role),
            features: Features::default(),
            attributes: Attributes::default(),
        },
        settings: Arc::new(config.project_defaults.clone()),
        memory: Arc::default(),
        tier: Known::Value(tier),
        permissions: Permissions {
            role: Known::Value(role),
            ..Permissions::default()
        },
        permitted_at: UnixSeconds::default(),
        instance: None,
    }
}

/// The first of several that a source takes.
fn lowest<T: Copy>(all: &[T], takes: impl Fn(T) -> bool) -> T {
    let mut all = all.iter().copied();
    all.find(|one| takes(*one)).expect("it takes the highest")
}

#[tokio::test]
async fn roles_and_tiers_are_those_that_sources_ask_for() {
    let named = [
        "environments",
        "test_reports",
        "contributors",
        "schedules",
        "runners",
        "security",
    ];
    let on: String = named
        .iter()
        .map(|name| format!("  {name}: {{enabled: true}}\n"))
        .collect();
    let config = config(&format!(
        "collectors:\n{on}  variables: {{enabled: true, regexp: x}}\n"
    ));
    let token = TokenSource::Secret("t".to_owned().into());
    let settings = Settings::new(config.gitlab.url.clone(), token);
    let gitlab = GitLab::new(&settings, Arc::new(NoAccounting), Clock::System).expect("a client");
    let feed = Arc::new(ChangeFeed::new(&config, &gitlab, Clock::System));
    let sources = sources(&config, &gitlab, &feed);
    let roles = [
        Role::GUEST,
        Role::REPORTER,
        Role::DEVELOPER,
        Role::MAINTAINER,
    ];
    let tiers = [Tier::Free, Tier::Premium, Tier::Ultimate];
    let mut checked = 0;
    for row in table() {
        let own = |source: &&Arc<dyn Source>| {
            let mut collectors = source.collectors().iter();
            source.needs() == Needs::Tier
                && collectors.any(|collector| collector.as_str() == row.collector)
        };
        let Some(source) = sources.iter().find(own) else {
            // Those on the change feed, of which `check` says the same.
            assert!(row.role.starts_with("Reporter"), "{}", row.collector);
            continue;
        };
        checked += 1;
        let takes = |role, tier| source.unavailable(&target(&config, role, tier)).is_none();
        let role = lowest(&roles, |role| takes(role, Tier::Ultimate));
        let tier = lowest(&tiers, |tier| takes(Role::MAINTAINER, tier));
        // Where the source asks for none, GitLab's own answer decides.
        let is_said = role == Role::GUEST || row.role.to_lowercase().starts_with(role.name());
        assert!(
            is_said,
            "{}: {} needs {}",
            row.collector,
            row.role,
            role.name()
        );
        assert!(
            row.tier.starts_with(tier.title()),
            "{}: {}",
            row.collector,
            row.tier
        );
    }
    assert_eq!(checked, 12);
}

#[test]
fn as_many_projects_share_a_query_as_it_says() {
    let most = [
        ("pipelines", GitLab::CHANGES_PROJECTS),
        ("jobs", GitLab::JOBS_PROJECTS),
        ("test_reports", GitLab::REPORT_PROJECTS),
        ("merge_requests", GitLab::REVIEWS_PROJECTS),
        ("dora", GitLab::DORA_PROJECTS),
        ("value_stream", GitLab::VALUE_STREAMS),
        ("repository", GitLab::REPOSITORIES),
        ("schedules", GitLab::SCHEDULE_PROJECTS),
        ("runners", GitLab::RUNNER_PROJECTS),
        ("security", GitLab::VULNERABILITIES),
    ];
    for row in table() {
        let most = most.iter().find(|(name, _)| *name == row.collector);
        let said = most.map(|(_, most)| format!(" {most} projects"));
        let numbers = row.requests.matches(" projects").count();
        match said {
            Some(said) => assert!(row.requests.contains(&said), "{}:{said}", row.collector),
            None => assert_eq!(numbers, 0, "{}", row.collector),
        }
    }
}
