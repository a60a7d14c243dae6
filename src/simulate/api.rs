//! Clerk's Backend API: the calls on users.

use super::Shared;
use super::answers::{Refusal, json_text};
use super::deliver::Event;
use super::edge::guard;
use super::kind::Kind;
use super::list::{Query, count, list};
use super::people::Details;
use super::world::{Person, World};
use super::{control, supabase, workos};
use crate::clock::{Clock, SystemClock};
use crate::core::timestamp::Timestamp;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Map, Value, json};
use std::sync::Arc;

type App = State<Arc<Shared>>;

const VERSIONS: [&str; 5] = ["2021-02-05", "2024-10-01", "2025-04-10", "2025-11-10", "2026-05-12"];

/// The API of the simulated provider, and what a test asks of the simulator itself.
pub(super) fn router(shared: Arc<Shared>) -> Router {
    let api = match shared.options.kind {
        Kind::Clerk => clerk(),
        Kind::WorkOs => workos::router(),
        Kind::Supabase => supabase::router(),
    };
    let api = api.layer(middleware::from_fn_with_state(shared.clone(), guard));
    api.merge(control::router()).with_state(shared)
}

fn clerk() -> Router<Arc<Shared>> {
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

async fn get_instance(State(shared): App) -> Response {
    let id = shared.faults().instance.unwrap_or_else(|| shared.options.instance.clone());
    let live = shared.options.secret_key.starts_with("sk_live_");
    let kind = if live { "production" } else { "development" };
    let instance = json!({"object": "instance", "id": id, "environment_type": kind, "allowed_origins": null, "workspace_id": null});
    json_text(instance.to_string())
}

async fn list_users(State(shared): App, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let query = Query::parse(&query.unwrap_or_default());
    let faults = shared.faults();
    list(&shared.world(), &query, &faults).map(json_text)
}

async fn count_users(State(shared): App, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let query = Query::parse(&query.unwrap_or_default());
    let faults = shared.faults();
    count(&shared.world(), &query, &faults).map(json_text)
}

async fn get_user(State(shared): App, Path(id): Path<String>) -> Result<Response, Refusal> {
    let absent = shared.faults().all_absent;
    let world = shared.world();
    let person = world.alive(&id).filter(|_| !absent).ok_or_else(|| Refusal::not_found("User"))?;
    Ok(json_text(world.rendered(person)))
}

async fn create_user(State(shared): App, body: Bytes) -> Result<Response, Refusal> {
    let fields = fields(&body)?;
    let mut details = Details::default();
    for (name, list) in [("email_address", &mut details.emails), ("phone_number", &mut details.phones)] {
        let values = fields.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
        list.extend(values.into_iter().filter_map(|value| value.as_str().map(str::to_owned)));
    }
    patch(&mut details, &fields)?;
    let now_ms = now_ms();
    let created_at = fields.get("created_at").and_then(Value::as_str).and_then(Timestamp::parse);
    let mut world = shared.world();
    if let Some(taken) = taken(&world, &details, None) {
        return Err(Refusal::unprocessable("form_identifier_exists", format!("That {taken} is taken.")));
    }
    let created_ms = created_at.map_or(now_ms, Timestamp::ms);
    let number = world.add(created_ms, now_ms, Some(details));
    if fields.get("banned") == Some(&Value::Bool(true)) {
        world.change(number, now_ms, |person| person.banned = true);
    }
    answer(&shared, &world, number, Event::Created)
}

async fn patch_user(State(shared): App, Path(id): Path<String>, body: Bytes) -> Result<Response, Refusal> {
    let fields = fields(&body)?;
    if let Some(field) = ["public_metadata", "private_metadata", "unsafe_metadata"]
        .into_iter()
        .find(|field| fields.contains_key(*field))
    {
        let since = format!("{field} is not accepted since 2026-05-12; use /metadata");
        return Err(Refusal::unprocessable("form_param_unknown", since));
    }
    change_details(&shared, &id, |details| patch(details, &fields))
}

async fn patch_metadata(
    State(shared): App,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let fields = fields(&body)?;
    change_details(&shared, &id, |details| {
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
    State(shared): App,
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
    world.change(number, now_ms(), change);
    answer(&shared, &world, number, Event::Updated)
}

async fn delete_user(State(shared): App, Path(id): Path<String>) -> Result<Response, Refusal> {
    if !delete(&shared, &id) {
        return Err(Refusal::not_found("User"));
    }
    Ok(json_text(json!({"object": "user", "id": id, "deleted": true}).to_string()))
}

// ---- the same from within ----

pub(super) fn delete(shared: &Shared, id: &str) -> bool {
    let mut world = shared.world();
    let Some(number) = world.alive(id).map(|person| person.number) else { return false };
    world.remove(number);
    shared.notify(&world, number, Event::Deleted);
    true
}

/// What of these fields a person has, whichever provider's they are.
pub(super) fn take_fields(details: &mut Details, fields: &Map<String, Value>) {
    let text = |name: &str| fields.get(name).map(|value| value.as_str().map(str::to_owned));
    for (name, field) in [
        ("first_name", &mut details.first_name),
        ("last_name", &mut details.last_name),
        ("external_id", &mut details.external_id),
    ] {
        if let Some(value) = text(name) {
            *field = value;
        }
    }
    if let Some(email) = text("email") {
        details.emails = email.into_iter().collect();
    }
    if let Some(phone) = text("phone") {
        details.phones = phone.into_iter().collect();
    }
    if let Some(Value::Object(metadata)) = fields.get("metadata") {
        details.public_metadata.clone_from(metadata);
    }
    if let Some(name) = fields.get("user_metadata").and_then(|metadata| metadata.get("full_name")) {
        (details.first_name, details.last_name) = (name.as_str().map(str::to_owned), None);
    }
}

pub(super) fn edit(shared: &Shared, id: &str, fields: &Value) -> bool {
    let none = Map::new();
    let fields = fields.as_object().unwrap_or(&none);
    change_details(shared, id, |details| {
        take_fields(details, fields);
        patch(details, fields)
    })
    .is_ok()
}

fn change_details(
    shared: &Shared,
    id: &str,
    change: impl FnOnce(&mut Details) -> Result<(), Refusal>,
) -> Result<Response, Refusal> {
    let mut world = shared.world();
    let person = world.alive(id).ok_or_else(|| Refusal::not_found("User"))?;
    let number = person.number;
    let mut details = world.details(person).into_owned();
    change(&mut details)?;
    if let Some(taken) = taken(&world, &details, Some(number)) {
        return Err(Refusal::unprocessable("form_identifier_exists", format!("That {taken} is taken.")));
    }
    world.edit(number, now_ms(), |kept| *kept = details);
    answer(shared, &world, number, Event::Updated)
}

fn patch(details: &mut Details, fields: &Map<String, Value>) -> Result<(), Refusal> {
    for (name, field) in [
        ("first_name", &mut details.first_name),
        ("last_name", &mut details.last_name),
        ("username", &mut details.username),
        ("external_id", &mut details.external_id),
    ] {
        match fields.get(name) {
            None => {}
            Some(Value::Null) => *field = None,
            Some(Value::String(text)) => *field = (!text.is_empty()).then(|| text.clone()),
            Some(_) => {
                let wrong = format!("{name} must be a text");
                return Err(Refusal::unprocessable("form_param_format_invalid", wrong));
            }
        }
    }
    for (name, metadata) in [
        ("public_metadata", &mut details.public_metadata),
        ("private_metadata", &mut details.private_metadata),
        ("unsafe_metadata", &mut details.unsafe_metadata),
    ] {
        if let Some(Value::Object(values)) = fields.get(name) {
            *metadata = values.clone();
        }
    }
    Ok(())
}

/// What of it somebody else has. Made-up people never collide, so only edited ones are looked at.
fn taken(world: &World, details: &Details, own: Option<u64>) -> Option<&'static str> {
    let others = world.listed(None, false).filter(|person| Some(person.number) != own);
    others.filter_map(|person| person.edited.as_ref()).find_map(|other| {
        let shares = |a: &[String], b: &[String]| a.iter().any(|value| b.contains(value));
        if shares(&other.emails, &details.emails) {
            Some("email address")
        } else if details.username.is_some() && other.username == details.username {
            Some("username")
        } else if details.external_id.is_some() && other.external_id == details.external_id {
            Some("external id")
        } else {
            None
        }
    })
}

fn answer(shared: &Shared, world: &World, number: u64, event: Event) -> Result<Response, Refusal> {
    let id = world.id(number);
    let person = world.alive(&id).ok_or_else(|| Refusal::not_found("User"))?;
    let body = world.rendered(person);
    shared.notify(world, number, event);
    Ok(json_text(body))
}

fn fields(body: &Bytes) -> Result<Map<String, Value>, Refusal> {
    let invalid =
        || Refusal::new(StatusCode::BAD_REQUEST, "request_body_invalid", "The body is not a JSON object.");
    serde_json::from_slice(body).map_err(|_| invalid())
}

pub(super) fn now_ms() -> i64 {
    SystemClock.now().ms()
}
