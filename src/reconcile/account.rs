//! From what is stored of an account to what is decided about, and back into the tables: the same for a delivery and
//! for a read.

use super::account_word::StoredAccountWord;
use super::partial_write::write_partly;
use super::write_outcome::Outcome;
use crate::clock::Clock;
use crate::core::event::{IdentityKey, Snapshot};
use crate::core::known::{Account, AddressStanding, Identity};
use crate::core::known::{Sibling, SourceStanding};
use crate::core::layout::Layout;
use crate::core::link::LinkRule;
use crate::core::words::IdentityState;
use crate::source::Source;
use crate::store::{AccountWrite, Reconciliation, StoreError, StoredAccount};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// Why an account waits whose address is another user's.
const ADDRESS_AWAITED: &str = "its address is another user's, and its source has not verified it";

/// An account whose locks are held.
#[derive(Clone)]
pub(super) struct LockedAccount {
    pub known: Account,
    /// The id of a row that the application has removed: should the row be needed again, it keeps its id.
    pub former_id: Option<String>,
    /// It is written down that there can be no row for it.
    pub is_waiting: bool,
    /// The id that the database gave for a row which could not be made so far.
    pub reserved_id: Option<String>,
    /// Its row was made for the lock.
    pub is_placeholder: bool,
    /// How it has now come to a row that was there before.
    pub linked_by: Option<String>,
}

impl LockedAccount {
    /// Whether it is the first of its user's accounts that was asked: of two in one batch each would have to know what
    /// the other has just said, so the other one waits.
    pub fn is_first_of_its_user(&self, users: &mut HashSet<String>) -> bool {
        self.known.user.as_ref().is_none_or(|user| users.insert(user.id.clone()))
    }

    /// Whether nothing has come of it yet, or nothing that has led to a row: what its snapshot says may tie it to one.
    pub fn may_be_linked(&self) -> bool {
        let has_spoken = self.known.identity.as_ref().is_some_and(|identity| identity.latest.is_some());
        self.has_no_row() || !has_spoken
    }

    /// No source links by addresses, or not any more.
    pub fn await_nothing(&mut self) {
        self.known.address = AddressStanding::Free;
    }

    /// Whether its first row is still to be made, or to be found.
    pub fn has_no_row(&self) -> bool {
        self.known.user.is_none() && self.former_id.is_none()
    }
}

/// An account that may have a row already, with what is newest of it.
pub(super) type FirstSeen<'a> = (IdentityKey, Cow<'a, Snapshot>, &'a mut LockedAccount);

/// Of two accounts of one user the first by its key stays, and the other one is read again.
pub(super) fn one_of_each_user(accounts: &mut BTreeMap<IdentityKey, LockedAccount>) {
    let mut users = HashSet::new();
    accounts.retain(|_, account| account.is_first_of_its_user(&mut users));
}

pub(super) fn locked_account(
    sources: &[Source],
    layout: &Layout,
    key: &IdentityKey,
    mut locked: StoredAccount,
) -> LockedAccount {
    let siblings = siblings(sources, layout, std::mem::take(&mut locked.siblings));
    let (user_id, user, is_placeholder) = (locked.user_id.take(), locked.user.take(), locked.is_placeholder);
    let (is_waiting, reserved_id) = (locked.is_waiting, locked.reserved_id.take());
    let address = locked.awaited_address.take().map_or(AddressStanding::Free, AddressStanding::Awaited);
    let (linked_now, needs_announcement) = (locked.linked_now, locked.needs_announcement);
    let (identity, standing) = understood(sources, layout, key, locked);
    let key = key.clone();
    let identity = (!is_placeholder).then_some(identity);
    let known = Account { key, identity, user, linked_now, needs_announcement, siblings, address, standing };
    let former_id = user_id.filter(|_| known.user.is_none());
    LockedAccount { known, former_id, is_waiting, reserved_id, is_placeholder, linked_by: None }
}

/// The other accounts of a user.
pub(super) fn siblings(
    sources: &[Source],
    layout: &Layout,
    locked: Vec<(IdentityKey, StoredAccount)>,
) -> Vec<Sibling> {
    let sibling = |(key, locked)| {
        let (identity, standing) = understood(sources, layout, &key, locked);
        Sibling { key, identity, standing }
    };
    locked.into_iter().map(sibling).collect()
}

/// What is stored of an account, in the words of its provider.
fn understood(
    sources: &[Source],
    layout: &Layout,
    key: &IdentityKey,
    locked: StoredAccount,
) -> (Identity, SourceStanding) {
    let word = StoredAccountWord {
        source: &key.source,
        kind: locked.kind.as_deref(),
        latest: locked.latest,
        is_retired: locked.is_retired,
        supersedes: locked.supersedes,
    };
    let (latest, standing) = word.understood(sources, layout);
    let identity = Identity {
        state: locked.state,
        latest,
        deletion: locked.deletion,
        replaced_version: locked.replaced_version,
        hints: locked.hints,
    };
    (identity, standing)
}

/// Ids for users that are to be made: the database's own where it makes them.
pub(super) struct FreshIds {
    made: Vec<String>,
    /// Ids that are settled already, where no row has them: those that the database gave before, and, of accounts whose
    /// source shares ids, their own.
    settled: HashMap<IdentityKey, String>,
    clock: Arc<dyn Clock>,
    dry: bool,
}

impl FreshIds {
    /// Those that the accounts will need, fetched at once; more will be as they are needed.
    pub async fn reserve<'a>(
        tx: &mut Reconciliation,
        clock: &Arc<dyn Clock>,
        sources: &[Source],
        accounts: impl Iterator<Item = &'a LockedAccount>,
        dry: bool,
    ) -> Result<Self, StoreError> {
        let shares = |key: &IdentityKey| {
            let mut of_name = sources.iter().filter(|source| source.name == key.source);
            of_name.any(|source| source.link_by.contains(&LinkRule::SharedId))
        };
        let rowless: Vec<&LockedAccount> = accounts.filter(|account| account.has_no_row()).collect();
        let mut settled: HashMap<IdentityKey, String> = HashMap::new();
        for account in &rowless {
            let key = &account.known.key;
            let shared = || tx.users_table().shared_id_from(&key.provider_id).filter(|_| shares(key));
            if let Some(id) = shared().or_else(|| account.reserved_id.clone()) {
                settled.insert(key.clone(), id);
            }
        }
        if !settled.is_empty() {
            let taken = tx.existing(&settled.values().cloned().collect::<Vec<_>>()).await?;
            settled.retain(|_, id| !taken.contains(id));
        }
        let mut made = tx.fresh_ids(rowless.len() - settled.len(), dry).await?;
        made.reverse();
        Ok(Self { made, settled, clock: clock.clone(), dry })
    }

    /// The next one, where the account has no row; the one that it had, where the application has removed it.
    pub async fn next(
        &mut self,
        tx: &mut Reconciliation,
        account: &LockedAccount,
    ) -> Result<String, StoreError> {
        if let Some(former) = &account.former_id {
            return Ok(former.clone());
        }
        if account.known.user.is_some() {
            return Ok(String::new());
        }
        if let Some(settled) = self.settled.get(&account.known.key) {
            return Ok(settled.clone());
        }
        if self.made.is_empty() {
            self.made = tx.fresh_ids(1, self.dry).await?;
        }
        Ok(self.made.pop().unwrap_or_else(|| self.clock.fresh_id()))
    }
}

/// What is to be written to get from the one to the other; `None` where that is nothing.
pub(super) fn difference(
    key: &IdentityKey,
    before: &Account,
    after: &Account,
    synced: bool,
    linked_by: Option<String>,
) -> Option<AccountWrite> {
    let identity = after.identity.clone()?;
    if before == after {
        return None;
    }
    let is_over = identity.state == IdentityState::Deleted;
    let write = AccountWrite::new(key.clone(), identity, before.user.clone(), after.user.clone());
    let (standing, siblings) = (after.standing.clone(), after.siblings.clone());
    let write = AccountWrite { synced, linked_by, standing, siblings, ..write };
    Some(match &after.address {
        // Whose account has ended waits for nothing.
        AddressStanding::Awaited(_) | AddressStanding::Collides(_) if is_over => write,
        AddressStanding::Awaited(address) => {
            let waiting = Some(ADDRESS_AWAITED.to_owned());
            AccountWrite { waiting, awaited_address: Some(address.clone()), ..write }
        }
        AddressStanding::Collides(with) => AccountWrite { collides_with: Some(with.clone()), ..write },
        AddressStanding::Free => write,
    })
}

/// Writes all accounts at once. Where the database refuses, halves of them, down to the one that it refuses, of which
/// everything is written that it lets in. In the order of `writes`.
pub(super) async fn write_each(
    tx: &mut Reconciliation,
    writes: Vec<AccountWrite>,
) -> Result<Vec<Outcome>, StoreError> {
    let mut outcomes = Vec::with_capacity(writes.len());
    // What is still to be written, the next slice last: who comes first gets what two want.
    let mut open = vec![writes];
    while let Some(mut slice) = open.pop() {
        match tx.write(&slice).await {
            Ok(()) => outcomes.extend(slice.into_iter().map(Outcome::Written)),
            Err(StoreError::Rejected(reason)) if slice.len() == 1 => {
                outcomes.push(write_partly(tx, &slice[0], reason).await?);
            }
            Err(StoreError::Rejected(_)) => {
                let second = slice.split_off(slice.len() / 2);
                open.extend([second, slice]);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(outcomes)
}
