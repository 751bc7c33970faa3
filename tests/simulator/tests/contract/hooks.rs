//! Webhooks that are created at once.

use futures::future::join_all;
use gitlab_simulator::auth::{AccessLevel, Token};
use gitlab_simulator::{Options, Simulator, World, WorldConfig};
use serde_json::{Value, json};

use crate::support::client;

#[tokio::test(flavor = "multi_thread")]
async fn each_is_answered_with_its_own() {
    let mut world = World::new(WorldConfig::default());
    let project = world.add_project("group/app").expect("free path");
    let mut token = Token::new("glpat-with-the-scope-api").with_scopes(&["api"]);
    token.default_role = AccessLevel::Maintainer;
    world.tokens.push(token);
    let simulator = Simulator::start(world, &Options::default()).expect("starts");
    let url = format!("{}/api/v4/projects/{project}/hooks", simulator.url());
    let client = client();
    let made = (0..200).map(async |number| {
        let wanted = format!("https://{number}.example.com/");
        let request = client
            .post(&url)
            .header("private-token", "glpat-with-the-scope-api");
        let answer = request.json(&json!({"url": &wanted})).send().await;
        let answer = answer.expect("an answer");
        let made: Value = answer.json().await.expect("a body");
        assert_eq!(made["url"], json!(wanted), "{made}");
    });
    join_all(made).await;
    assert_eq!(simulator.hooks().of(project).len(), 200);
}
