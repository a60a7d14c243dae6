//! The providers: how a delivery is signed and what it says. One file a provider, all alike.

pub mod clerk;
pub mod directory;
pub mod http;
pub mod signature;

use crate::core::columns::Columns;
use crate::core::event::{Event, PROVIDER_ID_BYTES_MAX};
use crate::core::timestamp::Timestamp;
use directory::Directory;
use http::ApiAccess;
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
}

/// What differs from provider to provider.
pub trait Provider: Send + Sync {
    /// The kind's name in configuration.
    fn kind(&self) -> &'static str;

    /// What can be told of a verified body at a glance; unknown fields, absent ones and odd types are no error.
    fn glance(&self, body: &str) -> Glance;

    /// What the delivery says, in full.
    fn normalize(&self, source: &str, body: &str) -> Result<Event, Unintelligible>;

    /// What a stored profile says for the columns of `users`, and whether it shows the account banned or
    /// deprovisioned.
    fn recall(&self, profile: &str) -> (Columns, bool);

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

/// Both databases must be able to hold, and PostgreSQL to index, what a column is given.
fn checked_columns(columns: &Columns) -> Result<(), Unintelligible> {
    for column in crate::core::columns::Column::ALL {
        let field = column.name();
        let value = columns.get(column).unwrap_or_default();
        if value.contains('\0') {
            return Err(Unintelligible::Nul { field });
        }
    }
    Ok(())
}
