//! What a reconciliation reads and writes, as values.

use crate::core::change::Change;
use crate::core::columns::{Cell, Column, Columns};
use crate::core::event::IdentityKey;
use crate::core::known::{Deletion, Identity, Sibling, SourceStanding, User};
use crate::core::timestamp::Timestamp;
use crate::core::words::IdentityState;
use crate::store::users_table::TheirCell;
use std::collections::{BTreeMap, HashMap};

/// What is stored of an account whose locks are held.
#[derive(Clone, Debug)]
pub struct StoredAccount {
    /// The user that the identity belongs to, though the application may have removed the row.
    pub user_id: Option<String>,
    pub state: IdentityState,
    pub deletion: Option<Deletion>,
    pub latest: Option<StoredLatest>,
    pub replaced_version: Option<i64>,
    pub hints: Option<Columns>,
    pub user: Option<User>,
    /// Nothing has been heard of the account yet: its row was made for the lock.
    pub is_placeholder: bool,
    /// The application has made the user itself, and the feed has not told of it.
    pub needs_announcement: bool,
    /// The user was there before the account, and no snapshot has come since.
    pub linked_now: bool,
    /// It is written down that there can be no row for it.
    pub is_waiting: bool,
    /// The address that it waits for: another user's, as it is compared.
    pub awaited_address: Option<String>,
    /// The id that a row of its own is to have: the database gave it, and no row could be made so far.
    pub reserved_id: Option<String>,
    /// The user's other accounts.
    pub siblings: Vec<(IdentityKey, StoredAccount)>,
    /// Its source is.
    pub is_retired: bool,
    /// The source before which the word of its own source counts, since a switch.
    pub supersedes: Option<String>,
    /// What its source was, when it was last configured.
    pub kind: Option<String>,
}

impl StoredAccount {
    /// Nothing is known of the account but its key and its source.
    pub(in crate::store) fn placeholder(is_retired: bool, supersedes: Option<String>) -> Self {
        Self {
            user_id: None,
            state: IdentityState::Present,
            deletion: None,
            latest: None,
            replaced_version: None,
            hints: None,
            user: None,
            is_placeholder: true,
            needs_announcement: false,
            linked_now: false,
            is_waiting: false,
            awaited_address: None,
            reserved_id: None,
            siblings: Vec::new(),
            is_retired,
            supersedes,
            kind: None,
        }
    }
}

/// The highest snapshot as it is stored: what it says for the columns is the provider's to tell.
#[derive(Clone, Debug)]
pub struct StoredLatest {
    pub version: i64,
    pub profile: String,
    pub occurred_at: Option<Timestamp>,
    pub read_at: Option<Timestamp>,
}

/// An entry of the feed with its cause (JSON).
#[derive(Clone, Debug)]
pub struct CausedChange {
    pub change: Change,
    pub cause: String,
}

/// What is to be written of one account.
#[derive(Clone, Debug)]
pub struct AccountWrite {
    pub key: IdentityKey,
    pub identity: Identity,
    /// How its source stands, and the user's other accounts: for whoever decides about this one again.
    pub standing: SourceStanding,
    pub siblings: Vec<Sibling>,
    /// The row as it is; `None` where there is none.
    pub before: Option<User>,
    /// The row as it is to be.
    pub user: Option<User>,
    /// Something was applied, rather than only remembered.
    pub synced: bool,
    /// The row was there before the account was: how it was found.
    pub linked_by: Option<String>,
    /// Why there can be no row.
    pub waiting: Option<String>,
    /// The address that it waits for: another user's, as it is compared.
    pub awaited_address: Option<String>,
    /// The other user who has the address that its first snapshot has named. `None` leaves what is written down.
    pub collides_with: Option<String>,
    /// The id that the row would have had.
    pub reserved_id: Option<String>,
    /// What the database does not let into the row.
    pub held: Vec<HeldValue>,
    /// Columns of the application's own that a call sets.
    pub also: Vec<TheirCell>,
}

impl AccountWrite {
    /// From the one row to the other, and nothing else.
    pub fn new(key: IdentityKey, identity: Identity, before: Option<User>, user: Option<User>) -> Self {
        Self {
            key,
            identity,
            standing: SourceStanding::default(),
            siblings: Vec::new(),
            before,
            user,
            synced: false,
            linked_by: None,
            waiting: None,
            awaited_address: None,
            collides_with: None,
            reserved_id: None,
            held: Vec::new(),
            also: Vec::new(),
        }
    }
}

/// A value that is held back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldValue {
    pub column: String,
    pub value: Cell,
    /// What the row holds in its place.
    pub instead: Cell,
    pub reason: String,
}

/// A value that the database changed while it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlteredValue {
    pub sent: Cell,
    pub stored: Cell,
}

/// By user, then by column.
pub(in crate::store) type Altered = HashMap<String, BTreeMap<Column, AlteredValue>>;
