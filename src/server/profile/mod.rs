//! `/debug/pprof`: where this process spends its CPU time, sampled while somebody asks.

mod message;

use std::collections::HashMap;
use std::ffi::c_int;
use std::time::Duration;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use flate2::Compression;
use flate2::write::GzEncoder;
use pprof::{Frames, ProfilerGuard, ProfilerGuardBuilder, Report, flamegraph};
use prost::Message;
use serde::Deserialize;

use super::answer::{self, Failure};

/// Samples per second of CPU time; not 100, so as not to keep step with what happens at round
/// intervals.
const FREQUENCY: c_int = 99;
/// A stack that ends here is not walked: unwinding is not safe in the midst of these.
const BLOCKLIST: [&str; 4] = ["libc", "libgcc", "pthread", "vdso"];
/// How long a profile is taken when the request does not say.
const SECONDS: u64 = 30;
/// How long one may be taken.
const MAX_SECONDS: u64 = 300;

/// The inline script and styles that a flame graph consists of, and nothing from elsewhere.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; \
    style-src 'unsafe-inline'; frame-ancestors 'none'";

/// What may stand behind the `?`.
#[derive(Deserialize)]
struct Parameters {
    #[serde(default = "default_seconds")]
    seconds: u64,
}

fn default_seconds() -> u64 {
    SECONDS
}

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
enum ProfileError {
    #[error("seconds must be a number from 1 to 300")]
    Seconds,
    #[error("another profile is being taken")]
    Busy,
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl From<pprof::Error> for ProfileError {
    fn from(error: pprof::Error) -> Self {
        match error {
            pprof::Error::Running => Self::Busy,
            error => Self::Failed(error.into()),
        }
    }
}

impl ProfileError {
    fn answer(&self, request: &HttpRequest) -> HttpResponse {
        let status = match self {
            Self::Seconds => StatusCode::BAD_REQUEST,
            Self::Busy => StatusCode::CONFLICT,
            Self::Failed(failure) => return failure.answer(request),
        };
        answer::refusal(request.headers(), status, &self.to_string())
    }
}

/// A profile for `go tool pprof` and the like.
pub(super) async fn profile(request: HttpRequest) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response
        .content_type("application/octet-stream")
        .insert_header((
            header::CONTENT_DISPOSITION,
            "attachment; filename=\"profile.pb.gz\"",
        ));
    answer_with(&request, response, |report| {
        let bytes = message::Profile::from(report).encode_to_vec();
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        std::io::Write::write_all(&mut gzip, &bytes).map_err(Failure::from)?;
        Ok(gzip.finish().map_err(Failure::from)?)
    })
    .await
}

/// A flame graph for browsers.
pub(super) async fn flame_graph(request: HttpRequest) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response
        .content_type("image/svg+xml")
        .insert_header((header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY));
    answer_with(&request, response, |report| {
        let mut options = flamegraph::Options::default();
        "amazing-gitlab-exporter: CPU time".clone_into(&mut options.title);
        let mut svg = Vec::new();
        report.flamegraph_with_options(&mut svg, &mut options)?;
        if svg.is_empty() {
            svg.extend(EMPTY.bytes());
        }
        Ok(svg)
    })
    .await
}

/// The flame graph of a process that did nothing.
const EMPTY: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"400\" height=\"60\">\
    <text x=\"20\" y=\"36\">No CPU time was used.</text></svg>\n";

async fn answer_with(
    request: &HttpRequest,
    mut response: actix_web::HttpResponseBuilder,
    write: impl FnOnce(&Report) -> Result<Vec<u8>, ProfileError> + Send + 'static,
) -> HttpResponse {
    let parameters = web::Query::<Parameters>::from_query(request.query_string());
    let time = match parameters {
        Ok(found) if (1..=MAX_SECONDS).contains(&found.seconds) => {
            Duration::from_secs(found.seconds)
        }
        _ => return ProfileError::Seconds.answer(request),
    };
    if answer::is_head(request) {
        return response.finish();
    }
    match take(time, write).await {
        Ok(body) => response.body(body),
        Err(error) => error.answer(request),
    }
}

/// Samples for `time`. A client that leaves ends it: the guard goes with the future.
async fn take(
    time: Duration,
    write: impl FnOnce(&Report) -> Result<Vec<u8>, ProfileError> + Send + 'static,
) -> Result<Vec<u8>, ProfileError> {
    let guard = answer::beside(|| {
        ProfilerGuardBuilder::default()
            .frequency(FREQUENCY)
            .blocklist(&BLOCKLIST)
            .build()
    })
    .await??;
    tokio::time::sleep(time).await;
    answer::beside(move || write(&report(guard)?)).await?
}

/// Names what was sampled, once sampling has ended.
fn report(guard: ProfilerGuard<'static>) -> Result<Report, ProfileError> {
    let unresolved = guard.report().build_unresolved()?;
    drop(guard);
    let mut data: HashMap<Frames, isize> = HashMap::new();
    for (frames, count) in unresolved.data {
        let mut frames = Frames::from(frames);
        leave_out_profiler(&mut frames);
        *data.entry(frames).or_default() += count;
    }
    let timing = unresolved.timing;
    Ok(Report { data, timing })
}

/// A sample is taken inside the program, so its innermost frames may be the sampling itself.
fn leave_out_profiler(frames: &mut Frames) {
    let is_profiler = |frame: &Vec<pprof::Symbol>| {
        frame.iter().any(|symbol| {
            let name = symbol.name();
            let path = name.trim_start_matches('<');
            path.starts_with("backtrace::") || path.starts_with("pprof::")
        })
    };
    let own = frames.frames.iter().take_while(|frame| is_profiler(frame));
    let own = own.count();
    frames.frames.drain(..own);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profilers_own_frames_are_left_out() {
        let frame = |name: &str| {
            vec![pprof::Symbol {
                name: Some(name.into()),
                addr: None,
                lineno: None,
                filename: None,
            }]
        };
        let names = [
            "backtrace::backtrace::trace_unsynchronized",
            "<pprof::backtrace::backtrace_rs::Trace as pprof::backtrace::Trace>::trace",
            "work",
            "backtrace::capture",
            "main",
        ];
        let mut frames = Frames {
            frames: names.map(frame).to_vec(),
            thread_name: String::new(),
            thread_id: 1,
            sample_timestamp: std::time::SystemTime::UNIX_EPOCH,
        };
        leave_out_profiler(&mut frames);
        let left: Vec<String> = frames.frames.iter().map(|frame| frame[0].name()).collect();
        assert_eq!(left, names[2..]);
    }
}
