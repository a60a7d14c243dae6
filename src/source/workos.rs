//! WorkOS AuthKit: `user.*` events that carry the whole user, a deletion included.
//!
//! Source: WorkOS' guides on webhooks and events, and the types of `@workos-inc/node` 11.0.0. Decoded tolerantly: keys
//! may be absent or null, unknown keys are no error. A user has no username, no phone and no ban there.

mod directory;
mod events;

use super::directory::Directory;
use super::json::{OnlyId, checked_id, outline_id, printable, reason, set_paths, text, time_us};
use super::kept::{Kept, envelope};
use super::lenient;
use super::moment::instant_us;
use super::setup::{Setup, Variable, Variables};
use super::signature::{MESSAGE_ID_BYTES_MAX, Scheme};
use super::{Glance, Provider, Unintelligible};
use crate::core::columns::{Column, Columns};
use crate::core::event::{Event, EventKind, IdentityKey, Snapshot};
use crate::core::layout::Layout;
use crate::core::timestamp::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::borrow::Cow;

pub struct WorkOs;

pub const KIND: &str = "workos";
const VARIABLES: Variables = Variables {
    title: "WorkOS",
    webhook_secret: Variable {
        name: "WORKOS_WEBHOOK_SECRET",
        holds: "the signing secret of your endpoint (in WorkOS' dashboard: Webhooks, your endpoint)",
    },
    api_key: Variable { name: "WORKOS_API_KEY", holds: "the API key of the environment" },
    database_url: None,
    api_url: Variable { name: "WORKOS_API_URL", holds: "the address of the API" },
};

const UPSERTS: [&str; 2] = ["user.created", "user.updated"];
const DELETE: &str = "user.deleted";
/// What may be kept of a user.
const KEPT: [&str; 13] = [
    "object",
    "id",
    "email",
    "email_verified",
    "name",
    "first_name",
    "last_name",
    "profile_picture_url",
    "locale",
    "external_id",
    "metadata",
    "created_at",
    "updated_at",
];
/// Fields that move without meaning anything (contract, rule 12).
const LEFT_OUT_OF_PROFILE: [&str; 3] = ["object", "last_sign_in_at", "updated_at"];

/// "limit: 1..100", and 10 where none is named.
const PAGE_SIZE: usize = 100;

/// How a list goes on.
#[derive(Default, Deserialize)]
struct ListMetadata {
    #[serde(default)]
    after: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WorkOsEnvelope<'a> {
    id: Option<Value>,
    #[serde(borrow)]
    event: Option<Cow<'a, str>>,
    created_at: Option<Value>,
    data: Option<OnlyId>,
}

#[derive(Deserialize)]
struct WorkOsDelivery {
    event: String,
    #[serde(default)]
    created_at: Option<Value>,
    #[serde(default, rename = "headcount_mended")]
    was_mended: bool,
    data: Map<String, Value>,
}

impl Provider for WorkOs {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn setup(&self) -> Setup {
        Setup::Variables(&VARIABLES)
    }

    fn scheme(&self) -> Scheme {
        Scheme::Timed
    }

    fn glance(&self, body: &str) -> Glance {
        // Too odd for a glance: the outline alone, which is read without looking at what a user holds.
        let mended;
        let envelope = match serde_json::from_str::<WorkOsEnvelope>(body) {
            Ok(envelope) => envelope,
            Err(_) => {
                mended = lenient::mended(body);
                serde_json::from_str(&mended).or_else(|_| outline(&mended)).unwrap_or_default()
            }
        };
        let event_type = envelope.event.unwrap_or_default();
        let id =
            text(envelope.id.as_ref()).filter(|id| id.len() <= MESSAGE_ID_BYTES_MAX && !id.contains('\0'));
        Glance {
            used: event_type == DELETE || UPSERTS.contains(&&*event_type),
            event_type: printable(&event_type),
            provider_id: outline_id(envelope.data.and_then(|data| data.text())),
            occurred_at: instant(envelope.created_at.as_ref()),
            message_id: id,
            is_json: false,
        }
    }

    fn keeps(&self) -> Kept {
        Kept::of(KEPT)
    }

    fn kept(&self, body: &str, _signed_at: Timestamp, keep: &Kept) -> Result<String, Unintelligible> {
        envelope(body, &["object", "id", "event", "created_at"], "data", keep)
    }

    fn normalize(&self, source: &str, body: &str, layout: &Layout) -> Result<Event, Unintelligible> {
        let (WorkOsDelivery { event, created_at, was_mended, mut data }, mended) =
            lenient::read(body).map_err(reason)?;
        let mended = mended || was_mended;
        let key = IdentityKey { source: source.to_owned(), provider_id: checked_id(text(data.get("id")))? };
        // The user that a deletion carries is the user as it was: its time is not the deletion's.
        let kind = match event == DELETE {
            true => EventKind::Delete,
            false => EventKind::Upsert(snapshot(&mut data, layout)?),
        };
        Ok(Event {
            mended,
            key,
            occurred_at: instant(created_at.as_ref()),
            instance: None,
            version_may_go_back: false,
            kind,
        })
    }

    fn snapshot_of(&self, version: i64, user: &Map<String, Value>, layout: &Layout) -> Snapshot {
        let mut columns = columns(user);
        set_paths(&mut columns, user, layout);
        Snapshot {
            version,
            versioned_at: instant_us(version),
            columns,
            external_id: text(user.get("external_id")),
            ..Snapshot::default()
        }
    }

    fn leaves_out(&self, field: &str) -> bool {
        LEFT_OUT_OF_PROFILE.contains(&field)
    }

    fn directory(&self) -> Option<&'static dyn Directory> {
        Some(&directory::WorkOsApi)
    }
}

/// The outline of a body in which something cannot be decoded, such as half of a surrogate pair in a name.
fn outline(body: &str) -> Result<WorkOsEnvelope<'_>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Outline<'a> {
        id: Option<Value>,
        #[serde(borrow)]
        event: Option<Cow<'a, str>>,
    }
    let Outline { id, event } = serde_json::from_str(body)?;
    Ok(WorkOsEnvelope { id, event, ..WorkOsEnvelope::default() })
}

/// Its version is `updated_at` in microseconds, though WorkOS shows milliseconds.
fn snapshot(user: &mut Map<String, Value>, layout: &Layout) -> Result<Snapshot, Unintelligible> {
    let field = "data.updated_at";
    let updated_at = text(user.get("updated_at")).ok_or(Unintelligible::Missing { field })?;
    let version = time_us(&updated_at).ok_or(Unintelligible::OutOfRange { field })?;
    user.retain(|field, value| !value.is_null() && !LEFT_OUT_OF_PROFILE.contains(&field.as_str()));
    Ok(WorkOs.snapshot(version, user, layout))
}

fn columns(user: &Map<String, Value>) -> Columns {
    let own = |field: &str| text(user.get(field));
    let mut columns = Columns::default();
    let email = own("email");
    let verified = email.is_some() && user.get("email_verified") == Some(&Value::Bool(true));
    columns.set(Column::Email, email);
    columns.set(Column::EmailVerified, Some(verified.to_string()));
    columns.set(Column::FirstName, own("first_name"));
    columns.set(Column::LastName, own("last_name"));
    let names: Vec<String> = ["first_name", "last_name"].into_iter().filter_map(own).collect();
    columns.set(Column::DisplayName, own("name").or((!names.is_empty()).then(|| names.join(" "))));
    columns.set(Column::AvatarUrl, own("profile_picture_url"));
    columns.set(Column::CreatedAt, instant(user.get("created_at")).map(|at| at.to_string()));
    columns
}

fn instant(value: Option<&Value>) -> Option<Timestamp> {
    time_us(value?.as_str()?).and_then(instant_us)
}

#[cfg(test)]
mod tests;
