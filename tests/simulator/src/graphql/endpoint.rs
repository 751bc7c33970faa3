//! `POST /api/graphql`, one query or an array of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix_web::http::{Method, StatusCode};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use async_graphql::parser::types::ExecutableDocument;
use async_graphql::{Request, Variables};
use serde::Deserialize;
use serde_json::{Value, json};

use super::analysis::{self, Analysis, Rules};
use super::page::NO_CURSOR;
use super::plan::{self, Plan};
use super::{Asked, FirstParents, introduced, validation};
use crate::access::Viewer;
use crate::auth::TokenState;
use crate::cost::graphql::{self as costs, Lists};
use crate::cost::{Charge, Cost, prices};
use crate::server::{State, token_value};
use crate::workers::GRAPHQL_LIMIT;

/// Characters that the texts of all queries of a request may have together.
const MAX_QUERY_SIZE: usize = 10_000;

/// What the queries of a request may cost, where that is less than usual.
#[derive(Clone, Copy)]
pub(crate) struct MaxComplexity(pub i32);

/// What the queries of a request cost together.
#[derive(Clone, Copy)]
pub(crate) struct Score(pub i32);

/// What an answer cost, which is in the ledger already, and how many seconds it took where the workers
/// behave.
#[derive(Clone, Copy)]
pub(crate) struct Charged {
    pub cost: Cost,
    pub seconds: Option<f64>,
}

/// A query as it is posted.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Posted {
    pub query: Option<String>,
    #[serde(default, rename = "operationName")]
    pub operation_name: Option<String>,
    #[serde(default)]
    pub variables: Value,
}

impl Posted {
    /// The operation's name; `anonymous` where it has none.
    pub fn name(&self) -> String {
        let from_text = || {
            let document = async_graphql::parser::parse_query(self.query.as_deref()?).ok()?;
            let (name, _) = document.operations.iter().next()?;
            name.map(ToString::to_string)
        };
        self.operation_name
            .clone()
            .or_else(from_text)
            .unwrap_or_else(|| "anonymous".to_owned())
    }
}

/// The queries in a body; `true`: they came as an array. An empty body is a query without text.
pub(crate) fn read(body: &[u8]) -> Result<(Vec<Posted>, bool), serde_json::Error> {
    let body = if body.is_empty() { b"{}" } else { body };
    let body: Value = serde_json::from_slice(body)?;
    if body.is_array() {
        return Ok((serde_json::from_value(body)?, true));
    }
    Ok((vec![serde_json::from_value(body)?], false))
}

fn errors(status: StatusCode, message: &str) -> HttpResponse {
    HttpResponse::build(status).json(json!({"errors": [{"message": message}]}))
}

/// Who asks; `None` for a token that GitLab refuses.
fn viewer(request: &HttpRequest, state: &State) -> Option<Viewer> {
    let world = state.world.read();
    let Some(value) = token_value(request) else {
        return Some(Viewer::new(&world, None));
    };
    let token = world.token(&value)?;
    let accepted =
        token.state(world.now()) == TokenState::Active && token.reads_api() && !token.blocked;
    accepted.then(|| Viewer::new(&world, Some(token.clone())))
}

/// A query in the query string.
fn in_query(request: &HttpRequest) -> Posted {
    let found = web::Query::<Vec<(String, String)>>::from_query(request.query_string());
    let found = found.map(web::Query::into_inner).unwrap_or_default();
    let value = |name: &str| {
        let found = found.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.clone())
    };
    let variables = value("variables").and_then(|text| serde_json::from_str(&text).ok());
    Posted {
        query: value("query"),
        operation_name: value("operationName"),
        variables: variables.unwrap_or_default(),
    }
}

/// A query that was looked at: ready to run, or refused.
struct Checked {
    posted: Posted,
    variables: Variables,
    verdict: Result<Analysis, Value>,
    plan: Plan,
    /// What is run.
    document: Option<ExecutableDocument>,
    /// Fields that are null, for they are marked as newer.
    absent: Vec<introduced::Keys>,
}

/// The answer to a query, and what its cost follows from.
struct Answered {
    plan: Plan,
    lists: Lists,
    answer: Value,
}

/// Answers queries.
pub async fn answer(
    request: HttpRequest,
    state: web::Data<State>,
    body: web::Bytes,
) -> HttpResponse {
    let Some(viewer) = viewer(&request, &state) else {
        return errors(StatusCode::UNAUTHORIZED, "Invalid token");
    };
    let asked = if request.method() == Method::GET {
        Ok((vec![in_query(&request)], false))
    } else {
        read(&body)
    };
    let Ok((posted, multiplex)) = asked else {
        return HttpResponse::BadRequest().json(json!({"error": "Invalid JSON format"}));
    };
    let (quirks, rules) = {
        let world = state.world.read();
        let rules = Rules {
            enterprise: world.enterprise || !world.quirks.enterprise_fields_missing_on_ce,
            release: world.version_numbers(),
            introspection: !world.quirks.no_introspection,
        };
        (world.quirks.clone(), rules)
    };
    let size: usize = posted
        .iter()
        .filter_map(|posted| posted.query.as_ref())
        .map(String::len)
        .sum();
    if quirks.query_size_limit && size > MAX_QUERY_SIZE {
        return errors(StatusCode::UNPROCESSABLE_ENTITY, "Query too large");
    }
    let mut checked: Vec<Checked> = posted
        .into_iter()
        .map(|posted| check(&state, posted, rules))
        .collect();
    let complexity_limit = match &viewer.token {
        None => 200,
        Some(token) if token.admin => 300,
        Some(_) => 250,
    };
    let lowered = request.extensions().get::<MaxComplexity>().copied();
    let complexity_limit = lowered.map_or(complexity_limit, |MaxComplexity(limit)| limit);
    let score = checked
        .iter()
        .filter_map(|one| one.verdict.as_ref().ok())
        .map(|one| one.complexity)
        .sum::<f64>() as i32;
    let depth_limit = if viewer.token.is_some() { 20 } else { 15 };
    for one in &mut checked {
        let Ok(analysis) = &one.verdict else { continue };
        let refusal = if quirks.complexity_limit && score > complexity_limit {
            format!(
                "Query has complexity of {score}, which exceeds max complexity of {complexity_limit}"
            )
        } else if quirks.depth_limit && analysis.depth > depth_limit {
            format!(
                "Query has depth of {}, which exceeds max depth of {depth_limit}",
                analysis.depth
            )
        } else if quirks.recursion_limit
            && let Some(field) = &analysis.recursive_field
        {
            format!(
                "Recursive query - too many of fields '{{\"{field}\"=>3}}' detected\nin single branch of the query\")\n"
            )
        } else {
            continue;
        };
        one.verdict = Err(json!({"errors": [{"message": refusal}]}));
    }
    let first_parents = FirstParents::default();
    let failed: Arc<AtomicBool> = Arc::default();
    let name = checked.first().map(|one| one.posted.name());
    let mut answered = Vec::with_capacity(checked.len());
    for one in checked {
        let asked = Asked {
            shared: state.world.clone(),
            viewer: viewer.clone(),
            quirks: quirks.clone(),
            base_url: state.base_url.clone(),
            complexity_score: score,
            complexity_limit,
            first_parents: first_parents.clone(),
            failed: failed.clone(),
            lists: Lists::default(),
            fingerprint: format!(
                "{}/{}",
                one.posted.name(),
                one.posted.query.as_deref().unwrap_or_default()
            ),
        };
        answered.push(run(&state, one, asked).await);
    }
    let charged = settle(&state, &name.unwrap_or_default(), &mut answered).await;
    let mut answers: Vec<Value> = answered.into_iter().map(|one| one.answer).collect();
    if failed.load(Ordering::SeqCst) {
        let mut response = errors(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error");
        response.extensions_mut().insert(charged);
        return response;
    }
    let mut response = match answers.pop() {
        Some(only) if !multiplex => HttpResponse::Ok().json(only),
        last => {
            answers.extend(last);
            HttpResponse::Ok().json(answers)
        }
    };
    response.extensions_mut().insert(Score(score));
    response.extensions_mut().insert(charged);
    response
}

/// Charges what the answers cost, and waits as long as GitLab's workers need for them. Where that is too
/// long the answers are cut.
async fn settle(state: &State, operation: &str, answered: &mut [Answered]) -> Charged {
    let floor = || {
        let mut charge = Charge::request();
        charge.pay(None, prices::floor("graphql"));
        charge
    };
    let mut charge = floor();
    {
        let world = state.world.read();
        for one in answered.iter_mut() {
            if let Some(data) = one.answer.get_mut("data") {
                costs::charge(&world, &one.plan, &one.lists, data, &mut charge);
            }
        }
        state.costs.add(operation, world.now(), &charge);
    }
    let cost = charge.total;
    let Some(ended) = state.workers.work(&cost, GRAPHQL_LIMIT).await else {
        let seconds = None;
        return Charged { cost, seconds };
    };
    if ended.done < 1.0 {
        let world = state.world.read();
        let budget = ended.done * (cost.cpu_ms + cost.database_ms);
        let mut charge = floor();
        for one in answered {
            let Some(data) = one.answer.get_mut("data") else {
                continue;
            };
            let errors = costs::cut(&world, &one.plan, &one.lists, data, &mut charge, budget);
            match one.answer["errors"].as_array_mut() {
                Some(known) => known.extend(errors),
                None => one.answer["errors"] = errors.into(),
            }
        }
    }
    let seconds = Some(ended.seconds);
    Charged { cost, seconds }
}

fn check(state: &State, posted: Posted, rules: Rules) -> Checked {
    let variables = Variables::from_json(posted.variables.clone());
    let mut plan = Plan::default();
    let (mut parsed, mut absent) = (None, Vec::new());
    let verdict = match &posted.query {
        None => Err(no_document()),
        Some(query) if query.trim().is_empty() => Err(no_document()),
        Some(query) => match async_graphql::parser::parse_query(query) {
            Err(error) => Err(parse_error(&error)),
            Ok(mut document) => {
                absent = introduced::take_out(&mut document, rules.release);
                let name = posted.operation_name.as_deref();
                if let Some((_, operation)) = analysis::operation(&document, name) {
                    plan = plan::plan(&state.types, &document, &operation.node, &variables);
                }
                let verdict = look(state, &document, &posted, &variables, rules);
                parsed = Some(document);
                verdict
            }
        },
    };
    Checked {
        posted,
        variables,
        verdict,
        plan,
        document: parsed,
        absent,
    }
}

/// A cursor that is none is an error of each field below its connection that asks for rows, and the
/// connection is null.
fn spread_cursor_errors(plan: &Plan, answer: &mut Value) {
    let errors = answer.get_mut("errors").and_then(Value::as_array_mut);
    let Some(errors) = errors else {
        return;
    };
    let mut spread = Vec::with_capacity(errors.len());
    for error in std::mem::take(errors) {
        let path = error["path"].as_array().cloned().unwrap_or_default();
        let connection = path
            .iter()
            .filter_map(Value::as_str)
            .try_fold(plan, |at, key| {
                at.below.iter().find(|below| below.key == key)
            });
        match connection.filter(|_| error["message"] == NO_CURSOR) {
            Some(connection) => spread.extend(connection.below.iter().filter_map(|field| {
                let mut path = path.clone();
                path.push(field.key.as_str().into());
                match field.name.as_str() {
                    "nodes" | "edges" => {}
                    "pageInfo" => path.push(field.below.first()?.key.as_str().into()),
                    _ => return None,
                }
                Some(json!({"message": NO_CURSOR, "locations": error["locations"], "path": path}))
            })),
            None => spread.push(error),
        }
    }
    *errors = spread;
}

/// Shows fields with errors as null; where there can be none, the object that holds the field is null.
fn show_nulls(answer: &mut Value) {
    let Some(errors) = answer["errors"].as_array().cloned() else {
        return;
    };
    let mut kept: Vec<Value> = Vec::with_capacity(errors.len());
    let mut nulled: Vec<Vec<Value>> = Vec::new();
    for error in errors {
        let path = error["path"].as_array().cloned().unwrap_or_default();
        let Some((last, above)) = path.split_last() else {
            kept.push(error);
            continue;
        };
        let message = error["message"].as_str().unwrap_or_default();
        let place = above
            .iter()
            .try_fold(&mut answer["data"], |at, step| match step {
                Value::String(key) => at.get_mut(key),
                step => at.get_mut(usize::try_from(step.as_u64()?).ok()?),
            });
        if message.starts_with("Cannot return null for non-nullable field") {
            if let Some(place) = place {
                *place = Value::Null;
            }
            // One error for each object that became null.
            if nulled.contains(&above.to_vec()) {
                kept.retain(|other| {
                    let path = other["path"].as_array();
                    path.and_then(|path| path.split_last())
                        .map(|(_, above)| above)
                        != Some(above)
                });
            }
            nulled.push(above.to_vec());
        } else if let (Some(Value::Object(fields)), Value::String(key)) = (place, last) {
            fields.entry(key.clone()).or_insert(Value::Null);
        }
        kept.push(error);
    }
    answer["errors"] = kept.into();
}

fn no_document() -> Value {
    json!({"errors": [{"message": "Unexpected end of document", "locations": []}]})
}

fn parse_error(error: &async_graphql::parser::Error) -> Value {
    let locations: Vec<Value> = error
        .positions()
        .map(|at| json!({"line": at.line, "column": at.column}))
        .collect();
    json!({"errors": [{"message": format!("Parse error: {error}"), "locations": locations}]})
}

fn look(
    state: &State,
    document: &ExecutableDocument,
    posted: &Posted,
    variables: &Variables,
    rules: Rules,
) -> Result<Analysis, Value> {
    let name = posted.operation_name.as_deref();
    let Some((found, operation)) = analysis::operation(document, name) else {
        return Err(
            json!({"errors": [{"message": format!("No operation named {:?}", name.unwrap_or_default())}]}),
        );
    };
    let name = found.map(async_graphql::Name::as_str);
    // Only the standard introspection query is answered, and it is known by its name.
    let rules = Rules {
        introspection: rules.introspection || name == Some("IntrospectionQuery"),
        ..rules
    };
    let analysis = analysis::analyse(
        &state.types,
        document,
        &operation.node,
        name,
        variables,
        rules,
    );
    if !analysis.errors.is_empty() {
        return Err(json!({"errors": analysis.errors}));
    }
    let refused = validation::variables(&state.types, &operation.node, &posted.variables);
    if refused.is_empty() {
        Ok(analysis)
    } else {
        Err(json!({"errors": refused}))
    }
}

async fn run(state: &State, one: Checked, asked: Asked) -> Answered {
    let lists = asked.lists.clone();
    if let Err(answer) = one.verdict {
        let plan = Plan::default();
        return Answered {
            plan,
            lists,
            answer,
        };
    }
    let mut request = Request::new(one.posted.query.unwrap_or_default())
        .variables(one.variables)
        .data(asked);
    if let Some(document) = one.document {
        request.set_parsed_query(document);
    }
    if let Some(name) = one.posted.operation_name {
        request = request.operation_name(name);
    }
    let response = state.schema.execute(request).await;
    let mut answer = serde_json::to_value(&response).unwrap_or_default();
    if answer["data"].is_null()
        && let Some(fields) = answer.as_object_mut()
    {
        // Refused before it ran: GitLab then has no `data` at all.
        fields.remove("data");
    }
    show_nulls(&mut answer);
    spread_cursor_errors(&one.plan, &mut answer);
    for keys in &one.absent {
        if let Some(data) = answer.get_mut("data") {
            introduced::show(data, keys);
        }
    }
    Answered {
        plan: one.plan,
        lists,
        answer,
    }
}
