//! The server, and the handle to it.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::RwLockWriteGuard;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde_json::json;

use crate::access::SharedWorld;
use crate::cable::{self, Cable};
use crate::cost::Costs;
use crate::faults::Faults;
use crate::gate;
use crate::graphql::analysis::Types;
use crate::graphql::{self, GitlabSchema};
use crate::limits::Limits;
use crate::requests::Requests;
use crate::rest;
use crate::time::Millis;
use crate::workers::{self, Workers};
use crate::world::{DEFAULT_TOKEN, World};

/// Everything behind the server.
#[derive(Clone)]
pub struct State {
    /// The world.
    pub world: SharedWorld,
    /// What was asked.
    pub requests: Requests,
    /// What goes wrong.
    pub faults: Faults,
    /// What is too much.
    pub limits: Limits,
    /// Where the instance is reached, without a slash at the end.
    pub base_url: String,
    /// The GraphQL schema.
    pub schema: GitlabSchema,
    /// How much more than the world's time `Date` shows, in milliseconds.
    pub date_error: Arc<AtomicI64>,
    /// Webhooks.
    pub hooks: rest::hooks::Hooks,
    /// What the answers cost.
    pub costs: Costs,
    /// The workers, where they behave.
    pub workers: Workers,
    /// Connections for subscriptions.
    pub cable: Cable,
    /// Its types, for the look at a query before it runs.
    pub types: Arc<Types>,
}

/// How to serve.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Threads of the simulator that answer.
    pub threads: usize,
    /// How GitLab's workers behave; `None`: every answer comes at once.
    pub workers: Option<workers::Settings>,
    /// Where others reach it, when that is not where it listens; without a slash at the end.
    pub external_url: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            threads: 2,
            workers: None,
            external_url: None,
        }
    }
}

/// A running GitLab. It stops when dropped.
pub struct Simulator {
    state: State,
    address: SocketAddr,
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

impl Simulator {
    /// Serves a world on threads of its own; needs no runtime of the caller.
    ///
    /// # Errors
    /// If the address cannot be listened on.
    pub fn start(world: World, options: &Options) -> io::Result<Self> {
        let listener = TcpListener::bind(options.listen)?;
        let address = listener.local_addr()?;
        let state = State {
            world: SharedWorld::new(world),
            requests: Requests::default(),
            faults: Faults::default(),
            limits: Limits::default(),
            date_error: Arc::default(),
            hooks: rest::hooks::Hooks::default(),
            costs: Costs::default(),
            workers: Workers::default(),
            cable: Cable::default(),
            base_url: options
                .external_url
                .clone()
                .unwrap_or_else(|| format!("http://{address}")),
            types: Arc::new(Types::looked_at(&graphql::sdl()).map_err(io::Error::other)?),
            schema: graphql::schema(),
        };
        state.workers.set(options.workers);
        let (send, receive) = mpsc::channel();
        let (served, threads) = (state.clone(), options.threads);
        let thread = std::thread::Builder::new()
            .name("gitlab-simulator".to_owned())
            .spawn(move || {
                let system = actix_web::rt::System::new();
                system.block_on(async move {
                    let server = serve(served, listener, threads);
                    match server {
                        Ok(server) => {
                            send.send(Ok(server.handle())).ok();
                            server.await.ok();
                        }
                        Err(error) => {
                            send.send(Err(error)).ok();
                        }
                    }
                });
            })?;
        let handle = receive.recv().map_err(io::Error::other)??;
        Ok(Self {
            state,
            address,
            handle,
            thread: Some(thread),
        })
    }

    /// Where it is reached, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.state.base_url
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The default token: scope `read_api`, Maintainer everywhere.
    #[must_use]
    pub fn token(&self) -> &'static str {
        DEFAULT_TOKEN
    }

    /// The world, locked: for operations, the ledger, tokens and quirks. Requests wait meanwhile.
    pub fn world(&self) -> RwLockWriteGuard<'_, World> {
        self.state.world.write()
    }

    /// The world to be shared with another thread.
    #[must_use]
    pub fn shared_world(&self) -> SharedWorld {
        self.state.world.clone()
    }

    /// Moves world time forward.
    pub fn advance(&self, span: Duration) {
        self.world()
            .advance(Millis::try_from(span.as_millis()).unwrap_or(Millis::MAX));
    }

    /// What was asked.
    #[must_use]
    pub fn requests(&self) -> &Requests {
        &self.state.requests
    }

    /// Webhooks of projects.
    #[must_use]
    pub fn hooks(&self) -> &rest::hooks::Hooks {
        &self.state.hooks
    }

    /// What the answers cost GitLab, by the model.
    #[must_use]
    pub fn costs(&self) -> &Costs {
        &self.state.costs
    }

    /// GitLab's workers.
    #[must_use]
    pub fn workers(&self) -> &Workers {
        &self.state.workers
    }

    /// Connections for subscriptions.
    #[must_use]
    pub fn cable(&self) -> &Cable {
        &self.state.cable
    }

    /// What goes wrong.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.state.faults
    }

    /// What is too much.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.state.limits
    }

    /// Lets the header `Date` show so much more than the world's time: a machine with a wrong clock
    /// in front of GitLab.
    pub fn set_date_error(&self, error: Millis) {
        self.state.date_error.store(error, Ordering::SeqCst);
    }

    /// Stops; connections that are open are cut.
    pub fn stop(mut self) {
        self.shut_down();
    }

    fn shut_down(&mut self) {
        // The returned future only reports the end; the command is sent by the call.
        drop(self.handle.stop(false));
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.shut_down();
    }
}

fn serve(
    state: State,
    listener: TcpListener,
    threads: usize,
) -> io::Result<actix_web::dev::Server> {
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::new(state.clone()))
            .app_data(web::PayloadConfig::new(1 << 20))
            .wrap(from_fn(gate::pass))
            .service(web::scope("/api/v4").configure(rest::routes))
            .route("/api/graphql", web::post().to(graphql::endpoint::answer))
            .route("/api/graphql", web::get().to(graphql::endpoint::answer))
            .route("/-/cable", web::get().to(cable::open))
            .configure(crate::control::routes)
            .default_service(web::to(|| async {
                HttpResponse::NotFound().json(json!({"error": "404 Not Found"}))
            }))
    });
    let server = server.on_connect(|connection, data| {
        let Some(stream) = connection.downcast_ref::<actix_web::rt::net::TcpStream>() else {
            return;
        };
        if let Ok(socket) = socket2::SockRef::from(stream).try_clone() {
            data.insert(gate::Socket(Arc::new(socket)));
        }
    });
    Ok(server
        .workers(threads)
        // As long as the proxy in front of a GitLab keeps connections.
        .keep_alive(Duration::from_secs(75))
        .disable_signals()
        .shutdown_timeout(0)
        .listen(listener)?
        .run())
}

/// The secret that a request carries, in `PRIVATE-TOKEN` or as `Bearer`.
pub(crate) fn token_value(request: &HttpRequest) -> Option<String> {
    let header = |name: &str| {
        request
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    let private = header("private-token").map(str::to_owned);
    private.or_else(|| {
        let value = header("authorization")?;
        let (scheme, token) = value.split_once(' ')?;
        scheme
            .eq_ignore_ascii_case("bearer")
            .then(|| token.trim().to_owned())
    })
}
