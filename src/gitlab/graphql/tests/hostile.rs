//! Good answers with one project, pipeline or job made hostile: it alone is left out, and never
//! without a word.

use proptest::prelude::*;

use super::*;
use crate::gitlab::bodies::{GraphQlAnswer, Reading, graphql};
use crate::gitlab::mutation::mutation;

/// Answers that one item of is made hostile; all others are read as any bytes.
const SAMPLED: [GraphQlAnswer; 8] = [
    GraphQlAnswer::ProjectChanges,
    GraphQlAnswer::ProjectPermissions,
    GraphQlAnswer::PipelineJobs,
    GraphQlAnswer::LicensedFeatures,
    GraphQlAnswer::FeatureProbe,
    GraphQlAnswer::MergeRequestReviews,
    GraphQlAnswer::MergeRequestCensus,
    GraphQlAnswer::DoraMetrics,
];

/// An answer for projects 1 to 3, and the places of lists in it.
fn sample(answer: GraphQlAnswer) -> (Value, Vec<&'static str>) {
    let projects = "/data/projects/nodes";
    match answer {
        GraphQlAnswer::ProjectChanges => {
            let mut child = pipeline(9);
            child["mergeRequest"] =
                json!({"iid": "42", "targetBranch": "main", "sourceBranch": "topic"});
            child["upstream"] = json!({"id": "gid://gitlab/Ci::Pipeline/1", "ref": "main",
                "project": {"id": "gid://gitlab/Project/1", "fullPath": "g/p"}});
            child["sourceJob"] = json!({"name": "trigger"});
            let moved = page(&[pipeline(5), pipeline(4), pipeline(3)], None);
            let children = page(&[child, pipeline(8), pipeline(7)], Some("more"));
            let nodes = [quiet(1), project(2, moved, children), quiet(3)];
            let lists = vec![
                projects,
                "/data/projects/nodes/1/moved/nodes",
                "/data/projects/nodes/1/children/nodes",
            ];
            (data(&nodes), lists)
        }
        GraphQlAnswer::ProjectPermissions => {
            let nodes = [1, 2, 3].map(|id| {
                json!({"id": format!("gid://gitlab/Project/{id}"),
                    "maxAccessLevel": {"integerValue": 40}, "userPermissions": {
                        "adminProject": true, "downloadCode": true, "readCycleAnalytics": true,
                        "readEnvironment": true, "readMergeRequest": true}})
            });
            (data(&nodes), vec![projects])
        }
        GraphQlAnswer::PipelineJobs => {
            let mut bridges = [bridge_node(23), bridge_node(22), bridge_node(21)];
            for bridge in &mut bridges {
                // One that was retried is left out, and is no fault.
                bridge["retried"] = Value::Null;
            }
            let jobs = page(&[job(13), job(12), job(11)], None);
            let node = jobs_node(5, jobs, page(&bridges, None));
            let others = [4, 3].map(|id| jobs_node(id, page(&[], None), page(&[], None)));
            let [two, three] = others;
            let moved = page(&[two, node, three], None);
            let none = || page(&[], None);
            let nodes = [
                jobs_project(1, moved),
                jobs_project(2, none()),
                jobs_project(3, none()),
            ];
            let lists = vec![
                projects,
                "/data/projects/nodes/0/moved/nodes",
                "/data/projects/nodes/0/moved/nodes/1/jobs/nodes",
                "/data/projects/nodes/0/moved/nodes/1/bridges/nodes",
            ];
            (data(&nodes), lists)
        }
        GraphQlAnswer::MergeRequestReviews => {
            let nodes = [1, 2, 3].map(|id| {
                let list = [1, 2, 3].map(|iid| reviewed(10 * id + iid));
                json!({"id": format!("gid://gitlab/Project/{id}"),
                    "mergeRequests": page(&list, None)})
            });
            let lists = vec![
                projects,
                "/data/projects/nodes/1/mergeRequests/nodes",
                "/data/projects/nodes/1/mergeRequests/nodes/1/notes/nodes",
            ];
            (data(&nodes), lists)
        }
        GraphQlAnswer::MergeRequestCensus => {
            let entry = |iid: u64| json!({"iid": iid.to_string(), "state": "merged", "targetBranch": "main"});
            let nodes = [1, 2, 3].map(|id| {
                let list = [1, 2, 3].map(|iid| entry(10 * id + iid));
                json!({"id": format!("gid://gitlab/Project/{id}"),
                    "newest": {"count": 3, "nodes": [{"iid": "33"}]},
                    "mergeRequests": {"nodes": list}})
            });
            let lists = vec![projects, "/data/projects/nodes/1/mergeRequests/nodes"];
            (data(&nodes), lists)
        }
        GraphQlAnswer::DoraMetrics => {
            let row = json!({"deploymentFrequency": 0.5, "leadTimeForChanges": 60.5,
                "timeToRestoreService": null, "changeFailureRate": 0.25});
            let nodes = [1, 2, 3].map(|id| {
                json!({"id": format!("gid://gitlab/Project/{id}"),
                    "production": {"metrics": [row]}, "staging": {"metrics": [row]}})
            });
            (data(&nodes), vec![projects])
        }
        GraphQlAnswer::LicensedFeatures => {
            let nodes = [1, 2, 3].map(|id| {
                json!({"id": format!("gid://gitlab/Project/{id}"), "premium": {"available": true},
                    "ultimate": {"available": false}})
            });
            (data(&nodes), vec![projects])
        }
        GraphQlAnswer::FeatureProbe => {
            let nodes = [1, 2, 3].map(|id| {
                json!({"id": format!("gid://gitlab/Project/{id}"), "dora": {"metrics": []},
                    "flowMetrics": {"leadTime": {"value": 1.5}}})
            });
            (data(&nodes), vec![projects])
        }
        other => panic!("{other:?} is not among SAMPLED"),
    }
}

fn reviewed(iid: u64) -> Value {
    let (user, time) = (
        json!({"id": "gid://gitlab/User/7", "username": "ada", "name": "Ada", "bot": false}),
        "2026-01-05T12:00:00Z",
    );
    let note = |id: u64| {
        json!({"id": format!("gid://gitlab/Note/{id}"), "createdAt": time, "system": true,
            "body": "approved this merge request", "author": user,
            "systemNoteMetadata": {"action": "approved"}})
    };
    let notes = [1, 2, 3].map(|number| note(10 * iid + number));
    json!({"iid": iid.to_string(), "state": "merged", "draft": false, "conflicts": false,
        "targetBranch": "main", "createdAt": time, "updatedAt": time, "mergedAt": time,
        "closedAt": null, "commitCount": 2, "userNotesCount": 1, "author": user,
        "diffStatsSummary": {"additions": 1, "deletions": 2, "fileCount": 3},
        "approvedBy": {"nodes": [{"username": "ada"}]},
        "reviewers": {"nodes": [{"id": "gid://gitlab/User/7", "username": "ada", "name": "Ada", "bot": false,
            "mergeRequestInteraction": {"reviewState": "APPROVED"}}]},
        "notes": page(&notes, None)})
}

fn read_well(answer: GraphQlAnswer, value: &Value) -> Reading {
    let reading = graphql(answer, value.to_string().as_bytes()).unwrap();
    assert_eq!(reading.skipped, [""; 0], "{answer:?}");
    reading
}

/// `part` without what `whole` has.
fn missing<'a>(part: &'a [String], whole: &[String]) -> Vec<&'a String> {
    let mut whole = whole.to_vec();
    let mut missing = Vec::new();
    for item in part {
        match whole.iter().position(|has| has == item) {
            Some(at) => drop(whole.swap_remove(at)),
            None => missing.push(item),
        }
    }
    missing
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn a_hostile_item_costs_only_itself(mutation in mutation(), index in 0_usize..3) {
        for answer in SAMPLED {
            let (good, lists) = sample(answer);
            for list in lists {
                let mut without = good.clone();
                let items = without.pointer_mut(list).unwrap().as_array_mut().unwrap();
                items.remove(index);
                let others = read_well(answer, &without).items;
                let (body, is_fault) = mutation.apply(&good, &format!("{list}/{index}"));
                let text = String::from_utf8_lossy(&body);
                let what = format!("{answer:?} {list}/{index}: {text}");
                let reading = graphql(answer, &body);
                prop_assert!(reading.is_ok(), "{reading:?}: {what}");
                let reading = reading.unwrap();
                let lost = missing(&others, &reading.items);
                prop_assert!(lost.is_empty(), "{lost:?} of {what}");
                let counted = reading.items.len() + reading.skipped.len();
                prop_assert!(!is_fault || counted > others.len(), "{reading:?} of {what}");
            }
        }
    }

    #[test]
    fn a_hostile_answer_is_read_or_refused_in_a_sentence(mutation in mutation()) {
        for answer in SAMPLED {
            let (mut good, _) = sample(answer);
            good["errors"] = json!([{"message": "Timeout",
                "path": ["projects", "nodes", 1], "extensions": {"code": "undefinedField"}}]);
            for place in ["", "/errors"] {
                let (body, _) = mutation.apply(&good, place);
                if let Err(why) = graphql(answer, &body) {
                    prop_assert!(!why.is_empty(), "{why}");
                }
            }
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
        for &answer in GraphQlAnswer::ALL {
            let _ = graphql(answer, &body);
        }
    }
}
