//! GraphQL subscriptions over Action Cable: a WebSocket on which GitLab announces what moves.
//!
//! The confirmation of a subscription proves nothing, and a wrong one is met with silence; so what counts
//! is its first data message. Everything else is as it was seen on a running GitLab.

mod handshake;
mod message;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use reqwest::Upgraded;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message as Frame};

use super::error::Cause;
use super::settings::{Settings, SetupError};
use super::{GitLab, answer};
use crate::types::{PipelineId, ProjectId};
use message::Incoming;

/// A message is taken to be no longer than that.
const MAX_MESSAGE: usize = 1 << 20;

/// How long GitLab is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CablePatience {
    /// Until it welcomes a connection.
    pub welcome: Duration,
    /// For anything at all: it sends a ping every three seconds.
    pub silence: Duration,
}

impl Default for CablePatience {
    fn default() -> Self {
        Self {
            welcome: Duration::from_secs(15),
            silence: Duration::from_secs(15),
        }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum CableError {
    /// GitLab, or something on the way, does not permit it: trying again soon makes no sense.
    #[error("{0}")]
    Refused(String),
    /// It did not come about.
    #[error("GET /-/cable: {0}")]
    Failed(Cause),
}

/// Why a connection is no more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CableEnd {
    /// The stream ended, as it does whenever GitLab replaces a server process.
    #[error("the connection was closed")]
    Closed,
    /// GitLab said so before.
    #[error("GitLab closed the connection ({0})")]
    Disconnected(String),
    /// Nothing came, not even a ping.
    #[error("nothing was received for {} s", .0.as_secs())]
    Silent(Duration),
    /// It broke.
    #[error("the connection failed: {0}")]
    Failed(String),
}

/// What GitLab says of a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CableMessage {
    /// Data: the first without errors makes the subscription stand, each later one is an event.
    Data {
        /// Which subscription.
        subscription: String,
        /// The pipeline that moved.
        pipeline: Option<PipelineId>,
        /// What went wrong, in GitLab's words.
        errors: Vec<String>,
        /// Whether more may come; if not, the subscription has ended.
        more: bool,
    },
    /// The token may not subscribe at all.
    Rejected {
        /// Which subscription.
        subscription: String,
    },
}

/// Opens connections.
#[derive(Clone)]
pub struct Cables {
    gitlab: GitLab,
    http: reqwest::Client,
    patience: CablePatience,
}

impl Cables {
    /// By the settings of the client of REST and GraphQL; makes no call.
    ///
    /// # Errors
    /// When the certificate file cannot be used.
    pub fn new(settings: &Settings, gitlab: &GitLab) -> Result<Self, SetupError> {
        Ok(Self {
            gitlab: gitlab.clone(),
            http: super::client::websocket_http(settings)?,
            patience: settings.cable,
        })
    }

    /// Opens a connection and waits for GitLab's welcome.
    ///
    /// # Errors
    /// When GitLab refuses it, or cannot be reached.
    pub async fn connect(&self) -> Result<Cable, CableError> {
        let socket = handshake::open(self).await?;
        let mut cable = Cable {
            socket,
            gitlab: self.gitlab.clone(),
            patience: self.patience,
            heard_at: Instant::now(),
        };
        let welcome = timeout(self.patience.welcome, cable.welcome()).await;
        welcome.unwrap_or(Err(CableError::Failed(Cause::Timeout)))?;
        Ok(cable)
    }
}

/// A connection.
pub struct Cable {
    socket: WebSocketStream<Upgraded>,
    gitlab: GitLab,
    patience: CablePatience,
    heard_at: Instant,
}

impl Cable {
    /// Names a subscription to the pipelines of a project: GitLab repeats it in each message.
    #[must_use]
    pub fn subscription(project: ProjectId) -> Arc<str> {
        message::identifier(project, uuid::Uuid::new_v4()).into()
    }

    async fn welcome(&mut self) -> Result<(), CableError> {
        loop {
            match self.incoming().await {
                Ok(Incoming::Welcome) => return Ok(()),
                Ok(Incoming::Disconnect { reason }) => {
                    let reason = self.gitlab.client().tidy(&reason);
                    return Err(CableError::Refused(format!(
                        "GitLab refuses the connection for subscriptions ({reason}): the token is not valid there"
                    )));
                }
                Ok(_) => {}
                Err(end) => {
                    return Err(CableError::Failed(Cause::Interrupted(end.to_string())));
                }
            }
        }
    }

    /// Waits for the next message of a subscription. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// When the connection is no more.
    pub async fn next(&mut self) -> Result<CableMessage, CableEnd> {
        loop {
            match self.incoming().await? {
                Incoming::Message(message) => return Ok(self.tidy(message)),
                Incoming::Disconnect { reason } => {
                    let reason = self.gitlab.client().tidy(&reason);
                    return Err(CableEnd::Disconnected(reason));
                }
                Incoming::Welcome | Incoming::Nothing => {}
            }
        }
    }

    /// Asks for a subscription.
    ///
    /// # Errors
    /// When the connection is no more.
    pub async fn subscribe(&mut self, subscription: &str) -> Result<(), CableEnd> {
        self.send(message::command("subscribe", subscription)).await
    }

    /// Ends a subscription; GitLab does not answer.
    ///
    /// # Errors
    /// When the connection is no more.
    pub async fn unsubscribe(&mut self, subscription: &str) -> Result<(), CableEnd> {
        self.send(message::command("unsubscribe", subscription))
            .await
    }

    /// Ends the connection.
    pub async fn close(mut self) {
        const PATIENCE: Duration = Duration::from_secs(1);
        // It ends with the socket, too.
        let _ = timeout(PATIENCE, self.socket.close(None)).await;
    }

    async fn send(&mut self, text: String) -> Result<(), CableEnd> {
        let sent = timeout(self.patience.silence, self.socket.send(Frame::text(text))).await;
        match sent {
            Ok(sent) => sent.map_err(|error| self.ended(&error)),
            Err(_) => Err(CableEnd::Silent(self.patience.silence)),
        }
    }

    async fn incoming(&mut self) -> Result<Incoming, CableEnd> {
        loop {
            let deadline = self.heard_at + self.patience.silence;
            let frame = timeout_at(deadline, self.socket.next()).await;
            let frame = frame.map_err(|_| CableEnd::Silent(self.patience.silence))?;
            let frame = match frame {
                Some(frame) => frame.map_err(|error| self.ended(&error))?,
                None => return Err(CableEnd::Closed),
            };
            self.heard_at = Instant::now();
            match frame {
                Frame::Text(text) => {
                    let read = message::read(&text);
                    return read.map_err(|why| CableEnd::Failed(self.gitlab.client().tidy(&why)));
                }
                Frame::Close(_) => return Err(CableEnd::Closed),
                _ => {}
            }
        }
    }

    fn ended(&self, error: &SocketError) -> CableEnd {
        match error {
            SocketError::ConnectionClosed | SocketError::AlreadyClosed => CableEnd::Closed,
            // A server process that is replaced sends nothing more, not even that.
            SocketError::Protocol(
                tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
            ) => CableEnd::Closed,
            error => CableEnd::Failed(self.gitlab.client().tidy(&answer::chain(error))),
        }
    }

    fn tidy(&self, message: CableMessage) -> CableMessage {
        match message {
            CableMessage::Data {
                subscription,
                pipeline,
                errors,
                more,
            } => CableMessage::Data {
                errors: errors
                    .iter()
                    .map(|text| self.gitlab.client().tidy(text))
                    .collect(),
                subscription,
                pipeline,
                more,
            },
            rejected @ CableMessage::Rejected { .. } => rejected,
        }
    }
}
