//! Every rule with the sentence that a user reads.

use super::{RIGHT, loaded, problems_of};

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
            "server: {token: t}",
            &[
                "age.yml:1: server.token is not a setting; known here: listen_address, web_config_file, enable_pprof, enable_poll, enable_reload, allowed_hosts, max_connections_per_client, probes, webhook",
            ],
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
        (
            "projects: [{name: g/p, most_recent: 3}]",
            &[
                "age.yml:1: projects[0].most_recent is not a setting; did you mean projects[0].refs.branches.most_recent?",
            ],
        ),
        // the way to GitLab
        (
            "gitlab: {token: t, headers: {Authorization: x, X-Team: y}}",
            &[
                "age.yml:1: gitlab.headers.Authorization is a header that the exporter sets itself; remove it",
            ],
        ),
        (
            "gitlab: {token: t, headers: {'a b': x}}",
            &["age.yml:1: gitlab.headers has \"a b\", which is not the name of an HTTP header"],
        ),
        (
            "gitlab: {token: t, client_key_path: /nothing}",
            &[
                "age.yml:1: gitlab.client_key_path is set without gitlab.client_cert_path, the certificate that the key belongs to",
            ],
        ),
        (
            "gitlab: {token: t, client_cert_path: /nothing/at.all}",
            &[
                "age.yml:1: gitlab.client_cert_path \"/nothing/at.all\" does not hold a usable certificate (\"/nothing/at.all\": No such file or directory (os error 2))",
            ],
        ),
        (
            "server: {web_config_file: /nothing/web.yml}",
            &[
                "age.yml:1: server.web_config_file: the file \"/nothing/web.yml\" cannot be read (No such file or directory (os error 2))",
            ],
        ),
        (
            "server: {listen_address: 'unix:age.sock'}",
            &[
                "age.yml:1: server.listen_address \"unix:age.sock\" needs an absolute path, like unix:/run/exporter.sock",
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
        (
            "collectors: {jobs: {histogram_buckets: [1, ~]}}",
            &["age.yml:1: collectors.jobs.histogram_buckets[1] must be a number, not nothing"],
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
                "age.yml:1: gitlab.max_requests_per_second must be a number from 0.001 to 100000, not 0",
            ],
        ),
        (
            "gitlab: {token: t, max_concurrent_requests: 0}",
            &[
                "age.yml:1: gitlab.max_concurrent_requests must be a whole number from 1 to 1000, not 0",
            ],
        ),
        (
            "gitlab: {token: t, max_server_share: -0.5}",
            &["age.yml:1: gitlab.max_server_share must be a number from 0 to 1000, not -0.5"],
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
                "age.yml:1: otel.metrics.headers has a value for \"a\" that an HTTP header cannot carry",
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
            &[
                "age.yml:1: gitlab.token_file \"/dev/null\" does not hold a token (it is a pipe or a device, not a file)",
            ],
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
                "age.yml:1: wildcards[0].membership cannot be combined with wildcards[0].owner; leave out one of them",
            ],
        ),
        (
            "collectors: {variables: {enabled: true}}",
            &[
                "age.yml:1: collectors.variables.enabled needs collectors.variables.regexp, the keys to export: their values become labels",
            ],
        ),
        (
            "project_defaults: {collectors: {variables: {enabled: true}}}",
            &[
                "age.yml:1: project_defaults.collectors.variables.enabled needs collectors.variables.regexp, the keys to export: their values become labels",
            ],
        ),
        (
            "projects:\n- name: g/p\n  collectors:\n    variables: {enabled: true}",
            &[
                "age.yml:4: projects[0].collectors.variables.enabled needs collectors.variables.regexp, the keys to export: their values become labels",
            ],
        ),
        (
            "wildcards: [{collectors: {variables: {enabled: true}}}]",
            &[
                "age.yml:1: wildcards[0].collectors.variables.enabled needs collectors.variables.regexp, the keys to export: their values become labels",
            ],
        ),
        // switches and intervals of some projects
        (
            "projects: [{name: g/p, collectors: {jbos: {enabled: false}}}]",
            &[
                "age.yml:1: projects[0].collectors.jbos is not a setting; did you mean projects[0].collectors.jobs?",
            ],
        ),
        (
            "wildcards: [{collectors: {jobs: {enable: false}}}]",
            &[
                "age.yml:1: wildcards[0].collectors.jobs.enable is not a setting; did you mean wildcards[0].collectors.jobs.enabled?",
            ],
        ),
        (
            "project_defaults: {collectors: {child_pipelines: {enabled: false}}}",
            &[
                "age.yml:1: project_defaults.collectors.child_pipelines is not a setting; did you mean project_defaults.collectors.pipelines?",
            ],
        ),
        (
            "project_defaults: {collectors: {jobs: {histogram_buckets: [1]}}}",
            &[
                "age.yml:1: project_defaults.collectors.jobs.histogram_buckets is not a setting; did you mean collectors.jobs.histogram_buckets?",
            ],
        ),
        (
            "project_defaults: {collectors: {jobs: {interval_seconds: 0}}}",
            &[
                "age.yml:1: project_defaults.collectors.jobs.interval_seconds must be between 1s and 365d, not 0",
            ],
        ),
        (
            "projects: [{name: g/p, collectors: {jobs: {interval_seconds: 366d}}}]",
            &[
                "age.yml:1: projects[0].collectors.jobs.interval_seconds \"366d\" must be between 1s and 365d",
            ],
        ),
        (
            "wildcards: [{collectors: {jobs: {interval_seconds: soon}}}]",
            &[
                "age.yml:1: wildcards[0].collectors.jobs.interval_seconds \"soon\" is not a duration like 30s, 5m, 2h or 1d",
            ],
        ),
        (
            "projects: [{name: g/p, collectors: {jobs: {enabled: on}}}]",
            &[
                "age.yml:1: projects[0].collectors.jobs.enabled must be true or false, not \"on\"; did you mean true?",
            ],
        ),
        (
            "projects: [{name: g/p, collectors: {jobs: false}}]",
            &[
                "age.yml:1: projects[0].collectors.jobs must be a section with keys like enabled and interval_seconds, not false",
            ],
        ),
        (
            "labels:\n  people: hash",
            &[
                "age.yml:2: labels.people hash needs labels.people_hash_key, without which anyone could compute whose hash it is; set the variable AGE_LABELS_PEOPLE_HASH_KEY to a long random text",
            ],
        ),
        (
            "labels: {people: nobody}",
            &["age.yml:1: labels.people must be username, name, hash or none, not \"nobody\""],
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
        // Redis
        (
            "redis: {url: 'http://:hunter2@r'}",
            &[
                "age.yml:1: redis.url must begin with redis://, rediss://, unix://, redis-sentinel:// or redis-cluster://",
            ],
        ),
        (
            "redis: {url: 'redis://r', lease_ttl: 1s, key_prefix: '{a}'}\nstate: {path: s.redb}",
            &[
                "age.yml:1: redis.lease_ttl must be between 5s and 10m, not 1s",
                "age.yml:1: redis.key_prefix \"{a}\" must be at most 100 letters, digits and -_.:/ long, such as age:production",
                "age.yml:1: redis.url and state.path (age.yml:2) are both set; with Redis the state is kept there, so remove state.path",
            ],
        ),
        (
            "redis: {url: 'redis://u:hunter2@r', username: u, password: hunter2}",
            &[
                "age.yml:1: redis.password is set although redis.url has a password; keep one of them",
                "age.yml:1: redis.username is set although redis.url has a user name; keep one of them",
            ],
        ),
        (
            "redis: {url: 'redis://r', password: hunter2, password_file: /dev/null}",
            &[
                "age.yml:1: redis.password_file \"/dev/null\" does not hold a password (it is a pipe or a device, not a file)",
                "age.yml:1: redis.password and redis.password_file are both set; keep one of them",
            ],
        ),
        (
            "redis: {url: 'redis://r', fallback: all}",
            &["age.yml:1: redis.fallback must be none or single, not \"all\""],
        ),
        (
            "redis: {url: 'redis://r', username: u}",
            &["age.yml:1: redis.username needs redis.password or redis.password_file"],
        ),
        (
            "redis: {url: 'redis://r', ca_cert_path: /dev/null}",
            &[
                "age.yml:1: redis.ca_cert_path needs TLS; write rediss://, rediss-sentinel:// or rediss-cluster:// in redis.url",
            ],
        ),
        (
            "redis: {url: 'rediss://r', ca_cert_path: /dev/null, client_cert_path: /dev/null}",
            &[
                "age.yml:1: redis.ca_cert_path \"/dev/null\" does not hold certificates (there is no PEM certificate in it)",
                "age.yml:1: redis.client_cert_path needs redis.client_key_path, the key of the certificate",
            ],
        ),
        (
            "redis: {url: 'rediss://r', client_cert_path: /dev/null, client_key_path: /dev/null}",
            &[
                "age.yml:1: redis.client_cert_path \"/dev/null\" and redis.client_key_path \"/dev/null\" do not hold a certificate and its key (there is no PEM certificate in it)",
            ],
        ),
        // webhooks
        (
            "server: {webhook: {enabled: true}}",
            &[
                "age.yml:1: server.webhook.enabled needs a secret: set server.webhook.secret_token (the variable AGE_SERVER_WEBHOOK_SECRET_TOKEN) and enter it in GitLab as the webhook's secret token, or set server.webhook.allow_unauthenticated to true to accept everybody's requests",
            ],
        ),
        (
            "server: {webhook: {secret_tokens: [hunter2, ' '], signing_tokens: [hunter2, whsec_AAEC]}}",
            &[
                "age.yml:1: server.webhook.secret_tokens[1] is empty",
                "age.yml:1: server.webhook.signing_tokens[0] does not begin with whsec_, as GitLab's signing tokens do",
                "age.yml:1: server.webhook.signing_tokens[1] is too short",
            ],
        ),
        (
            "server: {webhook: {secret_token_file: /does/not/exist}}",
            &[
                "age.yml:1: server.webhook.secret_token_file \"/does/not/exist\" does not hold a secret token (No such file or directory (os error 2))",
            ],
        ),
        (
            "server: {webhook: {secret_token: hunter2, allow_unauthenticated: true}}",
            &[
                "age.yml:1: server.webhook.allow_unauthenticated is true although a secret is set; remove one of them",
            ],
        ),
        // not offered
        (
            "server:\n  enable_pprof: true",
            &[
                "age.yml:2: server.enable_pprof asks for CPU profiles, which a process cannot take of itself safely; set it to false and profile it from outside, with perf for example",
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
        // keys of the same section come first, whatever is like the whole elsewhere
        (
            &[("AGE_OTEL_METRICS_ENDPONT", "x")],
            &[],
            &[
                "AGE_OTEL_METRICS_ENDPONT: no setting has this variable; did you mean AGE_OTEL_METRICS_ENDPOINT?",
            ],
        ),
        (
            &[("AGE_COLLECTORS_DORA_ENABLE", "true")],
            &[],
            &[
                "AGE_COLLECTORS_DORA_ENABLE: no setting has this variable; did you mean AGE_COLLECTORS_DORA_ENABLED?",
            ],
        ),
        (
            &[],
            &[("collectors.dora.intervall", "5m")],
            &[
                "--set collectors.dora.intervall: collectors.dora.intervall is not a setting; did you mean collectors.dora.interval_seconds?",
            ],
        ),
        (
            &[],
            &[("otel.metrics.url", "x")],
            &[
                "--set otel.metrics.url: otel.metrics.url is not a setting; known here: enabled, endpoint, protocol, headers, timeout, compression, ca_cert_path, interval, temporality",
            ],
        ),
        (
            &[],
            &[("log.path", "x")],
            &["--set log.path: log.path is not a setting; known here: level, format"],
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
