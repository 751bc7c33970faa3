//! Rules about the section `redis`.

use super::Rules;
use crate::config::duration;
use crate::config::model::{Redis, Settings};
use crate::files;
use crate::redis::RedisUrl;
use crate::tls::Identity;

impl Rules<'_> {
    pub(super) fn redis(&mut self, settings: &Settings) {
        let redis = &settings.redis;
        if redis.min_idle_conns > redis.pool_size {
            let sentence = format!(
                "redis.min_idle_conns must not be above redis.pool_size, but {} is above {} ({})",
                redis.min_idle_conns,
                redis.pool_size,
                self.place("redis.pool_size")
            );
            let problem = self
                .problem("redis.min_idle_conns", sentence)
                .and("redis.pool_size");
            self.problems.push(problem);
        }
        self.redis_lease(redis);
        self.redis_prefix(redis);
        self.redis_password_file(redis);
        match redis.address() {
            None => {}
            Some(Err(problem)) => self.report("redis.url", format!("redis.url {problem}")),
            Some(Ok(url)) => {
                self.redis_credentials(redis, &url);
                self.redis_certificates(redis, &url);
            }
        }
        if redis.url.is_some() && settings.state.path.is_some() {
            let sentence = format!(
                "redis.url and state.path ({}) are both set; with Redis the state is kept there, so remove state.path",
                self.place("state.path")
            );
            let problem = self.problem("redis.url", sentence).and("state.path");
            self.problems.push(problem);
        }
    }

    fn redis_lease(&mut self, redis: &Redis) {
        if !(Redis::MIN_LEASE..=Redis::MAX_LEASE).contains(&redis.lease_ttl) {
            let sentence = format!(
                "redis.lease_ttl must be between {} and {}, not {}",
                duration::format(Redis::MIN_LEASE),
                duration::format(Redis::MAX_LEASE),
                duration::format(redis.lease_ttl)
            );
            self.report("redis.lease_ttl", sentence);
        }
    }

    /// Braces would put all keys in one slot of a Cluster.
    fn redis_prefix(&mut self, redis: &Redis) {
        let is_right = |c: char| c.is_ascii_alphanumeric() || "-_.:/".contains(c);
        if let Some(prefix) = &redis.key_prefix
            && (prefix.len() > 100 || !prefix.chars().all(is_right))
        {
            let sentence = format!(
                "redis.key_prefix {prefix:?} must be at most 100 letters, digits and -_.:/ long, such as age:production"
            );
            self.report("redis.key_prefix", sentence);
        }
    }

    fn redis_password_file(&mut self, redis: &Redis) {
        let Some(path) = &redis.password_file else {
            return;
        };
        let reason = match files::read_text(path, files::MAX_SECRET) {
            Ok(text) if text.trim().is_empty() => "it is empty".to_owned(),
            Ok(_) => return,
            Err(reason) => reason,
        };
        let sentence = format!("redis.password_file {path:?} does not hold a password ({reason})");
        self.report("redis.password_file", sentence);
    }

    fn redis_credentials(&mut self, redis: &Redis, url: &RedisUrl) {
        let passwords = [
            ("redis.password", redis.password.is_some()),
            ("redis.password_file", redis.password_file.is_some()),
            ("redis.url", url.password.is_some()),
        ];
        let mut set = passwords.iter().filter(|(_, is_set)| *is_set);
        if let (Some((first, _)), Some((second, _))) = (set.next(), set.next()) {
            let sentence = match *second {
                "redis.url" => {
                    format!("{first} is set although redis.url has a password; keep one of them")
                }
                second => format!("{first} and {second} are both set; keep one of them"),
            };
            let problem = self.problem(first, sentence).and(second);
            self.problems.push(problem);
        }
        let has_password = passwords.iter().any(|(_, is_set)| *is_set);
        let users = (&redis.username, &url.username);
        match users {
            (Some(_), Some(_)) => {
                let sentence =
                    "redis.username is set although redis.url has a user name; keep one of them";
                self.report("redis.username", sentence.to_owned());
            }
            (Some(_), None) if !has_password => {
                let sentence = "redis.username needs redis.password or redis.password_file";
                self.report("redis.username", sentence.to_owned());
            }
            _ => {}
        }
    }

    fn redis_certificates(&mut self, redis: &Redis, url: &RedisUrl) {
        let paths = [
            ("redis.ca_cert_path", &redis.ca_cert_path),
            ("redis.client_cert_path", &redis.client_cert_path),
            ("redis.client_key_path", &redis.client_key_path),
        ];
        if !url.tls
            && let Some((key, _)) = paths.iter().find(|(_, path)| path.is_some())
        {
            let sentence = format!(
                "{key} needs TLS; write rediss://, rediss-sentinel:// or rediss-cluster:// in redis.url"
            );
            self.report(key, sentence);
            return;
        }
        self.ca_file("redis.ca_cert_path", redis.ca_cert_path.as_deref());
        match (&redis.client_cert_path, &redis.client_key_path) {
            (Some(certificate), Some(key)) => {
                if let Err(reason) = Identity::read(certificate, key) {
                    let sentence = format!(
                        "redis.client_cert_path {certificate:?} and redis.client_key_path {key:?} do not hold a \
                         certificate and its key ({reason})"
                    );
                    self.report("redis.client_cert_path", sentence);
                }
            }
            (Some(_), None) => {
                let sentence = "redis.client_cert_path needs redis.client_key_path, the key of the certificate";
                self.report("redis.client_cert_path", sentence.to_owned());
            }
            (None, Some(_)) => {
                let sentence = "redis.client_key_path needs redis.client_cert_path, the certificate of the key";
                self.report("redis.client_key_path", sentence.to_owned());
            }
            (None, None) => {}
        }
    }
}
