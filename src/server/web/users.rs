//! Users of the server: basic authentication against bcrypt hashes.
//!
//! A hash takes a tenth of a second of processor on purpose. So passwords that were right are remembered, by
//! a keyed digest; others are verified outside of the server's own threads, few at once, and beyond a
//! short queue not at all: whoever guesses passwords takes neither the processor nor others' scrapes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use actix_web::http::header::HeaderValue;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::hmac;
use ring::rand::SystemRandom;
use tokio::sync::Semaphore;

use crate::config::Secret;

/// Passwords that are verified at once.
const AT_ONCE: usize = 2;
/// Requests that wait for that.
const WAITING: usize = 32;
/// Right passwords that are remembered.
const REMEMBERED: usize = 256;
/// The hash that unknown users are held against, so that they take as long as known ones; of no password.
const NOBODY: &str = "$2y$10$.....................................................";

/// Who sends a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Login {
    /// There are no users: everybody is let in.
    Open,
    /// A user.
    Known,
    /// Somebody who did not say who they are.
    Missing,
    /// Somebody else.
    Wrong,
    /// Nobody knows: too many ask.
    Busy,
}

/// The users.
#[derive(Default)]
pub(super) struct Users(Option<Arc<Known>>);

struct Known {
    hashes: BTreeMap<String, Secret>,
    /// What a user without a hash is held against.
    nobody: String,
    key: hmac::Key,
    remembered: Mutex<BTreeSet<Vec<u8>>>,
    verifying: Semaphore,
    waiting: Semaphore,
}

impl Users {
    /// Users by their names, with the hashes of their passwords.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub(super) fn new(hashes: &BTreeMap<String, Secret>) -> std::io::Result<Self> {
        if hashes.is_empty() {
            return Ok(Self(None));
        }
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        let key = key.map_err(|_| std::io::Error::other("the system gives no random numbers"))?;
        Ok(Self(Some(Arc::new(Known {
            nobody: nobody(hashes),
            hashes: hashes.clone(),
            key,
            remembered: Mutex::default(),
            verifying: Semaphore::new(AT_ONCE),
            waiting: Semaphore::new(AT_ONCE + WAITING),
        }))))
    }

    /// Who sends this header.
    pub(super) async fn login(&self, authorization: Option<&HeaderValue>) -> Login {
        let Some(users) = &self.0 else {
            return Login::Open;
        };
        let Some(authorization) = authorization else {
            return Login::Missing;
        };
        match credentials(authorization) {
            Some((user, password)) => Known::login(users, &user, password).await,
            None => Login::Wrong,
        }
    }
}

impl Known {
    async fn login(users: &Arc<Self>, user: &str, password: Secret) -> Login {
        let hash = users.hashes.get(user);
        let digest = users.digest(user, password.expose());
        if hash.is_some() && users.remembered().contains(&digest) {
            return Login::Known;
        }
        let Ok(_place) = users.waiting.try_acquire() else {
            return Login::Busy;
        };
        let Ok(_turn) = users.verifying.acquire().await else {
            return Login::Busy;
        };
        let is_known = hash.is_some();
        // It may have been verified while this waited.
        if is_known && users.remembered().contains(&digest) {
            return Login::Known;
        }
        let hash = hash.map_or_else(|| users.nobody.clone(), |hash| hash.expose().to_owned());
        let verify = move || bcrypt::verify(password.expose(), &hash).unwrap_or(false);
        let is_right = tokio::task::spawn_blocking(verify).await.unwrap_or(false);
        if !(is_right && is_known) {
            return Login::Wrong;
        }
        let mut remembered = users.remembered();
        if remembered.len() >= REMEMBERED {
            remembered.clear();
        }
        remembered.insert(digest);
        Login::Known
    }

    /// What is remembered of a password: it cannot be guessed back without the key of this process.
    fn digest(&self, user: &str, password: &str) -> Vec<u8> {
        let mut context = hmac::Context::with_key(&self.key);
        // No user has a colon in its name.
        for part in [user, ":", password] {
            context.update(part.as_bytes());
        }
        context.sign().as_ref().to_vec()
    }

    fn remembered(&self) -> std::sync::MutexGuard<'_, BTreeSet<Vec<u8>>> {
        self.remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// [`NOBODY`] with the highest cost of any user.
fn nobody(hashes: &BTreeMap<String, Secret>) -> String {
    let costs = hashes.values().filter_map(|hash| {
        let parts = hash.expose().parse::<bcrypt::HashParts>().ok()?;
        Some(parts.get_cost())
    });
    let cost = costs.max().unwrap_or(10);
    NOBODY.replacen("$10$", &format!("${cost:02}$"), 1)
}

/// User and password of the header `Authorization: Basic …`.
fn credentials(header: &HeaderValue) -> Option<(String, Secret)> {
    let (scheme, encoded) = header.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = BASE64_STANDARD.decode(encoded.trim()).ok()?;
    let decoded = String::from_utf8(decoded).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), Secret::from(password)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Of `right` at the lowest cost.
    fn users() -> Users {
        let hash = bcrypt::hash("right", 4).unwrap();
        Users::new(&BTreeMap::from([(
            "prometheus".to_owned(),
            Secret::from(hash),
        )]))
        .unwrap()
    }

    fn header(credentials: &str) -> HeaderValue {
        let text = format!("Basic {}", BASE64_STANDARD.encode(credentials));
        HeaderValue::from_str(&text).unwrap()
    }

    #[tokio::test]
    async fn only_the_right_password_of_a_user_is_let_in() {
        let users = users();
        for _ in 0..2 {
            for (sent, login) in [
                (Some(header("prometheus:right")), Login::Known),
                (Some(header("prometheus:wrong")), Login::Wrong),
                (Some(header("prometheus:")), Login::Wrong),
                (Some(header("nobody:right")), Login::Wrong),
                (Some(header("right")), Login::Wrong),
                (Some(HeaderValue::from_static("Bearer right")), Login::Wrong),
                (Some(HeaderValue::from_static("Basic ***")), Login::Wrong),
                (None, Login::Missing),
            ] {
                assert_eq!(users.login(sent.as_ref()).await, login, "{sent:?}");
            }
        }
        let remembered = users.0.as_ref().unwrap().remembered().len();
        assert_eq!(remembered, 1, "only what is right is remembered");
        assert_eq!(Users::default().login(None).await, Login::Open);
    }

    #[test]
    fn nobody_takes_as_long_as_the_slowest_user() {
        let hash = |cost| Secret::from(bcrypt::hash("x", cost).unwrap());
        let hashes = BTreeMap::from([("a".to_owned(), hash(4)), ("b".to_owned(), hash(6))]);
        let nobody = nobody(&hashes);
        let parts = nobody.parse::<bcrypt::HashParts>().unwrap();
        assert_eq!(parts.get_cost(), 6);
        assert!(!bcrypt::verify("x", &nobody).unwrap());
    }

    /// All places are taken by wrong passwords: further ones are turned away at once, a right one that is
    /// known is let in.
    #[tokio::test]
    async fn guesses_beyond_the_queue_are_turned_away_and_scrapes_go_on() {
        let users = Arc::new(users());
        let right = header("prometheus:right");
        assert_eq!(users.login(Some(&right)).await, Login::Known);
        let known = Arc::clone(users.0.as_ref().unwrap());
        let turns = known.verifying.acquire_many(2).await.unwrap();
        let guesses = (0..AT_ONCE + WAITING).map(|number| {
            let users = Arc::clone(&users);
            tokio::spawn(async move {
                users
                    .login(Some(&header(&format!("prometheus:{number}"))))
                    .await
            })
        });
        let guesses: Vec<_> = guesses.collect();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        while known.waiting.available_permits() > 0 {
            assert!(tokio::time::Instant::now() < deadline, "nobody waits");
            tokio::task::yield_now().await;
        }
        let further = header("prometheus:one more");
        assert_eq!(users.login(Some(&further)).await, Login::Busy);
        assert_eq!(users.login(Some(&right)).await, Login::Known);
        drop(turns);
        for guess in guesses {
            assert_eq!(guess.await.unwrap(), Login::Wrong);
        }
    }
}
