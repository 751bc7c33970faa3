//! Pages for people: the status page, the metrics explained, the configuration.

mod cards;
mod docs;
mod view;
mod words;

use std::sync::LazyLock;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;

use super::answer::{self, Failure};
use super::status::ProjectQuery;
use super::{Context, HandlerContext};
use view::{SeriesCounts, StatusPage};

/// Longer searches are cut; no path is longer.
const MAX_SEARCH: usize = 255;

/// The pages' style sheet.
const STYLE: &str = include_str!("../templates/style.css");
/// The status page's script: search as one types, refresh, both by asking the server again.
const SCRIPT: &str = include_str!("../templates/status.js");

/// Nothing runs but the script above, nothing styles but the sheet above, nothing is loaded from
/// elsewhere.
static CONTENT_SECURITY_POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |text: &str| {
        let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        BASE64_STANDARD.encode(digest)
    };
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; connect-src 'self'; \
         img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
});

/// What may stand behind the `?` of the status page.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Parameters {
    search: String,
    page: String,
}

impl Parameters {
    /// What was asked for; invalid values are ignored.
    fn query(&self) -> ProjectQuery {
        ProjectQuery {
            search: self.search.chars().take(MAX_SEARCH).collect(),
            page: self.page.parse().unwrap_or(1),
            ..ProjectQuery::default()
        }
    }
}

/// The status page.
pub(super) async fn status(
    request: HttpRequest,
    shared: web::Data<HandlerContext>,
) -> HttpResponse {
    let parameters = web::Query::<Parameters>::from_query(request.query_string());
    let query = parameters.map_or_else(|_| ProjectQuery::default(), |found| found.query());
    show(&request, &shared, move |context| {
        let status = context.status.status(&query);
        let series = SeriesCounts::of(&context.table);
        let now = context.clock.now();
        StatusPage::new(&status, &query, &series, &context.config.now(), now).render()
    })
    .await
}

/// The metrics explained.
pub(super) async fn docs(request: HttpRequest, shared: web::Data<HandlerContext>) -> HttpResponse {
    show(&request, &shared, |_| docs::page().render()).await
}

/// The effective configuration, redacted.
pub(super) async fn config(
    request: HttpRequest,
    shared: web::Data<HandlerContext>,
) -> HttpResponse {
    let context = shared.context.clone();
    let yaml = answer::run_blocking(move || {
        let yaml = context.config.now().to_yaml();
        context.secrets.redact(&yaml).into_owned()
    });
    match yaml.await {
        // As plain text browsers show it rather than save it.
        Ok(yaml) => HttpResponse::Ok()
            .content_type("text/plain; charset=utf-8")
            .body(yaml),
        Err(failure) => failure.answer(&request),
    }
}

/// Answers with a page; secrets that found their way into a sentence end here.
async fn show(
    request: &HttpRequest,
    shared: &HandlerContext,
    render: impl FnOnce(&Context) -> askama::Result<String> + Send + 'static,
) -> HttpResponse {
    let context = shared.context.clone();
    let page = answer::run_blocking(move || {
        let page = render(&context)?;
        Ok::<_, Failure>(context.secrets.redact(&page).into_owned())
    });
    match page.await.flatten() {
        Ok(page) => HttpResponse::Ok()
            .content_type("text/html; charset=utf-8")
            .insert_header((
                header::CONTENT_SECURITY_POLICY,
                CONTENT_SECURITY_POLICY.as_str(),
            ))
            .body(page),
        Err(failure) => failure.answer(request),
    }
}
