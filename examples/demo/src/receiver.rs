//! An OTLP receiver that shows on a page what was pushed to it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_web::{App, HttpServer, web};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{Metric, metric, number_data_point};
use opentelemetry_proto::tonic::trace::v1::Span;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// Spans that are remembered.
const SPANS: usize = 200;

/// A running receiver.
pub struct Receiver {
    /// Where its pages are.
    pub page: SocketAddr,
    /// Where it takes OTLP by gRPC.
    pub grpc: String,
}

#[derive(Clone, Default)]
struct Received(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    /// The last value of each series.
    metrics: BTreeMap<String, String>,
    spans: VecDeque<String>,
}

impl Received {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes OTLP by gRPC on one listener and shows it by HTTP on the other.
pub fn start(page: TcpListener, grpc: TcpListener) -> io::Result<Receiver> {
    let received = Received::default();
    let receiver = Receiver {
        page: page.local_addr()?,
        grpc: format!("http://{}", grpc.local_addr()?),
    };
    grpc.set_nonblocking(true)?;
    let incoming = TcpIncoming::from(tokio::net::TcpListener::from_std(grpc)?);
    tokio::spawn(
        Server::builder()
            .add_service(MetricsServiceServer::new(received.clone()))
            .add_service(TraceServiceServer::new(received.clone()))
            .serve_with_incoming(incoming),
    );
    let pages = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::new(received.clone()))
            .route("/metrics", web::get().to(metrics))
            .route("/spans", web::get().to(spans))
    });
    tokio::spawn(pages.workers(1).disable_signals().listen(page)?.run());
    Ok(receiver)
}

async fn metrics(received: web::Data<Received>) -> String {
    let kept = received.lock();
    let lines = kept
        .metrics
        .iter()
        .map(|(series, value)| format!("{series} {value}\n"));
    lines.collect()
}

async fn spans(received: web::Data<Received>) -> String {
    let kept = received.lock();
    kept.spans
        .iter()
        .rev()
        .map(|span| format!("{span}\n"))
        .collect()
}

#[tonic::async_trait]
impl MetricsService for Received {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let mut kept = self.lock();
        let scopes = request.into_inner().resource_metrics.into_iter();
        for metric in scopes
            .flat_map(|resource| resource.scope_metrics)
            .flat_map(|s| s.metrics)
        {
            keep(&metric, &mut kept.metrics);
        }
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl TraceService for Received {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut kept = self.lock();
        let scopes = request.into_inner().resource_spans.into_iter();
        for span in scopes
            .flat_map(|resource| resource.scope_spans)
            .flat_map(|s| s.spans)
        {
            if kept.spans.len() == SPANS {
                kept.spans.pop_front();
            }
            kept.spans.push_back(describe(&span));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// Remembers the points of a metric; a point that says its series is gone takes it away.
fn keep(metric: &Metric, kept: &mut BTreeMap<String, String>) {
    let mut point = |attributes: &[KeyValue], flags: u32, value: String| {
        let series = format!("{}{{{}}}", metric.name, labels(attributes));
        if flags & 1 == 1 {
            kept.remove(&series);
        } else {
            kept.insert(series, value);
        }
    };
    let number = |value: Option<number_data_point::Value>| match value {
        Some(number_data_point::Value::AsDouble(value)) => value.to_string(),
        Some(number_data_point::Value::AsInt(value)) => value.to_string(),
        None => "nothing".to_owned(),
    };
    match &metric.data {
        Some(metric::Data::Gauge(gauge)) => {
            for at in &gauge.data_points {
                point(&at.attributes, at.flags, number(at.value));
            }
        }
        Some(metric::Data::Sum(sum)) => {
            for at in &sum.data_points {
                point(&at.attributes, at.flags, number(at.value));
            }
        }
        Some(metric::Data::Histogram(histogram)) => {
            for at in &histogram.data_points {
                let sum = at.sum.unwrap_or_default();
                let value = format!(
                    "count {} sum {sum} buckets {:?}",
                    at.count, at.bucket_counts
                );
                point(&at.attributes, at.flags, value);
            }
        }
        _ => {}
    }
}

fn labels(attributes: &[KeyValue]) -> String {
    let mut text = String::new();
    for KeyValue { key, value, .. } in attributes {
        let comma = if text.is_empty() { "" } else { "," };
        let value = match value.as_ref().and_then(|value| value.value.as_ref()) {
            Some(any_value::Value::StringValue(value)) => format!("{value:?}"),
            Some(any_value::Value::IntValue(value)) => value.to_string(),
            Some(any_value::Value::DoubleValue(value)) => value.to_string(),
            Some(any_value::Value::BoolValue(value)) => value.to_string(),
            _ => String::new(),
        };
        let _ = write!(text, "{comma}{key}={value}");
    }
    text
}

fn describe(span: &Span) -> String {
    let hex = |id: &[u8]| {
        id.iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let took = span
        .end_time_unix_nano
        .saturating_sub(span.start_time_unix_nano)
        / 1_000_000;
    format!(
        "trace {} span {} parent {:16} {took:>5} ms  {} {{{}}}",
        hex(&span.trace_id),
        hex(&span.span_id),
        hex(&span.parent_span_id),
        span.name,
        labels(&span.attributes)
    )
}
