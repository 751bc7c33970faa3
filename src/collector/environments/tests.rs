use std::collections::BTreeMap;

use super::*;
use crate::config::{Labels, PeopleNames, ProjectSettings};
use crate::gitlab::model::{DeploymentOrigin, Environment, User};
use crate::types::{JobId, ProjectId};

struct Lab {
    memory: EnvironmentsMemory,
    settings: ProjectSettings,
    labels: Labels,
}

impl Lab {
    fn new() -> Self {
        Self {
            memory: EnvironmentsMemory::default(),
            settings: ProjectSettings::default(),
            labels: Labels::default(),
        }
    }

    fn poll(&mut self, now: i64, read: &Deployments) -> Measures {
        let subject = Subject {
            id: ProjectId(1),
            project: &"group/project".into(),
            paths: &BTreeMap::new(),
            settings: &self.settings,
            max_pipelines_per_ref: 1,
            refs: &Default::default(),
            tier: crate::gitlab::model::Known::Unread,
            now: UnixSeconds(now),
        };
        measure(subject, &People::new(&self.labels), read, &mut self.memory)
    }
}

fn environment(id: u64, name: &str) -> Environment {
    Environment {
        id,
        name: name.into(),
        tier: "production".into(),
        state: "available".into(),
        external_url: None,
    }
}

fn deployment(id: u64, status: &str, created: i64, end: Option<i64>) -> Deployment {
    Deployment {
        id,
        environment: 1,
        environment_name: "production".into(),
        iid: None,
        sha: format!("sha-{id}").into(),
        status: status.into(),
        created_at: UnixSeconds(created),
        updated_at: UnixSeconds(end.unwrap_or(created)),
        started_at: (end.is_some() || status == "running").then_some(UnixSeconds(created)),
        finished_at: end.map(UnixSeconds),
        duration: end.map(|_| 7.0),
        origin: Default::default(),
    }
}

fn read(floor: Option<i64>, next: i64, deployments: Vec<Deployment>) -> Deployments {
    Deployments {
        environments: Some(vec![environment(1, "production")]),
        deployments,
        floor: floor.map(UnixSeconds),
        next_floor: UnixSeconds(next),
        behind: BTreeMap::new(),
        tip: None,
        asked: BTreeSet::new(),
    }
}

fn events(measures: &Measures) -> (usize, usize) {
    let of = |desc: &crate::catalogue::Desc| {
        let events = measures.measured.events.iter();
        events.filter(|event| event.desc.name == desc.name).count()
    };
    (
        of(&metric::DEPLOYMENT_COUNT.desc),
        of(&metric::DEPLOYMENT_DURATION.desc),
    )
}

fn state(measures: &Measures, name: &str) -> Vec<f64> {
    let states = measures.measured.states.iter();
    states
        .filter(|state| state.desc.name == name)
        .map(|state| state.value)
        .collect()
}

#[test]
fn history_has_states_and_is_not_counted() {
    let mut lab = Lab::new();
    let old = vec![deployment(5, "success", 10, Some(20))];
    let seen = lab.poll(1000, &read(None, 1000, old));
    assert_eq!(events(&seen), (0, 0));
    assert_eq!(seen.measured.initializations, []);
    assert_eq!(
        state(&seen, "age_environment_behind_duration_seconds"),
        [980.0]
    );
    assert_eq!(
        state(&seen, "age_environment_last_deployment_timestamp"),
        [20.0]
    );
    assert_eq!(state(&seen, "age_environment_deployment_status"), [1.0]);
    assert_eq!(state(&seen, "age_environment_info"), [1.0]);
    assert!(state(&seen, "age_environment_behind_commits").is_empty());
}

#[test]
fn events_count_once_however_often_they_are_read() {
    let mut lab = Lab::new();
    lab.poll(1000, &read(None, 1000, Vec::new()));
    let running = deployment(6, "running", 1010, None);
    let seen = lab.poll(1020, &read(Some(1000), 1000, vec![running.clone()]));
    assert_eq!(events(&seen), (1, 0));
    let ended = deployment(6, "success", 1010, Some(1030));
    let seen = lab.poll(1040, &read(Some(1000), 1000, vec![ended.clone()]));
    assert_eq!(events(&seen), (0, 1));
    let seen = lab.poll(1050, &read(Some(1000), 1200, vec![ended.clone()]));
    assert_eq!(events(&seen), (0, 0));
    assert!(
        lab.memory.claims.is_empty(),
        "claims are bounded by the overlap"
    );
    let seen = lab.poll(1400, &read(Some(1200), 1200, vec![ended]));
    assert_eq!(events(&seen), (0, 0), "touched long after it was counted");
}

#[test]
fn one_that_waited_long_is_observed_when_it_ends() {
    let mut lab = Lab::new();
    lab.poll(1000, &read(None, 1000, Vec::new()));
    let blocked = deployment(6, "blocked", 1010, None);
    let seen = lab.poll(1020, &read(Some(1000), 1000, vec![blocked]));
    assert_eq!(events(&seen), (0, 0), "it may never start");
    lab.poll(5000, &read(Some(4000), 4000, Vec::new()));
    let mut ended = deployment(6, "failed", 1010, Some(5010));
    ended.started_at = Some(UnixSeconds(5001));
    let seen = lab.poll(5020, &read(Some(4000), 4900, vec![ended]));
    assert_eq!(events(&seen), (1, 1));
    assert!(state(&seen, "age_environment_behind_duration_seconds").is_empty());
}

/// The states of a metric by status.
fn by_status(measures: &Measures, name: &str) -> Vec<(String, f64)> {
    let states = measures.measured.states.iter();
    states
        .filter(|state| state.desc.name == name)
        .map(|state| (state.labels[2].to_string(), state.value))
        .collect()
}

/// A manual job of production leaves a deployment with each pipeline.
#[test]
fn what_waits_is_no_state_of_its_environment() {
    let (status, waiting) = (
        "age_environment_deployment_status",
        "age_environment_deployments_waiting",
    );
    let shown = |status: &str, count| (status.to_owned(), count);
    let mut lab = Lab::new();
    let old = vec![deployment(5, "success", 10, Some(20))];
    lab.poll(1000, &read(None, 1000, old));
    let mut canceled = deployment(6, "canceled", 1001, Some(1002));
    canceled.started_at = None;
    let waits = ["blocked", "created", "blocked", "skipped"].iter().zip(7..);
    let waits = waits.map(|(status, id)| deployment(id, status, 1003, None));
    let all = std::iter::once(canceled).chain(waits).collect();
    let seen = lab.poll(1010, &read(Some(1000), 1000, all));
    assert_eq!(events(&seen), (0, 0));
    assert_eq!(by_status(&seen, status), [shown("success", 1.0)]);
    let counts = [
        shown("blocked", 2.0),
        shown("created", 1.0),
        shown("skipped", 1.0),
    ];
    assert_eq!(by_status(&seen, waiting), counts);
    // The second of them is played: what was made before it is overtaken.
    let mut played = deployment(8, "running", 1003, None);
    played.started_at = Some(UnixSeconds(1020));
    let seen = lab.poll(1030, &read(Some(1000), 1000, vec![played]));
    assert_eq!(events(&seen), (1, 0));
    assert_eq!(by_status(&seen, status), [shown("running", 1.0)]);
    let counts = [shown("blocked", 1.0), shown("skipped", 1.0)];
    assert_eq!(by_status(&seen, waiting), counts);
    // Then an older one: the environment has what started last.
    let mut back = deployment(7, "success", 1003, Some(1050));
    back.started_at = Some(UnixSeconds(1040));
    let seen = lab.poll(1060, &read(Some(1000), 1000, vec![back]));
    assert_eq!(events(&seen), (1, 1));
    assert_eq!(by_status(&seen, status), [shown("success", 1.0)]);
    for id in 100..400 {
        let blocked = deployment(id, "blocked", 1070, None);
        lab.poll(1080, &read(Some(1000), 1000, vec![blocked]));
    }
    assert_eq!(lab.memory.known[&1].waiting.len(), 100, "it is bounded");
}

#[test]
fn what_is_removed_retires_and_leaves_no_state() {
    let mut lab = Lab::new();
    lab.poll(
        1000,
        &read(None, 1000, vec![deployment(5, "success", 10, Some(20))]),
    );
    let mut removed = read(
        Some(1000),
        1000,
        vec![deployment(6, "success", 1005, Some(1006))],
    );
    removed.environments = Some(Vec::new());
    let seen = lab.poll(1010, &removed);
    assert_eq!(events(&seen), (1, 1), "its last deployment counts");
    assert!(seen.measured.states.is_empty());
    let labels = vec![
        ("project", "group/project".into()),
        ("environment", "production".into()),
    ];
    assert_eq!(seen.retirements, [Retirement::Labels(labels)]);
}

#[test]
fn the_newest_success_stays_though_a_newer_deployment_failed() {
    let mut lab = Lab::new();
    let both = vec![
        deployment(7, "failed", 30, Some(40)),
        deployment(5, "success", 10, Some(20)),
    ];
    let mut first = read(None, 1000, both);
    first.behind.insert(1, 3);
    let seen = lab.poll(1000, &first);
    assert_eq!(
        state(&seen, "age_environment_last_deployment_timestamp"),
        [20.0]
    );
    assert_eq!(state(&seen, "age_environment_behind_commits"), [3.0]);
    let status = seen
        .measured
        .states
        .iter()
        .find(|state| state.desc.name == "age_environment_deployment_status");
    assert!(status.is_some_and(|state| state.labels.iter().any(|label| &**label == "failed")));
    lab.settings.output_sparse_status_metrics = false;
    let mut quiet = read(Some(1000), 1000, Vec::new());
    quiet.environments = None;
    let seen = lab.poll(1100, &quiet);
    assert_eq!(
        state(&seen, "age_environment_deployment_status").len(),
        STATUSES.len()
    );
    assert_eq!(
        state(&seen, "age_environment_behind_duration_seconds"),
        [1080.0]
    );
}

/// What the labels of `age_environment_info` are, but for those that are empty.
fn info(measures: &Measures) -> Vec<String> {
    let mut states = measures.measured.states.iter();
    let info = states.find(|state| state.desc.name == "age_environment_info");
    let info = info.unwrap();
    let labels = info.desc.labels.iter().zip(&info.labels);
    let labels = labels.filter(|(_, value)| !value.is_empty());
    labels
        .map(|(label, value)| format!("{label}={value}"))
        .collect()
}

#[test]
fn an_environment_says_what_it_has_and_who_deployed_it() {
    let mut lab = Lab::new();
    let seen = lab.poll(1000, &read(None, 1000, Vec::new()));
    let about = ["environment=production", "environment_id=1"];
    let more = [
        "project=group/project",
        "state=available",
        "tier=production",
    ];
    assert_eq!(info(&seen), [&about[..], &more[..]].concat());
    let by = |git_ref: &str, is_tag| {
        let user = User::new("ada", "Ada Fields", false);
        DeploymentOrigin::new(git_ref, is_tag, Some(JobId(77)), Some(user))
    };
    let first = Deployment {
        sha: "0123456789abcdef".into(),
        origin: by("v1.2", true),
        ..deployment(6, "success", 1010, Some(1020))
    };
    let mut poll = read(Some(1000), 1000, vec![first.clone()]);
    poll.tip = Some("fedcba9876543210".into());
    let seen = lab.poll(1030, &poll);
    let shown = info(&seen);
    for label in [
        "commit=01234567",
        "job_id=77",
        "kind=tag",
        "latest_commit=fedcba98",
        "ref=v1.2",
        "user=ada",
    ] {
        assert!(shown.iter().any(|one| one == label), "{label}: {shown:?}");
    }
    // Who failed to deploy is not who did.
    let failed = Deployment {
        origin: by("refs/merge-requests/42/head", false),
        ..deployment(7, "failed", 1040, Some(1050))
    };
    let seen = lab.poll(1060, &read(Some(1000), 1000, vec![failed]));
    assert_eq!(info(&seen), shown, "the tip stays, too");
    // People are called otherwise: no name of before is shown.
    lab.labels.people = PeopleNames::None;
    let seen = lab.poll(1070, &read(Some(1000), 1000, Vec::new()));
    assert!(!info(&seen).iter().any(|one| one.starts_with("user=")));
    let seen = lab.poll(1080, &read(Some(1000), 1000, vec![first]));
    assert!(
        info(&seen).contains(&"user=all".to_owned()),
        "{:?}",
        info(&seen)
    );
    let merged = Deployment {
        origin: by("refs/merge-requests/42/head", false),
        ..deployment(8, "success", 1090, Some(1100))
    };
    let seen = lab.poll(1110, &read(Some(1000), 1000, vec![merged]));
    let shown = info(&seen);
    assert!(
        shown.contains(&"ref=merge-requests/42".to_owned()),
        "{shown:?}"
    );
    assert!(
        shown.contains(&"kind=merge-request".to_owned()),
        "{shown:?}"
    );
}
