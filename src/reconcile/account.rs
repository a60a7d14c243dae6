//! From what is stored of an account to what is decided about, and back into the tables: the same for a delivery and
//! for a read.

use crate::core::decide::{Account, Identity, Latest};
use crate::core::event::{IdentityKey, Snapshot};
use crate::source::Source;
use crate::store::{AccountWrite, Locked, Reconciliation, StoreError, UserWrite};

/// An account whose locks are held.
pub(super) struct Held {
    pub known: Account,
    /// The id of a row that the application has removed: should the row be needed again, it keeps its id.
    pub former_id: Option<String>,
    /// Its row was made for the lock.
    pub unheard: bool,
}

pub(super) fn held(source: Option<&Source>, locked: Locked) -> Held {
    let latest = locked.latest.zip(source).map(|(stored, source)| {
        let (columns, suspended) = source.provider.recall(&stored.profile);
        Latest {
            snapshot: Snapshot { version: stored.version, profile: stored.profile, columns, suspended },
            occurred_at: stored.occurred_at,
            read_at: stored.read_at,
        }
    });
    let identity = Identity {
        state: locked.state,
        latest,
        deletion: locked.deletion,
        replaced_version: locked.replaced_version,
    };
    let known = Account { identity: (!locked.unheard).then_some(identity), user: locked.user };
    let former_id = locked.user_id.filter(|_| known.user.is_none());
    Held { known, former_id, unheard: locked.unheard }
}

/// What is to be written to get from the one to the other; `None` where that is nothing.
pub(super) fn difference(
    key: &IdentityKey,
    before: &Account,
    after: &Account,
    synced: bool,
) -> Option<AccountWrite> {
    let identity = after.identity.clone()?;
    if before == after {
        return None;
    }
    Some(AccountWrite {
        key: key.clone(),
        identity,
        user_write: match &after.user {
            Some(_) if before.user.is_none() => UserWrite::Insert,
            Some(user) if before.user.as_ref() != Some(user) => UserWrite::Update,
            _ => UserWrite::None,
        },
        user: after.user.clone(),
        synced,
    })
}

/// Writes all accounts at once; where the database refuses one of them, each by itself. The reasons of those that it
/// refuses, in the order of `writes`.
pub(super) async fn write_each(
    tx: &mut Reconciliation,
    writes: &[AccountWrite],
) -> Result<Vec<Option<String>>, StoreError> {
    match tx.write(writes).await {
        Ok(()) => return Ok(vec![None; writes.len()]),
        Err(StoreError::Rejected(reason)) if writes.len() == 1 => return Ok(vec![Some(reason)]),
        Err(StoreError::Rejected(_)) => {}
        Err(error) => return Err(error),
    }
    let mut refused = Vec::with_capacity(writes.len());
    for write in writes {
        refused.push(match tx.write(std::slice::from_ref(write)).await {
            Ok(()) => None,
            Err(StoreError::Rejected(reason)) => Some(reason),
            Err(error) => return Err(error),
        });
    }
    Ok(refused)
}
