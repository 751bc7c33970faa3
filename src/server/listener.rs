//! Where connections come in: actix-server accepts them, the table of connections takes them in, and
//! actix-http speaks HTTP/1 on them.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_http::error::DispatchError;
use actix_http::{HttpService, KeepAlive, Request, Response};
use actix_server::{GracefulShutdownSignal, Server, ServerBuilder};
use actix_service::{
    IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt as _, fn_factory, fn_service,
    map_config,
};
use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::AppConfig;
use actix_web::rt::net::TcpStream;
#[cfg(unix)]
use actix_web::rt::net::UnixStream;

use super::connections::{Connections, Watched};
use super::socket::Socket;
use super::transport::{Accepted, Transport};
use super::web::{Protection, Web};
use crate::telemetry::process::HttpRefusal;

/// Threads that answer requests.
const WORKERS: usize = 2;
/// Threads of each worker that write metrics and pages; what does not fit waits.
const BLOCKING_THREADS: usize = 4;
/// How long a client may take to close its connection.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A server without addresses, whose graceful stop waits so long for requests under way.
pub(super) fn builder(stop_seconds: u64) -> ServerBuilder {
    Server::build()
        .workers(WORKERS)
        .worker_max_blocking_threads(BLOCKING_THREADS)
        // The table of connections has a limit below this.
        .max_concurrent_connections(u32::MAX as usize)
        .shutdown_timeout(stop_seconds)
        .disable_signals()
}

/// What a listener hands its connections to.
#[derive(Clone)]
pub(super) struct Handover {
    pub(super) connections: Arc<Connections>,
    pub(super) web: Arc<Web>,
    pub(super) protection: Protection,
}

/// Has `builder` answer on `socket` by the application that `app` makes.
pub(super) fn listen<I, S, B>(
    builder: ServerBuilder,
    socket: Socket,
    to: Handover,
    app: impl Fn() -> I + Clone + Send + 'static,
) -> io::Result<ServerBuilder>
where
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<Error> + 'static,
    S::InitError: std::fmt::Debug,
    S::Response: Into<Response<B>> + 'static,
    <S::Service as Service<Request>>::Future: 'static,
    S::Service: 'static,
    B: MessageBody + 'static,
{
    let name = format!("http {}", socket.address()?);
    let stop = builder.graceful_shutdown_signal();
    match socket {
        Socket::Tcp(listener) => {
            let serve = move || service::<TcpStream, _, I, S, B>(&stop, &to, &app);
            builder.listen(name, listener, serve)
        }
        #[cfg(unix)]
        Socket::Unix(listener) => {
            let serve = move || service::<UnixStream, _, I, S, B>(&stop, &to, &app);
            builder.listen_uds(name, listener, serve)
        }
    }
}

/// HTTP/1 on accepted connections.
fn service<A, F, I, S, B>(
    stop: &GracefulShutdownSignal,
    to: &Handover,
    app: &F,
) -> impl ServiceFactory<A, Config = (), Response = (), Error = (), InitError = ()> + use<A, F, I, S, B>
where
    A: Accepted,
    F: Fn() -> I + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<Error> + 'static,
    S::InitError: std::fmt::Debug,
    S::Response: Into<Response<B>> + 'static,
    <S::Service as Service<Request>>::Future: 'static,
    S::Service: 'static,
    B: MessageBody + 'static,
{
    let stop = stop.clone();
    let app = app()
        .into_factory()
        .map_err(|error| error.into().error_response());
    let http = HttpService::build()
        .graceful_shutdown_signal(move || {
            let stop = stop.clone();
            async move { stop.notified().await }
        })
        // Both are the table's.
        .keep_alive(KeepAlive::Os)
        .client_request_timeout(Duration::ZERO)
        .client_disconnect_timeout(DISCONNECT_TIMEOUT)
        .on_connect_ext(|stream: &Watched<Transport>, data| {
            data.insert(Arc::clone(stream.connection()));
        })
        .h1(map_config(app, |()| AppConfig::default()));
    let http = Rc::new(http);
    let to = to.clone();
    fn_factory(move || {
        let (http, to) = (Rc::clone(&http), to.clone());
        async move {
            let http = Rc::new(http.new_service(()).await?);
            Ok::<_, ()>(fn_service(move |stream: A| {
                let Handover {
                    connections,
                    web,
                    protection,
                } = to.clone();
                let client = stream.client();
                let address = client.map(|address| address.ip());
                let admitted = connections.admit(address, Instant::now());
                let serving = admitted.map(|connection| {
                    let stream = stream.transport(web.tls(protection), &connections);
                    let stream = Watched::new(stream, connection, Arc::clone(&connections));
                    http.call((stream, client))
                });
                async move {
                    if let Some(serving) = serving {
                        note(serving.await, &connections);
                    }
                    Ok::<_, ()>(())
                }
            }))
        }
    })
}

/// Counts connections that ended with something that is no HTTP; clients that go are no news.
fn note(result: Result<(), DispatchError>, connections: &Connections) {
    if let Err(DispatchError::Parse(_)) = result {
        connections.refuse(HttpRefusal::BadRequest);
    }
}
