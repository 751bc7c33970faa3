//! How often GraphQL is asked, and for which projects, when it answers well, in part, or not.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::gitlab::error::GRAPHQL;

type Read = BTreeMap<ProjectId, Result<ProjectId, NotRead>>;

const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

/// Batches that have grown to their largest size.
fn of(most: usize) -> Batches {
    let batches = Batches::new(&Breaker::new(true), most);
    while batches.size_now() < most {
        let size = batches.size_now();
        lock(&batches.size).succeeded(size);
    }
    batches
}

fn ids(count: u64) -> Vec<ProjectId> {
    (1..=count).map(ProjectId).collect()
}

/// Asks for `count` projects of a GitLab that answers so; with the number of queries.
async fn asked(
    batches: &Batches,
    count: u64,
    now: UnixSeconds,
    answer: impl Fn(&[ProjectId]) -> Result<(), Cause>,
) -> (Read, usize) {
    let queries = AtomicUsize::new(0);
    let ids = ids(count);
    let read = batches.ask(
        &ids,
        now,
        |id| *id,
        |ids| {
            queries.fetch_add(1, Ordering::Relaxed);
            let answer = answer(&ids).map_err(error);
            std::future::ready(answer.map(|()| whole(ids)))
        },
    );
    let read = read.await;
    (read, queries.into_inner())
}

#[tokio::test]
async fn what_takes_gitlab_long_is_asked_for_in_smaller_queries() {
    let batches = of(20);
    let asked = Mutex::new(Vec::new());
    let read: Read = batches
        .ask(
            &ids(60),
            NOW,
            |id| *id,
            |ids| {
                lock(&asked).push(ids.len());
                let mut batch = whole(ids);
                batch.server_time = Duration::from_secs(7).mul_f64(batch.items.len() as f64 / 20.0);
                std::future::ready(Ok(batch))
            },
        )
        .await;
    assert!(read.values().all(Result::is_ok));
    assert_eq!(*lock(&asked), [20, 10, 10, 10, 10]);
}

fn error(cause: Cause) -> GitLabError {
    GitLabError {
        endpoint: format!("{GRAPHQL} Test"),
        cause,
    }
}

fn whole(items: Vec<ProjectId>) -> Batch<ProjectId> {
    Batch {
        items,
        failed: Vec::new(),
        bytes: 0,
        server_time: Duration::ZERO,
    }
}

/// An answer that GitLab broke off after so many projects.
fn broken_off(ids: Vec<ProjectId>, after: usize) -> Batch<ProjectId> {
    let mut batch = whole(ids);
    let lost = batch.items.split_off(after.min(batch.items.len()));
    let lost = lost.into_iter().map(|id| FailedProject {
        id,
        why: "projects.nodes.7.pipelines: Timeout on Project.pipelines".to_owned(),
        too_much: None,
    });
    batch.failed = lost.collect();
    batch
}

fn server() -> Cause {
    Cause::Server(500, String::new())
}

#[tokio::test]
async fn one_project_that_spoils_the_answer_is_found_and_the_others_are_read() {
    let batches = of(50);
    let bad = ProjectId(50);
    let (read, queries) = asked(&batches, 50, NOW, |ids| {
        if ids.contains(&bad) {
            Err(server())
        } else {
            Ok(())
        }
    })
    .await;
    let failed: Vec<_> = read.iter().filter(|(_, read)| read.is_err()).collect();
    assert_eq!(failed.len(), 1);
    assert!(read[&bad].is_err());
    assert!(queries <= 15, "{queries} queries");
    assert!(batches.breaker().is_open(NOW), "GraphQL answered");
}

#[tokio::test]
async fn an_outage_costs_few_queries_and_is_left_alone_for_a_while() {
    let batches = of(50);
    let (read, queries) = asked(&batches, 500, NOW, |_| Err(server())).await;
    assert_eq!(read.len(), 500);
    assert!(read.values().all(Result::is_err));
    assert_eq!(queries, 3, "the whole, its first and its last project");
    let (read, queries) = asked(&batches, 500, NOW, |_| Ok(())).await;
    assert_eq!((read.len(), queries), (0, 0), "falling back to REST");
    let (read, _) = asked(&batches, 500, NOW.plus(PAUSE), |_| Ok(())).await;
    assert!(read.len() == 500 && read.values().all(Result::is_ok));
}

#[tokio::test]
async fn what_every_query_would_meet_is_met_once() {
    let batches = of(50);
    let refused = |_: &[ProjectId]| Err(Cause::Auth("revoked".to_owned()));
    let (read, queries) = asked(&batches, 500, NOW, refused).await;
    assert_eq!((read.len(), queries), (500, 1));
    assert!(batches.breaker().is_open(NOW), "REST would meet it, too");
}

#[tokio::test]
async fn what_is_too_heavy_is_asked_for_in_smaller_batches_from_then_on() {
    let batches = of(40);
    let heavy = |ids: &[ProjectId]| match ids.len() {
        0..=10 => Ok(()),
        _ => Err(Cause::GraphQlComplexity(String::new())),
    };
    let (read, _) = asked(&batches, 40, NOW, heavy).await;
    assert!(read.len() == 40 && read.values().all(Result::is_ok));
    let (_, queries) = asked(&batches, 40, NOW, heavy).await;
    assert_eq!(queries, 4);
}

#[tokio::test]
async fn a_clock_that_is_set_back_makes_no_pause_longer() {
    let batches = of(50);
    asked(&batches, 1, NOW, |_| {
        Err(Cause::GraphQlSchema(String::new()))
    })
    .await;
    assert!(!batches.breaker().is_open(NOW));
    assert!(
        batches
            .breaker()
            .is_open(NOW.minus(Duration::from_secs(3600)))
    );
}

#[tokio::test]
async fn each_project_that_spoils_the_answer_is_found_wherever_it_stands() {
    for bad in [vec![1], vec![50], vec![25, 26], vec![1, 50]] {
        let batches = of(50);
        let spoilt = |id: &ProjectId| bad.contains(&id.0);
        let (read, _) = asked(&batches, 50, NOW, |ids| match ids.iter().any(spoilt) {
            true => Err(Cause::Timeout),
            false => Ok(()),
        })
        .await;
        let failed: Vec<u64> = read
            .iter()
            .filter(|(_, read)| read.is_err())
            .map(|(id, _)| id.0)
            .collect();
        // Both fail: no answer at all may come, and time-outs close nothing.
        let wanted = if bad == [1, 50] {
            (1..=50).collect()
        } else {
            bad
        };
        assert_eq!(failed, wanted);
        assert!(batches.breaker().is_open(NOW));
    }
}

#[tokio::test]
async fn a_project_that_is_asked_for_alone_is_given_a_second_chance() {
    let batches = of(50);
    asked(&batches, 1, NOW, |_| Err(server())).await;
    assert!(batches.breaker().is_open(NOW), "it may be the project");
    asked(&batches, 5, NOW, |_| Ok(())).await;
    asked(&batches, 1, NOW, |_| Err(server())).await;
    assert!(batches.breaker().is_open(NOW), "others were answered");
    asked(&batches, 1, NOW, |_| Err(server())).await;
    assert!(!batches.breaker().is_open(NOW), "it is GraphQL");
}

#[tokio::test]
async fn queries_that_share_a_breaker_are_left_alone_together() {
    let breaker = Breaker::new(true);
    let (one, other) = (Batches::new(&breaker, 10), Batches::new(&breaker, 20));
    asked(&one, 5, NOW, |_| Err(Cause::GraphQlSchema(String::new()))).await;
    let (read, queries) = asked(&other, 5, NOW, |_| Ok(())).await;
    assert_eq!((read.len(), queries), (0, 0));
    assert!(breaker.reason(NOW).is_some());
}

#[tokio::test]
async fn an_outage_makes_no_batch_smaller() {
    let batches = of(50);
    asked(&batches, 50, NOW, |_| Err(Cause::Timeout)).await;
    assert_eq!(batches.size_now(), 50);
}

/// GitLab answers a whole document with 500 for an exception in one field of one project.
#[tokio::test]
async fn a_project_that_spoils_answers_is_not_searched_for_at_every_poll() {
    let batches = of(100);
    let bad = ProjectId(38);
    let answer = |ids: &[ProjectId]| match ids.contains(&bad) {
        true => Err(server()),
        false => Ok(()),
    };
    let (read, queries) = asked(&batches, 100, NOW, answer).await;
    assert_eq!(read.values().filter(|read| read.is_err()).count(), 1);
    assert!(queries <= 17, "found in {queries} queries");
    let (read, queries) = asked(&batches, 100, NOW, answer).await;
    assert_eq!(read.len(), 100, "it has its error still, and REST answers");
    assert!(matches!(&read[&bad], Err(NotRead::Failed(error)) if error.status() == Some(500)));
    assert_eq!(queries, 1, "the others, in one query");
    // It is tried again, and the next time it is well.
    let (read, _) = asked(&batches, 100, NOW.plus(PAUSE), |_| Ok(())).await;
    assert!(read.len() == 100 && read.values().all(Result::is_ok));
    let (_, queries) = asked(&batches, 100, NOW.plus(PAUSE), answer).await;
    assert!(queries > 1, "and is forgotten");
}

/// Sizes of the queries that `ask` sends to a GitLab that answers so.
async fn sizes(
    batches: &Batches,
    count: u64,
    answer: impl Fn(Vec<ProjectId>) -> Result<Batch<ProjectId>, Cause>,
) -> (Read, Vec<usize>) {
    let sizes = Mutex::new(Vec::new());
    let ids = ids(count);
    let ask = |ids: Vec<ProjectId>| {
        lock(&sizes).push(ids.len());
        std::future::ready(answer(ids).map_err(error))
    };
    let read = batches.ask(&ids, NOW, |id| *id, ask).await;
    (read, sizes.into_inner().unwrap())
}

#[tokio::test]
async fn the_first_queries_are_small_and_grow_within_one_poll() {
    let batches = Batches::new(&Breaker::new(true), 100);
    let (read, queries) = sizes(&batches, 300, |ids| Ok(whole(ids))).await;
    assert_eq!(queries, [5, 10, 20, 40, 80, 100, 45]);
    assert!(read.len() == 300 && read.values().all(Result::is_ok));
    let batches = Batches::new(&Breaker::new(true), 25);
    let (_, queries) = sizes(&batches, 110, |ids| Ok(whole(ids))).await;
    assert_eq!(queries, [5, 10, 20, 25, 25, 25]);
}

/// After its 30 seconds GitLab answers 200 with what it has.
#[tokio::test]
async fn what_gitlab_breaks_off_is_asked_for_again_in_half_the_size() {
    let batches = of(40);
    let (read, queries) = sizes(&batches, 80, |ids| Ok(broken_off(ids, 12))).await;
    assert!(
        read.len() == 80 && read.values().all(Result::is_ok),
        "{read:?}"
    );
    // 12 of 40 are there: 28 in queries of 20 at most, and so on; then others in smaller ones at once.
    assert_eq!(queries[..3], [40, 8, 20]);
    assert!(queries[3..].iter().all(|size| *size <= 20), "{queries:?}");
    assert!(batches.size_now() < 20, "{}", batches.size_now());
    assert!(batches.breaker().is_open(NOW), "GraphQL answers");
}

#[tokio::test]
async fn a_project_that_times_out_by_itself_is_given_up() {
    let batches = of(8);
    let (read, queries) = sizes(&batches, 8, |ids| {
        let bad = ids.iter().position(|id| *id == ProjectId(3));
        Ok(broken_off(ids, bad.unwrap_or(usize::MAX)))
    })
    .await;
    let failed: Vec<&ProjectId> = read
        .iter()
        .filter_map(|(id, read)| read.is_err().then_some(id))
        .collect();
    assert_eq!(failed, [&ProjectId(3)]);
    assert!(queries.len() <= 8, "{queries:?}");
}
