//! Where connections come in: actix-server accepts them, the table of connections takes them in, and
//! actix-http speaks HTTP/1 on them.

use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_http::error::DispatchError;
use actix_http::{HttpService, KeepAlive, Request, Response};
use actix_server::{Server, ServerBuilder};
use actix_service::{
    IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt as _, fn_factory, fn_service,
    map_config,
};
use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::AppConfig;
use actix_web::rt::net::TcpStream;

use super::connections::{Connections, Watched};
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

/// Has `builder` answer on `listener` by the application that `app` makes.
pub(super) fn listen<I, S, B>(
    builder: ServerBuilder,
    listener: TcpListener,
    connections: Arc<Connections>,
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
    let name = format!("http {}", listener.local_addr()?);
    let stop = builder.graceful_shutdown_signal();
    builder.listen(name, listener, move || {
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
            .on_connect_ext(|stream: &Watched<TcpStream>, data| {
                data.insert(Arc::clone(stream.connection()));
            })
            .h1(map_config(app, |()| AppConfig::default()));
        let http = Rc::new(http);
        let connections = Arc::clone(&connections);
        fn_factory(move || {
            let (http, connections) = (Rc::clone(&http), Arc::clone(&connections));
            async move {
                let http = Rc::new(http.new_service(()).await?);
                Ok::<_, ()>(fn_service(move |stream: TcpStream| {
                    let client = stream.peer_addr().ok();
                    let admitted =
                        connections.admit(client.map(|address| address.ip()), Instant::now());
                    let connections = Arc::clone(&connections);
                    let serving = admitted.map(|connection| {
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
    })
}

/// Counts connections that ended with something that is no HTTP; clients that go are no news.
fn note(result: Result<(), DispatchError>, connections: &Connections) {
    if let Err(DispatchError::Parse(_)) = result {
        connections.refuse(HttpRefusal::BadRequest);
    }
}
