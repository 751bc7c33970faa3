//! TLS against a server with a certificate of its own making.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use secrecy::SecretString;

use crate::gitlab::testing::{Fake, Reply, TOKEN, Traces, gitlab};
use crate::gitlab::{CableError, Cables, Cause, GitLabError, NoAccounting, Settings, TokenSource};

const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
                      content-length: 20\r\n\r\n{\"version\":\"19.3.0\"}";

/// Starts a server that knows HTTP alone, and says so to whoever sends something else; its address.
fn plain_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n");
        }
    });
    url
}

/// Starts a server with a self-signed certificate as `openssl req -x509` makes it; its address and the
/// certificate as PEM.
fn self_signed_server() -> (String, String) {
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let address = serve(certificate.der().clone(), &key, &[]);
    (address, certificate.pem())
}

/// Starts a server whose certificate comes from a new authority; its address and the
/// authority's certificate as PEM.
fn server() -> (String, String) {
    server_offering(&[])
}

/// The same, with these protocols to choose from.
fn server_offering(protocols: &[&str]) -> (String, String) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()])
        .unwrap()
        .signed_by(&key, &authority)
        .unwrap();
    let address = serve(certificate.der().clone(), &key, protocols);
    (address, authority.pem())
}

/// An access proxy: a server that requires a client's certificate of its authority. Its address, the
/// authority as PEM, and a client's certificate and key as PEM.
fn proxy() -> (String, String, String, String) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let signed = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &authority).unwrap(), key)
    };
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
        Arc::new(roots),
        Arc::clone(&provider),
    );
    let (certificate, key) = signed("127.0.0.1");
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![certificate.der().clone()], der(&key))
        .unwrap();
    let (client, client_key) = signed("exporter");
    let url = serve_by(config);
    (
        url,
        authority.pem(),
        client.pem(),
        client_key.serialize_pem(),
    )
}

fn der(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()))
}

/// Serves [`ANSWER`] by TLS; the address.
fn serve(certificate: CertificateDer<'static>, key: &KeyPair, protocols: &[&str]) -> String {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], der(key))
        .unwrap();
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    serve_by(config)
}

fn serve_by(config: ServerConfig) -> String {
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
    url
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

/// However the server's certificate is verified, and for WebSockets too.
#[tokio::test]
async fn an_access_proxy_that_requires_a_client_certificate_gets_it() {
    let (url, authority, certificate, key) = proxy();
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let ca = write("ca.pem", &authority);
    let (cert_path, key_path) = (write("client.pem", &certificate), write("client.key", &key));
    let both = write("both.pem", &format!("{certificate}{key}"));
    let apart = |settings: &mut Settings| {
        trusting(&ca)(settings);
        settings.client_cert_path = Some(cert_path.clone());
        settings.client_key_path = Some(key_path.clone());
    };
    let together = |settings: &mut Settings| {
        settings.enable_tls_verify = false;
        settings.client_cert_path = Some(both.clone());
    };
    assert_eq!(version(&url, apart).await.unwrap(), "19.3.0");
    assert_eq!(version(&url, together).await.unwrap(), "19.3.0");
    for cable in [no_cable(&url, apart).await, no_cable(&url, together).await] {
        assert!(cable.to_string().contains("status 200"), "{cable}");
    }
    // Without the platform's trust in the server there is no handshake at all.
    let untrusted = version(&url, |settings| {
        settings.client_cert_path = Some(both.clone())
    });
    assert_eq!(untrusted.await.unwrap_err().kind(), "tls");
    let none = version(&url, trusting(&ca)).await.unwrap_err().to_string();
    assert!(
        none.contains("set gitlab.client_cert_path to one that it accepts"),
        "{none}"
    );
}

#[tokio::test]
async fn a_self_signed_certificate_is_trusted_when_named() {
    let (url, pem) = self_signed_server();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), pem).unwrap();
    let read = version(&url, trusting(file.path())).await;
    assert_eq!(read.unwrap(), "19.3.0");
    let error = version(&url, |_| {}).await.unwrap_err().to_string();
    assert!(
        error.contains(
            "set gitlab.ca_cert_path to the certificate of GitLab's authority, or to GitLab's own"
        ),
        "{error}"
    );
    // Its host name is verified as ever.
    let elsewhere = url.replace("127.0.0.1", "localhost");
    assert!(version(&elsewhere, trusting(file.path())).await.is_err());
}

#[tokio::test]
async fn https_on_a_port_of_http_and_the_reverse_are_named() {
    let url = plain_server().replace("http://", "https://");
    let error = version(&url, |_| {}).await.unwrap_err().to_string();
    assert!(error.contains("write http:// in gitlab.url"), "{error}");
    let (url, _) = server();
    let url = url.replace("https://", "http://");
    let once = |settings: &mut Settings| settings.retry.max_retries = 0;
    let error = version(&url, once).await.unwrap_err().to_string();
    assert!(error.contains("write https:// in gitlab.url"), "{error}");
    // GitLab's nginx says it in a page.
    let page = "<html><body>The plain HTTP request was sent to HTTPS port</body></html>";
    let nginx = Fake::start(move |_, _| Reply::html_of(400, page)).await;
    let error = version(nginx.url().as_str(), |_| {})
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("write https:// in gitlab.url"), "{error}");
}

#[tokio::test]
async fn the_address_of_a_group_or_project_is_no_gitlab() {
    let gitlab = Fake::start(|_, _| Reply::html(404)).await;
    let url = format!(
        "{}/group/project",
        gitlab.url().as_str().trim_end_matches('/')
    );
    let error = version(&url, |_| {}).await.unwrap_err().to_string();
    let advice = format!(
        "set gitlab.url to {}, without the path",
        gitlab.url().as_str().trim_end_matches('/')
    );
    assert!(error.contains(&advice), "{error}");
    let gitlab = Fake::start(|_, _| Reply::status(404, r#"{"error":"404 Not Found"}"#)).await;
    let url = format!("{}/group", gitlab.url().as_str().trim_end_matches('/'));
    let error = version(&url, |_| {}).await.unwrap_err().to_string();
    assert!(
        error.contains("without the path of a group or project"),
        "{error}"
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

/// HTTP/2 has no such upgrades: where a server prefers it, it must not be chosen.
#[tokio::test]
async fn websockets_offer_no_http_2() {
    let (url, pem) = server_offering(&["h2"]);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), pem).unwrap();
    for unverified in [false, true] {
        let none = no_cable(&url, |settings| {
            trusting(file.path())(settings);
            settings.enable_tls_verify = !unverified;
        });
        let none = none.await;
        assert!(matches!(none, CableError::Failed(Cause::Tls(_))), "{none}");
    }
}
