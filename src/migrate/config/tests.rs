//! Old configurations and what becomes of them.

use super::*;
use crate::migrate::keys::{GLOBAL, PROJECT, PROJECT_ENTRY, Type, WILDCARD_ENTRY};

/// A file of v0.6 as people have it.
const V06: &str = r#"
log:
  level: warning
  format: json
opentelemetry:
  grpc_endpoint: collector:4317
server:
  listen_address: ":9090"
  metrics:
    enable_openmetrics_encoding: true
  webhook:
    enabled: true
    secret_token: hunter2-webhook
gitlab:
  url: https://gitlab.example.com
  token: hunter2-token
  enable_tls_verify: false
  maximum_requests_per_second: 3
  burstable_requests_per_second: 7
  maximum_jobs_queue_size: 500
redis:
  url: redis://:hunter2-redis@redis:6379/0
pull:
  projects_from_wildcards: {interval_seconds: 600}
  environments_from_projects: {interval_seconds: 1200}
  metrics: {interval_seconds: 45, scheduled: true}
garbage_collect:
  refs: {interval_seconds: 900}
project_defaults:
  output_sparse_status_metrics: false
  pull:
    environments:
      enabled: true
      regexp: ^prod
      exclude_stopped: false
    refs:
      branches:
        regexp: ^(main|dev.*)$
        max_age_seconds: 90000
      merge_requests:
        enabled: true
        exclude_non_opened: true
    pipeline:
      per_ref: 3
      jobs:
        enabled: yes
        runner_description: {aggregation_regexp: shared}
      variables: {enabled: true, regexp: ^DEPLOY_}
      test_reports: {enabled: true, test_cases: {enabled: true}}
projects:
  - name: group/app
    pull:
      pipeline:
        jobs: {enabled: false}
        variables: {regexp: .*}
  - name: group/lib
wildcards:
  - owner: {name: infra, kind: group}
    search: svc
    archived: true
  - owner: {name: someone}
  - {}
"#;

fn migrated(text: &str) -> Migrated {
    configuration("gcpe.yml", text, &[]).unwrap()
}

/// The configuration that the new file gives, with the secrets of variables.
fn valid(text: &str) -> Config {
    let flags = ["gitlab.token", "server.webhook.secret_token"].map(|path| Flag {
        name: path.to_owned(),
        path: path.to_owned(),
        value: Secret::from("a-secret"),
    });
    Config::from_yaml_and_flags(text, &flags).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[test]
fn a_whole_file_is_taken_over() {
    let new = migrated(V06);
    let config = valid(&new.text);
    let contains = |line: &str| assert!(new.text.contains(line), "{line}\n{}", new.text);
    contains("  level: warn # log.level (line 3): warning\n");
    contains("  max_requests_per_second: 3 # gitlab.maximum_requests_per_second (line 18)\n");
    contains("  interval: 600s # pull.projects_from_wildcards.interval_seconds (line 24)\n");
    assert_eq!(config.gitlab.burst_requests_per_second, 7);
    assert!(!config.gitlab.enable_tls_verify && config.server.webhook.enabled);
    let collectors = &config.collectors;
    assert_eq!(collectors.pipelines.interval.as_secs(), 45);
    assert_eq!(collectors.environments.interval.as_secs(), 45);
    assert_eq!(collectors.pipelines.max_pipelines_per_ref, 3);
    assert!(collectors.test_reports.include_test_cases);
    let runners = collectors.jobs.runner_description_regexp.as_ref();
    assert_eq!(runners.map(|regexp| regexp.as_str()), Some("shared|.+"));
    assert_eq!(
        collectors
            .variables
            .regexp
            .as_ref()
            .map(|regexp| regexp.as_str()),
        Some("^DEPLOY_")
    );
    let defaults = &config.project_defaults;
    assert!(!defaults.output_sparse_status_metrics);
    let environments = defaults.environments();
    assert!(environments.watches("production") && !environments.watches("review/1"));
    assert!(!environments.exclude_stopped);
    assert_eq!(defaults.refs.branches.max_age_days, 2);
    assert_eq!(defaults.refs.branches.regexp.as_str(), "^(main|dev.*)$");
    assert_eq!(defaults.refs.tags.regexp.as_str(), ".*");
    assert_eq!(defaults.refs.tags.most_recent, 0);
    assert_eq!(
        defaults.refs.merge_requests.states,
        [crate::config::MergeRequestState::Opened]
    );
    let on = |settings: &crate::config::ProjectSettings, collector| {
        settings.interval(collector).is_some()
    };
    use crate::catalogue::Collector::{Environments, Jobs, TestReports, Variables};
    let [app, lib] = config.projects.as_slice() else {
        panic!("two projects")
    };
    assert!(
        on(&lib.settings, Jobs) && on(&lib.settings, Variables) && on(&lib.settings, Environments)
    );
    assert!(
        !on(&app.settings, Jobs) && !on(&app.settings, Variables) && on(&app.settings, TestReports)
    );
    let [infra, someone, all] = config.wildcards.as_slice() else {
        panic!("three wildcards")
    };
    let owner = infra.owner.as_ref().unwrap();
    assert!(!owner.include_subgroups && infra.archived && infra.search.as_deref() == Some("svc"));
    assert!(someone.owner.as_ref().unwrap().include_subgroups && all.owner.is_none());
}

#[test]
fn what_is_left_changed_or_to_do_is_in_the_report_and_in_the_file() {
    let new = migrated(V06);
    let has = |kind, place: &str, part: &str| {
        let found = new
            .report
            .of(kind)
            .any(|note| note.place.contains(place) && note.sentence.contains(part));
        assert!(found, "{place}: {part}\n{}", new.report);
    };
    has(NoteKind::ToDo, "gitlab.token (line 16)", "AGE_GITLAB_TOKEN");
    has(
        NoteKind::ToDo,
        "server.webhook.secret_token (line 13)",
        "AGE_SERVER_WEBHOOK_SECRET_TOKEN",
    );
    has(NoteKind::Left, "redis.url (line 22)", "state.path");
    has(NoteKind::Left, "redis.url (line 22)", "AGE_REDIS_URL");
    has(
        NoteKind::Left,
        "gitlab.maximum_jobs_queue_size (line 20)",
        "no task is dropped",
    );
    has(
        NoteKind::Left,
        "garbage_collect.refs.interval_seconds (line 28)",
        "next poll",
    );
    has(
        NoteKind::Changed,
        "runner_description.aggregation_regexp (line 47)",
        "age_job_runner_info",
    );
    has(
        NoteKind::Left,
        "projects[0].pull.pipeline.variables.regexp (line 55)",
        "applies to all",
    );
    has(
        NoteKind::Changed,
        "project_defaults.pull.refs.branches.max_age_seconds (line 39)",
        "became 2",
    );
    has(NoteKind::Changed, "wildcards[1].owner.name", "subgroups");
    for note in &new.report.notes {
        assert!(
            new.text
                .contains(&format!("# - {}: {}", note.place, note.sentence)),
            "{note:?}"
        );
    }
}

#[test]
fn the_old_defaults_are_written_where_they_are_others_here() {
    let new = migrated("projects: [{name: a/b}]\npull: {}\n");
    let refs = valid(&new.text).project_defaults.refs.clone();
    assert_eq!(refs.branches.regexp.as_str(), "^(?:main|master)$");
    assert_eq!(
        (
            refs.tags.regexp.as_str(),
            refs.tags.most_recent,
            refs.tags.max_age_days
        ),
        (".*", 0, 0)
    );
    assert!(!refs.merge_requests.enabled);
    assert!(
        new.text
            .contains("      enabled: false # default of gitlab-ci-pipelines-exporter"),
        "{}",
        new.text
    );
}

#[test]
fn secrets_are_never_copied() {
    let text = V06.replace(
        "https://gitlab.example.com",
        "https://user:hunter2-url@gitlab.example.com",
    );
    let new = configuration("gcpe.yml", &text, &["GCPE_GITLAB_TOKEN", "GCPE_REDIS_URL"]).unwrap();
    assert!(text.contains("hunter2-url"));
    assert!(
        !new.text.contains("hunter2") && !new.report.to_string().contains("hunter2"),
        "{}",
        new.text
    );
    let left = new
        .report
        .of(NoteKind::Left)
        .find(|note| note.place == "gitlab.url (line 15)")
        .unwrap();
    assert!(
        left.sentence
            .contains("must not contain a user name or password"),
        "{left:?}"
    );
    let variable = new
        .report
        .of(NoteKind::ToDo)
        .find(|note| note.place.contains("GCPE_GITLAB_TOKEN"));
    assert_eq!(variable.unwrap().sentence, "set AGE_GITLAB_TOKEN");
}

/// A setting at a path, as YAML.
fn at(path: &str, value: &str) -> String {
    let names = path.split('.').enumerate();
    let lines = names.map(|(depth, name)| format!("\n{}{name}:", "  ".repeat(depth)));
    lines.collect::<String>() + " " + value
}

/// Every setting of the old program by itself: it is in the new file or in the report, never nowhere.
#[test]
fn no_setting_is_lost() {
    let values = |kind| match kind {
        Type::Bool => ["true", "false"],
        Type::Whole => ["100000", "1"],
        Type::Text => ["main", ".*"],
        Type::Secret => ["hunter2", "'hunter2 3'"],
    };
    let in_entry = |list: &str, path: &str, value: &str| {
        let entry = at(path, value).replace('\n', "\n    ");
        let name = if list == "projects" && path != "name" {
            "name: a/b"
        } else {
            ""
        };
        format!("{list}:\n  - {name}{entry}").replace("- \n    ", "- ")
    };
    let mut files = Vec::new();
    for (path, kind) in GLOBAL {
        for value in values(*kind) {
            files.push((
                *path,
                format!("{}\nprojects: [{{name: a/b}}]\n", at(path, value)),
            ));
        }
    }
    for (path, kind) in PROJECT {
        for value in values(*kind) {
            let defaults = at(&format!("project_defaults.{path}"), value);
            files.push((*path, format!("{defaults}\nprojects: [{{name: a/b}}]\n")));
            files.push((*path, in_entry("projects", path, value)));
            files.push((*path, in_entry("wildcards", path, value)));
        }
    }
    let entries = [("projects", PROJECT_ENTRY), ("wildcards", WILDCARD_ENTRY)];
    for (list, keys) in entries {
        for (path, kind) in keys {
            let value = if *path == "name" {
                "a/b"
            } else {
                values(*kind)[0]
            };
            files.push((path, in_entry(list, path, value)));
        }
    }
    assert!(files.len() > 200, "{}", files.len());
    for (path, text) in files {
        let new =
            configuration("gcpe.yml", &text, &[]).unwrap_or_else(|error| panic!("{error}\n{text}"));
        valid(&new.text);
        let is_said = new.text.contains(&format!("{path} (line "));
        let is_name = path == "name" && new.text.contains("- name: a/b # line 2");
        // `.*` selects all of what is not selected here.
        let selects_all = text.contains(".*") && new.report.notes.len() < 3;
        assert!(
            is_said || is_name || selects_all,
            "{path} is lost\n{text}\n{}",
            new.text
        );
    }
}

#[test]
fn names_of_both_versions_and_of_earlier_ones_are_known() {
    for section in ["otlp", "opentelemetry"] {
        let new = migrated(&format!(
            "{section}: {{grpc_endpoint: c:4317}}\nprojects: [{{name: a/b}}]"
        ));
        assert!(
            new.text.contains("endpoint: \"http://c:4317\""),
            "{}",
            new.text
        );
        assert!(
            valid(&new.text)
                .otlp(crate::config::Signal::Traces)
                .is_some()
        );
    }
    let old = "
pull: {maximum_gitlab_api_requests_per_second: 5}
project_defaults:
  pull:
    environments: {name_regexp: .*}
    refs: {regexp: main, from: {pipelines: {enabled: true}}}
projects: [{name: a/b}]
nonsense: {deep: {er: 1}}
";
    let report = migrated(old).report.to_string();
    for sentence in [
        "pull.maximum_gitlab_api_requests_per_second (line 2): gitlab-ci-pipelines-exporter ignores it since v0.5; \
         set gitlab.max_requests_per_second",
        "project_defaults.pull.refs.from.pipelines.enabled (line 6): gitlab-ci-pipelines-exporter ignores it",
        "project_defaults.pull.environments.name_regexp (line 5)",
        "nonsense.deep.er (line 8): no setting of gitlab-ci-pipelines-exporter v0.5 or v0.6",
    ] {
        assert!(report.contains(sentence), "{sentence}\n{report}");
    }
}

#[test]
fn wrong_types_are_said_and_the_rest_is_taken_over() {
    let text = "
pull: {metrics: {interval_seconds: fast}}
gitlab: [a]
log: {level: {a: b}}
project_defaults: {pull: {refs: {branches: {regexp: '('}, tags: {most_recent: -1}}}}
projects: [{name: a/b}, {name: no-group}, {name: a/b}]
server: {listen_address: ':9100'}
";
    let new = migrated(text);
    let config = valid(&new.text);
    assert_eq!(config.projects.len(), 1);
    assert_eq!(config.server.listen_address.to_string(), ":9100");
    let report = new.report.to_string();
    for sentence in [
        "pull.metrics.interval_seconds (line 2): it is not a whole number, which gitlab-ci-pipelines-exporter refuses",
        "gitlab (line 3): it is not a section",
        "log.level (line 4): it is not text",
        "pull.refs.branches.regexp (line 5): it was not taken over, since",
        "pull.refs.tags.most_recent (line 5): it was not taken over, since",
        "projects[1] (line 6): it was not taken over, since projects[1].name \"no-group\" is not the full path",
        "is listed twice",
    ] {
        assert!(report.contains(sentence), "{sentence}\n{report}");
    }
}

#[test]
fn other_files_are_refused_in_one_sentence() {
    let said = |text: &str| configuration("f.yml", text, &[]).unwrap_err().to_string();
    assert!(
        said("a: [").starts_with("f.yml:2: not valid YAML ("),
        "{}",
        said("a: [")
    );
    assert_eq!(
        said("groups: []"),
        "f.yml is not a configuration of gitlab-ci-pipelines-exporter: none of its keys is a setting of \
         gitlab-ci-pipelines-exporter; name the file that it is started with (--config or GCPE_CONFIG)"
    );
    assert!(said("- a").contains("it does not hold settings"));
    assert!(said("").contains("it does not hold settings"));
    assert!(
        said("collectors: {}")
            .starts_with("f.yml is a configuration of amazing-gitlab-exporter already")
    );
    for text in ["a: [", "groups: []", "- a", "", "collectors: {}"] {
        assert_eq!(said(text).lines().count(), 1);
    }
}

#[test]
fn our_program_says_what_such_a_file_is() {
    let error = Config::from_yaml(V06).unwrap_err().to_string();
    assert_eq!(
        error,
        "config.yml:1: this is a configuration of gitlab-ci-pipelines-exporter; `amazing-gitlab-exporter migrate \
         config.yml` writes the one for this program"
    );
    let of_project = "projects:\n  - name: a/b\n    pull: {refs: {tags: {enabled: false}}}\n";
    assert!(
        Config::from_yaml(of_project)
            .unwrap_err()
            .to_string()
            .contains("migrate config.yml")
    );
}

#[test]
fn names_with_line_breaks_cannot_leave_their_comment() {
    let text =
        "\"x\\ny: 1\\n#\": {a: 1}\nprojects: [{name: \"a/b\\nstate: {path: /x}\"}, {name: c/d}]\n";
    let new = configuration("a\nb: 1", text, &[]).unwrap();
    assert_eq!(valid(&new.text).projects.len(), 1);
    assert!(valid(&new.text).state.path.is_none());
}

proptest::proptest! {
    /// Whatever the values are, the new file is valid.
    #[test]
    fn any_values_give_a_valid_file(
        numbers in proptest::collection::vec(proptest::num::i64::ANY, 4),
        texts in proptest::collection::vec(".{0,20}", 4),
    ) {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let text = format!(
            "log: {{level: {}}}\nserver: {{listen_address: {}}}\ngitlab: {{maximum_requests_per_second: {}}}\n\
             pull: {{metrics: {{interval_seconds: {}}}, projects_from_wildcards: {{interval_seconds: {}}}}}\n\
             project_defaults: {{pull: {{refs: {{branches: {{regexp: {}, max_age_seconds: {}}}}}}}}}\n\
             projects: [{{name: {}}}, {{name: a/b}}]\n",
            quoted(&texts[0]), quoted(&texts[1]), numbers[0], numbers[1], numbers[2], quoted(&texts[2]),
            numbers[3], quoted(&texts[3]),
        );
        let new = configuration("gcpe.yml", &text, &[]).unwrap();
        valid(&new.text);
    }
}
