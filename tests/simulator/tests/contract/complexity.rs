//! The price of queries: the worked scores of GitLab's formula.

use async_graphql::Variables;
use async_graphql::parser::parse_query;
use gitlab_simulator::Token;
use gitlab_simulator::graphql::analysis::{self, Rules, Types};
use serde_json::json;

use crate::support::{Lab, project_gid};

/// 15 scalars of a pipeline, one of which asks Gitaly.
const S: &str = "id iid sha ref status source type createdAt updatedAt startedAt finishedAt duration queuedDuration child latest";
/// 15 scalars of a job, its stage and its runner.
const J: &str = "id name status kind allowFailure createdAt queuedAt startedAt finishedAt duration queuedDuration coverage retried \
                 manualJob refName stage { name } runner { runnerType }";
const INFO: &str = "pageInfo { hasNextPage endCursor }";

fn projects(first: usize, selection: &str) -> String {
    format!(
        "{{ projects(ids: $ids, first: {first}) {{ nodes {{ id fullPath {selection} }} {INFO} }} }}"
    )
}

fn jobs(first: usize, more: &str) -> String {
    format!("jobs(first: {first}) {{ nodes {{ {J} {more} }} {INFO} }}")
}

fn pipelines(first: usize, more: &str) -> String {
    format!("pipelines(first: {first}) {{ nodes {{ {S} {more} }} {INFO} }}")
}

/// The score that the refusal tells: the query is padded by a known price until it is refused.
async fn score(lab: &Lab, query: &str) -> i64 {
    let padded = pad(query);
    let declared = if padded.contains("$ids") {
        "($ids: [ID!])"
    } else {
        ""
    };
    let body = json!({"query": format!("query Score{declared} {padded}"), "variables": {"ids": [project_gid(lab.app)]}});
    let answer = lab.post(lab.simulator.token(), &body).await.body;
    let message = answer["errors"][0]["message"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let told = message
        .strip_prefix("Query has complexity of ")
        .and_then(|rest| rest.split(',').next());
    told.unwrap_or_else(|| panic!("{answer:#}"))
        .parse::<i64>()
        .expect("a number")
        - PADDING
}

/// 125 times `metadata { version }`, which costs 2.
const PADDING: i64 = 250;

fn pad(query: &str) -> String {
    let inner = query.trim().strip_prefix('{').expect("an anonymous query");
    let padding: String = (0..PADDING / 2)
        .map(|index| format!("pad{index}: metadata {{ version }} "))
        .collect();
    format!("{{ {padding} {inner}")
}

#[tokio::test]
async fn batches_of_pipelines_cost_what_gitlab_says() {
    let lab = Lab::usual();
    let table = [
        (5, [33, 37, 45, 60]),
        (10, [34, 38, 46, 62]),
        (20, [36, 41, 49, 66]),
    ];
    for (k, scores) in table {
        for (n, expected) in [10, 25, 50, 100].into_iter().zip(scores) {
            assert_eq!(
                score(&lab, &projects(n, &pipelines(k, ""))).await,
                expected,
                "{n} projects, {k} pipelines"
            );
        }
    }
}

#[tokio::test]
async fn jobs_raise_the_price_by_their_pages() {
    let lab = Lab::usual();
    let table = [
        (
            20,
            [[64, 68, 73], [73, 77, 83], [88, 93, 100], [118, 124, 134]],
        ),
        (
            100,
            [
                [88, 92, 100],
                [100, 105, 113],
                [120, 126, 136],
                [160, 168, 182],
            ],
        ),
    ];
    for (first, rows) in table {
        for (n, scores) in [10, 25, 50, 100].into_iter().zip(rows) {
            for (k, expected) in [5, 10, 20].into_iter().zip(scores) {
                let query = projects(n, &pipelines(k, &jobs(first, "")));
                assert_eq!(
                    score(&lab, &query).await,
                    expected,
                    "{n} projects, {k} pipelines, {first} jobs"
                );
            }
        }
    }
}

fn with_downstream(n: usize, k: usize, page: &str) -> String {
    let artifacts = format!("artifacts{page} {{ nodes {{ fileType size }} }}");
    let below = format!(
        "downstream{page} {{ nodes {{ id iid status project {{ fullPath }} sourceJob {{ name }} }} }}"
    );
    let query = projects(
        n,
        &pipelines(k, &format!("{} {below}", jobs(100, &artifacts))),
    );
    query.replacen(
        "{ projects",
        "{ queryComplexity { score limit } projects",
        1,
    )
}

#[tokio::test]
async fn connections_without_resolver_cost_the_same_whatever_their_page() {
    let lab = Lab::usual();
    let table = [
        (10, [110, 115, 125]),
        (25, [125, 130, 141]),
        (50, [150, 156, 169]),
        (100, [199, 207, 225]),
    ];
    for (n, scores) in table {
        for (k, expected) in [5, 10, 20].into_iter().zip(scores) {
            assert_eq!(
                score(&lab, &with_downstream(n, k, "")).await,
                expected,
                "{n} projects, {k} pipelines"
            );
        }
    }
    assert_eq!(
        score(&lab, &with_downstream(50, 10, "(first: 3)")).await,
        156
    );
}

#[tokio::test]
async fn single_projects_groups_and_the_change_feed() {
    let lab = Lab::usual();
    let aliased = format!(
        "{{ project(fullPath: \"group/app\") {{ id fullPath {} }} }}",
        pipelines(20, "")
    );
    assert_eq!(score(&lab, &aliased).await, 29);
    for (first, expected) in [(100, 44), (20, 24)] {
        let by_iid = format!(
            "{{ project(fullPath: \"group/app\") {{ pipeline(iid: \"1\") {{ id iid status {} }} }} }}",
            jobs(first, "")
        );
        assert_eq!(score(&lab, &by_iid).await, expected);
    }
    for (n, expected) in [(50, 88), (100, 118)] {
        let feed = format!(
            "{} children: {}",
            pipelines(20, ""),
            pipelines(20, "").replacen(
                "(first: 20)",
                "(first: 20, source: \"parent_pipeline\")",
                1
            )
        );
        assert_eq!(score(&lab, &projects(n, &feed)).await, expected);
    }
    let (narrow, wide) = (
        pipelines(20, ""),
        pipelines(20, "").replacen("(first: 20)", "(first: 20, ref: \"main\", sha: \"0\")", 1),
    );
    let one = |selection: &str| format!("{{ project(fullPath: \"group/app\") {{ {selection} }} }}");
    // 4 more before the page counts, and the fifth part of that.
    assert_eq!(
        score(&lab, &one(&wide)).await - score(&lab, &one(&narrow)).await,
        5
    );
}

#[tokio::test]
async fn search_and_sort_and_fixed_prices_count() {
    let lab = Lab::usual();
    let plain = "{ projects(first: 1) { nodes { id } } }";
    let searched = "{ projects(first: 1, search: \"app\") { nodes { id } } }";
    let sorted = "{ projects(first: 1, sort: \"id_asc\") { nodes { id } } }";
    let base = score(&lab, plain).await;
    assert_eq!(score(&lab, searched).await, base + 5);
    assert_eq!(score(&lab, sorted).await, base + 1);
    let mr = |fields: &str| {
        format!(
            "{{ project(fullPath: \"group/app\") {{ mergeRequest(iid: \"1\") {{ iid {fields} }} }} }}"
        )
    };
    assert_eq!(
        score(&lab, &mr("mergedAt closedAt")).await,
        score(&lab, &mr("")).await + 10
    );
    // Fragments are what they stand for, a field that is there twice is one field, variables count.
    let fragment = "{ projects(first: 1) { nodes { id ... on Project { id name } name } } }";
    assert_eq!(score(&lab, fragment).await, base + 1);
    assert_eq!(
        score(
            &lab,
            "{ projects(first: 1) { nodes { id name @skip(if: true) } } }"
        )
        .await,
        base
    );
}

#[tokio::test]
async fn a_page_size_in_a_variable_counts() {
    let lab = Lab::usual();
    let ask = |first: serde_json::Value| {
        let query = "query Q($first: Int) { queryComplexity { score } projects(first: $first) { nodes { a: id b: name c: path d: archived } } }";
        json!({"query": query, "variables": {"first": first}})
    };
    let told = |body: serde_json::Value| {
        let lab = &lab;
        async move {
            lab.post(lab.simulator.token(), &body).await.body["data"]["queryComplexity"]["score"]
                .as_i64()
        }
    };
    assert_eq!(told(ask(json!(10))).await, Some(2 + 6));
    assert_eq!(told(ask(json!(100))).await, Some(2 + 12));
    assert_eq!(
        told(ask(json!(null))).await,
        Some(2 + 12),
        "no page size is a full page"
    );
}

#[tokio::test]
async fn administrators_may_ask_more_and_a_multiplex_is_priced_as_a_whole() {
    let lab = Lab::usual();
    let admin = Token {
        admin: true,
        ..Token::new("glpat-admin")
    };
    lab.simulator.world().add_token(admin);
    let limit = |token: &'static str| {
        let lab = &lab;
        async move {
            let body = json!({"query": "{ queryComplexity { score limit } }"});
            lab.post(token, &body).await.body["data"]["queryComplexity"].clone()
        }
    };
    assert_eq!(
        limit("glpat-admin").await,
        json!({"score": 3, "limit": 300})
    );
    assert_eq!(
        limit(lab.simulator.token()).await,
        json!({"score": 3, "limit": 250})
    );
    let query = |index: usize| {
        let names: String = (0..50)
            .map(|field| format!("m{field}: metadata {{ version }} "))
            .collect();
        json!({"query": format!("query Q{index} {{ {names} }}")})
    };
    let two = lab
        .post(lab.simulator.token(), &json!([query(1), query(2)]))
        .await
        .body;
    assert!(
        two.as_array()
            .expect("a list")
            .iter()
            .all(|one| one["data"].is_object())
    );
    let three = lab
        .post(
            lab.simulator.token(),
            &json!([query(1), query(2), query(3)]),
        )
        .await
        .body;
    for one in three.as_array().expect("a list") {
        assert_eq!(
            one["errors"][0]["message"],
            "Query has complexity of 300, which exceeds max complexity of 250"
        );
    }
}

#[test]
fn the_rule_holds_for_fields_that_only_gitlab_has() {
    let Some(truth) = crate::schemas::truth() else {
        return;
    };
    let sdl = std::fs::read_to_string(truth.join("graphql/schema.graphql")).expect("readable");
    let types = Types::parse(&sdl).expect("SDL");
    let merge_request = "iid title state draft createdAt updatedAt preparedAt targetBranch sourceBranch conflicts commitCount \
                         userNotesCount resolvableDiscussionsCount resolvedDiscussionsCount mergedAt closedAt \
                         reviewers { nodes { username mergeRequestInteraction { reviewState reviewed approved } } } \
                         approvedBy { nodes { username } } \
                         diffStatsSummary { additions deletions changes fileCount } userDiscussionsCount downvotes";
    let table = [
        (5, [(10, 67), (50, 91), (100, 122)]),
        (20, [(10, 75), (50, 103), (100, 138)]),
    ];
    for (k, scores) in table {
        for (n, expected) in scores {
            let query = projects(
                n,
                &format!("mergeRequests(first: {k}) {{ nodes {{ {merge_request} }} {INFO} }}"),
            );
            let document = parse_query(format!("query Q($ids: [ID!]) {query}")).expect("a query");
            let (_, operation) = analysis::operation(&document, None).expect("one");
            let rules = Rules {
                enterprise: true,
                introspection: false,
                release: (99, 0),
            };
            let found = analysis::analyse(
                &types,
                &document,
                &operation.node,
                None,
                &Variables::default(),
                rules,
            );
            assert!(found.errors.is_empty(), "{:#?}", found.errors);
            assert_eq!(found.score(), expected, "{n} projects, {k} merge requests");
        }
    }
}
