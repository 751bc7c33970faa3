//! Values that are wrong end with one sentence that names them.

use std::collections::BTreeMap;

use super::render;

/// What makes the values of `ci/default.yaml` wrong, and what is said of it.
const REFUSED: [(&str, &str); 14] = [
    (
        "replicas: 2",
        "replicas: more than one replica needs Redis, which shares the projects between them; set redis.url \
         or redis.urlSecret.name, or replicas: 1",
    ),
    ("replicas: 0", "at '/replicas': minimum: got 0, want 1"),
    ("replica: 2", "additional properties 'replica' not allowed"),
    (
        "redis: {url: 'redis://:secret@redis:6379'}",
        "at '/redis/url': 'redis://:secret@redis:6379' does not match pattern",
    ),
    (
        "redis: {url: 'redis://redis:6379', urlSecret: {name: redis}}",
        "redis: set url or urlSecret.name, not both",
    ),
    (
        "redis: {passwordSecret: {name: redis}}",
        "redis.passwordSecret: redis.url is missing",
    ),
    (
        "gitlab: {token: {existingSecret: a, value: b}}",
        "gitlab.token: set existingSecret or value, not both",
    ),
    (
        "gitlab: {token: {existingSecret: ''}}",
        "gitlab.token.existingSecret is missing: create a secret with a token of the scope read_api, and set \
         its name",
    ),
    (
        "config: {}",
        "config: projects and wildcards are both missing; name what to track",
    ),
    (
        "config: {wildcards: [{}], state: {path: /tmp/state.redb}}",
        "config.state.path cannot be set: use persistence",
    ),
    (
        "config: {wildcards: [{}], server: {webhook: {signing_tokens: [whsec_x]}}}",
        "config.server.webhook.signing_tokens cannot be set: they are secrets; use extraEnv with \
         AGE_SERVER_WEBHOOK_SIGNING_TOKENS",
    ),
    (
        "webhook: {enabled: true}",
        "webhook.existingSecret is missing: create a secret with the secret token that GitLab sends, and set \
         its name",
    ),
    (
        "webhook: {ingress: {enabled: true, host: exporter.example.com}}",
        "webhook.ingress: webhook.enabled is false, so that nothing would answer",
    ),
    (
        "extraCA: {configMap: a, secret: b}",
        "extraCA: set configMap or secret, not both",
    ),
];

/// Values with what is missing to be complete.
fn completed(values: &str) -> String {
    let complete = [
        "gitlab: {token: {existingSecret: t}}",
        "config: {wildcards: [{}]}",
    ];
    let is_there = |line: &str| {
        let key = line.split(':').next().unwrap_or_default();
        values.starts_with(&format!("{key}:")) || values.contains(&format!("\n{key}:"))
    };
    let missing = complete.iter().copied().filter(|line| !is_there(line));
    let lines: Vec<&str> = missing.chain([values]).collect();
    lines.join("\n")
}

#[test]
fn what_does_not_fit_together_is_refused_with_a_sentence() {
    let sets: BTreeMap<String, String> = REFUSED
        .iter()
        .map(|(wrong, _)| ((*wrong).to_owned(), completed(wrong)))
        .collect();
    let Some(rendered) = render(&sets) else {
        return;
    };
    for (wrong, sentence) in REFUSED {
        let said = rendered["sets"][wrong]["error"].as_str();
        let said = said.unwrap_or_else(|| panic!("{wrong} is accepted"));
        assert!(said.contains(sentence), "{wrong}: {said}");
    }
}

/// The examples of its README.
#[test]
fn every_example_is_rendered() {
    let name = format!("{}/README.md", super::CHART);
    let blocks = crate::programs::docs::blocks("yaml").into_iter();
    let blocks = blocks.filter(|(document, _)| *document == name);
    let sets: BTreeMap<String, String> = blocks
        .map(|(_, values)| (values.clone(), completed(&values)))
        .collect();
    assert!(sets.len() > 2, "{sets:?}");
    let Some(rendered) = render(&sets) else {
        return;
    };
    for values in sets.keys() {
        let one = &rendered["sets"][values];
        assert!(one["error"].is_null(), "{values}: {}", one["error"]);
        let problems = one["problems"].as_array().map(Vec::len);
        assert_eq!(problems, Some(0), "{values}: {}", one["problems"]);
    }
}

/// Each setting that the chart keeps to itself is one of the exporter's.
#[test]
fn reserved_settings_exist() {
    let helpers = super::read(&format!("{}/templates/_helpers.tpl", super::CHART));
    let (_, reserved) = helpers
        .split_once("define \"age.reserved\" -}}\n")
        .expect("the list");
    let (reserved, _) = reserved.split_once("{{- end }}").expect("its end");
    let schema = amazing_gitlab_exporter::config::json_schema();
    let paths: Vec<&str> = reserved
        .lines()
        .filter_map(|line| line.split_once(": ").map(|(path, _)| path))
        .collect();
    assert!(paths.len() > 10, "{paths:?}");
    for path in paths {
        let pointer = format!("/properties/{}", path.replace('.', "/properties/"));
        assert!(schema.pointer(&pointer).is_some(), "{path}");
    }
}
