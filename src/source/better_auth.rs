//! Better Auth: deliveries of the emitter in `examples/better-auth`, and the admin API.
//!
//! Source: better-auth 1.7.25 as it was run on SQLite and PostgreSQL (its hooks, its admin plugin, its tables). The row's
//! own names are Better Auth's, whatever the columns are called. `updatedAt` is the time of the application's clock
//! before its statement waited for a lock, and callers may set it back: it orders most changes, and proves none.

mod directory;

use super::bans::{ban_until, bans};
use super::directory::Directory;
use super::json::{OnlyId, checked_id, outline_id, printable, reason, set_paths, text, time_us};
use super::kept::{Kept, envelope};
use super::lenient;
use super::moment::instant_us;
use super::setup::{Setup, Variable, Variables};
use super::{Glance, NotedRow, Provider, ProviderTable, SessionTable, Unintelligible};
use crate::core::columns::{Column, Columns};
use crate::core::event::{Event, EventKind, IdentityKey, Snapshot};
use crate::core::layout::Layout;
use crate::core::timestamp::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::borrow::Cow;

pub struct BetterAuth;

pub const KIND: &str = "better-auth";
const VARIABLES: Variables = Variables {
    title: "Better Auth",
    webhook_secret: Variable {
        name: "BETTER_AUTH_WEBHOOK_SECRET",
        holds: "a secret of your own, the same as the emitter's (`openssl rand -base64 32` makes one)",
    },
    api_key: Variable {
        name: "BETTER_AUTH_ADMIN_TOKEN",
        holds: "the session token of a person whose role may list and get users",
    },
    database_url: Some(Variable {
        name: "BETTER_AUTH_DATABASE_URL",
        holds: "the URL of the database in which Better Auth has its `user` table",
    }),
    api_url: Variable {
        name: "BETTER_AUTH_URL",
        holds: "the address of the application, as Better Auth has it",
    },
};

const UPSERTS: [&str; 2] = ["user.created", "user.updated"];
const DELETE: &str = "user.deleted";
/// What may be kept of a user: the columns of Better Auth and of its plugins that say who somebody is. Columns of the
/// application's own are named by `keep`.
const KEPT: [&str; 15] = [
    "id",
    "name",
    "email",
    "emailVerified",
    "image",
    "createdAt",
    "updatedAt",
    "username",
    "displayUsername",
    "phoneNumber",
    "phoneNumberVerified",
    "role",
    "banned",
    "banExpires",
    "isAnonymous",
];
static TABLE: ProviderTable = ProviderTable {
    name: "user",
    key: "id",
    version: "updatedAt",
    sessions: SessionTable { name: "session", person: "userId", used_at: "updatedAt" },
    directory: &directory::TABLE,
    told,
};
/// Fields that move without meaning anything (contract, rule 12).
const LEFT_OUT_OF_PROFILE: [&str; 1] = ["updatedAt"];
/// Kept fields that are true or false.
const TRUTHS: [&str; 4] = ["emailVerified", "phoneNumberVerified", "banned", "isAnonymous"];
/// Kept fields that are times.
const TIMES: [&str; 2] = ["createdAt", "banExpires"];
/// Fewer digits than any phone number has.
const PHONE_DIGITS_MIN: usize = 6;

#[derive(Default, Deserialize)]
#[serde(default)]
struct BetterAuthEnvelope<'a> {
    #[serde(borrow, rename = "type")]
    event_type: Option<Cow<'a, str>>,
    timestamp: Option<Value>,
    data: Option<OnlyId>,
}

#[derive(Deserialize)]
struct BetterAuthDelivery {
    #[serde(rename = "type")]
    event_type: String,
    #[serde(default)]
    timestamp: Option<Value>,
    #[serde(default, rename = "headcount_mended")]
    was_mended: bool,
    data: Map<String, Value>,
}

impl Provider for BetterAuth {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn setup(&self) -> Setup {
        Setup::Variables(&VARIABLES)
    }

    fn glance(&self, body: &str) -> Glance {
        // Too odd for a glance: the type alone, which is read without looking at what a user holds.
        let mended;
        let envelope = match serde_json::from_str::<BetterAuthEnvelope>(body) {
            Ok(envelope) => envelope,
            Err(_) => {
                mended = lenient::mended(body);
                serde_json::from_str(&mended).or_else(|_| outline(&mended)).unwrap_or_default()
            }
        };
        let event_type = envelope.event_type.unwrap_or_default();
        Glance {
            used: event_type == DELETE || UPSERTS.contains(&&*event_type),
            event_type: printable(&event_type),
            provider_id: outline_id(envelope.data.and_then(|data| data.text())),
            occurred_at: time_of(envelope.timestamp.as_ref()).and_then(instant_us),
            message_id: None,
            is_json: false,
        }
    }

    fn keeps(&self) -> Kept {
        Kept::of(KEPT)
    }

    fn kept(&self, body: &str, _signed_at: Timestamp, keep: &Kept) -> Result<String, Unintelligible> {
        envelope(body, &["type", "timestamp"], "data", keep)
    }

    fn normalize(&self, source: &str, body: &str, layout: &Layout) -> Result<Event, Unintelligible> {
        let (BetterAuthDelivery { event_type, timestamp, was_mended, mut data }, mended) =
            lenient::read(body).map_err(reason)?;
        let mended = mended || was_mended;
        let key = IdentityKey { source: source.to_owned(), provider_id: checked_id(text(data.get("id")))? };
        // A deletion carries the row as it was: its `updatedAt` is not the deletion's time.
        let kind = match event_type == DELETE {
            true => EventKind::Delete,
            false => EventKind::Upsert(snapshot(&mut data, layout)?),
        };
        let occurred_at = time_of(timestamp.as_ref()).and_then(instant_us);
        Ok(Event { mended, key, occurred_at, instance: None, version_may_go_back: true, kind })
    }

    fn snapshot_of(&self, version: i64, user: &Map<String, Value>, layout: &Layout) -> Snapshot {
        let mut columns = columns(user);
        set_paths(&mut columns, user, layout);
        // The row says `banned` until the person signs in, however long the ban has been over.
        let ends = user.get("banExpires").filter(|ends| !ends.is_null());
        let until = ban_until(ends, version);
        let is_banned = bans(user.get("banned")) && (ends.is_none() || until.is_some());
        Snapshot {
            version,
            versioned_at: instant_us(version),
            columns,
            suspended: is_banned,
            suspended_until: until.flatten().filter(|_| is_banned),
            ..Snapshot::default()
        }
    }

    fn leaves_out(&self, field: &str) -> bool {
        LEFT_OUT_OF_PROFILE.contains(&field)
    }

    fn table(&self) -> Option<&'static ProviderTable> {
        Some(&TABLE)
    }

    fn directory(&self) -> Option<&'static dyn Directory> {
        Some(&directory::API)
    }
}

/// As the emitter would have told it.
fn told(change: &NotedRow<'_>) -> String {
    let event_type = match (change.row, change.is_new) {
        (None, _) => DELETE,
        (Some(_), true) => UPSERTS[0],
        (Some(_), false) => UPSERTS[1],
    };
    let deleted = json!({"id": change.provider_id}).to_string();
    let (at, data) = (json!(change.at), change.row.unwrap_or(&deleted));
    format!(r#"{{"type":"{event_type}","timestamp":{at},"data":{data}}}"#)
}

/// The outline of a body in which something of the user cannot be decoded.
fn outline(body: &str) -> Result<BetterAuthEnvelope<'_>, serde_json::Error> {
    #[derive(Deserialize)]
    struct TypeAlone<'a> {
        #[serde(borrow, rename = "type")]
        event_type: Option<Cow<'a, str>>,
    }
    let TypeAlone { event_type } = serde_json::from_str(body)?;
    Ok(BetterAuthEnvelope { event_type, ..BetterAuthEnvelope::default() })
}

/// Its version is `updatedAt` in microseconds.
fn snapshot(user: &mut Map<String, Value>, layout: &Layout) -> Result<Snapshot, Unintelligible> {
    let field = "data.updatedAt";
    let updated_at =
        user.get("updatedAt").filter(|at| !at.is_null()).ok_or(Unintelligible::Missing { field })?;
    let version = time_of(Some(updated_at)).ok_or(Unintelligible::OutOfRange { field })?;
    user.retain(|field, _| !LEFT_OUT_OF_PROFILE.contains(&field.as_str()));
    make_canonical(user);
    Ok(BetterAuth.snapshot(version, user, layout))
}

/// A row in one form, wherever it was read: a hook leaves out what its adapter has not set, the API has defaults, and SQLite
/// has numbers. Null and false are no fields; truth is `true`; a time is RFC 3339 with milliseconds.
fn make_canonical(user: &mut Map<String, Value>) {
    let is_nothing =
        |field: &str, value: &Value| value.is_null() || (TRUTHS.contains(&field) && says_false(value));
    user.retain(|field, value| !is_nothing(field, value));
    for (field, value) in user.iter_mut() {
        let field = field.as_str();
        if TRUTHS.contains(&field) && says_true(value) {
            *value = Value::Bool(true);
        }
        if let Some(at) = time_of(Some(value)).and_then(instant_us).filter(|_| TIMES.contains(&field)) {
            *value = at.to_string().into();
        }
    }
}

fn columns(user: &Map<String, Value>) -> Columns {
    let own = |field: &str| text(user.get(field));
    let mut columns = Columns::default();
    let email = own("email").filter(|_| !has_invented_address(user));
    let verified = email.is_some() && user.get("emailVerified").is_some_and(says_true);
    columns.set(Column::Email, email);
    columns.set(Column::EmailVerified, Some(verified.to_string()));
    columns.set(Column::Phone, own("phoneNumber"));
    columns.set(Column::Username, own("username"));
    columns.set(Column::DisplayName, own("name").filter(|name| !name.trim().is_empty()));
    columns.set(Column::AvatarUrl, own("image"));
    let created_at = time_of(user.get("createdAt")).and_then(instant_us);
    columns.set(Column::CreatedAt, created_at.map(|at| at.to_string()));
    columns
}

/// Whether the address was made up, because the table wants one: of whoever came without any, or by a phone alone. What
/// makes such an address is the application's (`getTempEmail`), and as a rule it is the number with a domain behind it.
fn has_invented_address(user: &Map<String, Value>) -> bool {
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    if user.get("isAnonymous").is_some_and(says_true) {
        return true;
    }
    let (Some(email), Some(phone)) = (text(user.get("email")), text(user.get("phoneNumber"))) else {
        return false;
    };
    let phone = digits(&phone);
    let local_part = email.split('@').next().unwrap_or_default();
    let is_proven = user.get("emailVerified").is_some_and(says_true);
    !is_proven && phone.len() >= PHONE_DIGITS_MIN && digits(local_part) == phone
}

/// A truth value as JSON or as SQLite has it.
fn says_true(value: &Value) -> bool {
    match value {
        Value::Bool(says) => *says,
        Value::Number(number) => number.as_i64() == Some(1),
        _ => false,
    }
}

fn says_false(value: &Value) -> bool {
    match value {
        Value::Bool(says) => !says,
        Value::Number(number) => number.as_i64() == Some(0),
        _ => false,
    }
}

/// A time in microseconds: RFC 3339, or a number of milliseconds.
fn time_of(value: Option<&Value>) -> Option<i64> {
    match value? {
        Value::String(text) => time_us(text),
        Value::Number(ms) => ms.as_i64()?.checked_mul(1_000),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
