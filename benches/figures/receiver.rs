//! An OTLP receiver that decodes what it gets and throws it away.

use std::io::Read as _;

use axum::body::Body;
use axum::http::{HeaderMap, Response, StatusCode};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use prost::Message as _;
use tonic::codec::CompressionEncoding::Gzip;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::role::{self, Outcome};

/// Largest request that is taken, in bytes.
const MAX_BODY: usize = 64 << 20;

struct Sink;

#[tonic::async_trait]
impl MetricsService for Sink {
    async fn export(
        &self,
        _: tonic::Request<ExportMetricsServiceRequest>,
    ) -> Result<tonic::Response<ExportMetricsServiceResponse>, tonic::Status> {
        Ok(tonic::Response::new(Default::default()))
    }
}

async fn post(headers: HeaderMap, body: Body) -> Result<Response<Body>, StatusCode> {
    let refused = |_| StatusCode::BAD_REQUEST;
    let body = axum::body::to_bytes(body, MAX_BODY)
        .await
        .map_err(refused)?;
    let mut plain = Vec::new();
    let message = if headers.contains_key("content-encoding") {
        flate2::read::GzDecoder::new(&body[..])
            .read_to_end(&mut plain)
            .map_err(|_| StatusCode::BAD_REQUEST)?;
        &plain[..]
    } else {
        &body[..]
    };
    ExportMetricsServiceRequest::decode(message).map_err(|_| StatusCode::BAD_REQUEST)?;
    let answer = ExportMetricsServiceResponse::default().encode_to_vec();
    Response::builder()
        .header("content-type", "application/x-protobuf")
        .body(Body::from(answer))
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

/// Serves gRPC and http/protobuf on one port until the parent lets go.
pub fn serve() -> Outcome {
    let runtime = tokio::runtime::Runtime::new()?;
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    let http = axum::Router::new().route("/v1/metrics", axum::routing::post(post));
    let routes =
        Routes::from(http).add_service(MetricsServiceServer::new(Sink).accept_compressed(Gzip));
    let server = Server::builder().accept_http1(true).add_routes(routes);
    runtime.spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    role::ready(&format!("http://{address}"))
}
