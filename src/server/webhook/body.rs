//! Bodies of webhooks, within bounds that hold for all connections together.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{self, HeaderMap};
use actix_web::web::{self, Bytes};
use futures::{Stream, StreamExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// The largest body that GitLab sends.
const LARGEST: usize = 25 << 20;
/// Bytes of bodies in memory at once.
const TOGETHER: usize = 64 << 20;
/// Of these, bytes that are kept for bodies which hold no more than [`SMALL`]: nearly all do, and large ones
/// that come slowly keep none of them waiting.
const FOR_SMALL: usize = 8 << 20;
/// See [`FOR_SMALL`].
const SMALL: usize = 64 << 10;
/// GitLab waits ten seconds in all.
const DEADLINE: Duration = Duration::from_secs(9);

/// Room for bodies, shared by all connections.
///
/// Bodies take it as their bytes come. Where it is used up, one body at a time goes on in room that is kept
/// for a whole one: several that are half read never wait for each other.
#[derive(Clone)]
pub(super) struct Memory {
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
    /// The room for a whole body.
    last: Arc<Semaphore>,
}

impl Default for Memory {
    fn default() -> Self {
        let room = |bytes| Arc::new(Semaphore::new(bytes));
        Self {
            small: room(FOR_SMALL),
            large: room(TOGETHER - FOR_SMALL - LARGEST),
            last: room(1),
        }
    }
}

impl Memory {
    /// Waits until a body that will hold `length` bytes may take `more`.
    async fn take(&self, length: usize, more: usize) -> Room {
        let pool = match length {
            0..=SMALL => &self.small,
            _ => &self.large,
        };
        let bytes = u32::try_from(more).unwrap_or(u32::MAX);
        tokio::select! {
            biased;
            Ok(some) = Arc::clone(pool).acquire_many_owned(bytes) => Room::Some(some),
            Ok(all) = Arc::clone(&self.last).acquire_owned() => Room::All(all),
            // Nobody closes them.
            else => Room::None,
        }
    }
}

/// Room that a body takes, until it is dropped.
enum Room {
    Some(OwnedSemaphorePermit),
    /// That of a whole body.
    All(OwnedSemaphorePermit),
    None,
}

/// A body, and the room that it takes.
#[derive(Debug, Default)]
pub(super) struct Body {
    bytes: Vec<u8>,
    small: Option<OwnedSemaphorePermit>,
    large: Option<OwnedSemaphorePermit>,
    last: Option<OwnedSemaphorePermit>,
}

impl Body {
    async fn push(&mut self, chunk: &[u8], memory: &Memory) {
        let length = self.bytes.len() + chunk.len();
        if self.last.is_none() {
            match memory.take(length, chunk.len()).await {
                Room::Some(room) => {
                    let taken = match length {
                        0..=SMALL => &mut self.small,
                        _ => &mut self.large,
                    };
                    match taken {
                        Some(taken) => taken.merge(room),
                        none => *none = Some(room),
                    }
                }
                Room::All(room) => self.last = Some(room),
                Room::None => {}
            }
        }
        self.bytes.extend_from_slice(chunk);
    }
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

async fn take<E>(
    mut payload: impl Stream<Item = Result<Bytes, E>> + Unpin,
    memory: &Memory,
) -> Result<Body, BodyError> {
    let mut body = Body::default();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| BodyError::Broken)?;
        if body.bytes.len() + chunk.len() > LARGEST {
            return Err(BodyError::TooLarge);
        }
        body.push(&chunk, memory).await;
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::stream;

    use super::*;

    const CHUNK: usize = 32 << 10;

    /// Bytes of bodies that are held, as their senders see it: what was taken from them.
    #[derive(Default)]
    struct Held {
        now: AtomicUsize,
        most: AtomicUsize,
    }

    impl Held {
        fn add(&self, bytes: usize) {
            let now = self.now.fetch_add(bytes, Ordering::SeqCst) + bytes;
            self.most.fetch_max(now, Ordering::SeqCst);
        }
    }

    /// A body that comes in pieces, as all others do meanwhile.
    fn coming(
        length: usize,
        held: &Arc<Held>,
    ) -> impl Stream<Item = Result<Bytes, Infallible>> + Unpin + use<> {
        let held = Arc::clone(held);
        let pieces = stream::iter(0..length / CHUNK).then(move |_| {
            let held = Arc::clone(&held);
            async move {
                tokio::task::yield_now().await;
                held.add(CHUNK);
                Ok(Bytes::from_static(&[b' '; CHUNK]))
            }
        });
        Box::pin(pieces)
    }

    /// Reads so many bodies at once; the most bytes that were held.
    async fn together(bodies: usize, length: usize) -> usize {
        let (memory, held) = (Memory::default(), Arc::<Held>::default());
        let reads = (0..bodies).map(|_| {
            let (memory, held) = (memory.clone(), Arc::clone(&held));
            tokio::spawn(async move {
                let body = take(coming(length, &held), &memory).await.unwrap();
                assert_eq!(body.len(), length);
                tokio::task::yield_now().await;
                held.now.fetch_sub(length, Ordering::SeqCst);
            })
        });
        let reads = futures::future::join_all(reads.collect::<Vec<_>>());
        let ended = timeout(Duration::from_secs(60), reads).await;
        for read in ended.expect("no body waits for ever") {
            read.unwrap();
        }
        held.most.load(Ordering::SeqCst)
    }

    #[tokio::test]
    async fn large_bodies_that_come_at_once_take_turns_in_bounded_memory() {
        const BODIES: usize = 12;
        let most = together(BODIES, 20 << 20).await;
        // Of each one chunk is at the door.
        assert!(most <= TOGETHER + BODIES * CHUNK, "{most} bytes");
        assert!(most > TOGETHER / 2, "{most} bytes: they do not take turns");
    }

    #[tokio::test]
    async fn so_do_very_many_small_ones() {
        const BODIES: usize = 2_000;
        let most = together(BODIES, SMALL).await;
        assert!(most <= TOGETHER + BODIES * CHUNK, "{most} bytes");
    }

    #[tokio::test]
    async fn small_bodies_wait_for_no_large_one_that_stands_still() {
        let memory = Memory::default();
        let held = Arc::<Held>::default();
        let stalled: Vec<_> = (0..4)
            .map(|_| {
                let (memory, held) = (memory.clone(), Arc::clone(&held));
                let body = coming(24 << 20, &held).chain(stream::pending());
                tokio::spawn(async move { take(body, &memory).await.map(drop) })
            })
            .collect();
        let used_up = async {
            while memory.large.available_permits() >= CHUNK || memory.last.available_permits() > 0 {
                tokio::task::yield_now().await;
            }
        };
        let used_up = timeout(Duration::from_secs(60), used_up).await;
        used_up.expect("they take all the room");
        let small = take(coming(CHUNK, &held), &memory);
        let small = timeout(Duration::from_secs(60), small).await;
        assert_eq!(small.expect("in time").unwrap().len(), CHUNK);
        for one in stalled {
            one.abort();
        }
    }
}
