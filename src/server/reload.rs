//! `POST /-/reload`: reads the configuration again. Off by default.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;

use super::HandlerContext;
use super::answer;
use crate::config::Changes;

/// Reads the configuration again.
pub trait Reload: Send + Sync {
    /// What changed, or why nothing did. It waits for files, and for another reload under way.
    ///
    /// # Errors
    /// Everything that is wrong with the configuration, as sentences.
    fn reload(&self) -> Result<Changes, String>;
}

/// The body of the answer.
#[derive(Serialize)]
struct Reloaded {
    status: &'static str,
    /// Changed settings that hold from now on.
    applied: Vec<String>,
    /// Those that hold after a restart.
    needs_restart: Vec<String>,
}

/// Reloads, and says what became of it.
pub(super) async fn reload(
    request: HttpRequest,
    shared: web::Data<HandlerContext>,
) -> HttpResponse {
    let refuse = |status, sentence: &str| {
        let sentence = shared.context.secrets.redact(sentence);
        answer::refusal(request.headers(), status, &sentence)
    };
    let Some(reload) = shared.context.reload.clone() else {
        let sentence = "this exporter was started without a configuration that could be read again";
        return refuse(StatusCode::NOT_IMPLEMENTED, sentence);
    };
    match answer::run_blocking(move || reload.reload()).await {
        Ok(Ok(changes)) => HttpResponse::Ok().json(Reloaded {
            status: "reloaded",
            applied: changes.applied,
            needs_restart: changes.needs_restart,
        }),
        Ok(Err(why)) => {
            let sentence = format!("the configuration was not reloaded: {why}");
            refuse(StatusCode::INTERNAL_SERVER_ERROR, &sentence)
        }
        Err(failure) => failure.answer(&request),
    }
}
