//! `--switch` and `--back`: puts a switch in force, then rewrites users in slices. It is recorded how far that has come, so
//! that the next call goes on where a killed one stopped.

use super::{MoveError, ProviderMove, SLICE};
use crate::core::event::IdentityKey;
use crate::core::retry_policy::SWITCH_SLICE;
use crate::core::words::{SwitchDirection, SwitchStatus};
use crate::reconcile::{SwitchPlace, SwitchedSlice, Switching};
use crate::resync::{Lease, ResyncError};
use crate::retry::Backoff;
use crate::store::{RecordedSwitch, StoreError, SwitchCounts};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Only one process at a time switches anything.
const LEASE: &str = "switch";
/// A transaction that began before the switch may still write the former word; whoever comes to its user afterwards writes
/// the new one.
const FORMER_DECISIONS_END_WITHIN: Duration = Duration::from_secs(1);

/// How far a switch has come.
#[derive(Clone, Copy, Debug)]
pub struct SwitchProgress {
    pub counts: SwitchCounts,
    /// Users with accounts at both sources.
    pub of: u64,
}

/// The process that is at a switch.
struct Carrier<'a> {
    switching: Switching,
    id: &'a str,
    holder: &'a str,
    counts: SwitchCounts,
    /// Accounts that somebody else held.
    busy: Vec<IdentityKey>,
    /// Where whoever resumes it begins: before the first of those.
    resume: String,
}

impl ProviderMove {
    /// Switches authority, or switches it back, and rewrites everybody who is at both. Goes on with the same switch where one
    /// was given up.
    pub async fn switch(
        &self,
        direction: SwitchDirection,
        watch: &(dyn Fn(SwitchProgress) + Sync),
        stop: &CancellationToken,
    ) -> Result<RecordedSwitch, MoveError> {
        let holder = self.clock.fresh_id();
        let lease = Lease::acquire_patiently(&self.store, LEASE, &holder, stop).await;
        let lease = lease.map_err(|error| match error {
            ResyncError::Store(error) => MoveError::Store(error),
            _ => MoveError::Underway,
        })?;
        let lease = lease.ok_or(MoveError::Underway)?;
        let switched = self.switch_as(&holder, direction, watch, stop, lease.lost()).await;
        lease.release().await?;
        switched
    }

    async fn switch_as(
        &self,
        holder: &str,
        direction: SwitchDirection,
        watch: &(dyn Fn(SwitchProgress) + Sync),
        stop: &CancellationToken,
        lost: &CancellationToken,
    ) -> Result<RecordedSwitch, MoveError> {
        let switching = self.switching(direction);
        let (id, mut cursor, counts) = match self.store.resume_switch(&switching.switch, holder).await? {
            Some(recorded) => (recorded.id, recorded.cursor, recorded.counts),
            None => {
                self.check(direction).await?;
                let id = self.clock.fresh_id();
                self.store.begin_switch(&id, &switching.switch, holder).await?;
                tokio::time::sleep(FORMER_DECISIONS_END_WITHIN).await;
                (id, String::new(), SwitchCounts::default())
            }
        };
        let of = self.store.count_at_both(&self.from, &self.to).await?;
        let mut carrier =
            Carrier { switching, id: &id, holder, counts, busy: Vec::new(), resume: cursor.clone() };
        loop {
            if stop.is_cancelled() || lost.is_cancelled() {
                return Err(MoveError::Stopped);
            }
            let keys = self.store.accounts_at_both(&self.from, &self.to, &cursor, SLICE).await?;
            let Some(last) = keys.last() else { break };
            cursor.clone_from(&last.provider_id);
            let busy = self.patiently(&mut carrier, &keys, &cursor).await?;
            carrier.busy.extend(busy);
            if carrier.busy.is_empty() {
                carrier.resume.clone_from(&cursor);
            }
            watch(SwitchProgress { counts: carrier.counts, of });
        }
        let left = self.once_free(&mut carrier).await?;
        let is_whole = carrier.counts.refused == 0 && left == 0;
        let status = if is_whole { SwitchStatus::Succeeded } else { SwitchStatus::Partial };
        self.store.end_switch(&id, holder, status).await?;
        let recorded = self.store.switches(1).await?.pop();
        recorded.ok_or_else(|| StoreError::Unavailable(format!("switch {id} cannot be read back")).into())
    }

    /// Those whom somebody else held are looked at again; how many are held still.
    async fn once_free(&self, carrier: &mut Carrier<'_>) -> Result<usize, MoveError> {
        let mut busy = std::mem::take(&mut carrier.busy);
        let resume = carrier.resume.clone();
        let mut waits = Backoff::new(&SWITCH_SLICE, &self.clock);
        let mut attempts = 0;
        while !busy.is_empty() && !SWITCH_SLICE.is_spent(attempts) {
            tokio::time::sleep(waits.next_delay()).await;
            attempts += 1;
            let mut still = Vec::new();
            for keys in busy.chunks(usize::try_from(SLICE).unwrap_or(usize::MAX)) {
                still.extend(self.patiently(carrier, keys, &resume).await?);
            }
            busy = still;
        }
        Ok(busy.len())
    }

    /// One slice, again where the database stumbles; the accounts that somebody else held.
    async fn patiently(
        &self,
        carrier: &mut Carrier<'_>,
        keys: &[IdentityKey],
        after: &str,
    ) -> Result<Vec<IdentityKey>, MoveError> {
        let mut waits = Backoff::new(&SWITCH_SLICE, &self.clock);
        let mut attempts = 0;
        loop {
            match carrier.slice(keys, after).await {
                Ok(slice) => {
                    carrier.counts.add(slice.counts);
                    return Ok(slice.busy);
                }
                Err(error) if error.is_transient() && !SWITCH_SLICE.is_spent(attempts) => {
                    attempts += 1;
                    tokio::time::sleep(waits.next_delay()).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether the switch may begin.
    async fn check(&self, direction: SwitchDirection) -> Result<(), MoveError> {
        let (from, to) = (self.from.clone(), self.to.clone());
        let target = self.store.source(&to).await?;
        let in_force = target.supersedes;
        if direction == SwitchDirection::Back {
            return match in_force {
                Some(superseded) if superseded == from => Ok(()),
                _ => Err(MoveError::NotSwitched { from, to }),
            };
        }
        if let Some(other) = in_force.filter(|superseded| *superseded != from) {
            return Err(MoveError::OtherSwitch { to, other });
        }
        if target.retired_at.is_some() {
            return Err(MoveError::Retired(to));
        }
        let order = &self.store.layout().authority.order;
        let place = |name: &str| order.iter().position(|source| source == name);
        match self.store.source(&from).await?.supersedes {
            Some(superseded) if place(&superseded).is_some_and(|earlier| Some(earlier) < place(&from)) => {
                Err(MoveError::Chained { from, to, superseded })
            }
            _ => Ok(()),
        }
    }
}

impl Carrier<'_> {
    async fn slice(&self, keys: &[IdentityKey], after: &str) -> Result<SwitchedSlice, StoreError> {
        let after = if self.busy.is_empty() { after } else { &self.resume };
        let (id, holder, counts) = (self.id, self.holder, self.counts);
        let place = SwitchPlace { id, holder, after, before_busy: &self.resume, counts };
        self.switching.slice(keys, place).await
    }
}
