//! Claimed deliveries before anything is decided: what they say, what is to be asked, how many users they may delete.

use super::deliveries::Deliveries;
use super::finished::{elsewhere_from, ended};
use crate::core::brake::DeleteLimit;
use crate::core::event::{Event, IdentityKey};
use crate::core::words::{Doubt, IdentityState};
use crate::intake::READ_EVENT;
use crate::store::{
    Finished, NewConfirmation, Pending, Reconciliation, SourceState, StoreError, StoredAccount,
};
use std::collections::{BTreeMap, HashMap};

impl Deliveries {
    /// What cannot be understood is a dead letter at once; what another instance sent is ignored.
    #[expect(clippy::type_complexity, reason = "three kinds of delivery, told apart once")]
    pub(super) fn normalize(
        &self,
        pending: Vec<Pending>,
        source_states: &HashMap<String, SourceState>,
    ) -> (Vec<(Pending, Event)>, Vec<Finished>, Vec<(IdentityKey, Doubt)>) {
        let mut events = Vec::with_capacity(pending.len());
        let (mut finished, mut asked) = (Vec::new(), Vec::new());
        for mut pending in pending {
            let Some(source) = self.sources.iter().find(|source| source.name == pending.source) else {
                continue;
            };
            let mut done = |status, last_error| finished.push(ended(&pending, status, last_error));
            if pending.event_type == READ_EVENT {
                // A user of a page that could not be understood: read anew, rather than applied as of then.
                match pending.provider_id.clone() {
                    Some(provider_id) => {
                        let key = IdentityKey { source: source.name.clone(), provider_id };
                        asked.push((key, Doubt::Asked));
                        done("stale", Some("the account is read again".to_owned()));
                    }
                    None => done("dead", Some("it names no account that could be read again".to_owned())),
                }
                continue;
            }
            match source.provider.normalize(&pending.source, &pending.body, self.store.layout()) {
                Ok(event) => match elsewhere_from(&event, source, source_states) {
                    Some(reason) => done("ignored", Some(reason)),
                    None => {
                        // Everything that it says is in the event.
                        pending.body = String::new();
                        events.push((pending, event));
                    }
                },
                Err(reason) => {
                    done("dead", Some(reason.to_string()));
                    // It may have been a ban.
                    if let Some(provider_id) = pending.provider_id {
                        asked.push((IdentityKey { source: source.name.clone(), provider_id }, Doubt::Asked));
                    }
                }
            }
        }
        (events, finished, asked)
    }

    /// Only where there is a key to ask with.
    pub(super) fn questions(&self, asked: Vec<(IdentityKey, Doubt)>) -> Vec<NewConfirmation> {
        let asked: BTreeMap<IdentityKey, Doubt> = asked.into_iter().collect();
        let can_ask = |key: &IdentityKey| {
            self.sources.iter().any(|source| source.name == key.source && source.is_readable())
        };
        let question = |(key, doubt)| NewConfirmation {
            key,
            run_id: None,
            doubt,
            due_in_ms: 0,
            first: None,
            gone: false,
        };
        asked.into_iter().filter(|(key, _)| can_ask(key)).map(question).collect()
    }

    /// How many users each source's deliveries may still delete.
    pub(super) async fn budgets(
        &self,
        tx: &mut Reconciliation,
        events: &[(Pending, Event)],
        locked: &BTreeMap<IdentityKey, StoredAccount>,
    ) -> Result<HashMap<String, u64>, StoreError> {
        let mut wanted: BTreeMap<String, u64> = BTreeMap::new();
        for (_, event) in events {
            let deletes = event.kind.ends()
                && locked.get(&event.key).is_some_and(|account| account.state != IdentityState::Deleted);
            if deletes {
                *wanted.entry(event.key.source.clone()).or_default() += 1;
            }
        }
        let mut budgets = HashMap::new();
        for (source, wanted) in wanted {
            let own = self.sources.iter().find(|known| known.name == source);
            let limit = own.and_then(|source| source.delete_limit).unwrap_or(self.delete_limit);
            if limit != DeleteLimit::Off {
                // Of two processes that count at once each would let the whole number through.
                tx.hold_source(&source).await?;
            }
            let lately = tx.deleted_lately(&source).await?;
            let allowed = match limit.without_counting(lately + wanted) {
                Some(allowed) => allowed,
                // Those that are gone within the hour were accounts when it began.
                None => limit.allowed(tx.accounts_of(&source).await? + lately),
            };
            budgets.insert(source, allowed.saturating_sub(lately));
        }
        Ok(budgets)
    }
}
