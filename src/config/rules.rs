//! Rules about several settings together, about files that settings name, and about what is not
//! built yet.

mod labels;
mod redis;

use std::collections::HashMap;
use std::path::Path;

use super::duration;
use super::model::{GitLab, PeopleNames, Settings, Temporality, Webhook};
use super::otlp::{self, ResolvedOtel, Signal};
use super::problem::Problem;
use super::tree::{Data, Node};
use super::web::WebConfig;
use crate::files;
use crate::tls::{Certificates, ClientIdentity};
use crate::types::{signing_key, token_problem};

/// Headers of requests to GitLab that are the client's own, or that say whose the token is.
const OWN_HEADERS: [&str; 15] = [
    "accept",
    "accept-encoding",
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "host",
    "job-token",
    "origin",
    "private-token",
    "sec-websocket-key",
    "sec-websocket-protocol",
    "sec-websocket-version",
    "transfer-encoding",
    "upgrade",
];

/// Checks the whole; `tree` knows the places.
pub(super) fn check(settings: &Settings, otel: &ResolvedOtel, tree: &Node) -> Vec<Problem> {
    let mut rules = Rules {
        tree,
        problems: Vec::new(),
    };
    rules.not_built(settings);
    rules.allowed_hosts(settings);
    rules.web_config(settings.server.web_config_file.as_deref());
    rules.webhook(&settings.server.webhook);
    rules.token(&settings.gitlab);
    rules.ca_file(
        "gitlab.ca_cert_path",
        settings.gitlab.ca_cert_path.as_deref(),
    );
    rules.client_certificate(&settings.gitlab);
    rules.gitlab_headers(&settings.gitlab);
    rules.redis(settings);
    rules.collectors(settings);
    rules.people(settings);
    rules.labels(settings);
    rules.watched(settings);
    rules.otel(settings, otel);
    rules.problems
}

struct Rules<'a> {
    tree: &'a Node,
    problems: Vec<Problem>,
}

impl Rules<'_> {
    fn problem(&self, key: &str, sentence: String) -> Problem {
        Problem::new(self.tree.at(key).map(|node| &node.origin), key, sentence)
    }

    fn report(&mut self, key: &str, sentence: String) {
        let problem = self.problem(key, sentence);
        self.problems.push(problem);
    }

    /// Where a value came from, for a sentence.
    fn place(&self, key: &str) -> String {
        self.tree
            .at(key)
            .map(|node| node.origin.to_string())
            .unwrap_or_default()
    }

    fn not_built(&mut self, settings: &Settings) {
        if settings.server.enable_pprof {
            let sentence = "server.enable_pprof asks for CPU profiles, which a process cannot take of itself safely; \
                            set it to false and profile it from outside, with perf for example";
            self.report("server.enable_pprof", sentence.to_owned());
        }
    }

    fn allowed_hosts(&mut self, settings: &Settings) {
        for (index, host) in settings.server.allowed_hosts.iter().enumerate() {
            let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.:[]".contains(c);
            if host.is_empty() || !host.chars().all(is_name) {
                let key = format!("server.allowed_hosts[{index}]");
                let sentence = format!(
                    "{key} {host:?} is not a host name like exporter.example.com or exporter.example.com:8080"
                );
                self.report(&key, sentence);
            }
        }
    }

    fn web_config(&mut self, path: Option<&Path>) {
        let Some(path) = path else {
            return;
        };
        if let Err(error) = WebConfig::read(path) {
            for problem in error.problems() {
                let sentence = format!("server.web_config_file: {problem}");
                self.report("server.web_config_file", sentence);
            }
        }
    }

    fn webhook(&mut self, webhook: &Webhook) {
        let key = |name: &str| format!("server.webhook.{name}");
        for (index, token) in webhook.secret_tokens.iter().enumerate() {
            if token.expose().trim().is_empty() {
                let key = key(&format!("secret_tokens[{index}]"));
                self.report(&key, format!("{key} is empty"));
            }
        }
        for (index, token) in webhook.signing_tokens.iter().enumerate() {
            if let Err(problem) = signing_key(token.expose()) {
                let key = key(&format!("signing_tokens[{index}]"));
                self.report(&key, format!("{key} {problem}"));
            }
        }
        if let Some(path) = &webhook.secret_token_file {
            let reason = match files::read_text(path, files::MAX_SECRET) {
                Ok(text) if text.trim().is_empty() => Some("it is empty".to_owned()),
                Ok(_) => None,
                Err(reason) => Some(reason),
            };
            if let Some(reason) = reason {
                let key = key("secret_token_file");
                let sentence = format!("{key} {path:?} does not hold a secret token ({reason})");
                self.report(&key, sentence);
            }
        }
        let has_secret = webhook.secret_token_file.is_some() || webhook.secrets().next().is_some();
        if webhook.enabled && !has_secret && !webhook.allow_unauthenticated {
            let sentence = "server.webhook.enabled needs a secret: set server.webhook.secret_token (the variable \
                            AGE_SERVER_WEBHOOK_SECRET_TOKEN) and enter it in GitLab as the webhook's secret token, \
                            or set server.webhook.allow_unauthenticated to true to accept everybody's requests";
            let problem = self.problem(&key("enabled"), sentence.to_owned());
            let problem = problem.and("server.webhook.secret_token");
            self.problems.push(problem);
        }
        if has_secret && webhook.allow_unauthenticated {
            let sentence = "server.webhook.allow_unauthenticated is true although a secret is set; remove one of \
                            them";
            self.report(&key("allow_unauthenticated"), sentence.to_owned());
        }
    }

    fn token(&mut self, gitlab: &GitLab) {
        match (&gitlab.token, &gitlab.token_file) {
            (None, None) => self.problems.push(
                Problem::new(
                    None,
                    "gitlab.token",
                    "gitlab.token is missing; set the variable AGE_GITLAB_TOKEN, or gitlab.token_file to a file \
                     that holds the token"
                        .to_owned(),
                )
                .and("gitlab.token_file"),
            ),
            (Some(_), Some(_)) => {
                let sentence = format!(
                    "gitlab.token_file and gitlab.token ({}) are both set; keep one of them",
                    self.place("gitlab.token")
                );
                let problem = self.problem("gitlab.token_file", sentence).and("gitlab.token");
                self.problems.push(problem);
            }
            (Some(token), None) => {
                if let Some(problem) = token_problem(token.expose()) {
                    self.report("gitlab.token", format!("gitlab.token {problem}"));
                }
            }
            (None, Some(path)) => {
                let reason = match files::read_text(path, files::MAX_SECRET) {
                    Ok(text) => match token_problem(text.trim()) {
                        Some(problem) => format!("its content {problem}"),
                        None => return,
                    },
                    Err(reason) => reason,
                };
                let sentence = format!("gitlab.token_file {path:?} does not hold a token ({reason})");
                self.report("gitlab.token_file", sentence);
            }
        }
    }

    fn ca_file(&mut self, key: &str, path: Option<&Path>) {
        if let Some(path) = path
            && let Err(reason) = Certificates::read(path)
        {
            self.report(
                key,
                format!("{key} {path:?} does not hold certificates ({reason})"),
            );
        }
    }

    fn client_certificate(&mut self, gitlab: &GitLab) {
        let key = "gitlab.client_cert_path";
        match (&gitlab.client_cert_path, &gitlab.client_key_path) {
            (None, None) => {}
            (None, Some(_)) => {
                let sentence = "gitlab.client_key_path is set without gitlab.client_cert_path, the certificate \
                                that the key belongs to";
                let problem = self.problem("gitlab.client_key_path", sentence.to_owned());
                self.problems.push(problem.and(key));
            }
            (Some(path), private_key) => {
                if let Err(reason) = ClientIdentity::read(path, private_key.as_deref()) {
                    let sentence =
                        format!("{key} {path:?} does not hold a usable certificate ({reason})");
                    let problem = self.problem(key, sentence);
                    self.problems.push(problem.and("gitlab.client_key_path"));
                }
            }
        }
    }

    fn gitlab_headers(&mut self, gitlab: &GitLab) {
        for name in gitlab.headers.keys() {
            if OWN_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
                let key = format!("gitlab.headers.{name}");
                let sentence =
                    format!("{key} is a header that the exporter sets itself; remove it");
                self.report(&key, sentence);
            }
        }
    }

    /// Variables may be switched on for all, or for some projects alone.
    fn collectors(&mut self, settings: &Settings) {
        if settings.collectors.variables.regexp.is_some() {
            return;
        }
        let projects = (0..settings.projects.len()).map(|index| format!("projects[{index}]."));
        let wildcards = (0..settings.wildcards.len()).map(|index| format!("wildcards[{index}]."));
        let places = [String::new(), "project_defaults.".to_owned()].into_iter();
        for place in places.chain(projects).chain(wildcards) {
            let key = format!("{place}collectors.variables.enabled");
            if self.tree.at(&key).map(|node| &node.data) == Some(&Data::Bool(true)) {
                let sentence = format!(
                    "{key} needs collectors.variables.regexp, the keys to export: their values \
                     become labels"
                );
                let problem = self.problem(&key, sentence);
                self.problems
                    .push(problem.and("collectors.variables.regexp"));
            }
        }
    }

    fn people(&mut self, settings: &Settings) {
        let labels = &settings.labels;
        if labels.people == PeopleNames::Hash && labels.people_hash_key.is_none() {
            let sentence = "labels.people hash needs labels.people_hash_key, without which anyone could compute whose \
                            hash it is; set the variable AGE_LABELS_PEOPLE_HASH_KEY to a long random text";
            let problem = self.problem("labels.people", sentence.to_owned());
            self.problems.push(problem.and("labels.people_hash_key"));
        }
    }

    fn watched(&mut self, settings: &Settings) {
        if settings.projects.is_empty() && settings.wildcards.is_empty() {
            let sentence = "projects and wildcards are both empty, so there is nothing to watch; name projects with \
                            projects: [{name: group/project}], or watch every project that the token can see with \
                            wildcards: [{}]";
            self.problems
                .push(Problem::new(None, "projects", sentence.to_owned()).and("wildcards"));
        }
        for (index, wildcard) in settings.wildcards.iter().enumerate() {
            if wildcard.membership && wildcard.owner.is_some() {
                let key = format!("wildcards[{index}].membership");
                self.report(
                    &key,
                    format!(
                        "{key} cannot be combined with wildcards[{index}].owner; leave out one of them"
                    ),
                );
            }
        }
        let mut first = HashMap::new();
        for (index, project) in settings.projects.iter().enumerate() {
            let key = format!("projects[{index}].name");
            // GitLab's paths are case-insensitive.
            if let Some(other) = first.insert(project.name.to_lowercase(), key.clone()) {
                let sentence = format!(
                    "{key} {:?} is listed twice; it already stands at {}",
                    project.name,
                    self.place(&other)
                );
                self.report(&key, sentence);
            }
        }
    }

    fn otel(&mut self, settings: &Settings, resolved: &ResolvedOtel) {
        if settings.otel.metrics.temporality == Some(Temporality::Delta) {
            let sentence = format!("otel.metrics.temporality {}", otlp::only_cumulative());
            self.report("otel.metrics.temporality", sentence);
        }
        let targets = [
            (
                Signal::Metrics,
                &resolved.metrics,
                settings.otel.metrics.otlp.ca_cert_path.is_some(),
            ),
            (
                Signal::Traces,
                &resolved.traces,
                settings.otel.traces.otlp.ca_cert_path.is_some(),
            ),
            (
                Signal::Logs,
                &resolved.logs,
                settings.otel.logs.otlp.ca_cert_path.is_some(),
            ),
        ];
        for (signal, target, is_ours) in targets {
            let path = target
                .as_ref()
                .and_then(|target| target.ca_cert_path.as_deref());
            let key = if is_ours {
                format!("otel.{}.ca_cert_path", signal.as_str())
            } else {
                "OTEL_EXPORTER_OTLP_CERTIFICATE".to_owned()
            };
            self.ca_file(&key, path);
        }
        let window = settings.telemetry.widest_birth_window();
        if let Some(metrics) = &resolved.metrics
            && window < metrics.interval * 2
        {
            let sentence = format!(
                "telemetry.birth_window must be at least twice the push interval (otel.metrics.interval, {}), not {}",
                duration::format(metrics.interval),
                duration::format(window)
            );
            let problem = self
                .problem("telemetry.birth_window", sentence)
                .and("otel.metrics.interval");
            self.problems.push(problem);
        }
    }
}
