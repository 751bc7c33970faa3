//! TLS for every client of the program: its provider, and certificates to trust besides the system's.

use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// Why a file of certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// It is not readable.
    #[error("{0}")]
    Unreadable(std::io::Error),
    /// It holds none.
    #[error("there is no PEM certificate in it")]
    Empty,
    /// One of them is broken; a good one next to it does not hide that.
    #[error("{0}")]
    Broken(String),
}

/// Certificates of a PEM file, each of which can be trusted.
#[derive(Debug)]
pub struct Certificates {
    pem: Vec<u8>,
    ders: Vec<CertificateDer<'static>>,
}

impl Certificates {
    /// Reads a file.
    ///
    /// # Errors
    /// When it is not readable, holds no certificate, or a broken one.
    pub fn read(path: &Path) -> Result<Self, CertificateError> {
        let pem = std::fs::read(path).map_err(CertificateError::Unreadable)?;
        let broken = |why: &dyn std::fmt::Display| CertificateError::Broken(why.to_string());
        let mut roots = RootCertStore::empty();
        let mut ders = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|error| broken(&error))?.into_owned();
            roots
                .add(certificate.clone())
                .map_err(|error| broken(&error))?;
            ders.push(certificate);
        }
        if ders.is_empty() {
            return Err(CertificateError::Empty);
        }
        Ok(Self { pem, ders })
    }

    /// The file as it is, for gRPC.
    #[must_use]
    pub fn pem(&self) -> &[u8] {
        &self.pem
    }

    /// For HTTP.
    ///
    /// # Errors
    /// When the HTTP library refuses one.
    pub fn for_http(&self) -> Result<Vec<reqwest::Certificate>, reqwest::Error> {
        let ders = self.ders.iter();
        ders.map(|der| reqwest::Certificate::from_der(der))
            .collect()
    }
}

/// Installs the provider of TLS, which HTTP clients are built without and take from the process.
pub fn install_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Losing the race against another installer is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A self-signed certificate, made for this test with openssl.
    const CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----
MIIBejCCASGgAwIBAgIUDZcyZAZ2eEoZPm5HmoS/s9kVWC0wCgYIKoZIzj0EAwIw
EjEQMA4GA1UEAwwHVGVzdCBDQTAgFw0yNjExMjQwODM1NDhaGA8yMTI2MTAzMTA4
MzU0OFowEjEQMA4GA1UEAwwHVGVzdCBDQTBZMBMGByqGSM49AgEGCCqGSM49AwEH
A0IABDllXG/ljyOVSJJjfPivedwWI/JezzYxNEq+GiBH6r2Tla5On5FUQlLZLamF
s/frBC6Yhr6l5AafnGurf0EaRU6jUzBRMB0GA1UdDgQWBBTEzrXWPmITTHaV5iUH
3kdQLHlWWjAfBgNVHSMEGDAWgBTEzrXWPmITTHaV5iUH3kdQLHlWWjAPBgNVHRMB
Af8EBTADAQH/MAoGCCqGSM49BAMCA0cAMEQCIHB+5VwI1Zr0WFG55E+2LNaIF7Tu
F6uPqRSeKekw+N7uAiBNAqG69xW9+2D7qiBFwLnBQvz9mLtbVjX7MNAtfzxF/Q==
-----END CERTIFICATE-----
";

    #[test]
    fn a_file_of_certificates_is_read_and_a_broken_one_refused() {
        let directory = tempfile::tempdir().unwrap();
        let check = |text: &str| {
            let path = directory.path().join("ca.pem");
            std::fs::write(&path, text).unwrap();
            Certificates::read(&path)
                .map(drop)
                .map_err(|why| why.to_string())
        };
        assert_eq!(check(CERTIFICATE), Ok(()));
        assert_eq!(check(&CERTIFICATE.repeat(2)), Ok(()));
        let none = Err("there is no PEM certificate in it".to_owned());
        assert_eq!(check("hello"), none);
        assert_eq!(
            check(&CERTIFICATE.replace("CERTIFICATE", "PRIVATE KEY")),
            none
        );
        assert!(check(&CERTIFICATE.replace("MII", "AAA")).is_err());
        assert!(check(&CERTIFICATE.replace("-----END", "")).is_err());
        // One broken certificate is not hidden by a good one.
        let broken = CERTIFICATE.replace("MII", "AAA");
        assert!(check(&format!("{CERTIFICATE}{broken}")).is_err());
    }
}
