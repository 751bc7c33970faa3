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
    match answer {
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
            let (body, told) = mutation.apply(&good, &format!("/{index}"));
            let text = String::from_utf8_lossy(&body);
            let reading = rest(answer, &body);
            prop_assert!(reading.is_ok(), "{answer:?}: {reading:?}: {text}");
            let reading = reading.unwrap();
            for other in &others {
                prop_assert!(reading.items.contains(other), "{answer:?}: {other} of {text}");
            }
            let counted = reading.items.len() + reading.skipped.len();
            prop_assert!(!told || counted == 3, "{answer:?}: {reading:?} of {text}");
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
