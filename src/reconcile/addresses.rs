//! Accounts whose address is another user's, where their source links by addresses (contract, rule 10).

use super::account::FirstSeen;
use crate::core::address::comparable;
use crate::core::columns::{Column, Columns};
use crate::core::event::{IdentityKey, Snapshot};
use crate::core::known::AddressStanding;
use crate::core::link::{Candidate, LinkRule, owner_of_address};
use crate::store::{Reconciliation, StoreError};
use std::collections::{HashMap, HashSet};

/// The address, as it is compared.
pub(super) fn address_of(columns: &Columns) -> Option<String> {
    columns.get(Column::Email).map(comparable)
}

fn is_verified(snapshot: &Snapshot) -> bool {
    snapshot.columns.get(Column::EmailVerified) == Some("true")
}

/// Has whoever sees one of these addresses for the first time at the same moment wait for this transaction's end.
pub(super) async fn claim(tx: &mut Reconciliation, accounts: &[FirstSeen<'_>]) -> Result<(), StoreError> {
    let addresses: HashSet<String> =
        accounts.iter().filter_map(|(_, snapshot, _)| address_of(&snapshot.columns)).collect();
    let mut addresses: Vec<String> = addresses.into_iter().collect();
    addresses.sort();
    tx.claim_addresses(&addresses).await
}

/// Of accounts with one address the first is decided by itself; those that would have to know what became of it come
/// later.
pub(super) fn behind_others(accounts: &[FirstSeen<'_>], by_address: &[String]) -> HashSet<IdentityKey> {
    let mut seen = HashSet::new();
    let mut behind = HashSet::new();
    for (key, snapshot, _) in accounts {
        let is_first = address_of(&snapshot.columns).is_none_or(|address| seen.insert(address));
        if !is_first && by_address.contains(&key.source) {
            behind.insert(key.clone());
        }
    }
    behind
}

/// How the addresses of these accounts stand, none of which has found a row: an account without a user waits for an
/// address that is not verified and another user's; one that had a user before it named any collides.
pub(super) async fn weigh(
    tx: &mut Reconciliation,
    accounts: Vec<FirstSeen<'_>>,
    by_address: &[String],
) -> Result<(), StoreError> {
    let mut open = Vec::new();
    for (key, snapshot, account) in accounts {
        let is_asked = account.known.user.is_some() || !is_verified(&snapshot);
        if let Some(address) =
            address_of(&snapshot.columns).filter(|_| is_asked && by_address.contains(&key.source))
        {
            open.push((address, account));
        }
    }
    let addresses: Vec<String> = open.iter().map(|(address, _)| address.clone()).collect();
    let users = users_at(tx, &addresses).await?;
    for (address, account) in open {
        let own = account.known.user.as_ref().map(|user| user.id.clone());
        let Some(owner) = users.get(&address).and_then(|users| owner_of_address(users, own.as_deref()))
        else {
            continue;
        };
        account.known.address = match own {
            Some(_) => AddressStanding::Collides(owner.to_owned()),
            None => AddressStanding::Awaited(address),
        };
    }
    Ok(())
}

/// The users that have one of these addresses.
pub(super) async fn users_at(
    tx: &mut Reconciliation,
    addresses: &[String],
) -> Result<HashMap<String, Vec<Candidate>>, StoreError> {
    match addresses.is_empty() {
        true => Ok(HashMap::new()),
        false => tx.candidates(&LinkRule::VerifiedEmail, addresses, &[]).await,
    }
}
