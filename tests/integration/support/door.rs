//! A door in front of a server: shut, nobody listens there and all connections are cut; open, it
//! leads to the server. So a server can go down and come back on the same port. Held, connections stay open
//! and nothing comes through, as with a network that swallows everything.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::program::free_address;

/// A door on 127.0.0.1. It is shut when dropped.
pub struct Door {
    address: SocketAddr,
    to: SocketAddr,
    passage: Option<Passage>,
    waiting: Arc<AtomicUsize>,
    held: Arc<AtomicBool>,
}

/// An open door.
struct Passage {
    shut: Arc<AtomicBool>,
    connections: Arc<Mutex<Vec<TcpStream>>>,
    listening: JoinHandle<()>,
}

impl Door {
    /// A door to `to`, shut.
    pub fn shut_before(to: SocketAddr) -> Self {
        Self {
            address: free_address().parse().expect("an address"),
            to,
            passage: None,
            waiting: Arc::default(),
            held: Arc::default(),
        }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether a client waits for an answer.
    pub fn is_busy(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    /// Opens it.
    pub fn open(&mut self) {
        if self.passage.is_some() {
            return;
        }
        let listener = TcpListener::bind(self.address).expect("the port is still ours");
        let (shut, connections) = (Arc::<AtomicBool>::default(), Arc::default());
        let stop = (Arc::clone(&shut), Arc::clone(&connections));
        let (to, waiting, held) = (self.to, Arc::clone(&self.waiting), Arc::clone(&self.held));
        let listening = std::thread::spawn(move || {
            for client in listener.incoming() {
                if stop.0.load(Ordering::SeqCst) {
                    break;
                }
                // A connection that ends at once is the client's to notice.
                let _ = client.and_then(|client| lead(client, to, &stop.1, &waiting, &held));
            }
        });
        self.passage = Some(Passage {
            shut,
            connections,
            listening,
        });
    }

    /// Holds everything back, new connections included, until [`Self::release`] or [`Self::shut`].
    pub fn hold(&self) {
        self.held.store(true, Ordering::SeqCst);
    }

    /// Lets through what was held back, and everything from now on.
    pub fn release(&self) {
        self.held.store(false, Ordering::SeqCst);
    }

    /// Shuts it: nobody listens any more when this returns.
    pub fn shut(&mut self) {
        let Some(passage) = self.passage.take() else {
            return;
        };
        passage.shut.store(true, Ordering::SeqCst);
        // Wakes whoever waits there for a client.
        drop(TcpStream::connect(self.address).expect("it listens still"));
        passage.listening.join().expect("it does not panic");
        let mut connections = passage
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for connection in connections.drain(..) {
            // It may have ended already.
            let _ = connection.shutdown(Shutdown::Both);
        }
        self.release();
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.shut();
    }
}

/// Leads a client to the server, both ways.
fn lead(
    client: TcpStream,
    to: SocketAddr,
    connections: &Mutex<Vec<TcpStream>>,
    waiting: &Arc<AtomicUsize>,
    held: &Arc<AtomicBool>,
) -> io::Result<()> {
    let server = TcpStream::connect(to)?;
    let asks = Arc::new(Asks {
        is_asking: AtomicBool::new(false),
        waiting: Arc::clone(waiting),
    });
    connections
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .extend([client.try_clone()?, server.try_clone()?]);
    let ways = [
        (client.try_clone()?, server.try_clone()?, true),
        (server, client, false),
    ];
    for (from, to, is_question) in ways {
        let (asks, held) = (Arc::clone(&asks), Arc::clone(held));
        std::thread::spawn(move || {
            copy(from, to, &held, || asks.note(is_question));
            asks.note(false);
        });
    }
    Ok(())
}

fn copy(mut from: TcpStream, mut to: TcpStream, held: &AtomicBool, note: impl Fn()) {
    let mut bytes = [0; 1 << 14];
    while let Ok(count) = from.read(&mut bytes) {
        while held.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        if count == 0 || to.write_all(&bytes[..count]).is_err() {
            break;
        }
        note();
    }
    for stream in [&from, &to] {
        // The other way may have ended first.
        let _ = stream.shutdown(Shutdown::Both);
    }
}

/// Whether a connection waits for an answer, and how many do.
struct Asks {
    is_asking: AtomicBool,
    waiting: Arc<AtomicUsize>,
}

impl Asks {
    fn note(&self, is_question: bool) {
        if self.is_asking.swap(is_question, Ordering::SeqCst) != is_question {
            if is_question {
                self.waiting.fetch_add(1, Ordering::SeqCst);
            } else {
                self.waiting.fetch_sub(1, Ordering::SeqCst);
            }
        }
    }
}
