//! What is sent to each GitLab, what is missing there, and how many requests quiet projects take.

use std::time::Duration;

use super::double::{Asked, gitlab};
use super::*;
use crate::clock::UnixSeconds;
use crate::gitlab::GitLab;
use crate::gitlab::graphql::schema_tests::schema_of;
use crate::gitlab::graphql::{Parts, Which};
use crate::gitlab::model::{Days, DeploymentTier, RunnerType, WhichMergeRequests};
use crate::types::ProjectId;
use crate::types::Query;

const NOW: UnixSeconds = UnixSeconds(1_767_614_400); // 2026-01-05T12:00:00Z
const DAY: Duration = Duration::from_secs(86_400);

/// A GitLab whose schema is known, what it lacks, and which documents are of no use there.
struct Version {
    name: &'static str,
    file: &'static str,
    release: (u32, u32),
    enterprise: bool,
    lost: &'static [&'static str],
    not_sent: &'static [&'static str],
}

const TYPE: &str = "Pipeline.type";
const MARKED: &str = "Project.markedForDeletion";
const IDS: &str = "Project.pipelines(ids:)";
const UNTIL_16: [&str; 9] = [
    IDS,
    TYPE,
    MARKED,
    "Pipeline.source",
    "Pipeline.mergeRequest",
    "Project.maxAccessLevel",
    "Project.valueStreams",
    "MergeRequest.closedAt",
    "MergeRequest.notes(filter:)",
];

const VERSIONS: [Version; 7] = [
    Version {
        name: "15.3 CE",
        file: "old/15.3-ce.graphql",
        release: (15, 3),
        enterprise: false,
        lost: &[
            "Pipeline.jobs(jobKind:)",
            "Project.languages",
            "Project.pipelineSchedules",
            "ProjectPermissions.readEnvironment",
            "Project.runners",
            "CiJob.runner",
            "CiJobArtifact.size",
            "CiRunner.managers",
            "Note.systemNoteMetadata",
        ],
        not_sent: &["PipelineSchedules", "Runners", "ValueStreams"],
    },
    Version {
        name: "15.8 EE",
        file: "old/15.8-ee.graphql",
        release: (15, 8),
        enterprise: true,
        lost: &[
            "Pipeline.jobs(jobKind:)",
            "Project.flowMetrics",
            "DoraMetric.deploymentFrequency",
            "CiJob.runner",
            "CiRunner.managers",
        ],
        not_sent: &["DoraMetrics", "FlowTimes", "ValueStreams"],
    },
    Version {
        name: "16.3 EE",
        file: "old/16.3-ee.graphql",
        release: (16, 3),
        enterprise: true,
        lost: &[],
        not_sent: &["ValueStreams"],
    },
    Version {
        name: "17.6 EE",
        file: "old/17.6-ee.graphql",
        release: (17, 6),
        enterprise: true,
        lost: &[TYPE, MARKED, IDS],
        not_sent: &[],
    },
    Version {
        name: "18.4 EE",
        file: "schema.graphql",
        release: (18, 4),
        enterprise: true,
        lost: &[IDS],
        not_sent: &[],
    },
    Version {
        name: "19.3 CE",
        file: "new/19.3-ce.graphql",
        release: (19, 3),
        enterprise: false,
        lost: &[],
        not_sent: &[],
    },
    Version {
        name: "19.3 EE",
        file: "new/19.3-ee.graphql",
        release: (19, 3),
        enterprise: true,
        lost: &[],
        not_sent: &[],
    },
];

impl Version {
    fn lost(&self) -> BTreeSet<String> {
        let until_16 = match self.release <= (16, 3) {
            true => &UNTIL_16[..],
            false => &[],
        };
        let lost = self.lost.iter().chain(until_16);
        lost.map(|name| (*name).to_owned()).collect()
    }
}

/// Everything that is polled of so many projects, in batches as the sources ask for them; gives the
/// operations that were not answered.
async fn poll(gitlab: &GitLab, projects: u64, enterprise: bool) -> BTreeSet<&'static str> {
    let ids: Vec<ProjectId> = (1..=projects).map(ProjectId).collect();
    let mut failed = BTreeSet::new();
    macro_rules! ask {
        ($operation:literal, $size:expr, |$ids:ident| $call:expr) => {
            for $ids in ids.chunks($size) {
                match $call.await {
                    Ok(batch) => {
                        assert_eq!(batch.items.len(), $ids.len(), $operation);
                    }
                    Err(error) => {
                        assert_eq!(error.kind(), "graphql_schema", "{error}");
                        assert!(error.graphql_unavailable(), "REST answers: {error}");
                        failed.insert($operation);
                    }
                }
            }
        };
    }
    let moved = Which::MovedSince(NOW);
    ask!("ProjectChanges", GitLab::CHANGES_PROJECTS, |ids| gitlab
        .project_changes(ids, moved, GitLab::CHANGES_PIPELINES));
    ask!("ProjectPermissions", GitLab::PERMISSION_PROJECTS, |ids| {
        gitlab.permissions(ids)
    });
    ask!("PipelineJobs", GitLab::JOBS_PROJECTS, |ids| gitlab
        .pipeline_jobs(ids, moved, Parts::WHOLE, 5));
    ask!("TestReports", GitLab::REPORT_PROJECTS, |ids| gitlab
        .test_reports(ids, NOW));
    let open = WhichMergeRequests::Open;
    ask!("MergeRequestReviews", GitLab::REVIEWS_PROJECTS, |ids| {
        gitlab.reviewed_merge_requests(ids, open)
    });
    ask!("MergeRequestCensus", GitLab::REVIEWS_PROJECTS, |ids| gitlab
        .merge_request_census(ids, 1..=100, true));
    ask!("Repositories", GitLab::REPOSITORIES, |ids| gitlab
        .repositories(ids, true));
    ask!("PipelineSchedules", GitLab::SCHEDULE_PROJECTS, |ids| gitlab
        .project_schedules(ids));
    ask!("Runners", GitLab::RUNNER_PROJECTS, |ids| gitlab
        .project_runners(ids, RunnerType::Project));
    ask!("ValueStreams", GitLab::VALUE_STREAMS, |ids| gitlab
        .value_streams(ids, DAY, NOW));
    if enterprise {
        let (tiers, days) = (
            [DeploymentTier::Production],
            Days {
                first: NOW.minus(DAY),
                last: NOW,
            },
        );
        ask!("DoraMetrics", GitLab::DORA_PROJECTS, |ids| gitlab
            .dora_metrics(ids, &tiers, days));
        ask!("FlowTimes", GitLab::VALUE_STREAMS, |ids| gitlab
            .flow_times(ids, DAY, NOW));
        ask!("VulnerabilityCounts", GitLab::VULNERABILITIES, |ids| gitlab
            .vulnerability_counts(ids));
    }
    failed
}

#[tokio::test]
async fn each_gitlab_is_asked_for_what_it_has_and_the_rest_is_listed() {
    for version in VERSIONS {
        let Some((fake, asked)) = gitlab(version.file).await else {
            return;
        };
        let gitlab = fake.gitlab();
        let failed = poll(&gitlab, 100, version.enterprise).await;
        let first = std::mem::take(&mut *asked.lock().unwrap());
        let losses = gitlab.losses();
        println!("{}", version.name);
        for (operation, document) in &first.answered {
            let (tries, size) = (first.requests[operation], document.len());
            println!("  sent {operation}: {tries} requests at first, {size} characters");
        }
        println!("  not sent: {failed:?}");
        for loss in &losses {
            println!("  {loss}");
        }
        let name = version.name;
        let lost: BTreeSet<String> = losses.iter().map(|loss| loss.gap.to_string()).collect();
        assert_eq!(lost, version.lost(), "{name}");
        assert!(losses.iter().all(|loss| loss.why == Why::Schema));
        let not_sent: BTreeSet<&str> = version.not_sent.iter().copied().collect();
        assert_eq!(failed, not_sent, "{name}");
        // What was learned holds: nothing is asked in vain again.
        assert_eq!(poll(&gitlab, 100, version.enterprise).await, not_sent);
        let again = asked.lock().unwrap().clone();
        for operation in not_sent {
            assert_eq!(again.requests.get(operation), None, "{name}: {operation}");
        }
        let once = |operation| again.requests.get(operation).copied();
        assert_eq!(
            once("ProjectChanges"),
            Some(1),
            "{name}: 100 projects in one query"
        );
        assert_eq!(once("MergeRequestReviews"), Some(1), "{name}");
    }
}

/// Requests of one poll of 100 quiet projects, once what is missing is known.
async fn requests(version: &Version) -> Option<Asked> {
    let (fake, asked) = gitlab(version.file).await?;
    let gitlab = fake.gitlab();
    poll(&gitlab, 100, version.enterprise).await;
    *asked.lock().unwrap() = Asked::default();
    poll(&gitlab, 100, version.enterprise).await;
    let asked = asked.lock().unwrap().clone();
    Some(asked)
}

#[tokio::test]
async fn quiet_projects_take_no_more_requests_of_an_old_gitlab_than_of_the_newest() {
    for enterprise in [false, true] {
        let newest = VERSIONS.iter().rev();
        let newest = newest.into_iter().find(|one| one.enterprise == enterprise);
        let Some(newest) = requests(newest.unwrap()).await else {
            return;
        };
        for version in VERSIONS.iter().filter(|one| one.enterprise == enterprise) {
            let asked = requests(version).await.unwrap();
            let (count, most) = (asked.count(), newest.count());
            println!("{}: {count} requests, the newest {most}", version.name);
            assert!(count <= most, "{}: {:?}", version.name, asked.requests);
            if version.release >= (16, 0) {
                // What is not sent at all is no saving of batches.
                let same = newest
                    .requests
                    .iter()
                    .filter(|(name, _)| !version.not_sent.contains(&name.as_str()));
                let wanted: usize = same.map(|(_, count)| count).sum();
                assert_eq!(count, wanted, "{}", version.name);
            }
        }
    }
}

/// The releases that the table names are those in which GitLab's schemas lack the fields.
#[test]
fn the_table_says_which_schemas_lack_what() {
    for version in VERSIONS {
        let Some(types) = schema_of(version.file) else {
            return;
        };
        for gap in GAPS {
            let known = types.fields(gap.on).unwrap_or_default();
            let field = known.iter().find(|known| known.name == gap.field);
            let is_there = match gap.argument {
                None => field.is_some(),
                Some(argument) => field.is_some_and(|field| {
                    let mut known = field.arguments.iter();
                    known.any(|known| known.name == argument)
                }),
            };
            // A type that came later has no releases of its own.
            let is_old = gap.until.is_some_and(|until| version.release <= until);
            let is_missing = is_old || (gap.enterprise && !version.enterprise);
            assert_eq!(is_there, !is_missing, "{gap} in {}", version.name);
        }
    }
}

/// `check` tries the queries of collectors on one project: it finds what polling finds.
#[tokio::test]
async fn trying_the_queries_finds_what_polling_finds() {
    for version in VERSIONS {
        let Some((fake, asked)) = gitlab(version.file).await else {
            return;
        };
        let gitlab = fake.gitlab();
        let queries = Query::ALL.iter();
        let queries = queries.filter(|query| version.enterprise || !query.is_enterprise());
        gitlab.try_queries(ProjectId(1), queries, NOW).await;
        let lost: BTreeSet<String> = gitlab
            .losses()
            .iter()
            .map(|loss| loss.gap.to_string())
            .collect();
        assert_eq!(lost, version.lost(), "{}", version.name);
        assert!(asked.lock().unwrap().count() <= 30);
    }
}

/// A refusal for something that no document can do without is met once.
#[tokio::test]
async fn what_no_gap_explains_is_refused_once_and_said() {
    use crate::gitlab::testing::{Fake, Reply};
    let refusal = r#"{"errors":[{"message":"Field 'pipelines' doesn't exist on type 'Project'",
        "extensions":{"code":"undefinedField","typeName":"Project","fieldName":"pipelines"}}]}"#;
    let fake = Fake::script(vec![Reply::json(refusal)]).await;
    let gitlab = fake.gitlab();
    let changes = async || {
        let asked = gitlab.project_changes(&[ProjectId(1)], Which::MovedSince(NOW), 5);
        asked.await.unwrap_err()
    };
    let error = changes().await;
    assert_eq!(error.kind(), "graphql_schema");
    let error = changes().await;
    assert!(error.to_string().contains("'pipelines'"), "{error}");
    assert_eq!(fake.seen().len(), 1);
    let lost = gitlab.lost();
    assert!(lost[0].contains("ProjectChanges"), "{lost:?}");
    assert!(gitlab.refusal("ProjectChanges").is_some());
}
