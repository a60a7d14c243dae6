//! Supabase's stand-in: the admin API as supabase/auth has it, and rows of `auth.users` as a database webhook carries
//! them, with everything that must not be kept.

use super::acts::{self, take_fields};
use super::answers::{JSON, json_text, json_with};
use super::faults::ListFault;
use super::ids::IdForm;
use super::people::Details;
use super::query::Query;
use super::shared::{ApiState, Shared};
use super::vendor::{Notice, UserEvent, Vendor, bearer, header_text};
use super::world::{Person, Truth, World};
use crate::core::timestamp::Timestamp;
use crate::source::signature::Scheme;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Map, Value, json};
use std::sync::Arc;

pub(super) struct SupabaseStandIn;

const PER_PAGE: usize = 50;
const LIMIT_MAX: usize = 1_000;
/// In every row that is delivered: whoever keeps any of it is found out.
pub const ROW_SECRET: &str = "$2a$10$simulatedsecretsimulated";
const BANNED_UNTIL: &str = "2126-01-01T00:00:00Z";

impl Vendor for SupabaseStandIn {
    fn name(&self) -> &'static str {
        "supabase"
    }

    fn scheme(&self) -> Scheme {
        Scheme::Bearer
    }

    fn id_form(&self) -> IdForm {
        IdForm::Uuid
    }

    fn requests_max(&self, _secret_key: &str) -> u32 {
        0
    }

    fn data(&self, world: &World, person: &Person, _event: UserEvent) -> String {
        row(world, person).to_string()
    }

    /// The change of a row.
    fn body(&self, notice: &Notice, _message_id: &str) -> String {
        let data = notice.data;
        let (operation, record, old) = match notice.event {
            UserEvent::Created => ("INSERT", data, "null"),
            UserEvent::Updated => ("UPDATE", data, "null"),
            UserEvent::Deleted => ("DELETE", "null", data),
        };
        format!(
            r#"{{"type":"{operation}","table":"users","schema":"auth","record":{record},"old_record":{old}}}"#
        )
    }

    /// Without username, first and last name, which it does not have.
    fn truth(&self, world: &World, person: &Person, whole: Truth) -> Truth {
        let user = user(world, person);
        let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        Truth {
            version: micros(person, person.updated_ms),
            phone: text(&user["phone"]),
            username: None,
            first_name: None,
            last_name: None,
            display_name: text(&user["user_metadata"]["full_name"]),
            ..whole
        }
    }

    fn refuse(&self, status: StatusCode, code: &str, message: &str) -> Response {
        json_with(status, &json!({"code": status.as_u16(), "error_code": code, "msg": message}))
    }

    fn not_found(&self) -> Response {
        self.refuse(StatusCode::NOT_FOUND, "user_not_found", "User not found")
    }

    fn refuse_key(&self) -> Response {
        self.refuse(StatusCode::UNAUTHORIZED, "bad_jwt", "invalid JWT")
    }

    /// The gateway looks for a header of its own before the API is asked.
    fn has_key(&self, headers: &HeaderMap, secret_key: &str) -> bool {
        let gateway = header_text(headers, HeaderName::from_static("apikey"));
        bearer(headers) == Some(secret_key) && gateway.is_none_or(|key| key == secret_key)
    }
}

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/auth/v1/admin/users", get(list_users).post(create_user))
        .route("/auth/v1/admin/users/{id}", get(get_user).put(put_user).delete(delete_user))
        .fallback(|| async { (StatusCode::NOT_FOUND, "404 page not found") })
}

/// Microseconds, in Go's form: zeros at the end are dropped.
fn time(person: &Person, ms: i64) -> String {
    let us = micros(person, ms).rem_euclid(1_000);
    let text = Timestamp::clamped(ms).to_string();
    let digits = format!("{}{us:03}", text.trim_end_matches('Z'));
    format!("{}Z", digits.trim_end_matches('0').trim_end_matches('.'))
}

/// Times of the simulator are milliseconds: each person has microseconds of their own.
fn micros(person: &Person, ms: i64) -> i64 {
    ms * 1_000 + i64::try_from(person.number % 1_000).unwrap_or(0)
}

/// The API's user.
fn user(world: &World, person: &Person) -> Value {
    let details = world.details(person);
    let created = time(person, person.created_ms);
    let (email, phone) = (details.emails.first(), details.phones.first());
    let mut user = json!({
        "id": world.id(person.number),
        "aud": "authenticated",
        "role": "authenticated",
        "email": email.cloned().unwrap_or_default(),
        "phone": phone.map(|phone| phone.trim_start_matches('+')).unwrap_or_default(),
        "last_sign_in_at": time(person, person.updated_ms),
        "app_metadata": {"provider": "email", "providers": ["email"]},
        "user_metadata": metadata(world, person),
        "identities": [],
        "created_at": created,
        "updated_at": time(person, person.updated_ms),
        "is_anonymous": false,
    });
    if email.is_some() {
        user["email_confirmed_at"] = created.clone().into();
        user["confirmed_at"] = created.into();
    }
    if person.banned {
        user["banned_until"] = BANNED_UNTIL.into();
    }
    if let Some(ms) = person.soft_deleted_ms {
        user["deleted_at"] = time(person, ms).into();
    }
    user
}

fn metadata(world: &World, person: &Person) -> Value {
    let details = world.details(person);
    let names: Vec<&str> =
        [&details.first_name, &details.last_name].into_iter().flatten().map(String::as_str).collect();
    json!({"full_name": names.join(" ")})
}

/// The row, in PostgreSQL's form, with its secrets.
fn row(world: &World, person: &Person) -> Value {
    let user = user(world, person);
    let time = |field: &str| user.get(field).and_then(Value::as_str).map(|time| time.replace('Z', "+00:00"));
    let text = |field: &str| user[field].as_str().filter(|text| !text.is_empty());
    json!({
        "instance_id": "00000000-0000-0000-0000-000000000000",
        "id": user["id"],
        "aud": user["aud"],
        "role": user["role"],
        "email": text("email"),
        "encrypted_password": ROW_SECRET,
        "email_confirmed_at": time("email_confirmed_at"),
        "confirmation_token": ROW_SECRET,
        "recovery_token": ROW_SECRET,
        "email_change_token_new": ROW_SECRET,
        "email_change_token_current": ROW_SECRET,
        "phone_change_token": ROW_SECRET,
        "reauthentication_token": ROW_SECRET,
        "last_sign_in_at": time("last_sign_in_at"),
        "raw_app_meta_data": user["app_metadata"],
        "raw_user_meta_data": user["user_metadata"],
        "is_super_admin": null,
        "created_at": time("created_at"),
        "updated_at": time("updated_at"),
        "phone": text("phone"),
        "banned_until": time("banned_until"),
        "deleted_at": time("deleted_at"),
        "is_sso_user": false,
        "is_anonymous": false,
    })
}

async fn list_users(State(shared): ApiState, RawQuery(query): RawQuery) -> Response {
    let query = Query::parse(&query.unwrap_or_default());
    let faults = shared.faults();
    let world = shared.world();
    let whole = |name: &str| query.first(name).and_then(|text| text.parse::<usize>().ok());
    let by_page = query.first("page").is_some() || query.first("per_page").is_some();
    let half = faults.list == ListFault::Half;
    let is_odd =
        |person: &Person| faults.odd_every > 0 && person.number % faults.odd_every == faults.odd_every - 1;
    let shown = |person: &Person| match is_odd(person) {
        true => json!({"id": world.id(person.number), "email": "odd@example.com"}),
        false => user(&world, person),
    };
    if faults.cursor_pages && !by_page {
        let limit = whole("limit").unwrap_or(PER_PAGE).clamp(1, LIMIT_MAX);
        let after = query.first("cursor").and_then(|cursor| {
            let (created, number) = cursor.split_once('-')?;
            Some((created.parse().ok()?, number.parse().ok()?))
        });
        let mut people = world.listed(after, true).filter(|person| !half || person.number.is_multiple_of(2));
        let listed: Vec<&Person> = people.by_ref().take(limit).collect();
        let next =
            people.next().and(listed.last()).map(|last| format!("{}-{}", last.created_ms, last.number));
        let pagination = json!({"next_cursor": next, "has_more": next.is_some()});
        let users: Vec<Value> = listed.into_iter().map(shown).collect();
        return json_text(
            json!({"users": users, "aud": "authenticated", "pagination": pagination}).to_string(),
        );
    }
    let total = (world.count() as i64 + faults.count_off_by).max(0);
    let per_page = whole("per_page").filter(|size| *size > 0).unwrap_or(PER_PAGE);
    let page = whole("page").unwrap_or(1).max(1);
    let pages = (total as usize).div_ceil(per_page).max(1);
    let people = world.listed(None, true).filter(|person| !half || person.number.is_multiple_of(2));
    let mut users: Vec<Value> = people.skip((page - 1) * per_page).take(per_page).map(shown).collect();
    if faults.list == ListFault::Empty {
        users.clear();
    }
    let mut link = format!("</admin/users?page={pages}>; rel=\"last\"");
    if page < pages {
        link = format!("</admin/users?page={}>; rel=\"next\", {link}", page + 1);
    }
    let body = json!({"users": users, "aud": "authenticated"}).to_string();
    let headers = [
        (header::CONTENT_TYPE, JSON.to_owned()),
        (HeaderName::from_static("x-total-count"), total.to_string()),
        (header::LINK, link),
    ];
    (headers, body).into_response()
}

async fn get_user(State(shared): ApiState, Path(id): Path<String>) -> Result<Response, Response> {
    let absent = shared.faults().all_absent;
    let world = shared.world();
    let person = world.alive(&id).filter(|_| !absent).ok_or_else(|| SupabaseStandIn.not_found())?;
    Ok(json_text(user(&world, person).to_string()))
}

async fn create_user(State(shared): ApiState, body: Bytes) -> Result<Response, Response> {
    let fields = fields(&body).ok_or_else(bad_json)?;
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
    let fields = fields(&body).ok_or_else(bad_json)?;
    let mut world = shared.world();
    let number = world.alive(&id).ok_or_else(|| SupabaseStandIn.not_found())?.number;
    let banned = fields.get("ban_duration").and_then(Value::as_str).map(|duration| duration != "none");
    world.edit(number, shared.now_ms(), |details| take_fields(details, &fields));
    if let Some(banned) = banned {
        world.change(number, shared.now_ms(), |person| person.banned = banned);
    }
    Ok(told(&shared, &world, number, UserEvent::Updated))
}

fn told(shared: &Shared, world: &World, number: u64, event: UserEvent) -> Response {
    shared.notify(world, number, event);
    match world.alive(&world.id(number)) {
        Some(person) => json_text(user(world, person).to_string()),
        None => SupabaseStandIn.not_found(),
    }
}

/// `{"should_soft_delete": true}` leaves the row, without what it said of the person.
async fn delete_user(
    State(shared): ApiState,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, Response> {
    let soft = fields(&body).and_then(|fields| fields.get("should_soft_delete").and_then(Value::as_bool));
    let ended = match soft {
        Some(true) => acts::soft_delete(&shared, &id),
        _ => acts::delete(&shared, &id),
    };
    if ended { Ok(json_text("{}".into())) } else { Err(SupabaseStandIn.not_found()) }
}

fn fields(body: &Bytes) -> Option<Map<String, Value>> {
    serde_json::from_slice(body).ok()
}

fn bad_json() -> Response {
    SupabaseStandIn.refuse(StatusCode::BAD_REQUEST, "bad_json", "Could not parse request body")
}
