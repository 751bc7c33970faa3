//! How a connection is opened: the stream, who the client is, and whether the server will do.

use std::io;
use std::path::Path;
use std::sync::Arc;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncConnectionConfig, ClientTlsConfig, ConnectionAddr, ProtocolVersion, RedisConnectionInfo,
    RedisFuture, TlsCertificates, Value, cmd,
};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use secrecy::ExposeSecret;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use super::check::{Info, texts};
use super::error::{RedisError, Refusal};
use super::options::{Credentials, RedisOptions};
use super::url::{HostPort, Place};
use crate::tls::{self, Certificates, Identity};

/// Opens connections.
pub(super) struct Opener {
    pub(super) options: RedisOptions,
    tls: Option<Arc<ClientConfig>>,
}

/// An open connection.
#[derive(Clone)]
pub(super) enum Connection {
    /// To one server, and the task that moves its bytes, which ends with it.
    Server(MultiplexedConnection, Arc<AbortOnDropHandle<()>>),
    /// To all nodes of a Cluster.
    Cluster(ClusterConnection),
}

/// What bytes come and go by.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Opener {
    /// Reads the certificates, if it is to be encrypted.
    ///
    /// # Errors
    /// A sentence when they cannot be used.
    pub(super) fn new(options: RedisOptions) -> Result<Self, RedisError> {
        let tls = match options.url.tls {
            true => Some(Arc::new(client_config(&options)?)),
            false => None,
        };
        Ok(Self { options, tls })
    }

    /// Opens a connection to the server that calls go to now, and checks it.
    pub(super) async fn open(&self) -> Result<Connection, RedisError> {
        let credentials = self.options.credentials()?;
        let url = &self.options.url;
        match &url.place {
            Place::Server(server) => {
                let stream = self.tcp(server).await?;
                self.server(&server.to_string(), stream, &credentials).await
            }
            Place::Socket(path) => {
                let name = path.display().to_string();
                let stream = unix(path).await;
                let stream = stream.map_err(|error| RedisError::unreachable(&name, error))?;
                self.server(&name, stream, &credentials).await
            }
            Place::Sentinel { sentinels, master } => {
                let server = self.master(sentinels, master, &credentials).await?;
                let stream = self.tcp(&server).await?;
                self.server(&server.to_string(), stream, &credentials).await
            }
            Place::Cluster(nodes) => self.cluster(nodes, &credentials).await,
        }
    }

    async fn tcp(&self, to: &HostPort) -> Result<Box<dyn Stream>, RedisError> {
        let name = to.to_string();
        let failed = |error: io::Error| RedisError::unreachable(&name, error);
        let stream = TcpStream::connect((to.host.as_str(), to.port)).await;
        let stream = stream.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let Some(tls) = &self.tls else {
            return Ok(Box::new(stream));
        };
        let host = ServerName::try_from(to.host.clone())
            .map_err(|_| RedisError::unreachable(&name, "no certificate can name such a host"))?;
        let connector = TlsConnector::from(Arc::clone(tls));
        let stream = connector.connect(host, stream).await;
        let stream = stream
            .map_err(|error| RedisError::unreachable(&name, format_args!("TLS failed: {error}")))?;
        Ok(Box::new(stream))
    }

    /// Says who the client is, and asks whether this server will do.
    async fn server(
        &self,
        name: &str,
        stream: Box<dyn Stream>,
        credentials: &Credentials,
    ) -> Result<Connection, RedisError> {
        let (mut connection, driver) = dial(name, stream).await?;
        authenticate(name, &mut connection, credentials).await?;
        let answer = ask(name, &mut connection, &cmd("INFO")).await?;
        check(name, &answer, false)?;
        let database = self.options.url.database;
        if database != 0 {
            ask(name, &mut connection, cmd("SELECT").arg(database)).await?;
        }
        Ok(Connection::Server(connection, Arc::new(driver)))
    }

    /// Asks the Sentinels where the master is, until one knows.
    async fn master(
        &self,
        sentinels: &[HostPort],
        master: &str,
        credentials: &Credentials,
    ) -> Result<HostPort, RedisError> {
        let mut last = None;
        for sentinel in sentinels {
            match self.ask_sentinel(sentinel, master, credentials).await {
                Ok(server) => return Ok(server),
                // What was said first is most likely what is wrong.
                Err(error) => last = last.or(Some(error)),
            }
        }
        Err(last.unwrap_or_else(|| {
            RedisError::unreachable(&self.options.url.to_string(), "it names no Sentinel")
        }))
    }

    async fn ask_sentinel(
        &self,
        sentinel: &HostPort,
        master: &str,
        credentials: &Credentials,
    ) -> Result<HostPort, RedisError> {
        let name = format!("{sentinel} (Sentinel)");
        let (mut connection, _driver) = dial(&name, self.tcp(sentinel).await?).await?;
        let mut question = cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(master);
        let mut answer = ask(&name, &mut connection, &question).await;
        if let Err(RedisError::Refused {
            refusal: Refusal::NoPassword,
            ..
        }) = &answer
        {
            // Few Sentinels have a password; one that has takes the same.
            authenticate(&name, &mut connection, credentials).await?;
            answer = ask(&name, &mut connection, &question).await;
        }
        let found: Option<(String, u16)> = redis::from_redis_value(answer?)
            .map_err(|error| RedisError::unreachable(&name, error))?;
        let (host, port) = found.ok_or_else(|| {
            RedisError::unreachable(&name, format_args!("it knows no master {master:?}"))
        })?;
        Ok(HostPort { host, port })
    }

    async fn cluster(
        &self,
        nodes: &[HostPort],
        credentials: &Credentials,
    ) -> Result<Connection, RedisError> {
        let name = self.options.url.to_string();
        let failed = |error: redis::RedisError| RedisError::of_opening(&name, &error);
        let nodes = nodes.iter().map(|node| match self.options.url.tls {
            true => ConnectionAddr::TcpTls {
                host: node.host.clone(),
                port: node.port,
                insecure: false,
                tls_params: None,
            },
            false => ConnectionAddr::Tcp(node.host.clone(), node.port),
        });
        let mut builder = ClusterClientBuilder::new(nodes)
            // A node that does not answer leaves time for the others: it is tried twice.
            .connection_timeout(self.options.deadline / 4)
            .response_timeout(self.options.deadline / 2)
            // It would send once more what may have been executed.
            .retries(0);
        if let Some(username) = &credentials.username {
            builder = builder.username(username);
        }
        if let Some(password) = &credentials.password {
            builder = builder.password(password.expose_secret());
        }
        if self.options.url.tls {
            builder = builder.certs(self.certificates()?);
        }
        let client = builder.build().map_err(failed)?;
        let mut connection = client.get_async_connection().await.map_err(failed)?;
        let info = cmd("INFO");
        let answer = ask(&name, &mut connection, &info);
        match timeout(self.options.deadline / 4, answer).await {
            Ok(Ok(answer)) => check(&name, &answer, true)?,
            Ok(Err(error)) if !error.is_away() => return Err(error),
            // One of the nodes is away: what lies on the others is there, and the next connection asks again.
            Ok(Err(_)) | Err(_) => {}
        }
        Ok(Connection::Cluster(connection))
    }

    /// The certificates as the library takes them for a Cluster.
    fn certificates(&self) -> Result<TlsCertificates, RedisError> {
        let read = |setting: &str, path: &Path| {
            std::fs::read(path).map_err(|error| {
                let path = path.display();
                RedisError::Settings(format!("redis.{setting} `{path}` cannot be read ({error})"))
            })
        };
        let options = &self.options;
        let root_cert = options.ca_cert_path.as_deref();
        let root_cert = root_cert.map(|path| {
            let mut own = read("ca_cert_path", path)?;
            // The library trusts either these or the platform's.
            own.extend(tls::platform_pem().into_bytes());
            Ok(own)
        });
        let client = options
            .client_cert_path
            .as_deref()
            .zip(options.client_key_path.as_deref());
        let client_tls = client.map(|(certificate, key)| {
            Ok(ClientTlsConfig {
                client_cert: read("client_cert_path", certificate)?,
                client_key: read("client_key_path", key)?,
            })
        });
        Ok(TlsCertificates {
            client_tls: client_tls.transpose()?,
            root_cert: root_cert.transpose()?,
        })
    }
}

impl Connection {
    /// Whether the other side closed it.
    pub(super) fn has_ended(&self) -> bool {
        match self {
            Self::Server(_, driver) => driver.is_finished(),
            // It opens its own connections anew.
            Self::Cluster(_) => false,
        }
    }

    pub(super) const fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a redis::Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Server(connection, _) => connection.req_packed_command(cmd),
            Self::Cluster(connection) => connection.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a redis::Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Server(connection, _) => connection.req_packed_commands(pipeline, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Server(connection, _) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}

/// TLS of all connections but those to a Cluster.
fn client_config(options: &RedisOptions) -> Result<ClientConfig, RedisError> {
    tls::install_provider();
    let refused = |setting: &str, path: &Path, why: &dyn std::fmt::Display| {
        RedisError::Settings(format!("redis.{setting} `{}`: {why}", path.display()))
    };
    let trusted = options.ca_cert_path.as_deref().map(|path| {
        Certificates::read(path).map_err(|error| refused("ca_cert_path", path, &error))
    });
    let paths = (&options.client_cert_path, &options.client_key_path);
    let identity = match paths {
        (Some(certificate), Some(key)) => {
            let identity = Identity::read(certificate, key);
            Some(identity.map_err(|error| refused("client_cert_path", certificate, &error))?)
        }
        _ => None,
    };
    let config = tls::client(trusted.transpose()?.as_ref(), identity);
    config.map_err(|error| RedisError::Settings(format!("cannot set up TLS for Redis: {error}")))
}

async fn unix(path: &Path) -> io::Result<Box<dyn Stream>> {
    #[cfg(unix)]
    return Ok(Box::new(tokio::net::UnixStream::connect(path).await?));
    #[cfg(not(unix))]
    return Err(io::Error::from(io::ErrorKind::Unsupported));
}

/// Speaks Redis's protocol over a stream.
async fn dial(
    name: &str,
    stream: Box<dyn Stream>,
) -> Result<(MultiplexedConnection, AbortOnDropHandle<()>), RedisError> {
    let info = RedisConnectionInfo::default()
        .set_protocol(ProtocolVersion::RESP2)
        .set_skip_set_lib_name();
    // Calls have their own deadline, opening included.
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    let (connection, driver) = MultiplexedConnection::new_with_config(&info, stream, config)
        .await
        .map_err(|error| RedisError::of_opening(name, &error))?;
    Ok((connection, AbortOnDropHandle::new(tokio::spawn(driver))))
}

/// Whether the servers that answered INFO will do.
fn check(name: &str, answer: &Value, in_cluster: bool) -> Result<(), RedisError> {
    for text in texts(answer) {
        let verdict = Info::parse(&text).check(in_cluster);
        verdict.map_err(|refusal| RedisError::refused(name, refusal))?;
    }
    Ok(())
}

/// Not left to the library: it keeps what Redis says about the password to itself.
async fn authenticate(
    name: &str,
    connection: &mut MultiplexedConnection,
    credentials: &Credentials,
) -> Result<(), RedisError> {
    let Some(password) = &credentials.password else {
        return Ok(());
    };
    let mut auth = cmd("AUTH");
    if let Some(username) = &credentials.username {
        auth.arg(username);
    }
    auth.arg(password.expose_secret());
    ask(name, connection, &auth).await.map(drop)
}

async fn ask(
    name: &str,
    connection: &mut impl ConnectionLike,
    question: &redis::Cmd,
) -> Result<Value, RedisError> {
    let answer = connection.req_packed_command(question).await;
    let answer = answer.and_then(Value::extract_error);
    answer.map_err(|error| RedisError::of_opening(name, &error))
}
