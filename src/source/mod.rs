//! The providers: how a delivery is signed and what it says. One file a provider, all alike.

pub mod clerk;
pub mod directory;
pub mod http;
pub mod signature;

use crate::core::columns::{Cell, Column, Columns};
use crate::core::event::{Event, PROVIDER_ID_BYTES_MAX, Snapshot};
use crate::core::layout::Layout;
use crate::core::link::LinkRule;
use crate::core::timestamp::Timestamp;
use directory::Directory;
use http::ApiAccess;
use serde_json::{Map, Value};
use signature::SigningKey;
use thiserror::Error;

/// One configured auth provider instance.
#[derive(Clone)]
pub struct Source {
    /// The name in paths, tables and logs; equal to the kind's unless configured otherwise.
    pub name: String,
    pub provider: &'static dyn Provider,
    /// Every secret that may have signed a delivery; empty where the source takes none.
    pub webhook_keys: Vec<SigningKey>,
    /// How to read the provider's API; `None` where no key is configured.
    pub api: Option<ApiAccess>,
    /// The instance that the source is pinned to by configuration.
    pub instance: Option<String>,
    /// How an account that is seen for the first time finds a row that is there already.
    pub link_by: Vec<LinkRule>,
}

/// What differs from provider to provider.
pub trait Provider: Send + Sync {
    /// The kind's name in configuration.
    fn kind(&self) -> &'static str;

    /// What can be told of a verified body at a glance; unknown fields, absent ones and odd types are no error.
    fn glance(&self, body: &str) -> Glance;

    /// What the delivery says, in full, for the columns of this layout.
    fn normalize(&self, source: &str, body: &str, layout: &Layout) -> Result<Event, Unintelligible>;

    /// The snapshot that left this profile behind.
    fn recall(&self, version: i64, profile: String, layout: &Layout) -> Snapshot;

    /// Whether a stored profile never has this field, so that no column can be filled from it.
    fn leaves_out(&self, field: &str) -> bool;

    /// How its API is read.
    fn directory(&self) -> &'static dyn Directory;
}

/// A delivery's outline: enough to store it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Glance {
    /// The provider's name for what happened; empty where the body names none.
    pub event_type: String,
    /// The account that it is about, where that can be told.
    pub provider_id: Option<String>,
    pub occurred_at: Option<Timestamp>,
    /// Whether headcount uses deliveries of this type. The body of any other is not stored.
    pub used: bool,
}

/// Why a verified user event cannot be applied, ever. Names the field, never its value.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Unintelligible {
    #[error("the body cannot be read as this event: {0}")]
    Body(String),
    #[error("{field} is missing")]
    Missing { field: &'static str },
    #[error("{field} is out of range")]
    OutOfRange { field: &'static str },
    #[error("{field} is longer than {max} bytes")]
    TooLong { field: &'static str, max: usize },
    #[error("{field} holds a NUL character, which no database text can hold")]
    Nul { field: &'static str },
}

/// Every kind of provider that this version speaks.
pub const PROVIDERS: &[&dyn Provider] = &[&clerk::Clerk];

pub fn provider(kind: &str) -> Option<&'static dyn Provider> {
    PROVIDERS.iter().copied().find(|provider| provider.kind() == kind)
}

/// An id that can be a key in both databases.
fn checked_id(id: Option<String>) -> Result<String, Unintelligible> {
    let field = "data.id";
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
fn set_paths(columns: &mut Columns, profile: &Map<String, Value>, layout: &Layout) {
    for (column, path) in (0..).map(Column::Path).zip(layout.paths()) {
        columns.set(column, at_path(profile, &path.path));
    }
    layout.fit(columns);
}

/// What lies at `a.b.c`: a text, a number or a truth value as its text, anything larger as JSON; nothing for null, an
/// empty text, and a path that leads nowhere.
fn at_path(profile: &Map<String, Value>, path: &str) -> Cell {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    match (profile.get(first)?, rest) {
        (Value::Object(inner), Some(rest)) => at_path(inner, rest),
        (_, Some(_)) | (Value::Null, None) => None,
        (Value::String(text), None) => (!text.is_empty()).then(|| text.clone()),
        (other, None) => Some(other.to_string()),
    }
}

/// Both databases must be able to hold, and PostgreSQL to index, what a column is given.
fn checked_columns(columns: &Columns, layout: &Layout) -> Result<(), Unintelligible> {
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
