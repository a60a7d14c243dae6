//! Accounts that a read has brought, tied to the rows that were there before them.

use super::account::{FirstSeen, LockedAccount, one_of_each_user};
use super::linking::{link, link_as_planned, links_any};
use super::read_context::ReadContext;
use super::reads::Reads;
use crate::core::event::{IdentityKey, Snapshot};
use crate::core::known::Account;
use crate::core::read::{Circumstances, Observation, ReadDecision, Reading, decide_read};
use crate::store::{Reconciliation, StoreError};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

impl Reads {
    /// Ties those without a row to the one that was there before them, and leaves out those that come later.
    pub(super) async fn tie(
        &self,
        tx: &mut Reconciliation,
        accounts: &mut BTreeMap<IdentityKey, LockedAccount>,
        readings: &[(IdentityKey, Reading)],
        circumstances: impl Fn(&IdentityKey, &Reading) -> Circumstances,
        context: &ReadContext,
    ) -> Result<(), StoreError> {
        if context.plan.is_none() && accounts.values().all(|account| !account.may_be_linked()) {
            return Ok(());
        }
        let source_states = tx.source_states().await?;
        if context.plan.is_none() && !links_any(&self.sources, &source_states) {
            accounts.values_mut().for_each(LockedAccount::await_nothing);
            return Ok(());
        }
        let mut snapshots: HashMap<&IdentityKey, Cow<'_, Snapshot>> = HashMap::new();
        for (key, reading) in readings {
            let Some(account) = accounts.get(key).filter(|account| account.may_be_linked()) else { continue };
            let at = circumstances(key, reading);
            snapshots.extend(self.latest_after(account, reading, at).map(|snapshot| (key, snapshot)));
        }
        let unseen: Vec<FirstSeen<'_>> = accounts
            .iter_mut()
            .filter_map(|(key, account)| Some((key.clone(), snapshots.remove(key)?, account)))
            .collect();
        let left_out = match &context.plan {
            Some(plan) => link_as_planned(tx, &self.sources, plan, unseen).await?,
            None => link(tx, &self.sources, &source_states, unseen).await?,
        };
        // Their rows were made for the lock; who reads them again makes them anew.
        let is_placeholder =
            |key: &&IdentityKey| accounts.get(*key).is_some_and(|account| account.is_placeholder);
        tx.delete_placeholders(&left_out.iter().filter(is_placeholder).cloned().collect::<Vec<_>>()).await?;
        let may_stay = |account: &LockedAccount| context.plan.is_none() || account.linked_by.is_some();
        accounts.retain(|key, account| !left_out.contains(key) && may_stay(account));
        one_of_each_user(accounts);
        Ok(())
    }

    /// What will be the account's latest snapshot, once the reading is decided.
    fn latest_after<'a>(
        &self,
        account: &LockedAccount,
        reading: &'a Reading,
        at: Circumstances,
    ) -> Option<Cow<'a, Snapshot>> {
        let Observation::Present(snapshot) = &reading.observed else { return None };
        if account.known.identity.is_none() {
            return Some(Cow::Borrowed(snapshot));
        }
        let alone = Account { user: None, siblings: Vec::new(), ..account.known.clone() };
        let identity = match decide_read(self.store.layout(), &alone, reading, at, "") {
            ReadDecision::Apply(repair) => repair.account.identity,
            ReadDecision::Unchanged | ReadDecision::Again(_) | ReadDecision::Gone => alone.identity,
        };
        Some(Cow::Owned(identity?.latest?.snapshot))
    }
}
