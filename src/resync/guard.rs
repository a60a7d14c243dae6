//! A resync doubles nobody: a run that would create many users, while rows of an adopted table belong to no account or while
//! those people are here by another source, is held for a person to decide.

use super::matching::Matching;
use super::running::{Among, Guard, Running};
use super::{Resync, ResyncError};
use crate::core::link::LinkRule;
use crate::reconcile::link_rules;

/// Users that a run may double: one in so many who are here.
const PEOPLE_PER_NEW_USER: u64 = 100;

impl Resync {
    /// Looks before anything is written, where the source has far more accounts than are known.
    pub(super) async fn guard_creation(&self, running: &mut Running) -> Result<(), ResyncError> {
        let Some((here, among)) = self.beside_whom().await? else { return Ok(()) };
        let limit = here / PEOPLE_PER_NEW_USER;
        let mut guard = Guard { limit, among, unseen: 0, is_passed: false };
        if running.count_before.unwrap_or(0).saturating_sub(running.known_before) > limit {
            self.look_at_everybody(running, &mut guard).await?;
        }
        running.guard = Some(guard);
        Ok(())
    }

    /// How many are here already, and who they are.
    async fn beside_whom(&self) -> Result<Option<(u64, Among)>, ResyncError> {
        if self.store.users_table().is_adopted() {
            let (rows, unlinked) = self.store.count_unlinked().await?;
            if unlinked > 0 {
                return Ok(Some((rows, Among::Rows { rows, unlinked })));
            }
        }
        let people = self.store.count_elsewhere(&self.source.name).await?;
        Ok((people > 0).then_some((people, Among::People)))
    }

    /// Counts accounts that were never heard of; where they become many, everybody is looked at.
    pub(super) async fn check_creation(&self, running: &mut Running, unseen: u64) -> Result<(), ResyncError> {
        let Some(mut guard) = running.guard.filter(|guard| !guard.is_passed) else { return Ok(()) };
        guard.unseen += unseen;
        if guard.unseen > guard.limit {
            self.look_at_everybody(running, &mut guard).await?;
        }
        running.guard = Some(guard);
        Ok(())
    }

    /// Whom the run would create: those who find no row. Too many doubles among them are held.
    async fn look_at_everybody(&self, running: &mut Running, guard: &mut Guard) -> Result<(), ResyncError> {
        let others: &[LinkRule] = match guard.among {
            Among::Rows { .. } => &[],
            Among::People => &[LinkRule::SharedExternalId, LinkRule::SharedId, LinkRule::VerifiedEmail],
        };
        let matching = self.match_rows(&link_rules(&self.store, &self.source).await?, others).await?;
        let without_row = matching.without_row();
        let new = without_row.len() as u64;
        let doubles = match guard.among {
            Among::Rows { .. } => new,
            Among::People => matching.doubled.iter().map(|(_, count)| count).sum(),
        };
        if doubles <= guard.limit {
            guard.is_passed = true;
            return Ok(());
        }
        running.counts.held_creates = new;
        if running.is_dry() {
            // Nothing is written by this run; what the next one would say is told.
            let why = self.would_double(running, guard.among, &matching, new);
            running.foreseen = Some(format!("a full run would be held: {why}"));
            guard.is_passed = true;
            return Ok(());
        }
        self.store
            .hold_creates(&running.run.id, &running.run.holder, &self.source.name, &without_row)
            .await?;
        Err(self.would_double(running, guard.among, &matching, new))
    }

    fn would_double(&self, running: &Running, among: Among, matching: &Matching, new: u64) -> ResyncError {
        let run_id = if running.is_dry() { "RUN".to_owned() } else { running.run.id.clone() };
        let source_name = self.source.name.clone();
        let (rows, unlinked) = match among {
            Among::Rows { rows, unlinked } => (rows, unlinked),
            Among::People => {
                let fits = || matching.doubled.iter().filter(|(_, count)| *count > 0);
                let most = fits().max_by_key(|(_, count)| *count).map(|(rule, _)| rule.clone());
                let setting = most.and_then(|rule| rule.setting()).unwrap_or("share_ids");
                let by = fits().map(|(rule, count)| format!("{} ({count})", evidence(rule)));
                let by = by.collect::<Vec<_>>().join(" and ");
                let count = fits().map(|(_, count)| count).sum();
                return ResyncError::WouldDoublePeople { count, new, by, setting, run_id, source_name };
            }
        };
        ResyncError::WouldDouble { count: new, rows, unlinked, run_id, source_name }
    }
}

/// What shows that an account is somebody's who is here.
fn evidence(rule: &LinkRule) -> &'static str {
    match rule {
        LinkRule::ExternalId | LinkRule::SharedExternalId => "their external_id",
        LinkRule::SharedId | LinkRule::Column(_) => "their id",
        LinkRule::VerifiedEmail => "an address that both have verified",
    }
}
