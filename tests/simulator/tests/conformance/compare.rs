//! What counts as a difference.

use std::collections::BTreeMap;

use gitlab_simulator::time;
use serde_json::{Map, Value};

use crate::client::Answer;
use crate::records::{Graphql, Rest};

/// Keys that are left out on both sides: they hang on the moment, the machine or the clean-up.
const LEFT_OUT: &[&str] = &[
    "web_url",
    "_links",
    "avatar_url",
    "last_used_at",
    "last_activity_on",
    "last_sign_in_at",
    "current_sign_in_at",
    "runners_token",
    "ip_address",
    "discussion_id",
];

/// Keys whose values the rows do not hold, or that came from a stand-in for Git.
const NOT_IN_ROWS: &[&str] = &[
    "readme_url",
    "merged",
    "protected",
    "labels",
    "force_remove_source_branch",
];

/// Keys of REST bodies that the exporter reads: where they are missing it counts. Of all others only what
/// the simulator shows is compared.
const READ: &[&str] = &[
    "id",
    "iid",
    "name",
    "path",
    "path_with_namespace",
    "username",
    "status",
    "state",
    "ref",
    "sha",
    "source",
    "tag",
    "tier",
    "project_id",
    "created_at",
    "updated_at",
    "started_at",
    "finished_at",
    "duration",
    "queued_duration",
    "coverage",
    "yaml_errors",
    "stage",
    "failure_reason",
    "runner",
    "runner_type",
    "is_shared",
    "description",
    "paused",
    "active",
    "online",
    "contacted_at",
    "version",
    "revision",
    "platform",
    "architecture",
    "enterprise",
    "artifacts",
    "artifacts_file",
    "size",
    "downstream_pipeline",
    "external_url",
    "environment",
    "deployable",
    "merged_at",
    "closed_at",
    "commits",
    "issue_type",
    "scopes",
    "expires_at",
    "granular",
    "revoked",
    "target_branch",
    "source_branch",
    "draft",
    "has_conflicts",
    "author",
    "user_notes_count",
    "reviewers",
    "system",
    "body",
    "approved_by",
    "approved_at",
    "email",
    "author_name",
    "author_email",
    "authored_date",
    "committed_date",
    "parent_ids",
    "stats",
    "additions",
    "deletions",
    "released_at",
    "upcoming_release",
    "key",
    "value",
    "variable_type",
    "total",
    "test_suites",
    "time",
    "count",
    "success",
    "failed",
    "skipped",
    "error",
    "total_time",
    "total_count",
    "success_count",
    "failed_count",
    "skipped_count",
    "error_count",
    "test_cases",
    "execution_time",
    "cron",
    "next_run_at",
    "last_pipeline",
    "default_branch",
    "archived",
    "visibility",
    "last_activity_at",
    "permissions",
    "project_access",
    "group_access",
    "access_level",
    "star_count",
    "forks_count",
    "open_issues_count",
    "statistics",
    "commit_count",
    "repository_size",
    "lfs_objects_size",
    "job_artifacts_size",
    "packages_size",
    "container_registry_size",
    "wiki_size",
    "marked_for_deletion_on",
    "public_jobs",
    "jobs_enabled",
    "merge_requests_enabled",
    "message",
    "error_description",
    "scope",
    "severity",
    "date",
    "default",
];

/// Endpoints whose order is given, though the request names none.
const ORDERED: &[&str] = &[
    "/projects/:id/pipelines",
    "/projects/:id/pipelines/:id/jobs",
    "/projects/:id/pipelines/:id/bridges",
];

struct Comparison {
    found: Vec<String>,
    ordered: bool,
    /// Every key counts.
    strict: bool,
}

impl Comparison {
    fn differ(&mut self, path: &str, ours: &Value, theirs: &Value) {
        let short = |value: &Value| {
            let text = value.to_string();
            match text.char_indices().nth(160) {
                Some((end, _)) => format!("{}…", &text[..end]),
                None => text,
            }
        };
        self.found
            .push(format!("{path}: {} is {}", short(ours), short(theirs)));
    }

    fn values(&mut self, path: &str, ours: &Value, theirs: &Value) {
        match (ours, theirs) {
            (Value::Object(ours), Value::Object(theirs)) => self.objects(path, ours, theirs),
            (Value::Array(mine), Value::Array(other)) => {
                if mine.len() != other.len() {
                    self.found.push(format!(
                        "{path}: {} elements are {}",
                        mine.len(),
                        other.len()
                    ));
                    return;
                }
                let unordered = !self.ordered && path.is_empty() || path.ends_with(".artifacts");
                let (mine, other) = if unordered {
                    (sorted(mine), sorted(other))
                } else {
                    (mine.iter().collect(), other.iter().collect::<Vec<_>>())
                };
                for (place, (mine, other)) in mine.into_iter().zip(other).enumerate() {
                    self.values(&format!("{path}[{place}]"), mine, other);
                }
            }
            (Value::Number(mine), Value::Number(other)) => {
                let (a, b) = (mine.as_f64(), other.as_f64());
                let near = a
                    .zip(b)
                    .is_some_and(|(a, b)| (a - b).abs() < 1e-9 * (1.0 + b.abs()));
                if !near {
                    self.differ(path, ours, theirs);
                }
            }
            _ if ours == theirs => {}
            (Value::String(mine), Value::String(other)) if same_moment(mine, other) => {}
            _ => self.differ(path, ours, theirs),
        }
    }

    fn objects(&mut self, path: &str, ours: &Map<String, Value>, theirs: &Map<String, Value>) {
        let running = theirs
            .get("status")
            .and_then(Value::as_str)
            .is_some_and(|status| status.eq_ignore_ascii_case("running"));
        let strict = self.strict;
        let left_out = |key: &str| {
            LEFT_OUT.contains(&key)
                || NOT_IN_ROWS.contains(&key)
                || key.ends_with("_html")
                || running && matches!(key, "duration" | "queued_duration" | "queuedDuration")
                || strict && key == "locations"
        };
        for (key, mine) in ours {
            let at = format!("{path}.{key}");
            if left_out(key) {
                continue;
            }
            let cursor = matches!(key.as_str(), "endCursor" | "startCursor");
            match theirs.get(key) {
                None => self.found.push(format!("{at}: {mine} is not there")),
                Some(other) if cursor => {
                    if mine.is_null() != other.is_null() {
                        self.differ(&at, mine, other);
                    }
                }
                Some(other) => self.values(&at, mine, other),
            }
        }
        for (key, other) in theirs {
            let counts = self.strict || READ.contains(&key.as_str());
            if counts && !left_out(key) && !ours.contains_key(key) {
                self.found.push(format!("{path}.{key}: missing is {other}"));
            }
        }
    }
}

/// Whether both are times of Git, and the same moment: rows do not keep the offset.
fn same_moment(ours: &str, theirs: &str) -> bool {
    let offset = |text: &str| text.len() == 29 && text.as_bytes()[26] == b':';
    offset(ours)
        && offset(theirs)
        && time::parse(ours).is_some_and(|at| time::parse(theirs) == Some(at))
}

fn sorted(values: &[Value]) -> Vec<&Value> {
    let mut values: Vec<&Value> = values.iter().collect();
    values.sort_by_key(|value| {
        ["id", "name", "email", "file_type"]
            .iter()
            .map(|key| value[key].to_string())
            .collect::<Vec<_>>()
    });
    values
}

pub fn rest(record: &Rest, answer: &Answer) -> Vec<String> {
    let mut comparison = Comparison {
        found: Vec::new(),
        ordered: record.names_an_order() || ORDERED.contains(&record.subject().as_str()),
        strict: false,
    };
    if answer.status != record.status {
        let body = answer.body.to_string();
        let body: String = body.chars().take(200).collect();
        let found = format!("status: {} is {} ({body})", answer.status, record.status);
        return vec![found];
    }
    comparison.values("", &answer.body, &record.body);
    headers(record, answer, &mut comparison.found);
    comparison.found
}

fn headers(record: &Rest, answer: &Answer, found: &mut Vec<String>) {
    for name in [
        "content-type",
        "x-total",
        "x-total-pages",
        "x-page",
        "x-per-page",
        "x-next-page",
        "x-prev-page",
        "retry-after",
        "www-authenticate",
        "location",
    ] {
        let theirs = record.headers.get(name).and_then(Value::as_str);
        let ours = answer.header(name);
        if ours != theirs {
            found.push(format!("header {name}: {ours:?} is {theirs:?}"));
        }
    }
    let etag = record.headers.contains_key("etag");
    if answer.header("etag").is_some() != etag {
        found.push(format!("header etag: there is one: {etag}"));
    }
    let theirs = record.headers.get("link").and_then(Value::as_str);
    let (ours, theirs) = (links(answer.header("link")), links(theirs));
    if ours != theirs {
        found.push(format!("header link: {ours:?} is {theirs:?}"));
    }
}

/// Links by relation; cursors of keyset pages are left out.
fn links(header: Option<&str>) -> BTreeMap<String, String> {
    let links = header.into_iter().flat_map(|header| header.split(", "));
    links
        .filter_map(|link| {
            let (url, relation) = link.split_once(">; rel=")?;
            let url = url.trim_start_matches('<');
            let (path, query) = url.split_once('?').unwrap_or((url, ""));
            let kept: Vec<&str> = query
                .split('&')
                .filter(|part| {
                    let name = part.split('=').next().unwrap_or_default();
                    !matches!(name, "id_after" | "id_before" | "cursor")
                })
                .collect();
            Some((relation.to_owned(), format!("{path}?{}", kept.join("&"))))
        })
        .collect()
}

pub fn graphql(record: &Graphql, answer: &Answer) -> Vec<String> {
    let mut comparison = Comparison {
        found: Vec::new(),
        ordered: true,
        strict: true,
    };
    if answer.status != record.status {
        let body = answer.body.to_string();
        let body: String = body.chars().take(200).collect();
        let found = format!("status: {} is {} ({body})", answer.status, record.status);
        return vec![found];
    }
    comparison.values("", &answer.body, &record.body);
    comparison.found
}
