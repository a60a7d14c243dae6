//! Accounts that are seen for the first time find the rows that were there before them (contract, rule 10).

use super::account::{FirstSeen, LockedAccount, siblings};
use super::addresses::{address_of, behind_others, claim, weigh};
use crate::core::columns::Column;
use crate::core::event::IdentityKey;
use crate::core::known::{Sibling, User};
use crate::core::link::{LinkRule, Match, matched};
use crate::source::Source;
use crate::store::{ADOPTED, Reconciliation, SourceState, Store, StoreError, match_key};
use std::collections::{BTreeSet, HashMap, HashSet};

/// Whether an account of any source can be linked by itself.
pub(super) fn links_any(sources: &[Source], source_states: &HashMap<String, SourceState>) -> bool {
    !rules(sources, source_states).is_empty()
}

/// Links those of the accounts without a row that find one, and tells how the addresses of the others stand. `accounts`
/// are in the order in which they came. The keys of those that come later: their row is held by somebody else, or they
/// have to know what becomes of another one.
pub(super) async fn link(
    tx: &mut Reconciliation,
    sources: &[Source],
    source_states: &HashMap<String, SourceState>,
    mut accounts: Vec<FirstSeen<'_>>,
) -> Result<HashSet<IdentityKey>, StoreError> {
    accounts.iter_mut().for_each(|(_, _, account)| account.await_nothing());
    let rules = rules(sources, source_states);
    if accounts.is_empty() || rules.is_empty() {
        return Ok(HashSet::new());
    }
    let by_address = rules.iter().find(|(rule, _)| *rule == LinkRule::VerifiedEmail);
    let by_address: Vec<String> = by_address
        .map(|(_, sources)| sources.iter().map(|name| (*name).to_owned()).collect())
        .unwrap_or_default();
    let mut elsewhere = HashSet::new();
    if !by_address.is_empty() {
        claim(tx, &accounts).await?;
        elsewhere = behind_others(&accounts, &by_address);
        accounts.retain(|(key, ..)| !elsewhere.contains(key));
    }
    let (mut open, with_user): (Vec<_>, Vec<_>) =
        accounts.into_iter().partition(|(_, _, account)| account.has_no_row());
    let configured = sources.iter().map(|source| source.name.clone());
    let names: BTreeSet<String> = configured.chain(source_states.keys().cloned()).collect();
    let names: Vec<String> = names.into_iter().collect();
    for (rule, followers) in rules {
        let wants: Vec<Option<String>> = open
            .iter()
            .map(|(key, snapshot, _)| {
                let speaks = followers.contains(&key.source.as_str());
                speaks.then(|| match_key(tx.users_table(), &rule, key, snapshot)).flatten()
            })
            .collect();
        let texts: Vec<String> = wants.iter().flatten().cloned().collect();
        if texts.is_empty() {
            continue;
        }
        let candidates = tx.candidates(&rule, &texts, &names).await?;
        let mut rows: Vec<Option<String>> = Vec::new();
        for ((key, ..), want) in open.iter().zip(&wants) {
            let fits = want.as_ref().and_then(|want| candidates.get(want)).map_or(&[][..], Vec::as_slice);
            rows.push(match matched(fits, &key.source) {
                Match::Row(id) => Some(id),
                Match::None | Match::Ambiguous(_) => None,
            });
        }
        let mut found = lock(tx, &open, &rows, sources).await?;
        let mut still = Vec::new();
        for (((key, snapshot, account), row), want) in open.into_iter().zip(rows).zip(wants) {
            match row.map(|id| found.remove(&id)) {
                None => still.push((key, snapshot, account)),
                Some(Some(row)) if !row.may_be_tied(&rule, want.as_deref(), sources) => {
                    still.push((key, snapshot, account));
                }
                Some(Some(row)) => row.link(account, &rule.name()),
                Some(None) => {
                    elsewhere.insert(key);
                }
            }
        }
        open = still;
    }
    open.extend(with_user);
    weigh(tx, open, &by_address).await?;
    Ok(elsewhere)
}

/// How accounts of the source find their rows here: by what an adoption has named, then by the configuration.
pub async fn link_rules(store: &Store, source: &Source) -> Result<Vec<LinkRule>, StoreError> {
    let adopted = store.source(&source.name).await?.link_by;
    Ok(adopted.into_iter().chain(source.link_by.iter().cloned()).collect())
}

/// The names of all sources that are configured or ever were.
pub async fn names_of_sources(store: &Store, sources: &[Source]) -> Result<Vec<String>, StoreError> {
    let ever = store.sources_ever().await?.into_iter().map(|(name, _)| name);
    let configured = sources.iter().map(|source| source.name.clone());
    Ok(Vec::from_iter(ever.chain(configured).collect::<BTreeSet<String>>()))
}

/// Links the accounts to the rows that an adoption has chosen. The keys of those that get none: their row is held by
/// somebody, gone, or another account's by now.
pub(super) async fn link_as_planned(
    tx: &mut Reconciliation,
    sources: &[Source],
    plan: &HashMap<String, String>,
    accounts: Vec<FirstSeen<'_>>,
) -> Result<HashSet<IdentityKey>, StoreError> {
    let rows: Vec<Option<String>> =
        accounts.iter().map(|(key, ..)| plan.get(&key.provider_id).cloned()).collect();
    let mut found = lock(tx, &accounts, &rows, sources).await?;
    let mut left_out = HashSet::new();
    for ((key, _, account), row) in accounts.into_iter().zip(rows) {
        match row.and_then(|id| found.remove(&id)) {
            Some(row) => row.link(account, ADOPTED),
            None => {
                left_out.insert(key);
            }
        }
    }
    Ok(left_out)
}

/// A row that an account has found, locked, with the accounts that it has.
struct Found {
    user: User,
    siblings: Vec<Sibling>,
}

/// Locks the rows that the accounts want, each for the first that wants it.
async fn lock(
    tx: &mut Reconciliation,
    accounts: &[FirstSeen<'_>],
    rows: &[Option<String>],
    sources: &[Source],
) -> Result<HashMap<String, Found>, StoreError> {
    let mut wanted: HashMap<String, IdentityKey> = HashMap::new();
    for ((key, ..), row) in accounts.iter().zip(rows) {
        if let Some(row) = row {
            wanted.entry(row.clone()).or_insert_with(|| key.clone());
        }
    }
    let of_sources = wanted.iter().map(|(row, key)| (row.clone(), key.source.clone())).collect();
    let users = tx.lock_rows(&of_sources).await?;
    let mut found = HashMap::new();
    let links: Vec<_> = wanted
        .iter()
        .filter(|(row, _)| users.contains_key(*row))
        .map(|(row, key)| (key.clone(), row.clone()))
        .collect();
    let mut beside = tx.accounts_beside(&links).await?;
    let layout = tx.users_table().layout().clone();
    for (id, user) in users {
        let Some(key) = wanted.remove(&id) else { continue };
        let siblings = siblings(sources, &layout, beside.remove(&key).unwrap_or_default());
        found.insert(id, Found { user, siblings });
    }
    Ok(found)
}

impl Found {
    /// By an address only where an account that the row has was verified at it, by a source whose word for that is
    /// trusted.
    fn may_be_tied(&self, rule: &LinkRule, want: Option<&str>, sources: &[Source]) -> bool {
        let is_trusted = |sibling: &&Sibling| {
            sources.iter().any(|source| source.name == sibling.key.source && source.trusts_verified)
        };
        let says_it = |sibling: &Sibling| {
            let latest = sibling.identity.latest.as_ref();
            let columns = latest.map(|latest| &latest.snapshot.columns);
            columns.is_some_and(|columns| {
                columns.get(Column::EmailVerified) == Some("true") && address_of(columns).as_deref() == want
            })
        };
        let is_by_address = *rule == LinkRule::VerifiedEmail && !self.siblings.is_empty();
        let living = self.siblings.iter().filter(|sibling| sibling.is_alive());
        !is_by_address || living.filter(is_trusted).any(says_it)
    }

    fn link(self, account: &mut LockedAccount, linked_by: &str) {
        account.known.user = Some(self.user);
        account.known.siblings = self.siblings;
        account.known.linked_now = true;
        account.linked_by = Some(linked_by.to_owned());
    }
}

/// Each rule with the sources that follow it, in the order in which they are asked.
fn rules<'a>(
    sources: &'a [Source],
    source_states: &'a HashMap<String, SourceState>,
) -> Vec<(LinkRule, Vec<&'a str>)> {
    let mut rules: Vec<(LinkRule, Vec<&str>)> = Vec::new();
    for source in sources {
        let adopted = source_states.get(&source.name).and_then(|state| state.link_by.as_ref());
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
