//! Adopting a table: its rows are linked to the source's accounts, once, before anything else touches them.

use super::compare::key;
use super::matching::Matching;
use super::walk::{WalkPlace, page};
use super::{Phase, Resync, ResyncError};
use crate::core::event::IdentityKey;
use crate::core::link::LinkRule;
use crate::core::read::{Observation, Reading};
use crate::reconcile::ReadContext;
use crate::store::{ADOPTED, Counts};
use std::sync::Arc;

/// What an adoption has found, and done.
#[derive(Clone, Debug)]
pub struct Adoption {
    pub matching: Matching,
    pub rows: u64,
    /// Rows that belong to no account: before, where nothing was applied; after, where it was.
    pub unlinked: u64,
    /// Rows that were linked now.
    pub linked: u64,
    /// Of them, rows in which values were held back by a constraint.
    pub partial: u64,
    /// Accounts that the database refuses, with the reason.
    pub refused: Vec<(IdentityKey, String)>,
    pub requests: u64,
    /// What applying it takes.
    pub apply_requests: u64,
    pub apply_seconds: f64,
}

impl Resync {
    /// Looks which rows belong to which accounts; with `apply`, links them. May be interrupted: what is linked stays so,
    /// and the next call goes on with the rest.
    pub async fn adopt(&self, rule: &LinkRule, apply: bool) -> Result<Adoption, ResyncError> {
        self.check_instance().await?;
        let matching = self.match_rows(std::slice::from_ref(rule), &[]).await?;
        let apply_requests = 2 * matching.pages + 2;
        let (mut linked, mut partial, mut refused) = (0, 0, Vec::new());
        if apply {
            // From now on, so that whoever signs in meanwhile finds their row as well. An address proves who somebody
            // is only to the person who reads the report.
            if *rule != LinkRule::VerifiedEmail {
                self.store.set_link_rule(&self.source.name, Some(rule)).await?;
            }
            (linked, partial, refused) = self.link_planned(&matching).await?;
        }
        let (rows, unlinked) = self.store.count_unlinked().await?;
        let (requests, _) = self.gate.take_counts();
        Ok(Adoption {
            rows,
            unlinked,
            linked,
            partial,
            refused,
            requests,
            apply_requests,
            apply_seconds: apply_requests as f64 / self.gate.pace().per_second(),
            matching,
        })
    }

    async fn link_planned(
        &self,
        matching: &Matching,
    ) -> Result<(u64, u64, Vec<(IdentityKey, String)>), ResyncError> {
        let plan = Arc::new(matching.plan.clone());
        let context = ReadContext { cause: ADOPTED, plan: Some(plan.clone()), ..ReadContext::default() };
        let (mut linked, mut partial, mut refused) = (0, 0, Vec::new());
        let mut place = WalkPlace::default();
        while !plan.is_empty() {
            self.check_stopped()?;
            let fetched = page(&self.gate, &place).await?;
            let mut readings: Vec<(IdentityKey, Reading)> = Vec::new();
            for entry in fetched.entries {
                let planned = entry.provider_id.filter(|id| plan.contains_key(id));
                let (Some(id), Ok(snapshot)) = (planned, entry.snapshot) else { continue };
                let reading = Reading {
                    observed: Observation::Present(snapshot),
                    marked_at: fetched.marked_at,
                    is_of_the_row: false,
                };
                readings.push((key(&self.source, &id), reading));
            }
            // Whoever locks several accounts does so in this order.
            readings.sort_by(|(a, _), (b, _)| a.cmp(b));
            let applied = self.reads.apply(&readings, &[], &context, "", Counts::default()).await?;
            linked += applied.linked;
            partial += applied.partial;
            refused.extend(applied.refusals);
            self.report(Phase::Linking, linked, plan.len() as u64);
            if fetched.is_last {
                break;
            }
            place = fetched.next;
        }
        Ok((linked, partial, refused))
    }
}
