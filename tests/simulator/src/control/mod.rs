//! `/_control/…`: for other processes to move time, change the world, break answers and read what
//! happened. JSON in, JSON out; what is refused answers 422 with `{"error": …}`.

mod operation;

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;

use crate::faults::Rule;
use crate::limits::{Clock, Limit};
use crate::quirks::Quirks;
use crate::server::State;
use crate::time::{self, Millis};

pub use operation::Operation;

/// Routes of the control API.
pub fn routes(config: &mut web::ServiceConfig) {
    config.service(
        web::scope("/_control")
            .route("/state", web::get().to(show))
            .route("/advance", web::post().to(advance))
            .route("/operations", web::post().to(operate))
            .route("/quirks", web::put().to(set_quirks))
            .route("/ledger", web::get().to(ledger))
            .route("/ledger", web::delete().to(clear_ledger))
            .route("/requests", web::get().to(requests))
            .route("/requests", web::delete().to(reset_requests))
            .route("/faults", web::get().to(faults))
            .route("/faults", web::post().to(add_fault))
            .route("/faults", web::delete().to(clear_faults))
            .route("/limits", web::put().to(set_limits))
            .route("/costs", web::get().to(costs))
            .route("/costs", web::delete().to(reset_costs))
            .route("/workers", web::get().to(workers))
            .route("/workers", web::put().to(set_workers)),
    );
}

async fn show(state: web::Data<State>) -> HttpResponse {
    let world = state.world.read();
    HttpResponse::Ok().json(json!({
        "now": time::milliseconds(world.now()),
        "now_ms": world.now(),
        "version": world.version,
        "enterprise": world.enterprise,
        "groups": world.groups().collect::<Vec<_>>(),
        "projects": world.projects().map(|project| json!({"id": project.id, "path": project.full_path})).collect::<Vec<_>>(),
        "ledger_entries": world.ledger().entries().len(),
        "requests": state.requests.len(),
        "quirks": world.quirks,
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    /// Seconds of world time.
    seconds: f64,
}

async fn advance(state: web::Data<State>, body: web::Json<Advance>) -> HttpResponse {
    let mut world = state.world.write();
    world.advance((body.seconds * 1_000.0) as Millis);
    HttpResponse::Ok().json(json!({"now": time::milliseconds(world.now()), "now_ms": world.now()}))
}

async fn operate(state: web::Data<State>, body: web::Json<Operation>) -> HttpResponse {
    match body.into_inner().perform(&mut state.world.write()) {
        Ok(result) => HttpResponse::Ok().json(json!({"result": result})),
        Err(error) => HttpResponse::UnprocessableEntity().json(json!({"error": error.to_string()})),
    }
}

async fn set_quirks(state: web::Data<State>, body: web::Json<Quirks>) -> HttpResponse {
    state.world.write().quirks = body.into_inner();
    HttpResponse::NoContent().finish()
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

async fn faults(state: web::Data<State>) -> HttpResponse {
    let list = state.faults.list();
    let list: Vec<_> = list
        .iter()
        .map(|(id, rule, hits)| json!({"id": id, "rule": rule, "hits": hits}))
        .collect();
    HttpResponse::Ok().json(list)
}

async fn add_fault(state: web::Data<State>, body: web::Json<Rule>) -> HttpResponse {
    HttpResponse::Created().json(json!({"id": state.faults.add(body.into_inner())}))
}

async fn clear_faults(state: web::Data<State>) -> HttpResponse {
    state.faults.clear();
    HttpResponse::NoContent().finish()
}

async fn costs(state: web::Data<State>) -> HttpResponse {
    HttpResponse::Ok().json(state.costs.report())
}

async fn reset_costs(state: web::Data<State>) -> HttpResponse {
    state.costs.reset();
    HttpResponse::NoContent().finish()
}

async fn workers(state: web::Data<State>) -> HttpResponse {
    HttpResponse::Ok().json(state.workers.report())
}

/// Starts workers, or with `null` stops them.
async fn set_workers(
    state: web::Data<State>,
    body: web::Json<Option<crate::workers::Settings>>,
) -> HttpResponse {
    state.workers.set(body.into_inner());
    HttpResponse::NoContent().finish()
}

/// What to change of the limits; what is left out stays.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangedLimits {
    clock: Option<Clock>,
    /// `null` switches the throttle off.
    #[serde(default, deserialize_with = "present")]
    throttle: Option<Option<Limit>>,
    /// By endpoint template; `null` lifts the limit.
    #[serde(default)]
    application: std::collections::BTreeMap<String, Option<Limit>>,
}

/// Tells `null` from a key that is missing.
fn present<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<Limit>>, D::Error> {
    Option::<Limit>::deserialize(deserializer).map(Some)
}

async fn set_limits(state: web::Data<State>, body: web::Json<ChangedLimits>) -> HttpResponse {
    let changed = body.into_inner();
    if let Some(clock) = changed.clock {
        state.limits.set_clock(clock);
    }
    if let Some(throttle) = changed.throttle {
        state.limits.set_throttle(throttle);
    }
    for (endpoint, limit) in changed.application {
        state.limits.set_application_limit(&endpoint, limit);
    }
    HttpResponse::NoContent().finish()
}
