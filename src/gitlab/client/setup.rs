//! What the client is built from: GitLab's address, and HTTP with its certificates.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ACCEPT, HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect;
use secrecy::ExposeSecret;
use tracing::warn;
use url::Url;

use crate::gitlab::answer;
use crate::gitlab::settings::{Settings, SetupError};
use crate::tls::{self, Certificates, ClientIdentity, Servers};

/// GitLab's address with a final slash, if it can be one.
pub(super) fn root(url: &Url) -> Result<Url, SetupError> {
    let refuse = |why| {
        let mut shown = url.clone();
        // Both fail only for URLs that cannot have them.
        let _ = shown.set_username("");
        let _ = shown.set_password(None);
        shown.set_query(None);
        shown.set_fragment(None);
        SetupError::Url {
            url: shown.into(),
            why,
        }
    };
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(refuse("an http or https address is needed"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse(
            "user name and password do not belong into the address; use gitlab.token",
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refuse("the address must end with its path"));
    }
    let mut root = url.clone();
    if !root.path().ends_with('/') {
        root.set_path(&format!("{}/", url.path()));
    }
    Ok(root)
}

/// The HTTP client.
pub(super) fn http(settings: &Settings) -> Result<reqwest::Client, SetupError> {
    if !settings.enable_tls_verify {
        warn!(
            "TLS certificates of GitLab are not verified (gitlab.enable_tls_verify is off): the token can be intercepted on the network"
        );
    }
    let builder = builder(settings, &["h2", "http/1.1"])?
        .timeout(settings.timeout)
        .read_timeout(settings.timeout);
    built(builder)
}

/// The same for WebSockets: connections of HTTP/1.1, which can be upgraded, without time-outs.
pub(crate) fn websocket_http(settings: &Settings) -> Result<reqwest::Client, SetupError> {
    built(builder(settings, &["http/1.1"])?.http1_only())
}

fn built(builder: reqwest::ClientBuilder) -> Result<reqwest::Client, SetupError> {
    let client = builder.build();
    client.map_err(|error| SetupError::Http(answer::chain(&error)))
}

/// What both have in common; `protocols` are offered to servers.
#[expect(
    clippy::disallowed_methods,
    reason = "the one client that talks to GitLab"
)]
fn builder(settings: &Settings, protocols: &[&str]) -> Result<reqwest::ClientBuilder, SetupError> {
    tls::install_provider();
    let mut builder = reqwest::Client::builder()
        .user_agent(&settings.user_agent)
        .default_headers(headers(settings)?)
        .redirect(redirect::Policy::none())
        .connect_timeout(settings.timeout.min(Duration::from_secs(10)))
        .pool_idle_timeout(Duration::from_secs(90));
    let certificates = match &settings.ca_cert_path {
        Some(path) => Some(Certificates::read(path).map_err(refused_ca(path))?),
        None => None,
    };
    let identity = identity(settings)?;
    let servers = match (&certificates, settings.enable_tls_verify) {
        (_, false) => Servers::Any,
        (Some(certificates), true) => Servers::And(certificates),
        (None, true) => Servers::Platform,
    };
    match (servers, &identity) {
        // What the HTTP client does by itself.
        (Servers::Platform, None) => {}
        (Servers::Any, None) => builder = builder.tls_danger_accept_invalid_certs(true),
        _ => {
            let config = tls::client_config(servers, identity);
            let mut config = config.map_err(|error| match &settings.ca_cert_path {
                Some(path) => refused_ca(path)(error),
                None => SetupError::Http(error.to_string()),
            })?;
            let protocols = protocols.iter().map(|name| name.as_bytes().to_vec());
            config.alpn_protocols = protocols.collect();
            builder = builder.tls_backend_preconfigured(config);
        }
    }
    Ok(builder)
}

fn refused_ca<E: std::fmt::Display>(path: &Path) -> impl Fn(E) -> SetupError {
    move |why| SetupError::CaCertificate {
        path: path.to_owned(),
        why: why.to_string(),
    }
}

/// The certificate to show, if there is one.
fn identity(settings: &Settings) -> Result<Option<Arc<ClientIdentity>>, SetupError> {
    let Some(path) = &settings.client_cert_path else {
        return Ok(None);
    };
    let identity = ClientIdentity::read(path, settings.client_key_path.as_deref());
    let identity = identity.map_err(|why| SetupError::ClientCertificate {
        path: path.clone(),
        why,
    })?;
    Ok(Some(Arc::new(identity)))
}

/// The headers of each request; those of the settings may be secrets.
fn headers(settings: &Settings) -> Result<HeaderMap, SetupError> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    for (name, value) in &settings.headers {
        let refuse = || SetupError::Header(name.clone());
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refuse())?;
        let mut value = HeaderValue::from_str(value.expose_secret()).map_err(|_| refuse())?;
        value.set_sensitive(true);
        headers.insert(key, value);
    }
    Ok(headers)
}
