//! What was held back, tried again: after a batch that may have made room for it, and by and by.

use super::account::{FirstSeen, FreshIds, LockedAccount, difference, locked_account, write_each};
use super::linking::link;
use super::partial_write::ConstraintCheck;
use super::write_outcome::{Outcome, feed_change};
use crate::clock::Clock;
use crate::core::address::comparable;
use crate::core::change::Change;
use crate::core::columns::Column;
use crate::core::decide::again;
use crate::core::event::IdentityKey;
use crate::core::known::Account;
use crate::source::Source;
use crate::store::{AccountWrite, CausedChange, Reconciliation, Store, StoreError, StoredAccount};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use tracing::warn;

/// Accounts that may wait for each other in a circle and are looked at together.
const MEMBERS_MAX: usize = 100;
/// How far a chain of values that wait for each other is followed.
const STEPS_MAX: usize = 8;
/// Accounts that one look at what is held back takes up.
const SLICE: i64 = 50;

/// Tries again what is held back.
pub(super) struct HeldValuesRetry<'a> {
    pub sources: &'a [Source],
    pub clock: &'a Arc<dyn Clock>,
    pub dry: bool,
}

/// An account of which something is held back.
struct Member {
    key: IdentityKey,
    account: LockedAccount,
}

impl HeldValuesRetry<'_> {
    /// Values that wait for one that these writes have given up, or that wait for each other. The outcomes of those
    /// that were outcomes_of_members are replaced.
    pub async fn after(
        &self,
        tx: &mut Reconciliation,
        check: ConstraintCheck,
        outcomes: &mut [Outcome],
    ) -> Result<Vec<CausedChange>, StoreError> {
        if check == ConstraintCheck::SkipUserRow {
            return Ok(Vec::new());
        }
        let freed = freed(tx, outcomes);
        let mut keys: BTreeSet<IdentityKey> = tx.wanting(&freed).await?.into_iter().collect();
        keys.extend(self.awaiting(tx, &freed).await?);
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut ours: HashMap<IdentityKey, usize> = HashMap::new();
        let mut members = Vec::new();
        for (n, outcome) in outcomes.iter().enumerate() {
            let Outcome::Written(write) = outcome else { continue };
            ours.insert(write.key.clone(), n);
            if !write.held.is_empty() {
                keys.remove(&write.key);
                members.push(Member { key: write.key.clone(), account: as_written(write) });
            }
        }
        for _ in 0..STEPS_MAX {
            keys.retain(|key| !ours.contains_key(key) && members.iter().all(|member| member.key != *key));
            if keys.is_empty() || members.len() >= MEMBERS_MAX {
                break;
            }
            let more = self.load(tx, &keys.iter().cloned().collect::<Vec<_>>()).await?;
            let instead: Vec<(String, String)> =
                more.iter().flat_map(|member| occupied(tx, &member.account.known)).collect();
            members.extend(more);
            keys = tx.wanting(&instead).await?.into_iter().collect();
        }
        let (changes, outcomes_of_members) = self.write_members(tx, members).await?;
        // What became of our own is told by their deliveries or reads.
        let others = changes.into_iter().filter(|(key, _)| !ours.contains_key(key));
        let changes = others.map(|(_, change)| change).collect();
        for outcome in outcomes_of_members {
            let Outcome::Written(write) = &outcome else { continue };
            if let Some(n) = ours.get(&write.key) {
                outcomes[*n] = outcome;
            }
        }
        Ok(changes)
    }

    /// Accounts that wait for an address which is no more in the row that had it.
    async fn awaiting(
        &self,
        tx: &mut Reconciliation,
        freed: &[(String, String)],
    ) -> Result<Vec<IdentityKey>, StoreError> {
        if !self.sources.iter().any(Source::links_by_address) {
            return Ok(Vec::new());
        }
        let addresses = freed.iter().filter(|(column, _)| column == Column::Email.name());
        tx.awaiting(&addresses.map(|(_, address)| comparable(address)).collect::<Vec<_>>()).await
    }

    /// The accounts that nobody else holds; those without a row find the one that is theirs by now, or wait as before.
    async fn load(&self, tx: &mut Reconciliation, keys: &[IdentityKey]) -> Result<Vec<Member>, StoreError> {
        let layout = tx.users_table().layout().clone();
        let locked = lock_readable(tx, keys).await?;
        let member = |(key, locked): (IdentityKey, StoredAccount)| {
            self.sources.iter().find(|source| source.name == key.source)?;
            let account = locked_account(self.sources, &layout, &key, locked);
            Some(Member { key, account })
        };
        let mut members: Vec<Member> = locked.into_iter().filter_map(member).collect();
        let rowless = members.iter_mut().filter(|member| member.account.has_no_row());
        let rowless: Vec<FirstSeen<'_>> = rowless
            .filter_map(|member| {
                let snapshot = member.account.known.identity.as_ref()?.latest.as_ref()?.snapshot.clone();
                Some((member.key.clone(), Cow::Owned(snapshot), &mut member.account))
            })
            .collect();
        if !rowless.is_empty() {
            let source_states = tx.source_states().await?;
            let elsewhere = link(tx, self.sources, &source_states, rowless).await?;
            members.retain(|member| !elsewhere.contains(&member.key));
        }
        Ok(members)
    }

    /// Each by itself until nothing moves any more; then all that are left at once, with room made first: two people
    /// who have swapped their names.
    async fn write_members(
        &self,
        tx: &mut Reconciliation,
        mut members: Vec<Member>,
    ) -> Result<(Vec<(IdentityKey, CausedChange)>, Vec<Outcome>), StoreError> {
        let layout = tx.users_table().layout().clone();
        let accounts = members.iter().map(|member| &member.account);
        let mut ids = FreshIds::reserve(tx, self.clock, self.sources, accounts, self.dry).await?;
        let (mut changes, mut outcomes_of_members) = (Vec::new(), Vec::new());
        for _ in 0..STEPS_MAX {
            let mut left = Vec::new();
            let before = members.len();
            for member in members {
                let id = ids.next(tx, &member.account).await?;
                let (after, change) = again(&layout, &member.account.known, &id);
                let linked_by = member.account.linked_by.clone();
                let write = difference(&member.key, &member.account.known, &after, false, linked_by);
                let Some(write) = write.or_else(|| no_longer_waiting(&member)) else { continue };
                for outcome in write_each(tx, vec![write]).await? {
                    let is_in_place = outcome.note().is_none();
                    changes.extend(
                        feed_change(change.clone(), &outcome).map(|change| caused(&member.key, change)),
                    );
                    match &outcome {
                        Outcome::Written(write) if !is_in_place => {
                            left.push(Member { key: write.key.clone(), account: as_written(write) });
                        }
                        _ => {}
                    }
                    outcomes_of_members.push(outcome);
                }
            }
            members = left;
            if members.is_empty() || members.len() == before {
                break;
            }
        }
        changes.extend(self.swap(tx, members, &mut outcomes_of_members).await?);
        Ok((changes, outcomes_of_members))
    }

    async fn swap(
        &self,
        tx: &mut Reconciliation,
        members: Vec<Member>,
        outcomes_of_members: &mut Vec<Outcome>,
    ) -> Result<Vec<(IdentityKey, CausedChange)>, StoreError> {
        let layout = tx.users_table().layout().clone();
        let mut wishes = Vec::new();
        for member in members.iter().filter(|member| member.account.known.user.is_some()) {
            let (after, change) = again(&layout, &member.account.known, "");
            let Some(write) = difference(&member.key, &member.account.known, &after, false, None) else {
                continue;
            };
            wishes.push(Wish { write, change: change.map(|change| caused(&member.key, change)) });
        }
        // Whoever wants what somebody else has keeps waiting, and must not keep the others from it.
        loop {
            let taken: HashSet<(Column, String)> = wishes.iter().flat_map(Wish::occupied).collect();
            let before = wishes.len();
            wishes.retain(|wish| wish.wanted().all(|wanted| taken.contains(&wanted)));
            if wishes.len() == before {
                break;
            }
        }
        if wishes.len() < 2 {
            return Ok(Vec::new());
        }
        let vacated: BTreeSet<Column> = wishes.iter().flat_map(Wish::held_columns).collect();
        let (mut writes, mut changes) = (Vec::new(), Vec::new());
        for wish in wishes {
            writes.push(wish.write);
            changes.extend(wish.change);
        }
        match tx.write_with_room(&writes, &vacated.into_iter().collect::<Vec<_>>()).await {
            Ok(()) => {
                outcomes_of_members.extend(writes.into_iter().map(Outcome::Written));
                Ok(changes)
            }
            Err(StoreError::Rejected(_)) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// A slice of all that is held back after `after`; where the next one begins, `None` at the end.
    pub async fn slice(
        &self,
        store: &Store,
        after: Option<&IdentityKey>,
    ) -> Result<Option<IdentityKey>, StoreError> {
        let keys = store.held_accounts(after, SLICE).await?;
        let next = (keys.len() as i64 == SLICE).then(|| keys.last().cloned()).flatten();
        if keys.is_empty() {
            return Ok(None);
        }
        match self.commit_slice(store, &keys, false).await {
            // A constraint that speaks up only at the commit: each by itself.
            Err(error) if error.is_of_one_account() => {
                for key in &keys {
                    match self.commit_slice(store, std::slice::from_ref(key), true).await {
                        Err(error) if error.is_of_one_account() => {}
                        result => result?,
                    }
                }
            }
            result => result?,
        }
        Ok(next)
    }

    async fn commit_slice(
        &self,
        store: &Store,
        keys: &[IdentityKey],
        careful: bool,
    ) -> Result<(), StoreError> {
        let mut tx = store.reconciliation().await?;
        if careful {
            tx.look_ahead().await?;
        }
        let members = self.load(&mut tx, keys).await?;
        let (changes, _) = self.write_members(&mut tx, members).await?;
        let changes: Vec<CausedChange> = changes.into_iter().map(|(_, change)| change).collect();
        tx.commit(&changes).await
    }
}

/// As [`Reconciliation::lock`], without accounts of which something stored cannot be read: those that are retried beside
/// them need not wait for it.
async fn lock_readable(
    tx: &mut Reconciliation,
    keys: &[IdentityKey],
) -> Result<BTreeMap<IdentityKey, StoredAccount>, StoreError> {
    match tx.lock(keys).await {
        Err(error @ StoreError::Corrupt { .. }) if error.is_of_one_account() => {}
        result => return result,
    }
    let mut locked = BTreeMap::new();
    for key in keys {
        match tx.lock(std::slice::from_ref(key)).await {
            Ok(one) => locked.extend(one),
            Err(error @ StoreError::Corrupt { .. }) if error.is_of_one_account() => {
                warn!(source.name = key.source, "an account's values stay held back: {error}");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(locked)
}

/// What an account of which something is held back would be.
struct Wish {
    write: AccountWrite,
    change: Option<(IdentityKey, CausedChange)>,
}

impl Wish {
    /// Columns that lack their value; whether an address is verified is nothing that could be taken.
    fn held_columns(&self) -> impl Iterator<Item = Column> + '_ {
        let before = self.write.before.iter().flat_map(|before| before.held.instead.keys());
        before.copied().filter(|column| *column != Column::EmailVerified)
    }

    fn wanted(&self) -> impl Iterator<Item = (Column, String)> + '_ {
        let wanted = |column| self.write.user.as_ref()?.columns.get(column).map(str::to_owned);
        self.held_columns().filter_map(move |column| Some((column, wanted(column)?)))
    }

    fn occupied(&self) -> impl Iterator<Item = (Column, String)> + '_ {
        let holds = |column| self.write.before.as_ref()?.columns.get(column).map(str::to_owned);
        self.held_columns().filter_map(move |column| Some((column, holds(column)?)))
    }
}

/// The account as it is, where its row is in its place and it is still written down that there can be none.
fn no_longer_waiting(member: &Member) -> Option<AccountWrite> {
    let known = &member.account.known;
    let (identity, user) = (known.identity.clone()?, known.user.clone()?);
    let write = AccountWrite::new(member.key.clone(), identity, Some(user.clone()), Some(user));
    let (standing, siblings) = (known.standing.clone(), known.siblings.clone());
    member.account.is_waiting.then_some(AccountWrite { standing, siblings, ..write })
}

/// The account as a write has left it.
fn as_written(write: &AccountWrite) -> LockedAccount {
    let (identity, user) = (Some(write.identity.clone()), write.user.clone());
    let (key, siblings, standing) = (write.key.clone(), write.siblings.clone(), write.standing.clone());
    let known = Account { key, identity, user, siblings, standing, ..Account::default() };
    LockedAccount {
        known,
        former_id: None,
        is_waiting: false,
        reserved_id: None,
        is_placeholder: false,
        linked_by: None,
    }
}

/// Values that rows do not hold any more, and those that they hold in place of others.
fn freed(tx: &Reconciliation, outcomes: &[Outcome]) -> Vec<(String, String)> {
    let layout = tx.users_table().layout();
    let mut freed = Vec::new();
    for outcome in outcomes {
        let Outcome::Written(AccountWrite { before: Some(before), user: Some(user), held, .. }) = outcome
        else {
            continue;
        };
        freed.extend(before.columns.differing(&user.columns).filter_map(|column| {
            Some((layout.name(column).to_owned(), before.columns.get(column)?.to_owned()))
        }));
        freed.extend(held.iter().filter_map(|held| Some((held.column.clone(), held.instead.clone()?))));
    }
    freed
}

/// What a row holds in place of values that are held back.
fn occupied(tx: &Reconciliation, known: &Account) -> Vec<(String, String)> {
    let layout = tx.users_table().layout();
    let instead = known.user.iter().flat_map(|user| &user.held.instead);
    instead
        .filter_map(|(column, instead)| Some((layout.name(*column).to_owned(), instead.clone()?)))
        .collect()
}

fn caused(key: &IdentityKey, change: Change) -> (IdentityKey, CausedChange) {
    let cause =
        serde_json::json!({"retry": {"source": key.source, "provider_id": key.provider_id}}).to_string();
    (key.clone(), CausedChange { change, cause })
}
