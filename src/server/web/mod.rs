//! TLS, users and headers of the server, from the file that `server.web_config_file` names; read again
//! when something of it changes.

mod users;

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use actix_web::http::header::{HeaderName, HeaderValue};
use rustls::ServerConfig;

use crate::config::WebConfig;
pub(super) use users::Login;
use users::Users;

/// How often the files are read again.
const RELOAD_INTERVAL: Duration = Duration::from_secs(5);

/// Why the file cannot be used: everything that is wrong with it.
#[derive(Debug, thiserror::Error)]
#[error("server.web_config_file: {0}")]
pub struct WebError(String);

/// What the file says now.
pub struct Web {
    path: Option<PathBuf>,
    current: RwLock<Arc<Loaded>>,
}

/// What is made of the file.
#[derive(Default)]
pub(super) struct Loaded {
    source: WebConfig,
    /// TLS of the main listeners.
    tls: Option<Arc<ServerConfig>>,
    /// The same for listeners where clients show no certificate.
    tls_without_clients: Option<Arc<ServerConfig>>,
    users: Users,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
}

/// How a listener is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protection {
    /// As the file says.
    #[default]
    Full,
    /// By TLS, without certificates of clients: they have other means to show who they are.
    WithoutClientCertificates,
    /// Not at all: nothing of worth is answered.
    Nothing,
}

impl Web {
    /// Reads the file, if there is one.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn open(path: Option<PathBuf>) -> Result<Arc<Self>, WebError> {
        let loaded = match &path {
            Some(path) => Loaded::new(read(path)?)?,
            None => Loaded::default(),
        };
        Ok(Arc::new(Self {
            path,
            current: RwLock::new(Arc::new(loaded)),
        }))
    }

    /// Reads the file again; whether it says something else. What it said stays where it cannot be used.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn reload(&self) -> Result<bool, WebError> {
        let Some(path) = &self.path else {
            return Ok(false);
        };
        let config = read(path)?;
        if config == self.now().source {
            return Ok(false);
        }
        let loaded = Arc::new(Loaded::new(config)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = loaded;
        tracing::info!(path = ?path, "web configuration reloaded");
        Ok(true)
    }

    /// Reads the file again whenever it may have changed, for as long as this runs.
    pub(super) async fn watch(self: Arc<Self>) -> Infallible {
        if self.path.is_none() {
            return std::future::pending().await;
        }
        let mut said = None;
        loop {
            tokio::time::sleep(RELOAD_INTERVAL).await;
            let web = Arc::clone(&self);
            let read = tokio::task::spawn_blocking(move || web.reload()).await;
            let error = match read {
                Ok(Ok(_)) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(error) => Some(error.to_string()),
            };
            if let Some(error) = &error
                && said.as_ref() != Some(error)
            {
                tracing::warn!(
                    error,
                    "web configuration not reloaded, using the previous one"
                );
            }
            said = error;
        }
    }

    /// Whether the main listeners speak TLS.
    #[must_use]
    pub fn speaks_tls(&self) -> bool {
        self.now().tls.is_some()
    }

    /// What the file said last.
    pub(super) fn now(&self) -> Arc<Loaded> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&current)
    }

    /// TLS of a new connection; none is plain HTTP.
    pub(super) fn tls(&self, protection: Protection) -> Option<Arc<ServerConfig>> {
        let now = self.now();
        match protection {
            Protection::Full => now.tls.clone(),
            Protection::WithoutClientCertificates => now.tls_without_clients.clone(),
            Protection::Nothing => None,
        }
    }

    /// Who sends this header `Authorization`.
    pub(super) async fn login(&self, authorization: Option<&HeaderValue>) -> Login {
        self.now().users.login(authorization).await
    }
}

fn read(path: &std::path::Path) -> Result<WebConfig, WebError> {
    WebConfig::read(path).map_err(|error| WebError(error.to_string()))
}

impl Loaded {
    fn new(source: WebConfig) -> Result<Self, WebError> {
        let wrong = |why: &dyn std::fmt::Display| WebError(why.to_string());
        let build = |ask_clients| match &source.tls {
            Some(tls) => match tls.build(ask_clients) {
                Ok(config) => Ok(Some(Arc::new(config))),
                Err(error) => Err(wrong(&error)),
            },
            None => Ok(None),
        };
        let mut headers = Vec::new();
        for (name, value) in &source.headers {
            let value = HeaderValue::from_str(value).map_err(|error| wrong(&error))?;
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| wrong(&error))?;
            headers.push((name, value));
        }
        Ok(Self {
            tls: build(true)?,
            tls_without_clients: build(false)?,
            users: Users::new(&source.users).map_err(|error| wrong(&error))?,
            headers,
            source,
        })
    }
}
