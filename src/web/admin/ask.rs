//! What is asked: ids and parameters of the address, and JSON in the body. Whatever does not fit is a 400 with its reason.

use crate::core::columns::{Cell, Column, ColumnType, Columns};
use crate::core::layout::Layout;
use crate::nearest::nearest;
use crate::reconcile::hintable;
use crate::web::body::BodyBudget;
use crate::web::problem::Problem;
use axum::body::Body;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Of a text that a call puts into a row.
const TEXT_BYTES_MAX: usize = 4_096;
/// Columns that one call may set.
const COLUMNS_MAX: usize = 100;

/// The last part of the address.
pub struct Named(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(name)) => Ok(Self(name)),
            Err(_) => Err(Problem::bad_request("the id in the address is not UTF-8")),
        }
    }
}

/// Parameters of the address, each at most once.
pub struct Parameters(BTreeMap<String, String>);

impl Parameters {
    pub fn read(query: Option<&str>, known: &[&str]) -> Result<Self, Problem> {
        let mut parameters = BTreeMap::new();
        for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            if !known.contains(&&*name) {
                let nearest = nearest(known, &name);
                let nearest =
                    nearest.map_or(String::new(), |nearest| format!("; the nearest is `{nearest}`"));
                return Err(Problem::bad_request(format!("there is no such parameter{nearest}")));
            }
            if parameters.insert(name.to_string(), value.into_owned()).is_some() {
                return Err(Problem::bad_request(format!("`{name}` is there twice")));
            }
        }
        Ok(Self(parameters))
    }

    /// Where it is there and not empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }

    /// One of these words.
    pub fn one_of(&self, name: &str, words: &[&str]) -> Result<Option<String>, Problem> {
        match self.0.get(name) {
            None => Ok(None),
            Some(word) if words.contains(&&**word) => Ok(Some(word.clone())),
            Some(_) => Err(Problem::bad_request(format!("`{name}` must be one of {}", words.join(", ")))),
        }
    }

    pub fn number(&self, name: &str, range: std::ops::RangeInclusive<i64>) -> Result<Option<i64>, Problem> {
        let Some(text) = self.0.get(name) else { return Ok(None) };
        match text.parse::<i64>().ok().filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(Problem::bad_request(format!(
                "`{name}` must be a whole number from {} to {}",
                range.start(),
                range.end()
            ))),
        }
    }

    /// A list with commas between, of at most `max`.
    pub fn list(&self, name: &str, max: usize) -> Result<Option<Vec<String>>, Problem> {
        let Some(text) = self.0.get(name) else { return Ok(None) };
        let items: Vec<String> = text.split(',').map(str::to_owned).collect();
        match items.len() {
            _ if text.is_empty() => Err(Problem::bad_request(format!("`{name}` names nobody"))),
            count if count > max => {
                Err(Problem::bad_request(format!("`{name}` names {count}; at most {max} at once")))
            }
            _ => Ok(Some(items)),
        }
    }

    /// What [`cursor`] has made.
    pub fn cursor(&self) -> Result<Option<String>, Problem> {
        let Some(text) = self.0.get("cursor") else { return Ok(None) };
        let decoded = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let place = decoded.and_then(|decoded| decoded.strip_prefix("after:").map(str::to_owned));
        place.map(Some).ok_or_else(bad_cursor)
    }
}

pub fn bad_cursor() -> Problem {
    Problem::bad_request("`cursor` is none that was given out; begin without one")
}

/// A place in a list, as nobody should take it apart.
pub fn cursor(place: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("after:{place}"))
}

/// How much of a name is repeated.
const SHOWN_CHARS_MAX: usize = 40;

/// A JSON object with no other keys than these.
pub async fn object(
    budget: &BodyBudget,
    headers: &HeaderMap,
    body: Body,
    known: Option<&[&str]>,
) -> Result<Map<String, Value>, Problem> {
    let body = budget.read(headers, body).await?;
    let Ok(Value::Object(object)) = serde_json::from_slice(&body.bytes) else {
        return Err(Problem::bad_request("the body must be a JSON object"));
    };
    if let Some(known) = known
        && let Some(odd) = object.keys().find(|key| !known.contains(&key.as_str()))
    {
        let nearest = nearest(known, odd);
        let nearest = nearest.copied().unwrap_or_default();
        return Err(Problem::bad_request(format!(
            "the body has a key that is unknown: `{}`; the nearest is `{nearest}`",
            shown(odd)
        )));
    }
    Ok(object)
}

/// A name that somebody has sent, as far as a message repeats it.
fn shown(name: &str) -> String {
    name.chars().take(SHOWN_CHARS_MAX).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

pub fn text(object: &Map<String, Value>, key: &str) -> Result<String, Problem> {
    match object.get(key) {
        Some(Value::String(text)) => Ok(text.clone()),
        _ => Err(Problem::bad_request(format!("`{key}` must be a text"))),
    }
}

pub fn optional_text(object: &Map<String, Value>, key: &str) -> Result<Option<String>, Problem> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(_) => text(object, key).map(Some),
    }
}

pub fn inner(object: &Map<String, Value>, key: &str) -> Result<Map<String, Value>, Problem> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(inner)) => Ok(inner.clone()),
        Some(_) => Err(Problem::bad_request(format!("`{key}` must be an object of columns"))),
    }
}

/// Values that a call sets, by the name of the column.
pub fn cells(layout: &Layout, object: &Map<String, Value>) -> Result<BTreeMap<String, Cell>, Problem> {
    if object.len() > COLUMNS_MAX {
        return Err(Problem::bad_request(format!("a call sets at most {COLUMNS_MAX} columns")));
    }
    let cell = |(name, value): (&String, &Value)| {
        let cell = match layout.column(name) {
            Some(column) => cell(layout, column, name, value)?,
            None => their_cell(name, value)?,
        };
        Ok((name.clone(), cell))
    };
    object.iter().map(cell).collect()
}

/// Values that a call knows of a person.
pub fn hints(layout: &Layout, object: &Map<String, Value>) -> Result<Columns, Problem> {
    let mut hints = Columns::default();
    for (name, value) in object {
        let Some(column) = hintable(layout, name) else {
            let known =
                layout.columns().map(|column| layout.name(column)).filter(|n| hintable(layout, n).is_some());
            let nearest = nearest(known, name).unwrap_or_default();
            return Err(Problem::bad_request(format!("`hints` names no column; the nearest is `{nearest}`")));
        };
        hints.set(column, cell(layout, column, name, value)?);
    }
    Ok(hints)
}

/// Of a column that headcount fills as well: one line of text, or a truth value.
fn cell(layout: &Layout, column: Column, name: &str, value: &Value) -> Result<Cell, Problem> {
    match (layout.column_type(column), value) {
        (_, Value::Null) => Ok(None),
        (ColumnType::Bool, Value::Bool(truth)) => Ok(Some(truth.to_string())),
        (ColumnType::Integer, Value::Number(number)) if number.is_i64() => Ok(Some(number.to_string())),
        (ColumnType::Text, Value::String(text)) if text.is_empty() => Ok(None),
        (ColumnType::Text, Value::String(text)) => {
            if text.len() > TEXT_BYTES_MAX {
                return Err(Problem::bad_request(format!("`{name}` is longer than {TEXT_BYTES_MAX} bytes")));
            }
            if text.chars().any(is_deceptive) {
                let detail = format!("`{name}` holds control characters, or such that turn the line around");
                return Err(Problem::bad_request(detail));
            }
            Ok(Some(text.clone()))
        }
        _ => Err(Problem::bad_request(format!("`{name}` has a value of another type than its column"))),
    }
}

/// Of a column of the application's: as PostgreSQL and SQLite read texts.
fn their_cell(name: &str, value: &Value) -> Result<Cell, Problem> {
    let text = match value {
        Value::Null => return Ok(None),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if text.len() > TEXT_BYTES_MAX || text.contains('\0') || name.contains('\0') {
        let detail = format!("a value is longer than {TEXT_BYTES_MAX} bytes, or holds a NUL character");
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    }
    Ok(Some(text))
}

fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
