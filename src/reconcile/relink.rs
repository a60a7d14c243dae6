//! People who became two users because a rule that ties their accounts was set only later: found by what is stored of each
//! account, for a person to look at and to say yes.

use super::calls::Calls;
use super::linking::{link_rules, names_of_sources};
use crate::core::event::IdentityKey;
use crate::core::link::{LinkRule, Match, matched};
use crate::core::timestamp::Timestamp;
use crate::source::Source;
use crate::store::{Known, KnownRange, RangeEnd, StoreError, match_key};
use std::collections::HashMap;

/// Accounts that are looked at together.
const SLICE: i64 = 500;
/// Doubles that one look finds: a person reads them.
const DOUBLES_MAX: usize = 10_000;

/// An account that has a user of its own, although a rule ties it to another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoubledUser {
    pub key: IdentityKey,
    /// The user that has this account alone.
    pub from: String,
    /// The user that the rule finds.
    pub to: String,
    pub rule: LinkRule,
}

impl Calls {
    /// The doubles among the source's accounts, at most ten thousand.
    pub async fn doubled_users(&self, source: &Source) -> Result<Vec<DoubledUser>, StoreError> {
        let rules = link_rules(&self.store, source).await?;
        let names = names_of_sources(&self.store, &self.sources).await?;
        let range =
            KnownRange { from: Timestamp::clamped(0), to: None, seen_before: self.store.now().await? };
        let (mut doubles, mut after) = (Vec::new(), None::<RangeEnd>);
        loop {
            let slice = self.store.known_between(&source.name, range, after.as_ref(), SLICE).await?;
            let Some(last) = slice.last() else { return Ok(doubles) };
            after = Some((last.created_at.clone(), last.provider_id.clone()));
            doubles.extend(self.doubled_among(source, &rules, &names, slice).await?);
            if doubles.len() >= DOUBLES_MAX {
                doubles.truncate(DOUBLES_MAX);
                return Ok(doubles);
            }
        }
    }

    /// Whether the word of one of these sources counts, where there are any: what a row calls verified one of them has said.
    fn trusts(&self, names: &[String]) -> bool {
        let is_trusted =
            |name: &String| self.sources.iter().any(|source| source.name == *name && source.trusts_verified);
        names.is_empty() || names.iter().any(is_trusted)
    }

    async fn doubled_among(
        &self,
        source: &Source,
        rules: &[LinkRule],
        names: &[String],
        slice: Vec<Known>,
    ) -> Result<Vec<DoubledUser>, StoreError> {
        let ids: Vec<String> = slice.iter().map(|known| known.provider_id.clone()).collect();
        // Of users with several accounts nobody is doubled.
        let mut alone: HashMap<String, String> = HashMap::new();
        for user in self.store.users_of(&source.name, &ids).await? {
            if let [account] = user.identities.as_slice() {
                alone.insert(account.provider_id.clone(), user.id.clone());
            }
        }
        let layout = self.store.layout();
        let mut open = Vec::new();
        for Known { provider_id, deleted, version, profile, .. } in slice {
            let (Some(version), Some(profile), false) = (version, profile, deleted) else { continue };
            let Some(from) = alone.remove(&provider_id) else { continue };
            let key = IdentityKey { source: source.name.clone(), provider_id };
            open.push((key, source.provider.recall(version, profile, layout), from));
        }
        let mut doubles = Vec::new();
        for rule in rules {
            let wanted = |(key, snapshot, _): &(_, _, String)| {
                match_key(self.store.users_table(), rule, key, snapshot)
            };
            let texts: Vec<String> = open.iter().filter_map(wanted).collect();
            let candidates = self.store.candidates(rule, &texts, names).await?;
            let mut still = Vec::new();
            for account in open {
                let rows = wanted(&account).and_then(|text| candidates.get(&text)).cloned();
                let mut rows = rows.unwrap_or_default();
                rows.retain(|row| row.user_id != account.2);
                if *rule == LinkRule::VerifiedEmail {
                    rows.retain(|row| row.verified == Some(true) && self.trusts(&row.sources));
                }
                match matched(&rows, &source.name) {
                    Match::Row(to) => {
                        let (key, _, from) = account;
                        doubles.push(DoubledUser { key, from, to, rule: rule.clone() });
                    }
                    Match::Ambiguous(_) | Match::None => still.push(account),
                }
            }
            open = still;
        }
        Ok(doubles)
    }
}
