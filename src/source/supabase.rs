//! Supabase Auth: database webhooks on `auth.users`, and auth hooks.
//!
//! Source: supabase/auth (the API's user, the columns of `auth.users`, the hooks' signatures) and Supabase's page on
//! database webhooks. A webhook carries the raw row with a password's hash and tokens; a read shows the API's user. Both
//! become one and the same profile here, or every read would look like a change.

mod directory;
mod install;
mod row;

use super::Kept;
use super::bans::ban_until;
use super::directory::Directory;
use super::json::{at_path, checked_id, outline_id, printable, set_paths, text, time_us};
use super::moment::instant_us;
use super::setup::{Setup, Variable, Variables};
use super::signature::{KeyError, Scheme, SigningKey};
use super::{Glance, Provider, Unintelligible};
use crate::core::columns::{Column, Columns};
use crate::core::event::{Event, EventKind, IdentityKey, Snapshot};
use crate::core::layout::Layout;
use crate::core::timestamp::Timestamp;
use row::{KEPT, Profile, RowChange};
use serde_json::{Map, Value};
use url::Url;

pub struct Supabase;

pub const KIND: &str = "supabase";
const VARIABLES: Variables = Variables {
    title: "Supabase",
    webhook_secret: Variable {
        name: "SUPABASE_WEBHOOK_SECRET",
        holds: "a secret of your own, which `headcount source install supabase` puts into the webhook",
    },
    api_key: Variable { name: "SUPABASE_SERVICE_ROLE_KEY", holds: "the service_role key of the project" },
    database_url: None,
    api_url: Variable { name: "SUPABASE_URL", holds: "the address of the project" },
};

/// What the table of a delivery is, as `auth.users` has it.
const TABLE: (&str, &str) = ("auth", "users");

impl Provider for Supabase {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn setup(&self) -> Setup {
        Setup::Variables(&VARIABLES)
    }

    /// The secret of a database webhook's header, and those of auth hooks (`v1,whsec_…`, separated by `|`).
    fn keys(&self, secrets: &str) -> Result<Vec<SigningKey>, KeyError> {
        let mut keys = Vec::new();
        for secret in crate::source::signature::secrets(secrets)? {
            keys.push(SigningKey::plain(Scheme::Bearer, secret)?);
            if secret.starts_with("whsec_") {
                keys.extend(SigningKey::parse(secret).ok());
            }
        }
        Ok(keys)
    }

    fn glance(&self, body: &str) -> Glance {
        let Ok(change) = RowChange::read(body) else { return Glance::default() };
        if let Some(hook) = change.hook {
            // An auth hook: `before-user-created` is no creation, for the sign-up may still fail; the row tells of it.
            // Its `webhook-id` is another one with each attempt.
            return Glance { event_type: printable(&hook.name), message_id: hook.id, ..Glance::default() };
        }
        let used = change.is_of(TABLE) && matches!(&*change.kind, "INSERT" | "UPDATE" | "DELETE");
        let provider_id = change.told().and_then(|row| row.text("id"));
        let table = change.table.as_deref().unwrap_or_default();
        Glance {
            event_type: printable(&match used {
                true => change.kind.to_string(),
                false => format!("{}.{table}", change.kind),
            }),
            provider_id: outline_id(provider_id).filter(|_| used),
            used,
            ..Glance::default()
        }
    }

    fn keeps(&self) -> Kept {
        Kept::of(KEPT)
    }

    /// None of its values is decoded, and there are no columns but those that headcount knows.
    fn kept(&self, body: &str, _signed_at: Timestamp, _keep: &Kept) -> Result<String, Unintelligible> {
        Ok(RowChange::read(body)?.stripped())
    }

    fn normalize(&self, source: &str, body: &str, layout: &Layout) -> Result<Event, Unintelligible> {
        let change = RowChange::read(body)?;
        let field = if change.is_delete() { "old_record" } else { "record" };
        let row = change.told().ok_or(Unintelligible::Missing { field })?;
        let key = IdentityKey { source: source.to_owned(), provider_id: checked_id(row.text("id"))? };
        let mut mended = false;
        let kind = match change.is_delete() {
            true => EventKind::Delete,
            false => {
                let (row, has_odd_parts) = row.object()?;
                mended = has_odd_parts;
                EventKind::Upsert(snapshot(&row, layout)?)
            }
        };
        Ok(Event { mended, key, occurred_at: None, instance: None, version_may_go_back: false, kind })
    }

    fn snapshot_of(&self, version: i64, user: &Map<String, Value>, layout: &Layout) -> Snapshot {
        let mut columns = columns(user);
        set_paths(&mut columns, user, layout);
        // As of this version: who is banned until a time that lay behind it already is not.
        let banned_until = ban_until(user.get("banned_until"), version);
        let ended_at =
            user.get("deleted_at").and_then(Value::as_str).map(|at| time_us(at).unwrap_or(version));
        Snapshot {
            version,
            versioned_at: instant_us(version),
            columns,
            suspended: banned_until.is_some(),
            suspended_until: banned_until.flatten(),
            ended_at: ended_at.and_then(instant_us),
            ..Snapshot::default()
        }
    }

    fn self_written(&self) -> &'static [&'static str] {
        &["user_metadata"]
    }

    fn leaves_out(&self, field: &str) -> bool {
        !Profile::has(field)
    }

    fn installation(&self, to: &Url, secret: &str) -> Option<String> {
        Some(install::sql(to.as_str(), secret))
    }

    fn directory(&self) -> Option<&'static dyn Directory> {
        Some(&directory::SupabaseApi)
    }
}

/// A row of `auth.users`, or the API's user: versions are microseconds.
fn snapshot(user: &Map<String, Value>, layout: &Layout) -> Result<Snapshot, Unintelligible> {
    let field = "updated_at";
    let updated_at = text(user.get(field)).ok_or(Unintelligible::Missing { field })?;
    let version = time_us(&updated_at).ok_or(Unintelligible::OutOfRange { field })?;
    Ok(Supabase.snapshot(version, &Profile::of(user), layout))
}

/// `user_metadata` is the user's own to write: names and pictures are taken from there, and nothing that must be true.
fn columns(user: &Map<String, Value>) -> Columns {
    let own = |field: &str| text(user.get(field));
    let mut columns = Columns::default();
    let email = own("email");
    let verified = email.is_some() && user.contains_key("email_confirmed_at");
    columns.set(Column::Email, email);
    columns.set(Column::EmailVerified, Some(verified.to_string()));
    columns.set(Column::Phone, own("phone"));
    let first = |paths: [&str; 2]| paths.into_iter().find_map(|path| at_path(user, path));
    columns.set(Column::DisplayName, first(["user_metadata.full_name", "user_metadata.name"]));
    columns.set(Column::AvatarUrl, first(["user_metadata.avatar_url", "user_metadata.picture"]));
    let created_at = own("created_at").and_then(|at| time_us(&at)).and_then(instant_us);
    columns.set(Column::CreatedAt, created_at.map(|at: Timestamp| at.to_string()));
    columns
}

#[cfg(test)]
mod tests;
