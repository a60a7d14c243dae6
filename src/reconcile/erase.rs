//! Erasing a person: the row is emptied or removed, hashes stand in for the accounts, and nothing brings them back.

use super::call_error::CallError;
use super::calls::{Caller, Calls};
use super::lock_wait::while_busy;
use crate::core::call::blank;
use crate::core::change::Change;
use crate::core::columns::{Cell, Column, ColumnSet, ColumnType, NOBODYS_ADDRESS};
use crate::core::event::IdentityKey;
use crate::core::known::{Deletion, FactSet, HeldValues, Identity, User};
use crate::core::retry_policy::LOCK_WAIT;
use crate::core::words::{ChangeKind, DeletedBy, IdentityState};
use crate::store::{AccountWrite, CausedChange, Ended, Reconciliation, StoreError, Task, UserRow};
use tracing::warn;

/// What becomes of the row of somebody who is erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErasedRow {
    /// Without personal data, so that what the person wrote keeps an author.
    Emptied,
    /// None, where the application's foreign keys let it go.
    Removed,
}

/// What an erasure came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// The row is gone.
    pub removed: bool,
    /// Why the row stays although it was to be removed.
    pub kept_because: Option<String>,
    /// Columns that hold what they held: the application's own constraints refuse every other value.
    pub left: Vec<String>,
}

impl Calls {
    /// Erases a user with all of its accounts.
    pub async fn erase(
        &self,
        user_id: &str,
        erased_row: ErasedRow,
        caller: Caller<'_>,
    ) -> Result<Erased, CallError> {
        while_busy(&LOCK_WAIT, || self.try_erase(user_id, erased_row, caller)).await
    }

    async fn try_erase(
        &self,
        user_id: &str,
        erased_row: ErasedRow,
        caller: Caller<'_>,
    ) -> Result<Erased, CallError> {
        let accounts = self.store.accounts_of_user(user_id).await?;
        if accounts.is_empty() {
            let user = self.store.users_by_id(&[user_id.to_owned()]).await?;
            return Err(if user.is_empty() { CallError::Unknown } else { CallError::NoAccount });
        }
        let keys: Vec<IdentityKey> =
            accounts.into_iter().filter(|account| !account.is_erased).map(|account| account.key).collect();
        if keys.is_empty() {
            return Ok(Erased::default());
        }
        let erased = self.erase_accounts(&keys, user_id, erased_row, caller).await?;
        self.scrub().await;
        Ok(erased)
    }

    /// Erases those that ended more than `age_ms` ago; how many it were.
    pub async fn erase_ended(
        &self,
        age_ms: i64,
        erased_row: ErasedRow,
        limit: i64,
    ) -> Result<usize, CallError> {
        let caller = Caller { by: "policy", reason: Some("HEADCOUNT_ERASE_AFTER is over") };
        let ended = self.store.ended_before(age_ms, limit).await?;
        let mut erased = 0;
        for Ended { key, user_id } in &ended {
            let result = match user_id {
                Some(user_id) => self.erase(user_id, erased_row, caller).await.map(|erased| {
                    if !erased.left.is_empty() {
                        warn!(user.id = user_id, "columns could not be erased: {}", erased.left.join(", "));
                    }
                }),
                None => self.bury_alone(key).await,
            };
            match result {
                Ok(()) => {
                    self.store.forget_postponed(Task::Erase, &key.source, &key.provider_id).await?;
                    erased += 1;
                }
                Err(CallError::Store(error)) if error.is_transient() => return Err(error.into()),
                Err(error) => {
                    // The application has removed the row itself.
                    if !matches!(error, CallError::Unknown) {
                        warn!("an account whose time is over could not be erased: {error}");
                    }
                    let reason = error.to_string();
                    self.store.postpone(Task::Erase, &key.source, &key.provider_id, &reason).await?;
                }
            }
        }
        if erased > 0 {
            self.scrub().await;
        }
        Ok(erased)
    }

    async fn bury_alone(&self, key: &IdentityKey) -> Result<(), CallError> {
        let mut tx = self.store.reconciliation().await?;
        let locked = tx.lock(std::slice::from_ref(key)).await?.remove(key).ok_or(CallError::Busy)?;
        if locked.user_id.is_none() && locked.deletion.is_some() {
            tx.bury(std::slice::from_ref(key), None).await?;
            tx.commit(&[]).await?;
        }
        Ok(())
    }

    pub(super) async fn scrub(&self) {
        if let Err(error) = self.store.scrub().await {
            warn!("what was erased is not out of the database's log yet: {error}");
        }
    }

    pub(super) async fn erase_accounts(
        &self,
        keys: &[IdentityKey],
        user_id: &str,
        erased_row: ErasedRow,
        caller: Caller<'_>,
    ) -> Result<Erased, CallError> {
        let mut tx = self.store.reconciliation().await?;
        let locked = tx.lock(keys).await?;
        if keys.iter().any(|key| !locked.contains_key(key) && !tx.is_erased(key)) {
            return Err(CallError::Busy);
        }
        let user = match tx.lock_user(user_id).await? {
            UserRow::Locked(user) => Some(user),
            UserRow::Elsewhere => return Err(CallError::Busy),
            UserRow::Gone => None,
        };
        // Under the row's lock nobody gives it another account.
        if tx.accounts_of_user(user_id).await?.iter().any(|key| !keys.contains(key)) {
            return Err(CallError::Busy);
        }
        tx.look_ahead().await?;
        let mut erased = Erased::default();
        let mut changed = Vec::new();
        let words = user.as_ref().map(words_of).unwrap_or_default();
        if let (Some(user), Some(key)) = (user, keys.first()) {
            if erased_row == ErasedRow::Removed {
                match tx.remove_user(user_id).await {
                    Ok(()) => erased.removed = true,
                    Err(StoreError::Rejected(reason)) => erased.kept_because = Some(reason),
                    Err(error) => return Err(error.into()),
                }
            }
            let emptied = self.emptied(&mut tx, &user).await?;
            changed = user.columns.differing(&emptied.columns).collect();
            if !erased.removed {
                let write = write(key.clone(), user, emptied);
                erased.left = self.empty(&mut tx, write).await?;
            }
        }
        let layout = self.store.layout();
        let mut changed: Vec<String> =
            changed.into_iter().map(|column| layout.name(column).to_owned()).collect();
        changed.retain(|name| !erased.left.contains(name));
        changed.push("account_state".to_owned());
        let keeps = (!erased.removed).then_some(user_id);
        tx.forget_history(user_id, keys).await?;
        tx.bury(keys, keeps).await?;
        tx.forget_bodies_with(keys, &words).await?;
        let change = Change { user_id: user_id.to_owned(), kind: ChangeKind::Erased, changed };
        tx.commit(&[CausedChange { change, cause: caller.cause("erase") }]).await?;
        Ok(erased)
    }

    /// The row without anything of the person.
    async fn emptied(&self, tx: &mut Reconciliation, user: &User) -> Result<User, StoreError> {
        Ok(User {
            id: user.id.clone(),
            columns: blank(self.store.layout()),
            deleted_at: user.deleted_at.or(Some(tx.now().await?)),
            suspended_by_source: false,
            suspended_by_app: false,
            provisional: false,
            kept: ColumnSet::default(),
            held: HeldValues::default(),
            unreadable: FactSet::default(),
        })
    }

    /// Empties the row. Where a column may not be empty it gets something that says nothing; the columns that take
    /// nothing else than what they hold.
    async fn empty(&self, tx: &mut Reconciliation, write: AccountWrite) -> Result<Vec<String>, StoreError> {
        match tx.write(std::slice::from_ref(&write)).await {
            Err(StoreError::Rejected(_)) => {}
            result => return result.map(|()| Vec::new()),
        }
        let layout = self.store.layout().clone();
        let (Some(before), Some(wanted)) = (write.before.clone(), write.user.clone()) else {
            return Ok(Vec::new());
        };
        let (mut now, mut left) = (before.clone(), Vec::new());
        for column in before.columns.differing(&wanted.columns) {
            let mut values = vec![wanted.columns.get(column).map(str::to_owned)];
            if layout.column_type(column) == ColumnType::Text {
                values.push(placeholder(column, &before.id));
            }
            let mut fits = false;
            for value in values {
                let mut next = now.clone();
                next.columns.set(column, value);
                let attempt =
                    AccountWrite { before: Some(now.clone()), user: Some(next.clone()), ..write.clone() };
                match tx.write(&[attempt]).await {
                    Ok(()) => {
                        (now, fits) = (next, true);
                        break;
                    }
                    Err(StoreError::Rejected(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            if !fits {
                left.push(layout.name(column).to_owned());
            }
        }
        let last = User { columns: now.columns.clone(), ..wanted };
        match tx.write(&[AccountWrite { before: Some(now), user: Some(last), ..write }]).await {
            Err(StoreError::Rejected(_)) => left.push("account_state".to_owned()),
            result => result?,
        }
        Ok(left)
    }
}

fn write(key: IdentityKey, before: User, user: User) -> AccountWrite {
    let at = user.deleted_at.unwrap_or(crate::core::timestamp::Timestamp::clamped(0));
    let ended = Identity {
        state: IdentityState::Deleted,
        latest: None,
        deletion: Some(Deletion { at, received_at: at, by: DeletedBy::Erase, soft: false }),
        replaced_version: None,
        hints: None,
    };
    AccountWrite::new(key, ended, Some(before), Some(user))
}

/// What names the person in deliveries of which nobody could tell whose they are.
fn words_of(user: &User) -> Vec<String> {
    let naming = [Column::Email, Column::Phone, Column::Username];
    naming.into_iter().filter_map(|column| user.columns.get(column)).map(str::to_owned).collect()
}

/// Unique, and nobody's.
fn placeholder(column: Column, user_id: &str) -> Cell {
    Some(match column {
        Column::Email => format!("{user_id}{NOBODYS_ADDRESS}"),
        _ => format!("erased-{user_id}"),
    })
}
