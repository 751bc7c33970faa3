//! `POST /api/graphql`.

use std::collections::HashMap;
use std::sync::Mutex;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use async_graphql::{Request, Variables};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Asked;
use crate::access::Viewer;
use crate::auth::TokenState;
use crate::server::{Operation, State, token_value};

/// A query as it is posted.
#[derive(Debug, Deserialize)]
struct Posted {
    query: Option<String>,
    #[serde(default, rename = "operationName")]
    operation_name: Option<String>,
    #[serde(default)]
    variables: Value,
}

fn errors(status: StatusCode, message: &str) -> HttpResponse {
    HttpResponse::build(status).json(json!({"errors": [{"message": message}]}))
}

/// Who asks, or GitLab's refusal.
fn viewer(request: &HttpRequest, state: &State) -> Result<Viewer, HttpResponse> {
    let world = state.world.read();
    let Some(value) = token_value(request) else {
        return Ok(Viewer { token: None });
    };
    match world.token(&value) {
        Some(token) if token.state(world.now()) == TokenState::Active && token.reads_api() => {
            Ok(Viewer {
                token: Some(token.clone()),
            })
        }
        _ => Err(errors(StatusCode::UNAUTHORIZED, "Invalid token")),
    }
}

/// Answers a query.
pub async fn answer(
    request: HttpRequest,
    state: web::Data<State>,
    body: web::Bytes,
) -> HttpResponse {
    let viewer = match viewer(&request, &state) {
        Ok(viewer) => viewer,
        Err(refusal) => return refusal,
    };
    let Ok(posted) = serde_json::from_slice::<Posted>(&body) else {
        return HttpResponse::BadRequest()
            .json(json!({"error": "The request body is not valid JSON"}));
    };
    let Some(query) = posted.query else {
        return errors(StatusCode::OK, "No query string was present");
    };
    let name = posted
        .operation_name
        .clone()
        .or_else(|| operation_name(&query));
    let operation = Operation {
        name: name.unwrap_or_else(|| "anonymous".to_owned()),
        variables: posted.variables.clone(),
    };
    let quirks = state.world.read().quirks.clone();
    let admin = viewer.token.as_ref().is_some_and(|token| token.admin);
    let complexity_limit = if admin {
        300
    } else if viewer.token.is_some() {
        250
    } else {
        200
    };
    let asked = Asked {
        shared: state.world.clone(),
        viewer,
        quirks,
        base_url: state.base_url.clone(),
        complexity_score: 0,
        complexity_limit,
        first_parents: Mutex::new(HashMap::new()),
    };
    let mut graphql = Request::new(query)
        .variables(Variables::from_json(posted.variables))
        .data(asked);
    if let Some(name) = posted.operation_name {
        graphql = graphql.operation_name(name);
    }
    let response = state.schema.execute(graphql).await;
    let mut answer = HttpResponse::Ok().json(&response);
    answer.extensions_mut().insert(operation);
    answer
}

/// The name of the only operation in a query text.
fn operation_name(query: &str) -> Option<String> {
    let document = async_graphql::parser::parse_query(query).ok()?;
    let (name, _) = document.operations.iter().next()?;
    name.map(ToString::to_string)
}
