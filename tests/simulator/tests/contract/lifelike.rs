//! What a running GitLab does that its documentation does not say: rights that are no roles, switches of
//! projects, deletion in two steps, deployments before their time, pages with gaps.

use gitlab_simulator::auth::Grants;
use gitlab_simulator::time::SECOND;
use gitlab_simulator::world::{
    DeploymentStatus, EnvironmentTier, Feature, Finish, JobSpec, PipelineSpec, ReviewAct,
    Visibility, When,
};
use gitlab_simulator::{AccessLevel, Token};
use serde_json::{Value, json};

use crate::support::Lab;

const LEVELS: &str = "query A($ids: [ID!]) { projects(ids: $ids) { nodes { \
    maxAccessLevel { integerValue } publicJobs jobsEnabled mergeRequestsEnabled markedForDeletion \
    userPermissions { readMergeRequest readEnvironment downloadCode adminProject } \
    pipelines(first: 1) { nodes { id } } jobs(first: 1) { nodes { id } } \
    mergeRequests(first: 1) { nodes { iid } } } } }";

/// The node of a project as a token sees it.
async fn node(lab: &Lab, token: &str, project: u64) -> Value {
    let ids = [format!("gid://gitlab/Project/{project}")];
    let body = json!({"query": LEVELS, "variables": {"ids": ids}});
    lab.post(token, &body).await.body["data"]["projects"]["nodes"][0].take()
}

fn nobody(name: &str) -> Token {
    Token::new(name).with_role(AccessLevel::None)
}

#[tokio::test]
async fn an_administrator_has_no_role_and_reads_everything() {
    let lab = Lab::usual();
    let admin = Token {
        admin: true,
        ..nobody("glpat-admin")
    };
    lab.simulator.world().add_token(admin);
    let shown = node(&lab, "glpat-admin", lab.app).await;
    assert_eq!(shown["maxAccessLevel"]["integerValue"], 0);
    assert_eq!(shown["userPermissions"]["adminProject"], true);
    assert_eq!(
        shown["pipelines"]["nodes"].as_array().map(Vec::len),
        Some(1)
    );
    let project = lab
        .rest_as("glpat-admin", &format!("/projects/{}", lab.app))
        .await;
    assert_eq!(
        project.body["permissions"],
        json!({"project_access": null, "group_access": null})
    );
}

#[tokio::test]
async fn a_member_of_a_group_has_its_role_in_the_projects_below() {
    let lab = Lab::usual();
    let group = lab
        .simulator
        .world()
        .group_by_path("group")
        .map(|group| group.id);
    let mut token = nobody("glpat-member");
    token
        .group_roles
        .extend(group.map(|id| (id, AccessLevel::Reporter)));
    lab.simulator.world().add_token(token);
    let project = lab
        .rest_as("glpat-member", &format!("/projects/{}", lab.app))
        .await;
    assert_eq!(
        project.body["permissions"],
        json!({
            "project_access": null,
            "group_access": {"access_level": 20, "notification_level": 3},
        })
    );
    let rich = format!("/projects/{}", lab.rich);
    assert_eq!(lab.rest_as("glpat-member", &rich).await.status, 404);
}

#[tokio::test]
async fn guests_read_pipelines_where_jobs_are_public() {
    let lab = Lab::usual();
    let guest = Token::new("glpat-guest").with_role(AccessLevel::Guest);
    lab.simulator.world().add_token(guest);
    let path = format!("/projects/{}/pipelines", lab.app);
    let branches = format!("/projects/{}/repository/branches", lab.app);
    assert_eq!(lab.rest_as("glpat-guest", &path).await.status, 200);
    assert_eq!(lab.rest_as("glpat-guest", &branches).await.status, 403);
    lab.simulator
        .world()
        .change_settings(lab.app, |settings| settings.public_jobs = false)
        .expect("a project");
    assert_eq!(lab.rest_as("glpat-guest", &path).await.status, 403);
    let shown = node(&lab, "glpat-guest", lab.app).await;
    assert_eq!(
        (&shown["publicJobs"], &shown["pipelines"]["nodes"]),
        (&json!(false), &json!([]))
    );
}

#[tokio::test]
async fn planners_read_code_and_security_managers_runners() {
    let lab = Lab::usual();
    let statuses = async |role: AccessLevel| {
        let token = Token::new("glpat-role").with_role(role);
        lab.simulator.world().add_token(token);
        let mut found = Vec::new();
        for path in [
            "repository/branches",
            "merge_requests",
            "environments",
            "runners",
        ] {
            let path = format!("/projects/{}/{path}", lab.app);
            found.push(lab.rest_as("glpat-role", &path).await.status);
        }
        found
    };
    assert_eq!(statuses(AccessLevel::Guest).await, [403, 403, 403, 403]);
    assert_eq!(statuses(AccessLevel::Planner).await, [200, 200, 403, 403]);
    assert_eq!(statuses(AccessLevel::Reporter).await, [200, 200, 200, 403]);
    assert_eq!(
        statuses(AccessLevel::SecurityManager).await,
        [200, 200, 200, 200]
    );
    assert_eq!(statuses(AccessLevel::Developer).await, [200, 200, 200, 403]);
    assert_eq!(
        statuses(AccessLevel::Maintainer).await,
        [200, 200, 200, 200]
    );
}

#[tokio::test]
async fn external_users_see_nothing_of_internal_projects() {
    let lab = Lab::usual();
    lab.simulator
        .world()
        .set_visibility(lab.app, Visibility::Internal)
        .expect("a project");
    let external = Token {
        external: true,
        ..nobody("glpat-external")
    };
    lab.simulator.world().add_token(external);
    lab.simulator.world().add_token(nobody("glpat-colleague"));
    let path = format!("/projects/{}", lab.app);
    assert_eq!(lab.rest_as("glpat-external", &path).await.status, 404);
    assert_eq!(lab.rest_as("glpat-colleague", &path).await.status, 200);
}

#[tokio::test]
async fn projects_without_ci_refuse_lists_and_have_no_pipeline() {
    let lab = Lab::usual();
    lab.simulator
        .world()
        .change_settings(lab.app, |settings| settings.builds = Feature::Disabled)
        .expect("a project");
    let status = async |rest: String| {
        lab.rest(&format!("/projects/{}/{rest}", lab.app))
            .await
            .status
    };
    assert_eq!(status("pipelines".to_owned()).await, 403);
    assert_eq!(status(format!("pipelines/{}", lab.flaky)).await, 404);
    assert_eq!(status("environments".to_owned()).await, 403);
    assert_eq!(status("pipeline_schedules".to_owned()).await, 403);
    assert_eq!(status("runners".to_owned()).await, 200);
    let shown = node(&lab, lab.simulator.token(), lab.app).await;
    assert_eq!(
        (
            &shown["jobsEnabled"],
            &shown["pipelines"]["nodes"],
            &shown["jobs"]
        ),
        (&json!(false), &json!([]), &Value::Null)
    );
}

#[tokio::test]
async fn projects_without_merge_requests_refuse_them() {
    let lab = Lab::usual();
    lab.simulator
        .world()
        .change_settings(lab.app, |settings| {
            settings.merge_requests = Feature::Disabled
        })
        .expect("a project");
    let list = lab
        .rest(&format!("/projects/{}/merge_requests", lab.app))
        .await;
    assert_eq!(
        (list.status, list.body),
        (403, json!({"message": "403 Forbidden"}))
    );
    let shown = node(&lab, lab.simulator.token(), lab.app).await;
    assert_eq!(
        (
            &shown["mergeRequestsEnabled"],
            &shown["mergeRequests"]["nodes"]
        ),
        (&json!(false), &json!([]))
    );
}

#[tokio::test]
async fn a_deletion_renames_the_project_and_leaves_it_readable() {
    let lab = Lab::usual();
    lab.simulator
        .world()
        .schedule_deletion(lab.app)
        .expect("a project");
    let path = format!("group/app-deletion_scheduled-{}", lab.app);
    let shown = lab.rest(&format!("/projects/{}", lab.app)).await.body;
    assert_eq!(
        (&shown["path_with_namespace"], &shown["archived"]),
        (&json!(path), &json!(false))
    );
    assert_eq!(shown["marked_for_deletion_on"], "2026-01-05");
    let old = lab.rest("/projects/group%2Fapp").await;
    assert_eq!(old.status, 301);
    let listed = lab
        .rest("/groups/group/projects?order_by=id&sort=asc")
        .await;
    assert_eq!(listed.each("id"), [json!(lab.app), json!(lab.library)]);
    let active = lab.rest("/groups/group/projects?active=true").await;
    assert_eq!(active.each("id"), [json!(lab.library)]);
    let node = node(&lab, lab.simulator.token(), lab.app).await;
    assert_eq!(node["markedForDeletion"], true);
    let variables = format!("/projects/{}/pipelines/{}/variables", lab.app, lab.flaky);
    assert_eq!(lab.rest(&variables).await.status, 403);
}

#[tokio::test]
async fn archived_projects_are_not_active() {
    let lab = Lab::usual();
    lab.simulator
        .world()
        .set_archived(lab.app, true)
        .expect("a project");
    let active = lab.rest("/groups/group/projects?active=true").await;
    assert_eq!(active.each("id"), [json!(lab.library)]);
    let inactive = lab.rest("/groups/group/projects?active=false").await;
    assert_eq!(inactive.each("id"), [json!(lab.app)]);
}

/// Status of the deployments of a project, oldest first.
async fn deployments(lab: &Lab) -> Vec<Value> {
    let path = format!("/projects/{}/deployments?order_by=id&sort=asc", lab.app);
    lab.rest(&path).await.each("status")
}

#[tokio::test]
async fn deployments_are_there_from_the_pipelines_beginning() {
    let lab = Lab::usual();
    let (unit, staging) = {
        let mut world = lab.simulator.world();
        let spec = PipelineSpec::branch("main")
            .job(JobSpec::new("test", "unit"))
            .job(JobSpec::new("deploy", "staging").environment("staging"))
            .job(
                JobSpec::new("release", "production")
                    .environment("production")
                    .manual(),
            );
        let pipeline = world.create_pipeline(lab.app, &spec).expect("made");
        let id = |name: &str| world.job_named(pipeline, name).expect("a job").id;
        (id("unit"), id("staging"))
    };
    assert_eq!(deployments(&lab).await, ["created", "created"]);
    lab.simulator
        .world()
        .finish_job(unit, &Finish::success())
        .expect("pending");
    lab.simulator
        .world()
        .start_job(staging, Some(1))
        .expect("pending");
    assert_eq!(deployments(&lab).await, ["running", "created"]);
    lab.simulator.world().advance(3 * SECOND);
    lab.simulator
        .world()
        .finish_job(staging, &Finish::success())
        .expect("running");
    assert_eq!(deployments(&lab).await, ["success", "blocked"]);
    let first = lab
        .rest(&format!(
            "/projects/{}/deployments?order_by=id&sort=asc",
            lab.app
        ))
        .await
        .body[0]
        .take();
    assert_eq!(first["deployable"]["id"], staging);
    assert_eq!(first["deployable"]["duration"], 3.0);
    let tier = lab
        .simulator
        .world()
        .delivery(lab.app)
        .and_then(|delivery| delivery.environment("production").map(|found| found.tier));
    assert_eq!(tier, Some(EnvironmentTier::Production));
}

#[tokio::test]
async fn deployments_of_a_failed_pipeline_are_skipped() {
    let lab = Lab::usual();
    {
        let mut world = lab.simulator.world();
        let spec = PipelineSpec::branch("main")
            .job(JobSpec::new("test", "unit"))
            .job(JobSpec::new("deploy", "staging").environment("staging"));
        let pipeline = world.create_pipeline(lab.app, &spec).expect("made");
        let unit = world.job_named(pipeline, "unit").expect("a job").id;
        world
            .finish_job(unit, &Finish::failed("script_failure"))
            .expect("pending");
    }
    assert_eq!(
        deployments(&lab).await,
        [DeploymentStatus::Skipped.as_str()]
    );
}

#[tokio::test]
async fn every_build_that_ran_leaves_its_log() {
    let lab = Lab::usual();
    let path = format!("/projects/{}/pipelines/{}/jobs", lab.app, lab.flaky);
    let jobs = lab.rest(&path).await;
    for job in jobs.body.as_array().expect("a list") {
        let files = job["artifacts"].as_array().expect("a list").iter();
        let logs: Vec<&Value> = files.filter(|file| file["file_type"] == "trace").collect();
        assert_eq!(logs.len(), 1, "{}", job["name"]);
    }
}

#[tokio::test]
async fn lists_of_a_pipeline_have_totals_and_managers_are_not_paged() {
    let lab = Lab::usual();
    for (pipeline, list) in [(lab.flaky, "jobs"), (lab.parent, "bridges")] {
        let path = format!(
            "/projects/{}/pipelines/{pipeline}/{list}?per_page=1",
            lab.app
        );
        assert!(lab.rest(&path).await.header("x-total").is_some(), "{list}");
    }
    let managers = lab.rest("/runners/1/managers?page=2&per_page=1").await;
    assert_eq!(managers.body.as_array().map(Vec::len), Some(1));
    assert_eq!(managers.header("x-page"), None);
}

#[tokio::test]
async fn pages_of_graphql_have_gaps_where_something_may_not_be_seen() {
    let lab = Lab::usual();
    {
        let mut world = lab.simulator.world();
        let mut token = nobody("glpat-some");
        token.roles.insert(lab.app, AccessLevel::Guest);
        world.add_token(token);
    }
    let page = async |after: Value| {
        let query = "query A($after: String) { group(fullPath: \"group\") { \
            projects(first: 1, after: $after) { count nodes { fullPath } \
            pageInfo { hasNextPage endCursor } } } }";
        let body = json!({"query": query, "variables": {"after": after}});
        lab.post("glpat-some", &body).await.body["data"]["group"]["projects"].take()
    };
    let first = page(Value::Null).await;
    assert_eq!(
        (
            &first["count"],
            &first["nodes"],
            &first["pageInfo"]["hasNextPage"]
        ),
        (&json!(2), &json!([]), &json!(true))
    );
    let second = page(first["pageInfo"]["endCursor"].clone()).await;
    assert_eq!(second["nodes"], json!([{"fullPath": "group/app"}]));
}

#[tokio::test]
async fn pages_of_nothing_never_end() {
    let lab = Lab::usual();
    let answer = lab
        .graphql("{ projects(first: 0) { nodes { id } pageInfo { hasNextPage endCursor } } }")
        .await;
    assert_eq!(
        answer["data"]["projects"],
        json!({"nodes": [], "pageInfo": {"hasNextPage": true, "endCursor": null}})
    );
}

#[tokio::test]
async fn one_exception_fails_the_whole_document() {
    let lab = Lab::usual();
    lab.simulator
        .world()
        .add_environment(lab.app, "production", None)
        .expect("a project");
    let query = "query A($ids: [ID!]) { projects(ids: $ids) { nodes { id \
        environment(name: \"production\") { deployments(orderBy: {finishedAt: DESC}) { nodes { iid } } } } } }";
    let ids = [format!("gid://gitlab/Project/{}", lab.app)];
    let body = json!({"query": query, "variables": {"ids": ids}});
    let answer = lab.post(lab.simulator.token(), &body).await;
    assert_eq!(
        (answer.status, answer.body),
        (
            500,
            json!({"errors": [{"message": "Internal server error"}]})
        )
    );
}

#[tokio::test]
async fn fine_grained_tokens_read_what_they_were_granted() {
    let lab = Lab::usual();
    {
        let mut world = lab.simulator.world();
        let group = world.group_by_path("group").expect("a group").id;
        let permissions = ["read_project", "read_pipeline"].map(str::to_owned);
        let token = Token {
            grants: Some(Grants {
                groups: [(group, permissions.into())].into(),
                ..Grants::default()
            }),
            ..Token::new("glpat-granular").with_scopes(&["granular"])
        };
        world.add_token(token);
    }
    let rest = async |path: String| lab.rest_as("glpat-granular", &path).await;
    assert_eq!(
        rest(format!("/projects/{}/pipelines", lab.app))
            .await
            .status,
        200
    );
    let environments = rest(format!("/projects/{}/environments", lab.app)).await;
    assert_eq!(
        (environments.status, &environments.body["error"]),
        (403, &json!("insufficient_granular_scope"))
    );
    let outside = rest(format!("/projects/{}", lab.rich)).await;
    assert_eq!(
        (outside.status, outside.body),
        (404, json!({"message": "404 Not Found"}))
    );
    let ids = [format!("gid://gitlab/Project/{}", lab.app)];
    let query = "query A($ids: [ID!]) { projects(ids: $ids) { nodes { id maxAccessLevel { integerValue } } } \
        queryComplexity { score } }";
    let body = json!({"query": query, "variables": {"ids": ids}});
    let answer = lab.post("glpat-granular", &body).await.body;
    assert_eq!(
        answer["data"],
        json!({"projects": {"nodes": [null]}, "queryComplexity": null})
    );
    assert_eq!(
        answer["errors"][0]["message"],
        "Cannot return null for non-nullable field Project.maxAccessLevel"
    );
}

#[tokio::test]
async fn an_approval_is_noted_by_a_background_job() {
    let lab = Lab::usual();
    let notes = format!("/projects/{}/merge_requests/1/notes?sort=asc", lab.app);
    let last = async |field: &str| {
        let notes = lab.rest(&notes).await.body;
        let last = notes.as_array().and_then(|notes| notes.last());
        last.map_or(Value::Null, |note| note[field].clone())
    };
    {
        let mut world = lab.simulator.world();
        world.set_background_delay(2 * SECOND);
        for act in [ReviewAct::Approve, ReviewAct::Unapprove] {
            world.review(lab.app, 1, "ben", act).expect("it is there");
        }
    }
    assert_eq!(last("body").await, "unapproved this merge request");
    let before = last("id").await.as_u64();
    lab.simulator.world().advance(2 * SECOND);
    assert_eq!(last("body").await, "approved this merge request");
    assert!(last("id").await.as_u64() > before);
}

#[tokio::test]
async fn pipelines_that_wait_are_listed_by_their_status() {
    let lab = Lab::usual();
    let empty = lab
        .simulator
        .world()
        .add_project("group/waits")
        .expect("free path");
    {
        let mut world = lab.simulator.world();
        let waits = PipelineSpec::branch("main").job(JobSpec::new("test", "unit"));
        let blocked = PipelineSpec::branch("main").job(JobSpec::new("deploy", "go").manual());
        let delayed = JobSpec::new("deploy", "later").when(When::Delayed);
        let delayed = PipelineSpec::branch("main").job(delayed);
        for spec in [
            waits,
            blocked,
            delayed,
            PipelineSpec::branch("main").skipped(),
        ] {
            world.create_pipeline(empty, &spec).expect("made");
        }
    }
    for status in ["pending", "manual", "scheduled", "skipped"] {
        let path = format!("/projects/{empty}/pipelines?status={status}");
        let listed = lab.rest(&path).await;
        assert_eq!(listed.each("status"), [status]);
        let id = listed.body[0]["id"].clone();
        let one = lab
            .rest(&format!("/projects/{empty}/pipelines/{id}"))
            .await
            .body;
        assert_eq!(
            (&one["finished_at"], &one["duration"]),
            (&Value::Null, &Value::Null),
            "{status}"
        );
        let query = format!(
            "{{ project(fullPath: \"group/waits\") {{ pipelines(status: {}) {{ nodes {{ id finishedAt }} }} }} }}",
            status.to_uppercase()
        );
        let answer = lab.graphql(&query).await;
        let id = format!("gid://gitlab/Ci::Pipeline/{id}");
        assert_eq!(
            answer["data"]["project"]["pipelines"]["nodes"],
            json!([{"id": id, "finishedAt": null}])
        );
    }
}
