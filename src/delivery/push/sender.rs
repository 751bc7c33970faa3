//! Sends one encoded message, and tries again where that may help.

use std::error::Error as _;
use std::io::{self, Write as _};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use bytes::{BufMut as _, Bytes};
use flate2::Compression;
use flate2::write::GzEncoder;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use prost::Message as _;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use thiserror::Error;
use tonic::client::Grpc;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use url::Url;

use crate::telemetry::otlp::{
    ClientError, Headers, OtlpTarget, Protocol, Signal, grpc_channel, http_client,
};

const EXPORT_METRICS: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
const EXPORT_TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const EXPORT_LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

/// Tries after the first.
const RETRIES: usize = 3;

/// Pause before the first retry; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// Answers are some bytes long; a longer body is not the receiver's.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// How a message is sent.
pub(super) enum Sender {
    Grpc {
        client: Grpc<Channel>,
        metadata: MetadataMap,
        method: &'static str,
    },
    Http {
        client: reqwest::Client,
        url: Url,
        headers: Headers,
        gzip: bool,
    },
}

/// Why a message was not taken.
#[derive(Debug, Error)]
pub(super) enum SendError {
    #[error("{}: {}{}", .0.code(), grpc_message(.0), grpc_remedy(.0))]
    Grpc(#[from] Box<Status>),
    #[error("the receiver answered {status}{}", http_remedy(*.status))]
    Http {
        status: reqwest::StatusCode,
        retry_after: Option<Duration>,
    },
    #[error("cannot reach the receiver: {}{}", root_cause(.0), transport_remedy(.0))]
    Transport(#[from] reqwest::Error),
    #[error("the response is not one of OTLP; check that the endpoint is an OTLP/HTTP receiver")]
    Answer,
    #[error("cannot compress the message: {0}")]
    Compress(io::Error),
}

/// What the receiver left out of a message that it took.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Rejected {
    pub(super) points: i64,
    pub(super) reason: String,
}

impl Sender {
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When no client can be made for `target`.
    pub(super) fn new(target: &OtlpTarget) -> Result<Self, ClientError> {
        let headers = Headers::new(&target.headers)?;
        Ok(match target.protocol {
            Protocol::Grpc => {
                let client = Grpc::new(grpc_channel(target)?);
                Self::Grpc {
                    client: if target.gzip {
                        client.send_compressed(CompressionEncoding::Gzip)
                    } else {
                        client
                    },
                    metadata: headers.metadata(),
                    method: EXPORT_METRICS,
                }
            }
            Protocol::HttpProtobuf => Self::Http {
                client: http_client(target)?,
                url: target.endpoint.clone(),
                headers,
                gzip: target.gzip,
            },
        })
    }

    /// Sends an empty message of a signal, once. The answers of all signals have one form.
    ///
    /// # Errors
    /// When it is not accepted.
    pub(super) async fn try_empty(mut self, signal: Signal) -> Result<(), SendError> {
        if let Self::Grpc { method, .. } = &mut self {
            *method = match signal {
                Signal::Metrics => EXPORT_METRICS,
                Signal::Traces => EXPORT_TRACES,
                Signal::Logs => EXPORT_LOGS,
            };
        }
        let body = match &self {
            Self::Http { gzip: true, .. } => gzip(Bytes::new()).await?,
            _ => Bytes::new(),
        };
        self.try_send(body).await.map(drop)
    }

    /// Sends one message, with a few retries where the error may pass.
    ///
    /// # Errors
    /// The last try's.
    pub(super) async fn send(&self, message: Bytes) -> Result<Rejected, SendError> {
        let body = match self {
            Self::Http { gzip: true, .. } => gzip(message).await?,
            _ => message,
        };
        let backoff = ExponentialBuilder::default()
            .with_min_delay(FIRST_PAUSE)
            .with_max_times(RETRIES)
            .with_jitter();
        (|| self.try_send(body.clone()))
            .retry(backoff)
            .when(SendError::may_pass)
            .adjust(|error, pause| pause.map(|pause| error.retry_after().unwrap_or(pause)))
            .await
    }

    async fn try_send(&self, body: Bytes) -> Result<Rejected, SendError> {
        let response = match self {
            Self::Grpc {
                client,
                metadata,
                method,
            } => {
                let mut client = client.clone();
                let mut request = tonic::Request::new(body);
                *request.metadata_mut() = metadata.clone();
                client
                    .ready()
                    .await
                    .map_err(|error| Box::new(Status::from_error(error.into())))?;
                client
                    .unary(request, PathAndQuery::from_static(method), EncodedMessage)
                    .await
                    .map_err(Box::new)?
                    .into_inner()
            }
            Self::Http {
                client,
                url,
                headers,
                gzip,
            } => {
                let mut request = client
                    .post(url.clone())
                    .headers(headers.map().clone())
                    .header(CONTENT_TYPE, "application/x-protobuf")
                    .body(body);
                if *gzip {
                    request = request.header(CONTENT_ENCODING, "gzip");
                }
                http_answer(request.send().await.map_err(without_url)?).await?
            }
        };
        Ok(response
            .partial_success
            .map(|partial| Rejected {
                points: partial.rejected_data_points,
                reason: partial.error_message,
            })
            .unwrap_or_default())
    }
}

async fn http_answer(
    mut response: reqwest::Response,
) -> Result<ExportMetricsServiceResponse, SendError> {
    let status = response.status();
    if !status.is_success() {
        let retry_after = response.headers().get(RETRY_AFTER).and_then(seconds);
        return Err(SendError::Http {
            status,
            retry_after,
        });
    }
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.map_err(without_url)? {
        body.extend_from_slice(&part);
        if body.len() > MAX_ANSWER_BYTES {
            return Err(SendError::Answer);
        }
    }
    ExportMetricsServiceResponse::decode(&body[..]).map_err(|_| SendError::Answer)
}

fn seconds(header: &HeaderValue) -> Option<Duration> {
    header.to_str().ok()?.parse().ok().map(Duration::from_secs)
}

/// URLs may hold a password.
fn without_url(error: reqwest::Error) -> SendError {
    SendError::Transport(error.without_url())
}

/// Compresses off the runtime's threads: a large message takes tens of milliseconds.
async fn gzip(message: Bytes) -> Result<Bytes, SendError> {
    let compress = move || {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&message)?;
        encoder.finish()
    };
    let compressed = tokio::task::spawn_blocking(compress).await;
    let compressed = compressed.map_err(io::Error::other).flatten();
    compressed.map(Bytes::from).map_err(SendError::Compress)
}

impl SendError {
    /// Whether the OTLP specification lets a client try again.
    fn may_pass(&self) -> bool {
        match self {
            Self::Grpc(status) => match status.code() {
                Code::Cancelled
                | Code::DeadlineExceeded
                | Code::Aborted
                | Code::OutOfRange
                | Code::Unavailable
                | Code::DataLoss => true,
                // Only when the receiver says that it is about to recover.
                Code::ResourceExhausted => self.retry_after().is_some(),
                _ => false,
            },
            Self::Http { status, .. } => matches!(status.as_u16(), 429 | 502 | 503 | 504),
            Self::Transport(_) => true,
            Self::Answer | Self::Compress(_) => false,
        }
    }

    /// How long the receiver asks to wait.
    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Grpc(status) => status.get_details_retry_info()?.retry_delay,
            Self::Http { retry_after, .. } => *retry_after,
            Self::Transport(_) | Self::Answer | Self::Compress(_) => None,
        }
    }
}

/// tonic's message for an unreachable receiver is `transport error`; the cause says which.
fn grpc_message(status: &Status) -> String {
    match status.source() {
        Some(source) => root_cause(source),
        None => status.message().to_owned(),
    }
}

/// What to do about a failed gRPC call.
fn grpc_remedy(status: &Status) -> &'static str {
    let is_of_http = status.source().is_some_and(|source| {
        let text = root_cause(source);
        ["frame", "http2", "connection closed", "corrupt message"]
            .iter()
            .any(|part| text.contains(part))
    });
    match status.code() {
        _ if is_of_http => IS_GRPC,
        // A server of HTTP/2 that answers with a status of HTTP.
        Code::Unknown | Code::Internal if !status.metadata().contains_key("grpc-status") => IS_GRPC,
        Code::Unimplemented => "; the receiver does not accept this signal: enable it there",
        Code::Unauthenticated | Code::PermissionDenied => "; check the headers in the settings",
        _ => "",
    }
}

const IS_GRPC: &str = "; check that the port is one of OTLP/gRPC (usually 4317): for OTLP/HTTP (usually \
                       4318) set the protocol to http/protobuf";

/// What to do about a status of HTTP.
fn http_remedy(status: reqwest::StatusCode) -> &'static str {
    match status.as_u16() {
        401 | 403 => "; check the headers in the settings",
        404 | 405 => {
            "; check the path of the endpoint, and that an OTLP/HTTP receiver listens there for this signal"
        }
        _ => "",
    }
}

/// What to do where there is no answer.
fn transport_remedy(error: &reqwest::Error) -> &'static str {
    let text = root_cause(error);
    if text.contains("invalid HTTP version") {
        "; check the port: if it is one of OTLP/gRPC (usually 4317), set the protocol to grpc, and if it \
         is one of TLS, write https:// in the endpoint"
    } else if text.contains("corrupt message") {
        "; check the endpoint: if the port is one of plain HTTP, write http://"
    } else if text.contains("certificate") {
        "; set ca_cert_path to the certificate of the receiver's authority, or to its own if it is \
         self-signed"
    } else {
        ""
    }
}

fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// A message that is encoded already: it is built once, and sent again without being built again.
struct EncodedMessage;

impl Codec for EncodedMessage {
    type Encode = Bytes;
    type Decode = ExportMetricsServiceResponse;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for EncodedMessage {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.reserve(message.len());
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for EncodedMessage {
    type Item = ExportMetricsServiceResponse;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        ExportMetricsServiceResponse::decode(buffer)
            .map(Some)
            .map_err(|error| Status::internal(error.to_string()))
    }
}
