//! Accounts that another user's address has kept from a user of their own, or shown beside one: a person says that they are
//! somebody else's (contract, rule 10).

use super::account::{FreshIds, difference, write_each};
use super::call_error::CallError;
use super::calls::{Caller, Calls};
use super::held_values::HeldValuesRetry;
use super::lock_wait::while_busy;
use super::partial_write::ConstraintCheck;
use super::write_outcome::{Outcome, feed_change};
use crate::core::decide::again;
use crate::core::event::IdentityKey;
use crate::core::known::{Account, AddressStanding};
use crate::core::retry_policy::LOCK_WAIT;
use crate::store::CausedChange;

/// What separating an account came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Separated {
    /// It waited, and this user was made for it.
    Made(String),
    /// It had this user already, which is shown as a collision no more.
    Stays(String),
}

impl Calls {
    /// Gives the account that waits for an address a user of its own; one that has a user keeps it, and collides no more.
    pub async fn separate(&self, key: &IdentityKey, caller: Caller<'_>) -> Result<Separated, CallError> {
        while_busy(&LOCK_WAIT, || self.try_separate(key, caller)).await
    }

    async fn try_separate(&self, key: &IdentityKey, caller: Caller<'_>) -> Result<Separated, CallError> {
        self.must_be_known(key).await?;
        let mut tx = self.store.reconciliation().await?;
        let account = self.lock(&mut tx, key).await?;
        if let Some(user) = &account.known.user {
            if !tx.end_collision(key).await? {
                return Err(CallError::Conflict(format!(
                    "the account has user {}, who collides with nobody",
                    user.id
                )));
            }
            tx.commit(&[]).await?;
            return Ok(Separated::Stays(user.id.clone()));
        }
        if !matches!(account.known.address, AddressStanding::Awaited(_)) {
            return Err(CallError::Conflict("the account waits for no address".to_owned()));
        }
        let mut ids =
            FreshIds::reserve(&mut tx, &self.clock, &self.sources, std::iter::once(&account), false).await?;
        let id = ids.next(&mut tx, &account).await?;
        let free = Account { address: AddressStanding::Free, ..account.known.clone() };
        let (after, change) = again(self.store.layout(), &free, &id);
        let Some(write) = difference(key, &account.known, &after, false, None) else {
            return Err(CallError::Conflict("nothing is known of which a user could be made".to_owned()));
        };
        let mut outcomes = write_each(&mut tx, vec![write]).await?;
        let reason = match &outcomes[0] {
            Outcome::Refused(reason) => Some(reason),
            Outcome::Written(write) => write.waiting.as_ref(),
        };
        if let Some(reason) = reason {
            return Err(CallError::Conflict(format!("the database refuses its row: {reason}")));
        }
        let retry = HeldValuesRetry { sources: &self.sources, clock: &self.clock, dry: false };
        let mut changes = retry.after(&mut tx, ConstraintCheck::OnWrite, &mut outcomes).await?;
        let own = feed_change(change, &outcomes[0]);
        changes.extend(own.map(|change| CausedChange { change, cause: caller.cause("separate") }));
        tx.commit(&changes).await?;
        Ok(Separated::Made(id))
    }
}
