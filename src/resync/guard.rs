//! The first resync never doubles a table: while rows of an adopted table belong to no account, a run that would create
//! many users is held for a person to decide.

use super::full::Running;
use super::{Resync, ResyncError};
use crate::core::link::LinkRule;

/// Users that a run may create while rows are unlinked: one in so many rows.
const ROWS_PER_NEW_USER: u64 = 100;

/// What a run may create.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guard {
    limit: u64,
    rows: u64,
    unlinked: u64,
    /// Accounts that were never heard of and that the run has met.
    unseen: u64,
    /// Everybody was looked at: those that find no row are few.
    is_passed: bool,
}

impl Resync {
    /// Looks before anything is written, where the source has far more accounts than are known.
    pub(super) async fn guard_creation(&self, running: &mut Running) -> Result<(), ResyncError> {
        if !self.store.users_table().is_adopted() {
            return Ok(());
        }
        let (rows, unlinked) = self.store.count_unlinked().await?;
        if unlinked == 0 {
            return Ok(());
        }
        let limit = rows / ROWS_PER_NEW_USER;
        let mut guard = Guard { limit, rows, unlinked, unseen: 0, is_passed: false };
        if running.count_before.unwrap_or(0).saturating_sub(running.known_before) > limit {
            self.look_at_everybody(running, &mut guard).await?;
        }
        running.guard = Some(guard);
        Ok(())
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

    /// Whom the run would create: those who find no row. Too many are held.
    async fn look_at_everybody(&self, running: &mut Running, guard: &mut Guard) -> Result<(), ResyncError> {
        let matching = self.match_rows(&self.rules().await?).await?;
        let without_row = matching.without_row();
        let count = without_row.len() as u64;
        if count <= guard.limit {
            guard.is_passed = true;
            return Ok(());
        }
        running.counts.held_creates = count;
        self.store.hold_creates(&running.run.id, &self.source.name, &without_row).await?;
        let Guard { rows, unlinked, .. } = *guard;
        let (run_id, source_name) = (running.run.id.clone(), self.source.name.clone());
        Err(ResyncError::WouldDouble { count, rows, unlinked, run_id, source_name })
    }

    /// How accounts of the source find their rows here.
    async fn rules(&self) -> Result<Vec<LinkRule>, ResyncError> {
        let adopted = self.store.source(&self.source.name).await?.link_by;
        Ok(adopted.into_iter().chain(self.source.link_by.iter().cloned()).collect())
    }
}
