//! `POST /-/poll?project=…`: polls a project at once. Off by default.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};

use super::HandlerContext;
use super::answer;

/// The parameters of the request.
#[derive(Deserialize)]
struct Wanted {
    project: String,
}

/// The body of the answer.
#[derive(Serialize)]
struct Accepted<'a> {
    project: &'a str,
    status: &'static str,
}

/// Asks for the poll; it follows within a second, or after the one that is under way.
pub(super) async fn poll(request: HttpRequest, shared: web::Data<HandlerContext>) -> HttpResponse {
    let refuse = |status, sentence: &str| answer::refusal(request.headers(), status, sentence);
    let Ok(web::Query(Wanted { project })) = web::Query::from_query(request.query_string()) else {
        let sentence = "name a project, such as /-/poll?project=group/app";
        return refuse(StatusCode::BAD_REQUEST, sentence);
    };
    let (source, wanted) = (shared.context.status.clone(), project.clone());
    match answer::run_blocking(move || source.poll_now(&wanted)).await {
        // From the button on the status page, back to it.
        Ok(true) if answer::wants_html(request.headers()) => HttpResponse::SeeOther()
            .insert_header((header::LOCATION, "../"))
            .finish(),
        Ok(true) => HttpResponse::Accepted().json(Accepted {
            project: &shared.context.secrets.redact(&project),
            status: "poll requested",
        }),
        Ok(false) => refuse(
            StatusCode::NOT_FOUND,
            "no project with this full path or id is tracked",
        ),
        Err(failure) => failure.answer(&request),
    }
}
