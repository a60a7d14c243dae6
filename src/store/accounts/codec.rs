//! Rows of the reconciliation as values, and values as rows: the order of columns, on both sides, in one place.

use crate::core::columns::{Column, Columns};
use crate::core::event::IdentityKey;
use crate::core::known::{Deletion, Fact, FactSet, HeldValues, User};
use crate::core::layout::Layout;
use crate::core::timestamp::Timestamp;
use crate::core::words::{DeletedBy, IdentityState};
use crate::store::accounts::types::AccountWrite;
use crate::store::accounts::types::{CausedChange, StoredAccount, StoredLatest};
use crate::store::engine::driver::Values;
use crate::store::engine::error::StoreError;
use crate::store::engine::row::Row;
use crate::store::users_table::UsersTable;
use std::collections::HashMap;

pub(in crate::store) fn instant(cell: Option<String>) -> Option<Timestamp> {
    cell.as_deref().and_then(Timestamp::parse)
}

/// A row as [`super::stored`] selects it.
pub(in crate::store) fn identity(
    row: Row,
    layout: &Layout,
) -> Result<(IdentityKey, StoredAccount), StoreError> {
    let mut row = row.of("identities");
    let key = key_of(&mut row)?;
    let user_id = row.opt_text("user_id")?;
    let state = row.word::<IdentityState>("state")?;
    let latest = latest(&mut row)?;
    let deletion = match state {
        IdentityState::Deleted => Some(Deletion {
            at: row.time("deleted_at")?,
            received_at: row.time("deletion_received_at")?,
            by: row.word::<DeletedBy>("deleted_by")?,
            soft: row.truth("deleted_softly")?,
        }),
        IdentityState::Present | IdentityState::Suspended => None,
    };
    let replaced_version = row.opt_int("replaced_version")?;
    let hints = hints(&mut row, layout)?;
    let is_announced = row.opt_time("announced_at")?.is_some();
    let is_linked = row.opt_text("linked_by")?.is_some();
    let is_retired = row.opt_time("retired_at")?.is_some();
    let supersedes = row.opt_text("supersedes")?;
    let kind = row.opt_text("kind")?;
    let reserved_id = row.opt_text("reserved_id")?;
    let is_waiting = row.opt_text("waiting_reason")?.is_some();
    let awaited_address = row.opt_text("awaited_address")?;
    let is_placeholder = latest.is_none() && user_id.is_none() && deletion.is_none();
    let only_row = latest.is_none() && user_id.is_some() && deletion.is_none();
    let stored = StoredAccount {
        user_id,
        state,
        deletion,
        latest,
        replaced_version,
        hints,
        user: None,
        is_placeholder,
        needs_announcement: only_row && !is_announced,
        linked_now: only_row && is_linked,
        is_waiting,
        awaited_address,
        reserved_id,
        siblings: Vec::new(),
        is_retired,
        supersedes,
        kind,
    };
    Ok((key, stored))
}

/// The latest snapshot of an identity. Its version and its profile are written together.
pub(in crate::store) fn latest(row: &mut Row) -> Result<Option<StoredLatest>, StoreError> {
    let version = row.opt_int("version")?;
    let profile = row.opt_text("profile")?;
    let (occurred_at, read_at) = (row.opt_time("occurred_at")?, row.opt_time("read_at")?);
    match (version, profile) {
        (Some(version), Some(profile)) => Ok(Some(StoredLatest { version, profile, occurred_at, read_at })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(row.corrupt("profile")),
        (None, Some(_)) => Err(row.corrupt("version")),
    }
}

/// A row as [`UsersTable::lock`] reads it; what is held back is still to be loaded. No cell of it can be corrupt but
/// the id: the application may write all of them.
pub(in crate::store) fn user(row: Row, users: &UsersTable) -> Result<User, StoreError> {
    let mut row = row.of("users");
    let id = row.text("id")?;
    let mut cells = row.rest();
    let mut next = move || cells.next().flatten();
    let mut columns = Columns::default();
    for column in users.layout().columns() {
        columns.set(column, users.as_read(column, &id, next()));
    }
    let mut facts = Facts { next, unreadable: FactSet::default() };
    Ok(User {
        id,
        columns,
        deleted_at: facts.read(Fact::DeletedAt, Timestamp::parse_canonical),
        suspended_by_source: facts.read(Fact::SuspendedBySource, truth).unwrap_or(false),
        suspended_by_app: facts.read(Fact::SuspendedByApp, truth).unwrap_or(false),
        provisional: facts.read(Fact::Provisional, truth).unwrap_or(false),
        kept: facts.read(Fact::Kept, |text| users.kept(text)).unwrap_or_default(),
        held: HeldValues::default(),
        unreadable: facts.unreadable,
    })
}

/// The cells of a row of users that are facts.
struct Facts<N> {
    next: N,
    unreadable: FactSet,
}

impl<N: FnMut() -> Option<String>> Facts<N> {
    /// The next cell as this fact. Null is no fact at all, as where a user has no row in `accounts` yet.
    fn read<T>(&mut self, fact: Fact, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let cell = (self.next)()?;
        let read = parse(&cell);
        if read.is_none() {
            self.unreadable.insert(fact);
        }
        read
    }
}

fn truth(text: &str) -> Option<bool> {
    match text {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// Ids as the rows of a parameter.
pub(in crate::store) fn id_rows<'a>(ids: impl IntoIterator<Item = &'a String>) -> Vec<Values> {
    ids.into_iter().map(|id| vec![Some(id.clone())]).collect()
}

/// The cells of a column that is never null.
pub(in crate::store) fn column<C: FromIterator<String>>(
    rows: Vec<Row>,
    table: &'static str,
    column: &str,
) -> Result<C, StoreError> {
    rows.into_iter().map(|row| row.of(table).text(column)).collect()
}

/// The first column of each row, where it is not null.
pub(in crate::store) fn texts<C: FromIterator<String>>(rows: Vec<Row>) -> C {
    rows.into_iter().filter_map(|row| row.rest().next().flatten()).collect()
}

pub(in crate::store) fn key_row(key: &IdentityKey) -> Values {
    vec![Some(key.source.clone()), Some(key.provider_id.clone())]
}

pub(in crate::store) fn identity_row(write: &AccountWrite, layout: &Layout) -> Values {
    let AccountWrite { key, identity, user, synced, waiting, linked_by, reserved_id, .. } = write;
    let AccountWrite { awaited_address, collides_with, .. } = write;
    let latest = identity.latest.as_ref();
    let created_at = latest.and_then(|latest| latest.snapshot.columns.get(Column::CreatedAt));
    let at = |at: Option<Timestamp>| at.map(|at| at.to_string());
    vec![
        Some(key.source.clone()),
        Some(key.provider_id.clone()),
        user.as_ref().map(|user| user.id.clone()),
        Some(identity.state.name().to_owned()),
        latest.map(|latest| latest.snapshot.version.to_string()),
        at(latest.and_then(|latest| latest.occurred_at)),
        latest.map(|latest| latest.snapshot.profile.clone()),
        created_at.map(str::to_owned),
        at(identity.deletion.map(|deletion| deletion.at)),
        identity.deletion.map(|deletion| deletion.by.name().to_owned()),
        Some(synced.to_string()),
        at(latest.and_then(|latest| latest.read_at)),
        at(identity.deletion.map(|deletion| deletion.received_at)),
        identity.replaced_version.map(|version| version.to_string()),
        waiting.clone(),
        linked_by.clone(),
        identity.hints.as_ref().filter(|_| latest.is_none()).map(|hints| hints_text(layout, hints)),
        Some(identity.deletion.is_some_and(|deletion| deletion.soft).to_string()),
        at(latest.and_then(|latest| latest.snapshot.suspended_until)),
        reserved_id.clone(),
        awaited_address.clone(),
        collides_with.clone(),
    ]
}

/// `n` is its place among those that are told together.
pub(in crate::store) fn change_row(change: &CausedChange, n: i64) -> Values {
    vec![
        Some(n.to_string()),
        Some(change.change.user_id.clone()),
        Some(change.change.kind.name().to_owned()),
        Some(serde_json::json!(change.change.changed).to_string()),
        Some(change.cause.clone()),
    ]
}

/// Hints as they are stored: a JSON object of what is there.
pub(in crate::store) fn hints_text(layout: &Layout, hints: &Columns) -> String {
    let there = layout.columns().filter_map(|column| {
        Some((layout.name(column).to_owned(), serde_json::Value::from(hints.get(column)?)))
    });
    serde_json::Value::Object(there.collect()).to_string()
}

/// What [`hints_text`] has written. Columns that there are no more are left out.
pub(in crate::store) fn hints(row: &mut Row, layout: &Layout) -> Result<Option<Columns>, StoreError> {
    let cells: Option<HashMap<String, String>> =
        row.parsed("hints", |text| serde_json::from_str(text).ok())?;
    Ok(cells.map(|cells| {
        let mut hints = Columns::default();
        for (name, value) in cells {
            if let Some(column) = layout.column(&name) {
                hints.set(column, Some(value));
            }
        }
        hints
    }))
}

/// The account that a row of this table is about.
pub(in crate::store) fn key(row: Row, table: &'static str) -> Result<IdentityKey, StoreError> {
    key_of(&mut row.of(table))
}

/// The account that a row is about: its cells `source` and `provider_id`.
pub(in crate::store) fn key_of(row: &mut Row) -> Result<IdentityKey, StoreError> {
    Ok(IdentityKey { source: row.text("source")?, provider_id: row.text("provider_id")? })
}
