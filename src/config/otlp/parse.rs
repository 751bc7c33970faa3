//! The values of `OTEL_*` variables. An error is the end of a sentence that begins with the name.

use std::collections::BTreeMap;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use url::Url;

use crate::config::format::http_url;
use crate::config::model::{OtlpCompression, OtlpProtocol, Temporality};
use crate::config::values::Secret;

pub(super) fn protocol(text: &str) -> Result<OtlpProtocol, String> {
    match text {
        "grpc" => Ok(OtlpProtocol::Grpc),
        "http/protobuf" => Ok(OtlpProtocol::HttpProtobuf),
        other => Err(format!("must be grpc or http/protobuf, not {other:?}")),
    }
}

pub(super) fn compression(text: &str) -> Result<OtlpCompression, String> {
    match text {
        "none" => Ok(OtlpCompression::None),
        "gzip" => Ok(OtlpCompression::Gzip),
        other => Err(format!("must be gzip or none, not {other:?}")),
    }
}

pub(super) fn temporality(text: &str) -> Result<Temporality, String> {
    match text.to_ascii_lowercase().as_str() {
        "cumulative" => Ok(Temporality::Cumulative),
        other => Err(format!("{}, not {other:?}", only_cumulative())),
    }
}

/// Why only cumulative temporality is offered, as the end of a sentence.
pub(in crate::config) fn only_cumulative() -> &'static str {
    "must be cumulative (the OpenTelemetry Collector's processor cumulativetodelta makes deltas)"
}

pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!("must be true or false, not {text:?}")),
    }
}

pub(super) fn share(text: &str) -> Result<f64, String> {
    let shape = || format!("must be a number from 0 to 1, not {text:?}");
    let ratio: f64 = text.parse().map_err(|_| shape())?;
    if (0.0..=1.0).contains(&ratio) {
        Ok(ratio)
    } else {
        Err(shape())
    }
}

pub(super) fn milliseconds(text: &str) -> Result<Duration, String> {
    let longest = 365 * 86_400_000;
    match text.parse() {
        Ok(number) if (1..=longest).contains(&number) => Ok(Duration::from_millis(number)),
        _ => Err(format!(
            "must be a whole number of milliseconds above 0, not {text:?}"
        )),
    }
}

/// An address; without a scheme, as gRPC clients in other languages allow, `INSECURE` decides.
pub(super) fn endpoint(text: &str, insecure: bool) -> Result<Url, String> {
    if text.contains("://") {
        return http_url(text);
    }
    http_url(&format!(
        "{}://{text}",
        if insecure { "http" } else { "https" }
    ))
}

/// `key=value` pairs separated by commas, values percent-encoded.
pub(super) fn pairs(text: &str) -> Result<BTreeMap<String, String>, String> {
    let shape = || "must be a list like key=value,other=value".to_owned();
    let parts = text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (key, value) = part.split_once('=').ok_or_else(shape)?;
            let value = percent_decode_str(value.trim())
                .decode_utf8()
                .map_err(|_| shape())?;
            if key.trim().is_empty() {
                Err(shape())
            } else {
                Ok((key.trim().to_owned(), value.into_owned()))
            }
        })
        .collect()
}

pub(super) fn headers(text: &str) -> Result<BTreeMap<String, Secret>, String> {
    let pairs = pairs(text)?;
    for (name, value) in &pairs {
        crate::config::format::header(name, value)?;
    }
    Ok(pairs
        .into_iter()
        .map(|(name, value)| (name.to_lowercase(), Secret::from(value)))
        .collect())
}
