//! How many calls are under way, in which order they go, and what backfill waits for.

use super::*;

#[tokio::test(start_paused = true)]
async fn so_many_calls_are_under_way_and_heavy_ones_count_twice() {
    for (most, heavy, light) in [(6, 3, 0), (7, 3, 1), (2, 1, 0), (1, 1, 0), (0, 1, 0)] {
        let limiter = at_once(most).await;
        let mut under_way = Vec::new();
        for _ in 0..heavy {
            under_way.push(limiter.begin(Lane::Normal, Weight::Heavy).await);
        }
        assert!(!limiter.lets(Lane::Urgent, Weight::Heavy).await, "{most}");
        for _ in 0..light {
            under_way.push(limiter.begin(Lane::Normal, Weight::Light).await);
        }
        assert!(!limiter.lets(Lane::Urgent, Weight::Light).await, "{most}");
        // What ends makes room.
        under_way.remove(0);
        assert!(limiter.lets(Lane::Normal, Weight::Heavy).await, "{most}");
    }
}

#[tokio::test(start_paused = true)]
async fn two_light_calls_or_one_heavy_one_go_at_the_start() {
    let limiter = pacing(8, 0.0);
    let heavy = limiter.begin(Lane::Normal, Weight::Heavy).await;
    assert!(!limiter.lets(Lane::Urgent, Weight::Light).await);
    drop(heavy);
    let _one = limiter.begin(Lane::Normal, Weight::Light).await;
    let _other = limiter.begin(Lane::Normal, Weight::Light).await;
    assert!(!limiter.lets(Lane::Urgent, Weight::Light).await);
    assert_eq!(limiter.pace().concurrency, 2);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_holds_one_other_up_for_seconds_only() {
    for weight in [Weight::Light, Weight::Heavy] {
        let limiter = pacing(8, 0.0);
        let begun = Instant::now();
        let _hangs = limiter.begin(Lane::Normal, Weight::Heavy).await;
        let other = tokio::time::timeout(seconds(600), limiter.begin(Lane::Normal, weight));
        let other = other.await.expect("it goes");
        assert_eq!(begun.elapsed().as_secs(), 3, "{weight:?}");
        if weight == Weight::Light {
            drop(limiter.begin(Lane::Normal, weight).await);
        }
        let more = limiter.begin(Lane::Normal, Weight::Heavy);
        assert!(tokio::time::timeout(seconds(600), more).await.is_err());
        drop(other);
        assert!(limiter.lets(Lane::Normal, Weight::Heavy).await);
        // There is no more room for that, and the ceiling holds.
        assert_eq!(limiter.pace().concurrency, 2);
        // So it is where GitLab slowed down.
        let limiter = pacing(8, 0.0);
        let slow = limiter.begin(Lane::Normal, weight).await;
        limiter.end(slow, Load::TooBusy, 30.0).await;
        assert_eq!(limiter.pace().concurrency, 1);
        let _hangs = limiter.begin(Lane::Normal, Weight::Heavy).await;
        assert!(!limiter.lets(Lane::Normal, weight).await);
        sleep(seconds(2)).await;
        assert!(limiter.lets(Lane::Normal, weight).await);
        let limiter = pacing(2, 0.0);
        let _hangs = limiter.begin(Lane::Normal, Weight::Heavy).await;
        let more = limiter.begin(Lane::Normal, Weight::Light);
        assert!(tokio::time::timeout(seconds(600), more).await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_time_is_not_under_way() {
    let limiter = at_once(1).await;
    let pause = throttled(Throttle::Endpoint, Some(60));
    limiter.seen(ENDPOINT, &pause).await;
    let waiting = tokio::spawn({
        let limiter = Arc::clone(&limiter);
        async move { limiter.call(Lane::Normal, ENDPOINT).await }
    });
    tokio::task::yield_now().await;
    let waited = limiter.call(Lane::Normal, "/projects").await.unwrap();
    assert_eq!(waited.as_secs(), 0, "the only place is free");
    assert_eq!(waiting.await.unwrap().unwrap().as_secs(), 60);
}

/// Starts calls one after another that each take a second; the order in which they went.
async fn order_of(
    limiter: &Arc<LocalLimiter>,
    calls: &[(&'static str, Lane, Weight)],
    before: impl AsyncFnOnce(),
) -> Vec<&'static str> {
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for &(name, lane, weight) in calls {
        let (limiter, order) = (Arc::clone(limiter), Arc::clone(&order));
        tasks.push(tokio::spawn(async move {
            let turn = limiter.begin(lane, weight).await;
            order.lock().unwrap().push(name);
            sleep(seconds(1)).await;
            turn.waited
        }));
        tokio::task::yield_now().await;
    }
    before().await;
    for task in tasks {
        let waited = task.await.unwrap();
        assert!(waited < seconds(1), "{waited:?}: the rate delayed no call");
    }
    Arc::into_inner(order).unwrap().into_inner().unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_is_urgent_goes_first_when_a_call_ends() {
    for weight in [Weight::Light, Weight::Heavy] {
        let limiter = at_once(1).await;
        let under_way = limiter.begin(Lane::Normal, Weight::Light).await;
        let calls = [
            ("normal", Lane::Normal, Weight::Light),
            ("normal", Lane::Normal, Weight::Heavy),
            ("urgent", Lane::Urgent, weight),
            ("urgent", Lane::Urgent, weight),
        ];
        let end = async || {
            sleep(seconds(5)).await;
            drop(under_way);
        };
        let order = order_of(&limiter, &calls, end).await;
        assert_eq!(
            order,
            ["urgent", "urgent", "normal", "normal"],
            "{weight:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn small_calls_do_not_keep_a_heavy_one_waiting() {
    let limiter = at_once(2).await;
    let under_way = limiter.begin(Lane::Normal, Weight::Light).await;
    let calls = [
        ("heavy", Lane::Normal, Weight::Heavy),
        ("light", Lane::Normal, Weight::Light),
        // There would be a place for it.
        ("light", Lane::Backfill, Weight::Light),
    ];
    let end = async || {
        sleep(seconds(5)).await;
        drop(under_way);
    };
    let order = order_of(&limiter, &calls, end).await;
    assert_eq!(order, ["heavy", "light", "light"]);
}

#[tokio::test(start_paused = true)]
async fn calls_of_a_lane_go_in_the_order_in_which_they_came() {
    let budget = Budget {
        per_second: 1.0,
        burst: 1,
        per_hour: 0,
        at_once: 6,
        server_share: 0.0,
    };
    let limiter = Arc::new(LocalLimiter::new(budget).unwrap());
    drop(limiter.begin(Lane::Normal, Weight::Light).await);
    let order = Arc::new(Mutex::new(Vec::new()));
    let (light, heavy) = (Weight::Light, Weight::Heavy);
    let calls = [light, light, heavy, light, light, heavy, heavy, light];
    let mut tasks = Vec::new();
    for (number, weight) in calls.into_iter().enumerate() {
        let (limiter, order) = (Arc::clone(&limiter), Arc::clone(&order));
        tasks.push(tokio::spawn(async move {
            let turn = limiter.begin(Lane::Normal, weight).await;
            order.lock().unwrap().push(number);
            turn.waited.as_secs()
        }));
        tokio::task::yield_now().await;
    }
    for (number, task) in tasks.into_iter().enumerate() {
        let waited = task.await.unwrap();
        assert_eq!(waited, number as u64 + 1, "all of it for the rate");
    }
    assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[tokio::test(start_paused = true)]
async fn room_that_is_made_lets_those_go_that_wait() {
    let limiter = pacing(3, 0.0);
    let [one, other] = [
        limiter.begin(Lane::Normal, Weight::Light).await,
        limiter.begin(Lane::Normal, Weight::Light).await,
    ];
    let waiting = tokio::spawn({
        let limiter = Arc::clone(&limiter);
        async move { drop(limiter.begin(Lane::Normal, Weight::Light).await) }
    });
    tokio::task::yield_now().await;
    // Both calls are still under way: that they were answered makes room for a third.
    for turn in [&one, &other] {
        let seen = Observation {
            load: Load::Answered,
            ..Observation::default()
        };
        limiter.observe(turn, &seen).await;
    }
    assert_eq!(limiter.pace().concurrency, 3);
    tokio::time::timeout(seconds(1), waiting)
        .await
        .expect("there is room")
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn it_grows_only_where_calls_wait_for_a_place() {
    let limiter = pacing(8, 0.0);
    for _ in 0..100 {
        let turn = limiter.begin(Lane::Normal, Weight::Heavy).await;
        limiter.end(turn, Load::Answered, 0.1).await;
    }
    assert_eq!(limiter.pace().concurrency, 2);
    limiter.grow().await;
    assert_eq!(limiter.pace().concurrency, 8);
}

#[tokio::test(start_paused = true)]
async fn a_busy_gitlab_is_asked_less_at_once() {
    let limiter = at_once(8).await;
    let turns = (0..8).map(|_| limiter.begin(Lane::Normal, Weight::Light));
    for turn in futures::future::join_all(turns).await {
        limiter.end(turn, Load::TooBusy, 30.0).await;
    }
    let pace = limiter.pace();
    assert_eq!((pace.concurrency, pace.ceiling), (4, 8), "halved once");
    assert_eq!(pace.slowed, Some(Duration::ZERO));
    let under_way = (0..4).map(|_| limiter.begin(Lane::Normal, Weight::Light));
    let _under_way = futures::future::join_all(under_way).await;
    assert!(!limiter.lets(Lane::Urgent, Weight::Light).await);
}

#[tokio::test(start_paused = true)]
async fn backfill_waits_for_its_share_and_others_do_not() {
    let limiter = pacing(8, 0.5);
    let backfill = limiter.begin(Lane::Backfill, Weight::Heavy).await;
    // A minute may be used at once; this is ten seconds more.
    limiter.end(backfill, Load::Answered, 70.0).await;
    let begun = Instant::now();
    assert_eq!(
        limiter.pace().backfill_waits.map(|wait| wait.as_secs()),
        Some(20)
    );
    let waiting = tokio::spawn({
        let limiter = Arc::clone(&limiter);
        async move { limiter.begin(Lane::Backfill, Weight::Heavy).await.waited }
    });
    tokio::task::yield_now().await;
    for lane in [Lane::Urgent, Lane::Normal] {
        for _ in 0..10 {
            let turn = limiter.begin(lane, Weight::Heavy).await;
            limiter.end(turn, Load::Answered, 100.0).await;
        }
    }
    assert_eq!(begun.elapsed().as_secs(), 0, "whatever others take");
    let waited = waiting.await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 20);
    assert_eq!(waited.as_secs(), 0, "no rate limit delayed it");
    assert_eq!(limiter.pace().backfill_waits, None);
}

#[tokio::test(start_paused = true)]
async fn backfill_waits_for_its_share_as_long_as_it_takes() {
    let limiter = pacing(8, 0.01);
    let backfill = limiter.begin(Lane::Backfill, Weight::Heavy).await;
    limiter.end(backfill, Load::Answered, 31.2).await;
    let begun = Instant::now();
    drop(limiter.begin(Lane::Backfill, Weight::Heavy).await);
    assert_eq!(begun.elapsed().as_secs(), 3000);
}

#[tokio::test(start_paused = true)]
async fn without_a_share_backfill_is_not_paced() {
    let limiter = pacing(8, 0.0);
    let backfill = limiter.begin(Lane::Backfill, Weight::Heavy).await;
    limiter.end(backfill, Load::Answered, 1e6).await;
    assert!(limiter.lets(Lane::Backfill, Weight::Heavy).await);
}

#[tokio::test(start_paused = true)]
async fn when_gitlab_slows_down_backfill_yields_first() {
    let limiter = at_once(8).await;
    let slow = limiter.begin(Lane::Normal, Weight::Heavy).await;
    let backfill = limiter.begin(Lane::Backfill, Weight::Light).await;
    assert!(limiter.lets(Lane::Backfill, Weight::Light).await);
    limiter.end(slow, Load::TooBusy, 30.0).await;
    assert!(
        !limiter.lets(Lane::Backfill, Weight::Light).await,
        "one at a time"
    );
    assert!(limiter.lets(Lane::Normal, Weight::Light).await);
    drop(backfill);
    assert!(limiter.lets(Lane::Backfill, Weight::Light).await);
    // It is not given a turn before others that wait either.
    let under_way = (0..4).map(|_| limiter.begin(Lane::Normal, Weight::Light));
    let under_way = futures::future::join_all(under_way).await;
    let calls = [("backfill", Lane::Backfill, Weight::Light)]
        .into_iter()
        .chain([("normal", Lane::Normal, Weight::Light); 12]);
    let calls: Vec<_> = calls.collect();
    let order = order_of(&limiter, &calls, async || drop(under_way)).await;
    assert_eq!(order[..12], ["normal"; 12]);
    // Half a minute later all is as before.
    sleep(seconds(30)).await;
    let _one = limiter.begin(Lane::Backfill, Weight::Light).await;
    assert!(limiter.lets(Lane::Backfill, Weight::Light).await);
}
