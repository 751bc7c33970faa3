//! `/metrics`.

use std::io;
use std::time::{Duration, Instant};

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures::Stream;
use futures::stream;
use tokio::sync::mpsc;

use super::answer::{self, Failure};
use super::{Context, HandlerContext};
use crate::delivery::text::{Format, Selection, TextStream, accepts_gzip};

/// Characters of a user agent that tell clients apart.
const AGENT: usize = 100;

/// A part of the text, or its end.
type Part = Option<io::Result<Bytes>>;

/// All metrics as they are now, as Prometheus text or OpenMetrics.
pub(super) async fn metrics(
    request: HttpRequest,
    shared: web::Data<HandlerContext>,
) -> HttpResponse {
    let headers = request.headers();
    let selection = match Selection::of_query(request.query_string()) {
        Ok(selection) => selection,
        Err(error) => {
            return answer::refusal(headers, StatusCode::BAD_REQUEST, &error.to_string());
        }
    };
    let format = Format::negotiate(Some(&answer::all(headers, &header::ACCEPT)));
    let gzip = accepts_gzip(Some(&answer::all(headers, &header::ACCEPT_ENCODING)));
    let mut response = HttpResponse::Ok();
    response
        .content_type(format.content_type())
        .insert_header((header::VARY, "Accept, Accept-Encoding"));
    if gzip {
        response.insert_header((header::CONTENT_ENCODING, "gzip"));
    }
    if answer::is_head(&request) {
        return response.streaming(stream::empty::<io::Result<Bytes>>());
    }
    note_scrape(&request, &shared.context);
    match begin(shared.context.clone(), selection, format, gzip).await {
        Ok((text, first)) => response.streaming(follow(text, first, shared.patience)),
        Err(failure) => failure.answer(&request),
    }
}

/// Takes in when this client asked: by address and program, since several may stand behind one proxy, and by what it
/// asked for, since one may scrape parts at intervals of their own.
fn note_scrape(request: &HttpRequest, context: &Context) {
    if let Some(intervals) = &context.intervals {
        let address = request.peer_addr().map(|peer| peer.ip().to_string());
        let agent = answer::all(request.headers(), &header::USER_AGENT);
        let agent: String = agent.chars().take(AGENT).collect();
        let query = request.query_string();
        let query: String = query.chars().take(AGENT).collect();
        let client = format!("{} {agent} {query}", address.unwrap_or_default());
        intervals.scraped(&client, Instant::now(), context.clock.steady());
    }
}

/// Writes the first part: an error here still becomes a status code.
async fn begin(
    context: Context,
    selection: Selection,
    format: Format,
    gzip: bool,
) -> Result<(TextStream, Bytes), Failure> {
    answer::run_blocking(move || {
        let exemplars = context.own.exemplars();
        let own = context.own.gather();
        let walk = context.table.walk(context.clock.steady());
        let text = TextStream::new(walk, own, format, gzip).with_exemplars(exemplars);
        let mut text = text.with_selection(selection);
        let first = text.next().transpose()?.unwrap_or_default();
        Ok((text, first))
    })
    .await?
}

/// The text as a body. It is written elsewhere, one part ahead of the client, by a task that holds
/// the walk over the table: a client that takes nothing for longer than `patience` ends that task,
/// not the table's tidiness.
fn follow(
    text: TextStream,
    first: Bytes,
    patience: Duration,
) -> impl Stream<Item = io::Result<Bytes>> {
    let (parts, body) = mpsc::channel(1);
    tokio::spawn(write(text, first, parts, patience));
    stream::unfold(Some(body), |body| async {
        let mut body = body?;
        match body.recv().await {
            Some(Some(part)) => Some((part, Some(body))),
            Some(None) => None,
            // No end was sent: the client must not take what it has for the whole.
            None => Some((Err(io::ErrorKind::UnexpectedEof.into()), None)),
        }
    })
}

async fn write(mut text: TextStream, first: Bytes, parts: mpsc::Sender<Part>, patience: Duration) {
    let mut part = Some(Ok(first));
    loop {
        let ended = part.is_none();
        match tokio::time::timeout(patience, parts.send(part)).await {
            Ok(Ok(())) if !ended => {}
            Ok(Ok(())) => return,
            Ok(Err(_)) => return tracing::debug!("the client left during a scrape"),
            Err(_) => return tracing::debug!("the client stopped reading a scrape"),
        }
        let next = answer::run_blocking(move || {
            let next = text.next();
            (text, next)
        });
        match next.await {
            Ok((rest, next)) => (text, part) = (rest, next),
            Err(failure) => return tracing::error!(error = %failure, "scrape aborted"),
        }
    }
}
