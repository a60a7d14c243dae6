//! What the application and operators ask for of one user: the way of a delivery, but that somebody waits for the answer.

use super::account::{FreshIds, LockedAccount, difference, locked_account, write_each};
use super::addresses::{address_of, users_at};
use super::assignment::{Assignment, check_supplied, with_theirs};
use super::call_error::{CallError, NoRoom};
use super::held_values::HeldValuesRetry;
use super::linking::link;
use super::lock_wait::while_busy;
use super::partial_write::ConstraintCheck;
use super::write_outcome::feed_change;
use crate::clock::Clock;
use crate::core::call::{self, Called};
use crate::core::change::Change;
use crate::core::columns::{Cell, Columns};
use crate::core::event::{IdentityKey, Snapshot};
use crate::core::known::{Account, AddressStanding};
use crate::core::link::owner_of_address;
use crate::core::retry_policy::LOCK_WAIT;
use crate::source::Source;
use crate::store::{AccountWrite, CausedChange, Reconciliation, Store, StoreError, TheirCell};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Carries calls out.
#[derive(Clone)]
pub struct Calls {
    pub store: Store,
    pub sources: Arc<Vec<Source>>,
    pub clock: Arc<dyn Clock>,
}

/// Who asks, and why: what the history keeps of a call.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// `application`, `operator`, `policy`
    pub by: &'static str,
    pub reason: Option<&'a str>,
}

impl Caller<'_> {
    pub const APPLICATION: Caller<'static> = Caller { by: "application", reason: None };
    pub const OPERATOR: Caller<'static> = Caller { by: "operator", reason: None };

    pub(super) fn cause(&self, what: &str) -> String {
        serde_json::json!({"call": {"what": what, "by": self.by, "reason": self.reason}}).to_string()
    }
}

impl Calls {
    /// What a call wants, from names and values. Names are headcount's, or of columns that are the application's alone.
    pub async fn assignment(&self, cells: &BTreeMap<String, Cell>) -> Result<Assignment, CallError> {
        Assignment::of(&self.store, cells).await
    }

    /// A user for an account of which nothing has come yet. `Ok` where there is one now, whoever made it.
    pub async fn provisional(
        &self,
        key: &IdentityKey,
        hints: &Columns,
        assignment: &Assignment,
    ) -> Result<(), CallError> {
        match while_busy(&LOCK_WAIT, || self.try_provisional(key, hints, assignment)).await {
            Err(error) => Err(self.with_columns(error, assignment, hints).await?),
            Ok(()) => Ok(()),
        }
    }

    async fn try_provisional(
        &self,
        key: &IdentityKey,
        hints: &Columns,
        assignment: &Assignment,
    ) -> Result<(), CallError> {
        let mut tx = self.store.reconciliation().await?;
        let mut account = self.lock(&mut tx, key).await?;
        if account.known.user.is_some() && !account.known.linked_now {
            return Ok(());
        }
        if account.has_no_row() {
            // Of rules that ask the provider's word none can speak before it has: hints never link.
            let latest = account.known.identity.as_ref().and_then(|identity| identity.latest.as_ref());
            let snapshot = latest.map_or_else(Snapshot::default, |latest| latest.snapshot.clone());
            let address = if latest.is_none() { address_of(hints) } else { None };
            let source_states = tx.source_states().await?;
            let first_seen = vec![(key.clone(), Cow::Owned(snapshot), &mut account)];
            if !link(&mut tx, &self.sources, &source_states, first_seen).await?.is_empty() {
                return Err(CallError::Busy);
            }
            let is_awaited = matches!(account.known.address, AddressStanding::Awaited(_));
            if is_awaited || account.has_no_row() && self.is_anothers(&mut tx, key, address).await? {
                // Whoever is told so may come back at once, and finds nothing locked.
                tx.rollback().await;
                return Err(CallError::AddressOfAnotherUser);
            }
        }
        let mut ids =
            FreshIds::reserve(&mut tx, &self.clock, &self.sources, std::iter::once(&account), false).await?;
        let id = ids.next(&mut tx, &account).await?;
        let layout = self.store.layout();
        let mut hints = hints.clone();
        for column in layout.columns().filter(|&column| layout.is_account_id(column)) {
            hints.set(column, Some(key.provider_id.clone()));
        }
        let called = call::provisional(layout, &account.known, &hints, &assignment.setting, &id);
        if called.0.user.is_none() {
            return Err(CallError::Deleted);
        }
        let write = self.write_of(key, &account, &called.0, assignment.also.clone());
        let changes = self.write(&mut tx, write, called.1, assignment, "ensure", Caller::APPLICATION).await?;
        Ok(tx.commit(&changes).await?)
    }

    /// Whether the address is another user's, as far as that matters to an account of this source.
    async fn is_anothers(
        &self,
        tx: &mut Reconciliation,
        key: &IdentityKey,
        address: Option<String>,
    ) -> Result<bool, StoreError> {
        let mut of_name = self.sources.iter().filter(|source| source.name == key.source);
        let Some(address) = address.filter(|_| of_name.any(Source::links_by_address)) else {
            return Ok(false);
        };
        let users = users_at(tx, std::slice::from_ref(&address)).await?;
        Ok(users.get(&address).is_some_and(|users| owner_of_address(users, None).is_some()))
    }

    /// Sets columns of a user, bans it, or lifts the ban. Whether anything was to be changed.
    pub async fn set(
        &self,
        user_id: &str,
        assignment: &Assignment,
        caller: Caller<'_>,
    ) -> Result<bool, CallError> {
        let what = match assignment.setting.suspended {
            Some(true) => "suspend",
            Some(false) => "lift",
            None => "set",
        };
        let decide = |known: &Account| match is_deleted(known) {
            true => Err(CallError::Deleted),
            false => {
                check_supplied(self.store.layout(), known, assignment)?;
                Ok(call::set(self.store.layout(), known, &assignment.setting))
            }
        };
        self.on_user(user_id, assignment, what, caller, decide).await
    }

    /// Brings a deleted user back, by a person's word: with the account that was heard of last.
    pub async fn revive(&self, user_id: &str, caller: Caller<'_>) -> Result<(), CallError> {
        let decide = |known: &Account| match is_deleted(known) {
            true => Ok(call::revive(self.store.layout(), known, user_id)),
            false => Err(CallError::NotDeleted),
        };
        self.on_user(user_id, &Assignment::default(), "revive", caller, decide).await?;
        Ok(())
    }

    /// Whether the account was erased here.
    pub async fn is_erased(&self, key: &IdentityKey) -> Result<bool, StoreError> {
        let mut tx = self.store.reconciliation().await?;
        Ok(tx.find_erased(std::slice::from_ref(key)).await?.contains(key))
    }

    /// One user, by the account that leads it: locked, decided, written.
    async fn on_user(
        &self,
        user_id: &str,
        assignment: &Assignment,
        what: &str,
        caller: Caller<'_>,
        decide: impl Fn(&Account) -> Result<Called, CallError>,
    ) -> Result<bool, CallError> {
        let attempt = || self.try_on_user(user_id, assignment, what, caller, &decide);
        match while_busy(&LOCK_WAIT, attempt).await {
            Err(error) => Err(self.with_columns(error, assignment, &Columns::default()).await?),
            Ok(written) => Ok(written),
        }
    }

    async fn try_on_user(
        &self,
        user_id: &str,
        assignment: &Assignment,
        what: &str,
        caller: Caller<'_>,
        decide: impl Fn(&Account) -> Result<Called, CallError>,
    ) -> Result<bool, CallError> {
        let also = self.store.unlike(user_id, &assignment.also).await?;
        let key = self.leading(user_id).await?;
        let mut tx = self.store.reconciliation().await?;
        let account = self.lock(&mut tx, &key).await?;
        if account.known.user.as_ref().is_none_or(|user| user.id != user_id) {
            return Err(CallError::Busy);
        }
        let (after, change) = match decide(&account.known) {
            Ok(called) => called,
            Err(refused) => {
                // Whoever is told so may come back at once, and finds nothing locked.
                tx.rollback().await;
                return Err(refused);
            }
        };
        let write = self.write_of(&key, &account, &after, also);
        let is_written = write.is_some();
        let changes = self.write(&mut tx, write, change, assignment, what, caller).await?;
        tx.commit(&changes).await?;
        Ok(is_written)
    }

    /// The account that a user's row follows: of several, one that is not deleted.
    async fn leading(&self, user_id: &str) -> Result<IdentityKey, CallError> {
        let accounts = self.store.accounts_of_user(user_id).await?;
        if accounts.is_empty() {
            let user = self.store.users_by_id(&[user_id.to_owned()]).await?;
            return Err(if user.is_empty() { CallError::Unknown } else { CallError::NoAccount });
        }
        let alive = accounts.iter().find(|account| !account.is_deleted);
        let leading = alive.or_else(|| accounts.iter().find(|account| !account.is_erased));
        Ok(leading.ok_or(CallError::Erased)?.key.clone())
    }

    pub(super) async fn lock(
        &self,
        tx: &mut Reconciliation,
        key: &IdentityKey,
    ) -> Result<LockedAccount, CallError> {
        let locked = tx.lock(std::slice::from_ref(key)).await?.remove(key);
        if tx.is_erased(key) {
            return Err(CallError::Erased);
        }
        let locked = locked.ok_or(CallError::Busy)?;
        let has_spoken = locked.latest.is_some();
        let account = locked_account(&self.sources, self.store.layout(), key, locked);
        if has_spoken && account.known.identity.as_ref().is_none_or(|identity| identity.latest.is_none()) {
            return Err(CallError::Conflict(format!(
                "source {} is not configured here, so its accounts cannot be understood",
                key.source
            )));
        }
        Ok(account)
    }

    /// Writes an account of which nobody waits for anything, as far as the database lets it in, and commits.
    pub(super) async fn commit_one(
        &self,
        mut tx: Reconciliation,
        account: &LockedAccount,
        (after, change): Called,
        cause: String,
    ) -> Result<(), CallError> {
        let Some(write) = difference(&account.known.key, &account.known, &after, false, None) else {
            return Ok(());
        };
        let outcomes = write_each(&mut tx, vec![write]).await?;
        let change = feed_change(change, &outcomes[0]).map(|change| CausedChange { change, cause });
        Ok(tx.commit(change.as_slice()).await?)
    }

    fn write_of(
        &self,
        key: &IdentityKey,
        account: &LockedAccount,
        after: &Account,
        also: Vec<TheirCell>,
    ) -> Option<AccountWrite> {
        let write = difference(key, &account.known, after, false, account.linked_by.clone());
        let same = || {
            let (identity, user) = (account.known.identity.clone()?, account.known.user.clone());
            let write = AccountWrite::new(key.clone(), identity, user.clone(), user);
            Some(AccountWrite { siblings: account.known.siblings.clone(), ..write })
        };
        let write = write.or_else(|| (!also.is_empty()).then(same).flatten())?;
        Some(AccountWrite { also, ..write })
    }

    /// Writes, where everything that the call wants fits; what the feed says of it.
    async fn write(
        &self,
        tx: &mut Reconciliation,
        write: Option<AccountWrite>,
        change: Option<Change>,
        assignment: &Assignment,
        what: &str,
        caller: Caller<'_>,
    ) -> Result<Vec<CausedChange>, CallError> {
        let Some(write) = write else { return Ok(Vec::new()) };
        let mut outcomes = write_each(tx, vec![write.clone()]).await?;
        if let Some(mut no_room) = assignment.unmet(self.store.layout(), &outcomes[0]) {
            if no_room.columns.is_empty() {
                no_room.columns = self.guilty(tx, &write, assignment).await?;
            }
            return Err(CallError::NoRoom(no_room));
        }
        let retry = HeldValuesRetry { sources: &self.sources, clock: &self.clock, dry: false };
        let mut changes = retry.after(tx, ConstraintCheck::OnWrite, &mut outcomes).await?;
        let change = with_theirs(change, &write);
        let own = feed_change(change, &outcomes[0])
            .map(|change| CausedChange { change, cause: caller.cause(what) });
        changes.splice(0..0, own);
        Ok(changes)
    }

    /// The columns of the call without which the write would be let in.
    async fn guilty(
        &self,
        tx: &mut Reconciliation,
        write: &AccountWrite,
        assignment: &Assignment,
    ) -> Result<Vec<String>, CallError> {
        let layout = self.store.layout().clone();
        let mut guilty = Vec::new();
        // In the order of names: what the database is asked does not depend on chance.
        let mut tries: BTreeMap<String, AccountWrite> = BTreeMap::new();
        for (column, _) in &assignment.setting.columns {
            let mut without = write.clone();
            let before = write.before.as_ref().and_then(|before| before.columns.get(*column));
            if let Some(user) = &mut without.user {
                user.columns.set(*column, before.map(str::to_owned));
            }
            tries.insert(layout.name(*column).to_owned(), without);
        }
        for cell in &write.also {
            let also = write.also.iter().filter(|other| *other != cell).cloned().collect();
            tries.insert(cell.column.name.clone(), AccountWrite { also, ..write.clone() });
        }
        for (name, without) in tries {
            match tx.write(&[without]).await {
                Ok(()) => guilty.push(name),
                Err(StoreError::Rejected(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(guilty)
    }

    /// The error, with the columns named that must have a value and were given none, where no other is to blame. What
    /// the database says only at the commit (SQLite's deferred foreign keys) is of the same kind.
    pub async fn with_columns(
        &self,
        error: CallError,
        assignment: &Assignment,
        hints: &Columns,
    ) -> Result<CallError, CallError> {
        let NoRoom { mut columns, reason } = match error {
            CallError::NoRoom(no_room) => no_room,
            CallError::Store(error) if error.refuses_the_row() => {
                NoRoom { columns: Vec::new(), reason: error.to_string() }
            }
            other => return Ok(other),
        };
        if columns.is_empty() {
            let layout = self.store.layout();
            let mut given = assignment.names(layout);
            let is_given = |column| layout.is_account_id(column) || !hints.is_vacant(column);
            let hinted = layout.columns().filter(|&column| is_given(column));
            given.extend(hinted.map(|column| layout.name(column).to_owned()));
            columns = self.store.required_columns().await?;
            columns.retain(|column| !given.contains(column));
        }
        Ok(CallError::NoRoom(NoRoom { columns, reason }))
    }
}

fn is_deleted(known: &Account) -> bool {
    known.user.as_ref().is_some_and(|user| user.deleted_at.is_some())
}
