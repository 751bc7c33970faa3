//! TLS and users by the web configuration, over real connections.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::ServerName;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::site::{Site, until};
use crate::server::{LIMITS, Limits};
use crate::telemetry::process::HttpRefusal;
use crate::tls::{self, Certificates, ClientIdentity, Servers};

/// An authority, and files of certificates that it signed.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        let authority = Self { issuer, folder };
        authority.sign("server", "127.0.0.1");
        authority
    }

    /// Writes `file.pem` and `file.key` with a certificate for a name.
    fn sign(&self, file: &str, name: &str) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.path(&format!("{file}.key")), key.serialize_pem()).unwrap();
        std::fs::write(self.path(&format!("{file}.pem")), certificate.pem()).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, web: &str) {
        std::fs::write(self.path("web.yml"), web).unwrap();
    }

    /// A server with this web configuration.
    fn site(&self, web: &str, more: &str, limits: Limits) -> Site {
        self.write(web);
        let path = self.path("web.yml");
        let settings = format!("server: {{web_config_file: '{}'{more}}}", path.display());
        Site::start_with(&settings, limits)
    }

    /// Asks by TLS; the answer's first line and the rest, or why there is none.
    async fn ask(
        &self,
        site: &Site,
        request: &str,
        identity: Option<&str>,
    ) -> std::io::Result<String> {
        let trusted = Certificates::read(&self.path("ca.pem")).unwrap();
        let identity = identity.map(|name| {
            let key = self.path(&format!("{name}.key"));
            let certificate = self.path(&format!("{name}.pem"));
            Arc::new(ClientIdentity::read(&certificate, Some(&key)).unwrap())
        });
        let config = tls::client_config(Servers::And(&trusted), identity).unwrap();
        let tcp = TcpStream::connect(site.address).await?;
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let mut stream = TlsConnector::from(Arc::new(config))
            .connect(name, tcp)
            .await?;
        let (_, session) = stream.get_ref();
        assert_eq!(session.alpn_protocol(), Some(&b"http/1.1"[..]));
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

const TLS: &str = "tls_server_config: {cert_file: server.pem, key_file: server.key";

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
}

fn users() -> String {
    let hash = bcrypt::hash("right", 4).unwrap();
    format!("basic_auth_users: {{prometheus: {hash}}}\n")
}

fn basic(credentials: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(credentials))
}

#[tokio::test]
async fn pages_come_by_tls_with_the_headers_of_the_file() {
    let authority = Authority::new();
    let web = format!(
        "{TLS}}}\nhttp_server_config: {{headers: {{Strict-Transport-Security: max-age=60, X-Frame-Options: sameorigin}}}}\n"
    );
    let site = authority.site(&web, "", LIMITS);
    site.fill(20_000);
    let answer = authority.ask(&site, &get("/metrics"), None).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(
        answer.contains("strict-transport-security: max-age=60\r\n"),
        "{answer}"
    );
    assert!(
        answer.contains("x-frame-options: sameorigin\r\n"),
        "{answer}"
    );
    // The whole of a long answer, with its end.
    assert_eq!(answer.matches("a-branch-with-a-name").count(), 20_000);
    assert!(answer.ends_with("0\r\n\r\n"));
    // Plain HTTP gets no answer.
    let mut plain = site.connect().await;
    plain.write_all(get("/metrics").as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let _ = plain.read_to_end(&mut bytes).await;
    assert!(!String::from_utf8_lossy(&bytes).contains("HTTP/1.1 200"));
    until("the handshake that failed is counted", || {
        site.world
            .refused
            .lock()
            .unwrap()
            .contains(&HttpRefusal::Tls)
    })
    .await;
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_given_up() {
    let authority = Authority::new();
    let limits = Limits {
        request: Duration::from_millis(200),
        patience: Duration::from_millis(400),
        ..LIMITS
    };
    let site = authority.site(&format!("{TLS}}}"), "", limits);
    let silent = site.connect().await;
    let mut begun = site.connect().await;
    begun.write_all(&[22, 3, 1, 2, 0]).await.unwrap();
    for mut connection in [silent, begun] {
        let mut bytes = Vec::new();
        let read = connection.read_to_end(&mut bytes);
        let ended = tokio::time::timeout(Duration::from_secs(60), read).await;
        assert!(ended.is_ok(), "the server closes it");
    }
}

#[tokio::test]
async fn clients_show_a_certificate_with_a_name_that_is_allowed() {
    let authority = Authority::new();
    authority.sign("prometheus", "prometheus");
    authority.sign("other", "other");
    let stranger = Authority::new();
    stranger.sign("stranger", "prometheus");
    for name in ["stranger.pem", "stranger.key"] {
        std::fs::copy(stranger.path(name), authority.path(name)).unwrap();
    }
    let required = "client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.pem";
    let web = format!("{TLS}, {required}, client_allowed_sans: [prometheus]}}");
    let site = authority.site(&web, "", LIMITS);
    let answer = authority
        .ask(&site, &get("/metrics"), Some("prometheus"))
        .await;
    assert!(answer.unwrap().starts_with("HTTP/1.1 200"));
    for identity in [None, Some("other"), Some("stranger")] {
        let refused = authority.ask(&site, &get("/metrics"), identity).await;
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("alert"), "{identity:?}: {error}");
    }
    // Where it is not required, who has none is let in, and who has a wrong one is not.
    let given = required.replace("RequireAndVerifyClientCert", "VerifyClientCertIfGiven");
    let site = authority.site(&format!("{TLS}, {given}}}"), "", LIMITS);
    for (identity, is_let_in) in [
        (None, true),
        (Some("other"), true),
        (Some("stranger"), false),
    ] {
        let answer = authority.ask(&site, &get("/metrics"), identity).await;
        assert_eq!(answer.is_ok(), is_let_in, "{identity:?}");
    }
}

#[tokio::test]
async fn only_users_see_pages_and_probes_tell_others_the_least() {
    let authority = Authority::new();
    let more = ", enable_poll: true, webhook: {enabled: true, secret_token: the-secret}";
    let site = authority.site(&users(), more, LIMITS);
    let (right, wrong) = (basic("prometheus:right"), basic("prometheus:wrong"));
    for path in [
        "/",
        "/metrics",
        "/config",
        "/docs",
        "/nothing",
        "/-/poll?project=1",
    ] {
        for sent in [None, Some(&wrong)] {
            let headers: Vec<_> = sent
                .iter()
                .map(|value| ("Authorization", value.as_str()))
                .collect();
            let reply = site.ask("GET", path, &headers).await;
            assert_eq!(reply.status, 401, "{path}");
            assert_eq!(reply.header("www-authenticate"), "Basic");
            assert!(!reply.text().contains("g/p"), "{path}");
        }
    }
    let let_in = [("Authorization", right.as_str())];
    for (path, status) in [
        ("/", 200),
        ("/metrics", 200),
        ("/config", 200),
        ("/nothing", 404),
    ] {
        let reply = site.ask("GET", path, &let_in).await;
        assert_eq!(reply.status, status, "{path}");
    }
    assert!(
        site.world
            .refused
            .lock()
            .unwrap()
            .contains(&HttpRefusal::Unauthorized)
    );
    // Probes.
    assert_eq!(site.get("/health").await.status, 200);
    let ready = site.get("/ready").await;
    assert_eq!(
        (ready.status, &*ready.text()),
        (200, "{\"status\":\"ready\"}")
    );
    let ready = site.ask("GET", "/ready", &let_in).await.text();
    assert!(ready.contains("\"gitlab\":"), "{ready}");
    // Webhooks have a secret of their own.
    let event = "POST /webhook HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n";
    for (secret, status) in [("the-secret", 200), ("another", 401)] {
        let mut connection = site.connect().await;
        let request = format!("{event}X-Gitlab-Token: {secret}\r\n\r\n{{}}");
        connection.write_all(request.as_bytes()).await.unwrap();
        let reply = super::site::Reply::read(&mut connection).await;
        assert_eq!(reply.status, status, "{secret}: {}", reply.text());
        assert_eq!(reply.header("www-authenticate"), "");
    }
}

#[tokio::test]
async fn users_and_certificates_that_change_are_read_again() {
    let authority = Authority::new();
    let site = authority.site(&users(), "", LIMITS);
    assert_eq!(site.get("/metrics").await.status, 401);
    // Broken: the users stay.
    authority.write("basic_auth_users: {prometheus: in-the-clear}");
    let error = site.web.reload().unwrap_err().to_string();
    assert!(error.contains("is not a bcrypt hash"), "{error}");
    assert_eq!(site.get("/metrics").await.status, 401);
    authority.write("");
    assert!(site.web.reload().unwrap());
    assert_eq!(site.get("/metrics").await.status, 200);
    // From now on by TLS; the next certificate without a change of the file, and by itself.
    authority.write(&format!("{TLS}}}"));
    assert!(site.web.reload().unwrap());
    assert!(!site.web.reload().unwrap(), "nothing changed");
    let first = shown(&site, authority.folder.path()).await;
    authority.sign("server", "127.0.0.1");
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while shown(&site, authority.folder.path()).await == first {
        assert!(
            tokio::time::Instant::now() < deadline,
            "it is not read again"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The certificate that the server shows.
async fn shown(site: &Site, folder: &Path) -> Vec<u8> {
    let trusted = Certificates::read(&folder.join("ca.pem")).unwrap();
    let config = tls::client_config(Servers::And(&trusted), None).unwrap();
    let tcp = TcpStream::connect(site.address).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await;
    let stream = stream.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[cfg(unix)]
#[tokio::test]
async fn pages_come_by_a_unix_socket() {
    use std::os::unix::net::UnixListener;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("age.sock");
    let site = Site::start_at(UnixListener::bind(&path).unwrap());
    let mut connection = tokio::net::UnixStream::connect(&path).await.unwrap();
    connection
        .write_all(get("/metrics").as_bytes())
        .await
        .unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("age_build_info"), "{answer}");
    drop(site);
}
