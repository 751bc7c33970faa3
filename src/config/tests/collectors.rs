//! Switches and intervals of collectors, for all projects and for some; and the table of what they
//! need in `docs/getting-started.md`, made from the catalogue and the settings.

use std::fmt::Write as _;
use std::time::Duration;

use super::loaded;
use crate::catalogue::Collector;
use crate::config::{Collectors, Config, ProjectSettings, Settings};

fn seconds(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

/// The configuration of some lines besides the token.
fn config(lines: &str) -> Config {
    loaded(&format!("gitlab: {{token: t}}\n{lines}"), &[], &[]).unwrap()
}

#[test]
fn entries_that_say_nothing_have_the_switches_and_intervals_of_all() {
    let config = config(
        "collectors: {jobs: {interval_seconds: 7}, dora: {enabled: false}}\n\
         projects: [{name: g/p}]\nwildcards: [{}]",
    );
    let entries = [
        &config.projects[0].settings,
        &config.wildcards[0].settings,
        &config.project_defaults,
    ];
    for collector in Collector::ALL {
        let global = config.collectors.interval(collector);
        for settings in entries {
            assert_eq!(settings.interval(collector), global, "{collector:?}");
        }
        assert_eq!(config.shortest_interval(collector), global, "{collector:?}");
        assert_eq!(config.enabled_anywhere(collector), global.is_some());
        let default = Collectors::default().interval(collector);
        assert_eq!(ProjectSettings::default().interval(collector), default);
    }
    assert_eq!(entries[0].interval(Collector::Jobs), seconds(7));
    assert_eq!(entries[0].interval(Collector::Dora), None);
    assert_eq!(entries[0].interval(Collector::Exporter), None);
}

#[test]
fn an_entry_wins_over_project_defaults_over_collectors() {
    let config = config(
        "collectors: {jobs: {interval_seconds: 60}, environments: {interval_seconds: 200}}
project_defaults:
  collectors: {jobs: {interval_seconds: 40}, environments: {enabled: true}}
projects:
  - name: g/quick
    collectors: {jobs: {interval_seconds: 5s}}
  - name: g/no-jobs
    collectors: {jobs: {enabled: false}, environments: {interval_seconds: 2m}}
  - name: g/as-all
    collectors: {jobs: {interval_seconds: null}, environments: {enabled: null}}
wildcards:
  - {}
",
    );
    let of = |settings: &ProjectSettings| {
        let of = |collector| settings.interval(collector);
        (of(Collector::Jobs), of(Collector::Environments))
    };
    let projects: Vec<_> = config.projects.iter().map(|p| of(&p.settings)).collect();
    assert_eq!(
        projects,
        [
            (seconds(5), seconds(200)),
            (None, seconds(120)),
            (seconds(60), None)
        ]
    );
    assert_eq!(
        of(&config.wildcards[0].settings),
        (seconds(40), seconds(200))
    );
    assert_eq!(config.shortest_interval(Collector::Jobs), seconds(5));
    assert_eq!(
        config.shortest_interval(Collector::Environments),
        seconds(120)
    );
}

#[test]
fn a_collector_that_is_off_for_all_can_be_on_for_some() {
    let config = config(
        "collectors: {jobs: {enabled: true}}\nprojects:\n\
         - {name: g/a, collectors: {schedules: {enabled: true}, jobs: {enabled: false}}}\n\
         - {name: g/b, collectors: {jobs: {enabled: false}}}\n",
    );
    assert!(!config.collectors.schedules.enabled);
    assert!(config.enabled_anywhere(Collector::Schedules));
    assert_eq!(
        config.projects[1].settings.interval(Collector::Schedules),
        None
    );
    // And one that is on for all is off where each entry says so.
    assert!(!config.enabled_anywhere(Collector::Jobs));
    let enabled: Vec<_> = config.enabled_collectors().collect();
    assert!(enabled.contains(&Collector::Schedules) && !enabled.contains(&Collector::Jobs));
}

#[test]
fn child_pipelines_follow_pipelines_of_the_same_project() {
    let config = config(
        "projects:
- {name: g/slow, collectors: {pipelines: {interval_seconds: 90}}}
- {name: g/none, collectors: {pipelines: {include_child_pipelines: false}}}
- {name: g/off, collectors: {pipelines: {enabled: false, include_child_pipelines: true}}}
",
    );
    let children = config.projects.iter();
    let children: Vec<_> = children
        .map(|project| project.settings.interval(Collector::ChildPipelines))
        .collect();
    assert_eq!(children, [seconds(90), None, None]);
}

#[test]
fn what_is_read_together_has_the_shortest_interval_of_what_is_on() {
    let config = config(
        "projects:
- {name: g/a, collectors: {merge_requests: {interval_seconds: 50}}}
- {name: g/b, collectors: {merge_requests: {enabled: false, interval_seconds: 50}}}
- {name: g/c, collectors: {merge_requests: {enabled: false}, code_review: {enabled: false}}}
",
    );
    let both = [Collector::MergeRequests, Collector::CodeReview];
    let shortest = config.projects.iter();
    let shortest: Vec<_> = shortest
        .map(|project| project.settings.shortest_interval(&both))
        .collect();
    assert_eq!(shortest, [seconds(50), seconds(300), None]);
}

#[test]
fn variables_and_flags_reach_the_defaults_of_projects() {
    let variables = [
        ("AGE_PROJECT_DEFAULTS_COLLECTORS_JOBS_ENABLED", "false"),
        (
            "AGE_PROJECT_DEFAULTS_COLLECTORS",
            "{repository: {interval_seconds: 2h}}",
        ),
        (
            "AGE_PROJECT_DEFAULTS_COLLECTORS_PIPELINES_INTERVAL_SECONDS",
            "15",
        ),
    ];
    let flags = [(
        "project_defaults.collectors.pipelines.interval_seconds",
        "20",
    )];
    let config = loaded(super::RIGHT, &variables, &flags).unwrap();
    let settings = &config.projects[0].settings;
    assert_eq!(settings.interval(Collector::Jobs), None);
    assert_eq!(settings.interval(Collector::Repository), seconds(7200));
    assert_eq!(settings.interval(Collector::Pipelines), seconds(20));
}

#[test]
fn settings_changed_by_hand_hold_once_resolved() {
    let mut settings = Settings {
        wildcards: vec![Default::default()],
        ..Settings::default()
    };
    settings.collectors.runners.enabled = true;
    settings.collectors.dora.enabled = false;
    settings.resolve();
    assert_eq!(
        settings.wildcards[0].settings.interval(Collector::Runners),
        seconds(300)
    );
    assert!(!settings.enabled_anywhere(Collector::Dora));
}

/// What each collector needs and costs, as rows of a Markdown table.
fn table() -> String {
    let mut out = String::from(
        "| collector | default | every | role | tier | requests, by GraphQL where nothing else is \
         said |\n|---|---|---|---|---|---|\n",
    );
    let settings = serde_json::to_value(Collectors::default()).unwrap_or_default();
    for collector in Collector::ALL {
        let Some(desc) = collector.desc() else {
            continue;
        };
        let name = collector.as_str();
        let on = match Collectors::default().interval(collector) {
            Some(_) => "on",
            None => "off",
        };
        let every = match settings[name]["interval_seconds"].as_u64() {
            // It has no settings of its own.
            None => "with `pipelines`".to_owned(),
            Some(seconds) if seconds >= 3600 => format!("{} h", seconds / 3600),
            Some(seconds) if seconds >= 60 => format!("{} min", seconds / 60),
            Some(seconds) => format!("{seconds} s"),
        };
        let _ = writeln!(
            out,
            "| `{name}` | {on} | {every} | {} | {} | {} |",
            desc.role, desc.tier, desc.requests
        );
    }
    out
}

#[test]
fn the_collectors_of_docs_getting_started_md_are_up_to_date() {
    const BEGIN: &str = "<!-- collectors: written by UPDATE_DOCS=1 cargo test --lib -->\n\n";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/getting-started.md");
    let written = std::fs::read_to_string(path).unwrap();
    let (before, rest) = written.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once("\n\n").unwrap();
    let fresh = format!("{before}{BEGIN}{}\n{after}", table());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &fresh).unwrap();
    } else {
        assert!(
            written == fresh,
            "docs/getting-started.md is old: UPDATE_DOCS=1 cargo test --lib writes it"
        );
    }
}
