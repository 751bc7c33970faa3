//! GitLab's REST API v4, with its real paths.

mod code;
mod delivery;
mod entities;
mod grants;
pub mod hooks;
mod instance;
mod links;
mod merge_requests;
mod paging;
mod pipelines;
mod projects;
mod reports;
mod repository;
mod runners;

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::{FromRequest, HttpRequest, HttpResponse, ResponseError, web};
use serde_json::{Value, json};

use crate::access::{Right, Viewer};
use crate::auth::TokenState;
use crate::cost::rest::Rows;
use crate::quirks::Quirks;
use crate::server::State;
use crate::time::{self, Millis};
use crate::world::{Project, World};
use entities::View;

/// The user behind every token, and the author of everything.
pub const USERNAME: &str = "exporter-bot";
/// `revision` of the instance.
pub const REVISION: &str = "4ae5f3ac8a1";

/// Routes below `/api/v4`.
pub fn routes(config: &mut web::ServiceConfig) {
    runners::routes(config);
    hooks::routes(config);
    config
        .route("/metadata", web::get().to(instance::metadata))
        .route("/version", web::get().to(instance::version))
        .route("/user", web::get().to(instance::user))
        .route(
            "/personal_access_tokens/self",
            web::get().to(instance::token),
        )
        .route("/projects", web::get().to(projects::list))
        .route("/projects/{id}", web::get().to(projects::show))
        .route(
            "/projects/{id}/members/all/{user_id}",
            web::get().to(projects::member),
        )
        .route("/groups/{id}", web::get().to(projects::group))
        .route("/groups/{id}/projects", web::get().to(projects::of_group))
        .route("/users/{id}/projects", web::get().to(projects::of_user))
        .route("/projects/{id}/pipelines", web::get().to(pipelines::list))
        .route(
            "/projects/{id}/pipelines/{pipeline_id}",
            web::get().to(pipelines::show),
        )
        .route(
            "/projects/{id}/pipelines/{pipeline_id}/jobs",
            web::get().to(pipelines::jobs),
        )
        .route(
            "/projects/{id}/pipelines/{pipeline_id}/bridges",
            web::get().to(pipelines::bridges),
        )
        .route(
            "/projects/{id}/pipelines/{pipeline_id}/trigger_jobs",
            web::get().to(pipelines::bridges),
        )
        .route(
            "/projects/{id}/jobs",
            web::get().to(pipelines::project_jobs),
        )
        .route(
            "/projects/{id}/merge_requests",
            web::get().to(merge_requests::list),
        )
        .route(
            "/projects/{id}/merge_requests/{merge_request_iid}",
            web::get().to(merge_requests::show),
        )
        .route(
            "/projects/{id}/merge_requests/{merge_request_iid}/notes",
            web::get().to(merge_requests::notes),
        )
        .route(
            "/projects/{id}/merge_requests/{merge_request_iid}/approvals",
            web::get().to(merge_requests::approvals),
        )
        .route(
            "/projects/{id}/merge_requests/{merge_request_iid}/reviewers",
            web::get().to(merge_requests::reviewers),
        )
        .route(
            "/projects/{id}/repository/branches",
            web::get().to(repository::branches),
        )
        .configure(delivery::routes)
        .route(
            "/projects/{id}/repository/tags",
            web::get().to(repository::tags),
        )
        .configure(code::routes);
}

/// A refusal in GitLab's words.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No token, or one that GitLab does not know.
    #[error("401 Unauthorized")]
    Unauthorized,
    /// A token past its end, or withdrawn.
    #[error("invalid_token: {0}")]
    InvalidToken(&'static str),
    /// A token without a scope for the API; the text names those that would do.
    #[error("insufficient_scope")]
    InsufficientScope(&'static str),
    /// A fine-grained token without a permission; the text names it and what it is over.
    #[error("insufficient_granular_scope")]
    NotGranted(String),
    /// A user who may not sign in.
    #[error("403 Forbidden - Your account has been blocked.")]
    Blocked,
    /// A role that is too low.
    #[error("403 Forbidden")]
    Forbidden,
    /// Missing or invisible; the text names what.
    #[error("{0}")]
    NotFound(&'static str),
    /// The project has another path now; the text is where.
    #[error("moved to {0}")]
    Moved(String),
    /// A parameter whose value is none of those that there are.
    #[error("{0} does not have a valid value")]
    InvalidParameter(String),
    /// A parameter of another type.
    #[error("{0} is invalid")]
    Invalid(String),
    /// A parameter whose value is excluded.
    #[error("{0} has a value not allowed")]
    ValueNotAllowed(String),
    /// A parameter that must be there.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// An endpoint that there is not.
    #[error("404 Not Found")]
    NoRoute,
    /// GitLab failed.
    #[error("500 Internal Server Error")]
    Internal,
    /// Parameters that do not go together; the text says which.
    #[error("{0}")]
    BadRequest(&'static str),
    /// A method or a way of paging that is not offered here.
    #[error("{0}")]
    NotAllowed(&'static str),
}

pub(crate) use projects::is_found;

/// What a handler answers.
pub type Answer = Result<HttpResponse, ApiError>;

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Unauthorized | Self::InvalidToken(_) => StatusCode::UNAUTHORIZED,
            Self::InsufficientScope(_) | Self::NotGranted(_) | Self::Blocked | Self::Forbidden => {
                StatusCode::FORBIDDEN
            }
            Self::NotFound(_) | Self::NoRoute => StatusCode::NOT_FOUND,
            Self::Moved(_) => StatusCode::MOVED_PERMANENTLY,
            Self::InvalidParameter(_)
            | Self::Invalid(_)
            | Self::ValueNotAllowed(_)
            | Self::Missing(_)
            | Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut answer = HttpResponse::build(self.status_code());
        match self {
            Self::InvalidToken(description) => {
                let header = format!(
                    "Bearer realm=\"Protected by OAuth 2.0\", error=\"invalid_token\", \
                     error_description=\"{description}\""
                );
                answer.insert_header(("www-authenticate", header));
                answer.json(json!({"error": "invalid_token", "error_description": description}))
            }
            Self::InsufficientScope(scopes) => answer.json(json!({
                "error": "insufficient_scope",
                "error_description": "The request requires higher privileges than provided by the access token.",
                "scope": scopes,
            })),
            Self::NotGranted(permission) => answer.json(json!({
                "error": "insufficient_granular_scope",
                "error_description": format!(
                    "Access denied: This operation requires a fine-grained personal access token with the \
                     following {permission}."
                ),
            })),
            Self::Moved(location) => {
                answer.insert_header(("location", location.clone()));
                answer.body(format!("This resource has been moved permanently to {location}"))
            }
            Self::InvalidParameter(_)
            | Self::Invalid(_)
            | Self::ValueNotAllowed(_)
            | Self::Missing(_)
            | Self::NoRoute
            | Self::NotAllowed(_) => answer.json(json!({"error": self.to_string()})),
            Self::Unauthorized
            | Self::Blocked
            | Self::Forbidden
            | Self::NotFound(_)
            | Self::Internal
            | Self::BadRequest(_) => answer.json(json!({"message": self.to_string()})),
        }
    }
}

/// One request: who asks, for what.
pub struct Call {
    /// Everything behind the server.
    pub state: web::Data<State>,
    /// Who asks.
    pub viewer: Viewer,
    /// Query parameters in order; unknown ones are ignored, as GitLab does.
    pub query: Vec<(String, String)>,
    /// The world's habits when the request came.
    pub quirks: Quirks,
    request: HttpRequest,
}

impl FromRequest for Call {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::read(request))
    }
}

impl Call {
    fn read(request: &HttpRequest) -> Result<Self, ApiError> {
        let state = request
            .app_data::<web::Data<State>>()
            .cloned()
            .ok_or(ApiError::NotFound("404 Not Found"))?;
        let (viewer, quirks) = {
            let world = state.world.read();
            (signed_in(&world, request)?, world.quirks.clone())
        };
        let query = web::Query::<Vec<(String, String)>>::from_query(request.query_string())
            .map(web::Query::into_inner)
            .unwrap_or_default();
        Ok(Self {
            state,
            viewer,
            query,
            quirks,
            request: request.clone(),
        })
    }

    /// A query parameter.
    fn parameter(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .rev()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// A query parameter that is a list, `name[]=a&name[]=b`; a single `name=a` counts too.
    fn list(&self, name: &str) -> Vec<&str> {
        let array = format!("{name}[]");
        self.query
            .iter()
            .filter(|(key, _)| key == name || *key == array)
            .map(|(_, value)| value.as_str())
            .collect()
    }

    /// A query parameter that is true or false.
    fn flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.parameter(name) {
            None | Some("") => Ok(None),
            Some("true" | "1") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(_) => Err(ApiError::Invalid(name.to_owned())),
        }
    }

    /// A query parameter that is one of these.
    fn choice(&self, name: &str, values: &[&str]) -> Result<Option<&str>, ApiError> {
        match self.parameter(name) {
            None => Ok(None),
            Some(value) if values.contains(&value) => Ok(Some(value)),
            Some(_) => Err(ApiError::InvalidParameter(name.to_owned())),
        }
    }

    /// A query parameter that is a time.
    fn time(&self, name: &str) -> Result<Option<Millis>, ApiError> {
        match self.parameter(name) {
            None | Some("") => Ok(None),
            Some(text) => time::parse(text)
                .map(Some)
                .ok_or_else(|| ApiError::Invalid(name.to_owned())),
        }
    }

    /// A part of the path, decoded.
    fn segment(&self, name: &str) -> String {
        let raw = self.request.match_info().get(name).unwrap_or_default();
        percent_decode(raw)
    }

    /// A part of the path that is a number; everything else is not found.
    fn number(&self, name: &str) -> Result<u64, ApiError> {
        self.segment(name)
            .parse()
            .map_err(|_| ApiError::NotFound("404 Not Found"))
    }

    /// The token must be there.
    fn signed_in(&self) -> Result<&crate::auth::Token, ApiError> {
        self.viewer.token.as_ref().ok_or(ApiError::Unauthorized)
    }

    /// The project that `:id` names, by id or path, if it exists for the viewer.
    fn project<'w>(&self, world: &'w World) -> Result<&'w Project, ApiError> {
        let missing = || {
            ApiError::NotFound(if self.is_granular() {
                "404 Not Found"
            } else {
                "404 Project Not Found"
            })
        };
        let id = self.segment("id");
        let by_id = id.parse().ok().and_then(|id| world.project(id));
        let found = by_id.or_else(|| world.project_by_path(&id));
        if let Some(project) = found {
            return if self.viewer.sees(project) {
                self.within_grants(world, project)?;
                Ok(project)
            } else {
                Err(missing())
            };
        }
        let moved = world
            .project_by_former_path(&id)
            .filter(|project| self.viewer.sees(project))
            .ok_or_else(missing)?;
        if !self.quirks.moved_permanently {
            return Ok(moved);
        }
        let old = self.request.match_info().get("id").unwrap_or_default();
        let target = self
            .request
            .uri()
            .to_string()
            .replacen(old, &moved.id.to_string(), 1);
        Err(ApiError::Moved(format!("{}{target}", self.state.base_url)))
    }

    /// The project that `:id` names, if the viewer may see this of it. Some things GitLab shows to nobody
    /// without a token, not even of public projects.
    fn reading<'w>(&self, world: &'w World, right: Right) -> Result<&'w Project, ApiError> {
        let signed_in_only = matches!(
            right,
            Right::Environments | Right::Deployments | Right::Schedules | Right::Runners
        );
        if signed_in_only {
            self.signed_in()?;
        }
        let project = self.project(world)?;
        self.granted(world, project, right)?;
        if self.viewer.may(project, right) {
            Ok(project)
        } else {
            Err(ApiError::Forbidden)
        }
    }

    /// What an entity depends on besides itself.
    fn view<'a>(&'a self, world: &'a World) -> View<'a> {
        View {
            world,
            viewer: &self.viewer,
            base_url: self.base_url(),
        }
    }

    /// Where the instance is reached.
    fn base_url(&self) -> &str {
        &self.state.base_url
    }
}

/// Who asks, unless the token is refused.
fn signed_in(world: &World, request: &HttpRequest) -> Result<Viewer, ApiError> {
    let Some(value) = crate::server::token_value(request) else {
        return Ok(Viewer::new(world, None));
    };
    let token = world.token(&value).ok_or(ApiError::Unauthorized)?;
    match token.state(world.now()) {
        TokenState::Active => {}
        TokenState::Expired => {
            return Err(ApiError::InvalidToken(
                "Token is expired. You can either do re-authorization or token refresh.",
            ));
        }
        TokenState::Revoked => {
            return Err(ApiError::InvalidToken(
                "Token was revoked. You have to re-authorize from the user.",
            ));
        }
    }
    let path = request.path();
    let (enough, scopes) = grants::scopes(path);
    if !token.reads_api() && !token.has_scope(enough) {
        let id = percent_decode(path.split('/').nth(4).unwrap_or_default());
        let by_id = id.parse().ok().and_then(|id| world.project(id));
        let is_there = by_id.or_else(|| world.project_by_path(&id)).is_some();
        if grants::looks_for_project(path) && !is_there {
            return Err(ApiError::NotFound("404 Project Not Found"));
        }
        return Err(ApiError::InsufficientScope(scopes));
    }
    if token.blocked {
        return Err(ApiError::Blocked);
    }
    Ok(Viewer::new(world, Some(token.clone())))
}

/// Decodes `%2F` and its kind, which the router leaves alone.
pub(crate) fn percent_decode(raw: &str) -> String {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let code = tail
            .get(..2)
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (first, code) {
            (b'%', Some(code)) => {
                bytes.push(code);
                rest = tail.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Notes how many rows the database reads for a list.
fn having_read(answer: Answer, rows: u64) -> Answer {
    answer.map(|mut answer| {
        let mut extensions = answer.extensions_mut();
        if let Some(noted) = extensions.get_mut::<Rows>() {
            noted.read = rows;
        }
        drop(extensions);
        answer
    })
}

fn ok(body: &Value) -> Answer {
    Ok(HttpResponse::Ok().json(body))
}
