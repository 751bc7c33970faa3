//! The configuration as a whole: layers, precedence, redaction.

mod collectors;
mod hostile;
mod labels;
mod sentences;
mod web;

use std::path::Path;

use super::*;

/// A configuration that is right and says as little as possible.
const RIGHT: &str = "gitlab: {token: t}\nprojects: [{name: g/p}]\n";

/// Sources with `file` as the file `age.yml` in `directory`.
fn sources(
    directory: &Path,
    file: &str,
    variables: &[(&str, &str)],
    flags: &[(&str, &str)],
) -> Sources {
    let path = directory.join("age.yml");
    std::fs::write(&path, file).unwrap();
    let flags = flags.iter().map(|(path, value)| Flag {
        name: format!("--set {path}"),
        path: (*path).to_owned(),
        value: Secret::from(*value),
    });
    Sources {
        file: Some(path),
        environment: Environment::from_pairs(variables.iter().copied()),
        flags: flags.collect(),
    }
}

fn loaded(
    file: &str,
    variables: &[(&str, &str)],
    flags: &[(&str, &str)],
) -> Result<Config, Vec<String>> {
    let directory = tempfile::tempdir().unwrap();
    load(&sources(directory.path(), file, variables, flags)).map_err(|error| {
        // What a user reads, without the name of the temporary directory.
        let prefix = format!("{}/", directory.path().display());
        error
            .problems()
            .iter()
            .map(|problem| problem.to_string().replace(&prefix, ""))
            .collect()
    })
}

/// The problems of a right configuration with `lines` before it, so that `lines` begin at line 1.
fn problems_of(lines: &str) -> Vec<String> {
    let token = if lines.contains("gitlab:") {
        ""
    } else {
        "gitlab: {token: t}\n"
    };
    let projects = if lines.contains("projects:") || lines.contains("wildcards:") {
        ""
    } else {
        "projects: [{name: g/p}]\n"
    };
    match loaded(&format!("{lines}\n{token}{projects}"), &[], &[]) {
        Ok(_) => Vec::new(),
        Err(problems) => problems,
    }
}

#[test]
fn all_problems_come_at_once_in_the_order_of_the_layers() {
    let file = "log: {level: loud}\ngitlab:\n  url: nowhere\nserver: {enable_pprof: true}\n";
    let problems = loaded(
        file,
        &[("AGE_LOG_FORMAT", "xml")],
        &[("telemetry.birth_window", "2")],
    )
    .unwrap_err();
    let places: Vec<&str> = problems
        .iter()
        .map(|problem| problem.split(' ').next().unwrap())
        .collect();
    assert_eq!(
        places,
        [
            "age.yml:1:",
            "age.yml:3:",
            "AGE_LOG_FORMAT:",
            "--set",
            "age.yml:4:",
            "gitlab.token",
            "projects"
        ],
        "{problems:#?}"
    );
}

#[test]
fn a_wrong_value_is_not_also_called_missing() {
    let problems = loaded("gitlab: {token: [1]}\nprojects: 3\n", &[], &[]).unwrap_err();
    assert_eq!(problems.len(), 2, "{problems:#?}");
    // What could not be read may hold what seems to be missing.
    assert_eq!(
        loaded("gitlab: {token: t\n", &[], &[]).unwrap_err().len(),
        1
    );
}

#[test]
fn a_missing_or_unreadable_file_is_named_with_the_place_that_asked_for_it() {
    let sources = Sources {
        file: Some("/does/not/exist.yml".into()),
        ..Sources::default()
    };
    assert_eq!(
        load(&sources).unwrap_err().to_string(),
        "--config: the file \"/does/not/exist.yml\" cannot be read (No such file or directory (os error 2))"
    );
    let environment = Environment::from_pairs([("AGE_CONFIG", "/does/not/exist.yml")]);
    let error = load(&Sources {
        environment,
        ..Sources::default()
    })
    .unwrap_err();
    assert!(
        error.to_string().starts_with("AGE_CONFIG: the file"),
        "{error}"
    );
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("binary.yml");
    std::fs::write(&path, [0xff, 0xfe, 0x00]).unwrap();
    let error = load(&Sources {
        file: Some(path),
        ..Sources::default()
    })
    .unwrap_err();
    let said = error.to_string();
    assert!(said.ends_with("(it is not UTF-8 text)"), "{said}");
}

#[test]
fn flags_win_over_variables_over_the_file_over_defaults() {
    let file = "log: {level: warn, format: json}\ngitlab: {token: t, timeout: 5s}\nprojects: [{name: g/p}]\n";
    let variables = [("AGE_LOG_LEVEL", "error"), ("AGE_GITLAB_TIMEOUT", "7s")];
    let config = loaded(file, &variables, &[("log.level", "debug")]).unwrap();
    assert_eq!(config.log.level, LogLevel::Debug);
    assert_eq!(config.gitlab.timeout.as_secs(), 7);
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.gitlab.rest_page_size, 100);
    let origin = |path: &str| config.tree.at(path).unwrap().origin.to_string();
    assert_eq!(origin("log.level"), "--set log.level");
    assert_eq!(origin("gitlab.timeout"), "AGE_GITLAB_TIMEOUT");
    assert!(origin("log.format").ends_with("age.yml:1"));
    assert_eq!(origin("gitlab.rest_page_size"), "default");
}

#[test]
fn variables_take_lists_maps_and_sections_as_yaml() {
    let variables = [
        ("AGE_GITLAB_TOKEN", "0123"),
        (
            "AGE_WILDCARDS",
            "[{owner: {name: g, kind: user}, archived: true}]",
        ),
        ("AGE_COLLECTORS_JOBS_HISTOGRAM_BUCKETS", "[1, 2.5]"),
        (
            "AGE_COLLECTORS_PIPELINES",
            "{enabled: false, interval_seconds: 45}",
        ),
        ("AGE_COLLECTORS_PIPELINES_INTERVAL_SECONDS", "2m"),
        ("AGE_OTEL_METRICS_ENABLED", "false"),
        ("AGE_OTEL_RESOURCE_ATTRIBUTES", "{team: '42'}"),
        ("AGE_GITLAB_MAX_REQUESTS_PER_SECOND", "0.5"),
    ];
    let config = loaded("", &variables, &[]).unwrap();
    assert_eq!(config.gitlab.token.as_ref().unwrap().expose(), "0123");
    let owner = config.wildcards[0].owner.as_ref().unwrap();
    assert_eq!((owner.name.as_str(), owner.kind), ("g", OwnerKind::User));
    assert_eq!(config.collectors.jobs.histogram_buckets, [1.0, 2.5]);
    assert!(!config.collectors.pipelines.enabled);
    assert_eq!(config.collectors.pipelines.interval.as_secs(), 120);
    assert_eq!(config.otel.metrics.enabled, Switch::Off);
    assert_eq!(config.otel.resource_attributes["team"], "42");
    assert_eq!(config.gitlab.max_requests_per_second, 0.5);
}

#[test]
fn no_two_settings_share_a_variable() {
    let mut variables: Vec<String> = keys::all()
        .iter()
        .map(|(path, _)| keys::variable(path))
        .collect();
    variables.sort();
    let count = variables.len();
    variables.dedup();
    assert_eq!(variables.len(), count);
    assert!(!variables.contains(&"AGE_CONFIG".to_owned()));
}

#[test]
fn entries_merge_deeply_over_project_defaults() {
    let file = "\
gitlab: {token: t}
project_defaults:
  output_sparse_status_metrics: false
  refs: {branches: {regexp: '^dev$', most_recent: 3}}
projects:
  - name: g/a
  - name: g/b
    refs: {branches: {regexp: '^main$'}, tags: {enabled: false}}
wildcards:
  - owner: {name: g}
    output_sparse_status_metrics: true
  -
";
    let config = loaded(file, &[], &[]).unwrap();
    let [a, b] = config.projects.as_slice() else {
        panic!("{:?}", config.projects)
    };
    assert_eq!(a.settings, config.project_defaults);
    assert!(!b.settings.output_sparse_status_metrics);
    assert_eq!(b.settings.refs.branches.regexp.as_str(), "^main$");
    assert_eq!(b.settings.refs.branches.most_recent, 3);
    assert!(!b.settings.refs.tags.enabled);
    assert_eq!(b.settings.refs.tags.max_age_days, 90);
    let [group, everything] = config.wildcards.as_slice() else {
        panic!("{:?}", config.wildcards)
    };
    assert!(group.settings.output_sparse_status_metrics);
    assert_eq!(group.settings.refs.branches.most_recent, 3);
    assert_eq!(everything.owner, None);
    assert_eq!(everything.settings, config.project_defaults);
}

#[test]
fn sections_and_values_that_say_nothing_keep_the_default() {
    let file = "log:\ngitlab: {token: t, timeout: }\nprojects: [{name: g/p}]\n";
    let config = loaded(file, &[("AGE_LOG_FORMAT", "")], &[]).unwrap();
    assert_eq!(config.log, Log::default());
    assert_eq!(config.gitlab.timeout, GitLab::default().timeout);
}

#[test]
fn secrets_appear_nowhere() {
    let secret = "hunter2";
    let file = format!(
        "gitlab: {{token: t}}\nprojects: [{{name: g/p}}]\nserver: {{webhook: {{secret_token: {secret}}}}}\n\
         otel: {{metrics: {{endpoint: 'http://c:4318', headers: {{authorization: {secret}}}}}}}\n"
    );
    let variables = [
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=hunter2"),
    ];
    let config = loaded(&file, &variables, &[("gitlab.token", secret)]).unwrap();
    assert_eq!(config.gitlab.token.as_ref().unwrap().expose(), secret);
    assert_eq!(
        config.otlp(Signal::Traces).unwrap().headers["a"].expose(),
        secret
    );
    let shown = format!("{config:?}\n{}", config.to_yaml());
    assert!(shown.contains("[redacted]"));
    assert!(!shown.contains(secret), "{shown}");
    // Nor in what is said about wrong ones.
    let wrong = [
        "gitlab: {token: [hunter2]}",
        "gitlab: {token: {hunter2: 1}}",
        "gitlab: {token: \"hunter2 \"}",
        "gitlab: {token: hunter2, url: 'https://me:hunter2@h'}",
        "gitlab: {token: hunter2, token_file: /f}",
        "redis: {url: 'http://:hunter2@r'}",
        "otel: {metrics: {headers: {authorization: \"hunter2\\n\"}}}",
        "otel: {metrics: {endpoint: 'https://hunter2@c'}}",
        "otel: {metrics: {headers: hunter2}}",
        "tokn: hunter2",
    ];
    for lines in wrong {
        let problems = problems_of(lines);
        assert!(!problems.is_empty(), "{lines}");
        assert!(
            !problems.join("\n").contains(secret),
            "{lines}: {problems:?}"
        );
    }
}

#[test]
fn the_effective_configuration_reads_back_as_itself() {
    let file = "\
gitlab: {token_file: TOKEN, url: 'https://gitlab.example.com/git'}
projects: [{name: g/p, refs: {branches: {regexp: '^a\\.b #c$'}}}]
wildcards: [{}, {search: 'true'}]
collectors: {jobs: {histogram_buckets: [0.5, 1, 1000000]}}
otel: {resource_attributes: {a b: \"x\\ny\", n: '1'}}
";
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    std::fs::write(&token, "t\n").unwrap();
    let config = loaded(
        &file.replace("TOKEN", &token.display().to_string()),
        &[],
        &[],
    )
    .unwrap();
    let again = Config::from_yaml(&config.to_yaml()).unwrap();
    assert_eq!(*again, *config);
    assert!(
        config.to_yaml().contains("search: \"true\" # "),
        "{}",
        config.to_yaml()
    );
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_no_text_is_a_problem_of_its_own() {
    use std::os::unix::ffi::OsStringExt;
    let value = std::ffi::OsString::from_vec(vec![b'x', 0xff]);
    let environment =
        Environment::from_pairs([("AGE_CONFIG", value.clone()), ("AGE_LOG_LEVEL", value)]);
    let error = load(&Sources {
        environment,
        ..Sources::default()
    })
    .unwrap_err()
    .to_string();
    assert!(
        error.starts_with(
            "AGE_CONFIG: the value is not UTF-8 text\nAGE_LOG_LEVEL: the value is not UTF-8 text\n"
        ),
        "{error}"
    );
}

#[test]
fn variables_for_other_programs_are_no_problem_while_nothing_is_sent() {
    let others = [
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ("OTEL_RESOURCE_ATTRIBUTES", "nonsense"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
    ];
    assert_eq!(
        loaded(RIGHT, &others, &[]).unwrap().trace_sampler().ratio,
        1.0
    );
    let sent = [&others[..], &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c")]].concat();
    let problems = loaded(RIGHT, &sent, &[]).unwrap_err();
    assert_eq!(
        problems,
        [
            "OTEL_EXPORTER_OTLP_PROTOCOL: must be grpc or http/protobuf, not \"http/json\"",
            "OTEL_TRACES_SAMPLER: must be always_on, always_off, traceidratio, parentbased_always_on, \
             parentbased_always_off or parentbased_traceidratio, not \"jaeger_remote\"",
            "OTEL_RESOURCE_ATTRIBUTES: must be a list like key=value,other=value",
        ]
    );
}
