//! TLS for every client of the program: its provider, certificates to trust besides the system's, and its
//! own; and for the server: [`server`].

mod identity;
pub mod server;

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};
use rustls_platform_verifier::Verifier;

pub use identity::{ClientIdentity, IdentityError, certified_key};

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

/// Certificates of a PEM file: authorities, or a server's own certificate.
#[derive(Debug)]
pub struct Certificates {
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
        Ok(Self { ders })
    }

    /// What verifies servers: these certificates are trusted besides the platform's own.
    ///
    /// # Errors
    /// When the TLS library refuses them.
    pub fn verifier(&self) -> Result<Arc<dyn ServerCertVerifier>, rustls::Error> {
        let provider = provider();
        let mut roots = RootCertStore::empty();
        for der in &self.ders {
            roots.add(der.clone())?;
        }
        let own = WebPkiServerVerifier::builder_with_provider(roots.into(), Arc::clone(&provider));
        let own = own.build();
        Ok(Arc::new(Trust {
            platform: Verifier::new_with_extra_roots(self.ders.iter().cloned(), provider)?,
            own: own.map_err(|error| rustls::Error::Other(OtherError(Arc::new(error))))?,
            ders: self.ders.clone(),
        }))
    }

    /// The same for HTTP clients.
    ///
    /// # Errors
    /// When the TLS library refuses them.
    pub fn for_http(&self) -> Result<ClientConfig, rustls::Error> {
        client_config(Servers::And(self), None)
    }
}

/// The servers that a client trusts.
#[derive(Clone, Copy, Debug)]
pub enum Servers<'a> {
    /// Those that the platform trusts.
    Platform,
    /// These, too.
    And(&'a Certificates),
    /// All: nothing is verified.
    Any,
}

/// TLS of an HTTP client, which shows `identity` to servers that ask for a certificate.
///
/// # Errors
/// When the TLS library refuses the certificates.
pub fn client_config(
    servers: Servers<'_>,
    identity: Option<Arc<ClientIdentity>>,
) -> Result<ClientConfig, rustls::Error> {
    let provider = provider();
    let verifier: Arc<dyn ServerCertVerifier> = match servers {
        Servers::Platform => Arc::new(Verifier::new(Arc::clone(&provider))?),
        Servers::And(certificates) => certificates.verifier()?,
        Servers::Any => Arc::new(Unverified(Arc::clone(&provider))),
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match identity {
        Some(identity) => builder.with_client_cert_resolver(identity),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Accepts every server that has the key of the certificate that it shows.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A client's own certificate, and its key.
#[derive(Debug)]
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Reads the certificate, with those that it was issued by, and its key.
    ///
    /// # Errors
    /// When one of the files is not readable, or does not hold what it should.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, CertificateError> {
        let chain = Certificates::read(certificate)?.ders;
        let pem = std::fs::read(key).map_err(CertificateError::Unreadable)?;
        let key = PrivateKeyDer::from_pem_slice(&pem);
        let key = key.map_err(|error| CertificateError::Broken(format!("the key: {error}")))?;
        Ok(Self { chain, key })
    }
}

/// TLS of a client that does not speak HTTP: it trusts what the platform trusts and `trusted`, and shows
/// `identity`.
///
/// # Errors
/// When the TLS library refuses a certificate, or the key does not fit.
pub fn client(
    trusted: Option<&Certificates>,
    identity: Option<Identity>,
) -> Result<ClientConfig, rustls::Error> {
    let verifier = match trusted {
        Some(trusted) => trusted.verifier()?,
        None => Arc::new(Verifier::new(provider())?),
    };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    match identity {
        Some(Identity { chain, key }) => builder.with_client_auth_cert(chain, key),
        None => Ok(builder.with_no_client_auth()),
    }
}

/// The authorities that the platform trusts, as PEM, for a library that takes nothing else.
#[must_use]
pub fn platform_pem() -> String {
    let mut pem = String::new();
    // What cannot be read is not trusted.
    for certificate in rustls_native_certs::load_native_certs().certs {
        let text = BASE64_STANDARD.encode(&certificate);
        let _ = write!(
            pem,
            "\n-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n"
        );
    }
    pem
}

/// Trusts what the platform trusts, the authorities of a file, and servers that show exactly a
/// certificate of it.
///
/// `openssl req -x509` makes a server's certificate an authority as well, which no server's certificate
/// may be by the rules of the web. Where just this certificate is named in the settings, nothing is lost
/// by accepting it: its dates, the host name and the server's key are verified as ever.
#[derive(Debug)]
struct Trust {
    platform: Verifier,
    /// Trusts the certificates of the file alone.
    own: Arc<WebPkiServerVerifier>,
    ders: Vec<CertificateDer<'static>>,
}

impl Trust {
    /// Whether the server shows a certificate of the file that has but one fault: it is an authority, too.
    fn is_named(
        &self,
        certificate: &CertificateDer<'_>,
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> bool {
        if !self.ders.contains(certificate) {
            return false;
        }
        // Whether it is an authority is what is asked after its dates.
        let verdict = self
            .own
            .verify_server_cert(certificate, &[], name, &[], now);
        let is_authority = match verdict {
            Err(rustls::Error::InvalidCertificate(rustls::CertificateError::Other(
                OtherError(why),
            ))) => {
                matches!(why.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
            }
            _ => false,
        };
        let certificate = ParsedCertificate::try_from(certificate);
        is_authority
            && certificate.is_ok_and(|certificate| verify_server_name(&certificate, name).is_ok())
    }
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.is_named(end_entity, server_name, now) {
            return Ok(ServerCertVerified::assertion());
        }
        self.platform
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.own
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.own
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.own.supported_verify_schemes()
    }
}

fn provider() -> Arc<CryptoProvider> {
    let installed = CryptoProvider::get_default().map(Arc::clone);
    installed.unwrap_or_else(|| Arc::new(ring::default_provider()))
}

/// Installs the provider of TLS, which HTTP clients are built without and take from the process.
pub fn install_provider() {
    if CryptoProvider::get_default().is_none() {
        // Losing the race against another installer is as good.
        let _ = ring::default_provider().install_default();
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

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

    /// What `openssl req -x509` makes: a server's certificate that is an authority, too.
    fn self_signed(
        name: &str,
        key: &KeyPair,
        change: impl Fn(&mut CertificateParams),
    ) -> rcgen::Certificate {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        change(&mut params);
        params.self_signed(key).unwrap()
    }

    #[test]
    fn a_self_signed_certificate_is_accepted_when_just_this_one_is_named() {
        let key = KeyPair::generate().unwrap();
        let named = self_signed("gitlab.test", &key, |_| {});
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), named.pem()).unwrap();
        let verifier = Certificates::read(file.path()).unwrap().verifier().unwrap();
        let verdict = |certificate: &rcgen::Certificate, host: &'static str| {
            let host = ServerName::try_from(host).unwrap();
            verifier
                .verify_server_cert(certificate.der(), &[], &host, &[], UnixTime::now())
                .map(drop)
                .map_err(|error| error.to_string())
        };
        assert_eq!(verdict(&named, "gitlab.test"), Ok(()));
        let refused = |result: Result<(), String>, why: &str| {
            let error = result.unwrap_err();
            assert!(error.contains(why), "{error}");
        };
        refused(verdict(&named, "other.test"), "CaUsedAsEndEntity");
        // Another certificate of the same name and key is not the one that was named.
        let other = self_signed("gitlab.test", &key, |params| {
            params.serial_number = Some(7_u64.into());
        });
        refused(verdict(&other, "gitlab.test"), "CaUsedAsEndEntity");
        let stranger = self_signed("gitlab.test", &KeyPair::generate().unwrap(), |_| {});
        refused(verdict(&stranger, "gitlab.test"), "CaUsedAsEndEntity");
    }

    #[test]
    fn a_self_signed_certificate_that_expired_is_refused() {
        let key = KeyPair::generate().unwrap();
        let expired = self_signed("gitlab.test", &key, |params| {
            params.not_after = rcgen::date_time_ymd(2001, 1, 1);
            params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        });
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), expired.pem()).unwrap();
        let verifier = Certificates::read(file.path()).unwrap().verifier().unwrap();
        let host = ServerName::try_from("gitlab.test").unwrap();
        let verdict = verifier.verify_server_cert(expired.der(), &[], &host, &[], UnixTime::now());
        let error = verdict.map(drop).unwrap_err().to_string();
        assert!(error.contains("expired"), "{error}");
    }

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
