//! What a report says, gathered from the tables and from the new source's database.

use super::activity::Activity;
use super::report::{MoveReport, UnfitIds};
use super::steps::{StepFacts, steps};
use super::{MoveError, ProviderMove};
use crate::reconcile::{Calls, link_rules};
use crate::resync::{outbox_state, unfit_ids};
use crate::source::Source;
use crate::store::{RecordedSwitch, StoreError};

/// Ids that are looked at together.
const IDS_AT_ONCE: usize = 10_000;
/// Switches that a report shows.
const SWITCHES_SHOWN: i64 = 5;

impl ProviderMove {
    /// Reads everybody and says how they stand. `activity` is what the sources say of it.
    pub async fn report(&self, activity: Vec<Activity>) -> Result<MoveReport, MoveError> {
        let (from, to) = (self.source(&self.from)?, self.source(&self.to)?);
        let people = self.people().await?;
        let conflicts = self.store.count_address_conflicts(&to.name).await?;
        let switches = self.store.switches(SWITCHES_SHOWN).await?;
        let is_ours =
            |recorded: &RecordedSwitch| recorded.switch.from == self.from && recorded.switch.to == self.to;
        let unfit_ids = self.unfit_ids(to, &people.ids_to_come).await;
        let mut report = MoveReport {
            from: self.from.clone(),
            to: self.to.clone(),
            is_switched: self.store.source(&self.to).await?.supersedes.as_ref() == Some(&self.from),
            awaiting_address: conflicts.awaiting,
            colliding: conflicts.colliding,
            doubled: self.doubled(to).await?,
            unfit_ids,
            activity,
            switches: switches.into_iter().filter(is_ours).collect(),
            people,
            steps: Vec::new(),
        };
        let facts = self.facts(from, to).await?;
        report.steps = steps(&report, &facts);
        Ok(report)
    }

    fn source(&self, name: &str) -> Result<&Source, MoveError> {
        let found = self.sources.iter().find(|source| source.name == name);
        found.ok_or_else(|| MoveError::NotConfigured(name.to_owned()))
    }

    async fn doubled(&self, to: &Source) -> Result<u64, MoveError> {
        if link_rules(&self.store, to).await?.is_empty() {
            return Ok(0);
        }
        let (store, sources, clock) = (self.store.clone(), self.sources.clone(), self.clock.clone());
        Ok(Calls { store, sources, clock }.doubled_users(to).await?.len() as u64)
    }

    async fn unfit_ids(&self, to: &Source, ids: &[String]) -> UnfitIds {
        let mut unfit = UnfitIds::default();
        for ids in ids.chunks(IDS_AT_ONCE) {
            match unfit_ids(to, ids).await {
                Ok(Some((found, key_type))) => {
                    unfit.key_type = Some(key_type);
                    found.iter().for_each(|id| unfit.ids.add(id));
                }
                Ok(None) => {
                    unfit.unknown_because = Some(format!("the table of {} is not known here", to.name));
                    return unfit;
                }
                Err(error) => {
                    unfit.unknown_because = Some(error.to_string());
                    return unfit;
                }
            }
        }
        unfit
    }

    async fn facts(&self, from: &Source, to: &Source) -> Result<StepFacts, StoreError> {
        let has_outbox = match (to.provider.table(), &to.table) {
            (Some(_), Some(_)) => Some(matches!(outbox_state(to, None).await, Ok(Some(_)))),
            _ => None,
        };
        let is_read = async |source: &Source| {
            let last = self.store.last_full_run(&source.name).await?;
            Ok::<bool, StoreError>(last.is_some_and(|run| run.status == "succeeded"))
        };
        Ok(StepFacts {
            kind: to.provider.kind().to_owned(),
            hears_deliveries: to.takes_deliveries() || has_outbox == Some(true),
            has_outbox,
            is_readable: to.is_readable(),
            is_from_read: is_read(from).await?,
            is_to_read: is_read(to).await?,
            is_from_retired: self.store.source(&from.name).await?.retired_at.is_some(),
            links: !link_rules(&self.store, to).await?.is_empty(),
        })
    }
}
