//! The configuration as a whole: layers, precedence, and the sentence of every rule.

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
fn every_rule_of_the_file_has_its_sentence() {
    let cases: &[(&str, &[&str])] = &[
        // unknown keys
        (
            "log: {levl: info}",
            &["age.yml:1: log.levl is not a setting; did you mean log.level?"],
        ),
        (
            "token: t",
            &["age.yml:1: token is not a setting; did you mean gitlab.token?"],
        ),
        (
            "log: {zzz: 1}",
            &["age.yml:1: log.zzz is not a setting; known here: level, format"],
        ),
        (
            "projects:\n- name: g/p\n  refs:\n    branches:\n      regex: x",
            &[
                "age.yml:5: projects[0].refs.branches.regex is not a setting; did you mean projects[0].refs.branches.regexp?",
            ],
        ),
        // wrong types
        (
            "server:\n  enable_pprof: yes",
            &[
                "age.yml:2: server.enable_pprof must be true or false, not \"yes\"; did you mean true?",
            ],
        ),
        (
            "collectors:\n  jobs:\n    interval_seconds: [30]",
            &[
                "age.yml:3: collectors.jobs.interval_seconds must be a whole number of seconds or a duration like 30s, not a list",
            ],
        ),
        (
            "log: loud",
            &["age.yml:1: log must be a section with keys like level and format, not \"loud\""],
        ),
        (
            "projects: g/p",
            &["age.yml:1: projects must be a list like [a, b], not \"g/p\""],
        ),
        (
            "projects: [g/p]",
            &[
                "age.yml:1: projects[0] must be a section with keys like name and output_sparse_status_metrics, not \"g/p\"",
            ],
        ),
        (
            "otel: {resource_attributes: {version: 1.5}}",
            &[
                "age.yml:1: otel.resource_attributes.version must be text, not 1.5; put it in quotes",
            ],
        ),
        (
            "gitlab: {token: 12345}",
            &["age.yml:1: gitlab.token must be text, not a number; put it in quotes"],
        ),
        (
            "gitlab: {token: t, timeout: 30}",
            &[
                "age.yml:1: gitlab.timeout must be a duration like 30s, 5m, 2h or 1d, not 30; the unit is missing",
            ],
        ),
        // choices
        (
            "log: {format: jsn}",
            &["age.yml:1: log.format must be text or json, not \"jsn\"; did you mean json?"],
        ),
        (
            "otel: {metrics: {enabled: maybe}}",
            &["age.yml:1: otel.metrics.enabled must be auto, true or false, not \"maybe\""],
        ),
        (
            "collectors: {dora: {environment_tiers: [production, stage]}}",
            &[
                "age.yml:1: collectors.dora.environment_tiers[1] must be production, staging, testing, development or other, not \"stage\"; did you mean staging?",
            ],
        ),
        (
            "project_defaults: {refs: {merge_requests: {states: []}}}",
            &["age.yml:1: project_defaults.refs.merge_requests.states must not be empty"],
        ),
        // ranges
        (
            "gitlab: {token: t, rest_page_size: 101}",
            &["age.yml:1: gitlab.rest_page_size must be a whole number from 1 to 100, not 101"],
        ),
        (
            "gitlab: {token: t, graphql_page_size: 0}",
            &["age.yml:1: gitlab.graphql_page_size must be a whole number from 1 to 100, not 0"],
        ),
        (
            "gitlab: {token: t, max_requests_per_second: 0}",
            &[
                "age.yml:1: gitlab.max_requests_per_second must be a number above 0 and up to 100000, not 0",
            ],
        ),
        (
            "gitlab: {token: t, burst_requests_per_second: 1.5}",
            &[
                "age.yml:1: gitlab.burst_requests_per_second must be a whole number from 1 to 100000, not 1.5",
            ],
        ),
        (
            "collectors: {jobs: {interval_seconds: 0}}",
            &["age.yml:1: collectors.jobs.interval_seconds must be between 1s and 365d, not 0"],
        ),
        (
            "collectors: {jobs: {interval_seconds: -5}}",
            &["age.yml:1: collectors.jobs.interval_seconds must be between 1s and 365d, not -5"],
        ),
        (
            "collectors: {jobs: {interval_seconds: 1w}}",
            &[
                "age.yml:1: collectors.jobs.interval_seconds \"1w\" is not a duration like 30s, 5m, 2h or 1d",
            ],
        ),
        (
            "discovery: {interval: 0s}",
            &["age.yml:1: discovery.interval \"0s\" must be between 1s and 365d"],
        ),
        (
            "otel: {traces: {sample_ratio: 2}}",
            &["age.yml:1: otel.traces.sample_ratio must be a number from 0 to 1, not 2"],
        ),
        (
            "otel: {traces: {sample_ratio: .nan}}",
            &["age.yml:1: otel.traces.sample_ratio must be a number from 0 to 1, not NaN"],
        ),
        // formats
        (
            "project_defaults:\n  refs:\n    branches:\n      regexp: '^(main'",
            &[
                "age.yml:4: project_defaults.refs.branches.regexp \"^(main\" is not a regular expression (unclosed group)",
            ],
        ),
        (
            "collectors: {jobs: {histogram_buckets: [1, 5, 5]}}",
            &[
                "age.yml:1: collectors.jobs.histogram_buckets must rise strictly, but 5 is followed by 5",
            ],
        ),
        (
            "collectors: {jobs: {histogram_buckets: [1, .inf]}}",
            &[
                "age.yml:1: collectors.jobs.histogram_buckets must hold finite numbers, not inf; the bucket +Inf is always there",
            ],
        ),
        (
            "collectors: {jobs: {histogram_buckets: [1, .nan]}}",
            &[
                "age.yml:1: collectors.jobs.histogram_buckets must hold finite numbers, not NaN; the bucket +Inf is always there",
            ],
        ),
        (
            "collectors: {jobs: {histogram_buckets: [1, five]}}",
            &["age.yml:1: collectors.jobs.histogram_buckets[1] must be a number, not \"five\""],
        ),
        (
            "gitlab: {token: t, url: gitlab.example.com}",
            &[
                "age.yml:1: gitlab.url \"gitlab.example.com\" is not an address that starts with http:// or https://; did you mean https://gitlab.example.com?",
            ],
        ),
        (
            "gitlab: {token: t, url: 'localhost:8080'}",
            &[
                "age.yml:1: gitlab.url \"localhost:8080\" is not an address that starts with http:// or https://; did you mean http://localhost:8080?",
            ],
        ),
        (
            "gitlab: {token: t, url: 'ftp://gitlab.example.com'}",
            &[
                "age.yml:1: gitlab.url \"ftp://gitlab.example.com\" is not an address that starts with http:// or https://",
            ],
        ),
        (
            "gitlab: {token: t, url: 'https://gitlab.example.com/api/v4'}",
            &[
                "age.yml:1: gitlab.url \"https://gitlab.example.com/api/v4\" must end before /api; did you mean https://gitlab.example.com?",
            ],
        ),
        (
            "gitlab: {token: t, url: 'https://me:hunter2@gitlab.example.com'}",
            &["age.yml:1: gitlab.url must not contain a user name or password"],
        ),
        (
            "gitlab: {token: t, url: 'https://gitlab.example.com/?a=b'}",
            &[
                "age.yml:1: gitlab.url \"https://gitlab.example.com/?a=b\" must end before the ? or #",
            ],
        ),
        (
            "server: {listen_address: '8080'}",
            &[
                "age.yml:1: server.listen_address \"8080\" is not an address like \":8080\", \"127.0.0.1:8080\" or \"[::1]:8080\"",
            ],
        ),
        (
            "projects: [{name: ''}]",
            &[
                "age.yml:1: projects[0].name \"\" is not the full path of a project like group/project",
            ],
        ),
        (
            "projects: [{name: project}]",
            &[
                "age.yml:1: projects[0].name \"project\" is not the full path of a project like group/project",
            ],
        ),
        (
            "projects: [{name: 'https://gitlab.com/g/p'}]",
            &[
                "age.yml:1: projects[0].name \"https://gitlab.com/g/p\" is not the full path of a project like group/project",
            ],
        ),
        (
            "wildcards: [{owner: {name: ''}}]",
            &[
                "age.yml:1: wildcards[0].owner.name \"\" is not the path of a group or the name of a user",
            ],
        ),
        (
            "otel: {metrics: {headers: {'a b': x}}}",
            &[
                "age.yml:1: otel.metrics.headers has \"a b\", which is not the name of an HTTP header",
            ],
        ),
        (
            "otel: {metrics: {headers: {a: \"x\\ny\"}}}",
            &[
                "age.yml:1: otel.metrics.headers has a value for \"a\" that cannot stand in an HTTP header",
            ],
        ),
        (
            "gitlab: {token: '[redacted]'}",
            &[
                "age.yml:1: gitlab.token is [redacted], which stands for a secret that was not shown",
            ],
        ),
        // missing
        (
            "projects: [{refs: {}}]",
            &["age.yml:1: projects[0].name is missing"],
        ),
        (
            "projects: [{name: }]",
            &["age.yml:1: projects[0].name is missing"],
        ),
        (
            "wildcards:\n- owner:\n    kind: user",
            &["age.yml:3: wildcards[0].owner.name is missing"],
        ),
        (
            "gitlab: {}",
            &[
                "gitlab.token is missing; set the variable AGE_GITLAB_TOKEN, or gitlab.token_file to a file that holds the token",
            ],
        ),
        (
            "projects: []",
            &[
                "projects and wildcards are both empty, so there is nothing to watch; name projects with projects: [{name: group/project}], or watch every project that the token can see with wildcards: [{}]",
            ],
        ),
        // together
        (
            "gitlab:\n  token: t\n  token_file: /f",
            &[
                "age.yml:3: gitlab.token_file and gitlab.token (age.yml:2) are both set; keep one of them",
            ],
        ),
        (
            "gitlab: {token: \"a b\"}",
            &[
                "age.yml:1: gitlab.token has a space, a line break or another character that no token has",
            ],
        ),
        (
            "gitlab: {token_file: /does/not/exist}",
            &[
                "age.yml:1: gitlab.token_file \"/does/not/exist\" does not hold a token (No such file or directory (os error 2))",
            ],
        ),
        (
            "gitlab: {token_file: /dev/null}",
            &["age.yml:1: gitlab.token_file \"/dev/null\" does not hold a token (it is empty)"],
        ),
        (
            "gitlab: {token: t, ca_cert_path: /does/not/exist}",
            &[
                "age.yml:1: gitlab.ca_cert_path \"/does/not/exist\" does not hold certificates (No such file or directory (os error 2))",
            ],
        ),
        (
            "gitlab: {token: t, ca_cert_path: /dev/null}",
            &[
                "age.yml:1: gitlab.ca_cert_path \"/dev/null\" does not hold certificates (there is no PEM certificate in it)",
            ],
        ),
        (
            "otel: {traces: {endpoint: 'http://c:4317', ca_cert_path: /dev/null}}",
            &[
                "age.yml:1: otel.traces.ca_cert_path \"/dev/null\" does not hold certificates (there is no PEM certificate in it)",
            ],
        ),
        (
            "redis: {pool_size: 2, min_idle_conns: 3}",
            &[
                "age.yml:1: redis.min_idle_conns must not be above redis.pool_size, but 3 is above 2 (age.yml:1)",
            ],
        ),
        (
            "projects:\n- name: g/p\n- name: G/p",
            &[
                "age.yml:3: projects[1].name \"G/p\" is listed twice; it already stands at age.yml:2",
            ],
        ),
        (
            "wildcards: [{membership: true, owner: {name: g}}]",
            &[
                "age.yml:1: wildcards[0].membership goes only without wildcards[0].owner; leave out one of them",
            ],
        ),
        (
            "collectors: {variables: {enabled: true}}",
            &[
                "age.yml:1: collectors.variables.enabled needs collectors.variables.regexp, the keys to export: their values become labels",
            ],
        ),
        (
            "otel: {metrics: {temporality: delta}}",
            &[
                "age.yml:1: otel.metrics.temporality must be cumulative (the OpenTelemetry Collector's processor cumulativetodelta makes deltas)",
            ],
        ),
        (
            "otel: {metrics: {endpoint: 'http://c:4317', interval: 90s}}",
            &[
                "telemetry.birth_window must be at least twice the push interval (otel.metrics.interval, 90s), not 2m",
            ],
        ),
        // not built yet
        (
            "redis: {url: 'redis://:hunter2@r:6379/0'}",
            &[
                "age.yml:1: redis.url asks for sharing the work between replicas, which this version does not have yet; leave it empty to run one instance",
            ],
        ),
        (
            "server: {webhook: {enabled: true}}",
            &[
                "age.yml:1: server.webhook.enabled asks for the webhook receiver, which this version does not have yet; set it to false; GitLab is polled at the collectors' intervals",
            ],
        ),
        (
            "state: {path: /var/lib/age.db}",
            &[
                "age.yml:1: state.path asks for keeping state in a file, which this version does not have yet; leave it empty to keep state in memory",
            ],
        ),
        // broken YAML
        (
            "log: {level: info",
            &[
                "age.yml:2: not valid YAML (while parsing a flow mapping, did not find expected ',' or '}')",
            ],
        ),
        (
            "log: 1\nlog: 2",
            &["age.yml:2: not valid YAML (the key \"log\" is given twice)"],
        ),
    ];
    let mut wrong = Vec::new();
    for (lines, expected) in cases {
        let got = problems_of(lines);
        if got != *expected {
            wrong.push(format!("{lines}\n  expected {expected:#?}\n  got {got:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_rule_of_variables_and_flags_has_its_sentence() {
    type Case = (
        &'static [(&'static str, &'static str)],
        &'static [(&'static str, &'static str)],
        &'static [&'static str],
    );
    let cases: &[Case] = &[
        (
            &[("AGE_GITLAB_ULR", "x")],
            &[],
            &["AGE_GITLAB_ULR: no setting has this variable; did you mean AGE_GITLAB_URL?"],
        ),
        (
            &[("AGE_X", "x")],
            &[],
            &["AGE_X: no setting has this variable; `config --example` shows every setting"],
        ),
        (
            &[("AGE_COLLECTORS_JOBS_ENABLED", "yes")],
            &[],
            &[
                "AGE_COLLECTORS_JOBS_ENABLED: collectors.jobs.enabled must be true or false, not \"yes\"; did you mean true?",
            ],
        ),
        (
            &[("AGE_PROJECTS", "[{name: g/p")],
            &[],
            &[
                "AGE_PROJECTS: projects is not valid YAML (while parsing a flow mapping, did not find expected ',' or '}')",
            ],
        ),
        (
            &[("AGE_OTEL_METRICS_HEADERS", "authorization=Bearer hunter2")],
            &[],
            &[
                "AGE_OTEL_METRICS_HEADERS: otel.metrics.headers must be a map like {key: value}, not text",
            ],
        ),
        (
            &[],
            &[("gitlab.ulr", "x")],
            &["--set gitlab.ulr: gitlab.ulr is not a setting; did you mean gitlab.url?"],
        ),
        (
            &[],
            &[("log.level", "loud")],
            &[
                "--set log.level: log.level must be trace, debug, info, warn, error, fatal or panic, not \"loud\"",
            ],
        ),
        (
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
            ],
            &[],
            &["OTEL_EXPORTER_OTLP_PROTOCOL: must be grpc or http/protobuf, not \"http/json\""],
        ),
        (
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"),
                ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta"),
            ],
            &[],
            &[
                "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE: must be cumulative (the OpenTelemetry Collector's processor cumulativetodelta makes deltas), not \"delta\"",
            ],
        ),
    ];
    for (variables, flags, expected) in cases {
        assert_eq!(
            loaded(RIGHT, variables, flags).unwrap_err(),
            *expected,
            "{variables:?} {flags:?}"
        );
    }
}

#[test]
fn all_problems_come_at_once_in_the_order_of_the_layers() {
    let file = "log: {level: loud}\ngitlab:\n  url: nowhere\nredis: {url: 'redis://r'}\n";
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
    assert!(error.to_string().ends_with("is not UTF-8 text"), "{error}");
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
    let origin = |path: &str| config.origin(path).unwrap().to_string();
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
    let shown = format!("{config:?}\n{}\n{}", config.redacted(), config.to_yaml());
    assert!(shown.contains("[redacted]"));
    assert!(!shown.contains(secret), "{shown}");
    // Nor in what is said about wrong ones.
    let wrong = [
        "gitlab: {token: [hunter2]}",
        "gitlab: {token: {hunter2: 1}}",
        "gitlab: {token: \"hunter2 \"}",
        "gitlab: {token: hunter2, url: 'https://me:hunter2@h'}",
        "gitlab: {token: hunter2, token_file: /f}",
        "redis: {url: 'redis://:hunter2@r'}",
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
