//! What the body of a webhook means: which project is to be read for what.
//!
//! Bodies are photographs of another moment, built when GitLab's worker ran, and hold the values of
//! pipeline variables: nothing is taken from them but ids, names of refs that are compared at once, and times.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::UnixMillis;
use crate::facts::Reading;
use crate::types::ProjectId;

/// Kinds that are known by name; all others are `other`.
pub const KINDS: [&str; 22] = [
    "access_token",
    "build",
    "deployment",
    "group_create",
    "group_destroy",
    "group_rename",
    "issue",
    "merge_request",
    "note",
    "pipeline",
    "project_create",
    "project_destroy",
    "project_rename",
    "project_transfer",
    "project_update",
    "push",
    "release",
    "repository_update",
    "subgroup_create",
    "subgroup_destroy",
    "tag_push",
    OTHER,
];

/// The kind of what is none of the others.
pub const OTHER: &str = "other";

/// Git's name for no commit.
const NO_COMMIT: &str = "0000000000000000000000000000000000000000";

/// An event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its kind: one of [`KINDS`].
    pub kind: &'static str,
    /// What is to be done.
    pub meaning: Meaning,
}

/// What an event says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Something moved in a project.
    Moved {
        /// The project.
        project: ProjectId,
        /// What it is to be read for.
        readings: &'static [Reading],
        /// What moved: a pipeline's id, a merge request's number, a deployment's id.
        subject: Option<u64>,
        /// GitLab's time of the event, where it is one of this change.
        at: Option<UnixMillis>,
    },
    /// A project or group was created, renamed, moved, changed or removed.
    Listed,
    /// Nothing that is measured.
    Nothing,
}

/// The body is no JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body is not JSON")]
pub struct NotJson;

/// Says what a body means. A custom template makes it any JSON: what has no known kind means nothing.
///
/// # Errors
/// When it is no JSON.
pub fn parse(body: &[u8]) -> Result<Event, NotJson> {
    let body: Lenient<Body> = serde_json::from_slice(body).map_err(|_| NotJson)?;
    Ok(body.value().map_or(NOTHING, |body| event(&body)))
}

const NOTHING: Event = Event {
    kind: OTHER,
    meaning: Meaning::Nothing,
};

/// A value, where it has the type that is expected.
#[derive(Deserialize)]
#[serde(untagged)]
enum Lenient<T> {
    Value(T),
    Other(IgnoredAny),
}

impl<T> Lenient<T> {
    fn value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Other(_) => None,
        }
    }

    const fn get(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Other(_) => None,
        }
    }
}

impl<T> Default for Lenient<T> {
    fn default() -> Self {
        Self::Other(IgnoredAny)
    }
}

/// The fields of all kinds of events that are read.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Body {
    object_kind: Lenient<String>,
    event_name: Lenient<String>,
    project: Lenient<Identified>,
    project_id: Lenient<u64>,
    object_attributes: Lenient<Attributes>,
    merge_request: Lenient<Identified>,
    build_status: Lenient<String>,
    build_created_at: Lenient<String>,
    build_started_at: Lenient<String>,
    build_finished_at: Lenient<String>,
    pipeline_id: Lenient<u64>,
    deployment_id: Lenient<u64>,
    status_changed_at: Lenient<String>,
    after: Lenient<String>,
    changes: Lenient<Vec<Change>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Identified {
    id: Lenient<u64>,
    iid: Lenient<u64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Attributes {
    id: Lenient<u64>,
    iid: Lenient<u64>,
    status: Lenient<String>,
    finished_at: Lenient<String>,
    target_project_id: Lenient<u64>,
    actioned_at: Lenient<String>,
    updated_at: Lenient<String>,
    noteable_type: Lenient<String>,
    r#type: Lenient<String>,
}

/// One ref of a push.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Change {
    after: Lenient<String>,
}

fn event(body: &Body) -> Event {
    let name = body.object_kind.get().or(body.event_name.get());
    let kind = name.and_then(|name| KINDS.into_iter().find(|kind| kind == name));
    let kind = kind.unwrap_or(OTHER);
    Event {
        kind,
        meaning: meaning(kind, body).unwrap_or(Meaning::Nothing),
    }
}

fn meaning(kind: &str, body: &Body) -> Option<Meaning> {
    let nothing = Attributes::default();
    let attributes = body.object_attributes.get().unwrap_or(&nothing);
    let project = body.project.get();
    let project = project.and_then(|project| number(&project.id));
    let project = project.or_else(|| number(&body.project_id));
    let moved = |readings, subject, at| {
        Some(Meaning::Moved {
            project: ProjectId(project?),
            readings,
            subject,
            at,
        })
    };
    match kind {
        "pipeline" => {
            // After a retry the old end is still in there.
            let is_over = attributes
                .status
                .get()
                .is_some_and(|status| is_over(status));
            let at = time(&attributes.finished_at).filter(|_| is_over);
            moved(&[Reading::ChangeFeed], number(&attributes.id), at)
        }
        "build" => {
            let at = match body.build_status.get().map(String::as_str) {
                Some("running") => time(&body.build_started_at),
                Some("created" | "pending") => time(&body.build_created_at),
                _ => time(&body.build_finished_at),
            };
            moved(&[Reading::ChangeFeed], number(&body.pipeline_id), at)
        }
        "deployment" => moved(
            &[Reading::Environments, Reading::Dora],
            number(&body.deployment_id),
            time(&body.status_changed_at),
        ),
        "merge_request" => Some(Meaning::Moved {
            project: ProjectId(number(&attributes.target_project_id).or(project)?),
            readings: &[Reading::MergeRequests],
            subject: number(&attributes.iid),
            // `updated_at` stands still on approvals.
            at: time(&attributes.actioned_at).or_else(|| time(&attributes.updated_at)),
        }),
        "note" => {
            let merge_request = body.merge_request.get();
            let subject = merge_request.and_then(|one| number(&one.iid));
            match attributes.noteable_type.get().map(String::as_str) {
                Some("MergeRequest") => {
                    let at = time(&attributes.updated_at);
                    moved(&[Reading::MergeRequests], subject, at)
                }
                _ => None,
            }
        }
        // Incidents are what DORA's time to restore is computed from.
        "issue" => match attributes.r#type.get().map(String::as_str) {
            Some("Incident") => {
                let at = time(&attributes.updated_at);
                moved(&[Reading::Dora], number(&attributes.iid), at)
            }
            _ => None,
        },
        "push" | "tag_push" | "repository_update" => {
            let changes = body.changes.get().map(Vec::as_slice).unwrap_or_default();
            let mut after = changes.iter().map(|change| &change.after);
            let is_gone = |after: &Lenient<String>| after.get().is_some_and(|it| it == NO_COMMIT);
            // What is new in a repository shows with its first pipeline.
            let readings: &[Reading] = match is_gone(&body.after) || after.any(is_gone) {
                true => &[Reading::Refs, Reading::Repository],
                false => &[Reading::Repository],
            };
            moved(readings, None, None)
        }
        "release" => moved(&[Reading::Repository], None, None),
        kind if is_listing(kind) => Some(Meaning::Listed),
        _ => None,
    }
}

/// Whether a kind changes which projects there are.
fn is_listing(kind: &str) -> bool {
    ["project_", "group_", "subgroup_"]
        .into_iter()
        .any(|prefix| kind.starts_with(prefix))
}

fn is_over(status: &str) -> bool {
    matches!(status, "success" | "failed" | "canceled" | "skipped")
}

fn number(value: &Lenient<u64>) -> Option<u64> {
    value.get().copied()
}

fn time(value: &Lenient<String>) -> Option<UnixMillis> {
    UnixMillis::parse(value.get()?)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::Path;

    use super::*;

    /// A file of recorded webhooks; none, with a line that says so, where they are not at hand.
    pub(crate) fn shared(name: &str) -> Option<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/truth/webhooks");
        match std::fs::read(folder.join(name)) {
            Ok(content) => Some(content),
            Err(error) => {
                println!("skipped: ../shared/truth/webhooks/{name}: {error}");
                None
            }
        }
    }

    fn read(body: &serde_json::Value) -> Event {
        parse(body.to_string().as_bytes()).unwrap()
    }

    fn moved(
        project: u64,
        readings: &'static [Reading],
        subject: Option<u64>,
        at: Option<&str>,
    ) -> Meaning {
        Meaning::Moved {
            project: ProjectId(project),
            readings,
            subject,
            at: at.map(|at| UnixMillis::parse(at).unwrap()),
        }
    }

    #[test]
    fn each_recorded_webhook_says_what_it_is_about() {
        let Some(index) = shared("INDEX.tsv") else {
            return;
        };
        let index = String::from_utf8(index).unwrap();
        let mut read = 0;
        for line in index.lines().skip(1) {
            let mut columns = line.split('\t');
            let (name, kind) = (columns.next().unwrap(), columns.nth(1).unwrap());
            let body = shared(name).unwrap();
            let event = parse(&body).unwrap_or_else(|error| panic!("{name}: {error}"));
            let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
            let has_project = [
                "/project/id",
                "/project_id",
                "/object_attributes/target_project_id",
            ]
            .iter()
            .any(|path| json.pointer(path).is_some_and(serde_json::Value::is_u64));
            let is_known = KINDS.contains(&kind);
            assert_eq!(event.kind, if is_known { kind } else { OTHER }, "{name}");
            let is_moved = matches!(event.meaning, Meaning::Moved { .. });
            match kind {
                "pipeline" | "build" | "deployment" | "merge_request" | "push" | "tag_push"
                | "release" => assert_eq!(is_moved, has_project, "{name}"),
                "note" => assert_eq!(is_moved, name.contains("merge-request"), "{name}"),
                kind if kind.contains("create") => {
                    assert_eq!(event.meaning, Meaning::Listed, "{name}");
                }
                _ => assert_eq!(event.meaning, Meaning::Nothing, "{name}"),
            }
            read += 1;
        }
        assert!(read > 50, "{read}");
    }

    /// What the fuzz target `webhook` holds of each input.
    fn holds(body: &[u8]) -> Option<Event> {
        let event = parse(body).ok()?;
        assert!(KINDS.contains(&event.kind));
        if let Meaning::Moved {
            project, readings, ..
        } = event.meaning
        {
            assert!(!readings.is_empty());
            let text: serde_json::Value = serde_json::from_slice(body).unwrap();
            assert!(text.to_string().contains(&project.to_string()));
        }
        Some(event)
    }

    #[test]
    fn every_seed_of_webhooks_is_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/webhook");
        let mut kinds = std::collections::BTreeSet::new();
        for seed in std::fs::read_dir(folder).unwrap() {
            let body = std::fs::read(seed.unwrap().path()).unwrap();
            kinds.extend(holds(&body).map(|event| event.kind));
        }
        assert!(kinds.len() >= 7, "{kinds:?}");
    }

    proptest::proptest! {
        #[test]
        fn any_body_is_refused_ignored_or_names_its_project(
            kind in proptest::sample::select(&KINDS[..]),
            project in proptest::num::u64::ANY,
            text in ".{0,40}",
            cut in 0_usize..200,
        ) {
            let body = serde_json::json!({
                "object_kind": kind, "project": {"id": project}, "after": text.clone(),
                "object_attributes": {"id": project, "status": text.clone(), "type": "Incident",
                    "finished_at": text, "noteable_type": "MergeRequest"},
            });
            let body = body.to_string().into_bytes();
            holds(&body);
            holds(&body[..cut.min(body.len())]);
        }
    }

    #[test]
    fn ids_and_times_are_those_of_the_subject() {
        for (name, meaning) in [
            (
                "pipeline--pipeline--client-go.json",
                moved(
                    1,
                    &[Reading::ChangeFeed],
                    Some(31),
                    Some("2016-08-12T15:26:29Z"),
                ),
            ),
            (
                "build--job--client-go.json",
                moved(
                    31_537_070,
                    &[Reading::ChangeFeed],
                    Some(743_121_198),
                    Some("2023-01-10T13:50:54Z"),
                ),
            ),
            (
                "deployment--deployment--client-go.json",
                moved(
                    30,
                    &[Reading::Environments, Reading::Dora],
                    Some(15),
                    Some("2021-04-28T19:50:00Z"),
                ),
            ),
            (
                "merge-request--complete-payload-example--docs.json",
                moved(
                    2,
                    &[Reading::MergeRequests],
                    Some(16),
                    Some("2026-01-16T05:56:26Z"),
                ),
            ),
            (
                "note--comment-merge-request--gopl.json",
                moved(
                    5,
                    &[Reading::MergeRequests],
                    Some(1),
                    Some("2015-05-17T18:21:36Z"),
                ),
            ),
            (
                "push--push--client-go.json",
                moved(15, &[Reading::Repository], None, None),
            ),
        ] {
            let Some(body) = shared(name) else {
                return;
            };
            assert_eq!(parse(&body).unwrap().meaning, meaning, "{name}");
        }
    }

    #[test]
    fn the_end_of_a_run_that_goes_on_again_is_no_time_of_the_event() {
        let pipeline = |status: &str| {
            let attributes = serde_json::json!({
                "id": 7, "status": status, "finished_at": "2026-11-30 08:00:52 UTC",
            });
            read(&serde_json::json!({
                "object_kind": "pipeline", "project": {"id": 1}, "object_attributes": attributes,
            }))
        };
        let at = "2026-11-30T08:00:52Z";
        let feed: &'static [Reading] = &[Reading::ChangeFeed];
        assert_eq!(
            pipeline("success").meaning,
            moved(1, feed, Some(7), Some(at))
        );
        assert_eq!(pipeline("running").meaning, moved(1, feed, Some(7), None));
        assert_eq!(pipeline("manual").meaning, moved(1, feed, Some(7), None));
    }

    #[test]
    fn a_ref_that_was_deleted_has_refs_read() {
        let push = |kind: &str, after: &str| {
            let event = read(&serde_json::json!({
                "object_kind": kind, "project_id": 3, "ref": "refs/heads/x", "after": after,
            }));
            event.meaning
        };
        let gone = moved(3, &[Reading::Refs, Reading::Repository], None, None);
        assert_eq!(push("push", NO_COMMIT), gone);
        assert_eq!(push("tag_push", NO_COMMIT), gone);
        assert_eq!(
            push("push", &"a".repeat(40)),
            moved(3, &[Reading::Repository], None, None)
        );
        // The system hook names all refs of a push in one event.
        let many = serde_json::json!({
            "event_name": "repository_update", "project_id": 3,
            "changes": [{"after": "a".repeat(40)}, {"after": NO_COMMIT}],
        });
        let many = read(&many);
        assert_eq!((many.kind, many.meaning), ("repository_update", gone));
    }

    #[test]
    fn projects_and_groups_that_change_have_the_list_read() {
        for name in [
            "project_rename",
            "project_destroy",
            "group_rename",
            "subgroup_create",
        ] {
            let event = read(&serde_json::json!({"event_name": name, "project_id": 9}));
            assert_eq!((event.kind, event.meaning), (name, Meaning::Listed));
        }
    }

    #[test]
    fn incidents_are_issues_that_count() {
        let issue = |kind: &str| {
            let attributes = serde_json::json!({"iid": 4, "type": kind});
            read(&serde_json::json!({
                "object_kind": "issue", "project": {"id": 1}, "object_attributes": attributes,
            }))
        };
        assert_eq!(
            issue("Incident").meaning,
            moved(1, &[Reading::Dora], Some(4), None)
        );
        assert_eq!(issue("Issue").meaning, Meaning::Nothing);
    }

    #[test]
    fn what_is_wrong_or_unknown_means_nothing() {
        for body in [
            r#"{}"#,
            r#"[]"#,
            r#""pipeline""#,
            r#"{"object_kind": 5, "project": {"id": 1}}"#,
            r#"{"object_kind": "pipeline"}"#,
            r#"{"object_kind": "pipeline", "project": "x", "project_id": -1}"#,
            r#"{"object_kind": "pipeline", "project": {"id": "1"}}"#,
            r#"{"object_kind": "pipeline", "project": {"id": 1e300}}"#,
            r#"{"object_kind": "merge_request", "object_attributes": []}"#,
            r#"{"object_kind": "wiki_page", "project": {"id": 1}}"#,
            r#"{"text": "a template of its own"}"#,
        ] {
            assert_eq!(
                parse(body.as_bytes()).unwrap().meaning,
                Meaning::Nothing,
                "{body}"
            );
        }
        let half = r#"{"object_kind": "pipeline", "project": {"id": 1}, "object_attributes": 7}"#;
        let half = parse(half.as_bytes()).unwrap().meaning;
        assert_eq!(half, moved(1, &[Reading::ChangeFeed], None, None));
        for body in ["", "{", "payload=%7B%7D", "\u{0}", &"[".repeat(100_000)] {
            assert_eq!(parse(body.as_bytes()), Err(NotJson));
        }
    }
}
