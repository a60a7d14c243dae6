//! Accounts that a person ties to another user, and users that the application has made by itself.

use super::account::{FreshIds, difference, locked_account, siblings, write_each};
use super::call_error::CallError;
use super::calls::{Caller, Calls};
use super::erase::ErasedRow;
use super::held_values::HeldValuesRetry;
use super::lock_wait::while_busy;
use super::partial_write::ConstraintCheck;
use super::write_outcome::{Outcome, feed_change};
use crate::core::call::{abandoned, linked};
use crate::core::change::Change;
use crate::core::decide::again;
use crate::core::event::IdentityKey;
use crate::core::known::Sibling;
use crate::core::known::{Account, Identity, User};
use crate::core::retry_policy::LOCK_WAIT;
use crate::core::words::IdentityState;
use crate::store::{AccountOfUser, AccountWrite, CausedChange, Reconciliation, Task, UserRow};

/// What tying an account to a user came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ManualLink {
    /// The user that the account had before, where it had one.
    pub from: Option<String>,
    /// That user has no other account: its row ends as deleted, and gives up what it held.
    pub ended: bool,
}

impl Calls {
    /// Ties an account to the user, by a person's word. It is the one way in which two users become one.
    pub async fn link(
        &self,
        key: &IdentityKey,
        user_id: &str,
        caller: Caller<'_>,
    ) -> Result<ManualLink, CallError> {
        while_busy(&LOCK_WAIT, || self.try_link(key, user_id, caller)).await
    }

    /// Refuses an account of which nothing was ever heard.
    pub(super) async fn must_be_known(&self, key: &IdentityKey) -> Result<(), CallError> {
        if !self.store.known_of(&key.source, std::slice::from_ref(&key.provider_id)).await?.is_empty() {
            return Ok(());
        }
        Err(CallError::Conflict(format!(
            "source {} has no account {} here; `headcount resync {0} --user {1}` reads it",
            key.source, key.provider_id
        )))
    }

    async fn try_link(
        &self,
        key: &IdentityKey,
        user_id: &str,
        caller: Caller<'_>,
    ) -> Result<ManualLink, CallError> {
        self.must_be_known(key).await?;
        let theirs = self.store.accounts_of_user(user_id).await?;
        if theirs.iter().any(|account| account.key == *key) {
            return Err(CallError::Conflict("the account is this user's already".to_owned()));
        }
        if theirs.iter().any(|account| account.is_erased) {
            return Err(CallError::Erased);
        }
        let mut tx = self.store.reconciliation().await?;
        let account = self.lock(&mut tx, key).await?;
        let target = match tx.lock_user(user_id).await? {
            UserRow::Locked(user) => user,
            UserRow::Elsewhere => return Err(CallError::Busy),
            UserRow::Gone => return Err(CallError::Unknown),
        };
        let beside = tx.accounts_beside(&[(key.clone(), user_id.to_owned())]).await?.remove(key);
        let beside = siblings(&self.sources, self.store.layout(), beside.unwrap_or_default());
        let mut changes = Vec::new();
        let mut tied =
            ManualLink { from: account.known.user.as_ref().map(|user| user.id.clone()), ended: false };
        if let Some(from) = &account.known.user {
            let others = self.store.accounts_of_user(&from.id).await?;
            tied.ended = others.iter().all(|other| other.key == *key);
            if tied.ended {
                changes.extend(self.abandon(&mut tx, key, &account.known, from).await?);
            }
        }
        tx.relink(key, user_id).await?;
        let (after, change) = linked(self.store.layout(), &account.known, target.clone(), beside.clone());
        let before =
            Account { user: Some(target), linked_now: true, siblings: beside, ..account.known.clone() };
        let Some(write) = difference(key, &before, &after, false, Some("hand".to_owned())) else {
            return Err(CallError::Conflict("there is nothing to tie".to_owned()));
        };
        let mut outcomes = write_each(&mut tx, vec![write]).await?;
        if let Outcome::Refused(reason) = &outcomes[0] {
            return Err(CallError::Conflict(reason.clone()));
        }
        let retry = HeldValuesRetry { sources: &self.sources, clock: &self.clock, dry: false };
        let retried = retry.after(&mut tx, ConstraintCheck::OnWrite, &mut outcomes).await?;
        changes.extend(feed_change(change, &outcomes[0]));
        if let Some(from) = tied.from.as_ref().filter(|_| !tied.ended) {
            changes.extend(self.without(&mut tx, &account.known, from).await?);
        }
        let cause = caller.cause("link");
        let mut caused: Vec<CausedChange> =
            changes.into_iter().map(|change| CausedChange { change, cause: cause.clone() }).collect();
        caused.extend(retried);
        tx.commit(&caused).await?;
        Ok(tied)
    }

    /// Has the row that loses one of its accounts say what the others say.
    async fn without(
        &self,
        tx: &mut Reconciliation,
        gone: &Account,
        from: &str,
    ) -> Result<Option<Change>, CallError> {
        let left = self.store.accounts_of_user(from).await?;
        let is_left = |account: &AccountOfUser| !account.is_erased && account.key != gone.key;
        let Some(left) = left.into_iter().find(is_left) else { return Ok(None) };
        let Some(locked) = tx.lock(std::slice::from_ref(&left.key)).await?.remove(&left.key) else {
            return Err(CallError::Busy);
        };
        let mut account = locked_account(&self.sources, self.store.layout(), &left.key, locked);
        // What it has said is nobody else's, though it speaks no more.
        account.known.siblings.extend(gone.identity.clone().map(|identity| Sibling {
            key: gone.key.clone(),
            identity: Identity { state: IdentityState::Deleted, ..identity },
            standing: gone.standing.clone(),
        }));
        let (after, change) = again(self.store.layout(), &account.known, from);
        let Some(write) = difference(&left.key, &account.known, &after, false, None) else { return Ok(None) };
        let outcomes = write_each(tx, vec![write]).await?;
        Ok(feed_change(change, &outcomes[0]))
    }

    /// Frees the row that loses its only account: its values are wanted by the other one.
    async fn abandon(
        &self,
        tx: &mut Reconciliation,
        key: &IdentityKey,
        known: &Account,
        from: &User,
    ) -> Result<Option<Change>, CallError> {
        let Some(identity) = known.identity.clone() else { return Ok(None) };
        let (after, change) = abandoned(self.store.layout(), from, tx.now().await?);
        let write = AccountWrite::new(key.clone(), identity, Some(from.clone()), Some(after));
        let outcomes = write_each(tx, vec![write]).await?;
        Ok(feed_change(change, &outcomes[0]))
    }

    /// Tells the feed of users that the application has made by statements of its own; how many it were.
    pub async fn announce(&self, limit: i64) -> Result<usize, CallError> {
        let keys = self.store.accounts_to_announce(limit).await?;
        let mut failed = None;
        for (key, user_id) in &keys {
            match self.announce_one(key).await {
                Ok(()) => self.store.forget_postponed(Task::Announce, &key.source, &key.provider_id).await?,
                // Whoever holds it may be the application itself.
                Err(CallError::Busy) => {}
                // It has made a user for somebody who was erased.
                Err(CallError::Erased) => {
                    let caller = Caller { by: "policy", reason: Some("the account was erased before") };
                    let keys = std::slice::from_ref(key);
                    match self.erase_accounts(keys, user_id, ErasedRow::Emptied, caller).await {
                        Err(CallError::Busy) => {}
                        erased => {
                            erased?;
                            self.scrub().await;
                        }
                    }
                }
                // No account waits for another's failure.
                Err(error) => {
                    let reason = error.to_string();
                    self.store.postpone(Task::Announce, &key.source, &key.provider_id, &reason).await?;
                    failed = Some(error);
                }
            }
        }
        failed.map_or(Ok(keys.len()), Err)
    }

    async fn announce_one(&self, key: &IdentityKey) -> Result<(), CallError> {
        let mut tx = self.store.reconciliation().await?;
        let account = self.lock(&mut tx, key).await?;
        if !account.known.needs_announcement {
            return Ok(());
        }
        let mut ids =
            FreshIds::reserve(&mut tx, &self.clock, &self.sources, std::iter::empty(), false).await?;
        let id = ids.next(&mut tx, &account).await?;
        let called = again(self.store.layout(), &account.known, &id);
        let cause = Caller { by: "application", reason: Some("by a statement of its own") }.cause("ensure");
        match self.commit_one(tx, &account, called, cause).await {
            // What speaks up at the commit only: the row is not ours to repair.
            Err(CallError::Store(error)) if error.refuses_the_row() => Ok(()),
            result => result,
        }
    }
}
