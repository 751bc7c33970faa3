//! Limiters that share a budget, which is a plain bucket here.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio_util::sync::CancellationToken;

use super::*;
use crate::gitlab::limiter::shared::{Answer, Ask, Away, News, SharedBudget};

const LIFETIME: Duration = Duration::from_millis(250);

/// The bucket, and what GitLab said: to whom, and what.
struct Office {
    tokens: Mutex<(f64, Instant)>,
    news: Mutex<Vec<(usize, News)>>,
    is_away: AtomicBool,
    asked: AtomicUsize,
    /// How long an answer takes.
    takes: Mutex<Duration>,
    /// Questions of those that use their share.
    apart: AtomicUsize,
    /// Permits that are handed out whatever is asked for, instead of the bucket's.
    fixed: Option<u32>,
}

/// One of three processes.
struct Seat {
    office: Arc<Office>,
    number: usize,
    heard: AtomicUsize,
}

impl Office {
    fn new(fixed: Option<u32>) -> Arc<Self> {
        Arc::new(Self {
            tokens: Mutex::new((0.0, Instant::now())),
            news: Mutex::default(),
            is_away: AtomicBool::new(false),
            asked: AtomicUsize::new(0),
            takes: Mutex::new(Duration::from_millis(1)),
            apart: AtomicUsize::new(0),
            fixed,
        })
    }

    /// A limiter that the others have known for a while.
    async fn known_seat(self: &Arc<Self>, number: usize) -> Arc<LocalLimiter> {
        let (limiter, stop) = (self.seat(number), CancellationToken::new());
        let (keeps, stops) = (Arc::clone(&limiter), stop.clone());
        let keeping = tokio::spawn(async move { keeps.keep_sharing(stops).await });
        sleep(seconds(2)).await;
        stop.cancel();
        keeping.await.unwrap();
        limiter
    }

    fn seat(self: &Arc<Self>, number: usize) -> Arc<LocalLimiter> {
        let seat = Seat {
            office: Arc::clone(self),
            number,
            heard: AtomicUsize::new(0),
        };
        Arc::new(LocalLimiter::sharing(BUDGET, Arc::new(seat)).unwrap())
    }
}

const BUDGET: Budget = Budget {
    per_second: 10.0,
    burst: 20,
    per_hour: 0,
    at_once: 30,
    server_share: 0.0,
};

#[async_trait]
impl SharedBudget for Seat {
    async fn ask(&self, ask: &Ask) -> Result<Answer, Away> {
        let office = &self.office;
        let takes = *office.takes.lock().unwrap();
        sleep(takes).await;
        if ask.uses_share {
            office.apart.fetch_add(1, Ordering::SeqCst);
        }
        if office.is_away.load(Ordering::SeqCst) {
            return Err(Away("it is down".to_owned()));
        }
        let mut news = office.news.lock().unwrap();
        let heard = self.heard.swap(news.len(), Ordering::SeqCst);
        let of_others = news[heard..]
            .iter()
            .filter(|(from, _)| *from != self.number);
        let of_others: Vec<News> = of_others.map(|(_, news)| news.clone()).collect();
        news.extend(ask.news.iter().map(|said| (self.number, said.clone())));
        let mut answer = Answer {
            members: 3,
            news: of_others,
            ..Answer::default()
        };
        if ask.lane.is_none() {
            return Ok(answer);
        }
        office.asked.fetch_add(1, Ordering::SeqCst);
        if let Some(fixed) = office.fixed {
            answer.granted = fixed;
            return Ok(answer);
        }
        let mut tokens = office.tokens.lock().unwrap();
        let now = Instant::now();
        let passed = (now - tokens.1).as_secs_f64();
        let saved = 20.0 - 10.0 * LIFETIME.as_secs_f64();
        *tokens = ((tokens.0 + passed * 10.0).min(saved), now);
        tokens.0 = tokens.0.min((tokens.0 - f64::from(ask.spent)).max(0.0));
        answer.granted = ask.calls.min(tokens.0 as u32);
        tokens.0 -= f64::from(answer.granted);
        answer.wait = Duration::from_secs_f64((1.0 - tokens.0).max(0.0) / 10.0);
        Ok(answer)
    }

    async fn leave(&self) {}

    fn permit_lifetime(&self) -> Duration {
        LIFETIME
    }
}

#[tokio::test(start_paused = true)]
async fn permits_are_used_while_they_live_and_no_longer() {
    let office = Office::new(Some(3));
    let limiter = office.seat(0);
    let asked = || office.asked.load(Ordering::SeqCst);
    for (pause, want) in [
        (0, 1),
        (100, 1),
        (0, 1),
        (0, 2),
        (300, 3),
        (240, 3),
        (20, 4),
    ] {
        sleep(Duration::from_millis(pause)).await;
        limiter.call(Lane::Normal, ENDPOINT).await.unwrap();
        assert_eq!(asked(), want, "after {pause} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn permits_that_come_too_late_are_not_used() {
    let office = Office::new(Some(3));
    let limiter = office.known_seat(0).await;
    *office.takes.lock().unwrap() = LIFETIME + Duration::from_millis(1);
    let begun = Instant::now();
    limiter.call(Lane::Normal, ENDPOINT).await.unwrap();
    // By its share of three, once the others have had the time to notice: 0.3 s a call.
    let waited = begun.elapsed();
    assert!(waited >= Duration::from_millis(1300), "{waited:?}");
}

/// The question may have come there: to the others this process is silent a second after it failed at the earliest.
#[tokio::test(start_paused = true)]
async fn who_lost_an_answer_waits_until_the_others_count_it_as_silent() {
    let office = Office::new(None);
    let limiter = office.known_seat(0).await;
    office.is_away.store(true, Ordering::SeqCst);
    *office.takes.lock().unwrap() = Duration::from_millis(500);
    let begun = Instant::now();
    limiter.call(Lane::Normal, ENDPOINT).await.unwrap();
    let waited = begun.elapsed();
    assert!(
        waited >= Duration::from_millis(500) + SILENT_AFTER,
        "{waited:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn while_answers_are_slow_the_share_is_used_and_the_others_are_told() {
    let office = Office::new(Some(3));
    let limiter = office.known_seat(0).await;
    *office.takes.lock().unwrap() = LIFETIME + Duration::from_millis(1);
    let stop = CancellationToken::new();
    let (keeps, stops) = (Arc::clone(&limiter), stop.clone());
    tokio::spawn(async move { keeps.keep_sharing(stops).await });
    let begun = Instant::now();
    for _ in 0..100 {
        let call = limiter.call(Lane::Normal, ENDPOINT);
        let called = tokio::time::timeout(seconds(60), call).await;
        called.expect("calls go on").unwrap();
    }
    let took = begun.elapsed();
    assert!((seconds(30)..seconds(33)).contains(&took), "{took:?}");
    assert_eq!(office.asked.load(Ordering::SeqCst), 1, "permits come late");
    assert!(office.apart.load(Ordering::SeqCst) > 30);
    // It is quick again.
    *office.takes.lock().unwrap() = Duration::from_millis(1);
    sleep(seconds(2)).await;
    let (begun, before) = (Instant::now(), office.apart.load(Ordering::SeqCst));
    for _ in 0..9 {
        limiter.call(Lane::Normal, ENDPOINT).await.unwrap();
    }
    assert!(begun.elapsed() < seconds(1), "{:?}", begun.elapsed());
    assert_eq!(office.apart.load(Ordering::SeqCst), before);
    stop.cancel();
}

#[tokio::test(start_paused = true)]
async fn who_is_not_known_to_the_others_has_no_share() {
    let office = Office::new(None);
    office.is_away.store(true, Ordering::SeqCst);
    let limiter = office.seat(0);
    let (stop, begun) = (CancellationToken::new(), Instant::now());
    let (keeps, stops) = (Arc::clone(&limiter), stop.clone());
    tokio::spawn(async move { keeps.keep_sharing(stops).await });
    let back = Arc::clone(&office);
    tokio::spawn(async move {
        sleep(seconds(60)).await;
        back.is_away.store(false, Ordering::SeqCst);
    });
    limiter.call(Lane::Normal, ENDPOINT).await.unwrap();
    let waited = begun.elapsed();
    assert!((seconds(60)..seconds(63)).contains(&waited), "{waited:?}");
    stop.cancel();
}

#[tokio::test(start_paused = true)]
async fn three_stay_within_one_budget_and_fall_to_their_shares_without_it() {
    let office = Office::new(None);
    let limiters: Vec<_> = (0..3).map(|number| office.seat(number)).collect();
    let stop = CancellationToken::new();
    let calls: Arc<Mutex<Vec<(usize, Instant)>>> = Arc::default();
    let begun = Instant::now();
    for (number, limiter) in limiters.iter().enumerate() {
        let (keeps, stops) = (Arc::clone(limiter), stop.clone());
        tokio::spawn(async move { keeps.keep_sharing(stops).await });
        for _ in 0..4 {
            let (limiter, calls) = (Arc::clone(limiter), Arc::clone(&calls));
            tokio::spawn(async move {
                loop {
                    limiter.call(Lane::Normal, ENDPOINT).await.unwrap();
                    calls.lock().unwrap().push((number, Instant::now()));
                }
            });
        }
    }
    sleep(seconds(200)).await;
    office.is_away.store(true, Ordering::SeqCst);
    sleep(seconds(100)).await;
    office.is_away.store(false, Ordering::SeqCst);
    sleep(seconds(300)).await;
    stop.cancel();
    let calls = calls.lock().unwrap().clone();
    let times: Vec<f64> = calls
        .iter()
        .map(|(_, at)| (*at - begun).as_secs_f64())
        .collect();
    for (first, from) in times.iter().enumerate() {
        let within = times[first..].partition_point(|at| *at < from + 10.0);
        assert!(within <= 10 * 10 + 20, "{within} calls in 10 s from {from}");
    }
    let between = |from: f64, to: f64| {
        let within = |at: &f64| (from..to).contains(at);
        times.iter().copied().filter(within).count()
    };
    for (from, to, least) in [
        (0.0, 200.0, 1800),
        (205.0, 300.0, 900),
        (301.0, 600.0, 2700),
    ] {
        let count = between(from, to);
        assert!(count >= least, "{count} calls from {from} to {to}");
    }
    for number in 0..3 {
        let own = calls.iter().filter(|(of, _)| *of == number).count();
        assert!(own > 1500, "{own} calls of {number}");
    }
    assert_eq!(limiters[0].pace().ceiling, 10, "a third of the places");
}

#[tokio::test(start_paused = true)]
async fn what_gitlab_says_to_one_all_heed() {
    let office = Office::new(Some(1));
    let (one, other) = (office.seat(0), office.seat(1));
    let stop = CancellationToken::new();
    for limiter in [&one, &other] {
        let (keeps, stops) = (Arc::clone(limiter), stop.clone());
        tokio::spawn(async move { keeps.keep_sharing(stops).await });
    }
    let refusal = |throttle, wait| Observation {
        throttled: Some(throttle),
        retry_after: Some(seconds(wait)),
        ..Observation::default()
    };
    one.seen(ENDPOINT, &refusal(Throttle::Endpoint, 20)).await;
    sleep(seconds(1)).await;
    let begun = Instant::now();
    other.call(Lane::Normal, "/other").await.unwrap();
    assert!(begun.elapsed() < seconds(1), "{:?}", begun.elapsed());
    other.call(Lane::Normal, ENDPOINT).await.unwrap();
    let waited = begun.elapsed();
    assert!((seconds(18)..=seconds(20)).contains(&waited), "{waited:?}");

    one.seen(ENDPOINT, &refusal(Throttle::All, 30)).await;
    sleep(seconds(1)).await;
    let begun = Instant::now();
    other.call(Lane::Urgent, "/other").await.unwrap();
    let waited = begun.elapsed();
    assert!((seconds(28)..=seconds(30)).contains(&waited), "{waited:?}");
    stop.cancel();
}
