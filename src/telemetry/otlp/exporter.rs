//! What the exporters of spans and of log messages share: how they connect, and the count of how
//! their exports end.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{
    Compression, Protocol, WithExportConfig, WithHttpConfig, WithTonicConfig,
};
use opentelemetry_sdk::error::OTelSdkResult;

use super::trouble::Trouble;
use super::{
    ClientError, CountExports, Headers, OtlpTarget, Outcome, Signal, client, grpc_channel,
};

/// Sets `builder` up for gRPC. Must be called within a tokio runtime.
///
/// # Errors
/// When no client can be made for `target`.
pub(crate) fn with_grpc<B>(builder: B, target: &OtlpTarget) -> Result<B, ClientError>
where
    B: WithTonicConfig + WithExportConfig,
{
    let headers = Headers::new(&target.headers)?.metadata();
    let builder = builder
        .with_channel(grpc_channel(target)?)
        .with_timeout(target.timeout)
        // The exporter appends the headers of OTEL_EXPORTER_OTLP_HEADERS; ours replace them.
        .with_interceptor(move |mut request: tonic::Request<()>| {
            let metadata = std::mem::take(request.metadata_mut());
            let mut merged = metadata.into_headers();
            for (name, value) in headers.clone().into_headers().iter() {
                merged.insert(name.clone(), value.clone());
            }
            *request.metadata_mut() = tonic::metadata::MetadataMap::from_headers(merged);
            Ok(request)
        });
    Ok(if target.gzip {
        builder.with_compression(Compression::Gzip)
    } else {
        builder
    })
}

/// Sets `builder` up for http/protobuf.
///
/// # Errors
/// When no client can be made for `target`.
pub(crate) fn with_http<B>(builder: B, target: &OtlpTarget) -> Result<B, ClientError>
where
    B: WithHttpConfig + WithExportConfig,
{
    let client = ClientWithHeaders {
        inner: client::blocking_http_client(target)?,
        headers: Headers::new(&target.headers)?,
    };
    let builder = builder
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(target.endpoint.to_string())
        .with_timeout(target.timeout)
        .with_http_client(client);
    Ok(if target.gzip {
        builder.with_compression(Compression::Gzip)
    } else {
        builder
    })
}

/// Sets our headers last: the exporter would URL-decode them, and lets
/// `OTEL_EXPORTER_OTLP_HEADERS` win over them.
struct ClientWithHeaders {
    inner: reqwest::blocking::Client,
    headers: Headers,
}

impl fmt::Debug for ClientWithHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientWithHeaders({:?})", self.headers)
    }
}

#[async_trait]
impl HttpClient for ClientWithHeaders {
    async fn send_bytes(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        for (name, value) in self.headers.map() {
            request.headers_mut().insert(name.clone(), value.clone());
        }
        self.inner.send_bytes(request).await
    }
}

/// Counts how the exports of one signal end, and says so where it is news.
pub(crate) struct Exports {
    signal: Signal,
    counter: Arc<dyn CountExports>,
    trouble: Trouble,
}

impl Exports {
    pub(crate) fn new(signal: Signal, counter: Arc<dyn CountExports>) -> Self {
        Self {
            signal,
            counter,
            trouble: Trouble::new(signal),
        }
    }

    /// Notes the end of an export; `message` says what went wrong.
    pub(crate) fn note(&self, outcome: Outcome, message: &str) {
        self.counter.count_export(self.signal, outcome);
        self.trouble.note(outcome, message);
    }

    /// Notes the end of an export by the SDK's exporters, which log partial rejections themselves.
    pub(crate) fn note_sdk(&self, result: &OTelSdkResult) {
        match result {
            Ok(()) => self.note(Outcome::Success, ""),
            Err(error) => self.note(Outcome::Error, &error.to_string()),
        }
    }
}
