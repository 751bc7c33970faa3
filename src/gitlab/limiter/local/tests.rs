//! The limiter under a clock that stands still until all calls wait.

use std::sync::Arc;

use super::*;
use crate::clock::UnixSeconds;
use crate::gitlab::limiter::Observation;

const ENDPOINT: &str = "/projects/:id/pipelines";

fn limiter(per_second: f64, burst: u32, per_hour: u32) -> Arc<LocalLimiter> {
    let budget = Budget {
        per_second,
        burst,
        per_hour,
        at_once: 1,
    };
    Arc::new(LocalLimiter::new(budget).unwrap())
}

/// A limiter that only bounds the calls under way.
fn at_once(at_once: u32) -> Arc<LocalLimiter> {
    let budget = Budget {
        per_second: 1e6,
        burst: 1000,
        per_hour: 0,
        at_once,
    };
    Arc::new(LocalLimiter::new(budget).unwrap())
}

impl LocalLimiter {
    /// A call that ends at once; returns how long it waited for the rate.
    async fn call(&self, lane: Lane, endpoint: &'static str) -> Result<Duration, Exhausted> {
        let turn = self.acquire(lane, Kind::Rest, endpoint).await?;
        Ok(turn.waited)
    }

    async fn begin(&self, lane: Lane, kind: Kind) -> Turn {
        self.acquire(lane, kind, ENDPOINT).await.unwrap()
    }

    /// Whether a call may go at once.
    async fn lets(&self, lane: Lane, kind: Kind) -> bool {
        let begin = self.begin(lane, kind);
        tokio::time::timeout(seconds(1), begin).await.is_ok()
    }
}

fn plenty() -> Arc<LocalLimiter> {
    limiter(1e6, 1000, 0)
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Seconds, rounded up, until `calls` more calls were allowed.
async fn time_of(limiter: &LocalLimiter, calls: usize) -> u64 {
    let begun = Instant::now();
    for _ in 0..calls {
        limiter.call(Lane::Normal, ENDPOINT).await.unwrap();
    }
    begun.elapsed().as_secs_f64().ceil() as u64
}

fn throttled(throttle: Throttle, retry_after: Option<u64>) -> Observation {
    Observation {
        rate_limit: None,
        throttled: Some(throttle),
        retry_after: retry_after.map(seconds),
    }
}

fn window(limit: u64, remaining: u64, reset_in: u64) -> Observation {
    Observation {
        rate_limit: Some(RateLimit {
            limit,
            remaining,
            reset: UnixSeconds(0),
            reset_in: seconds(reset_in),
        }),
        ..Observation::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_burst_goes_at_once_and_then_the_rate_holds() {
    let limiter = limiter(2.0, 5, 0);
    assert_eq!(time_of(&limiter, 5).await, 0);
    assert_eq!(time_of(&limiter, 20).await, 10);
}

#[tokio::test(start_paused = true)]
async fn the_time_waited_is_reported() {
    let limiter = limiter(0.5, 1, 0);
    let first = limiter.call(Lane::Normal, ENDPOINT).await.unwrap();
    let second = limiter.call(Lane::Normal, ENDPOINT).await.unwrap();
    assert!(first < Duration::from_millis(1), "{first:?}");
    assert!(second > Duration::from_millis(1900), "{second:?}");
}

#[tokio::test(start_paused = true)]
async fn no_hour_has_more_calls_than_the_budget() {
    let limiter = limiter(1e6, 1000, 100);
    let begun = Instant::now();
    let mut times = Vec::new();
    for _ in 0..300 {
        limiter.call(Lane::Normal, ENDPOINT).await.unwrap();
        times.push(begun.elapsed());
    }
    for (at, from) in times.iter().enumerate() {
        let in_hour = times[at..]
            .iter()
            .filter(|t| **t - *from < seconds(3600))
            .count();
        assert!(in_hour <= 100, "{in_hour} calls in the hour after {from:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn urgent_calls_go_before_all_that_wait() {
    let limiter = limiter(1.0, 1, 0);
    limiter.call(Lane::Normal, ENDPOINT).await.unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for (name, lane) in [
        ("n1", Lane::Normal),
        ("n2", Lane::Normal),
        ("u1", Lane::Urgent),
        ("u2", Lane::Urgent),
    ] {
        let (limiter, order) = (Arc::clone(&limiter), Arc::clone(&order));
        tasks.push(tokio::spawn(async move {
            limiter.call(lane, ENDPOINT).await.unwrap();
            order.lock().unwrap().push(name);
        }));
        tokio::task::yield_now().await;
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(*order.lock().unwrap(), ["u1", "u2", "n1", "n2"]);
}

#[tokio::test(start_paused = true)]
async fn backfill_goes_last_and_is_never_shut_out() {
    let limiter = limiter(1.0, 1, 0);
    limiter.call(Lane::Normal, ENDPOINT).await.unwrap();
    let order = Arc::new(Mutex::new(String::new()));
    let mut tasks = Vec::new();
    let backfill = [('b', Lane::Backfill); 2];
    for (name, lane) in backfill.into_iter().chain([('n', Lane::Normal); 9]) {
        let (limiter, order) = (Arc::clone(&limiter), Arc::clone(&order));
        tasks.push(tokio::spawn(async move {
            limiter.call(lane, ENDPOINT).await.unwrap();
            order.lock().unwrap().push(name);
        }));
        tokio::task::yield_now().await;
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(*order.lock().unwrap(), "nnnbnnnbnnn");
}

#[tokio::test(start_paused = true)]
async fn a_canceled_caller_blocks_no_other() {
    let limiter = limiter(1.0, 1, 0);
    limiter.call(Lane::Normal, ENDPOINT).await.unwrap();
    for lane in [Lane::Urgent, Lane::Normal] {
        let canceled =
            tokio::time::timeout(Duration::from_millis(10), limiter.call(lane, ENDPOINT));
        assert!(canceled.await.is_err());
    }
    assert_eq!(time_of(&limiter, 1).await, 1);
}

#[tokio::test(start_paused = true)]
async fn retry_after_pauses_everybody() {
    let limiter = plenty();
    limiter
        .observe(ENDPOINT, &throttled(Throttle::All, Some(30)))
        .await;
    let begun = Instant::now();
    limiter.call(Lane::Urgent, "/projects").await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_down_is_given_the_time_it_asks_for_but_not_for_ever() {
    for (asked, given) in [(20, 20), (86_400, 60)] {
        let limiter = plenty();
        let seen = Observation {
            retry_after: Some(seconds(asked)),
            ..Observation::default()
        };
        limiter.observe(ENDPOINT, &seen).await;
        assert_eq!(time_of(&limiter, 1).await, given);
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoints_own_limit_pauses_only_it() {
    let limiter = plenty();
    limiter
        .observe(ENDPOINT, &throttled(Throttle::Endpoint, Some(60)))
        .await;
    let begun = Instant::now();
    let waiting = tokio::spawn({
        let limiter = Arc::clone(&limiter);
        async move { limiter.call(Lane::Normal, ENDPOINT).await }
    });
    tokio::task::yield_now().await;
    limiter.call(Lane::Normal, "/projects").await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 0);
    waiting.await.unwrap().unwrap();
    assert_eq!(begun.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn refusals_without_a_time_double_the_pause() {
    let limiter = plenty();
    for want in [1, 2, 4, 8] {
        limiter
            .observe(ENDPOINT, &throttled(Throttle::All, None))
            .await;
        assert_eq!(time_of(&limiter, 1).await, want);
    }
    limiter.observe(ENDPOINT, &Observation::default()).await;
    limiter
        .observe(ENDPOINT, &throttled(Throttle::All, None))
        .await;
    assert_eq!(time_of(&limiter, 1).await, 1, "a success starts over");
}

#[tokio::test(start_paused = true)]
async fn the_reset_time_serves_where_there_is_no_retry_after() {
    let limiter = plenty();
    let mut seen = window(60, 0, 45);
    seen.throttled = Some(Throttle::All);
    limiter.observe(ENDPOINT, &seen).await;
    assert_eq!(time_of(&limiter, 1).await, 45);
}

#[tokio::test(start_paused = true)]
async fn a_pause_longer_than_a_call_waits_is_refused_at_once() {
    let limiter = plenty();
    for throttle in [Throttle::Endpoint, Throttle::All] {
        limiter
            .observe(ENDPOINT, &throttled(throttle, Some(900)))
            .await;
        let begun = Instant::now();
        let refused = limiter.call(Lane::Normal, ENDPOINT).await.unwrap_err();
        assert_eq!(refused.wait.as_secs_f64().ceil() as u64, 900);
        assert_eq!(begun.elapsed().as_secs(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_window_is_waited_out() {
    let limiter = plenty();
    limiter.observe(ENDPOINT, &window(60, 0, 20)).await;
    assert_eq!(time_of(&limiter, 1).await, 20);
    assert_eq!(
        time_of(&limiter, 100).await,
        0,
        "the next window is unknown"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_a_window_is_spread_over_it() {
    let limiter = plenty();
    limiter.observe(ENDPOINT, &window(100, 50, 60)).await;
    assert_eq!(time_of(&limiter, 30).await, 0, "plenty is left");
    limiter.observe(ENDPOINT, &window(100, 9, 60)).await;
    let begun = Instant::now();
    let mut times = Vec::new();
    for _ in 0..9 {
        limiter.call(Lane::Normal, ENDPOINT).await.unwrap();
        times.push(begun.elapsed().as_secs());
    }
    let gaps: Vec<u64> = times.windows(2).map(|two| two[1] - two[0]).collect();
    assert!(gaps.iter().all(|gap| (4..=8).contains(gap)), "{times:?}");
    assert!(times[8] < 60, "{times:?}");
    assert_eq!(limiter.call(Lane::Normal, ENDPOINT).await.map(drop), Ok(()));
    assert_eq!(begun.elapsed().as_secs(), 60, "then it is used up");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_overtaken_raises_no_hope() {
    let limiter = plenty();
    limiter.observe(ENDPOINT, &window(60, 0, 20)).await;
    limiter.observe(ENDPOINT, &window(60, 3, 20)).await;
    assert_eq!(time_of(&limiter, 1).await, 20);
}

#[tokio::test(start_paused = true)]
async fn times_beyond_belief_are_cut() {
    let limiter = plenty();
    let mut seen = window(u64::MAX, 0, u64::MAX / 2);
    seen.throttled = Some(Throttle::All);
    seen.retry_after = Some(Duration::MAX);
    limiter.observe(ENDPOINT, &seen).await;
    let refused = limiter.call(Lane::Normal, ENDPOINT).await.unwrap_err();
    assert!(refused.wait <= seconds(3600));
}

#[test]
fn a_rate_that_is_none_is_refused() {
    for per_second in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-300] {
        let budget = Budget {
            per_second,
            burst: 1,
            per_hour: 0,
            at_once: 1,
        };
        assert!(LocalLimiter::new(budget).is_err(), "{per_second}");
    }
}

#[tokio::test(start_paused = true)]
async fn so_many_calls_are_under_way_and_half_of_them_are_queries() {
    for (most, queries) in [(6, 3), (7, 3), (2, 1), (1, 1), (0, 1)] {
        let limiter = at_once(most);
        let mut under_way = Vec::new();
        for _ in 0..queries {
            under_way.push(limiter.begin(Lane::Normal, Kind::GraphQl).await);
        }
        assert!(!limiter.lets(Lane::Urgent, Kind::GraphQl).await, "{most}");
        for _ in queries..most.max(1) {
            under_way.push(limiter.begin(Lane::Normal, Kind::Rest).await);
        }
        assert!(!limiter.lets(Lane::Urgent, Kind::Rest).await, "{most}");
        // What ends makes room for one.
        under_way.remove(0);
        assert!(limiter.lets(Lane::Normal, Kind::GraphQl).await, "{most}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_time_is_not_under_way() {
    let limiter = at_once(1);
    let pause = throttled(Throttle::Endpoint, Some(60));
    limiter.observe(ENDPOINT, &pause).await;
    let waiting = tokio::spawn({
        let limiter = Arc::clone(&limiter);
        async move { limiter.call(Lane::Normal, ENDPOINT).await }
    });
    tokio::task::yield_now().await;
    let waited = limiter.call(Lane::Normal, "/projects").await.unwrap();
    assert_eq!(waited.as_secs(), 0, "the only place is free");
    assert_eq!(waiting.await.unwrap().unwrap().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn what_is_urgent_goes_first_when_a_call_ends() {
    for kind in [Kind::Rest, Kind::GraphQl] {
        let limiter = at_once(1);
        let under_way = limiter.begin(Lane::Normal, Kind::Rest).await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let calls = [
            ("normal", Lane::Normal, Kind::Rest),
            ("normal", Lane::Normal, Kind::GraphQl),
            ("urgent", Lane::Urgent, kind),
            ("urgent", Lane::Urgent, kind),
        ];
        let calls = calls.map(|(name, lane, kind)| {
            let (limiter, order) = (Arc::clone(&limiter), Arc::clone(&order));
            tokio::spawn(async move {
                let turn = limiter.begin(lane, kind).await;
                order.lock().unwrap().push(name);
                sleep(seconds(1)).await;
                turn.waited
            })
        });
        sleep(seconds(5)).await;
        drop(under_way);
        for call in calls {
            let waited = call.await.unwrap();
            assert!(waited < seconds(1), "{waited:?}: the rate delayed no call");
        }
        let order = order.lock().unwrap();
        assert_eq!(*order, ["urgent", "urgent", "normal", "normal"], "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_query_that_waits_for_queries_holds_up_no_other_call() {
    let limiter = at_once(6);
    let mut under_way = Vec::new();
    for _ in 0..3 {
        under_way.push(limiter.begin(Lane::Normal, Kind::GraphQl).await);
    }
    let waiting = [Lane::Urgent, Lane::Normal].map(|lane| {
        let limiter = Arc::clone(&limiter);
        tokio::spawn(async move { drop(limiter.begin(lane, Kind::GraphQl).await) })
    });
    tokio::task::yield_now().await;
    assert!(limiter.lets(Lane::Normal, Kind::Rest).await);
    under_way.clear();
    for call in waiting {
        call.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn of_calls_that_may_go_the_one_that_came_first_does() {
    let budget = Budget {
        per_second: 1.0,
        burst: 1,
        per_hour: 0,
        at_once: 6,
    };
    let limiter = Arc::new(LocalLimiter::new(budget).unwrap());
    drop(limiter.begin(Lane::Normal, Kind::Rest).await);
    let order = Arc::new(Mutex::new(Vec::new()));
    let (rest, query) = (Kind::Rest, Kind::GraphQl);
    let calls = [rest, rest, query, rest, rest, rest, query, query, rest];
    let mut tasks = Vec::new();
    for (number, kind) in calls.into_iter().enumerate() {
        let (limiter, order) = (Arc::clone(&limiter), Arc::clone(&order));
        tasks.push(tokio::spawn(async move {
            let turn = limiter.begin(Lane::Normal, kind).await;
            order.lock().unwrap().push(number);
            turn.waited.as_secs()
        }));
        tokio::task::yield_now().await;
    }
    for (number, task) in tasks.into_iter().enumerate() {
        let waited = task.await.unwrap();
        assert_eq!(waited, number as u64 + 1, "all of it for the rate");
    }
    assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
}
