//! The gRPC services and the HTTP endpoints of the receiver.

use std::collections::BTreeMap;
use std::io::Read as _;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode};
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{
    LogsService, LogsServiceServer,
};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use tonic::codec::CompressionEncoding::Gzip;
use tonic::service::Routes;
use tonic::{Code, Status};

use super::{Answer, Received, Request, Shared};

pub(super) fn routes(shared: &Shared) -> Routes {
    let http = axum::Router::new()
        .route(
            "/v1/metrics",
            axum::routing::post(post::<ExportMetricsServiceRequest>),
        )
        .route(
            "/v1/traces",
            axum::routing::post(post::<ExportTraceServiceRequest>),
        )
        .route(
            "/v1/logs",
            axum::routing::post(post::<ExportLogsServiceRequest>),
        )
        .with_state(shared.clone());
    Routes::from(http)
        .add_service(MetricsServiceServer::new(shared.clone()).accept_compressed(Gzip))
        .add_service(TraceServiceServer::new(shared.clone()).accept_compressed(Gzip))
        .add_service(LogsServiceServer::new(shared.clone()).accept_compressed(Gzip))
}

/// An export request of any signal.
trait Export: Message + Default + 'static {
    const SIGNAL: &'static str;
    type Response: Message;

    fn store(self, received: &mut Received);
    fn response(rejected: i64, message: &str) -> Self::Response;
}

macro_rules! export {
    ($signal:literal, $request:ident, $response:ident, $partial:ident { $rejected:ident }, $take:ident) => {
        impl Export for $request {
            const SIGNAL: &'static str = $signal;
            type Response = $response;

            fn store(self, received: &mut Received) {
                received.$take(self);
            }

            fn response(rejected: i64, message: &str) -> $response {
                let partial_success = (rejected > 0).then(|| $partial {
                    $rejected: rejected,
                    error_message: message.to_owned(),
                });
                $response { partial_success }
            }
        }
    };
}

export!(
    "metrics",
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
    ExportMetricsPartialSuccess {
        rejected_data_points
    },
    take_metrics
);
export!(
    "traces",
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
    ExportTracePartialSuccess { rejected_spans },
    take_traces
);
export!(
    "logs",
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
    ExportLogsPartialSuccess {
        rejected_log_records
    },
    take_logs
);

/// Remembers a request and says how to answer it.
async fn handle<E: Export>(
    shared: &Shared,
    headers: &HeaderMap,
    grpc: bool,
    request: E,
) -> Result<E::Response, (Code, u16)> {
    let answer = {
        let mut received = shared.lock();
        received.requests.push(Request {
            signal: E::SIGNAL,
            headers: names_and_values(headers),
            grpc,
            encoded_len: request.encoded_len(),
        });
        received.answers.pop_front()
    };
    let response = match answer {
        Some(Answer::Refuse(code, status)) => return Err((code, status)),
        Some(Answer::RejectPart(rejected, message)) => E::response(rejected, message),
        Some(Answer::Hold(released)) => {
            released.notified().await;
            E::response(0, "")
        }
        None => E::response(0, ""),
    };
    request.store(&mut shared.lock());
    Ok(response)
}

fn names_and_values(headers: &HeaderMap) -> BTreeMap<String, String> {
    headers
        .iter()
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.to_string(), value)
        })
        .collect()
}

async fn post<E: Export>(
    State(shared): State<Shared>,
    headers: HeaderMap,
    body: Body,
) -> Response<Body> {
    let bytes = axum::body::to_bytes(body, 64 << 20)
        .await
        .expect("the body arrives");
    let bytes = match headers.get("content-encoding") {
        None => bytes.to_vec(),
        Some(encoding) => {
            assert_eq!(encoding, "gzip");
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(&bytes[..])
                .read_to_end(&mut plain)
                .expect("the body is gzip");
            plain
        }
    };
    assert_eq!(headers["content-type"], "application/x-protobuf");
    let request = E::decode(&bytes[..]).expect("the body is protobuf");
    let (status, body) = match handle(&shared, &headers, false, request).await {
        Ok(response) => (StatusCode::OK, response.encode_to_vec()),
        Err((_, status)) => (
            StatusCode::from_u16(status).expect("the test names a status"),
            b"as told".to_vec(),
        ),
    };
    Response::builder()
        .status(status)
        .header("content-type", "application/x-protobuf")
        .body(Body::from(body))
        .expect("the response is sound")
}

async fn rpc<E: Export>(
    shared: &Shared,
    request: tonic::Request<E>,
) -> Result<tonic::Response<E::Response>, Status> {
    let (metadata, _, request) = request.into_parts();
    handle(shared, &metadata.into_headers(), true, request)
        .await
        .map(tonic::Response::new)
        .map_err(|(code, _)| Status::new(code, "as told"))
}

#[tonic::async_trait]
impl MetricsService for Shared {
    async fn export(
        &self,
        request: tonic::Request<ExportMetricsServiceRequest>,
    ) -> Result<tonic::Response<ExportMetricsServiceResponse>, Status> {
        rpc(self, request).await
    }
}

#[tonic::async_trait]
impl TraceService for Shared {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, Status> {
        rpc(self, request).await
    }
}

#[tonic::async_trait]
impl LogsService for Shared {
    async fn export(
        &self,
        request: tonic::Request<ExportLogsServiceRequest>,
    ) -> Result<tonic::Response<ExportLogsServiceResponse>, Status> {
        rpc(self, request).await
    }
}
