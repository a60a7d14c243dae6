//! What every stand-in does to its people, and what a test does to them from within.

use super::people::Details;
use super::shared::Shared;
use super::vendor::UserEvent;
use super::world::World;
use serde_json::{Map, Value};

/// Why a person was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unchanged {
    NoSuchUser,
    /// Somebody else has this.
    Taken(&'static str),
    /// This field must be a text.
    NotText(&'static str),
}

/// Deletes the person; false where there is no such one.
pub(super) fn delete(shared: &Shared, id: &str) -> bool {
    let mut world = shared.world();
    let Some(number) = world.alive(id).map(|person| person.number) else { return false };
    world.remove(number);
    shared.notify(&world, number, UserEvent::Deleted);
    true
}

/// Has the account end by a version of it; false where there is no such one.
pub(super) fn soft_delete(shared: &Shared, id: &str) -> bool {
    let mut world = shared.world();
    let Some(number) = world.alive(id).map(|person| person.number) else { return false };
    world.soft_delete(number, shared.now_ms());
    shared.notify(&world, number, UserEvent::Updated);
    true
}

/// Changes the person by the fields of any of the APIs, as an administrator would, and has it delivered.
pub(super) fn edit(shared: &Shared, id: &str, fields: &Value) -> bool {
    let none = Map::new();
    let fields = fields.as_object().unwrap_or(&none);
    let mut world = shared.world();
    let changed = change_details(&mut world, shared.now_ms(), id, |details| {
        take_fields(details, fields);
        patch(details, fields)
    });
    changed.map(|number| shared.notify(&world, number, UserEvent::Updated)).is_ok()
}

/// Changes what a person holds; their number. Nothing is changed where somebody else has an identifier of it.
pub(super) fn change_details(
    world: &mut World,
    now_ms: i64,
    id: &str,
    change: impl FnOnce(&mut Details) -> Result<(), Unchanged>,
) -> Result<u64, Unchanged> {
    let person = world.alive(id).ok_or(Unchanged::NoSuchUser)?;
    let number = person.number;
    let mut details = world.details(person).into_owned();
    change(&mut details)?;
    check_free(world, &details, Some(number))?;
    world.edit(number, now_ms, |kept| *kept = details);
    Ok(number)
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
    if let Some(is_verified) = fields.get("email_verified").and_then(Value::as_bool) {
        details.is_unverified = !is_verified;
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

/// What of Clerk's fields a person has; null and the empty text take a value away.
pub(super) fn patch(details: &mut Details, fields: &Map<String, Value>) -> Result<(), Unchanged> {
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
            Some(_) => return Err(Unchanged::NotText(name)),
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

/// Whether nobody else has an identifier of these details. Made-up people never collide, so only edited ones are looked at.
pub(super) fn check_free(world: &World, details: &Details, own: Option<u64>) -> Result<(), Unchanged> {
    let others = world.listed(None, false).filter(|person| Some(person.number) != own);
    let taken = others.filter_map(|person| person.edited.as_ref()).find_map(|other| {
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
    });
    taken.map_or(Ok(()), |taken| Err(Unchanged::Taken(taken)))
}
