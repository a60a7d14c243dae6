//! Better Auth's stand-in: its admin plugin's calls as better-auth 1.7.25 answers them, and the deliveries of the emitter
//! in `examples/better-auth`. Addresses of people who came by phone alone are made up, as the phone plugin does it.

use super::acts::{self, take_fields};
use super::answers::{json_text, json_with};
use super::faults::ListFault;
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
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Map, Value, json};
use std::sync::Arc;

pub(super) struct BetterAuthStandIn;

const LIMIT_DEFAULT: usize = 100;
/// A column of the application's that nobody may keep.
const SECRET_COLUMN: &str = "legacyDigest";

impl Vendor for BetterAuthStandIn {
    fn name(&self) -> &'static str {
        "better-auth"
    }

    fn scheme(&self) -> Scheme {
        Scheme::Standard
    }

    fn id_form(&self) -> IdForm {
        IdForm::Scattered
    }

    fn requests_max(&self, _secret_key: &str) -> u32 {
        100
    }

    fn data(&self, world: &World, person: &Person, _event: UserEvent) -> String {
        let mut row = user(world, person);
        row[SECRET_COLUMN] = super::supabase::ROW_SECRET.into();
        row.to_string()
    }

    fn body(&self, notice: &Notice, _message_id: &str) -> String {
        format!(r#"{{"type":"{}","timestamp":"{}","data":{}}}"#, notice.event.name(), notice.at, notice.data)
    }

    /// Without first and last name, which it does not have.
    fn truth(&self, world: &World, person: &Person, whole: Truth) -> Truth {
        let user = user(world, person);
        Truth {
            version: person.updated_ms * 1_000,
            first_name: None,
            last_name: None,
            username: user["username"].as_str().map(str::to_owned),
            display_name: user["name"].as_str().filter(|name| !name.is_empty()).map(str::to_owned),
            ..whole
        }
    }

    fn refuse(&self, status: StatusCode, code: &str, message: &str) -> Response {
        json_with(status, &json!({"message": message, "code": code.to_ascii_uppercase()}))
    }

    fn not_found(&self) -> Response {
        self.refuse(StatusCode::NOT_FOUND, "USER_NOT_FOUND", "User not found")
    }

    /// Without a body, as where nobody is signed in.
    fn refuse_key(&self) -> Response {
        StatusCode::UNAUTHORIZED.into_response()
    }
}

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/api/auth/admin/list-users", get(list_users))
        .route("/api/auth/admin/get-user", get(get_user))
        .route("/api/auth/admin/create-user", post(create_user))
        .route("/api/auth/admin/update-user", post(update_user))
        .route("/api/auth/admin/ban-user", post(ban_user))
        .route("/api/auth/admin/unban-user", post(unban_user))
        .route("/api/auth/admin/remove-user", post(remove_user))
        .fallback(|| async { StatusCode::NOT_FOUND })
}

/// The user as API and hooks show it.
fn user(world: &World, person: &Person) -> Value {
    let details = world.details(person);
    let at = |ms: i64| Timestamp::clamped(ms).to_string();
    let names: Vec<&str> =
        [&details.first_name, &details.last_name].into_iter().flatten().map(String::as_str).collect();
    let phone = details.phones.first();
    let invented = || phone.map(|phone| format!("{}@phone.example.com", phone.trim_start_matches('+')));
    json!({
        "id": world.id(person.number),
        "name": names.join(" "),
        "email": details.emails.first().cloned().or_else(invented),
        "emailVerified": !details.emails.is_empty() && !details.is_unverified,
        "image": null,
        "createdAt": at(person.created_ms),
        "updatedAt": at(person.updated_ms),
        "username": details.username.as_ref().map(|name| name.to_lowercase()),
        "displayUsername": details.username,
        "phoneNumber": phone,
        "phoneNumberVerified": phone.is_some(),
        "role": "user",
        "banned": person.banned,
        "banReason": null,
        "banExpires": null,
    })
}

/// What a query that fails is answered.
fn nobody() -> Response {
    json_text(json!({"users": [], "total": 0}).to_string())
}

/// Behind an id in the order of ids, or by an offset in the order of creation.
async fn list_users(State(shared): ApiState, RawQuery(query): RawQuery) -> Response {
    let query = Query::parse(&query.unwrap_or_default());
    let faults = shared.faults();
    let world = shared.world();
    let number = |name: &str| query.first(name).map(str::parse::<usize>);
    let (Ok(limit), Ok(offset)) = (number("limit").transpose(), number("offset").transpose()) else {
        return nobody();
    };
    let limit = limit.filter(|limit| *limit > 0).unwrap_or(LIMIT_DEFAULT);
    let after = match (query.first("filterField"), query.first("filterOperator")) {
        (None, _) => None,
        (Some("id"), Some("gt")) => query.first("filterValue").filter(|_| faults.list != ListFault::Repeat),
        _ => return nobody(),
    };
    let half = faults.list == ListFault::Half;
    let is_descending = query.first("sortDirection") == Some("desc");
    let listed = world.listed(None, is_descending).filter(|person| !half || person.number.is_multiple_of(2));
    let mut people: Vec<(String, &Person)> = listed.map(|person| (world.id(person.number), person)).collect();
    if query.first("sortBy") == Some("id") {
        people.retain(|(id, _)| after.is_none_or(|after| id.as_str() > after));
        people.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    }
    let total = (people.len() as i64 + faults.count_off_by).max(0);
    let is_odd =
        |person: &Person| faults.odd_every > 0 && person.number % faults.odd_every == faults.odd_every - 1;
    let shown =
        people.iter().skip(offset.unwrap_or(0)).take(limit).map(|(id, person)| match is_odd(person) {
            true => json!({"id": id, "email": "odd@example.com"}),
            false => user(&world, person),
        });
    let mut users: Vec<Value> = shown.collect();
    match faults.list {
        ListFault::Empty => return nobody(),
        ListFault::Short => users.truncate(LIMIT_DEFAULT),
        _ => {}
    }
    let total = if faults.list == ListFault::Short { users.len() as i64 } else { total };
    json_text(json!({"users": users, "total": total, "limit": limit, "offset": offset}).to_string())
}

async fn get_user(State(shared): ApiState, RawQuery(query): RawQuery) -> Result<Response, Response> {
    let query = Query::parse(&query.unwrap_or_default());
    let id = query.first("id").ok_or_else(|| {
        BetterAuthStandIn.refuse(StatusCode::BAD_REQUEST, "VALIDATION_ERROR", "[query.id] is required")
    })?;
    let absent = shared.faults().all_absent;
    let world = shared.world();
    let person = world.alive(id).filter(|_| !absent).ok_or_else(|| BetterAuthStandIn.not_found())?;
    Ok(json_text(user(&world, person).to_string()))
}

async fn create_user(State(shared): ApiState, body: Bytes) -> Response {
    let Some(fields) = fields(&body) else { return invalid() };
    let mut world = shared.world();
    let now = shared.now_ms();
    let number = world.add(now, now, Some(Details::default()));
    world.edit(number, now, |details| take_fields(details, &named(&fields)));
    told(&shared, &world, number, UserEvent::Created)
}

async fn update_user(State(shared): ApiState, body: Bytes) -> Response {
    let data = |fields: &Map<String, Value>| fields.get("data").and_then(Value::as_object).cloned();
    on_user(&shared, &body, |world, number, now, fields| {
        let named = named(&data(fields).unwrap_or_default());
        world.edit(number, now, |details| take_fields(details, &named));
    })
}

async fn ban_user(State(shared): ApiState, body: Bytes) -> Response {
    on_user(&shared, &body, |world, number, now, _| {
        world.change(number, now, |person| person.banned = true);
    })
}

async fn unban_user(State(shared): ApiState, body: Bytes) -> Response {
    on_user(&shared, &body, |world, number, now, _| {
        world.change(number, now, |person| person.banned = false);
    })
}

async fn remove_user(State(shared): ApiState, body: Bytes) -> Response {
    let Some(fields) = fields(&body) else { return invalid() };
    match fields.get("userId").and_then(Value::as_str).is_some_and(|id| acts::delete(&shared, id)) {
        true => json_text(json!({"success": true}).to_string()),
        false => BetterAuthStandIn.not_found(),
    }
}

/// Does something to the user that `userId` names, and tells of it.
fn on_user(
    shared: &Shared,
    body: &Bytes,
    act: impl FnOnce(&mut World, u64, i64, &Map<String, Value>),
) -> Response {
    let Some(fields) = fields(body) else { return invalid() };
    let mut world = shared.world();
    let id = fields.get("userId").and_then(Value::as_str).unwrap_or_default();
    let Some(number) = world.alive(id).map(|person| person.number) else {
        return BetterAuthStandIn.not_found();
    };
    act(&mut world, number, shared.now_ms(), &fields);
    told(shared, &world, number, UserEvent::Updated)
}

fn fields(body: &Bytes) -> Option<Map<String, Value>> {
    serde_json::from_slice(body).ok()
}

fn invalid() -> Response {
    BetterAuthStandIn.refuse(StatusCode::BAD_REQUEST, "VALIDATION_ERROR", "the body is no JSON object")
}

/// The fields under the names that every stand-in's people have.
fn named(fields: &Map<String, Value>) -> Map<String, Value> {
    let name = |name: &str| match name {
        "name" => "first_name".to_owned(),
        "phoneNumber" => "phone".to_owned(),
        "emailVerified" => "email_verified".to_owned(),
        other => other.to_owned(),
    };
    fields.iter().map(|(field, value)| (name(field), value.clone())).collect()
}

fn told(shared: &Shared, world: &World, number: u64, event: UserEvent) -> Response {
    shared.notify(world, number, event);
    match world.alive(&world.id(number)) {
        Some(person) => json_text(json!({"user": user(world, person)}).to_string()),
        None => BetterAuthStandIn.not_found(),
    }
}
