//! Samples of repositories, their commits and people, environments, and what was shipped to them.

use super::*;
use crate::gitlab::model::{NoteKind, SEVERITIES, WhichMergeRequests};

/// Asserts that samples were seen, where they are at hand.
fn assert_seen(seen: usize, least: usize) {
    let at_hand = truth("rest/samples").is_some();
    assert!(!at_hand || seen >= least, "{seen}");
}

/// Serves one sample for each call and returns what `call` makes of it.
async fn answered<T>(bodies: &[&str], call: impl AsyncFn(GitLab) -> T) -> T {
    let replies = bodies.iter().map(|body| Reply::json((*body).to_owned()));
    let fake = Fake::script(replies.collect()).await;
    call(fake.gitlab()).await
}

fn texts<'a>(list: &'a Value, key: &'a str) -> Vec<Option<&'a str>> {
    let items = list.as_array().into_iter().flatten();
    items.map(|item| item[key].as_str()).collect()
}

#[tokio::test]
async fn repositories() {
    let mut measured = 0;
    for (name, body) in samples(&["get-project"]) {
        println!("{name}");
        let theirs: Value = serde_json::from_str(&body).unwrap();
        let ours = answered(&[&body], async |gitlab| gitlab.repository(PROJECT).await)
            .await
            .unwrap();
        assert_eq!(theirs["id"], ours.id.0);
        assert_eq!(theirs["star_count"].as_u64(), ours.stars);
        assert_eq!(theirs["forks_count"].as_u64(), ours.forks);
        assert_eq!(theirs["open_issues_count"].as_u64(), ours.open_issues);
        assert_eq!(theirs["visibility"].as_str(), ours.visibility.as_deref());
        let branch = ours.default_branch.value();
        assert_eq!(theirs["default_branch"].as_str(), branch.as_deref());
        same_second(ours.last_activity_at, &theirs["last_activity_at"]);
        let sizes = &theirs["statistics"];
        let Known::Value(statistics) = ours.statistics else {
            assert!(sizes.is_null(), "{sizes}");
            continue;
        };
        let size = |key: &str| sizes[key].as_f64();
        assert_eq!(sizes["commit_count"], statistics.commits);
        assert_eq!(size("repository_size"), Some(statistics.repository));
        assert_eq!(size("lfs_objects_size"), Some(statistics.lfs));
        assert_eq!(size("job_artifacts_size"), Some(statistics.artifacts));
        assert_eq!(size("packages_size"), Some(statistics.packages));
        assert_eq!(size("wiki_size"), statistics.wiki);
        let registry = statistics.container_registry;
        assert_eq!(size("container_registry_size"), registry);
        measured += 1;
    }
    assert_seen(measured, 3);
}

#[tokio::test]
async fn languages() {
    let mut seen = 0;
    for (name, body) in samples(&["project-languages"]) {
        println!("{name}");
        let theirs: Value = serde_json::from_str(&body).unwrap();
        let ours = answered(&[&body], async |gitlab| gitlab.languages(PROJECT).await)
            .await
            .unwrap();
        assert_eq!(ours.len(), theirs.as_object().unwrap().len());
        for language in &ours {
            assert_eq!(theirs[&*language.name].as_f64(), Some(language.share));
        }
        seen += ours.len();
    }
    assert_seen(seen, 6);
}

#[tokio::test]
async fn releases() {
    let mut seen = 0;
    for (name, body) in samples(&["list-releases"]) {
        println!("{name}");
        let theirs: Value = serde_json::from_str(&body).unwrap();
        let ours = answered(&[&body], async |gitlab| gitlab.releases(PROJECT).await)
            .await
            .unwrap();
        let times = texts(&theirs, "released_at");
        assert_eq!(usize::try_from(ours.count).unwrap(), times.len());
        // ISO times in UTC sort as texts do.
        let latest = times.into_iter().max().flatten();
        same_second(ours.latest, &latest.map_or(Value::Null, Value::from));
        seen += 1;
    }
    assert_seen(seen, 2);
}

#[tokio::test]
async fn commits() {
    let mut with_lines = 0;
    for (name, body) in samples(&["list-commits", "get-commit"]) {
        println!("{name}");
        let items = items(&body, &["id", "author_name", "author_email"]);
        let read = served(&items, async |gitlab| {
            gitlab.commits_between(PROJECT, "a", "b").await.unwrap()
        })
        .await;
        for (item, read) in items.iter().zip(&read) {
            assert_eq!(item["id"], *read.sha);
            assert_eq!(item["author_name"], *read.author_name);
            assert_eq!(item["author_email"], *read.author_email);
            same_second(read.authored_at, &item["authored_date"]);
            let parents = item["parent_ids"].as_array().into_iter().flatten();
            let parents: Vec<&str> = parents.filter_map(Value::as_str).collect();
            let ours: Vec<&str> = read.parents.iter().map(|sha| &**sha).collect();
            assert_eq!(parents, ours);
            assert_eq!(item["stats"]["additions"].as_u64(), read.additions);
            assert_eq!(item["stats"]["deletions"].as_u64(), read.deletions);
            with_lines += usize::from(read.additions.is_some());
        }
    }
    assert_seen(with_lines, 3);
}

#[tokio::test]
async fn comparisons() {
    let mut seen = 0;
    for (name, body) in samples(&["repository-compare"]) {
        println!("{name}");
        let theirs: Value = serde_json::from_str(&body).unwrap();
        let ours = answered(&[&body], async |gitlab| {
            gitlab.compare(PROJECT, "a", "b").await
        })
        .await
        .unwrap();
        let all = theirs["commits"].as_array().unwrap();
        let named = all.iter().filter(|commit| commit["parent_ids"].is_array());
        let (commits, named) = (all.len(), named.count());
        assert_eq!(usize::try_from(ours.count).unwrap(), commits);
        assert_eq!(ours.parents.len(), named);
        assert!(commits > 0);
        seen += 1;
    }
    assert_seen(seen, 3);
}

#[tokio::test]
async fn vulnerabilities() {
    let mut seen = 0;
    for (name, body) in samples(&["list-vulnerabilities"]) {
        println!("{name}");
        let theirs: Value = serde_json::from_str(&body).unwrap();
        let ours = answered(&[&body], async |gitlab| {
            gitlab.vulnerabilities(PROJECT).await
        })
        .await
        .unwrap();
        let list = texts(&theirs, "severity");
        let states = texts(&theirs, "state");
        for (severity, count) in SEVERITIES.into_iter().zip(ours) {
            let open = list.iter().zip(&states).filter(|(of, state)| {
                **of == Some(severity) && matches!(state, Some("detected" | "confirmed"))
            });
            assert_eq!(usize::try_from(count).unwrap(), open.count(), "{severity}");
            seen += usize::try_from(count).unwrap();
        }
    }
    // GitLab's one example may be of another state than open.
    println!("{seen} open");
}

#[tokio::test]
async fn environments() {
    let mut seen = 0;
    for (name, body) in samples(&["list-environments", "get-environment"]) {
        println!("{name}");
        for item in items(&body, &["id", "name"]) {
            let body = item.to_string();
            let ours = answered(&[&body], async |gitlab| {
                gitlab.environment(PROJECT, 1).await
            })
            .await
            .unwrap();
            assert_eq!(item["id"], ours.id);
            assert_eq!(item["name"], *ours.name);
            assert_eq!(item["tier"].as_str().unwrap_or(""), &*ours.tier);
            assert_eq!(item["state"].as_str().unwrap_or(""), &*ours.state);
            let url = ours.external_url.as_deref();
            assert_eq!(item["external_url"].as_str(), url);
            seen += 1;
        }
    }
    assert_seen(seen, 7);
}

#[tokio::test]
async fn merge_requests_of_deployments() {
    let mut seen = 0;
    for (name, body) in samples(&["deployment-merge-requests", "list-merge-requests"]) {
        println!("{name}");
        let theirs: Value = serde_json::from_str(&body).unwrap();
        let ours = answered(&[&body], async |gitlab| {
            gitlab.merged_by_deployment(PROJECT, 1).await
        })
        .await
        .unwrap();
        let times = texts(&theirs, "merged_at").into_iter().flatten();
        let times: Vec<_> = times
            .map(|text| UnixSeconds::parse(text).unwrap())
            .collect();
        assert_eq!(ours, times);
        seen += 1;
    }
    assert_seen(seen, 5);
}

#[tokio::test]
async fn reviews() {
    let mut seen = 0;
    for source in ["docs", "client-go"] {
        let sample = |names: &[&str], source: &str| {
            let ending = format!("--{source}.json");
            let mut found = samples(names).into_iter();
            found.find(|(name, _)| name.ends_with(&ending))
        };
        let lists = [
            sample(&["list-merge-requests"], "docs"),
            sample(&["merge-request-reviewers"], source),
            sample(&["list-merge-request-notes"], "devlake"),
            sample(&["merge-request-approvals"], "docs"),
        ];
        let [Some(list), Some(reviewers), Some(notes), Some(approvals)] = lists else {
            assert!(truth("rest/samples").is_none(), "{source}");
            continue;
        };
        let bodies = [&*list.1, &reviewers.1, &notes.1, &approvals.1];
        let one = answered(&bodies, async |gitlab| {
            let all = WhichMergeRequests::Open;
            let mut page = gitlab.listed_merge_requests(PROJECT, all).await.unwrap();
            let mut one = page.items.remove(0);
            assert!(!one.reviewers.is_empty(), "the list names some");
            let done = gitlab.complete_merge_request(PROJECT, &mut one, true).await;
            done.map(|()| one)
        })
        .await
        .unwrap();
        let waits = one
            .reviewers
            .iter()
            .map(|one| (&*one.user.username, one.waits));
        let waits: Vec<_> = waits.collect();
        assert_eq!(waits, [("user1", Some(true)), ("user2", Some(false))]);
        assert_eq!(one.approvals, Some(1));
        let theirs: Value = serde_json::from_str(&notes.1).unwrap();
        assert_eq!(one.notes.items.len(), theirs.as_array().unwrap().len());
        for (item, note) in theirs.as_array().unwrap().iter().zip(&one.notes.items) {
            assert_eq!(item["id"], note.id);
            let author = note.author.as_ref().map(|author| &*author.username);
            assert_eq!(item["author"]["username"].as_str(), author);
            assert_eq!(item["system"] == false, note.kind == NoteKind::Comment);
            same_second(Some(note.created_at), &item["created_at"]);
        }
        seen += 1;
    }
    assert_seen(seen, 2);
}
