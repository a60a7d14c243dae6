//! Reading providers' JSON: tolerantly, and so that both databases can hold what comes of it.

use super::Unintelligible;
use crate::core::columns::{Cell, Column, Columns};
use crate::core::event::PROVIDER_ID_BYTES_MAX;
use crate::core::layout::Layout;
use crate::core::timestamp::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Event types longer than this are cut: the name is for people to read.
const EVENT_TYPE_CHARS_MAX: usize = 100;

/// What can be told of a user that cannot be understood.
#[derive(Deserialize)]
pub(super) struct OnlyId {
    #[serde(default)]
    id: Option<Value>,
}

impl OnlyId {
    pub(super) fn text(&self) -> Option<String> {
        text(self.id.as_ref())
    }
}

/// A text that says something: null, absent, empty and non-texts are none.
pub(super) fn text(value: Option<&Value>) -> Option<String> {
    let text = value?.as_str()?;
    (!text.is_empty()).then(|| text.to_owned())
}

pub(super) fn printable(event_type: &str) -> String {
    event_type
        .chars()
        .take(EVENT_TYPE_CHARS_MAX)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// An id that the inbox can hold beside a delivery, whatever comes of it.
pub(super) fn outline_id(id: Option<String>) -> Option<String> {
    id.filter(|id| id.len() <= PROVIDER_ID_BYTES_MAX && !id.contains('\0'))
}

/// serde's message without the values that it may quote: a dead letter's reason is shown and logged.
pub(super) fn reason(error: serde_json::Error) -> Unintelligible {
    Unintelligible::Body(place_of(&error))
}

pub(super) fn place_of(error: &serde_json::Error) -> String {
    format!("{:?} error at line {} column {}", error.classify(), error.line(), error.column())
}

/// An id that can be a key in both databases.
pub(super) fn checked_id(id: Option<String>) -> Result<String, Unintelligible> {
    let field = "the account's id";
    let id = id.filter(|id| !id.is_empty()).ok_or(Unintelligible::Missing { field })?;
    if id.len() > PROVIDER_ID_BYTES_MAX {
        let max = PROVIDER_ID_BYTES_MAX;
        return Err(Unintelligible::TooLong { field, max });
    }
    if id.contains('\0') {
        return Err(Unintelligible::Nul { field });
    }
    Ok(id)
}

/// Fills the columns that show paths of the profile, and fits all of them to the layout.
pub(super) fn set_paths(columns: &mut Columns, profile: &Map<String, Value>, layout: &Layout) {
    for (column, path) in (0..).map(Column::Path).zip(layout.paths()) {
        columns.set(column, at_path(profile, &path.path));
    }
    layout.fit(columns);
}

/// The profile as it is stored. Not by `Display`, which writes piece by piece through a formatter.
pub(super) fn profile_text(profile: &Map<String, Value>) -> String {
    serde_json::to_string(profile).unwrap_or_default()
}

/// What lies at `a.b.c`: a text, a number or a truth value as its text, anything larger as JSON; nothing for null, an
/// empty text, and a path that leads nowhere.
pub(super) fn at_path(profile: &Map<String, Value>, path: &str) -> Cell {
    match value_at(profile, path)? {
        Value::Null => None,
        Value::String(text) => (!text.is_empty()).then(|| text.clone()),
        other => Some(other.to_string()),
    }
}

/// The value at `a.b.c`, where the path leads anywhere.
pub(super) fn value_at<'a>(object: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    match (object.get(first)?, rest) {
        (Value::Object(inner), Some(rest)) => value_at(inner, rest),
        (_, Some(_)) => None,
        (value, None) => Some(value),
    }
}

/// Both databases must be able to hold, and PostgreSQL to index, what a column is given.
pub(super) fn checked_columns(columns: &Columns, layout: &Layout) -> Result<(), Unintelligible> {
    for column in layout.columns() {
        let field = match column {
            Column::Path(_) => "a profile path",
            own => own.name(),
        };
        let value = columns.get(column).unwrap_or_default();
        if value.contains('\0') {
            return Err(Unintelligible::Nul { field });
        }
    }
    Ok(())
}

/// RFC 3339 of any width and offset, in microseconds since 1970; finer parts are dropped.
pub(super) fn rfc3339_us(text: &str) -> Option<i64> {
    let parsed = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    let us = i64::try_from(parsed.unix_timestamp_nanos().div_euclid(1_000)).ok()?;
    instant_us(us).map(|_| us)
}

/// Microseconds as an instant.
pub(super) fn instant_us(us: i64) -> Option<Timestamp> {
    Timestamp::from_ms(us.div_euclid(1_000))
}

/// A byte of a path's segment, escaped where it could mean something.
pub(super) fn segment(id: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'~');
    // Nothing but dots would be taken for the folder itself, or the one above it.
    let is_dots = id.bytes().all(|byte| byte == b'.');
    id.bytes()
        .map(|byte| match plain(byte) && !is_dots {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}
