//! News as text in Redis.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::UnixSeconds;
use crate::gitlab::limiter::shared::News;
use crate::gitlab::limiter::{Load, Observation, RateLimit, Throttle};

/// What is stored. Fields may be added: what a reader does not know it leaves out.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Stored {
    endpoint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    throttled: Option<StoredThrottle>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<Window>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    answered: bool,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StoredThrottle {
    All,
    Endpoint,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Window {
    limit: u64,
    remaining: u64,
    reset: i64,
    reset_in_ms: u64,
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// As text.
pub(super) fn write(news: &News) -> String {
    let seen = &news.seen;
    let stored = Stored {
        endpoint: news.endpoint.clone(),
        throttled: seen.throttled.map(|throttle| match throttle {
            Throttle::All => StoredThrottle::All,
            Throttle::Endpoint => StoredThrottle::Endpoint,
        }),
        retry_after_ms: seen.retry_after.map(millis),
        window: seen.rate_limit.map(|limit| Window {
            limit: limit.limit,
            remaining: limit.remaining,
            reset: limit.reset.0,
            reset_in_ms: millis(limit.reset_in),
        }),
        answered: seen.load == Load::Answered,
    };
    serde_json::to_string(&stored).unwrap_or_default()
}

/// From text; nothing when it is none of ours.
pub(super) fn read(text: &[u8], age: Duration) -> Option<News> {
    let stored: Stored = serde_json::from_slice(text).ok()?;
    let throttled = stored.throttled.map(|throttle| match throttle {
        StoredThrottle::All => Throttle::All,
        StoredThrottle::Endpoint => Throttle::Endpoint,
    });
    Some(News {
        endpoint: stored.endpoint,
        seen: Observation {
            rate_limit: stored.window.map(|window| RateLimit {
                limit: window.limit,
                remaining: window.remaining,
                reset: UnixSeconds(window.reset),
                reset_in: Duration::from_millis(window.reset_in_ms),
            }),
            throttled,
            retry_after: stored.retry_after_ms.map(Duration::from_millis),
            load: match stored.answered {
                true => Load::Answered,
                false => Load::Unknown,
            },
            server_time: Duration::ZERO,
        },
        age,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_come_back_as_they_were_written() {
        let seen = [
            Observation {
                throttled: Some(Throttle::Endpoint),
                retry_after: Some(Duration::from_millis(1500)),
                ..Observation::default()
            },
            Observation {
                throttled: Some(Throttle::All),
                rate_limit: Some(RateLimit {
                    limit: 600,
                    remaining: 0,
                    reset: UnixSeconds(1_700_000_000),
                    reset_in: Duration::from_secs(31),
                }),
                ..Observation::default()
            },
            Observation {
                load: Load::Answered,
                ..Observation::default()
            },
        ];
        for seen in seen {
            let news = News {
                endpoint: "/projects/:id/\"jobs\" x".to_owned(),
                seen,
                age: Duration::from_secs(3),
            };
            assert_eq!(read(write(&news).as_bytes(), news.age), Some(news));
        }
    }

    #[test]
    fn what_a_newer_version_says_besides_is_left_out() {
        let text = br#"{"endpoint": "/graphql", "retry_after_ms": 5, "mood": {"good": true}}"#;
        let news = read(text, Duration::ZERO).unwrap();
        assert_eq!(news.seen.retry_after, Some(Duration::from_millis(5)));
        for text in [&b""[..], b"[]x", b"{\"throttled\": \"none\"}", b"\xff"] {
            assert_eq!(read(text, Duration::ZERO), None);
        }
    }
}
