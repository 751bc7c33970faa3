//! gRPC channels and HTTP clients for OTLP, with TLS and headers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use secrecy::ExposeSecret;
use thiserror::Error;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};

use super::{Header, OtlpTarget};
use crate::tls::{self, CertificateError, Certificates};

const USER_AGENT: &str = concat!("amazing-gitlab-exporter/", env!("CARGO_PKG_VERSION"));

/// How long connecting may take, within the time-out of the request.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why no OTLP client can be made of the settings.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The file with trusted certificates cannot be used.
    #[error("cannot use the certificates in {}: {source}", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// Why.
        source: CertificateError,
    },
    /// A header that HTTP cannot carry. Its value is a secret and not shown.
    #[error("{name:?} is no usable header: its name or its value has characters that HTTP forbids")]
    Header {
        /// Its name.
        name: String,
    },
    /// The endpoint is not one that gRPC can use.
    #[error("cannot use {endpoint} as gRPC endpoint: {source}")]
    Endpoint {
        /// The endpoint, without user and password.
        endpoint: String,
        /// What is wrong with it, or with the system's certificates.
        source: tonic::transport::Error,
    },
    /// The TLS library refuses the certificates.
    #[error("cannot use the trusted certificates: {0}")]
    Tls(#[from] rustls::Error),
    /// The HTTP client cannot be built.
    #[error("cannot build the HTTP client: {0}")]
    Http(#[from] reqwest::Error),
    /// The SDK refuses the exporter.
    #[error("cannot build the exporter: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// No thread could be started.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}

/// Headers of every request, checked; their values are marked as sensitive.
#[derive(Clone, Default)]
pub(crate) struct Headers(HeaderMap);

impl Headers {
    /// # Errors
    /// When HTTP forbids a name or value.
    pub(crate) fn new(headers: &[Header]) -> Result<Self, ClientError> {
        let mut map = HeaderMap::with_capacity(headers.len());
        for (name, value) in headers {
            let refused = || ClientError::Header { name: name.clone() };
            let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused())?;
            let mut value = HeaderValue::from_str(value.expose_secret()).map_err(|_| refused())?;
            value.set_sensitive(true);
            map.insert(key, value);
        }
        Ok(Self(map))
    }

    /// For HTTP.
    pub(crate) fn map(&self) -> &HeaderMap {
        &self.0
    }

    /// For gRPC.
    pub(crate) fn metadata(&self) -> MetadataMap {
        MetadataMap::from_headers(self.0.clone())
    }
}

/// The values are secrets.
impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// A channel that connects when it is first used and again when the connection breaks.
///
/// Must be called within a tokio runtime, which then drives the connection.
///
/// # Errors
/// When the certificates or the endpoint cannot be used.
pub(crate) fn grpc_channel(target: &OtlpTarget) -> Result<Channel, ClientError> {
    let refused = |source| {
        let mut endpoint = target.endpoint.clone();
        let _ = endpoint.set_username("");
        let _ = endpoint.set_password(None);
        ClientError::Endpoint {
            endpoint: endpoint.to_string(),
            source,
        }
    };
    let mut endpoint = Endpoint::from_shared(target.endpoint.to_string())
        .and_then(|endpoint| endpoint.user_agent(USER_AGENT))
        .map_err(refused)?
        .timeout(target.timeout)
        .connect_timeout(CONNECT_TIMEOUT.min(target.timeout));
    if target.endpoint.scheme() == "https" {
        endpoint = match &target.ca_cert_path {
            Some(path) => endpoint.tls_config_with_verifier(
                ClientTlsConfig::new(),
                read_certificates(path)?.verifier()?,
            ),
            None => endpoint.tls_config(ClientTlsConfig::new().with_native_roots()),
        }
        .map_err(refused)?;
    }
    Ok(endpoint.connect_lazy())
}

/// An HTTP client for code that runs within a tokio runtime.
///
/// # Errors
/// When the certificates cannot be used.
pub(crate) fn http_client(target: &OtlpTarget) -> Result<reqwest::Client, ClientError> {
    Ok(http_client_builder(target)?.build()?)
}

/// An HTTP client for the SDK's batch processors, which export on plain threads: an asynchronous
/// client panics there for want of a reactor.
///
/// # Errors
/// When the certificates cannot be used.
pub(crate) fn blocking_http_client(
    target: &OtlpTarget,
) -> Result<reqwest::blocking::Client, ClientError> {
    let builder = http_client_builder(target)?;
    // Built on a thread of its own, because it panics where a runtime is entered.
    let built = std::thread::Builder::new()
        .spawn(move || reqwest::blocking::ClientBuilder::from(builder).build())
        .map_err(ClientError::Thread)?
        .join()
        .map_err(|_| ClientError::Thread(std::io::Error::other("it panicked")))?;
    Ok(built?)
}

#[expect(
    clippy::disallowed_methods,
    reason = "it talks to the OTLP receiver, never to GitLab"
)]
fn http_client_builder(target: &OtlpTarget) -> Result<reqwest::ClientBuilder, ClientError> {
    tls::install_provider();
    let mut builder = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .timeout(target.timeout)
        .connect_timeout(CONNECT_TIMEOUT.min(target.timeout))
        // Headers are secrets, and a redirect may lead to another origin.
        .redirect(reqwest::redirect::Policy::none());
    if let Some(path) = &target.ca_cert_path {
        let certificates = read_certificates(path)?.for_http()?;
        builder = builder.tls_backend_preconfigured(certificates);
    }
    Ok(builder)
}

fn read_certificates(path: &Path) -> Result<Certificates, ClientError> {
    Certificates::read(path).map_err(|source| ClientError::Certificates {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::telemetry::otlp::Protocol;

    fn target(endpoint: &str) -> OtlpTarget {
        OtlpTarget {
            endpoint: endpoint.parse().unwrap(),
            protocol: Protocol::HttpProtobuf,
            headers: Vec::new(),
            timeout: Duration::from_secs(1),
            gzip: true,
            ca_cert_path: None,
        }
    }

    #[test]
    fn a_bad_header_is_named_and_its_value_is_not() {
        let error = Headers::new(&[("x-tenant".into(), "line\nbreak".into())]).unwrap_err();
        assert!(error.to_string().contains("x-tenant"), "{error}");
        assert!(!error.to_string().contains("break"), "{error}");
        assert!(Headers::new(&[("no colons:".into(), "v".into())]).is_err());
    }

    #[test]
    fn headers_do_not_print_their_values() {
        let headers = Headers::new(&[("authorization".into(), "Basic c2VjcmV0".into())]).unwrap();
        let printed = format!("{headers:?} {:?} {:?}", headers.map(), headers.metadata());
        assert!(!printed.contains("c2VjcmV0"), "{printed}");
        assert!(printed.contains("authorization"), "{printed}");
    }

    #[test]
    fn certificates_are_checked_when_the_client_is_built() {
        let mut missing = target("https://127.0.0.1:4318/v1/metrics");
        missing.ca_cert_path = Some("/nonexistent/ca.pem".into());
        let error = http_client(&missing).unwrap_err();
        assert!(matches!(error, ClientError::Certificates { .. }));
        assert!(error.to_string().contains("/nonexistent/ca.pem"), "{error}");

        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"no certificate").unwrap();
        missing.ca_cert_path = Some(file.path().to_owned());
        let error = http_client(&missing).unwrap_err();
        assert!(matches!(error, ClientError::Certificates { .. }), "{error}");
        assert!(grpc_channel(&missing).is_err());
    }

    #[tokio::test]
    async fn a_blocking_client_can_be_built_within_a_runtime() {
        let client = blocking_http_client(&target("http://127.0.0.1:1/v1/traces")).unwrap();
        // It must be dropped outside again, as it is on a batch processor's thread.
        std::thread::spawn(move || drop(client)).join().unwrap();
    }
}
