//! WorkOS' stand-in: its API as `@workos-inc/node` speaks it (users by cursor and by id, and events), and what it delivers.

use super::acts::{self, take_fields};
use super::answers::{json_text, json_with};
use super::deliver::DeliveryRecord;
use super::faults::{ListFault, LostCursor};
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
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde_json::{Map, Value, json};
use std::sync::Arc;

pub(super) struct WorkOsStandIn;

const LIMIT_DEFAULT: usize = 10;
const LIMIT_MAX: usize = 100;

impl Vendor for WorkOsStandIn {
    fn name(&self) -> &'static str {
        "workos"
    }

    fn scheme(&self) -> Scheme {
        Scheme::Timed
    }

    fn id_form(&self) -> IdForm {
        IdForm::Prefixed
    }

    fn requests_max(&self, _secret_key: &str) -> u32 {
        1_000
    }

    fn data(&self, world: &World, person: &Person, _event: UserEvent) -> String {
        user(world, person).to_string()
    }

    fn body(&self, notice: &Notice, message_id: &str) -> String {
        format!(
            r#"{{"object":"event","id":"{message_id}","event":"{}","data":{},"created_at":"{}","context":{{}}}}"#,
            notice.event.name(),
            notice.data,
            notice.at
        )
    }

    /// The event's own.
    fn message_id(&self, notice: &Notice) -> String {
        format!("event_{:x}_{}", notice.seed, notice.number)
    }

    fn has_event_log(&self) -> bool {
        true
    }

    /// Without username, phone and ban, which it does not have.
    fn truth(&self, world: &World, person: &Person, whole: Truth) -> Truth {
        Truth {
            version: person.updated_ms * 1_000,
            phone: None,
            username: None,
            display_name: user(world, person)["name"].as_str().map(str::to_owned),
            banned: false,
            ..whole
        }
    }

    fn refuse(&self, status: StatusCode, code: &str, message: &str) -> Response {
        json_with(status, &json!({"message": message, "code": code}))
    }

    fn not_found(&self) -> Response {
        self.refuse(StatusCode::NOT_FOUND, "entity_not_found", "User not found")
    }

    fn refuse_key(&self) -> Response {
        self.refuse(StatusCode::UNAUTHORIZED, "unauthorized", "Unauthorized")
    }
}

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/user_management/users", get(list_users).post(create_user))
        .route("/user_management/users/{id}", get(get_user).put(put_user).delete(delete_user))
        .route("/events", get(list_events))
        .fallback(|| async { WorkOsStandIn.refuse(StatusCode::NOT_FOUND, "not_found", "Not Found") })
}

/// The user object.
fn user(world: &World, person: &Person) -> Value {
    let details = world.details(person);
    let at = |ms: i64| Timestamp::clamped(ms).to_string();
    let names: Vec<&str> =
        [&details.first_name, &details.last_name].into_iter().flatten().map(String::as_str).collect();
    json!({
        "object": "user",
        "id": world.id(person.number),
        "email": details.emails.first(),
        "email_verified": !details.emails.is_empty() && !details.is_unverified,
        "name": (!names.is_empty()).then(|| names.join(" ")),
        "first_name": details.first_name,
        "last_name": details.last_name,
        "profile_picture_url": person.number.is_multiple_of(2).then(|| format!("https://img.example.com/{}", person.number)),
        "last_sign_in_at": at(person.updated_ms),
        "locale": "en-US",
        "external_id": details.external_id,
        "metadata": details.public_metadata,
        "created_at": at(person.created_ms),
        "updated_at": at(person.updated_ms),
    })
}

fn limit_of(query: &Query) -> Option<usize> {
    let limit = query.first("limit").map_or(Some(LIMIT_DEFAULT), |text| text.parse().ok());
    limit.filter(|limit| (1..=LIMIT_MAX).contains(limit))
}

fn invalid(message: &str) -> Response {
    WorkOsStandIn.refuse(StatusCode::UNPROCESSABLE_ENTITY, "invalid_request_parameters", message)
}

async fn list_users(State(shared): ApiState, RawQuery(query): RawQuery) -> Result<Response, Response> {
    let query = Query::parse(&query.unwrap_or_default());
    let limit = limit_of(&query).ok_or_else(|| invalid("limit is out of range"))?;
    let faults = shared.faults();
    let world = shared.world();
    let descending = query.first("order") != Some("asc");
    let after = match (query.first("after"), faults.list) {
        (_, ListFault::Empty) => return Ok(page(Vec::new(), None)),
        (None, _) | (_, ListFault::Repeat) => None,
        (Some(id), _) => match (world.alive(id), faults.lost_cursor) {
            (Some(person), _) => Some((person.created_ms, person.number)),
            (None, LostCursor::Empty) => return Ok(page(Vec::new(), None)),
            (None, LostCursor::NotFound) => return Err(WorkOsStandIn.not_found()),
            (None, LostCursor::Unprocessable) => {
                return Err(WorkOsStandIn.refuse(
                    StatusCode::BAD_REQUEST,
                    "invalid_cursor",
                    "no such cursor",
                ));
            }
            (None, LostCursor::Restart) => None,
        },
    };
    let limit = if faults.list == ListFault::Short { limit.min(LIMIT_DEFAULT) } else { limit };
    let half = faults.list == ListFault::Half;
    let is_odd =
        |person: &Person| faults.odd_every > 0 && person.number % faults.odd_every == faults.odd_every - 1;
    let mut people =
        world.listed(after, descending).filter(|person| !half || person.number.is_multiple_of(2));
    let listed: Vec<&Person> = people.by_ref().take(limit).collect();
    let last = people.next().and(listed.last()).map(|person| world.id(person.number));
    let users = listed.iter().map(|person| match is_odd(person) {
        true => json!({"object": "user", "id": world.id(person.number), "updated_at": null}),
        false => user(&world, person),
    });
    Ok(page(users.collect(), last))
}

fn page(data: Vec<Value>, after: Option<String>) -> Response {
    let list = json!({"object": "list", "data": data, "list_metadata": {"before": null, "after": after}});
    json_text(list.to_string())
}

async fn get_user(State(shared): ApiState, Path(id): Path<String>) -> Result<Response, Response> {
    let absent = shared.faults().all_absent;
    let world = shared.world();
    let person = world.alive(&id).filter(|_| !absent).ok_or_else(|| WorkOsStandIn.not_found())?;
    Ok(json_text(user(&world, person).to_string()))
}

async fn create_user(State(shared): ApiState, body: Bytes) -> Result<Response, Response> {
    let fields: Map<String, Value> = serde_json::from_slice(&body)
        .map_err(|_| WorkOsStandIn.refuse(StatusCode::BAD_REQUEST, "invalid_request", "no JSON object"))?;
    let mut world = shared.world();
    let now = shared.now_ms();
    let number = world.add(now, now, Some(Details::default()));
    world.edit(number, now, |details| take_fields(details, &fields));
    Ok(told(&shared, &world, number, UserEvent::Created))
}

async fn put_user(
    State(shared): ApiState,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, Response> {
    let fields: Map<String, Value> = serde_json::from_slice(&body)
        .map_err(|_| WorkOsStandIn.refuse(StatusCode::BAD_REQUEST, "invalid_request", "no JSON object"))?;
    let mut world = shared.world();
    let number = world.alive(&id).ok_or_else(|| WorkOsStandIn.not_found())?.number;
    world.edit(number, shared.now_ms(), |details| take_fields(details, &fields));
    Ok(told(&shared, &world, number, UserEvent::Updated))
}

fn told(shared: &Shared, world: &World, number: u64, event: UserEvent) -> Response {
    shared.notify(world, number, event);
    match world.alive(&world.id(number)) {
        Some(person) => json_text(user(world, person).to_string()),
        None => WorkOsStandIn.not_found(),
    }
}

async fn delete_user(State(shared): ApiState, Path(id): Path<String>) -> Response {
    match acts::delete(&shared, &id) {
        true => json_text(String::new()),
        false => WorkOsStandIn.not_found(),
    }
}

/// Some events come to light later than those behind them (`events_late_ms`).
async fn list_events(State(shared): ApiState, RawQuery(query): RawQuery) -> Result<Response, Response> {
    let query = Query::parse(&query.unwrap_or_default());
    let limit = limit_of(&query).ok_or_else(|| invalid("limit is out of range"))?;
    // `events[]=a&events[]=b`, and as the official client has it, `events=a,b`.
    let wanted: Vec<&str> = query.all("events").into_iter().flat_map(|events| events.split(',')).collect();
    if wanted.is_empty() {
        return Err(invalid("events is required"));
    }
    let (after, start) = (query.first("after"), query.first("range_start"));
    if after.is_some() && start.is_some() {
        return Err(invalid("after and range_start exclude each other"));
    }
    let start_ms = start.and_then(Timestamp::parse).map_or(0, Timestamp::ms);
    let log = shared.outbox.log();
    let late_ms = i64::try_from(shared.faults().events_late_ms).unwrap_or(i64::MAX);
    let now_ms = shared.now_ms();
    let is_shown = |event: &DeliveryRecord| match event.may_be_late {
        true => event.at_ms <= now_ms.saturating_sub(late_ms),
        false => event.at_ms <= now_ms,
    };
    let behind = match after {
        None => 0,
        Some(after) => log
            .iter()
            .position(|event| event.id == after)
            .map(|at| at + 1)
            .ok_or_else(|| invalid("no such event"))?,
    };
    let mut events = log[behind..]
        .iter()
        .filter(|event| event.at_ms >= start_ms && is_shown(event) && wanted.contains(&event.name));
    let listed: Vec<_> = events.by_ref().take(limit).collect();
    let last = events.next().and(listed.last()).map(|event| event.id.clone());
    let data: Vec<Value> = listed.iter().filter_map(|event| serde_json::from_str(&event.body).ok()).collect();
    let list = json!({"object": "list", "data": data, "list_metadata": {"after": last}});
    Ok(json_text(list.to_string()))
}
