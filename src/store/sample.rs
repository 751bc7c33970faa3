//! A state with something in every part: what the state files that are checked in hold.

use std::sync::Arc;

use super::stored::PARTS;
use super::{Commit, Remembered};
use crate::clock::UnixSeconds;
use crate::gitlab::model::DeploymentTier;
use crate::gitlab::model::Environment;
use crate::gitlab::model::{
    Known, Pipeline, PipelineMergeRequest, RefKind, Status, TestCounts, TestReport, TestSuite,
    Upstream,
};
use crate::gitlab::model::{Language, RefCounts, Releases};
use crate::memory::compat::CompatMemory;
use crate::memory::contributors::{Begun, ContributorsMemory};
use crate::memory::dora::{Deployed, DoraMemory, DoraProgress, Life, Shipped};
use crate::memory::environments::{
    DeploymentEvent, EnvironmentsMemory, EnvironmentsProgress, LastStarted, LastSuccess,
    RememberedEnvironment,
};
use crate::memory::feed::{Depth, FeedProgress, Followed};
use crate::memory::first_reading::FirstReading;
use crate::memory::history::{Ref, RefHistory, Remembered as OfPipeline};
use crate::memory::job_names::{JobName, JobNames};
use crate::memory::merge_requests::census::Census;
use crate::memory::merge_requests::thread::{Phase, Thread};
use crate::memory::merge_requests::{
    MergeRequestsMemory, MergeRequestsProgress, RememberedMergeRequest,
};
use crate::memory::names::Names;
use crate::memory::parents::{Parent, Parents, Started};
use crate::memory::ref_listing::RefsProgress;
use crate::memory::refs::{Listing, RefName, RefsSeen};
use crate::memory::removed_refs::{RemovedRefs, SourceBranches};
use crate::memory::repository::{RepositoryMemory, RepositoryParts};
use crate::memory::variables::VariablesMemory;
use crate::memory::withdrawn::Withdrawn;
use crate::memory::{ProjectMemory, child_pipelines, jobs, pipelines, test_reports};
use crate::series::{RecordedValue, RowRecord};
use crate::types::{JobId, PipelineId, ProjectId};

const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

/// So many seconds after [`NOW`].
fn at(seconds: i64) -> UnixSeconds {
    UnixSeconds(NOW.0 + seconds)
}

fn ref_name(kind: RefKind, name: &str) -> RefName {
    RefName {
        kind,
        name: name.into(),
    }
}

fn branch() -> RefName {
    ref_name(RefKind::Branch, "main")
}

fn history<T>(value: T) -> RefHistory<T> {
    let entry = OfPipeline {
        id: PipelineId(301),
        created_at: at(-300),
        skipped: true,
        value,
    };
    let known = Ref {
        newest: at(-200),
        entries: vec![entry],
    };
    let empty = Ref {
        newest: at(-100),
        entries: Vec::new(),
    };
    RefHistory {
        refs: [
            (branch(), known),
            (ref_name(RefKind::MergeRequest, "merge-requests/7"), empty),
        ]
        .into(),
    }
}

fn pipeline(id: u64, status: Status, upstream: Known<Upstream>) -> Pipeline {
    Pipeline {
        id: PipelineId(id),
        iid: id - 300,
        git_ref: "refs/merge-requests/7/head".into(),
        kind: RefKind::MergeRequest,
        source: "merge_request_event".into(),
        status,
        created_at: at(-300),
        updated_at: at(-30),
        started_at: Some(at(-290)),
        finished_at: Some(at(-31)),
        duration: Some(259.5),
        queued_duration: Some(10.0),
        coverage: Some(87.25),
        merge_request: Known::Value(PipelineMergeRequest {
            iid: 7,
            target_branch: "main".into(),
            source_branch: "feature".into(),
        }),
        upstream,
    }
}

fn upstream(merge_request: Known<PipelineMergeRequest>) -> Known<Upstream> {
    Known::Value(Upstream {
        pipeline: PipelineId(200),
        project_id: ProjectId(9),
        project: "group/parent".into(),
        git_ref: "main".into(),
        merge_request,
        bridge: "trigger".into(),
    })
}

fn feed() -> FeedProgress {
    let followed = [
        (Status::Running, upstream(Known::Unread)),
        (Status::Other("hibernating".into()), upstream(Known::Hidden)),
        (Status::Success, Known::Nothing),
        (Status::Manual, Known::Hidden),
        (Status::WaitingForCallback, Known::Unread),
    ];
    let followed = (301..).zip(followed).map(|(id, (status, upstream))| {
        let followed = Followed {
            pipeline: pipeline(id, status, upstream),
            floor: at(-400),
            rests: id % 2 == 0,
            newest: at(-20),
            details_due: id % 2 == 1,
            upstream_polls: 3,
        };
        (PipelineId(id), followed)
    });
    FeedProgress {
        depth: Depth::Everything,
        first_seen: at(-9000),
        watermark: at(-30),
        polled_at: at(-5),
        followed: followed.map(|(id, one)| (id, Box::new(one))).collect(),
    }
}

fn pipelines() -> pipelines::PipelinesMemory {
    let claim = pipelines::RunClaim {
        finished: Some(at(-31)),
    };
    let snapshot = pipelines::PipelineSnapshot {
        source: "push".into(),
        status: Status::Failed,
        updated_at: Some(at(-30)),
        running_since: Some(at(-280)),
        finished_at: Some(at(-31)),
        duration: Some(259.5),
        queued: Some(1.5),
        coverage: Some(87.25),
    };
    pipelines::PipelinesMemory {
        claims: [
            (PipelineId(301), claim),
            (PipelineId(302), Default::default()),
        ]
        .into(),
        newest: history(snapshot),
        active: [(PipelineId(303), Status::Pending)].into(),
    }
}

fn job_snapshot() -> jobs::JobSnapshot {
    jobs::JobSnapshot {
        id: JobId(5001),
        is_bridge: true,
        name: "unit".into(),
        stage: "test".into(),
        status: Status::Failed,
        failure_reason: Some("script_failure".into()),
        created_at: at(-300),
        running_since: Some(at(-290)),
        duration: Some(61.0),
        queued_duration: Some(2.5),
        coverage: Some(80.5),
        artifact_bytes: Some(123_456),
        runner_description: Some("shared-7".into()),
        tags: vec!["docker".into()],
    }
}

fn jobs() -> jobs::JobsMemory {
    let claimed = jobs::JobClaims {
        history: false,
        ended: true,
        retried: true,
        flaky: false,
    };
    let unfinished = jobs::UnfinishedJobs {
        pending: 3,
        running: 2,
    };
    jobs::JobsMemory {
        claims: [(PipelineId(301), [(JobId(5001), claimed)].into())].into(),
        unfinished: [(PipelineId(303), unfinished)].into(),
        newest: history(jobs::JobsOfRef {
            rests: true,
            warnings: true,
            jobs: vec![job_snapshot()],
        }),
    }
}

fn job_names() -> JobNames {
    let name = JobName {
        git_ref: "main".into(),
        stage: "test".into(),
        name: "unit".into(),
    };
    JobNames([(name, at(-300))].into())
}

fn child_pipelines() -> child_pipelines::ChildPipelinesMemory {
    let claim = pipelines::RunClaim {
        finished: Some(at(-31)),
    };
    let bridge = child_pipelines::BridgeKey {
        name: "trigger".into(),
        parent_project: ProjectId(9),
        parent_ref: "main".into(),
        project: ProjectId(1),
        git_ref: "main".into(),
    };
    let newest = child_pipelines::NewestDownstream {
        id: PipelineId(304),
        status: Status::Canceled,
        holder: PipelineId(301),
        holder_created_at: at(-300),
        parent_project: "group/parent".into(),
        project: "group/project".into(),
        jobs: vec![job_snapshot()],
    };
    child_pipelines::ChildPipelinesMemory {
        claims: [(PipelineId(304), claim)].into(),
        foreign_claims: [(PipelineId(301), [(PipelineId(305), claim)].into())].into(),
        newest: history([(bridge, newest)].into()),
    }
}

fn counts(total: f64) -> TestCounts {
    TestCounts {
        seconds: 12.25,
        total,
        success: 3.0,
        failed: 2.0,
        skipped: 1.0,
        error: 4.0,
    }
}

fn test_reports() -> test_reports::TestReportsMemory {
    let kept = test_reports::RememberedReport {
        id: PipelineId(301),
        ended_at: at(-31),
        read_at: at(-1),
        report: TestReport {
            total: counts(10.0),
            suites: vec![TestSuite {
                name: "unit".into(),
                counts: counts(7.0),
            }],
        },
    };
    let case = test_reports::RememberedCase {
        suite: "unit".into(),
        class: "Math".into(),
        name: "it adds".into(),
        status: "failed".into(),
        seconds: Some(0.25),
    };
    test_reports::TestReportsMemory {
        since: Some(at(-9000)),
        reports: [(branch(), kept)].into(),
        cases: [(branch(), vec![case])].into(),
        claims: [(PipelineId(301), at(-31))].into(),
    }
}

fn environments() -> EnvironmentsMemory {
    let known = RememberedEnvironment {
        environment: Environment {
            id: 11,
            name: "review/feature".into(),
            tier: "development".into(),
            state: "available".into(),
            external_url: Some("https://review.example.com".into()),
        },
        newest: Some(LastStarted {
            id: 701,
            started_at: at(-20),
            status: "running".into(),
        }),
        waiting: [(702, "blocked".into())].into(),
        success: Some(LastSuccess {
            id: 700,
            sha: "cafe".into(),
            finished_at: at(-50),
            duration: Some(33.5),
            created_at: Some(at(-90)),
            git_ref: "main".into(),
            kind: Some(RefKind::Branch),
            job: Some(JobId(5002)),
            user: "ada".into(),
        }),
        behind: Some(4),
        asked: true,
    };
    EnvironmentsMemory {
        claims: [
            ((700, DeploymentEvent::Started), at(-90)),
            ((700, DeploymentEvent::Finished), at(-50)),
        ]
        .into(),
        known: [(11, known)].into(),
        tip: Some("f00d".into()),
        naming: "username".into(),
    }
}

fn dora() -> DoraMemory {
    let shipped = [
        Shipped::Unasked,
        Shipped::Failed,
        Shipped::Early(vec![1, 2]),
        Shipped::Known(vec![86_400]),
    ];
    let deployments = (700..).zip(shipped).map(|(id, shipped)| {
        let deployed = Deployed {
            environment: 11,
            finished_at: at(-50),
            shipped,
        };
        (id, deployed)
    });
    let life = Life {
        created_at: at(-7000),
        closed_at: Some(at(-600)),
        duplicate: true,
    };
    DoraMemory {
        tiers: [DeploymentTier::Production, DeploymentTier::Other].into(),
        environments: (11..).zip(DeploymentTier::ALL).collect(),
        deployments: deployments.collect(),
        incidents: Some([(1, life)].into()),
    }
}

fn merge_requests() -> MergeRequestsMemory {
    let phases = [Phase::Unreviewed, Phase::Reviewed, Phase::Changed];
    let known = (7..).zip(phases).map(|(iid, phase)| {
        let known = RememberedMergeRequest {
            state: "merged".into(),
            draft: true,
            conflicts: true,
            waits: true,
            target_branch: "main".into(),
            created_at: at(-8000),
            updated_at: at(-70),
            merged_at: Some(at(-70)),
            closed_at: Some(at(-71)),
            thread: Thread {
                begun: true,
                last: 900,
                phase,
                approved: true,
                reviewed: true,
                cycles: 2,
                waiting: [("mark".into(), at(-500))].into(),
            },
        };
        (iid, known)
    });
    MergeRequestsMemory {
        census: Census {
            branches: vec!["main".into(), "next".into()],
            cells: vec![0, 1, 7],
            read: 2,
            last: Some(3),
            known: true,
            doubted: true,
            ..Census::default()
        },
        known: known.collect(),
        branches: [("main".into(), at(-70))].into(),
    }
}

fn names() -> Names {
    Names {
        naming: "names".into(),
        last: [("Ada".into(), at(-400))].into(),
    }
}

fn compat() -> CompatMemory {
    CompatMemory {
        allowed_failures: [JobId(9001)].into(),
    }
}

/// A memory with something in every part.
fn memory() -> ProjectMemory {
    let started = Started {
        parent_project: "group/parent".into(),
        parent_ref: "main".into(),
        project: "group/project".into(),
    };
    let parent = Parent {
        project: ProjectId(9),
        last: at(-60),
    };
    ProjectMemory {
        compat: compat(),
        path: "group/project".into(),
        labels: "{}".into(),
        withdrawn: Withdrawn {
            removed_at: None,
            collectors: [("merge_requests".into(), at(-500))].into(),
        },
        feed: Some(feed()),
        first_reading: FirstReading {
            is_whole: true,
            has_merge_requests: true,
        },
        refs: RefsProgress {
            activity: Some(at(-4)),
            again_at: Some(at(60)),
            pipelines_checked_at: Some(at(-3000)),
            asked: [ref_name(RefKind::Tag, "v1"), branch()].into(),
        },
        refs_seen: RefsSeen {
            branches: Some(Listing {
                at: at(-6),
                names: ["main".into(), "next".into()].into(),
            }),
            tags: Some(Listing {
                at: at(-7),
                names: ["v1".into()].into(),
            }),
            merge_requests: [(7, "opened".into())].into(),
        },
        removed_refs: RemovedRefs([("old".into(), at(-80))].into()),
        source_branches: SourceBranches([("feature".into(), [(7, at(-300))].into())].into()),
        parents: Parents([(started, parent)].into()),
        pipelines: pipelines(),
        jobs: jobs(),
        job_names: job_names(),
        child_pipelines: child_pipelines(),
        test_reports: test_reports(),
        variables: VariablesMemory {
            regexp: "^DEPLOY".into(),
            newest: [(
                branch(),
                (
                    PipelineId(301),
                    [("DEPLOY_TO".into(), "staging".into())].into(),
                ),
            )]
            .into(),
        },
        environments_progress: EnvironmentsProgress {
            first_seen: at(-9000),
            watermark: at(-50),
            read_at: Some(at(-2)),
            full_at: at(-3600),
            moved: at(-30),
            turn: 5,
        },
        environments: environments(),
        merge_requests_progress: MergeRequestsProgress {
            first_seen: at(-9000),
            read_at: Some(at(-2)),
            full_at: at(-3600),
        },
        merge_requests: merge_requests(),
        code_review: names(),
        dora_progress: DoraProgress {
            read_at: Some(at(-2)),
            full_at: at(-3600),
            moved: at(-30),
            incidents_at: Some(at(-1)),
            all_incidents_at: at(-86_400),
            refused_at: Some(at(-800)),
        },
        dora: dora(),
        repository: RepositoryMemory {
            commits: Some(("main".into(), 1234)),
            refs: Some(RefCounts {
                branches: 12,
                tags: 3,
            }),
            read_at: Some(at(-2)),
            activity: Some(at(-4)),
        },
        repository_parts: RepositoryParts {
            languages: Some(vec![Language {
                name: "Rust".into(),
                share: 98.5,
            }]),
            releases: Some(Releases {
                count: 2,
                latest: Some(at(-90_000)),
            }),
        },
        contributors: ContributorsMemory {
            begun: Some(Begun {
                branch: "main".into(),
                base: "beef".into(),
                tip: "cafe".into(),
            }),
            read_at: Some(at(-2)),
            activity: Some(at(-4)),
            names: names(),
            claims: [1, u64::MAX].into(),
        },
    }
}

/// Metrics that exist, so that a table takes the rows.
fn rows() -> Vec<RowRecord> {
    let labels = vec![
        ("kind".into(), "branch".into()),
        ("project".into(), "group/project".into()),
        ("ref".into(), "main".into()),
        ("source".into(), "push".into()),
    ];
    let counter = RowRecord {
        project: ProjectId(1),
        name: "age_pipeline_run_count".into(),
        labels: labels.clone(),
        start: at(-9000),
        window: Some(30),
        changed: at(-30),
        value: RecordedValue::Counter(42.0),
        retiring: false,
        withdrawn: false,
    };
    let histogram = RowRecord {
        project: ProjectId(2),
        name: "age_pipeline_queued_duration_seconds".into(),
        labels,
        value: RecordedValue::Histogram {
            bounds: [1.0, 10.0].into(),
            buckets: vec![3, 2, 1],
            sum: 99.5,
        },
        retiring: true,
        withdrawn: false,
        ..counter.clone()
    };
    let withdrawn = RowRecord {
        labels: counter
            .labels
            .iter()
            .map(|(name, _)| (name.clone(), "withdrawn".into()))
            .collect(),
        withdrawn: true,
        ..counter.clone()
    };
    vec![counter, withdrawn, histogram]
}

/// A state with something in every part, in every variant, and a project with little.
pub(super) fn remembered() -> Remembered {
    let little = ProjectMemory {
        feed: Some(FeedProgress {
            depth: Depth::Jobs,
            ..FeedProgress::new(at(-1))
        }),
        ..ProjectMemory::default()
    };
    let least = ProjectMemory {
        feed: Some(FeedProgress::new(at(-1))),
        ..ProjectMemory::default()
    };
    let memories = [memory(), little, least];
    let projects = (1..).zip(memories);
    Remembered {
        projects: projects
            .map(|(id, memory)| (ProjectId(id), Arc::new(memory)))
            .collect(),
        rows: rows(),
        committed_at: NOW,
    }
}

/// The same as a commit.
pub(super) fn commit() -> Commit {
    let Remembered {
        projects,
        rows,
        committed_at,
    } = remembered();
    let projects = projects.into_iter().map(|(id, memory)| (id, Some(memory)));
    Commit {
        projects: projects.collect(),
        rows,
        committed_at,
        ..Commit::default()
    }
}

#[test]
fn it_has_something_in_every_part() {
    let memory = memory();
    for part in PARTS {
        assert!(!part.is_empty(&memory), "nothing in {}", part.name);
    }
}
