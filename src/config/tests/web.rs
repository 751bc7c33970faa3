//! The web configuration: what the toolkit's file may hold, and the sentence where it is wrong.

use std::path::Path;

use rcgen::{CertificateParams, KeyPair};

use crate::config::WebConfig;
use crate::tls::server::Versions;

/// Of `right`.
const HASH: &str = "$2y$10$.....................................................";

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    std::fs::write(folder.path().join("server.pem"), certificate).unwrap();
    std::fs::write(folder.path().join("server.key"), key.serialize_pem()).unwrap();
    folder
}

fn read(folder: &Path, text: &str) -> Result<WebConfig, String> {
    let path = folder.join("web.yml");
    std::fs::write(&path, text).unwrap();
    WebConfig::read(&path).map_err(|error| {
        let folder = format!("{}/", folder.display());
        error.to_string().replace(&folder, "")
    })
}

#[test]
fn a_file_of_the_toolkit_is_read() {
    let folder = folder();
    let text = format!(
        "tls_server_config:
  cert_file: server.pem
  key_file: server.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: server.pem
  client_allowed_sans: [prometheus]
  min_version: TLS13
  max_version: TLS13
  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_AES_128_GCM_SHA256]
  prefer_server_cipher_suites: false
http_server_config:
  http2: true
  headers: {{Strict-Transport-Security: max-age=3600, X-Frame-Options: SAMEORIGIN, X-XSS-Protection: ''}}
basic_auth_users: {{prometheus: {HASH}}}
"
    );
    let web = read(folder.path(), &text).unwrap();
    let tls = web.tls.clone().unwrap();
    assert_eq!(
        (tls.versions, tls.prefer_server_order),
        (Versions::Tls13, false)
    );
    let clients = tls.clients.as_ref().unwrap();
    assert_eq!(
        (clients.is_required, &*clients.names),
        (true, &["prometheus".to_owned()][..])
    );
    assert_eq!(
        web.headers,
        [
            ("X-Frame-Options", "SAMEORIGIN".to_owned()),
            ("Strict-Transport-Security", "max-age=3600".to_owned())
        ]
    );
    assert_eq!(web.users["prometheus"].expose(), HASH);
    assert!(!format!("{web:?}").contains("$2y$"));
    assert!(!format!("{web:?}").contains("PRIVATE"));
    // All of it may be missing.
    for empty in ["", "{}", "tls_server_config:\nbasic_auth_users:\n"] {
        assert_eq!(
            read(folder.path(), empty),
            Ok(WebConfig::default()),
            "{empty:?}"
        );
    }
    // Inline, as newer versions have it.
    let inline = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let text = serde_json::json!({"tls_server_config": {
        "cert": inline("server.pem"), "key": inline("server.key")
    }});
    let tls = read(folder.path(), &text.to_string()).unwrap().tls.unwrap();
    assert_eq!((tls.versions, tls.clients), (Versions::Both, None));
}

#[test]
fn what_is_wrong_has_its_sentence() {
    let folder = folder();
    let tls = "cert_file: server.pem, key_file: server.key";
    let expensive = HASH.replace("$10$", "$16$");
    for (text, said) in [
        (
            "tls_config: {}".to_owned(),
            "web.yml:1: tls_config is not a setting; did you mean tls_server_config?",
        ),
        (
            "tls_server_config: {certfile: x}".to_owned(),
            "web.yml:1: tls_server_config.certfile is not a setting; did you mean tls_server_config.cert_file?\n\
             tls_server_config.cert_file is missing; TLS needs cert_file and key_file\n\
             tls_server_config.key_file is missing; TLS needs cert_file and key_file",
        ),
        (
            "rate_limit: {interval: 1s}".to_owned(),
            "web.yml:1: rate_limit is not supported; limit requests in a reverse proxy; \
             server.max_connections_per_client limits connections",
        ),
        (
            "tls_server_config: {cert_file: nothing.pem, key_file: server.key}".to_owned(),
            "web.yml:1: tls_server_config.cert_file \"nothing.pem\" cannot be read (No such file or directory (os error 2))",
        ),
        (
            "tls_server_config: {cert_file: server.pem, key_file: server.pem}".to_owned(),
            "web.yml:1: tls_server_config.cert_file cannot be used (there is no PEM private key for it)",
        ),
        (
            format!("tls_server_config: {{{tls}, min_version: TLS10}}"),
            "web.yml:1: tls_server_config.min_version must be TLS12 or TLS13, not \"TLS10\"; did you mean TLS13?",
        ),
        (
            format!("tls_server_config: {{{tls}, client_auth_type: RequireAnyClientCert}}"),
            "web.yml:1: tls_server_config.client_auth_type must be NoClientCert, VerifyClientCertIfGiven or \
             RequireAndVerifyClientCert, not \"RequireAnyClientCert\"; did you mean RequireAndVerifyClientCert?",
        ),
        (
            format!("tls_server_config: {{{tls}, client_auth_type: RequireAndVerifyClientCert}}"),
            "web.yml:1: tls_server_config.client_auth_type needs client_ca_file, the authority of the clients' \
             certificates",
        ),
        (
            format!("tls_server_config: {{{tls}, client_ca_file: server.pem}}"),
            "web.yml:1: tls_server_config.client_ca_file has no effect without client_auth_type: \
             RequireAndVerifyClientCert",
        ),
        (
            format!("tls_server_config: {{{tls}, cipher_suites: [RC4]}}"),
            "web.yml:1: tls_server_config.cipher_suites cannot be used (\"RC4\" is not known; known are \
             TLS_AES_256_GCM_SHA384, TLS_AES_128_GCM_SHA256, TLS_CHACHA20_POLY1305_SHA256, \
             TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, \
             TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, \
             TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256)",
        ),
        (
            "http_server_config: {headers: {X-Frame-Options: allow}}".to_owned(),
            "web.yml:1: http_server_config.headers.X-Frame-Options must be deny or sameorigin, not \"allow\"",
        ),
        (
            "basic_auth_users: {prometheus: in-the-clear}".to_owned(),
            "web.yml:1: basic_auth_users.prometheus is not a bcrypt hash, as `htpasswd -nBC 10 USER` makes",
        ),
        (
            format!("basic_auth_users: {{prometheus: {expensive}}}"),
            "web.yml:1: basic_auth_users.prometheus has a cost above 15, with which every login takes many \
             seconds; use 10 to 12",
        ),
    ] {
        assert_eq!(read(folder.path(), &text).unwrap_err(), said, "{text}");
    }
}
