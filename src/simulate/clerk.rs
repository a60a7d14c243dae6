//! Clerk's stand-in: the calls on users of its Backend API, and what it delivers.

mod list;
mod refusal;
mod render;

use super::acts::{self, Unchanged, change_details, patch};
use super::answers::json_text;
use super::ids::IdForm;
use super::people::Details;
use super::query::Query;
use super::shared::{ApiState, Shared};
use super::vendor::{Notice, UserEvent, Vendor};
use super::world::{Person, Truth, World};
use crate::core::timestamp::Timestamp;
use crate::source::signature::Scheme;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use list::{count, list};
use refusal::Refusal;
use render::rendered;
use serde_json::{Map, Value, json};
use std::sync::Arc;

pub(super) struct ClerkStandIn;

const VERSIONS: [&str; 5] = ["2021-02-05", "2024-10-01", "2025-04-10", "2025-11-10", "2026-05-12"];

impl Vendor for ClerkStandIn {
    fn name(&self) -> &'static str {
        "clerk"
    }

    fn scheme(&self) -> Scheme {
        Scheme::Standard
    }

    fn id_form(&self) -> IdForm {
        IdForm::Prefixed
    }

    fn requests_max(&self, secret_key: &str) -> u32 {
        if is_live(secret_key) { 1_000 } else { 100 }
    }

    fn data(&self, world: &World, person: &Person, event: UserEvent) -> String {
        match event {
            UserEvent::Deleted => {
                json!({"object": "user", "id": world.id(person.number), "deleted": true}).to_string()
            }
            UserEvent::Created | UserEvent::Updated => rendered(world, person),
        }
    }

    fn body(&self, notice: &Notice, _message_id: &str) -> String {
        format!(
            r#"{{"data":{},"object":"event","type":"{}","timestamp":{},"instance_id":"{}","event_attributes":{{"http_request":{{"client_ip":"","user_agent":"simulate"}}}}}}"#,
            notice.data,
            notice.event.name(),
            notice.at.ms(),
            notice.instance
        )
    }

    fn truth(&self, _world: &World, _person: &Person, whole: Truth) -> Truth {
        whole
    }

    fn refuse(&self, status: StatusCode, code: &str, message: &str) -> Response {
        refusal::error(status, code, message)
    }

    fn not_found(&self) -> Response {
        self.refuse(StatusCode::NOT_FOUND, "resource_not_found", "User not found")
    }

    fn refuse_key(&self) -> Response {
        let message = "The provided Clerk Secret Key is invalid.";
        self.refuse(StatusCode::UNAUTHORIZED, "clerk_key_invalid", message)
    }
}

/// Whether it is the key of a production instance.
fn is_live(secret_key: &str) -> bool {
    secret_key.starts_with("sk_live_")
}

pub(super) fn router() -> Router<Arc<Shared>> {
    let user = get(get_user).patch(patch_user).delete(delete_user);
    Router::new()
        .route("/v1/instance", get(get_instance))
        .route("/v1/users", get(list_users).post(create_user))
        .route("/v1/users/count", get(count_users))
        .route("/v1/users/{id}", user)
        .route("/v1/users/{id}/metadata", axum::routing::patch(patch_metadata))
        .route("/v1/users/{id}/{act}", post(act_on_user))
        .fallback(|| async { Refusal::not_found("The resource") })
        .layer(middleware::from_fn(versioned))
}

/// Which version is asked for.
async fn versioned(request: Request, next: Next) -> Response {
    match check_version(&request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// By header or by query, not by both.
fn check_version(request: &Request) -> Result<(), Refusal> {
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let by_header = request.headers().get("clerk-api-version").and_then(|value| value.to_str().ok());
    let by_query = query.first("__clerk_api_version");
    let valid = match (by_header, by_query) {
        (Some(_), Some(_)) => false,
        (Some(version), None) | (None, Some(version)) => VERSIONS.contains(&version),
        (None, None) => true,
    };
    let wrong = "The API version is not valid.";
    valid.then_some(()).ok_or(Refusal::new(StatusCode::BAD_REQUEST, "clerk_api_version_invalid", wrong))
}

async fn get_instance(State(shared): ApiState) -> Response {
    let id = shared.faults().instance.unwrap_or_else(|| shared.instance.clone());
    let kind = if is_live(&shared.secret_key) { "production" } else { "development" };
    let instance = json!({"object": "instance", "id": id, "environment_type": kind, "allowed_origins": null, "workspace_id": null});
    json_text(instance.to_string())
}

async fn list_users(State(shared): ApiState, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let query = Query::parse(&query.unwrap_or_default());
    let faults = shared.faults();
    list(&shared.world(), &query, &faults).map(json_text)
}

async fn count_users(State(shared): ApiState, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let query = Query::parse(&query.unwrap_or_default());
    let faults = shared.faults();
    count(&shared.world(), &query, &faults).map(json_text)
}

async fn get_user(State(shared): ApiState, Path(id): Path<String>) -> Result<Response, Refusal> {
    let absent = shared.faults().all_absent;
    let world = shared.world();
    let person = world.alive(&id).filter(|_| !absent).ok_or_else(|| Refusal::not_found("User"))?;
    Ok(json_text(rendered(&world, person)))
}

async fn create_user(State(shared): ApiState, body: Bytes) -> Result<Response, Refusal> {
    let fields = fields(&body)?;
    let mut details = Details::default();
    for (name, list) in [("email_address", &mut details.emails), ("phone_number", &mut details.phones)] {
        let values = fields.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
        list.extend(values.into_iter().filter_map(|value| value.as_str().map(str::to_owned)));
    }
    patch(&mut details, &fields)?;
    let now_ms = shared.now_ms();
    let created_at = fields.get("created_at").and_then(Value::as_str).and_then(Timestamp::parse);
    let mut world = shared.world();
    acts::check_free(&world, &details, None)?;
    let created_ms = created_at.map_or(now_ms, Timestamp::ms);
    let number = world.add(created_ms, now_ms, Some(details));
    if fields.get("banned") == Some(&Value::Bool(true)) {
        world.change(number, now_ms, |person| person.banned = true);
    }
    answer(&shared, &world, number, UserEvent::Created)
}

async fn patch_user(
    State(shared): ApiState,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let fields = fields(&body)?;
    if let Some(field) = ["public_metadata", "private_metadata", "unsafe_metadata"]
        .into_iter()
        .find(|field| fields.contains_key(*field))
    {
        let since = format!("{field} is not accepted since 2026-05-12; use /metadata");
        return Err(Refusal::unprocessable("form_param_unknown", since));
    }
    change(&shared, &id, |details| patch(details, &fields))
}

async fn patch_metadata(
    State(shared): ApiState,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let fields = fields(&body)?;
    change(&shared, &id, |details| {
        for (name, metadata) in [
            ("public_metadata", &mut details.public_metadata),
            ("private_metadata", &mut details.private_metadata),
            ("unsafe_metadata", &mut details.unsafe_metadata),
        ] {
            if let Some(Value::Object(changes)) = fields.get(name) {
                merge(metadata, changes);
            }
        }
        Ok(())
    })
}

/// Deep, and null removes.
fn merge(into: &mut Map<String, Value>, changes: &Map<String, Value>) {
    for (key, change) in changes {
        match (into.get_mut(key), change) {
            (_, Value::Null) => {
                into.remove(key);
            }
            (Some(Value::Object(into)), Value::Object(change)) => merge(into, change),
            _ => {
                into.insert(key.clone(), change.clone());
            }
        }
    }
}

async fn act_on_user(
    State(shared): ApiState,
    Path((id, act)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let change: fn(&mut Person) = match act.as_str() {
        "ban" => |person| person.banned = true,
        "unban" => |person| person.banned = false,
        "lock" => |person| person.locked = true,
        "unlock" => |person| person.locked = false,
        _ => return Err(Refusal::not_found("The resource")),
    };
    let mut world = shared.world();
    let number = world.alive(&id).ok_or_else(|| Refusal::not_found("User"))?.number;
    world.change(number, shared.now_ms(), change);
    answer(&shared, &world, number, UserEvent::Updated)
}

async fn delete_user(State(shared): ApiState, Path(id): Path<String>) -> Result<Response, Refusal> {
    if !acts::delete(&shared, &id) {
        return Err(Refusal::not_found("User"));
    }
    Ok(json_text(json!({"object": "user", "id": id, "deleted": true}).to_string()))
}

/// Changes what a person holds, and answers with them.
fn change(
    shared: &Shared,
    id: &str,
    change: impl FnOnce(&mut Details) -> Result<(), Unchanged>,
) -> Result<Response, Refusal> {
    let mut world = shared.world();
    let number = change_details(&mut world, shared.now_ms(), id, change)?;
    answer(shared, &world, number, UserEvent::Updated)
}

fn answer(shared: &Shared, world: &World, number: u64, event: UserEvent) -> Result<Response, Refusal> {
    let id = world.id(number);
    let person = world.alive(&id).ok_or_else(|| Refusal::not_found("User"))?;
    let body = rendered(world, person);
    shared.notify(world, number, event);
    Ok(json_text(body))
}

fn fields(body: &Bytes) -> Result<Map<String, Value>, Refusal> {
    let invalid =
        || Refusal::new(StatusCode::BAD_REQUEST, "request_body_invalid", "The body is not a JSON object.");
    serde_json::from_slice(body).map_err(|_| invalid())
}
