//! Accounts that the source is proven to have no more.

use super::account::{FreshIds, difference, locked_account, write_each};
use super::held_values::HeldValuesRetry;
use super::lock_wait::Attempts;
use super::partial_write::ConstraintCheck;
use super::read_context::ReadContext;
use super::reads::Reads;
use super::write_outcome::{Outcome, feed_change};
use crate::core::event::IdentityKey;
use crate::core::read::sweep;
use crate::core::retry_policy::SWEEP_LOCK_WAIT;
use crate::core::timestamp::Timestamp;
use crate::store::{CausedChange, Reconciliation, StoreError, StoredAccount};
use std::collections::{BTreeMap, HashMap, HashSet};

impl Reads {
    /// Deletes those of the accounts, all proven to be gone, about which nothing was received since `marked_at`. Those
    /// that were deleted.
    pub async fn sweep(
        &self,
        tx: &mut Reconciliation,
        keys: &[IdentityKey],
        marked_at: Timestamp,
        context: &ReadContext,
    ) -> Result<(Vec<IdentityKey>, Vec<CausedChange>), StoreError> {
        let mut locked = BTreeMap::new();
        // A call may hold one for a moment; whoever is held for longer is found by the next run.
        let (mut elsewhere, mut attempts) = (keys.to_vec(), Attempts::of(&SWEEP_LOCK_WAIT));
        while !elsewhere.is_empty() && attempts.next().await {
            locked.extend(tx.lock(&elsewhere).await?);
            elsewhere.retain(|key| !locked.contains_key(key) && !tx.is_erased(key));
        }
        let received = tx.received(keys).await?;
        let (mut deleted, mut caused) = (Vec::new(), Vec::new());
        // Of two accounts of one user the second one has to know that the first has ended.
        while !locked.is_empty() {
            let mut users = HashSet::new();
            let is_first =
                |locked: &StoredAccount| locked.user_id.as_ref().is_none_or(|id| users.insert(id.clone()));
            let (first, later) = split(locked, is_first);
            let (now_deleted, now_caused) = self.end(tx, first, &received, marked_at, context).await?;
            deleted.extend(now_deleted);
            caused.extend(now_caused);
            locked = tx.lock(&later).await?;
        }
        Ok((deleted, caused))
    }

    async fn end(
        &self,
        tx: &mut Reconciliation,
        locked: BTreeMap<IdentityKey, StoredAccount>,
        received: &HashMap<IdentityKey, Timestamp>,
        marked_at: Timestamp,
        context: &ReadContext,
    ) -> Result<(Vec<IdentityKey>, Vec<CausedChange>), StoreError> {
        let now = tx.now().await?;
        let (mut writes, mut changes) = (Vec::new(), Vec::new());
        let mut is_placeholder = Vec::new();
        let mut ids = FreshIds::reserve(tx, &self.clock, &self.sources, std::iter::empty(), false).await?;
        for (key, locked) in locked {
            let raced = received.get(&key).is_some_and(|received_at| *received_at >= marked_at);
            let account = locked_account(&self.sources, self.store.layout(), &key, locked);
            if account.is_placeholder {
                is_placeholder.push(key);
                continue;
            }
            let is_over = account.known.identity.as_ref().is_none_or(|identity| identity.deletion.is_some());
            let was_there = account.known.identity.as_ref().is_some_and(|identity| identity.latest.is_some());
            // Without a run's mark there is no proof: nobody ends who ever was there.
            if raced || is_over || (context.since.is_none() && was_there) {
                continue;
            }
            let id = ids.next(tx, &account).await?;
            let repair = sweep(self.store.layout(), &account.known, now, &id);
            if let Some(write) = difference(&key, &account.known, &repair.account, true, None) {
                writes.push(write);
                changes.push(repair.change);
            }
        }
        tx.delete_placeholders(&is_placeholder).await?;
        let keys: Vec<IdentityKey> = writes.iter().map(|write| write.key.clone()).collect();
        let mut outcomes = write_each(tx, writes).await?;
        let retry = HeldValuesRetry { sources: &self.sources, clock: &self.clock, dry: false };
        let mut caused = retry.after(tx, ConstraintCheck::OnWrite, &mut outcomes).await?;
        let cause = self.cause(context);
        let mut deleted = Vec::new();
        for ((key, change), outcome) in keys.into_iter().zip(changes).zip(&outcomes) {
            if matches!(outcome, Outcome::Written(_)) {
                deleted.push(key);
                caused.extend(
                    feed_change(change, outcome).map(|change| CausedChange { change, cause: cause.clone() }),
                );
            }
        }
        Ok((deleted, caused))
    }
}

/// Those that may be gone through now, and the keys of the others.
fn split(
    locked: BTreeMap<IdentityKey, StoredAccount>,
    mut is_first: impl FnMut(&StoredAccount) -> bool,
) -> (BTreeMap<IdentityKey, StoredAccount>, Vec<IdentityKey>) {
    let (first, later): (BTreeMap<_, _>, BTreeMap<_, _>) =
        locked.into_iter().partition(|(_, locked)| is_first(locked));
    (first, later.into_keys().collect())
}
