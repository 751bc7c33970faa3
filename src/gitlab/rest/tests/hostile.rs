//! Good lists with one item made hostile: it alone is left out, and never without a word.

use proptest::prelude::*;

use super::*;
use crate::gitlab::bodies::{RestAnswer, rest};
use crate::gitlab::mutation::mutation;

fn sample(answer: RestAnswer) -> Value {
    let project = |id: u64| {
        json!({"id": id, "path_with_namespace": format!("g/p{id}"), "default_branch": "main",
            "archived": false, "last_activity_at": "2026-01-05T12:00:00.100Z",
            "permissions": {"project_access": {"access_level": 30}, "group_access": null}})
    };
    let reference = |name: &str| {
        json!({"name": name, "commit": {"committed_date": "2015-12-24T16:51:14.000+01:00"},
            "default": true})
    };
    let merge_request = |iid: u64| {
        json!({"iid": iid, "state": "merged", "target_branch": "main", "source_branch": "topic",
            "updated_at": "2026-01-05T12:00:00.500Z"})
    };
    let bridge = |id: u64| {
        json!({"id": id, "name": "deploy", "stage": "ship", "status": "success",
            "created_at": "2026-01-05T12:00:00Z", "downstream_pipeline": pipeline(id)})
    };
    let user = json!({"username": "ada", "name": "Ada"});
    let time = "2026-01-05T12:00:00.500Z";
    let reviewed = |iid: u64| {
        json!({"iid": iid, "state": "merged", "draft": false, "has_conflicts": false,
            "target_branch": "main", "created_at": time, "updated_at": time, "merged_at": time,
            "closed_at": null, "author": user, "user_notes_count": 3, "reviewers": [user]})
    };
    let note = |id: u64| json!({"id": id, "created_at": time, "system": false, "body": "well", "author": user});
    let reviewer = |name: &str| json!({"user": {"username": name}, "state": "unreviewed"});
    let environment = |id: u64| {
        json!({"id": id, "name": format!("review/{id}"), "tier": "development",
            "state": "available", "external_url": null})
    };
    let deployment = |id: u64| {
        json!({"id": id, "sha": "1f", "status": "success", "created_at": time, "updated_at": time,
            "environment": {"id": 2, "name": "production"},
            "deployable": {"started_at": time, "finished_at": time, "duration": 1.5}})
    };
    let incident = |iid: u64| {
        json!({"iid": iid, "created_at": time, "updated_at": time, "closed_at": time,
            "_links": {"closed_as_duplicate_of": null}})
    };
    let commit = |id: &str| {
        json!({"id": id, "author_name": "Ada", "author_email": "ada@example.com",
            "parent_ids": ["0"], "stats": {"additions": 1, "deletions": 2}})
    };
    let release = |hour: u64| json!({"released_at": format!("2026-01-05T{hour}:00:00Z"), "upcoming_release": false});
    match answer {
        RestAnswer::ReviewedMergeRequests => json!([reviewed(3), reviewed(2), reviewed(1)]),
        RestAnswer::Notes => json!([note(3), note(2), note(1)]),
        RestAnswer::Reviewers => json!([reviewer("a"), reviewer("b"), reviewer("c")]),
        RestAnswer::Environments => json!([environment(3), environment(2), environment(1)]),
        RestAnswer::Deployments => json!([deployment(3), deployment(2), deployment(1)]),
        RestAnswer::Incidents => json!([incident(3), incident(2), incident(1)]),
        RestAnswer::Commits => json!([commit("c"), commit("b"), commit("a")]),
        RestAnswer::Releases => json!([release(10), release(11), release(12)]),
        RestAnswer::Pipelines => json!([pipeline(3), pipeline(2), pipeline(1)]),
        RestAnswer::Jobs => json!([job(3, "a"), job(2, "b"), job(1, "c")]),
        RestAnswer::Bridges => json!([bridge(3), bridge(2), bridge(1)]),
        RestAnswer::Projects => json!([project(1), project(2), project(3)]),
        RestAnswer::Refs => json!([reference("a"), reference("b"), reference("c")]),
        RestAnswer::MergeRequests => json!([merge_request(3), merge_request(2), merge_request(1)]),
        RestAnswer::Pipeline => pipeline(1),
        RestAnswer::Project => project(1),
        RestAnswer::MergeRequest => merge_request(1),
        RestAnswer::Metadata => {
            json!({"version": "19.3.0-ee", "revision": "a", "enterprise": true})
        }
        RestAnswer::Token => {
            json!({"name": "t", "scopes": ["read_api"], "expires_at": "2026-02-01",
            "active": true, "granular": false})
        }
        RestAnswer::User => json!({"id": 1, "username": "jo", "is_admin": false}),
    }
}

fn read(answer: RestAnswer, value: &Value) -> Vec<String> {
    let reading = rest(answer, value.to_string().as_bytes()).unwrap();
    assert_eq!(reading.skipped, [""; 0]);
    reading.items
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn a_hostile_item_costs_only_itself(mutation in mutation(), index in 0_usize..3) {
        for answer in RestAnswer::ALL.into_iter().filter(|answer| answer.is_list()) {
            let good = sample(answer);
            let mut others = good.clone();
            others.as_array_mut().unwrap().remove(index);
            let others = read(answer, &others);
            let (body, is_fault) = mutation.apply(&good, &format!("/{index}"));
            let text = String::from_utf8_lossy(&body);
            let reading = rest(answer, &body);
            prop_assert!(reading.is_ok(), "{answer:?}: {reading:?}: {text}");
            let reading = reading.unwrap();
            for other in &others {
                prop_assert!(reading.items.contains(other), "{answer:?}: {other} of {text}");
            }
            let counted = reading.items.len() + reading.skipped.len();
            prop_assert!(!is_fault || counted == 3, "{answer:?}: {reading:?} of {text}");
        }
    }

    #[test]
    fn a_hostile_object_is_read_or_refused_in_a_sentence(mutation in mutation()) {
        for answer in RestAnswer::ALL.into_iter().filter(|answer| !answer.is_list()) {
            let good = json!({"answer": sample(answer)});
            let (body, _) = mutation.apply(&good, "/answer");
            // The outer object is only there so that the whole can be changed, too.
            let end = body.len() - 1;
            let body = body.get(10..end).unwrap_or_default();
            if let Err(why) = rest(answer, body) {
                prop_assert!(!why.is_empty());
            }
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
        for answer in RestAnswer::ALL {
            let _ = rest(answer, &body);
        }
    }
}
