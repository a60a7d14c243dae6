//! Why a call came to nothing.

use crate::store::StoreError;
use thiserror::Error;

/// Why a call came to nothing.
#[derive(Debug, Error)]
pub enum CallError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("there is no such user")]
    Unknown,
    #[error("the row belongs to no account of a source: it is the application's own")]
    NoAccount,
    #[error("the user is deleted")]
    Deleted,
    #[error("the user is not deleted")]
    NotDeleted,
    #[error("the account was erased here, and nothing brings it back")]
    Erased,
    #[error("column `{column}` may not be set by a call: {reason}")]
    NotSettable { column: String, reason: String },
    #[error("the application's own constraints leave no room for it ({}): {}", .0.columns.join(", "), .0.reason)]
    NoRoom(NoRoom),
    #[error(
        "the address is another user's, and the source has not verified it for this account: whoever signs in has to confirm it"
    )]
    AddressOfAnotherUser,
    #[error("{0}")]
    Conflict(String),
    #[error("another transaction holds the user; try again")]
    Busy,
}

/// The application's own constraints leave no room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoRoom {
    /// The columns to give other values, as far as that can be told.
    pub columns: Vec<String>,
    pub reason: String,
}
