//! What the client is built from: GitLab's address, and HTTP with its certificates.

use std::time::Duration;

use reqwest::header::{ACCEPT, HeaderMap, HeaderValue};
use reqwest::redirect;
use tracing::warn;
use url::Url;

use crate::gitlab::answer;
use crate::gitlab::settings::{Settings, SetupError};
use crate::tls::{self, Certificates};

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
#[expect(
    clippy::disallowed_methods,
    reason = "the one client that talks to GitLab"
)]
pub(super) fn http(settings: &Settings) -> Result<reqwest::Client, SetupError> {
    tls::install_provider();
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    let mut builder = reqwest::Client::builder()
        .user_agent(&settings.user_agent)
        .default_headers(headers)
        .redirect(redirect::Policy::none())
        .timeout(settings.timeout)
        .connect_timeout(settings.timeout.min(Duration::from_secs(10)))
        .read_timeout(settings.timeout)
        .pool_idle_timeout(Duration::from_secs(90));
    if let Some(path) = &settings.ca_cert_path {
        let refuse = |why: String| SetupError::CaCertificate {
            path: path.clone(),
            why,
        };
        let certificates = Certificates::read(path).map_err(|error| refuse(error.to_string()))?;
        let certificates = certificates
            .for_http()
            .map_err(|error| refuse(error.to_string()))?;
        if settings.enable_tls_verify {
            builder = builder.tls_backend_preconfigured(certificates);
        }
    }
    if !settings.enable_tls_verify {
        warn!(
            "TLS certificates of GitLab are not verified (gitlab.enable_tls_verify is off): the token can be intercepted on the network"
        );
        builder = builder.tls_danger_accept_invalid_certs(true);
    }
    builder
        .build()
        .map_err(|error| SetupError::Http(answer::chain(&error)))
}
