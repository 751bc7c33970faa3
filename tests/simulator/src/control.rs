//! `/_control/…`: for other processes to move time and read what happened.

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;

use crate::server::State;
use crate::time::{self, Millis};

/// Routes of the control API.
pub fn routes(config: &mut web::ServiceConfig) {
    config.service(
        web::scope("/_control")
            .route("/state", web::get().to(show))
            .route("/advance", web::post().to(advance))
            .route("/ledger", web::get().to(ledger))
            .route("/ledger", web::delete().to(clear_ledger))
            .route("/requests", web::get().to(requests))
            .route("/requests", web::delete().to(reset_requests)),
    );
}

async fn show(state: web::Data<State>) -> HttpResponse {
    let world = state.world.read();
    HttpResponse::Ok().json(json!({
        "now": time::milliseconds(world.now()),
        "projects": world.projects().count(),
        "groups": world.groups().count(),
        "ledger_entries": world.ledger().entries().len(),
        "requests": state.requests.len(),
        "quirks": world.quirks,
    }))
}

#[derive(Deserialize)]
struct Advance {
    /// Seconds of world time.
    seconds: f64,
}

async fn advance(state: web::Data<State>, body: web::Json<Advance>) -> HttpResponse {
    let mut world = state.world.write();
    world.advance((body.seconds * 1_000.0) as Millis);
    HttpResponse::Ok().json(json!({"now": time::milliseconds(world.now())}))
}

async fn ledger(state: web::Data<State>) -> HttpResponse {
    HttpResponse::Ok().json(state.world.read().ledger().entries())
}

async fn clear_ledger(state: web::Data<State>) -> HttpResponse {
    state.world.write().ledger_mut().clear();
    HttpResponse::NoContent().finish()
}

async fn requests(state: web::Data<State>) -> HttpResponse {
    HttpResponse::Ok()
        .json(json!({"counts": state.requests.counts(), "requests": state.requests.all()}))
}

async fn reset_requests(state: web::Data<State>) -> HttpResponse {
    state.requests.reset();
    HttpResponse::NoContent().finish()
}
