//! What a project of the old program's metrics shows, by what other collectors remember.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::catalogue::compat::ENTRIES;
use crate::catalogue::{Kind, Measurement};
use crate::collector::pipelines::Pipelines;
use crate::collector::take_in;
use crate::collector::testing::{PROJECT, job, pipeline, project_id};
use crate::config::{Labels, Pattern, ProjectSettings, Settings};
use crate::facts::feed::PipelineFacts;
use crate::gitlab::model::{
    Deployment, DeploymentOrigin, Environment, Job, Known, RefKind, TestCounts, TestReport,
    TestSuite, User,
};
use crate::memory::refs::RefsSeen;
use crate::memory::test_reports::{RememberedCase, RememberedReport};
use crate::migrate::families;
use crate::people::People;
use crate::types::{ProjectId, Tier};

struct World {
    settings: ProjectSettings,
    memory: ProjectMemory,
    project: Text,
    paths: BTreeMap<ProjectId, Text>,
    refs: RefsSeen,
    now: i64,
    totals: BTreeMap<String, f64>,
    last: Measured,
    runners: RunnerLabels,
}

impl World {
    fn new() -> Self {
        let mut settings = Settings::default();
        settings.collectors.environments.enabled = true;
        settings.collectors.test_reports.enabled = true;
        let all: Pattern = ".*".parse().unwrap();
        settings.project_defaults.refs.branches.regexp = all.clone();
        settings.project_defaults.refs.tags.regexp = all;
        settings.resolve();
        Self {
            settings: settings.project_defaults,
            memory: ProjectMemory::default(),
            project: PROJECT.into(),
            paths: BTreeMap::new(),
            refs: RefsSeen::default(),
            now: 0,
            totals: BTreeMap::new(),
            last: Measured::default(),
            runners: RunnerLabels::default(),
        }
    }

    /// Lets the collectors and then this one take in what was read.
    fn poll(&mut self, now: i64, pipelines: &[PipelineFacts]) {
        self.now = now;
        let mut feed = Feed::default();
        for facts in pipelines {
            feed.followed.push(facts.pipeline.id);
            let floor = Some(UnixSeconds(50));
            feed.pipelines.push(PipelineFacts {
                floor,
                ..facts.clone()
            });
        }
        self.measure(Some(&feed), None);
    }

    fn subject<'a>(&'a self, refs: &'a RefsSeen) -> Subject<'a> {
        Subject {
            id: project_id(PROJECT),
            project: &self.project,
            paths: &self.paths,
            settings: &self.settings,
            max_pipelines_per_ref: 10,
            refs,
            tier: Known::Value(Tier::Free),
            now: UnixSeconds(self.now),
        }
    }

    fn measure(&mut self, feed: Option<&Feed>, deployments: Option<&Deployments>) {
        let subject = Subject {
            id: project_id(PROJECT),
            project: &self.project,
            paths: &self.paths,
            settings: &self.settings,
            max_pipelines_per_ref: 10,
            refs: &self.refs,
            tier: Known::Value(Tier::Free),
            now: UnixSeconds(self.now),
        };
        let jobs = Jobs {
            runner_details: false,
            include_children: true,
        };
        let pipelines = Pipelines {
            include_children: true,
        };
        let claims = Claims::of(&self.memory);
        let mut counted = Vec::new();
        if let Some(feed) = feed {
            counted.extend(take_in(&pipelines, subject, feed, &mut self.memory.pipelines).events);
            counted.extend(take_in(&jobs, subject, feed, &mut self.memory.jobs).events);
        }
        if let Some(deployments) = deployments {
            let environments = &mut self.memory.environments;
            let people = People::new(&Labels::default());
            crate::collector::environments::measure(subject, &people, deployments, environments);
        }
        let read = Read {
            feed,
            deployments,
            claims,
            jobs,
            runners: &self.runners,
        };
        self.last = measure(subject, read, &mut self.memory);
        for event in counted.iter().chain(&self.last.events) {
            *self.totals.entry(event.desc.name.to_owned()).or_default() += event.value;
        }
    }

    fn total(&self, name: &str) -> f64 {
        self.totals.get(name).copied().unwrap_or_default()
    }

    /// Values of a metric, with the labels that are not empty, as in the text format.
    fn states(&self, name: &str) -> Vec<String> {
        let of = self.last.states.iter().filter(|one| one.desc.name == name);
        of.map(shown).collect()
    }
}

fn shown(one: &Measurement) -> String {
    let labels = one.desc.labels.iter().zip(&one.labels);
    let labels = labels.filter(|(_, value)| !value.is_empty());
    let labels: Vec<String> = labels
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    format!("{{{}}} {}", labels.join(","), one.value)
}

/// Names, types and labels are those that the facts of the migration have.
#[test]
fn names_types_and_labels_are_those_of_the_old_program() {
    let expected: BTreeMap<&str, (&str, BTreeSet<&str>)> = families()
        .iter()
        .filter(|family| family.old.starts_with("gitlab_ci_"))
        .map(|family| {
            (
                family.old,
                (family.kind, family.labels.iter().copied().collect()),
            )
        })
        .collect();
    let ours: BTreeMap<&str, (&str, BTreeSet<&str>)> = ENTRIES
        .iter()
        .map(|desc| {
            (
                desc.name,
                (desc.kind.as_str(), desc.labels.iter().copied().collect()),
            )
        })
        .collect();
    assert_eq!(ours, expected);
    let counters = ENTRIES.iter().filter(|desc| desc.kind == Kind::Counter);
    let names: Vec<&str> = counters.map(|desc| desc.name).collect();
    assert_eq!(
        names,
        [
            "gitlab_ci_pipeline_run_count",
            "gitlab_ci_pipeline_job_run_count",
            "gitlab_ci_environment_deployment_count",
        ]
    );
}

#[test]
fn a_running_pipeline_has_zeros_where_gitlab_has_nothing() {
    let mut world = World::new();
    world.poll(110, &[pipeline(7, 100).runs(105)]);
    let labels = "{kind=branch,project=group/project,ref=main,source=push";
    for (metric, value) in [
        ("id", 7.0),
        ("duration_seconds", 0.0),
        ("queued_duration_seconds", 5.0),
        ("coverage", 0.0),
        ("timestamp", 105.0),
    ] {
        let states = world.states(&format!("gitlab_ci_pipeline_{metric}"));
        assert_eq!(states, [format!("{labels}}} {value}")], "{metric}");
    }
    let status = world.states("gitlab_ci_pipeline_status");
    assert_eq!(status, [format!("{labels},status=running}} 1")]);
    assert_eq!(world.total("gitlab_ci_pipeline_run_count"), 1.0);
    let zeros: Vec<&str> = world
        .last
        .initializations
        .iter()
        .map(|key| key.desc.name)
        .collect();
    assert_eq!(zeros, ["gitlab_ci_pipeline_run_count"]);
}

#[test]
fn a_ref_shows_its_newest_pipeline_alone() {
    let mut world = World::new();
    let old = pipeline(7, 100).runs(101).ends("success", 110).covers(80.5);
    world.poll(120, std::slice::from_ref(&old));
    world.poll(220, &[old, pipeline(8, 200).from("web")]);
    let ids = world.states("gitlab_ci_pipeline_id");
    assert_eq!(
        ids,
        ["{kind=branch,project=group/project,ref=main,source=web} 8"]
    );
    assert_eq!(world.total("gitlab_ci_pipeline_run_count"), 2.0);
}

#[test]
fn merge_requests_are_numbers_and_tags_and_branches_stay_apart() {
    let mut world = World::new();
    let same = "v1";
    world.poll(
        110,
        &[
            pipeline(7, 100).on_merge_request(42, "head"),
            pipeline(8, 100).on_tag(same).with_jobs([job(1, "a", 100)]),
            pipeline(9, 100)
                .on_branch(same)
                .with_jobs([job(2, "a", 100)]),
        ],
    );
    let mut ids = world.states("gitlab_ci_pipeline_id");
    ids.sort();
    assert_eq!(
        ids,
        [
            "{kind=branch,project=group/project,ref=v1,source=push} 9",
            "{kind=merge-request,project=group/project,ref=42,source=merge_request_event} 7",
            "{kind=tag,project=group/project,ref=v1,source=push} 8",
        ]
    );
    assert_eq!(world.states("gitlab_ci_pipeline_job_id").len(), 2);
    let counted = world
        .last
        .events
        .iter()
        .filter(|one| one.desc.name.ends_with("pipeline_run_count"));
    assert!(counted.map(shown).any(|event| event.contains("ref=42")));
}

#[test]
fn statuses_are_sparse_or_all_thirteen() {
    let mut world = World::new();
    let failing = job(1, "lint", 100)
        .runs(101)
        .fails("script_failure", 105)
        .may_fail();
    let ended = pipeline(7, 100).runs(101).ends("success", 110);
    world.poll(
        120,
        &[ended
            .clone()
            .with_jobs([failing.clone(), job(2, "unit", 100).runs(101).succeeds(104)])],
    );
    let labels = "kind=branch,project=group/project,ref=main,source=push";
    let pipelines = world.states("gitlab_ci_pipeline_status");
    assert_eq!(
        pipelines,
        [format!("{{{labels},status=success_with_warnings}} 1")]
    );
    let mut jobs = world.states("gitlab_ci_pipeline_job_status");
    jobs.sort();
    assert_eq!(
        jobs,
        [
            format!(
                "{{failure_reason=script_failure,job_name=lint,{labels},stage=test,status=success_with_warnings}} 1"
            ),
            format!("{{job_name=unit,{labels},stage=test,status=success}} 1"),
        ]
    );
    world.settings.output_sparse_status_metrics = false;
    world.poll(130, &[ended.with_jobs([failing])]);
    let all = world.states("gitlab_ci_pipeline_status");
    assert_eq!(
        (
            all.len(),
            all.iter().filter(|one| one.ends_with(" 1")).count()
        ),
        (13, 1)
    );
    // GitLab has statuses that are none of the thirteen.
    world.settings.output_sparse_status_metrics = true;
    world.poll(230, &[pipeline(8, 200).turns("waiting_for_callback", 210)]);
    assert_eq!(
        world.states("gitlab_ci_pipeline_status"),
        Vec::<String>::new()
    );
    assert_eq!(world.states("gitlab_ci_pipeline_id").len(), 1);
}

#[test]
fn counters_count_what_ours_count_and_not_children() {
    let mut world = World::new();
    let parent = pipeline(7, 100).runs(101);
    let first = job(1, "unit", 100).runs(101);
    world.poll(110, &[parent.clone().with_jobs([first.clone()])]);
    let failed = first.fails("script_failure", 120).replaced();
    let retried = job(2, "unit", 121).runs(122).succeeds(130);
    let ended = parent.ends("success", 131).with_jobs([failed, retried]);
    for now in [140, 150] {
        world.poll(now, std::slice::from_ref(&ended));
    }
    assert_eq!(
        world.total("gitlab_ci_pipeline_run_count"),
        world.total("age_pipeline_run_count")
    );
    assert_eq!(world.total("gitlab_ci_pipeline_job_run_count"), 2.0);
    assert_eq!(world.total("age_job_run_count"), 2.0);
    let child = pipeline(9, 160)
        .child_of(&ended, "trigger")
        .with_jobs([job(5, "unit", 160).runs(161).succeeds(170)]);
    world.poll(180, &[ended, child.runs(161).ends("success", 171)]);
    assert_eq!(world.total("age_pipeline_run_count"), 2.0);
    assert_eq!(world.total("gitlab_ci_pipeline_run_count"), 1.0);
    assert_eq!(world.total("gitlab_ci_pipeline_job_run_count"), 2.0);
    let jobs = world.states("gitlab_ci_pipeline_job_id");
    assert_eq!(
        jobs,
        ["{job_name=unit,kind=branch,project=group/project,ref=main,source=push,stage=test} 2"]
    );
}

#[test]
fn jobs_count_up_while_they_run_and_history_does_not_count() {
    let mut world = World::new();
    let old = job(1, "old", 10).runs(11).succeeds(20);
    world.poll(
        110,
        &[pipeline(7, 10)
            .runs(11)
            .with_jobs([old, job(2, "new", 100).runs(103)])],
    );
    assert_eq!(world.total("gitlab_ci_pipeline_run_count"), 0.0);
    assert_eq!(world.total("gitlab_ci_pipeline_job_run_count"), 0.0);
    let durations = world.states("gitlab_ci_pipeline_job_duration_seconds");
    assert!(
        durations
            .iter()
            .any(|one| one.contains("job_name=new") && one.ends_with(" 7")),
        "{durations:?}"
    );
    assert!(
        durations
            .iter()
            .any(|one| one.contains("job_name=old") && one.ends_with(" 9")),
        "{durations:?}"
    );
}

#[test]
fn runners_and_tags_are_labels_where_they_are_shown() {
    let mut world = World::new();
    let unit = Job {
        runner_description: Some("shared-7.example.com".into()),
        tags: Some(vec!["docker".into(), "secret".into(), "linux".into()]),
        ..job(2, "unit", 100).runs(103)
    };
    let poll = [pipeline(7, 100).runs(101).with_jobs([unit])];
    world.poll(110, &poll);
    let ids = world.states("gitlab_ci_pipeline_job_id");
    let plain = "job_name=unit,kind=branch,project=group/project,ref=main";
    assert_eq!(ids, [format!("{{{plain},source=push,stage=test}} 2")]);
    world.runners = RunnerLabels {
        description: Some("^shared".parse().unwrap()),
        tags: Some("^(docker|linux)$".parse().unwrap()),
    };
    world.poll(120, &poll);
    let ids = world.states("gitlab_ci_pipeline_job_id");
    let expected = format!(
        "{{{plain},runner_description=shared,source=push,stage=test,tag_list=docker,linux}} 2"
    );
    assert_eq!(ids, [expected]);
    // Ours has them in a metric of their own.
    let mut own = Vec::new();
    let refs = RefsSeen::default();
    world
        .runners
        .states(world.subject(&refs), &world.memory.jobs, &mut own);
    let own: Vec<String> = own.iter().map(shown).collect();
    let expected = "{job_name=unit,project=group/project,ref=main,runner_description=shared,\
                    stage=test,tags=docker,linux} 1";
    assert_eq!(own, [expected]);
}

#[test]
fn variables_are_one_label() {
    let mut world = World::new();
    let main = RefName {
        kind: RefKind::Branch,
        name: "main".into(),
    };
    let variables = [("A".into(), "1".into()), ("B".into(), "x,y".into())].into();
    world
        .memory
        .variables
        .newest
        .insert(main, (PipelineId(7), variables));
    world.poll(110, &[pipeline(7, 100)]);
    let ids = world.states("gitlab_ci_pipeline_id");
    assert_eq!(
        ids,
        ["{kind=branch,project=group/project,ref=main,source=push,variables=A:1,B:x,y} 7"]
    );
}

#[test]
fn reports_are_shown_with_the_labels_of_their_pipeline() {
    let mut world = World::new();
    let main = RefName {
        kind: RefKind::Branch,
        name: "main".into(),
    };
    let counts = TestCounts {
        seconds: 1.5,
        total: 3.0,
        success: 1.0,
        failed: 2.0,
        skipped: 0.0,
        error: 0.0,
    };
    let suite = TestSuite {
        name: "unit".into(),
        counts,
    };
    let report = RememberedReport {
        id: PipelineId(7),
        ended_at: UnixSeconds(110),
        read_at: UnixSeconds(120),
        report: TestReport {
            total: counts,
            suites: vec![suite],
        },
    };
    world
        .memory
        .test_reports
        .reports
        .insert(main.clone(), report);
    let cases = vec![RememberedCase {
        suite: "unit".into(),
        class: "a".into(),
        name: "a.b".into(),
        status: "failed".into(),
        seconds: Some(0.5),
    }];
    world.memory.test_reports.cases.insert(main, cases);
    world.poll(120, &[pipeline(7, 100).runs(101).ends("failed", 110)]);
    let labels = "kind=branch,project=group/project,ref=main,source=push";
    let failed = world.states("gitlab_ci_pipeline_test_report_failed_count");
    assert_eq!(failed, [format!("{{{labels}}} 2")]);
    let time = world.states("gitlab_ci_pipeline_test_suite_total_time");
    assert_eq!(time, [format!("{{{labels},test_suite_name=unit}} 1.5")]);
    let case = world.states("gitlab_ci_pipeline_test_case_status");
    assert_eq!(
        case,
        [format!(
            "{{{labels},status=failed,test_case_classname=a,test_case_name=b,test_suite_name=unit}} 1"
        )]
    );
    let time = world.states("gitlab_ci_pipeline_test_case_execution_time");
    assert_eq!(
        time,
        [format!(
            "{{{labels},test_case_classname=a,test_case_name=b,test_suite_name=unit}} 0.5"
        )]
    );
}

fn environment(id: u64, name: &str) -> Environment {
    Environment {
        id,
        name: name.into(),
        tier: "production".into(),
        state: "available".into(),
        external_url: Some("https://app".into()),
    }
}

fn deployment(id: u64, created: i64, status: &str) -> Deployment {
    Deployment {
        id,
        iid: Some(id),
        environment: 1,
        environment_name: "production".into(),
        sha: "0123456789abcdef".into(),
        status: status.into(),
        created_at: UnixSeconds(created),
        updated_at: UnixSeconds(created + 9),
        started_at: Some(UnixSeconds(created + 1)),
        finished_at: Some(UnixSeconds(created + 9)),
        duration: Some(8.0),
        origin: DeploymentOrigin::new(
            "refs/merge-requests/42/head",
            false,
            Some(JobId(77)),
            Some(User::new("ada", "Ada Fields", false)),
        ),
    }
}

#[test]
fn environments_have_zeros_until_a_deployment_succeeds() {
    let mut world = World::new();
    world.now = 100;
    let mut read = Deployments {
        environments: Some(vec![environment(1, "production")]),
        floor: Some(UnixSeconds(50)),
        ..Deployments::default()
    };
    world.measure(None, Some(&read));
    let of = "environment=production,project=group/project";
    for metric in [
        "behind_commits_count",
        "behind_duration_seconds",
        "deployment_duration_seconds",
        "deployment_timestamp",
        "deployment_job_id",
    ] {
        let states = world.states(&format!("gitlab_ci_environment_{metric}"));
        assert_eq!(states, [format!("{{{of}}} 0")], "{metric}");
    }
    assert_eq!(
        world.states("gitlab_ci_environment_deployment_status"),
        Vec::<String>::new()
    );
    let info = world.states("gitlab_ci_environment_information");
    assert_eq!(
        info,
        [
            "{available=true,environment=production,environment_id=1,external_url=https://app,project=group/project} 1"
        ]
    );
    read.deployments = vec![deployment(5, 110, "success"), deployment(6, 120, "failed")];
    read.behind = [(1, 3)].into();
    read.tip = Some("fedcba9876543210".into());
    world.now = 139;
    world.measure(None, Some(&read));
    world.measure(None, Some(&read));
    assert_eq!(world.total("gitlab_ci_environment_deployment_count"), 1.0);
    for (metric, value) in [
        ("behind_commits_count", "3"),
        ("behind_duration_seconds", "20"),
        ("deployment_duration_seconds", "8"),
        ("deployment_timestamp", "110"),
        ("deployment_job_id", "77"),
    ] {
        let states = world.states(&format!("gitlab_ci_environment_{metric}"));
        assert_eq!(states, [format!("{{{of}}} {value}")], "{metric}");
    }
    let status = world.states("gitlab_ci_environment_deployment_status");
    assert_eq!(status, [format!("{{{of},status=success}} 1")]);
    let info = world.states("gitlab_ci_environment_information");
    for part in [
        "current_commit_short_id=01234567,",
        "latest_commit_short_id=fedcba98,",
        "kind=merge-request,",
        "ref=42,",
        "username=ada}",
    ] {
        assert!(info[0].contains(part), "{part}: {info:?}");
    }
}

#[test]
fn what_is_remembered_ends_with_what_it_is_about() {
    let mut world = World::new();
    let failing = job(1, "lint", 100)
        .runs(101)
        .fails("script_failure", 105)
        .may_fail();
    world.poll(
        120,
        &[pipeline(7, 100)
            .runs(101)
            .ends("success", 110)
            .with_jobs([failing])],
    );
    assert_eq!(world.memory.compat.allowed_failures.len(), 1);
    for id in 8..40 {
        let created = i64::try_from(id * 100).unwrap();
        world.poll(
            created,
            &[pipeline(id, created)
                .runs(created)
                .ends("success", created)
                .with_jobs([])],
        );
    }
    assert!(world.memory.compat.allowed_failures.is_empty());
}

#[test]
fn off_collectors_show_nothing() {
    let mut world = World::new();
    let mut settings = Settings::default();
    settings.collectors.pipelines.enabled = false;
    settings.resolve();
    world.settings = settings.project_defaults;
    world.poll(110, &[pipeline(7, 100).runs(105)]);
    assert!(world.last.is_empty(), "{:?}", world.last);
}
