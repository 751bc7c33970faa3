//! Bodies of webhooks, within bounds that hold for all connections together.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{self, HeaderMap};
use actix_web::web;
use futures::StreamExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// The largest body that GitLab sends.
const LARGEST: usize = 25 << 20;
/// Bytes of bodies in memory at once.
const TOGETHER: usize = 64 << 20;
/// GitLab waits ten seconds in all.
const DEADLINE: Duration = Duration::from_secs(9);

/// Room for bodies, shared by all connections.
#[derive(Clone)]
pub(super) struct Memory(Arc<Semaphore>);

impl Default for Memory {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(TOGETHER)))
    }
}

/// A body, and the room that it takes.
#[derive(Debug, Default)]
pub(super) struct Body {
    bytes: Vec<u8>,
    room: Option<OwnedSemaphorePermit>,
}

impl std::ops::Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Why there is no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BodyError {
    #[error("the body is larger than 25 MB, GitLab's largest")]
    TooLarge,
    #[error("the body did not come within 9 seconds")]
    Timeout,
    #[error("the body ended early")]
    Broken,
}

/// Reads a body. Room is taken as the bytes come, so that who promises much and sends nothing takes none.
pub(super) async fn read(
    payload: web::Payload,
    headers: &HeaderMap,
    memory: &Memory,
) -> Result<Body, BodyError> {
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > LARGEST as u64) {
        return Err(BodyError::TooLarge);
    }
    let read = take(payload, memory);
    timeout(DEADLINE, read)
        .await
        .map_err(|_| BodyError::Timeout)?
}

async fn take(mut payload: web::Payload, memory: &Memory) -> Result<Body, BodyError> {
    let mut body = Body::default();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| BodyError::Broken)?;
        if body.bytes.len() + chunk.len() > LARGEST {
            return Err(BodyError::TooLarge);
        }
        let bytes = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
        let room = Arc::clone(&memory.0).acquire_many_owned(bytes).await;
        let room = room.map_err(|_| BodyError::Broken)?;
        match &mut body.room {
            Some(taken) => taken.merge(room),
            none => *none = Some(room),
        }
        body.bytes.extend_from_slice(&chunk);
    }
    Ok(body)
}
