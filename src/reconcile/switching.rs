//! Users with accounts at two sources, written anew once the one source's word counts before the other's: through the same
//! decision and the same commit as everything else, so that only what really changes is written and told.

use super::account::{LockedAccount, difference, locked_account, one_of_each_user, write_each};
use super::held_values::HeldValuesRetry;
use super::partial_write::ConstraintCheck;
use super::write_outcome::{Outcome, feed_change};
use crate::clock::Clock;
use crate::core::change::Change;
use crate::core::columns::Cell;
use crate::core::decide::again;
use crate::core::event::IdentityKey;
use crate::core::known::User;
use crate::core::switch::AuthoritySwitch;
use crate::source::Source;
use crate::store::{AccountWrite, CausedChange, HeldValue, Reconciliation, Store, StoreError, SwitchCounts};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Rewrites users after a switch of authority, or tells what that would be.
pub struct Switching {
    pub store: Store,
    pub sources: Arc<Vec<Source>>,
    pub clock: Arc<dyn Clock>,
    pub switch: AuthoritySwitch,
}

/// How far a switch is recorded to have come, and by whom.
#[derive(Clone, Copy, Debug)]
pub struct SwitchPlace<'a> {
    pub id: &'a str,
    pub holder: &'a str,
    /// Where whoever resumes it begins: after this slice, or, where somebody else holds one of its accounts, before it.
    pub after: &'a str,
    pub before_busy: &'a str,
    /// Of all slices so far.
    pub counts: SwitchCounts,
}

/// What one slice came to.
#[derive(Clone, Debug, Default)]
pub struct SwitchedSlice {
    pub counts: SwitchCounts,
    /// Accounts that somebody else held.
    pub busy: Vec<IdentityKey>,
    pub rewritten: Vec<RewrittenUser>,
    /// Users whose rows the database does not take, with its reason.
    pub refused: Vec<(IdentityKey, String)>,
}

/// What a switch writes of one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RewrittenUser {
    pub user_id: String,
    /// Column, what the row holds, and what it is to hold.
    pub columns: Vec<(String, Cell, Cell)>,
    /// Whether the user is suspended afterwards, where that changes.
    pub suspended: Option<bool>,
    /// Columns whose new value the database does not take.
    pub held: Vec<String>,
}

impl Switching {
    /// Rewrites the users of these accounts, which are of the new source, and writes down the progress.
    pub async fn slice(
        &self,
        keys: &[IdentityKey],
        place: SwitchPlace<'_>,
    ) -> Result<SwitchedSlice, StoreError> {
        match self.transact(keys, Some(place), ConstraintCheck::OnWrite).await {
            Err(error) if error.is_of_one_account() => self.one_by_one(keys, place).await,
            result => result,
        }
    }

    /// What [`Self::slice`] would write, were the switch in force. Nothing is kept.
    pub async fn rehearse(&self, keys: &[IdentityKey]) -> Result<SwitchedSlice, StoreError> {
        match self.transact(keys, None, ConstraintCheck::BeforeCommit).await {
            Err(error) if error.is_of_one_account() => {
                let mut all = SwitchedSlice::default();
                for key in keys {
                    let one = self.transact(std::slice::from_ref(key), None, ConstraintCheck::BeforeCommit);
                    all.add(one.await.or_else(|error| refused(key, error))?);
                }
                Ok(all)
            }
            result => result,
        }
    }

    /// A constraint that speaks up only at the commit, or an account of which something stored cannot be read, is one
    /// account's trouble.
    async fn one_by_one(
        &self,
        keys: &[IdentityKey],
        place: SwitchPlace<'_>,
    ) -> Result<SwitchedSlice, StoreError> {
        // Whoever resumes the switch in the middle of this looks at the whole slice again.
        let (mut all, last) = (SwitchedSlice::default(), keys.last());
        for key in keys {
            let mut counts = place.counts;
            counts.add(all.counts);
            let after =
                if Some(key) == last && all.busy.is_empty() { place.after } else { place.before_busy };
            let at = SwitchPlace { counts, after, ..place };
            let mut one =
                self.transact(std::slice::from_ref(key), Some(at), ConstraintCheck::BeforeCommit).await;
            if one.as_ref().is_err_and(StoreError::refuses_the_row) {
                one = self.transact(std::slice::from_ref(key), Some(at), ConstraintCheck::SkipUserRow).await;
            }
            all.add(one.or_else(|error| refused(key, error))?);
        }
        Ok(all)
    }

    /// With a place the switch is in force and what is decided is committed; without one it is foreseen and rolled back.
    async fn transact(
        &self,
        keys: &[IdentityKey],
        place: Option<SwitchPlace<'_>>,
        check: ConstraintCheck,
    ) -> Result<SwitchedSlice, StoreError> {
        let mut tx = self.store.reconciliation().await?;
        let decided = self.decide(&mut tx, keys, place, check).await;
        match (decided, place) {
            (Ok((slice, _)), None) => {
                tx.rollback().await;
                Ok(slice)
            }
            (decided, _) => tx.end(decided).await,
        }
    }

    async fn decide(
        &self,
        tx: &mut Reconciliation,
        keys: &[IdentityKey],
        place: Option<SwitchPlace<'_>>,
        check: ConstraintCheck,
    ) -> Result<(SwitchedSlice, Vec<CausedChange>), StoreError> {
        check.prepare(tx).await?;
        let mut accounts = self.lock(tx, keys).await?;
        let mut slice = SwitchedSlice::default();
        let is_busy = |key: &&IdentityKey| !accounts.contains_key(key) && !tx.is_erased(key);
        slice.busy = keys.iter().filter(is_busy).cloned().collect();
        // Somebody has forgotten the account since it was listed.
        let gone = accounts.iter().filter(|(_, account)| account.is_placeholder).map(|(key, _)| key.clone());
        let gone: Vec<IdentityKey> = gone.collect();
        accounts.retain(|key, _| !gone.contains(key));
        tx.delete_placeholders(&gone).await?;
        // Of two accounts of one user the first says everything there is to be written.
        one_of_each_user(&mut accounts);
        slice.counts.seen = accounts.len() as u64;
        let layout = self.store.layout();
        let (mut writes, mut changes) = (Vec::new(), Vec::new());
        for (key, mut account) in accounts {
            if place.is_none() {
                self.switch.foresee(&mut account.known);
            }
            // The application has removed the row: whoever hears of the account next decides.
            if account.known.user.is_none() {
                continue;
            }
            let (after, change) = again(layout, &account.known, "");
            if let Some(write) = difference(&key, &account.known, &after, false, None) {
                writes.push(check.of(layout, write));
                changes.push((key, change));
            }
        }
        let wanted: Vec<AccountWrite> = writes.clone();
        let mut outcomes = write_each(tx, writes).await?;
        let retry = HeldValuesRetry { sources: &self.sources, clock: &self.clock, dry: place.is_none() };
        let mut told = retry.after(tx, check, &mut outcomes).await?;
        for (((key, change), outcome), wanted) in changes.into_iter().zip(&outcomes).zip(&wanted) {
            self.count(&mut slice, key, outcome, wanted);
            told.extend(self.told(change, outcome));
        }
        if let Some(place) = place {
            let mut counts = place.counts;
            counts.add(slice.counts);
            let cursor = if slice.busy.is_empty() { place.after } else { place.before_busy };
            tx.progress_switch(place.id, place.holder, cursor, counts).await?;
        }
        Ok((slice, told))
    }

    async fn lock(
        &self,
        tx: &mut Reconciliation,
        keys: &[IdentityKey],
    ) -> Result<BTreeMap<IdentityKey, LockedAccount>, StoreError> {
        let locked = tx.lock(keys).await?;
        let account = |(key, locked)| {
            let account = locked_account(&self.sources, self.store.layout(), &key, locked);
            (key, account)
        };
        Ok(locked.into_iter().map(account).collect())
    }

    fn count(&self, slice: &mut SwitchedSlice, key: IdentityKey, outcome: &Outcome, wanted: &AccountWrite) {
        let write = match outcome {
            Outcome::Refused(reason) => {
                slice.counts.refused += 1;
                slice.refused.push((key, reason.clone()));
                return;
            }
            Outcome::Written(write) => write,
        };
        let (Some(before), Some(after)) = (&wanted.before, &wanted.user) else { return };
        let rewritten = self.rewritten(before, after, write);
        if rewritten.columns.is_empty() && rewritten.suspended.is_none() {
            return;
        }
        slice.counts.updated += 1;
        slice.counts.partial += u64::from(!rewritten.held.is_empty());
        slice.rewritten.push(rewritten);
    }

    fn rewritten(&self, before: &User, after: &User, write: &AccountWrite) -> RewrittenUser {
        let layout = self.store.layout();
        let cell = |user: &User, column| user.columns.get(column).map(str::to_owned);
        let differing: BTreeSet<_> = before.columns.differing(&after.columns).collect();
        let is_new = |held: &&HeldValue| differing.iter().any(|column| layout.name(*column) == held.column);
        let held = write.held.iter().filter(is_new).map(|held| held.column.clone()).collect();
        RewrittenUser {
            user_id: before.id.clone(),
            columns: differing
                .into_iter()
                .map(|column| (layout.name(column).to_owned(), cell(before, column), cell(after, column)))
                .collect(),
            suspended: (before.suspended_by_source != after.suspended_by_source)
                .then_some(after.suspended_by_source),
            held,
        }
    }

    fn told(&self, change: Option<Change>, outcome: &Outcome) -> Option<CausedChange> {
        let AuthoritySwitch { from, to, direction } = &self.switch;
        let cause = serde_json::json!({"move": {"from": from, "to": to, "by": direction.name()}}).to_string();
        Some(CausedChange { change: feed_change(change, outcome)?, cause })
    }
}

impl SwitchedSlice {
    pub fn add(&mut self, more: Self) {
        self.counts.add(more.counts);
        self.busy.extend(more.busy);
        self.rewritten.extend(more.rewritten);
        self.refused.extend(more.refused);
    }
}

/// The account as one whose row the database does not take.
fn refused(key: &IdentityKey, error: StoreError) -> Result<SwitchedSlice, StoreError> {
    if !error.is_of_one_account() {
        return Err(error);
    }
    let counts = SwitchCounts { seen: 1, refused: 1, ..SwitchCounts::default() };
    Ok(SwitchedSlice { counts, refused: vec![(key.clone(), error.to_string())], ..SwitchedSlice::default() })
}
