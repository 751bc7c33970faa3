//! A certificate of one's own with its private key: what a client shows to servers that ask for it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::provider;
use crate::files;

/// How often the files are read again, at most.
const RELOAD_INTERVAL: Duration = Duration::from_secs(10);

/// Why a certificate and its key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file is not readable.
    #[error("{path:?}: {why}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// There is no certificate.
    #[error("there is no PEM certificate in it")]
    NoCertificate,
    /// There is no private key.
    #[error("there is no PEM private key for it")]
    NoKey,
    /// The key is protected by a passphrase.
    #[error("its private key is encrypted; store it without a passphrase")]
    EncryptedKey,
    /// One of both is broken, or they do not belong together.
    #[error("{0}")]
    Broken(String),
}

/// A certificate chain and its key as PEM.
///
/// # Errors
/// When one of both is missing or broken, or they do not belong together.
pub fn certified_key(certificate: &str, key: &str) -> Result<CertifiedKey, IdentityError> {
    let broken = |why: &dyn std::fmt::Display| IdentityError::Broken(why.to_string());
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect();
    let chain = chain.map_err(|error| broken(&error))?;
    if chain.is_empty() {
        return Err(IdentityError::NoCertificate);
    }
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| match error {
        _ if key.contains("ENCRYPTED PRIVATE KEY") => IdentityError::EncryptedKey,
        rustls::pki_types::pem::Error::NoItemsFound => IdentityError::NoKey,
        // Its text names no bytes of the key.
        error => broken(&error),
    })?;
    CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            IdentityError::Broken("the private key does not belong to the certificate".to_owned())
        }
        error => broken(&error),
    })
}

/// The certificate of a client, read again when a connection is made and its files may have changed:
/// access proxies give certificates of hours.
pub struct ClientIdentity {
    certificate: PathBuf,
    key: PathBuf,
    state: Mutex<State>,
}

struct State {
    current: Arc<CertifiedKey>,
    read_at: Instant,
    /// Why it could not be read again, as logged.
    said: Option<String>,
}

impl ClientIdentity {
    /// Reads it; without a `key` the key is in the file of the certificate.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn read(certificate: &Path, key: Option<&Path>) -> Result<Self, IdentityError> {
        let key = key.unwrap_or(certificate);
        let current = Arc::new(load(certificate, key)?);
        Ok(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            state: Mutex::new(State {
                current,
                read_at: Instant::now(),
                said: None,
            }),
        })
    }

    /// The certificate to show at `now`. One that cannot be read just now stays what it was.
    fn current(&self, now: Instant) -> Arc<CertifiedKey> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(state.read_at) >= RELOAD_INTERVAL {
            state.read_at = now;
            match load(&self.certificate, &self.key) {
                Ok(key) => {
                    state.current = Arc::new(key);
                    state.said = None;
                }
                Err(error) => {
                    let why = error.to_string();
                    if state.said.as_ref() != Some(&why) {
                        tracing::warn!(
                            path = ?self.certificate,
                            error = why,
                            "client certificate could not be read again, using the previous one"
                        );
                    }
                    state.said = Some(why);
                }
            }
        }
        Arc::clone(&state.current)
    }
}

fn load(certificate: &Path, key: &Path) -> Result<CertifiedKey, IdentityError> {
    let read = |path: &Path| {
        files::read_text(path, files::MAX_SECRET).map_err(|why| IdentityError::Unreadable {
            path: path.to_owned(),
            why,
        })
    };
    certified_key(&read(certificate)?, &read(key)?)
}

impl std::fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ClientIdentity({:?})", self.certificate)
    }
}

impl ResolvesClientCert for ClientIdentity {
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        _schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        Some(self.current(Instant::now()))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn pair(name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    #[test]
    fn what_is_wrong_with_a_certificate_and_its_key_is_said() {
        let (certificate, key) = pair("one");
        let (_, other) = pair("two");
        let check = |certificate: &str, key: &str| {
            certified_key(certificate, key)
                .map(drop)
                .map_err(|error| error.to_string())
        };
        assert_eq!(check(&certificate, &key), Ok(()));
        let both = format!("{key}{certificate}");
        assert_eq!(check(&both, &both), Ok(()));
        let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        for (certificate, key, why) in [
            (&*key, &*key, "there is no PEM certificate in it"),
            (
                &certificate,
                &certificate,
                "there is no PEM private key for it",
            ),
            (
                &certificate,
                &encrypted,
                "its private key is encrypted; store it without a passphrase",
            ),
            (
                &certificate,
                &other,
                "the private key does not belong to the certificate",
            ),
        ] {
            assert_eq!(check(certificate, key), Err(why.to_owned()));
        }
    }

    #[test]
    fn a_certificate_that_was_replaced_is_shown_and_a_broken_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("client.pem");
        let write = |(certificate, key): (String, String)| {
            std::fs::write(&path, format!("{certificate}{key}")).unwrap();
        };
        write(pair("one"));
        let identity = ClientIdentity::read(&path, None).unwrap();
        let first = identity.current(Instant::now()).cert.clone();
        write(pair("two"));
        assert_eq!(identity.current(Instant::now()).cert, first, "too early");
        let later = Instant::now() + RELOAD_INTERVAL;
        let second = identity.current(later).cert.clone();
        assert_ne!(second, first);
        std::fs::write(&path, "nothing").unwrap();
        assert_eq!(identity.current(later + RELOAD_INTERVAL).cert, second);
    }
}
