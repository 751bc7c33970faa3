//! No secret is ever shown: the token and the OTLP credentials are put into every place they could
//! leak from, and everything the program says is searched for them.

use gitlab_simulator::{Fault, Options, Rule, Simulator, Token, World, WorldConfig};

use crate::support::exporter::{Binary, RealTime, beginning_now, binary, configuration};
use crate::support::otlp::Receiver;
use crate::support::program::Program;
use crate::support::{eventually, until};

/// With characters that JSON, `Debug` and URLs spell in other ways.
const TOKEN: &str = "glpat-le4k+T0ken/%22=";
const HEADER: &str = "0tlp+h3ader/cred3ntials";
const PASSWORD: &str = "0tlp-pa55word";
const WEBHOOK: &str = "w3bhook-s3cret";
const HASH_KEY: &str = "pe0ple/ha5h+key";
const REDIS: &str = "red1s/pa55+word";
const PROXY: &str = "acce55+pr0xy/s3cret";

/// Spellings in which a secret could be shown.
fn spellings() -> Vec<String> {
    let mut all = Vec::new();
    for secret in [TOKEN, HEADER, PASSWORD, WEBHOOK, HASH_KEY, REDIS, PROXY] {
        let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        all.extend([secret.to_owned(), encoded, secret.replace('/', "\\/")]);
    }
    all
}

/// Fails when `text` has a secret in it.
fn assert_clean(place: &str, text: &str) {
    for secret in spellings() {
        if let Some(at) = text.find(&secret) {
            let start = text[..at].rfind('\n').map_or(0, |line| line + 1);
            let end = text[at..].find('\n').map_or(text.len(), |line| at + line);
            panic!("{place} shows {secret}: {}", &text[start..end]);
        }
    }
}

fn body(status: u16, content_type: &str, body: String) -> Fault {
    Fault::Body {
        status,
        content_type: content_type.to_owned(),
        body: body.into_bytes(),
    }
}

/// Answers that carry the token back, by what they try.
fn echoes() -> Vec<(&'static str, Fault)> {
    let json = "application/json";
    vec![
        (
            "an error that quotes the token",
            body(
                400,
                json,
                format!(r#"{{"message":"400 Bad token {TOKEN}"}}"#),
            ),
        ),
        (
            "a GraphQL error that quotes the token",
            body(
                200,
                json,
                format!(r#"{{"errors":[{{"message":"no {TOKEN}"}}]}}"#),
            ),
        ),
        (
            "a refusal that quotes the request",
            body(
                401,
                json,
                format!(r#"{{"error":"Authorization: Bearer {TOKEN}"}}"#),
            ),
        ),
        (
            "a proxy's page that quotes the request",
            body(502, "text/html", format!("<h1>{TOKEN}</h1>")),
        ),
        (
            "an answer that is no JSON",
            body(200, json, format!("{{\"data\": {TOKEN}")),
        ),
        (
            "a value of another type",
            body(200, json, format!(r#"{{"data":"{TOKEN}","id":"{TOKEN}"}}"#)),
        ),
        (
            "a refusal that quotes an access proxy's header",
            body(403, json, format!(r#"{{"message":"403 {PROXY}"}}"#)),
        ),
        (
            "a redirect to another place",
            Fault::Redirect {
                to: format!("http://oauth2:{TOKEN}@127.0.0.1:9/?private_token={TOKEN}"),
            },
        ),
        (
            "a redirect within the instance",
            Fault::Redirect {
                to: format!("/api/v4/projects/{TOKEN}?private_token={TOKEN}"),
            },
        ),
    ]
}

fn simulator() -> Simulator {
    let mut world = World::generate(WorldConfig {
        projects: 2,
        pipelines_per_project: 2,
        ..beginning_now()
    });
    world.add_token(Token::new(TOKEN));
    Simulator::start(world, &Options::default()).expect("a simulator")
}

/// Runs the exporter against a GitLab that answers every call of `on` like this, and searches
/// everything it says.
async fn nothing_leaks(what: &str, on: Option<&str>, format: &str, fault: Fault) {
    let receiver = Receiver::start().await;
    let simulator = simulator();
    let _time = RealTime::of(&simulator);
    let mut rule = Rule::new(fault);
    rule.on = on.map(str::to_owned);
    let fault = simulator.faults().add(rule);
    let target = |signal: &str| {
        let endpoint = receiver.http(signal);
        format!(
            "{{enabled: true, endpoint: '{endpoint}', protocol: http/protobuf, headers: {{authorization: 'Bearer {HEADER}'}}"
        )
    };
    let more = format!(
        "log: {{level: trace, format: {format}}}
server: {{webhook: {{secret_token: {WEBHOOK}}}}}
labels: {{people: hash, people_hash_key: {HASH_KEY}}}
redis: {{password: {REDIS}}}
otel:
  metrics: {}, interval: 1s}}
  traces: {}}}
  logs: {}}}",
        target("metrics"),
        target("traces"),
        target("logs"),
    );
    let yaml = configuration(&simulator, &more).replace(simulator.token(), TOKEN);
    let headers = format!("gitlab:\n  headers: {{X-Access-Proxy: '{PROXY}'}}\n");
    let yaml = yaml.replacen("gitlab:\n", &headers, 1);
    let mut exporter = Binary::run(&yaml, &[]).await;
    let faults = simulator.faults();
    eventually(&format!("{what} happens"), || faults.hits(fault) > 0).await;
    until("what happened is logged", async || {
        let said = exporter.program.stderr();
        if said.contains("WARN") {
            Ok(())
        } else {
            Err(said)
        }
    })
    .await;
    until("metrics are pushed", async || {
        let pushed = receiver.received().points.len();
        if pushed > 0 {
            Ok(())
        } else {
            Err("none".to_owned())
        }
    })
    .await;
    for path in [
        "/", "/metrics", "/config", "/ready", "/health", "/docs", "/nothing",
    ] {
        let path = format!("{path}?q={}", "x");
        let answer = exporter.get(&path).await;
        assert_clean(&format!("{what}: {path}"), &answer.body);
    }
    exporter.program.signal("TERM");
    assert!(exporter.program.ended().await.success());
    assert_clean(
        &format!("{what}: standard error"),
        &exporter.program.stderr(),
    );
    assert_clean(
        &format!("{what}: standard output"),
        &exporter.program.stdout(),
    );
    let received = receiver.received();
    assert!(
        !received.spans.is_empty() && !received.logs.is_empty(),
        "{what}"
    );
    assert_clean(&format!("{what}: spans"), &format!("{:#?}", received.spans));
    assert_clean(&format!("{what}: logs"), &format!("{:#?}", received.logs));
    assert_clean(
        &format!("{what}: resource"),
        &format!("{:#?}", received.resource),
    );
    for (series, _) in &received.points {
        assert_clean(&format!("{what}: pushed metrics"), series);
    }
    let sent = received.requests.iter().filter(|request| {
        let header = request.headers.get("authorization");
        header.is_some_and(|value| value.ends_with(HEADER))
    });
    assert_eq!(
        sent.count(),
        received.requests.len(),
        "the credentials are sent"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn answers_that_carry_the_token_back_do_not_make_it_leak() {
    let everywhere = echoes()
        .into_iter()
        .enumerate()
        .map(|(index, (what, fault))| {
            let format = if index % 2 == 0 { "text" } else { "json" };
            nothing_leaks(what, None, format, fault)
        });
    futures::future::join_all(everywhere).await;
}

/// The token of a file stands in the name of a branch, and after it was replaced so does the next.
#[tokio::test(flavor = "multi_thread")]
async fn the_token_of_a_file_is_in_no_label_and_on_no_page() {
    use gitlab_simulator::world::PipelineSpec;
    let tokens = ["glpat-fi1e-t0ken.one", "glpat-fi1e-t0ken.two"];
    let mut world = World::new(beginning_now());
    let project = world.add_project("group/app").expect("a project");
    for token in tokens {
        world.add_token(Token::new(token));
    }
    let simulator = Simulator::start(world, &Options::default()).expect("a simulator");
    let _time = RealTime::of(&simulator);
    let folder = tempfile::tempdir().expect("a folder");
    crate::support::exporter::write(&folder, "token", tokens[0]);
    let token = format!("token: {}", simulator.token());
    let file = format!("token_file: '{}'", folder.path().join("token").display());
    let receiver = Receiver::start().await;
    let more = format!(
        "log: {{level: trace}}\notel: {{metrics: {{endpoint: '{}', protocol: grpc, interval: 1s}}}}",
        receiver.grpc()
    );
    let yaml = configuration(&simulator, &more).replace(&token, &file);
    let mut exporter = Binary::run(&yaml, &[("AGE_TELEMETRY_BIRTH_WINDOW", "2s")]).await;
    for (number, token) in tokens.into_iter().enumerate() {
        if number > 0 {
            crate::support::exporter::write(&folder, "token", token);
            simulator
                .world()
                .revoke_token(tokens[0])
                .expect("it is there");
        }
        let name = format!("{number}-{token}");
        until("the branch is shown", async || {
            let spec = PipelineSpec::branch(&name).stage("test", &["unit"]);
            simulator
                .world()
                .create_pipeline(project, &spec)
                .expect("a pipeline");
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            let metrics = exporter.get("/metrics").await.body;
            match metrics.contains(&format!("ref=\"{number}-[redacted]\"")) {
                true => Ok(()),
                false => Err(metrics),
            }
        })
        .await;
        for path in ["/", "/metrics", "/config", "/ready"] {
            let body = exporter.get(path).await.body;
            assert!(!body.contains("fi1e-t0ken"), "{path} shows a token: {body}");
        }
    }
    exporter.program.signal("TERM");
    assert!(exporter.program.ended().await.success());
    let said = exporter.program.stderr() + &exporter.program.stdout();
    assert!(!said.contains("fi1e-t0ken"), "{said}");
    let received = receiver.received();
    let pushed = &received.points;
    assert!(
        pushed
            .iter()
            .any(|(series, _)| series.contains("[redacted]"))
    );
    assert!(
        !pushed
            .iter()
            .any(|(series, _)| series.contains("fi1e-t0ken"))
    );
}

/// Runs a command that is to fail because of its configuration, and gives all it said.
async fn refused(yaml: &str, environment: &[(&str, String)], arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    crate::support::exporter::write(&folder, "config.yml", yaml);
    let mut command = binary(&["run", "--config", "config.yml"]);
    command.args(arguments);
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    let mut program = Program::start_in(folder, command);
    let status = program.ended().await;
    let said = program.stdout() + &program.stderr();
    assert_eq!(status.code(), Some(2), "{yaml} {environment:?}: {said}");
    assert!(!said.is_empty());
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_configuration_is_explained_without_its_secrets() {
    let right = format!("gitlab: {{token: '{TOKEN}'}}\nprojects: [{{name: g/p}}]\n");
    let files = [
        format!(
            "gitlab: {{url: 'https://oauth2:{PASSWORD}@gitlab.example.com', token: '{TOKEN}'}}"
        ),
        format!("gitlab: {{token: ['{TOKEN}']}}"),
        format!("gitlab: {{token: {{value: '{TOKEN}'}}}}"),
        format!("gitlab: {{token: '{TOKEN} and more'}}"),
        format!("gitlab: {{tokn: '{TOKEN}'}}"),
        format!("gitlab: {{token: '{TOKEN}', token_file: /nothing}}"),
        format!("{right}otel: {{metrics: {{headers: 'authorization={HEADER}'}}}}"),
        format!("{right}otel: {{metrics: {{headers: {{authorization: ['{HEADER}']}}}}}}"),
        format!("{right}otel: {{metrics: {{endpoint: 'http://otel:{PASSWORD}@collector'}}}}"),
        format!("{right}otel: {{metrics: {{endpoint: 'ftp://otel:{PASSWORD}@collector'}}}}"),
        format!("{right}redis: {{url: 'redis://:{PASSWORD}@redis:port'}}"),
        format!("gitlab: {{token: '{TOKEN}', headers: {{X-Proxy: ['{PROXY}']}}}}"),
        format!("gitlab: {{token: '{TOKEN}', headers: {{'X Proxy': '{PROXY}'}}}}"),
        format!("gitlab: {{token: '{TOKEN}', headers: '{PROXY}'}}"),
        format!("{right}server: {{webhook: {{secret_token: ['{WEBHOOK}']}}}}"),
        format!("{right}labels: {{people: nobody, people_hash_key: '{HASH_KEY}'}}"),
        format!("{right}labels: {{people_hash_key: ['{HASH_KEY}']}}"),
        format!("{right}labels: {{people_hash_kee: '{HASH_KEY}'}}"),
        format!("gitlab:\n  token: \"{TOKEN}\n"),
        format!("gitlab:\n  token: {TOKEN}: {TOKEN}\n"),
    ];
    for file in files {
        assert_clean(&file, &refused(&file, &[], &[]).await);
    }
    let variables = [
        (
            "AGE_GITLAB_URL",
            format!("https://oauth2:{PASSWORD}@gitlab.example.com"),
        ),
        ("AGE_GITLAB_TOKN", TOKEN.to_owned()),
        ("AGE_GITLAB_TOKEN", format!("{TOKEN}\n{TOKEN}")),
        ("AGE_REDIS_URL", format!("redis://:{PASSWORD}@redis:port")),
        (
            "AGE_OTEL_METRICS_HEADERS",
            format!("authorization={HEADER}"),
        ),
        ("OTEL_EXPORTER_OTLP_HEADERS", HEADER.to_owned()),
        (
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
            format!("http://otel:{PASSWORD}@collector"),
        ),
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            format!("otel:{PASSWORD}@collector"),
        ),
    ];
    for (name, value) in variables {
        let environment = [
            (name, value),
            ("OTEL_METRICS_EXPORTER", "otlp".to_owned()),
            ("AGE_OTEL_METRICS_ENABLED", "true".to_owned()),
        ];
        let said = refused(&right, &environment, &[]).await;
        assert_clean(name, &said);
    }
    let flag = format!("gitlab.tokn={TOKEN}");
    assert_clean("--set", &refused(&right, &[], &["--set", &flag]).await);
    let flag = format!("--gitlab-tokn={TOKEN}");
    assert_clean("an unknown flag", &refused(&right, &[], &[&flag]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_effective_configuration_is_shown_without_its_secrets() {
    let mut command = binary(&["config"]);
    command.args(["--gitlab-token", TOKEN, "--set", "wildcards=[{}]"]);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
    command.env(
        "OTEL_EXPORTER_OTLP_HEADERS",
        format!("authorization={HEADER}"),
    );
    command.env("AGE_SERVER_WEBHOOK_SECRET_TOKEN", WEBHOOK);
    command.env("AGE_LABELS_PEOPLE_HASH_KEY", HASH_KEY);
    command.env("AGE_GITLAB_HEADERS", format!("{{X-Proxy: '{PROXY}'}}"));
    let mut program = Program::start(command);
    assert!(program.ended().await.success(), "{}", program.stderr());
    let shown = program.stdout();
    assert!(shown.contains("[redacted]"), "{shown}");
    assert_clean("config", &shown);
}
