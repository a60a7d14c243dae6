//! Accounts that are seen for the first time find the rows that were there before them (contract, rule 10).

use super::account::Held;
use crate::core::decide::User;
use crate::core::event::{IdentityKey, Snapshot};
use crate::core::link::{LinkRule, Match, matched};
use crate::source::Source;
use crate::store::{ADOPTED, Bearings, Reconciliation, StoreError, wanted};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

/// An account that may have a row already, with what is newest of it.
pub(super) type FirstSeen<'a> = (IdentityKey, Cow<'a, Snapshot>, &'a mut Held);

/// Links those of the accounts without a row that find one. The keys of those whose row somebody else holds.
pub(super) async fn link(
    tx: &mut Reconciliation,
    sources: &[Source],
    bearings: &HashMap<String, Bearings>,
    accounts: Vec<FirstSeen<'_>>,
) -> Result<HashSet<IdentityKey>, StoreError> {
    let mut open: Vec<_> = accounts.into_iter().filter(|(_, _, held)| held.has_no_row()).collect();
    let mut elsewhere = HashSet::new();
    if open.is_empty() {
        return Ok(elsewhere);
    }
    for (rule, sources) in rules(sources, bearings) {
        let wants: Vec<Option<String>> = open
            .iter()
            .map(|(key, snapshot, _)| {
                let speaks = sources.contains(&key.source.as_str());
                speaks.then(|| wanted(tx.users_table(), &rule, key, snapshot)).flatten()
            })
            .collect();
        let texts: Vec<String> = wants.iter().flatten().cloned().collect();
        if texts.is_empty() {
            continue;
        }
        let candidates = tx.candidates(&rule, &texts).await?;
        let row_of = |want: &Option<String>| match matched(candidates.get(want.as_ref()?)?) {
            Match::Row(id) => Some(id),
            Match::None | Match::Ambiguous(_) => None,
        };
        let rows: Vec<Option<String>> = wants.iter().map(row_of).collect();
        let ids: Vec<String> = rows.iter().flatten().cloned().collect();
        let mut users = tx.lock_rows(&ids).await?;
        let mut still = Vec::new();
        for ((key, snapshot, held), row) in open.into_iter().zip(rows) {
            let found = row.as_ref().map(|id| users.remove(id));
            match found {
                Some(Some(user)) => take(held, user, &rule.name()),
                Some(None) => {
                    elsewhere.insert(key);
                }
                None => still.push((key, snapshot, held)),
            }
        }
        open = still;
    }
    Ok(elsewhere)
}

/// Links the accounts to the rows that an adoption has chosen. The keys of those that get none: their row is held by
/// somebody, gone, or another account's by now.
pub(super) async fn link_as_planned(
    tx: &mut Reconciliation,
    plan: &HashMap<String, String>,
    accounts: Vec<FirstSeen<'_>>,
) -> Result<HashSet<IdentityKey>, StoreError> {
    let ids: Vec<String> =
        accounts.iter().filter_map(|(key, ..)| plan.get(&key.provider_id).cloned()).collect();
    let mut users = tx.lock_rows(&ids).await?;
    let mut left_out = HashSet::new();
    for (key, _, held) in accounts {
        match plan.get(&key.provider_id).and_then(|id| users.remove(id)) {
            Some(user) => take(held, user, ADOPTED),
            None => {
                left_out.insert(key);
            }
        }
    }
    Ok(left_out)
}

fn take(held: &mut Held, user: User, linked_by: &str) {
    held.known.user = Some(user);
    held.known.linked_now = true;
    held.linked_by = Some(linked_by.to_owned());
}

/// Each rule with the sources that follow it, in the order in which they are asked.
fn rules<'a>(
    sources: &'a [Source],
    bearings: &'a HashMap<String, Bearings>,
) -> Vec<(LinkRule, Vec<&'a str>)> {
    let mut rules: Vec<(LinkRule, Vec<&str>)> = Vec::new();
    for source in sources {
        let adopted = bearings.get(&source.name).and_then(|bearings| bearings.link_by.as_ref());
        let own = adopted.into_iter().chain(&source.link_by);
        for rule in own {
            match rules.iter_mut().find(|(known, _)| known == rule) {
                Some((_, sources)) => sources.push(&source.name),
                None => rules.push((rule.clone(), vec![&source.name])),
            }
        }
    }
    rules
}
