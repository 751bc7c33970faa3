//! GitLab's own answers, as collected outside the repository, through the client's types.

mod code;

use std::path::PathBuf;

use serde_json::Value;

use super::*;
use crate::gitlab::testing::truth;

/// The samples whose names begin with one of `names`, as (name, body).
fn samples(names: &[&str]) -> Vec<(String, String)> {
    let Some(folder) = truth("rest/samples") else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .filter(|(name, _)| {
            names
                .iter()
                .any(|wanted| name.starts_with(&format!("{wanted}--")))
        })
        .collect()
}

/// The items of a sample, one or many, without those that lack a key the endpoint always has:
/// hand-made fixtures are trimmed.
fn items(body: &str, always: &[&str]) -> Vec<Value> {
    let items = match serde_json::from_str(body).unwrap() {
        Value::Array(items) => items,
        item => vec![item],
    };
    items
        .into_iter()
        .filter(|item| always.iter().all(|key| !item[key].is_null()))
        .collect()
}

fn same_second(ours: Option<UnixSeconds>, theirs: &Value) {
    // One old fixture has blanks in its times; that is nothing for us as well.
    let theirs = theirs
        .as_str()
        .and_then(|text| text.parse::<jiff::Timestamp>().ok())
        .map(|time| UnixSeconds(time.as_second()));
    assert_eq!(ours, theirs);
}

/// Serves `items` as a list and returns what `call` makes of it.
async fn served<T>(items: &[Value], call: impl AsyncFn(GitLab) -> Page<T>) -> Vec<T> {
    let fake = Fake::script(vec![reply(&Value::Array(items.to_vec()))]).await;
    let page = call(fake.gitlab()).await;
    assert!(page.skipped.is_empty(), "{:?}", page.skipped);
    assert_eq!(page.items.len(), items.len());
    page.items
}

#[tokio::test]
async fn pipelines() {
    let mut seen = 0;
    for (name, body) in samples(&["get-pipeline", "get-latest-pipeline"]) {
        for item in items(&body, &["id", "created_at", "status"]) {
            println!("{name}");
            let read = one_pipeline(&item).await.unwrap();
            assert_eq!(item["id"], read.id.0);
            assert_eq!(item["ref"], *read.git_ref);
            assert_eq!(item["status"], read.status.as_str());
            assert_eq!(item["duration"].as_f64(), read.duration);
            assert_eq!(item["queued_duration"].as_f64(), read.queued_duration);
            let coverage = item["coverage"].as_str().map(|text| text.parse().unwrap());
            assert_eq!(coverage, read.coverage);
            same_second(Some(read.created_at), &item["created_at"]);
            same_second(read.started_at, &item["started_at"]);
            same_second(read.finished_at, &item["finished_at"]);
            assert_eq!(read.kind == RefKind::Tag, item["tag"] == true);
            seen += 1;
        }
    }
    assert!(seen == 0 || seen >= 12, "{seen}");
}

#[tokio::test]
async fn lists_of_pipelines() {
    for (name, body) in samples(&["list-pipelines"]) {
        let items = items(&body, &["id", "created_at", "updated_at", "status"]);
        println!("{name}: {}", items.len());
        let filter = PipelineFilter::default();
        let read = served(&items, async |gitlab| {
            gitlab.newest_pipelines(PROJECT, &filter).await.unwrap()
        })
        .await;
        for (item, read) in items.iter().zip(read) {
            assert_eq!(item["id"], read.id.0);
            assert_eq!(item["status"], read.status.as_str());
            same_second(Some(read.updated_at), &item["updated_at"]);
        }
    }
}

#[tokio::test]
async fn jobs() {
    let mut seen = 0;
    for (name, body) in samples(&["list-pipeline-jobs", "list-project-jobs", "get-job"]) {
        let items = items(&body, &["id", "name", "created_at", "status"]);
        println!("{name}: {}", items.len());
        let read = served(&items, async |gitlab| {
            gitlab.jobs(PROJECT, PipelineId(1), true).await.unwrap()
        })
        .await;
        for (item, read) in items.iter().zip(read) {
            assert_eq!(item["id"], read.id.0);
            assert_eq!(item["name"], *read.name);
            assert_eq!(item["stage"].as_str().unwrap_or(""), &*read.stage);
            assert_eq!(item["duration"].as_f64(), read.duration);
            assert_eq!(item["queued_duration"].as_f64(), read.queued_duration);
            assert_eq!(item["coverage"].as_f64(), read.coverage);
            let reason = read.failure_reason.value();
            assert_eq!(item["failure_reason"].as_str(), reason.as_deref());
            let runner = item["runner"]["runner_type"].as_str().map(RunnerType::from);
            assert_eq!(
                runner,
                read.runner_type.value().filter(|_| runner.is_some())
            );
            same_second(read.started_at, &item["started_at"]);
            same_second(read.finished_at, &item["finished_at"]);
            let sizes = item["artifacts"].as_array().into_iter().flatten();
            let files = sizes.filter(|artifact| artifact["file_type"] != "trace");
            let bytes: u64 = files.filter_map(|artifact| artifact["size"].as_u64()).sum();
            if bytes > 0 {
                assert_eq!(read.artifact_bytes, Some(bytes));
            }
            seen += 1;
        }
    }
    assert!(seen == 0 || seen >= 30, "{seen}");
}

#[tokio::test]
async fn bridges() {
    for (name, body) in samples(&["list-pipeline-bridges", "list-pipeline-trigger-jobs"]) {
        let mut items = items(&body, &["id", "name", "status", "created_at"]);
        // Documentation forgets keys of the downstream pipeline that the entity always exposes.
        items.retain(|item| {
            let downstream = &item["downstream_pipeline"];
            downstream.is_null()
                || (downstream["project_id"].is_u64() && downstream["created_at"].is_string())
        });
        println!("{name}: {}", items.len());
        let read = served(&items, async |gitlab| {
            gitlab.bridges(PROJECT, PipelineId(1)).await.unwrap()
        })
        .await;
        for (item, read) in items.iter().zip(read) {
            assert_eq!(item["name"], *read.job.name);
            let target = read.downstream.map(|target| target.pipeline.id.0);
            assert_eq!(item["downstream_pipeline"]["id"].as_u64(), target);
        }
    }
}

#[tokio::test]
async fn projects() {
    let lists = [
        "get-project",
        "list-projects",
        "list-group-projects",
        "list-user-projects",
    ];
    for (name, body) in samples(&lists) {
        let items = items(&body, &["id", "path_with_namespace"]);
        println!("{name}: {}", items.len());
        let filter = ProjectFilter::default();
        let read = served(&items, async |gitlab| {
            gitlab.all_projects(&filter).await.unwrap()
        })
        .await;
        for (item, read) in items.iter().zip(read) {
            assert_eq!(item["id"], read.id.0);
            assert_eq!(item["path_with_namespace"], *read.full_path);
            assert_eq!(
                item["default_branch"].as_str(),
                read.default_branch.value().as_deref()
            );
            assert_eq!(item["archived"].as_bool().unwrap_or(false), read.archived);
            same_second(read.last_activity_at, &item["last_activity_at"]);
        }
    }
}

#[tokio::test]
async fn merge_requests() {
    let always = [
        "iid",
        "state",
        "updated_at",
        "target_branch",
        "source_branch",
    ];
    for (name, body) in samples(&["get-merge-request", "list-merge-requests"]) {
        let items = items(&body, &always);
        println!("{name}: {}", items.len());
        let read = served(&items, async |gitlab| {
            gitlab.merge_requests(PROJECT, &[1]).await.unwrap()
        })
        .await;
        for (item, read) in items.iter().zip(read) {
            assert_eq!(item["iid"], read.iid);
            assert_eq!(item["state"], *read.state);
            assert_eq!(item["target_branch"], *read.target_branch);
            same_second(Some(read.updated_at), &item["updated_at"]);
        }
    }
}

#[tokio::test]
async fn branches_and_tags() {
    for (name, body) in samples(&["get-branch", "list-branches", "get-tag", "list-tags"]) {
        let items = items(&body, &["name"]);
        println!("{name}: {}", items.len());
        let read = served(&items, async |gitlab| {
            gitlab.branches(PROJECT).await.unwrap()
        })
        .await;
        for (item, read) in items.iter().zip(read) {
            assert_eq!(item["name"], *read.name);
        }
    }
}

#[tokio::test]
async fn instance_and_token() {
    for (name, body) in samples(&["metadata", "version"]) {
        println!("{name}");
        let fake = Fake::script(vec![Reply::json(body.clone())]).await;
        let read = fake.gitlab().metadata().await.unwrap();
        let want: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(want["version"], *read.version);
        assert_eq!(want["enterprise"].as_bool(), read.enterprise);
    }
    for (name, body) in samples(&["personal-access-token-self"]) {
        println!("{name}");
        let fake = Fake::script(vec![Reply::json(body.clone())]).await;
        let read = fake.gitlab().token_self().await.unwrap();
        let want: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(want["scopes"], serde_json::json!(read.scopes));
        assert_eq!(want["active"], read.active);
    }
    for (name, body) in samples(&["current-user"]) {
        println!("{name}");
        let fake = Fake::script(vec![Reply::json(body.clone())]).await;
        let read = fake.gitlab().current_user().await.unwrap();
        let want: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(want["username"], *read.username);
    }
}

#[tokio::test]
async fn errors_are_distinguished() {
    let Some(folder) = truth("rest/samples/errors") else {
        return;
    };
    for (file, kind) in [
        ("400-validation", "refused"),
        ("401-token-expired", "auth"),
        ("401-token-revoked", "auth"),
        ("401-unauthorized", "auth"),
        ("403-forbidden", "forbidden"),
        ("403-insufficient-scope", "forbidden"),
        ("404-project-not-found", "not_found"),
        ("404-unknown-route", "not_found"),
        ("429-application-limit", "rate_limited"),
        ("429-rack-attack", "rate_limited"),
        ("500", "server"),
        ("503", "server"),
    ] {
        let text = std::fs::read_to_string(folder.join(format!("{file}.json"))).unwrap();
        let sample: Value = serde_json::from_str(&text).unwrap();
        let body = match &sample["body"] {
            Value::String(text) => text.clone(),
            body => body.to_string(),
        };
        let status = u16::try_from(sample["status"].as_u64().unwrap()).unwrap();
        let mut reply = Reply::status(status, body);
        if status == 429 {
            // Longer than a call waits, so that it gives up at once.
            reply = reply.with("retry-after", "3600");
        }
        let fake = Fake::script(vec![reply]).await;
        let error = fake.gitlab().project(PROJECT).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{file}: {error}");
        println!("{error}");
    }
}

#[tokio::test]
async fn pipeline_schedules() {
    let mut seen = 0;
    for (name, body) in samples(&["list-pipeline-schedules"]) {
        let items = items(&body, &["id"]);
        println!("{name}: {}", items.len());
        let read = served(&items, async |gitlab| {
            gitlab.schedules(PROJECT).await.unwrap()
        })
        .await;
        for (item, read) in items.iter().zip(read) {
            assert_eq!(item["id"], read.id);
            assert_eq!(item["description"], *read.description);
            assert_eq!(item["active"], read.active);
            let git_ref = item["ref"].as_str().unwrap();
            assert_eq!(git_ref.trim_start_matches("refs/heads/"), &*read.git_ref);
            same_second(read.next_run_at, &item["next_run_at"]);
            seen += 1;
        }
    }
    for (name, body) in samples(&["get-pipeline-schedule"]) {
        println!("{name}");
        for item in items(&body, &["id"]) {
            let fake = Fake::script(vec![reply(&item)]).await;
            let read = fake.gitlab().schedule(PROJECT, 13).await.unwrap();
            let last = read.last_pipeline.as_ref();
            assert_eq!(item["last_pipeline"]["id"].as_u64(), last.map(|it| it.id.0));
            let status = last.map(|it| it.status.as_str());
            assert_eq!(item["last_pipeline"]["status"].as_str(), status);
            seen += 1;
        }
    }
    assert!(seen == 0 || seen >= 4, "{seen}");
}

#[tokio::test]
async fn runners_and_their_managers() {
    let mut seen = 0;
    for (name, body) in samples(&["list-all-runners", "list-project-runners"]) {
        let items = items(&body, &["id"]);
        println!("{name}: {}", items.len());
        let read = served(&items, async |gitlab| gitlab.all_runners().await.unwrap()).await;
        for (item, read) in items.iter().zip(read) {
            assert_eq!(item["id"], read.id);
            assert_eq!(item["description"], *read.description);
            assert_eq!(item["active"] == false, read.paused);
            if let Some(kind) = item["runner_type"].as_str() {
                assert_eq!(kind, format!("{}_type", read.runner_type.as_str()));
            }
            assert_eq!(item["online"] == true, read.online);
            seen += 1;
        }
    }
    for (_, body) in samples(&["runner-managers"]) {
        let items = items(&body, &["id"]);
        let runner = crate::gitlab::model::Runner {
            id: 1,
            description: "one".into(),
            runner_type: crate::gitlab::model::RunnerType::Instance,
            paused: false,
            online: true,
            contacted_at: None,
            managers: Vec::new(),
        };
        let fake = Fake::script(vec![reply(&Value::Array(items.clone()))]).await;
        let read = fake.gitlab().with_managers(runner).await.unwrap();
        for (item, manager) in items.iter().zip(&read.managers) {
            assert_eq!(item["version"], *manager.version);
            assert_eq!(item["platform"], *manager.platform);
            assert_eq!(item["architecture"], *manager.architecture);
        }
        same_second(read.contacted_at, &items[0]["contacted_at"]);
        seen += 1;
    }
    assert!(seen == 0 || seen >= 7, "{seen}");
}

#[tokio::test]
async fn pipeline_variables() {
    for (name, body) in samples(&["pipeline-variables"]) {
        let items = items(&body, &["key"]);
        println!("{name}: {}", items.len());
        let read = served(&items, async |gitlab| {
            let pipeline = PipelineId(1);
            gitlab.pipeline_variables(PROJECT, pipeline).await.unwrap()
        })
        .await;
        for (item, read) in items.iter().zip(read) {
            assert_eq!(item["key"], *read.key);
            assert_eq!(item["value"], *read.value);
            assert!(!read.file);
        }
    }
}

#[tokio::test]
async fn test_reports() {
    let pipeline = PipelineId(46);
    let mut seen = 0;
    for (name, body) in samples(&["pipeline-test-report-summary"]) {
        println!("{name}");
        for item in items(&body, &["total"]) {
            let fake = Fake::script(vec![reply(&item)]).await;
            let read = fake.gitlab().test_report_summary(PROJECT, pipeline).await;
            let read = read.unwrap();
            let number = |key: &str| item["total"][key].as_f64().unwrap_or(0.0);
            assert_eq!(read.total.seconds, number("time"));
            assert_eq!(read.total.total, number("count"));
            assert_eq!(read.total.success, number("success"));
            assert_eq!(read.total.failed, number("failed"));
            assert_eq!(read.total.skipped, number("skipped"));
            assert_eq!(read.total.error, number("error"));
            let suites = item["test_suites"].as_array().unwrap();
            assert_eq!(read.suites.len(), suites.len());
            for (theirs, ours) in suites.iter().zip(&read.suites) {
                assert_eq!(theirs["name"], *ours.name);
                assert_eq!(theirs["total_count"].as_f64(), Some(ours.counts.total));
                assert_eq!(theirs["total_time"].as_f64(), Some(ours.counts.seconds));
            }
            seen += 1;
        }
    }
    for (name, body) in samples(&["pipeline-test-report"]) {
        println!("{name}");
        let item: Value = serde_json::from_str(&body).unwrap();
        let fake = Fake::script(vec![reply(&item)]).await;
        let cases = fake.gitlab().test_cases(PROJECT, pipeline).await.unwrap();
        let suites = item["test_suites"].as_array().into_iter().flatten();
        let theirs: Vec<&Value> = suites
            .flat_map(|suite| suite["test_cases"].as_array().into_iter().flatten())
            .collect();
        assert_eq!(cases.len(), theirs.len());
        for (theirs, ours) in theirs.iter().zip(&cases) {
            let name = theirs["name"].as_str().unwrap_or_default();
            let name = match theirs["classname"].as_str().unwrap_or_default() {
                "" => name.to_owned(),
                class => format!("{class}.{name}"),
            };
            assert_eq!(name, *ours.name);
            assert_eq!(theirs["status"], *ours.status);
            let seconds = theirs["execution_time"].as_f64().unwrap_or(0.0);
            assert_eq!(seconds, ours.seconds);
        }
        seen += 1;
    }
    assert!(seen == 0 || seen >= 16, "{seen}");
}
