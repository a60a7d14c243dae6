//! Clerk: webhooks by Svix, `user.*` events that carry the whole user.
//!
//! Source: Clerk's OpenAPI specification of webhooks (2025-04-15) and of the Backend API (2026-05-12). Everything is
//! decoded tolerantly: keys may be absent or null, enums are open, unknown keys are no error.

mod directory;

use super::bans::bans;
use super::directory::Directory;
use super::json::{OnlyId, checked_id, outline_id, printable, reason, set_paths, text};
use super::kept::{Kept, envelope};
use super::lenient;
use super::setup::{Setup, Variable, Variables};
use super::{Glance, Provider, Unintelligible};
use crate::core::columns::{Column, Columns};
use crate::core::event::{Event, EventKind, IdentityKey, Snapshot};
use crate::core::layout::Layout;
use crate::core::timestamp::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::borrow::Cow;

pub struct Clerk;

pub const KIND: &str = "clerk";
const VARIABLES: Variables = Variables {
    title: "Clerk",
    webhook_secret: Variable {
        name: "CLERK_WEBHOOK_SIGNING_SECRET",
        holds: "the signing secret of your endpoint (in Clerk's dashboard: Webhooks, your endpoint, Signing Secret)",
    },
    api_key: Variable { name: "CLERK_SECRET_KEY", holds: "the secret key of the instance" },
    database_url: None,
    api_url: Variable { name: "CLERK_API_URL", holds: "the address of the Backend API" },
};

/// Types that are used. Every other type that Clerk has (organizations, sessions, billing, …) is stored as ignored.
const UPSERTS: [&str; 2] = ["user.created", "user.updated"];
const DELETE: &str = "user.deleted";

/// Whom the dashboard's "Send Example" tells of, always the same.
const EXAMPLE_INSTANCE: &str = "ins_123";
const EXAMPLE_USER: &str = "user_29w83sxmDNGwOuEthce5gg56FcC";

/// From here on a number is milliseconds. Clerk's guide says that `timestamp` is in milliseconds, while its
/// specification shows seconds: both are met. In seconds this would be the year 5138, in milliseconds it is 1973.
const MILLISECONDS_FROM: f64 = 1e11;

/// Fields that move without meaning anything (contract, rule 12), those that are nobody's business here, and those
/// that only deliveries or only the API have: a read would differ from a delivery for nothing.
const LEFT_OUT_OF_PROFILE: [&str; 9] = [
    "private_metadata",
    "last_active_at",
    "last_sign_in_at",
    "locked",
    "lockout_expires_in_seconds",
    "verification_attempts_remaining",
    "updated_at",
    "organization_memberships",
    "scim",
];

/// What may be kept of a user. What Clerk may add, and what only its own pages show, is gone before the inbox.
const KEPT: [&str; 73] = [
    "id",
    "object",
    "deleted",
    "external_id",
    "username",
    "first_name",
    "last_name",
    "locale",
    "image_url",
    "profile_image_url",
    "has_image",
    "banned",
    "deprovisioned",
    "created_at",
    "updated_at",
    "legal_accepted_at",
    "public_metadata",
    "unsafe_metadata",
    "primary_email_address_id",
    "primary_phone_number_id",
    "primary_web3_wallet_id",
    "password_enabled",
    "two_factor_enabled",
    "totp_enabled",
    "backup_code_enabled",
    "delete_self_enabled",
    "create_organization_enabled",
    "email_addresses[].id",
    "email_addresses[].email_address",
    "email_addresses[].verification.status",
    "email_addresses[].verification.strategy",
    "phone_numbers[].id",
    "phone_numbers[].phone_number",
    "phone_numbers[].verification.status",
    "phone_numbers[].verification.strategy",
    "web3_wallets[].id",
    "web3_wallets[].web3_wallet",
    "web3_wallets[].verification.status",
    "web3_wallets[].verification.strategy",
    "external_accounts[].id",
    "external_accounts[].provider",
    "external_accounts[].provider_user_id",
    "external_accounts[].identification_id",
    "external_accounts[].email_address",
    "external_accounts[].username",
    "external_accounts[].first_name",
    "external_accounts[].last_name",
    "external_accounts[].image_url",
    "external_accounts[].avatar_url",
    "external_accounts[].label",
    "external_accounts[].public_metadata",
    "external_accounts[].verification.status",
    "external_accounts[].verification.strategy",
    "saml_accounts[].id",
    "saml_accounts[].provider",
    "saml_accounts[].active",
    "saml_accounts[].email_address",
    "saml_accounts[].first_name",
    "saml_accounts[].last_name",
    "saml_accounts[].provider_user_id",
    "saml_accounts[].verification.status",
    "saml_accounts[].verification.strategy",
    "enterprise_accounts[].id",
    "enterprise_accounts[].provider",
    "enterprise_accounts[].protocol",
    "enterprise_accounts[].active",
    "enterprise_accounts[].email_address",
    "enterprise_accounts[].first_name",
    "enterprise_accounts[].last_name",
    "enterprise_accounts[].provider_user_id",
    "enterprise_accounts[].verification.status",
    "enterprise_accounts[].verification.strategy",
    "passkeys[].id",
];

/// Fields of a user that are lists.
const LISTS: [&str; 8] = [
    "email_addresses",
    "phone_numbers",
    "web3_wallets",
    "passkeys",
    "external_accounts",
    "saml_accounts",
    "enterprise_accounts",
    "enterprise_connections",
];

#[derive(Deserialize)]
struct ClerkEnvelope<'a> {
    #[serde(borrow, default, rename = "type")]
    event_type: Option<Cow<'a, str>>,
    #[serde(default)]
    timestamp: Option<Value>,
    #[serde(default)]
    data: Option<OnlyId>,
}

#[derive(Deserialize)]
struct ClerkDelivery {
    #[serde(rename = "type")]
    event_type: String,
    #[serde(default)]
    timestamp: Option<Value>,
    #[serde(default)]
    instance_id: Option<Value>,
    #[serde(default, rename = "headcount_mended")]
    was_mended: bool,
    data: Map<String, Value>,
}

impl Provider for Clerk {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn setup(&self) -> Setup {
        Setup::Variables(&VARIABLES)
    }

    fn self_written(&self) -> &'static [&'static str] {
        &["unsafe_metadata"]
    }

    fn is_example(&self, event: &Event) -> bool {
        event.instance.as_deref() == Some(EXAMPLE_INSTANCE) || event.key.provider_id == EXAMPLE_USER
    }

    fn glance(&self, body: &str) -> Glance {
        let outlined = |envelope: ClerkEnvelope| {
            let event_type = envelope.event_type.unwrap_or_default();
            Glance {
                used: event_type == DELETE || UPSERTS.contains(&&*event_type),
                event_type: printable(&event_type),
                provider_id: outline_id(envelope.data.and_then(|data| data.text())),
                occurred_at: instant(envelope.timestamp.as_ref()),
                message_id: None,
                is_json: true,
            }
        };
        if let Ok(envelope) = serde_json::from_str(body) {
            return outlined(envelope);
        }
        serde_json::from_str(&lenient::mended(body)).map(outlined).unwrap_or_else(|_| {
            // Too odd for a glance: it is used if its type is, and becomes a dead letter with the reason.
            let event_type = type_alone(body);
            Glance {
                used: event_type == DELETE || UPSERTS.contains(&&*event_type),
                event_type: printable(&event_type),
                ..Glance::default()
            }
        })
    }

    fn keeps(&self) -> Kept {
        Kept::of(KEPT)
    }

    fn kept(&self, body: &str, _signed_at: Timestamp, keep: &Kept) -> Result<String, Unintelligible> {
        envelope(body, &["type", "object", "timestamp", "instance_id"], "data", keep)
    }

    fn normalize(&self, source: &str, body: &str, layout: &Layout) -> Result<Event, Unintelligible> {
        let (ClerkDelivery { event_type, timestamp, instance_id, was_mended, mut data }, mended) =
            lenient::read(body).map_err(reason)?;
        let mended = mended || was_mended;
        let key = IdentityKey { source: source.to_owned(), provider_id: checked_id(text(data.get("id")))? };
        let kind = if event_type == DELETE {
            EventKind::Delete
        } else {
            EventKind::Upsert(snapshot(&mut data, layout)?)
        };
        let instance = text(instance_id.as_ref());
        Ok(Event {
            mended,
            key,
            occurred_at: instant(timestamp.as_ref()),
            instance,
            version_may_go_back: false,
            kind,
        })
    }

    fn snapshot_of(&self, version: i64, user: &Map<String, Value>, layout: &Layout) -> Snapshot {
        let mut columns = columns(user);
        set_paths(&mut columns, user, layout);
        Snapshot {
            version,
            versioned_at: Timestamp::from_ms(version),
            columns,
            suspended: suspended(user),
            external_id: text(user.get("external_id")),
            ..Snapshot::default()
        }
    }

    fn lists(&self) -> &'static [&'static str] {
        &LISTS
    }

    fn leaves_out(&self, field: &str) -> bool {
        LEFT_OUT_OF_PROFILE.contains(&field)
    }

    fn directory(&self) -> Option<&'static dyn Directory> {
        Some(&directory::ClerkApi)
    }
}

/// The type of a body that has one at its top, whatever else is in it.
fn type_alone(body: &str) -> String {
    #[derive(Deserialize)]
    struct TypeAlone {
        #[serde(default, rename = "type")]
        event_type: Option<String>,
    }
    serde_json::from_str::<TypeAlone>(body).ok().and_then(|body| body.event_type).unwrap_or_default()
}

fn snapshot(user: &mut Map<String, Value>, layout: &Layout) -> Result<Snapshot, Unintelligible> {
    let field = "data.updated_at";
    let version = match user.get("updated_at") {
        None | Some(Value::Null) => return Err(Unintelligible::Missing { field }),
        Some(value) => value
            .as_i64()
            .or_else(|| value.as_f64().filter(|ms| ms.fract() == 0.0).map(|ms| ms as i64))
            .filter(|&ms| Timestamp::from_ms(ms).is_some())
            .ok_or(Unintelligible::OutOfRange { field })?,
    };
    scrub(user);
    Ok(Clerk.snapshot(version, user, layout))
}

/// Leaves of the user what is to be remembered: see [`LEFT_OUT_OF_PROFILE`].
fn scrub(user: &mut Map<String, Value>) {
    // Null and absent are the same: what is not required may be either, as the API's version has it.
    user.retain(|field, value| !value.is_null() && !LEFT_OUT_OF_PROFILE.contains(&field.as_str()));
    for value in user.values_mut() {
        if let Value::Array(entries) = value {
            for entry in entries.iter_mut().filter_map(Value::as_object_mut) {
                entry.remove("backup_codes");
                if let Some(Value::Object(verification)) = entry.get_mut("verification") {
                    verification.retain(|field, _| field == "status" || field == "strategy");
                }
            }
        }
    }
}

fn suspended(user: &Map<String, Value>) -> bool {
    ["banned", "deprovisioned"].iter().any(|field| bans(user.get(*field)))
}

fn columns(user: &Map<String, Value>) -> Columns {
    let own = |field: &str| text(user.get(field));
    let mut columns = Columns::default();
    let email = primary(user, "email_addresses", "primary_email_address_id");
    let verified = email.is_some_and(|email| {
        email.get("verification").and_then(|v| v.get("status")) == Some(&Value::from("verified"))
    });
    columns.set(Column::Email, email.and_then(|email| text(email.get("email_address"))));
    columns.set(Column::EmailVerified, Some(verified.to_string()));
    let phone = primary(user, "phone_numbers", "primary_phone_number_id");
    columns.set(Column::Phone, phone.and_then(|phone| text(phone.get("phone_number"))));
    columns.set(Column::Username, own("username"));
    columns.set(Column::FirstName, own("first_name"));
    columns.set(Column::LastName, own("last_name"));
    columns.set(Column::DisplayName, display_name(user));
    columns.set(Column::AvatarUrl, avatar(user));
    let created_at = user.get("created_at").and_then(Value::as_i64).and_then(Timestamp::from_ms);
    columns.set(Column::CreatedAt, created_at.map(|at| at.to_string()));
    columns
}

/// The entry whose id the user names as primary: not the first one, and none where no entry has that id (Clerk's own
/// examples have a primary id beside an empty list).
fn primary<'a>(user: &'a Map<String, Value>, list: &str, id_field: &str) -> Option<&'a Value> {
    let id = user.get(id_field)?.as_str()?;
    user.get(list)?.as_array()?.iter().find(|entry| entry.get("id").and_then(Value::as_str) == Some(id))
}

/// First and last name, else the username: what other people may see. Never an address.
fn display_name(user: &Map<String, Value>) -> Option<String> {
    let names: Vec<String> =
        ["first_name", "last_name"].iter().filter_map(|field| text(user.get(*field))).collect();
    if names.is_empty() {
        return text(user.get("username"));
    }
    Some(names.join(" "))
}

/// `image_url` is never empty: without `has_image` it is a generated placeholder.
fn avatar(user: &Map<String, Value>) -> Option<String> {
    if user.get("has_image") == Some(&Value::Bool(false)) {
        return None;
    }
    text(user.get("image_url")).or_else(|| text(user.get("profile_image_url")))
}

/// A unix time in seconds or milliseconds.
fn instant(value: Option<&Value>) -> Option<Timestamp> {
    let number = value?.as_f64()?;
    let ms = if number >= MILLISECONDS_FROM { number } else { number * 1000.0 };
    (ms.is_finite() && ms > 0.0).then_some(ms as i64).and_then(Timestamp::from_ms)
}

#[cfg(test)]
mod tests;
