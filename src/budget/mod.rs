//! The budget of requests to GitLab that replicas share: a token bucket in Redis, by Redis's clock.
//!
//! A permit is for a request that is made at once, [`SharedBudget::permit_lifetime`] at the latest: so in any
//! window GitLab sees no more than the rate and the burst allow. While Redis is away each replica uses its
//! share; one that Redis does not hear of is taken to do so, and its share is kept free for a while.

mod news;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::gitlab::limiter::shared::{Answer, Ask, Away, SharedBudget};
use crate::gitlab::limiter::{Budget, SILENT_AFTER};
use crate::locks::lock;
use crate::redis::{Redis, RedisError, Script, from_redis_value};

/// Longest life of a permit.
const MAX_LIFETIME: Duration = Duration::from_millis(250);
/// Shortest life of a permit: a call to Redis and back, and the way to the request.
const MIN_LIFETIME: Duration = Duration::from_millis(50);

/// How one budget is shared.
#[derive(Clone, Debug)]
pub struct BudgetSettings {
    /// What all keys begin with.
    pub key_prefix: String,
    /// This replica: one word.
    pub replica: String,
    /// The limits of all replicas together.
    pub budget: Budget,
    /// How long the share of a replica that Redis does not hear of is kept free: as long as it may go on with
    /// its work.
    pub reserve: Duration,
}

/// The budget in Redis.
pub struct RedisBudget {
    redis: Redis,
    script: Script,
    keys: [String; 2],
    settings: BudgetSettings,
    lifetime: Duration,
    /// Number of the newest news that was heard.
    heard: AtomicU64,
    /// Redis's clock, in microseconds, at a time soon after it was read.
    time: Mutex<Option<(Instant, u64)>>,
    /// For tests of what takes long.
    clock: Option<StandingClock>,
}

/// Microseconds by Redis's clock, and how long before a question was asked.
#[derive(Default)]
struct StandingClock {
    now: AtomicU64,
    delay: AtomicU64,
}

impl RedisBudget {
    /// The budget of a GitLab.
    #[must_use]
    pub fn new(redis: Redis, settings: BudgetSettings) -> Self {
        let prefix = &settings.key_prefix;
        // Braces: both keys lie in one slot of a Cluster.
        let keys = ["state", "news"].map(|key| format!("{prefix}:{{budget}}:{key}"));
        let spare = f64::from(settings.budget.burst.saturating_sub(1));
        let lifetime = Duration::try_from_secs_f64(spare / settings.budget.per_second);
        let lifetime = lifetime.unwrap_or(MAX_LIFETIME);
        Self {
            redis,
            script: Script::new(include_str!("budget.lua")),
            keys,
            lifetime: lifetime.clamp(MIN_LIFETIME, MAX_LIFETIME),
            settings,
            heard: AtomicU64::new(0),
            time: Mutex::default(),
            clock: None,
        }
    }

    /// The same by a clock that stands until [`Self::set_clock`].
    #[must_use]
    pub fn with_clock(mut self, micros: u64) -> Self {
        self.clock = Some(StandingClock::default());
        self.set_clock(micros);
        self
    }

    /// Sets the clock of [`Self::with_clock`].
    pub fn set_clock(&self, micros: u64) {
        if let Some(clock) = &self.clock {
            clock.now.store(micros, Ordering::SeqCst);
        }
    }

    /// By the clock of [`Self::with_clock`], Redis hears questions so many microseconds after they were asked.
    pub fn set_delay(&self, micros: u64) {
        if let Some(clock) = &self.clock {
            clock.delay.store(micros, Ordering::SeqCst);
        }
    }

    /// The time for the script (0: Redis's), and the time of a question that is asked now, by Redis's clock (0:
    /// not known).
    fn times(&self) -> [u64; 2] {
        if let Some(StandingClock { now, delay }) = &self.clock {
            let now = now.load(Ordering::SeqCst);
            return [now, now.saturating_sub(delay.load(Ordering::SeqCst))];
        }
        let Some((at, micros)) = *lock(&self.time) else {
            return [0, 0];
        };
        let since = u64::try_from(at.elapsed().as_micros()).unwrap_or(u64::MAX);
        [0, micros.saturating_add(since)]
    }

    /// Requests at once. What permits save up while they live is taken off, so that GitLab sees no more than
    /// the settings allow.
    fn burst(&self) -> f64 {
        let Budget {
            per_second, burst, ..
        } = self.settings.budget;
        (f64::from(burst.max(1)) - per_second * self.lifetime.as_secs_f64()).max(1.0)
    }

    fn args(&self, lane: i8, ask: &Ask) -> Vec<String> {
        let budget = &self.settings.budget;
        // As of one process: a tenth of the hour may go at once, the rest trickles.
        let at_once = match budget.per_hour {
            0 => 0,
            per_hour => (per_hour / 10).max(1),
        };
        let micros = |time: Duration| time.as_micros().to_string();
        let [now, asked] = self.times();
        let mut args = vec![
            now.to_string(),
            self.settings.replica.clone(),
            budget.per_second.to_string(),
            self.burst().to_string(),
            budget.per_hour.saturating_sub(at_once).max(1).to_string(),
            at_once.to_string(),
            lane.to_string(),
            ask.calls.to_string(),
            micros(ask.waited),
            ask.spent.to_string(),
            self.heard.load(Ordering::SeqCst).to_string(),
            micros(SILENT_AFTER),
            micros(self.settings.reserve),
            ask.members.to_string(),
            asked.to_string(),
            micros(self.lifetime),
            u8::from(ask.uses_share).to_string(),
        ];
        args.extend(ask.news.iter().map(news::write));
        args
    }

    async fn run(&self, lane: i8, ask: &Ask) -> Result<Vec<redis::Value>, RedisError> {
        self.redis
            .run(&self.script, &self.keys, &self.args(lane, ask))
            .await
    }

    fn read(&self, answer: Vec<redis::Value>) -> Result<Answer, Away> {
        let wrong = || Away("invalid response from Redis".to_owned());
        let mut values = answer.into_iter();
        let mut number = || -> Result<u64, Away> {
            let value = values.next().ok_or_else(wrong)?;
            from_redis_value(value).map_err(|_| wrong())
        };
        let count = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let (granted, wait) = (count(number()?), Duration::from_micros(number()?));
        let (members, is_new) = (count(number()?), number()? != 0);
        let (newest, time) = (number()?, number()?);
        let mut news = Vec::new();
        while let (Some(age), Some(said)) = (values.next(), values.next()) {
            let age: u64 = from_redis_value(age).map_err(|_| wrong())?;
            let said: Vec<u8> = from_redis_value(said).map_err(|_| wrong())?;
            // A newer version may say what this one does not know.
            news.extend(news::read(&said, Duration::from_micros(age)));
        }
        self.heard.store(newest, Ordering::SeqCst);
        *lock(&self.time) = Some((Instant::now(), time));
        Ok(Answer {
            granted,
            wait,
            members,
            is_new,
            news,
        })
    }
}

#[async_trait]
impl SharedBudget for RedisBudget {
    async fn ask(&self, ask: &Ask) -> Result<Answer, Away> {
        let lane = match ask.lane {
            Some(lane) => i8::try_from(lane as usize).unwrap_or(i8::MAX),
            None => -1,
        };
        let answer = self.run(lane, ask).await;
        self.read(answer.map_err(|error| Away(error.to_string()))?)
    }

    async fn leave(&self) {
        // Without it the others keep the share free for a while, and no more.
        if let Err(error) = self.run(-2, &Ask::default()).await {
            tracing::debug!(%error, "the request budget was not left");
        }
    }

    fn permit_lifetime(&self) -> Duration {
        self.lifetime
    }
}
