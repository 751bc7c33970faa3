//! Certificates of an authority of the test's own, for servers and clients.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;

/// An authority, and a folder with what it issued.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    /// A new one.
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // OpenSSL takes a certificate whose issuer has its own name for self-signed.
        params
            .distinguished_name
            .push(DnType::CommonName, "authority");
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("an authority");
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).expect("it can be written");
        Self { issuer, folder }
    }

    /// Its certificate.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Issues a certificate for names; the files of it and of its key.
    pub fn issue(&self, file: &str, names: &[&str]) -> (PathBuf, PathBuf) {
        let names: Vec<String> = names.iter().copied().map(str::to_owned).collect();
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name.push(DnType::CommonName, file);
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let path = |end: &str| self.folder.path().join(format!("{file}{end}"));
        std::fs::write(path(".pem"), certificate.pem()).expect("it can be written");
        std::fs::write(path(".key"), key.serialize_pem()).expect("it can be written");
        (path(".pem"), path(".key"))
    }

    /// Options of a server at 127.0.0.1 that speaks TLS alone on `port`; `clients` must show a certificate.
    pub fn server_options(&self, port: u16, clients: bool) -> Vec<String> {
        let (certificate, key) = self.issue("server", &["127.0.0.1", "localhost"]);
        let clients = if clients { "yes" } else { "no" };
        let text = |path: PathBuf| path.display().to_string();
        [
            ["--port".to_owned(), "0".to_owned()],
            ["--tls-port".to_owned(), port.to_string()],
            ["--tls-cert-file".to_owned(), text(certificate)],
            ["--tls-key-file".to_owned(), text(key)],
            ["--tls-ca-cert-file".to_owned(), text(self.path())],
            ["--tls-auth-clients".to_owned(), clients.to_owned()],
            ["--tls-replication".to_owned(), "yes".to_owned()],
            ["--tls-cluster".to_owned(), "yes".to_owned()],
        ]
        .concat()
    }
}
