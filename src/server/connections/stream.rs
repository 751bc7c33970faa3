//! A connection's bytes, on their way to and from actix.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Connections;
use super::connection::{Connection, End};

/// Response to a request that takes too long, as by actix to a first request.
const REQUEST_TIMEOUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// A stream of a counted connection, which ends when that is to be closed.
pub(in crate::server) struct Watched<S> {
    stream: S,
    connection: Arc<Connection>,
    connections: Arc<Connections>,
    /// Whether a part of a response waits to be sent.
    is_blocked: bool,
    /// Whether the client was sent the timeout of its request.
    is_notified: bool,
}

impl<S> Watched<S> {
    pub(in crate::server) const fn new(
        stream: S,
        connection: Arc<Connection>,
        connections: Arc<Connections>,
    ) -> Self {
        Self {
            stream,
            connection,
            connections,
            is_blocked: false,
            is_notified: false,
        }
    }

    pub(in crate::server) const fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// An error once the connection was dropped.
    fn check(&self, context: &Context<'_>) -> io::Result<()> {
        match self.connection.poll_end(context) {
            Some(End::Abandoned) => Err(io::ErrorKind::ConnectionAborted.into()),
            _ => Ok(()),
        }
    }
}

impl<S> Drop for Watched<S> {
    fn drop(&mut self) {
        self.connections.forget(self.connection.number);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(end) = self.connection.poll_end(context) {
            if end == End::SlowRequest && !self.is_blocked && !self.is_notified {
                self.is_notified = true;
                // A client that reads nothing is not sent it.
                let _ = Pin::new(&mut self.stream).poll_write(context, REQUEST_TIMEOUT);
            }
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.connection.received();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.is_blocked = match &written {
            Poll::Ready(Ok(length)) => *length < bytes.len(),
            _ => true,
        };
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
