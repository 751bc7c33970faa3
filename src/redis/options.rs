//! What a connection is opened with.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::error::RedisError;
use super::url::RedisUrl;
use crate::files;

/// How long a call may take.
const DEADLINE: Duration = Duration::from_secs(2);

/// Settings of a connection, in the terms of the configuration's section `redis`.
#[derive(Clone)]
pub struct RedisOptions {
    /// Where Redis is.
    pub url: RedisUrl,
    /// The user, where the address has none.
    pub username: Option<String>,
    /// The password, where the address has none.
    pub password: Password,
    /// PEM file with certificates to trust besides the platform's own.
    pub ca_cert_path: Option<PathBuf>,
    /// PEM file with the client's certificate.
    pub client_cert_path: Option<PathBuf>,
    /// PEM file with the client certificate's key.
    pub client_key_path: Option<PathBuf>,
    /// Most connections.
    pub pool_size: usize,
    /// Connections kept open while nothing is asked.
    pub min_idle_conns: usize,
    /// How long one call may take, opening a connection included.
    pub deadline: Duration,
    /// Told of each password read from a file, so that it can be kept out of logs.
    pub on_password: Arc<dyn Fn(&str) + Send + Sync>,
}

/// Where the password comes from.
#[derive(Clone, Debug, Default)]
pub enum Password {
    /// There is none.
    #[default]
    None,
    /// The password itself.
    Secret(SecretString),
    /// A file that holds it; read for each new connection.
    File(PathBuf),
}

/// What a connection is authenticated with.
#[derive(Clone, Default)]
pub(super) struct Credentials {
    pub(super) username: Option<String>,
    pub(super) password: Option<SecretString>,
}

impl RedisOptions {
    /// The defaults of the configuration for one address.
    #[must_use]
    pub fn new(url: RedisUrl) -> Self {
        Self {
            url,
            username: None,
            password: Password::None,
            ca_cert_path: None,
            client_cert_path: None,
            client_key_path: None,
            pool_size: 10,
            min_idle_conns: 1,
            deadline: DEADLINE,
            on_password: Arc::new(|_| {}),
        }
    }

    /// The credentials as they are now.
    ///
    /// # Errors
    /// A sentence when the file of the password cannot be read.
    pub(super) fn credentials(&self) -> Result<Credentials, RedisError> {
        let password = match &self.password {
            Password::None => self.url.password.clone(),
            Password::Secret(password) => Some(password.clone()),
            Password::File(path) => {
                let password = read_password(path)?;
                (self.on_password)(password.expose_secret());
                Some(password)
            }
        };
        Ok(Credentials {
            username: self.username.clone().or_else(|| self.url.username.clone()),
            password,
        })
    }
}

fn read_password(path: &Path) -> Result<SecretString, RedisError> {
    let text = files::read_text(path, files::MAX_SECRET).and_then(|text| match text.trim() {
        "" => Err("it is empty".to_owned()),
        password => Ok(SecretString::from(password)),
    });
    text.map_err(|why| {
        let path = path.display();
        RedisError::Settings(format!(
            "redis.password_file `{path}` does not hold a password ({why})"
        ))
    })
}
