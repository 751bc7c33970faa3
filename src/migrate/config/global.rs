//! What does not belong to a project: logging, server, GitLab, intervals.

use super::old::{OldFile, Read, Settings, place};
use super::output::{Part, text};
use super::{NO_HEALTH, NO_REDIS, Writer};
use crate::migrate::NoteKind;

/// Settings that are the same, under another name or under their own.
pub(super) const SAME: [(&str, &str); 8] = [
    ("log.format", "log.format"),
    ("server.listen_address", "server.listen_address"),
    ("server.webhook.enabled", "server.webhook.enabled"),
    ("gitlab.url", "gitlab.url"),
    ("gitlab.enable_tls_verify", "gitlab.enable_tls_verify"),
    (
        "gitlab.maximum_requests_per_second",
        "gitlab.max_requests_per_second",
    ),
    (
        "gitlab.burstable_requests_per_second",
        "gitlab.burst_requests_per_second",
    ),
    (
        "pull.projects_from_wildcards.interval_seconds",
        "discovery.interval",
    ),
];

const NO_TTL: &str = "not needed: what no longer exists is removed with the next poll";
const GARBAGE: &str = "not needed: series of what no longer exists are removed with the next poll";
const FOUND_WITH_PIPELINES: &str = "not needed: refs are found with their pipelines";
const ON_INIT: &str = "not needed: everything is read once after the start";

/// Settings without a counterpart, and why.
pub(super) const LEFT: &[(&str, &str)] = &[
    (
        "server.metrics.enable_openmetrics_encoding",
        "not needed: each scrape negotiates the format",
    ),
    ("redis.url", NO_REDIS),
    ("redis.project_ttl", NO_TTL),
    ("redis.ref_ttl", NO_TTL),
    ("redis.metric_ttl", NO_TTL),
    ("gitlab.health_url", NO_HEALTH),
    ("gitlab.enable_health_check", NO_HEALTH),
    (
        "gitlab.maximum_jobs_queue_size",
        "not needed: no task is dropped",
    ),
    ("pull.projects_from_wildcards.on_init", ON_INIT),
    ("pull.environments_from_projects.on_init", ON_INIT),
    ("pull.refs_from_projects.on_init", ON_INIT),
    ("pull.metrics.on_init", ON_INIT),
    ("pull.refs_from_projects.scheduled", FOUND_WITH_PIPELINES),
    (
        "pull.refs_from_projects.interval_seconds",
        FOUND_WITH_PIPELINES,
    ),
    ("garbage_collect.projects.on_init", GARBAGE),
    ("garbage_collect.projects.scheduled", GARBAGE),
    ("garbage_collect.projects.interval_seconds", GARBAGE),
    ("garbage_collect.environments.on_init", GARBAGE),
    ("garbage_collect.environments.scheduled", GARBAGE),
    ("garbage_collect.environments.interval_seconds", GARBAGE),
    ("garbage_collect.refs.on_init", GARBAGE),
    ("garbage_collect.refs.scheduled", GARBAGE),
    ("garbage_collect.refs.interval_seconds", GARBAGE),
    ("garbage_collect.metrics.on_init", GARBAGE),
    ("garbage_collect.metrics.scheduled", GARBAGE),
    ("garbage_collect.metrics.interval_seconds", GARBAGE),
];

/// Writes what does not belong to a project.
pub(super) fn migrate(old: &OldFile, new: &mut Writer) {
    let global = &old.global;
    log_level(global, new);
    for (from, to) in SAME {
        match to {
            // A duration needs its unit.
            "discovery.interval" => seconds(global, from, to, new),
            _ => new.same(global, from, to),
        }
    }
    secrets(global, new);
    intervals(global, new);
    for key in [
        "pull.projects_from_wildcards.scheduled",
        "pull.environments_from_projects.scheduled",
        "pull.metrics.scheduled",
    ] {
        let why = match global.bool(key) {
            Some(false) => {
                "polling cannot be switched off; with webhooks, reliable projects are polled less often \
                 (server.webhook.poll_factor, docs/live.md)"
            }
            _ => "not needed: everything is polled",
        };
        new.leave(global, key, why);
    }
    let always_on = match global.bool("server.metrics.enabled") {
        Some(false) => {
            "/metrics cannot be switched off; it can listen on 127.0.0.1 alone (server.listen_address)"
        }
        _ => "not needed: /metrics is always on",
    };
    new.leave(global, "server.metrics.enabled", always_on);
    let profiles = match global.bool("server.enable_pprof") {
        Some(true) => "CPU profiles are not available; use an external profiler (docs/security.md)",
        _ => "not needed: there are no profiles",
    };
    new.leave(global, "server.enable_pprof", profiles);
    for (key, why) in LEFT {
        new.leave(global, key, why);
    }
    traces(global, new);
}

fn log_level(global: &Settings, new: &mut Writer) {
    match global.text("log.level") {
        Some("warning") => {
            let place = place("log.level", global.line("log.level"));
            new.put("log.level", "warn".to_owned(), &format!("{place}: warning"));
        }
        _ => new.same(global, "log.level", "log.level"),
    }
}

fn seconds(global: &Settings, from: &'static str, to: &str, new: &mut Writer) {
    if let Some(seconds) = global.whole(from) {
        let place = place(from, global.line(from));
        new.put(to, format!("{seconds}s"), &place);
    }
}

/// Secrets are taken from variables: nothing is copied.
fn secrets(global: &Settings, new: &mut Writer) {
    for (key, sentence) in [
        (
            "gitlab.token",
            "not copied, as it is a secret: set the variable AGE_GITLAB_TOKEN, or gitlab.token_file to a file that \
             holds it; the scope read_api is enough",
        ),
        (
            "server.webhook.secret_token",
            "not copied, as it is a secret: set the variable AGE_SERVER_WEBHOOK_SECRET_TOKEN, or \
             server.webhook.secret_token_file to a file that holds it",
        ),
    ] {
        if global.is_secret(key) {
            let place = place(key, global.line(key));
            new.report.add(NoteKind::ToDo, place, sentence);
        }
    }
    let is_on = global.bool("server.webhook.enabled") == Some(true);
    if is_on && !global.is_secret("server.webhook.secret_token") {
        let sentence =
            "webhooks need a secret: set the variable to the secret token that GitLab sends";
        new.report.add(
            NoteKind::ToDo,
            "the variable AGE_SERVER_WEBHOOK_SECRET_TOKEN",
            sentence,
        );
    }
}

/// Default of `collectors.environments.interval_seconds`.
const ENVIRONMENTS: i64 = 300;

fn intervals(global: &Settings, new: &mut Writer) {
    let (metrics, environments) = (
        "pull.metrics.interval_seconds",
        "pull.environments_from_projects.interval_seconds",
    );
    let of_metrics = global.whole(metrics);
    if let Some(seconds) = of_metrics {
        let comment = place(metrics, global.line(metrics));
        for collector in ["pipelines", "jobs", "test_reports", "variables"] {
            let path = format!("collectors.{collector}.interval_seconds");
            new.part
                .set(&path, Part::Value(seconds.to_string(), comment.clone()));
        }
        new.migrated += 1;
        let sentence = "the interval applies to projects in which pipelines move; quiet ones are polled less often \
                        (collectors.pipelines.quiet_interval)";
        new.report.add(NoteKind::Changed, comment, sentence);
    }
    let of_list = global.whole(environments);
    let shortest = [of_metrics, of_list].into_iter().flatten().min();
    if let Some(seconds) = shortest {
        let key = match of_list == Some(seconds) {
            true => environments,
            false => metrics,
        };
        let comment = place(key, global.line(key));
        let written = match of_metrics {
            Some(_) => seconds,
            // The old one read what it knew every 30 seconds.
            None => seconds.min(ENVIRONMENTS),
        };
        new.put(
            "collectors.environments.interval_seconds",
            written.to_string(),
            &comment,
        );
        if of_list.is_some_and(|list| list != written) {
            let sentence =
                "environments are listed and read at one interval, the shorter of the two";
            let place = place(environments, global.line(environments));
            new.report.add(NoteKind::Changed, place, sentence);
        }
    }
}

fn traces(global: &Settings, new: &mut Writer) {
    for key in ["opentelemetry.grpc_endpoint", "otlp.grpc_endpoint"] {
        let Some(endpoint) = global.text(key).filter(|endpoint| !endpoint.is_empty()) else {
            continue;
        };
        let place = place(key, global.line(key));
        let address = match endpoint.contains("://") {
            true => endpoint.to_owned(),
            false => format!("http://{endpoint}"),
        };
        new.put("otel.traces.endpoint", text(&address), &place);
        let protocol = Part::Value("grpc".to_owned(), String::new());
        new.part.set("otel.traces.protocol", protocol);
        let sentence =
            "traces alone are sent there, as before; otel.metrics.endpoint sends metrics as well";
        new.report.add(NoteKind::Changed, place, sentence);
    }
}
