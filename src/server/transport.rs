//! The bytes of a client: by TCP or a Unix socket, with TLS or without.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use actix_web::rt::net::TcpStream;
#[cfg(unix)]
use actix_web::rt::net::UnixStream;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{Accept, TlsAcceptor};

use super::connections::Connections;
use crate::telemetry::process::HttpRefusal;

/// An accepted connection.
pub(super) enum Transport {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
    Tls(Box<Tls>),
}

/// A connection with TLS. The handshake goes on as the connection is read, so the same deadlines hold for
/// it as for the head of a request.
pub(super) struct Tls {
    state: TlsState,
    /// Takes note of a handshake that fails.
    connections: Arc<Connections>,
}

enum TlsState {
    Handshake(Accept<TcpStream>),
    Stream(TlsStream<TcpStream>),
    Failed,
}

/// What actix accepts.
pub(super) trait Accepted: Sized + 'static {
    /// The client's address, where it has one.
    fn client(&self) -> Option<SocketAddr>;

    /// The connection, with TLS where there is any.
    fn transport(self, tls: Option<Arc<ServerConfig>>, connections: &Arc<Connections>)
    -> Transport;
}

impl Accepted for TcpStream {
    fn client(&self) -> Option<SocketAddr> {
        self.peer_addr().ok()
    }

    fn transport(
        self,
        tls: Option<Arc<ServerConfig>>,
        connections: &Arc<Connections>,
    ) -> Transport {
        match tls {
            Some(config) => Transport::Tls(Box::new(Tls {
                state: TlsState::Handshake(TlsAcceptor::from(config).accept(self)),
                connections: Arc::clone(connections),
            })),
            None => Transport::Tcp(self),
        }
    }
}

#[cfg(unix)]
impl Accepted for UnixStream {
    fn client(&self) -> Option<SocketAddr> {
        None
    }

    /// Nobody listens in on a Unix socket.
    fn transport(self, _: Option<Arc<ServerConfig>>, _: &Arc<Connections>) -> Transport {
        Transport::Unix(self)
    }
}

impl Tls {
    /// The stream, once the handshake is over.
    fn poll_stream(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<Pin<&mut TlsStream<TcpStream>>>> {
        if let TlsState::Handshake(handshake) = &mut self.state {
            self.state = match ready!(Pin::new(handshake).poll(context)) {
                Ok(stream) => TlsState::Stream(stream),
                Err(error) => {
                    // Who just connects, as some health checks do, is no news.
                    if error.kind() != io::ErrorKind::UnexpectedEof {
                        tracing::debug!(%error, "TLS handshake failed");
                        self.connections.refuse(HttpRefusal::Tls);
                    }
                    self.state = TlsState::Failed;
                    return Poll::Ready(Err(error));
                }
            };
        }
        Poll::Ready(match &mut self.state {
            TlsState::Stream(stream) => Ok(Pin::new(stream)),
            _ => Err(io::ErrorKind::NotConnected.into()),
        })
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(tls) => ready!(tls.poll_stream(context))?.poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(tls) => ready!(tls.poll_stream(context))?.poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(context),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_flush(context),
            // Before the end of the handshake nothing was written.
            Self::Tls(tls) => match &mut tls.state {
                TlsState::Stream(stream) => Pin::new(stream).poll_flush(context),
                _ => Poll::Ready(Ok(())),
            },
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(tls) => match &mut tls.state {
                TlsState::Stream(stream) => Pin::new(stream).poll_shutdown(context),
                TlsState::Handshake(handshake) => match handshake.get_mut() {
                    Some(stream) => Pin::new(stream).poll_shutdown(context),
                    None => Poll::Ready(Ok(())),
                },
                TlsState::Failed => Poll::Ready(Ok(())),
            },
        }
    }
}
