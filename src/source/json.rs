//! Reading providers' JSON: tolerantly, and so that both databases can hold what comes of it.

use super::Unintelligible;
use super::moment::Moment;
use super::path::value_at;
use crate::core::columns::{Cell, Column, Columns};
use crate::core::event::PROVIDER_ID_BYTES_MAX;
use crate::core::layout::Layout;
use serde::Deserialize;
use serde_json::{Map, Value};

/// Stands in an id for what cannot be decoded: two ids might become one.
const UNDECODABLE: [char; 2] = ['\0', '\u{fffd}'];
/// Names longer than this are cut.
const NAME_CHARS_MAX: usize = 500;
/// Other texts of a column's are left out where they are longer.
const TEXT_BYTES_MAX: usize = 8 * 1024;
/// The same of a path of the profile.
const PATH_BYTES_MAX: usize = 64 * 1024;
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
    id.filter(|id| id.len() <= PROVIDER_ID_BYTES_MAX && !id.contains(UNDECODABLE))
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
    if id.contains(UNDECODABLE) {
        return Err(Unintelligible::Undecodable { field });
    }
    Ok(id)
}

/// Fills the columns that show paths of the profile, and fits all of them to the layout.
pub(super) fn set_paths(columns: &mut Columns, profile: &Map<String, Value>, layout: &Layout) {
    for (column, path) in (0..).map(Column::Path).zip(layout.paths()) {
        columns.set(column, at_path(profile, &path.path));
    }
    layout.fit(columns);
    limit(columns, layout);
}

/// The profile as it is stored. Not by `Display`, which writes piece by piece through a formatter.
pub(super) fn profile_text(profile: &Map<String, Value>) -> String {
    serde_json::to_string(profile).unwrap_or_default()
}

/// What lies at a path: a text, a number or a truth value as its text, anything larger as JSON; nothing for null, an
/// empty text, and a path that leads nowhere.
pub(super) fn at_path(profile: &Map<String, Value>, path: &str) -> Cell {
    match value_at(profile, path)? {
        Value::Null => None,
        Value::String(text) => (!text.is_empty()).then(|| text.clone()),
        other => Some(other.to_string()),
    }
}

/// What a column is given of a provider's text, within limits: lists of a thousand people must stay small, and an address
/// must fit an index. A name is cut; anything else would be another thing when cut, and is left out.
fn limit(columns: &mut Columns, layout: &Layout) {
    for column in layout.columns() {
        let Some(text) = columns.get(column) else { continue };
        let limited = match column {
            Column::FirstName | Column::LastName | Column::DisplayName => {
                text.char_indices().nth(NAME_CHARS_MAX).map(|(end, _)| Some(text[..end].to_owned()))
            }
            Column::Path(_) => (text.len() > PATH_BYTES_MAX).then_some(None),
            _ => (text.len() > TEXT_BYTES_MAX).then_some(None),
        };
        if let Some(limited) = limited {
            columns.set(column, limited);
        }
    }
}

/// A time in microseconds since 1970.
pub(super) fn time_us(text: &str) -> Option<i64> {
    Moment::parse(text)?.us()
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
