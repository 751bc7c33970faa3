//! Who sees which groups, projects and runners.

use gitlab_simulator::AccessLevel;
use gitlab_simulator::world::Visibility;
use serde_json::json;

use crate::support::Lab;

#[tokio::test]
async fn groups_list_their_own_projects_and_subgroups_when_asked() {
    let lab = Lab::usual();
    let deep = lab
        .simulator
        .world()
        .add_project("group/team/deep")
        .expect("free path");
    let own = lab
        .rest("/groups/group/projects?order_by=id&sort=asc")
        .await
        .each("id");
    assert_eq!(own, [json!(lab.app), json!(lab.library)]);
    let all = lab
        .rest("/groups/group/projects?include_subgroups=true&order_by=id&sort=asc")
        .await
        .each("id");
    assert_eq!(all, [json!(lab.app), json!(lab.library), json!(deep)]);
    assert_eq!(
        lab.rest("/groups/group%2Fteam").await.body["full_path"],
        "group/team"
    );
    assert_eq!(
        lab.rest("/groups/nobody").await.body,
        json!({"message": "404 Group Not Found"})
    );
}

#[tokio::test]
async fn a_role_that_is_too_low_gets_403_and_none_404() {
    let lab = Lab::usual();
    let token = lab.simulator.token();
    let path = format!("/projects/{}/pipelines", lab.app);
    lab.simulator
        .world()
        .set_role(token, lab.app, AccessLevel::Guest)
        .expect("a token");
    lab.simulator
        .world()
        .change_settings(lab.app, |settings| settings.public_jobs = false)
        .expect("a project");
    let guest = lab.rest(&path).await;
    assert_eq!(
        (guest.status, guest.body),
        (403, json!({"message": "403 Forbidden"}))
    );
    assert_eq!(
        lab.rest(&format!("/projects/{}", lab.app)).await.body["permissions"]["project_access"]["access_level"],
        10
    );
    lab.simulator
        .world()
        .set_role(token, lab.app, AccessLevel::None)
        .expect("a token");
    let nobody = lab.rest(&path).await;
    assert_eq!(
        (nobody.status, nobody.body),
        (404, json!({"message": "404 Project Not Found"}))
    );
    lab.simulator
        .world()
        .set_visibility(lab.app, Visibility::Public)
        .expect("a project");
    lab.simulator
        .world()
        .change_settings(lab.app, |settings| settings.public_jobs = true)
        .expect("a project");
    assert_eq!(
        lab.rest(&path).await.status,
        200,
        "public CI is everybody's"
    );
}

#[tokio::test]
async fn users_have_projects_that_are_in_no_group() {
    let lab = Lab::usual();
    let (user, project) = {
        let mut world = lab.simulator.world();
        let user = world.add_user("alice");
        (user, world.add_project("alice/toy").expect("free path"))
    };
    for handle in [user.to_string(), "alice".to_owned(), "ALICE".to_owned()] {
        let projects = lab.rest(&format!("/users/{handle}/projects")).await;
        assert_eq!(projects.each("id"), [json!(project)]);
        assert_eq!(projects.body[0]["namespace"]["kind"], "user");
    }
    assert_eq!(
        lab.rest("/users/group/projects").await.body,
        json!({"message": "404 User Not Found"})
    );
    assert_eq!(lab.rest("/groups/alice").await.status, 404);
}

#[tokio::test]
async fn a_group_exists_for_those_who_see_something_in_it() {
    let lab = Lab::usual();
    let token = lab.simulator.token();
    lab.simulator
        .world()
        .set_default_role(token, AccessLevel::None)
        .expect("a token");
    lab.simulator
        .world()
        .set_role(token, lab.rich, AccessLevel::Guest)
        .expect("a token");
    assert_eq!(
        (
            lab.rest("/groups/group").await.status,
            lab.rest("/groups/rich").await.status
        ),
        (404, 200)
    );
    let groups = lab.graphql("{ hidden: group(fullPath: \"group\") { id } seen: group(fullPath: \"rich\") { fullPath } }").await;
    assert_eq!(
        groups["data"],
        json!({"hidden": null, "seen": {"fullPath": "rich"}})
    );
}

#[tokio::test]
async fn rest_shows_every_runner_to_a_reporter() {
    let lab = Lab::usual();
    let token = lab.simulator.token();
    lab.simulator
        .world()
        .set_default_role(token, AccessLevel::Reporter)
        .expect("a token");
    let jobs = lab
        .rest(&format!(
            "/projects/{}/pipelines/{}/jobs",
            lab.app, lab.flaky
        ))
        .await;
    assert_eq!(jobs.body[0]["runner"]["runner_type"], "group_type");
}
