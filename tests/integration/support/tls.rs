//! TLS in front of a simulator that speaks none: certificates of an authority of the test's own,
//! which can be exchanged while it runs.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tempfile::NamedTempFile;

/// When a certificate ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// In years.
    Far,
    /// Years ago.
    Past,
}

/// A running front on 127.0.0.1. It takes one request a connection and ends with the test.
pub struct TlsFront {
    address: SocketAddr,
    authority: CertifiedIssuer<'static, KeyPair>,
    authority_file: NamedTempFile,
    name: String,
    config: Arc<Mutex<Arc<ServerConfig>>>,
}

impl TlsFront {
    /// A front for the server at `to`, with a certificate for `name`.
    pub fn start(to: SocketAddr, name: &str, expiry: Expiry) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let authority = CertifiedIssuer::self_signed(params, key).expect("an authority");
        let authority_file = NamedTempFile::new().expect("a file");
        std::fs::write(authority_file.path(), authority.pem()).expect("it can be written");
        let config = Arc::new(Mutex::new(config(&authority, name, expiry)));
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("127.0.0.1 has ports");
        let address = listener.local_addr().expect("it is bound");
        let current = Arc::clone(&config);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let config = current.lock().unwrap_or_else(PoisonError::into_inner);
                let config = Arc::clone(&config);
                // A client that does not like the certificate goes away: no harm.
                std::thread::spawn(move || serve(stream, config, to));
            }
        });
        Self {
            address,
            authority,
            authority_file,
            name: name.to_owned(),
            config,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The authority's certificate, as `gitlab.ca_cert_path` takes it.
    pub fn authority(&self) -> String {
        self.authority_file.path().display().to_string()
    }

    /// Exchanges the certificate.
    pub fn renew(&self, expiry: Expiry) {
        let renewed = config(&self.authority, &self.name, expiry);
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = renewed;
    }
}

fn config(
    authority: &CertifiedIssuer<'static, KeyPair>,
    name: &str,
    expiry: Expiry,
) -> Arc<ServerConfig> {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = match expiry {
        Expiry::Far => date_time_ymd(2120, 1, 1),
        Expiry::Past => date_time_ymd(2021, 1, 1),
    };
    let certificate = params.signed_by(&key, authority).expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("the certificate fits its key");
    Arc::new(config)
}

/// Passes one request on, and its answer back.
fn serve(stream: TcpStream, config: Arc<ServerConfig>, to: SocketAddr) -> io::Result<()> {
    let connection = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut client = BufReader::new(StreamOwned::new(connection, stream));
    let mut head = Vec::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        if client.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
        head.extend_from_slice(line.as_bytes());
    }
    head.extend_from_slice(b"connection: close\r\n\r\n");
    let mut body = vec![0; length];
    client.read_exact(&mut body)?;
    let mut server = TcpStream::connect(to)?;
    server.write_all(&head)?;
    server.write_all(&body)?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    let client = client.get_mut();
    client.write_all(&answer)?;
    client.conn.send_close_notify();
    client.flush()
}
