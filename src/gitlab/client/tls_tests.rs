//! TLS against a server with a certificate of its own making.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use secrecy::SecretString;

use crate::gitlab::testing::{TOKEN, Traces, gitlab};
use crate::gitlab::{CableError, Cables, Cause, GitLabError, NoAccounting, Settings, TokenSource};

const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
                      content-length: 20\r\n\r\n{\"version\":\"19.3.0\"}";

/// Starts a server whose certificate comes from a new authority; its address and the
/// authority's certificate as PEM.
fn server() -> (String, String) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()])
        .unwrap()
        .signed_by(&key, &authority)
        .unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(connection, stream.unwrap());
            if stream.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {
                let _ = stream.write_all(ANSWER.as_bytes());
                let _ = stream.flush();
            }
        }
    });
    (url, authority.pem())
}

async fn version(url: &str, change: impl Fn(&mut Settings)) -> Result<String, GitLabError> {
    let token = TokenSource::Secret(SecretString::from(TOKEN));
    let mut settings = Settings::new(url.parse().unwrap(), token);
    change(&mut settings);
    let gitlab = gitlab(&settings, Arc::new(NoAccounting));
    gitlab.metadata().await.map(|metadata| metadata.version)
}

fn trusting(path: &Path) -> impl Fn(&mut Settings) {
    move |settings| settings.ca_cert_path = Some(path.to_owned())
}

#[tokio::test]
async fn an_authority_of_ones_own_is_trusted_when_named() {
    let (url, pem) = server();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), pem).unwrap();
    assert_eq!(
        version(&url, trusting(file.path())).await.unwrap(),
        "19.3.0"
    );
}

#[tokio::test]
async fn an_unknown_authority_is_refused_and_not_tried_again() {
    let (url, _) = server();
    let (_, other) = server();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), other).unwrap();
    for change in [
        &|_: &mut Settings| {},
        &trusting(file.path()) as &dyn Fn(&mut Settings),
    ] {
        let error = version(&url, change).await.unwrap_err();
        assert_eq!(error.kind(), "tls", "{error}");
        assert!(!error.cause.is_retryable());
        assert!(error.to_string().contains("ca_cert_path"), "{error}");
    }
}

#[tokio::test]
async fn verification_can_be_switched_off_and_says_so_loudly() {
    let (traces, _guard) = Traces::record();
    let (url, _) = server();
    let read = version(&url, |settings| settings.enable_tls_verify = false).await;
    assert_eq!(read.unwrap(), "19.3.0");
    let text = traces.text();
    assert!(
        text.lines()
            .any(|line| line.contains("WARN") && line.contains("enable_tls_verify")),
        "{text}"
    );
}

/// Why the server, which answers everything alike, opens no WebSocket.
async fn no_cable(url: &str, change: impl Fn(&mut Settings)) -> CableError {
    let token = TokenSource::Secret(SecretString::from(TOKEN));
    let mut settings = Settings::new(url.parse().unwrap(), token);
    change(&mut settings);
    let gitlab = gitlab(&settings, Arc::new(NoAccounting));
    let connected = Cables::new(&settings, &gitlab).unwrap().connect().await;
    connected.err().unwrap()
}

#[tokio::test]
async fn websockets_trust_whom_all_else_trusts() {
    let (url, pem) = server();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), pem).unwrap();
    let unknown = no_cable(&url, |_| {}).await;
    assert!(
        matches!(unknown, CableError::Failed(Cause::Tls(_))),
        "{unknown}"
    );
    let verified = no_cable(&url, trusting(file.path())).await;
    assert!(verified.to_string().contains("status 200"), "{verified}");
    let unverified = no_cable(&url, |settings| settings.enable_tls_verify = false).await;
    assert!(
        unverified.to_string().contains("status 200"),
        "{unverified}"
    );
}
