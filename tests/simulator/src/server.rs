//! The server, and the handle to it.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::RwLockWriteGuard;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::dev::{ServerHandle, ServiceRequest, ServiceResponse};
use actix_web::http::header::{DATE, HeaderValue};
use actix_web::middleware::{Next, from_fn};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde_json::json;

use crate::access::SharedWorld;
use crate::graphql::{self, GitlabSchema};
use crate::requests::{Recorded, Requests};
use crate::rest;
use crate::time::{Millis, http_date};
use crate::world::{DEFAULT_TOKEN, World};

/// Everything behind the server.
#[derive(Clone)]
pub struct State {
    /// The world.
    pub world: SharedWorld,
    /// What was asked.
    pub requests: Requests,
    /// Where the instance is reached, without a slash at the end.
    pub base_url: String,
    /// The GraphQL schema.
    pub schema: GitlabSchema,
}

/// How to serve.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Threads that answer.
    pub workers: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            workers: 2,
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
            base_url: format!("http://{address}"),
            schema: graphql::schema(),
        };
        let (send, receive) = mpsc::channel();
        let (served, workers) = (state.clone(), options.workers);
        let thread = std::thread::Builder::new()
            .name("gitlab-simulator".to_owned())
            .spawn(move || {
                let system = actix_web::rt::System::new();
                system.block_on(async move {
                    let server = serve(served, listener, workers);
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
    workers: usize,
) -> io::Result<actix_web::dev::Server> {
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::new(state.clone()))
            .app_data(web::PayloadConfig::new(1 << 20))
            .wrap(from_fn(record))
            .service(web::scope("/api/v4").configure(rest::routes))
            .route("/api/graphql", web::post().to(graphql::endpoint::answer))
            .configure(crate::control::routes)
            .default_service(web::to(|| async {
                HttpResponse::NotFound().json(json!({"error": "404 Not Found"}))
            }))
    });
    Ok(server
        .workers(workers)
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

/// What the GraphQL endpoint tells the recorder about its request.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub name: String,
    pub variables: serde_json::Value,
}

async fn record(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    if request.path().starts_with("/_control") {
        return next.call(request).await;
    }
    let Some(state) = request.app_data::<web::Data<State>>().cloned() else {
        return next.call(request).await;
    };
    let endpoint = request
        .match_pattern()
        .unwrap_or_else(|| "unknown".to_owned());
    let endpoint = endpoint.replace('{', ":").replace('}', "");
    let token = token_value(request.request());
    let agent = request
        .headers()
        .get("user-agent")
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let (at, token) = {
        let world = state.world.read();
        (
            world.now(),
            token.and_then(|value| world.token(&value).map(|token| token.name.clone())),
        )
    };
    let mut recorded = Recorded {
        at,
        method: request.method().to_string(),
        endpoint,
        path: request.path().to_owned(),
        query: request.query_string().to_owned(),
        operation: None,
        variables: None,
        token,
        user_agent: agent,
        status: 0,
        fault: None,
    };
    let mut response = next.call(request).await?;
    if let Ok(date) = HeaderValue::from_str(&http_date(at)) {
        response.headers_mut().insert(DATE, date);
    }
    recorded.status = response.status().as_u16();
    if let Some(operation) = response.response().extensions().get::<Operation>().cloned() {
        recorded.operation = Some(operation.name);
        recorded.variables = Some(operation.variables);
    }
    state.requests.push(recorded);
    Ok(response)
}
