//! The access token: where it comes from, how it is sent, and that it is never shown.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use super::accounting::Accounting;
use super::settings::TokenSource;
use crate::files;
use crate::types::token_problem;

/// How often a token file is checked.
const RELOAD_INTERVAL: Duration = Duration::from_secs(10);

/// The token in use.
pub(crate) struct Token {
    state: RwLock<LoadedToken>,
    /// Told of each token.
    accounting: Arc<dyn Accounting>,
}

#[derive(Clone)]
struct LoadedToken {
    file: Option<PathBuf>,
    current: Arc<Secret>,
    /// The token before the last change: an answer still under way may echo it.
    previous: Option<Arc<Secret>>,
    read_at: Instant,
}

struct Secret {
    text: SecretString,
    header: HeaderValue,
}

/// A token that was read and can be used.
pub struct ReadyToken {
    file: Option<PathBuf>,
    secret: Arc<Secret>,
}

impl ReadyToken {
    /// Takes it from its source.
    ///
    /// # Errors
    /// A sentence when the file cannot be read, or the token is empty or no header value.
    pub(crate) fn read(source: &TokenSource) -> Result<Self, String> {
        let (file, text) = match source {
            TokenSource::Secret(text) => (None, text.clone()),
            TokenSource::File(path) => (Some(path.clone()), read(path)?),
        };
        let secret = Arc::new(secret(text, file.as_deref())?);
        Ok(Self { file, secret })
    }
}

impl Token {
    /// Takes the token from its source.
    ///
    /// # Errors
    /// A sentence when the file cannot be read, or the token is empty or no header value.
    pub(crate) fn open(
        source: &TokenSource,
        accounting: Arc<dyn Accounting>,
    ) -> Result<Self, String> {
        let ReadyToken { file, secret } = ReadyToken::read(source)?;
        accounting.token_loaded(secret.text.expose_secret());
        Ok(Self {
            state: RwLock::new(LoadedToken {
                file,
                current: secret,
                previous: None,
                read_at: Instant::now(),
            }),
            accounting,
        })
    }

    /// Goes on with another one; whether it is another.
    pub(crate) fn replace(&self, next: ReadyToken) -> bool {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.file = next.file;
        state.read_at = Instant::now();
        if next.secret.text.expose_secret() == state.current.text.expose_secret() {
            return false;
        }
        self.accounting
            .token_loaded(next.secret.text.expose_secret());
        state.previous = Some(std::mem::replace(&mut state.current, next.secret));
        true
    }

    /// The value of the header `Authorization`, marked as sensitive, and whether the file holds another
    /// token since the last call.
    pub(crate) fn header(&self) -> (HeaderValue, bool) {
        let state = self.get();
        let mut is_new = false;
        if state.file.is_some() && state.read_at.elapsed() >= RELOAD_INTERVAL {
            // A file that cannot be read just now keeps its last token.
            is_new = self.reload().unwrap_or(false);
        }
        (self.get().current.header.clone(), is_new)
    }

    /// Reads the file again; true when it holds another token now.
    ///
    /// # Errors
    /// A sentence when the file cannot be read or holds no token.
    pub(crate) fn reload(&self) -> Result<bool, String> {
        let Some(path) = self.get().file else {
            return Ok(false);
        };
        let text = read(&path);
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.read_at = Instant::now();
        let text = text?;
        if text.expose_secret() == state.current.text.expose_secret() {
            return Ok(false);
        }
        let next = Arc::new(secret(text, Some(&path))?);
        self.accounting.token_loaded(next.text.expose_secret());
        state.previous = Some(std::mem::replace(&mut state.current, next));
        Ok(true)
    }

    /// `text` without the token.
    pub(crate) fn scrub(&self, text: &str) -> String {
        let state = self.get();
        let mut text = text.to_owned();
        for secret in std::iter::once(&state.current).chain(&state.previous) {
            let token = secret.text.expose_secret();
            if text.contains(token) {
                text = text.replace(token, "[REDACTED]");
            }
        }
        text
    }

    fn get(&self) -> LoadedToken {
        self.state
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

fn read(path: &Path) -> Result<SecretString, String> {
    let text = files::read_text(path, files::MAX_SECRET)
        .map_err(|error| format!("gitlab.token_file `{}`: {error}", path.display()))?;
    Ok(SecretString::from(text.trim().to_owned()))
}

fn secret(text: SecretString, file: Option<&Path>) -> Result<Secret, String> {
    let place = file.map_or_else(
        || "gitlab.token".to_owned(),
        |path| format!("gitlab.token_file `{}`", path.display()),
    );
    if let Some(problem) = token_problem(text.expose_secret()) {
        return Err(format!("{place}: the token {problem}"));
    }
    let mut header = HeaderValue::try_from(format!("Bearer {}", text.expose_secret()))
        .map_err(|_| format!("{place}: the token has characters that no HTTP header can carry"))?;
    header.set_sensitive(true);
    Ok(Secret { text, header })
}
