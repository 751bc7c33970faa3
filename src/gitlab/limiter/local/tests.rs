//! The limiter under a clock that stands still until all calls wait.

mod places;
mod sharing;

use std::sync::Arc;

use super::*;
use crate::clock::UnixSeconds;
use crate::gitlab::limiter::{Load, Observation, RateLimit, Throttle};

const ENDPOINT: &str = "/projects/:id/pipelines";

fn limiter(per_second: f64, burst: u32, per_hour: u32) -> Arc<LocalLimiter> {
    let budget = Budget {
        per_second,
        burst,
        per_hour,
        at_once: 1,
        server_share: 0.0,
    };
    Arc::new(LocalLimiter::new(budget).unwrap())
}

/// A limiter that only bounds the calls under way, and has grown to its ceiling.
async fn at_once(at_once: u32) -> Arc<LocalLimiter> {
    let limiter = pacing(at_once, 0.0);
    limiter.grow().await;
    limiter
}

/// A limiter that bounds the calls under way and the share of backfill.
fn pacing(at_once: u32, server_share: f64) -> Arc<LocalLimiter> {
    let budget = Budget {
        per_second: 1e6,
        burst: 1000,
        per_hour: 0,
        at_once,
        server_share,
    };
    Arc::new(LocalLimiter::new(budget).unwrap())
}

fn demand(lane: Lane, endpoint: &'static str, weight: Weight) -> Demand {
    Demand {
        variant: 0,
        lane,
        endpoint,
        operation: endpoint,
        projects: 1,
        weight,
        waits: true,
    }
}

impl LocalLimiter {
    /// A call that ends at once; returns how long it waited for the rate.
    async fn call(&self, lane: Lane, endpoint: &'static str) -> Result<Duration, Exhausted> {
        let turn = self.acquire(demand(lane, endpoint, Weight::Light)).await?;
        Ok(turn.waited)
    }

    /// Learns from an answer of `endpoint` to a call that nobody waited for.
    async fn seen(&self, endpoint: &'static str, seen: &Observation) {
        let demand = demand(Lane::Normal, endpoint, Weight::Light);
        let turn = Turn::new(demand, Duration::ZERO, 0, Box::new(()));
        self.observe(&turn, seen).await;
    }

    async fn begin(&self, lane: Lane, weight: Weight) -> Turn {
        self.acquire(demand(lane, ENDPOINT, weight)).await.unwrap()
    }

    /// A call that ends so.
    async fn end(&self, turn: Turn, load: Load, server_time: f64) {
        let seen = Observation {
            load,
            server_time: Duration::from_secs_f64(server_time),
            ..Observation::default()
        };
        self.observe(&turn, &seen).await;
        drop(turn);
    }

    /// Whether a call may go at once.
    async fn lets(&self, lane: Lane, weight: Weight) -> bool {
        let begin = self.begin(lane, weight);
        tokio::time::timeout(seconds(1), begin).await.is_ok()
    }

    /// Lets it grow as far as it does: calls that wait for a place, and are answered quickly.
    async fn grow(&self) {
        loop {
            let before = self.pace().concurrency;
            let taken = (0..before).map(|_| self.begin(Lane::Normal, Weight::Light));
            let taken = futures::future::join_all(taken).await;
            assert!(!self.lets(Lane::Normal, Weight::Light).await);
            for turn in taken {
                self.end(turn, Load::Answered, 0.1).await;
            }
            if self.pace().concurrency == before {
                return;
            }
        }
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
        throttled: Some(throttle),
        retry_after: retry_after.map(seconds),
        ..Observation::default()
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
async fn a_storm_of_urgent_calls_shuts_the_steady_work_not_out() {
    let limiter = limiter(1.0, 1, 0);
    limiter.call(Lane::Normal, ENDPOINT).await.unwrap();
    let order = Arc::new(Mutex::new(String::new()));
    let mut tasks = Vec::new();
    let steady = [('n', Lane::Normal); 2];
    for (name, lane) in steady.into_iter().chain([('u', Lane::Urgent); 10]) {
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
    assert_eq!(*order.lock().unwrap(), "uuuunuuuunuu");
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
        .seen(ENDPOINT, &throttled(Throttle::All, Some(30)))
        .await;
    let begun = Instant::now();
    limiter.call(Lane::Urgent, "/projects").await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 30);
}

/// What a 503 asks for.
fn down(retry_after: u64) -> Observation {
    Observation {
        retry_after: Some(seconds(retry_after)),
        load: Load::TooBusy,
        ..Observation::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_down_is_given_the_time_it_asks_for() {
    for asked in [20, 60, 119] {
        let limiter = plenty();
        limiter.seen(ENDPOINT, &down(asked)).await;
        assert_eq!(time_of(&limiter, 1).await, asked);
    }
}

/// When calls that are each refused the same way go within an hour and a half, in seconds.
async fn trials(weight: Weight, refusal: &Observation) -> Vec<u64> {
    let limiter = plenty();
    let begun = Instant::now();
    limiter.seen(ENDPOINT, refusal).await;
    let mut times = Vec::new();
    while begun.elapsed() < seconds(5400) {
        match limiter
            .acquire(demand(Lane::Normal, ENDPOINT, weight))
            .await
        {
            Ok(turn) => {
                times.push(begun.elapsed().as_secs());
                limiter.observe(&turn, refusal).await;
            }
            // Tasks come again.
            Err(_) => sleep(seconds(5)).await,
        }
    }
    times
}

#[tokio::test(start_paused = true)]
async fn in_a_long_pause_a_call_tries_now_and_then() {
    let all = throttled(Throttle::All, Some(99_999_999));
    let of_endpoint = throttled(Throttle::Endpoint, Some(99_999_999));
    let mut window = window(60, 0, 99_999_999);
    window.throttled = Some(Throttle::All);
    for refusal in [all, of_endpoint, window, down(99_999_999)] {
        let times = trials(Weight::Light, &refusal).await;
        let gaps: Vec<u64> = times.windows(2).map(|two| two[1] - two[0]).collect();
        assert_eq!(times[0], 120, "{times:?}");
        assert!((240..=245).contains(&gaps[0]), "{times:?}");
        assert!((480..=485).contains(&gaps[1]), "{times:?}");
        assert!(
            gaps[2..].iter().all(|gap| (600..=605).contains(gap)),
            "{times:?}"
        );
    }
    assert_eq!(trials(Weight::Heavy, &all).await[0], 135);
}

#[tokio::test(start_paused = true)]
async fn a_trial_that_succeeds_ends_the_pause() {
    let answered = Observation {
        load: Load::Answered,
        ..Observation::default()
    };
    for refusal in [
        throttled(Throttle::All, Some(3600)),
        throttled(Throttle::Endpoint, Some(3600)),
        down(3600),
    ] {
        let limiter = plenty();
        limiter.seen(ENDPOINT, &refusal).await;
        // One that was under way before says nothing.
        limiter.seen(ENDPOINT, &answered).await;
        assert!(limiter.call(Lane::Normal, ENDPOINT).await.is_err());
        sleep(seconds(120)).await;
        let turn = limiter.begin(Lane::Normal, Weight::Light).await;
        limiter.observe(&turn, &answered).await;
        drop(turn);
        assert_eq!(time_of(&limiter, 100).await, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn headers_of_good_answers_never_stop_the_reading_while_something_remains() {
    for (limit, remaining, reset_in) in [
        (2000, 1, 3600),
        (2000, 1, 99_999_999),
        (2000, 0, 99_999_999),
        (u64::MAX, u64::MAX, 3600),
        (u64::MAX, 1, u64::MAX / 4),
    ] {
        let limiter = plenty();
        let mut good = window(limit, remaining, reset_in);
        good.load = Load::Answered;
        limiter.seen(ENDPOINT, &good).await;
        let waited = time_of(&limiter, 1).await;
        assert!(
            waited <= 60,
            "{remaining} of {limit}, {reset_in} s: {waited} s"
        );
    }
    // Nothing remains for an hour, and yet each trial is answered: the header is wrong.
    let limiter = plenty();
    let mut good = window(2000, 0, 3600);
    good.load = Load::Answered;
    limiter.seen(ENDPOINT, &good).await;
    sleep(seconds(120)).await;
    let turn = limiter.begin(Lane::Normal, Weight::Light).await;
    limiter.observe(&turn, &good).await;
    drop(turn);
    let begun = Instant::now();
    for _ in 0..100 {
        limiter.call(Lane::Normal, ENDPOINT).await.unwrap();
        limiter.seen(ENDPOINT, &good).await;
    }
    assert_eq!(begun.elapsed().as_secs(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_endpoints_own_limit_pauses_only_it() {
    let limiter = plenty();
    limiter
        .seen(ENDPOINT, &throttled(Throttle::Endpoint, Some(60)))
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
async fn what_can_be_asked_for_otherwise_waits_for_no_endpoint() {
    let limiter = plenty();
    let call = Demand {
        waits: false,
        ..demand(Lane::Normal, ENDPOINT, Weight::Light)
    };
    drop(limiter.acquire(call).await.unwrap());
    limiter
        .seen(ENDPOINT, &throttled(Throttle::Endpoint, Some(60)))
        .await;
    let begun = Instant::now();
    let wait = limiter
        .acquire(call)
        .await
        .err()
        .map(|exhausted| exhausted.wait);
    assert_eq!(wait, Some(Duration::from_secs(60)));
    assert_eq!(begun.elapsed().as_secs(), 0);
    tokio::time::sleep(Duration::from_secs(60)).await;
    drop(limiter.acquire(call).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn refusals_without_a_time_double_the_pause() {
    let limiter = plenty();
    for want in [1, 2, 4, 8] {
        limiter
            .seen(ENDPOINT, &throttled(Throttle::All, None))
            .await;
        assert_eq!(time_of(&limiter, 1).await, want);
    }
    limiter.seen(ENDPOINT, &Observation::default()).await;
    limiter
        .seen(ENDPOINT, &throttled(Throttle::All, None))
        .await;
    assert_eq!(time_of(&limiter, 1).await, 1, "a success starts over");
}

#[tokio::test(start_paused = true)]
async fn the_reset_time_serves_where_there_is_no_retry_after() {
    let limiter = plenty();
    let mut seen = window(60, 0, 45);
    seen.throttled = Some(Throttle::All);
    limiter.seen(ENDPOINT, &seen).await;
    assert_eq!(time_of(&limiter, 1).await, 45);
}

#[tokio::test(start_paused = true)]
async fn a_pause_longer_than_a_call_waits_is_refused_at_once() {
    let limiter = plenty();
    for throttle in [Throttle::Endpoint, Throttle::All] {
        limiter
            .seen(ENDPOINT, &throttled(throttle, Some(900)))
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
    limiter.seen(ENDPOINT, &window(60, 0, 20)).await;
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
    limiter.seen(ENDPOINT, &window(100, 50, 60)).await;
    assert_eq!(time_of(&limiter, 30).await, 0, "plenty is left");
    limiter.seen(ENDPOINT, &window(100, 9, 60)).await;
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
    limiter.seen(ENDPOINT, &window(60, 0, 20)).await;
    limiter.seen(ENDPOINT, &window(60, 3, 20)).await;
    assert_eq!(time_of(&limiter, 1).await, 20);
}

#[test]
fn a_rate_that_is_none_is_refused() {
    for per_second in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-300] {
        let budget = Budget {
            per_second,
            burst: 1,
            per_hour: 0,
            at_once: 1,
            server_share: 0.5,
        };
        assert!(LocalLimiter::new(budget).is_err(), "{per_second}");
    }
}
