//! What a provider's API is asked, and what its answers mean. Requests are values; `http.rs` sends them.

use super::Unintelligible;
use crate::core::event::Snapshot;
use crate::core::layout::Layout;
use crate::core::rate::RateLimit;
use crate::core::timestamp::Timestamp;
use thiserror::Error;

/// What differs from API to API.
pub trait Directory: Send + Sync {
    /// Where the API is unless configured otherwise.
    fn default_url(&self) -> &'static str;

    /// Headers of every request, but for the key's.
    fn headers(&self) -> &'static [(&'static str, &'static str)];

    /// The limit that the provider publishes for this kind of key.
    fn rate_limit(&self, key: &str) -> RateLimit;

    /// Accounts on a full page.
    fn page_size(&self) -> usize;

    /// A page of the whole list, in the order of creation: path and query.
    fn page(&self, position: &Position) -> String;

    /// A page of the accounts that were changed last, the newest change first: path and query.
    fn newest(&self, offset: usize, limit: usize) -> String;

    fn count(&self) -> String;

    fn one(&self, provider_id: &str) -> String;

    /// Which instance the key belongs to.
    fn instance(&self) -> String;

    /// The accounts of a page. One that cannot be understood is an entry all the same.
    fn read_page(&self, body: &str, layout: &Layout) -> Result<Vec<Entry>, Malformed>;

    fn read_one(&self, body: &str, layout: &Layout) -> Result<Entry, Malformed>;

    fn read_count(&self, body: &str) -> Result<u64, Malformed>;

    fn read_instance(&self, body: &str) -> Result<String, Malformed>;

    /// The provider's own code in the body of an error; `None` where the body is not the provider's.
    fn error_code(&self, body: &str) -> Option<String>;

    /// Whether this code says that there is no such account.
    fn means_absent(&self, code: &str) -> bool;
}

/// Where the next page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// Behind the account with this id, of those created since `since` (all of them, where it is `None`).
    After { provider_id: Option<String>, since: Option<Timestamp> },
    /// Behind so many accounts: for APIs that know no cursor.
    Offset(usize),
}

impl Position {
    pub const START: Position = Position::After { provider_id: None, since: None };
}

/// One account on a page.
#[derive(Clone, Debug)]
pub struct Entry {
    pub provider_id: Option<String>,
    /// At the provider.
    pub created_at: Option<Timestamp>,
    pub said: Result<Snapshot, Unintelligible>,
    /// The JSON as it came, where it could not be understood.
    pub odd: Option<String>,
}

/// An answer that is none: not JSON, cut off, or of another shape. Never quotes the body.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("the answer is not what the API's specification says ({0})")]
pub struct Malformed(pub String);
