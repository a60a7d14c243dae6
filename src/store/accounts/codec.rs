//! Rows of the reconciliation as values, and values as rows: the order of columns, on both sides, in one place.

use crate::core::columns::{Column, Columns};
use crate::core::event::IdentityKey;
use crate::core::known::{Deletion, HeldValues, User};
use crate::core::layout::Layout;
use crate::core::timestamp::Timestamp;
use crate::core::words::{DeletedBy, IdentityState};
use crate::store::accounts::types::AccountWrite;
use crate::store::accounts::types::{CausedChange, StoredAccount, StoredLatest};
use crate::store::engine::driver::Values;
use crate::store::engine::row::Row;
use crate::store::inbox::deliveries::take;
use crate::store::users_table::UsersTable;

pub(in crate::store) fn instant(cell: Option<String>) -> Option<Timestamp> {
    cell.as_deref().and_then(Timestamp::parse)
}

pub(in crate::store) fn identity(row: Row, layout: &Layout) -> (IdentityKey, StoredAccount) {
    let [
        source,
        provider_id,
        user_id,
        state,
        version,
        occurred_at,
        profile,
        read_at,
        deleted_at,
        deletion_received_at,
        deleted_by,
        replaced_version,
        hints,
        announced_at,
        linked_by,
        soft,
        retired,
        kind,
    ] = take(row);
    let key =
        IdentityKey { source: source.unwrap_or_default(), provider_id: provider_id.unwrap_or_default() };
    let state = state.as_deref().and_then(IdentityState::parse).unwrap_or(IdentityState::Present);
    let whole = |cell: Option<String>| cell.and_then(|number| number.parse().ok());
    let latest = whole(version).zip(profile).map(|(version, profile)| StoredLatest {
        version,
        profile,
        occurred_at: instant(occurred_at),
        read_at: instant(read_at),
    });
    let epoch = Timestamp::clamped(0);
    let deletion = (state == IdentityState::Deleted).then(|| Deletion {
        at: instant(deleted_at).unwrap_or(epoch),
        received_at: instant(deletion_received_at).unwrap_or(epoch),
        by: deleted_by.as_deref().and_then(DeletedBy::parse).unwrap_or(DeletedBy::Event),
        soft: soft.as_deref() == Some("1"),
    });
    let is_placeholder = latest.is_none() && user_id.is_none() && deletion.is_none();
    let only_row = latest.is_none() && user_id.is_some() && deletion.is_none();
    let hints = hints.map(|text| self::hints(layout, &text));
    let locked = StoredAccount {
        user_id,
        state,
        deletion,
        latest,
        replaced_version: whole(replaced_version),
        hints,
        user: None,
        is_placeholder,
        needs_announcement: only_row && announced_at.is_none(),
        linked_now: only_row && linked_by.is_some(),
        siblings: Vec::new(),
        is_retired: retired.is_some(),
        kind,
    };
    (key, locked)
}

/// A row as [`UsersTable::lock`] reads it; what is held back is still to be loaded.
pub(in crate::store) fn user(row: Row, users: &UsersTable) -> User {
    let mut cells = row.rest();
    let mut next = move || cells.next().flatten();
    let id = next().unwrap_or_default();
    let mut columns = Columns::default();
    for column in users.layout().columns() {
        columns.set(column, next());
    }
    let deleted_at = instant(next());
    let (suspended, suspended_by_app, provisional, kept) = (next(), next(), next(), next());
    User {
        id,
        columns,
        deleted_at,
        suspended_by_source: suspended.as_deref() == Some("true"),
        suspended_by_app: suspended_by_app.as_deref() == Some("true"),
        provisional: provisional.as_deref() == Some("true"),
        kept: users.kept(kept.as_deref().unwrap_or_default()),
        held: HeldValues::default(),
    }
}

/// Ids as the rows of a parameter.
pub(in crate::store) fn id_rows<'a>(ids: impl IntoIterator<Item = &'a String>) -> Vec<Values> {
    ids.into_iter().map(|id| vec![Some(id.clone())]).collect()
}

/// The first column of each row, where it is not null.
pub(in crate::store) fn texts<C: FromIterator<String>>(rows: Vec<Row>) -> C {
    rows.into_iter().filter_map(|row| row.rest().next().flatten()).collect()
}

pub(in crate::store) fn key_row(key: &IdentityKey) -> Values {
    vec![Some(key.source.clone()), Some(key.provider_id.clone())]
}

pub(in crate::store) fn identity_row(write: &AccountWrite, layout: &Layout) -> Values {
    let AccountWrite { key, identity, user, synced, waiting, linked_by, .. } = write;
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

pub(in crate::store) fn hints(layout: &Layout, text: &str) -> Columns {
    let cells: std::collections::HashMap<String, String> = serde_json::from_str(text).unwrap_or_default();
    let mut hints = Columns::default();
    for (name, value) in cells {
        if let Some(column) = layout.column(&name) {
            hints.set(column, Some(value));
        }
    }
    hints
}

pub(in crate::store) fn key(row: Row) -> IdentityKey {
    let [source, provider_id] = take(row);
    IdentityKey { source: source.unwrap_or_default(), provider_id: provider_id.unwrap_or_default() }
}
