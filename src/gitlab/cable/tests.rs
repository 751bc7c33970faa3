use serde_json::{Value, json};
use uuid::Uuid;

use super::message::{Incoming, command, identifier, read};
use super::*;

#[test]
fn a_subscription_asks_for_the_id_alone_and_is_named_by_its_own_text() {
    let name = identifier(ProjectId(42), Uuid::nil());
    let said: Value = serde_json::from_str(&command("subscribe", &name)).unwrap();
    assert_eq!(said["command"], "subscribe");
    assert_eq!(said["identifier"], name, "as a text");
    let inner: Value = serde_json::from_str(&name).unwrap();
    assert_eq!(inner["channel"], "GraphqlChannel");
    assert_eq!(inner["variables"]["project"], "gid://gitlab/Project/42");
    assert_eq!(inner["operationName"], Value::Null);
    let query = inner["query"].as_str().unwrap();
    assert!(query.ends_with("{ ciPipelineStatusesUpdated(projectId: $project) { id } }"));
    graphql_parser::parse_query::<&str>(query).unwrap();
    let names = [
        Cable::subscription(ProjectId(1)),
        Cable::subscription(ProjectId(1)),
    ];
    assert_ne!(names[0], names[1], "each has a nonce of its own");
}

fn data(pipeline: Option<u64>, errors: &[&str], more: bool) -> Incoming {
    Incoming::Message(CableMessage::Data {
        subscription: "name".to_owned(),
        pipeline: pipeline.map(PipelineId),
        errors: errors.iter().map(|&why| why.to_owned()).collect(),
        more,
    })
}

#[test]
fn messages_are_read_as_gitlab_writes_them() {
    let field = |value: Value| json!({"data": {"ciPipelineStatusesUpdated": value}});
    let of = |message: Value| json!({"identifier": "name", "message": message});
    let moved = field(json!({"id": "gid://gitlab/Ci::Pipeline/7"}));
    let errors = json!([{"message": "no permission"}, {"path": []}]);
    let disconnect = |reason: &str| Incoming::Disconnect {
        reason: reason.to_owned(),
    };
    let rejected = CableMessage::Rejected {
        subscription: "name".to_owned(),
    };
    let cases = [
        (json!({"type": "welcome"}), Incoming::Welcome),
        (
            json!({"type": "ping", "message": 1_796_000_000}),
            Incoming::Nothing,
        ),
        (
            json!({"type": "disconnect", "reason": "server_restart", "reconnect": true}),
            disconnect("server_restart"),
        ),
        (json!({"type": "disconnect"}), disconnect("no reason")),
        (
            json!({"type": "confirm_subscription", "identifier": "name"}),
            Incoming::Nothing,
        ),
        (
            json!({"type": "reject_subscription", "identifier": "name"}),
            Incoming::Message(rejected),
        ),
        (
            of(json!({"result": field(Value::Null), "more": true})),
            data(None, &[], true),
        ),
        (
            of(json!({"result": moved, "more": true})),
            data(Some(7), &[], true),
        ),
        (of(json!({"more": false})), data(None, &[], false)),
        (of(json!({"result": null})), data(None, &[], true)),
        (
            of(json!({"result": {"data": null, "errors": errors}, "more": true})),
            data(None, &["no permission", "an error without a message"], true),
        ),
        (
            of(json!({"result": field(json!({"id": 7})), "more": true})),
            data(None, &[], true),
        ),
        // What is not known yet.
        (
            json!({"type": "hello", "identifier": "name", "message": {}}),
            Incoming::Nothing,
        ),
        (json!({"message": {"more": false}}), Incoming::Nothing),
        (json!({}), Incoming::Nothing),
    ];
    for (message, expected) in cases {
        assert_eq!(read(&message.to_string()), Ok(expected), "{message}");
    }
}

#[test]
fn what_is_no_message_says_so() {
    for text in [
        "",
        "no JSON",
        "[]",
        "{\"type\": 7}",
        "{\"identifier\":\"name\",\"message\":{\"more\":1}}",
    ] {
        let why = read(text).unwrap_err();
        assert!(why.starts_with("invalid message: "), "{why}");
    }
}
