//! TLS of the server: what a file in the format of Prometheus's exporter-toolkit asks for.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
    SupportedCipherSuite, SupportedProtocolVersion,
};

use super::{IdentityError, certified_key, provider};

/// What the server's TLS is made from; files are read already.
#[derive(Clone, PartialEq)]
pub struct ServerTls {
    /// The certificate with its chain, as PEM.
    pub certificate: String,
    /// Its private key, as PEM.
    pub key: String,
    /// Which clients are asked for a certificate; none are.
    pub clients: Option<Clients>,
    /// The versions of TLS.
    pub versions: Versions,
    /// Names of cipher suites for TLS 1.2, as Go has them; empty means all.
    pub cipher_suites: Vec<String>,
    /// Whether the server's order of cipher suites counts.
    pub prefer_server_order: bool,
}

/// How clients show who they are.
#[derive(Clone, Debug, PartialEq)]
pub struct Clients {
    /// Their authorities, as PEM.
    pub authorities: String,
    /// Whether those without a certificate are refused.
    pub is_required: bool,
    /// One of these names must be in the certificate; empty allows any.
    pub names: Vec<String>,
}

/// The versions of TLS that are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versions {
    /// 1.2 and 1.3.
    Both,
    /// 1.2 alone.
    Tls12,
    /// 1.3 alone.
    Tls13,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum ServerTlsError {
    /// The server's certificate or its key cannot be used.
    #[error(transparent)]
    Certificate(#[from] IdentityError),
    /// The authorities of clients cannot be used.
    #[error("{0}")]
    Authorities(String),
    /// A cipher suite is not known.
    #[error("{0}")]
    CipherSuite(String),
    /// The TLS library refuses it.
    #[error("{0}")]
    Tls(#[from] rustls::Error),
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls")
            .field("clients", &self.clients)
            .finish_non_exhaustive()
    }
}

impl ServerTls {
    /// The TLS of listeners; those where clients need no certificate leave `ask_clients` out.
    ///
    /// # Errors
    /// When a part cannot be used.
    pub fn build(&self, ask_clients: bool) -> Result<ServerConfig, ServerTlsError> {
        let provider = self.provider()?;
        let key = Arc::new(certified_key(&self.certificate, &self.key)?);
        let versions: &[&SupportedProtocolVersion] = match self.versions {
            Versions::Both => &[&rustls::version::TLS13, &rustls::version::TLS12],
            Versions::Tls12 => &[&rustls::version::TLS12],
            Versions::Tls13 => &[&rustls::version::TLS13],
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)?;
        let builder = match self.clients.as_ref().filter(|_| ask_clients) {
            None => builder.with_no_client_auth(),
            Some(clients) => builder.with_client_cert_verifier(clients.verifier(provider)?),
        };
        let resolver = rustls::sign::SingleCertAndKey::from(key);
        let mut config = builder.with_cert_resolver(Arc::new(resolver));
        config.ignore_client_order = self.prefer_server_order;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    fn provider(&self) -> Result<Arc<CryptoProvider>, ServerTlsError> {
        let provider = provider();
        if self.cipher_suites.is_empty() {
            return Ok(provider);
        }
        let mut chosen: Vec<SupportedCipherSuite> = Vec::new();
        for name in &self.cipher_suites {
            let known = provider.cipher_suites.iter();
            let suite = known.copied().find(|suite| go_name(suite) == *name);
            chosen.push(suite.ok_or_else(|| {
                let known: Vec<String> = provider.cipher_suites.iter().map(go_name).collect();
                let known = known.join(", ");
                ServerTlsError::CipherSuite(format!("{name:?} is not known; known are {known}"))
            })?);
        }
        // Those of TLS 1.3 cannot be chosen: it is on with all of its own, as in Go.
        let all = provider.cipher_suites.iter().copied();
        let newest = all.filter(|suite| suite.tls13().is_some() && !chosen.contains(suite));
        let newest: Vec<SupportedCipherSuite> = newest.collect();
        Ok(Arc::new(CryptoProvider {
            cipher_suites: [newest, chosen].concat(),
            ..CryptoProvider::clone(&provider)
        }))
    }
}

/// The name of a cipher suite as Go has it.
fn go_name(suite: &SupportedCipherSuite) -> String {
    let name = format!("{:?}", suite.suite());
    match name.strip_prefix("TLS13_") {
        Some(rest) => format!("TLS_{rest}"),
        None => name,
    }
}

impl Clients {
    fn verifier(
        &self,
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, ServerTlsError> {
        let refuse = |why: String| ServerTlsError::Authorities(why);
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(self.authorities.as_bytes()) {
            let certificate = certificate.map_err(|error| refuse(error.to_string()))?;
            roots
                .add(certificate)
                .map_err(|error| refuse(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(refuse("there is no PEM certificate in it".to_owned()));
        }
        let builder = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
        let builder = match self.is_required {
            true => builder,
            false => builder.allow_unauthenticated(),
        };
        let verifier = builder.build().map_err(|error| refuse(error.to_string()))?;
        Ok(match self.names.is_empty() {
            true => verifier,
            false => Arc::new(Named {
                verifier,
                names: self.names.clone(),
            }),
        })
    }
}

/// Accepts certificates that have one of these names.
#[derive(Debug)]
struct Named {
    verifier: Arc<dyn ClientCertVerifier>,
    names: Vec<String>,
}

impl Named {
    fn has_name(&self, certificate: &CertificateDer<'_>) -> bool {
        let Ok(parsed) = webpki::EndEntityCert::try_from(certificate) else {
            return false;
        };
        let dns: Vec<&str> = parsed.valid_dns_names().collect();
        let uris: Vec<&str> = parsed.valid_uri_names().collect();
        let is_address = |name: &str| {
            let Ok(address) = name.parse::<std::net::IpAddr>() else {
                return false;
            };
            let address = ServerName::IpAddress(address.into());
            parsed.verify_is_valid_for_subject_name(&address).is_ok()
        };
        let names = self.names.iter();
        names
            .map(String::as_str)
            .any(|name| dns.contains(&name) || uris.contains(&name) || is_address(name))
    }
}

impl ClientCertVerifier for Named {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.root_hint_subjects()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.verifier.client_auth_mandatory()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self
            .verifier
            .verify_client_cert(end_entity, intermediates, now)?;
        match self.has_name(end_entity) {
            true => Ok(verified),
            false => Err(rustls::CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
