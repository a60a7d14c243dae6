//! Accounts without a user of their own, in words: `headcount users waiting`, and what is said of one.

use super::DONE;
use super::output::{print, print_json, table, visible};
use crate::core::link::{LinkRule, owner_of_address};
use crate::store::{AddressConflict, RowlessAccount, Store, StoreError};

/// Lists them.
pub fn told_conflicts(conflicts: &[AddressConflict], json: bool) -> u8 {
    if json {
        let of = |conflict: &AddressConflict| {
            serde_json::json!({
                "source": conflict.key.source,
                "provider_id": conflict.key.provider_id,
                "user": conflict.user_id,
                "other_user": conflict.other_user_id,
                "since": conflict.since,
            })
        };
        print_json(&serde_json::json!({"accounts": conflicts.iter().map(of).collect::<Vec<_>>()}));
        return DONE;
    }
    let row = |conflict: &AddressConflict| {
        vec![
            conflict.key.source.clone(),
            visible(&conflict.key.provider_id),
            conflict.user_id.clone().unwrap_or_else(|| "(waits)".to_owned()),
            conflict.other_user_id.clone().unwrap_or_else(|| "(nobody's any more)".to_owned()),
            conflict.since.clone().unwrap_or_default(),
        ]
    };
    let head = ["source", "account", "its user", "whose address it is", "since"];
    print(&table(&head, conflicts.iter().map(row).collect()));
    DONE
}

/// What there is to say of an account that has no row.
pub async fn without_a_row(store: &Store, account: &RowlessAccount) -> Result<String, StoreError> {
    let RowlessAccount { key, is_deleted, waiting, awaited_address } = account;
    let awaited = Vec::from_iter(awaited_address.clone());
    let owners = store.candidates(&LinkRule::VerifiedEmail, &awaited, &[]).await?;
    let owner = owners.values().find_map(|users| owner_of_address(users, None));
    let name = format!("account {} of source {}", visible(&key.provider_id), key.source);
    Ok(match waiting {
        Some((_, since)) if awaited_address.is_some() => match owner {
            Some(owner) => format!(
                "{name} waits without a user since {since}: its address is user {owner}'s, who had it first, and {} has not \
                 verified it for this account. Once it has, the account is that user's. Or decide yourself: `headcount users \
                 link {0} {1} {owner}`, or `headcount users separate {0} {1}`",
                key.source,
                visible(&key.provider_id)
            ),
            None => format!(
                "{name} waits without a user since {since}, for an address that nobody has any more: it is about to get one"
            ),
        },
        Some((reason, since)) => format!(
            "{name} waits without a row since {since}: {}. Where your table needs what the provider does not have, supply it: \
             POST /v1/users/ensure with `set`",
            visible(reason)
        ),
        None if *is_deleted => format!("{name} is deleted, and no user was ever made for it"),
        None => format!("{name} is known, and has no user yet"),
    })
}
