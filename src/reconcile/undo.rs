//! Undoing an adoption: accounts are untied from their rows, which get back what was filled.

use super::account::locked_account;
use crate::core::change::Change;
use crate::core::known::User;
use crate::core::words::ChangeKind;
use crate::source::Source;
use crate::store::{Adopted, CausedChange, Store, StoreError};

/// Accounts that one transaction unties.
const SLICE: i64 = 500;

/// What undoing an adoption came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Undone {
    pub untied: u64,
    /// Columns that hold what they held before.
    pub restored: u64,
    /// Columns that the application has changed since: they stay.
    pub left: u64,
    /// Accounts that another transaction held: the next call unties them.
    pub busy: u64,
}

/// Unties every account of the source that an adoption has linked.
pub async fn undo_adoption(store: &Store, source: &Source, sources: &[Source]) -> Result<Undone, StoreError> {
    store.set_link_rule(&source.name, None).await?;
    let mut undone = Undone::default();
    loop {
        let adopted = store.adopted(&source.name, SLICE).await?;
        let untied = untie(store, source, sources, &adopted, &mut undone).await?;
        if (adopted.len() as i64) < SLICE || untied == 0 {
            undone.busy = adopted.len() as u64 - untied;
            return Ok(undone);
        }
    }
}

async fn untie(
    store: &Store,
    source: &Source,
    sources: &[Source],
    adopted: &[Adopted],
    undone: &mut Undone,
) -> Result<u64, StoreError> {
    if adopted.is_empty() {
        return Ok(0);
    }
    let layout = store.layout();
    let keys: Vec<_> = adopted.iter().map(|adopted| adopted.key.clone()).collect();
    let mut tx = store.reconciliation().await?;
    let mut locked = tx.lock(&keys).await?;
    let (mut untied, mut rows): (Vec<_>, Vec<(User, User)>) = Default::default();
    let mut changes = Vec::new();
    let cause = serde_json::json!({"undo": {"by": "adopt", "source": source.name}}).to_string();
    for Adopted { key, before: cells } in adopted {
        let Some(locked) = locked.remove(key) else { continue };
        untied.push(key.clone());
        let known = locked_account(sources, layout, key, locked).known;
        let Some(now) = known.user else { continue };
        let provider =
            known.identity.and_then(|identity| identity.latest).map(|latest| latest.snapshot.columns);
        let mut before = now.clone();
        for (name, cell) in cells {
            let Some(column) = layout.column(name) else { continue };
            let is_as_filled =
                provider.as_ref().is_some_and(|provider| provider.get(column) == now.columns.get(column));
            match is_as_filled {
                true => before.columns.set(column, cell.clone()),
                false => undone.left += 1,
            }
            undone.restored += u64::from(is_as_filled);
        }
        let changed: Vec<String> =
            now.columns.differing(&before.columns).map(|column| layout.name(column).to_owned()).collect();
        if !changed.is_empty() {
            let change = Change { user_id: now.id.clone(), kind: ChangeKind::Updated, changed };
            changes.push(CausedChange { change, cause: cause.clone() });
        }
        rows.push((now, before));
    }
    tx.untie(&untied, &rows).await?;
    tx.commit(&changes).await?;
    undone.untied += untied.len() as u64;
    Ok(untied.len() as u64)
}
