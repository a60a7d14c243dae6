//! What a full run knows while it is under way. The files beside this one act on it.

use super::DRIFT_NAMED_MAX;
use super::walk::WalkPlace;
use crate::core::timestamp::Timestamp;
use crate::core::words::RunMode;
use crate::reconcile::{Assignment, Drift, ReadContext, ReadsOutcome, RunRef};
use crate::store::{Counts, Ending, NewDelivery, Run, StoreError};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Accounts that could not be read and that a run's error names.
const UNREADABLE_NAMED_MAX: usize = 5;
/// What stands for the id of an account that the list could not give.
pub(super) const UNNAMED: &str = "the account at place";

/// Where a run would go on.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    pub place: WalkPlace,
    pub walked: bool,
    pub missing: u64,
    pub witnesses: Vec<String>,
}

/// A run under way.
pub(super) struct Running {
    pub run: RunRef,
    pub marked_at: Timestamp,
    pub counts: Counts,
    pub drift: Vec<Drift>,
    pub count_after: Option<u64>,
    pub known_before: u64,
    /// By the provider, where it counts.
    pub count_before: Option<u64>,
    /// Refused rows and accounts that never settled, with a reason.
    pub unwritten: Option<(u64, String)>,
    /// Why a run that is not dry would be held.
    pub foreseen: Option<String>,
    pub unsettled: u64,
    /// Accounts that the list lacked and that were there by their ids.
    pub left_out: u64,
    /// Places of the list that cannot be given and whose accounts nobody has named yet.
    pub gaps: u64,
    /// The first of the accounts that could not be read, with the reason.
    pub unreadable: Vec<String>,
    /// A known account has answered 200 before any 404 was believed.
    pub asked_witness: bool,
    pub guard: Option<Guard>,
    pub mode: RunMode,
    /// Of a list in the order of ids: whom it has shown.
    pub seen_ids: SeenIds,
    /// The last page, as long as it is being applied: not in the counts yet.
    pub under_way: Option<UnderWay>,
    pub checkpoint: Checkpoint,
    pub written_at: Instant,
}

impl Running {
    pub(super) fn new(run: Run, holder: &str, mode: RunMode) -> Self {
        let checkpoint = run.cursor.as_deref().and_then(|cursor| serde_json::from_str(cursor).ok());
        let whole = |count: Option<i64>| count.and_then(|count| u64::try_from(count).ok()).unwrap_or(0);
        Self {
            marked_at: run.marked_at.unwrap_or(Timestamp::clamped(0)),
            counts: run.counts,
            drift: Vec::new(),
            count_after: None,
            known_before: whole(run.known_before),
            count_before: run.count_before.and_then(|count| u64::try_from(count).ok()),
            foreseen: None,
            unwritten: None,
            unsettled: 0,
            left_out: 0,
            gaps: 0,
            unreadable: Vec::new(),
            asked_witness: false,
            guard: None,
            seen_ids: SeenIds::default(),
            under_way: None,
            mode,
            checkpoint: checkpoint.unwrap_or_default(),
            written_at: Instant::now(),
            run: RunRef { id: run.id, holder: holder.to_owned() },
        }
    }

    pub(super) fn context(&self) -> ReadContext {
        ReadContext {
            run: Some(self.run.clone()),
            cause: self.mode.name(),
            since: Some(self.marked_at),
            dry: self.is_dry(),
            waits: matches!(self.mode, RunMode::Full | RunMode::User),
            plan: None,
            assignment: Assignment::default(),
        }
    }

    pub(super) fn is_dry(&self) -> bool {
        self.mode == RunMode::DryRun
    }

    pub(super) fn cursor(&self) -> String {
        serde_json::to_string(&self.checkpoint).unwrap_or_default()
    }

    /// The walk begins anew; what was written because of it stays.
    pub(super) fn forget_the_walk(&mut self) {
        self.checkpoint = Checkpoint::default();
        self.counts = Counts { seen: 0, unchanged: 0, unreadable: 0, ..self.counts };
        (self.gaps, self.unreadable) = (0, Vec::new());
    }

    pub(super) fn witnesses(&self) -> &[String] {
        &self.checkpoint.witnesses
    }

    /// Counts an account that could not be read, and remembers the first of them.
    pub(super) fn note_unreadable(&mut self, which: &str, reason: &str) {
        self.counts.unreadable += 1;
        if self.unreadable.len() < UNREADABLE_NAMED_MAX {
            self.unreadable.push(format!("{which} ({reason})"));
        }
    }

    /// One of the places that could not be given has a name now, under which it is counted.
    pub(super) fn forget_a_place(&mut self) {
        self.gaps -= 1;
        self.counts.unreadable -= 1;
        if let Some(place) = self.unreadable.iter().position(|named| named.starts_with(UNNAMED)) {
            self.unreadable.remove(place);
        }
    }

    pub(super) fn note_odd(&mut self, odd: &NewDelivery) {
        let which = odd.provider_id.as_deref().unwrap_or("an account without an id");
        self.note_unreadable(which, odd.dead_because.as_deref().unwrap_or_default());
    }

    /// How the run ends where nothing else is in its way.
    pub(super) fn ended(&self) -> Ending {
        match self.counts.unreadable {
            0 => Ending { status: "succeeded", error: None },
            count => Ending {
                status: "partial",
                error: Some(format!(
                    "{count} accounts could not be read, the others were compared; nobody of them was deleted: {}",
                    self.unreadable.join("; ")
                )),
            },
        }
    }

    pub(super) fn note_drift(&mut self, drift: Vec<Drift>) {
        let room = DRIFT_NAMED_MAX.saturating_sub(self.drift.len());
        self.drift.extend(drift.into_iter().take(room));
    }
}

/// Ids, as eight bytes each. Should two ids be the same in these, one that is missing is taken to be there until the
/// next run: nobody is ever taken to be missing for it.
#[derive(Default)]
pub(super) struct SeenIds(HashSet<u64>);

impl SeenIds {
    /// Whether it is new.
    pub(super) fn insert(&mut self, provider_id: &str) -> bool {
        self.0.insert(Self::bytes(provider_id))
    }

    pub(super) fn contains(&self, provider_id: &str) -> bool {
        self.0.contains(&Self::bytes(provider_id))
    }

    fn bytes(provider_id: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        provider_id.hash(&mut hasher);
        hasher.finish()
    }
}

/// What a run may create.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guard {
    pub limit: u64,
    pub among: Among,
    /// Accounts that were never heard of and that the run has met.
    pub unseen: u64,
    /// Everybody was looked at: those that would be doubled are few.
    pub is_passed: bool,
}

/// Beside whom new users would be doubles.
#[derive(Clone, Copy, Debug)]
pub(super) enum Among {
    /// Rows that were there before headcount, some of which belong to no account yet.
    Rows { rows: u64, unlinked: u64 },
    /// People whom another source has brought.
    People,
}

/// A page that is being applied.
pub(super) struct UnderWay {
    pub applied: AbortOnDrop<Result<ReadsOutcome, StoreError>>,
    /// What it has counted, for the page behind it.
    pub counted: Option<oneshot::Receiver<Counts>>,
}

/// What nobody waits for any more is not done.
pub(super) struct AbortOnDrop<T>(pub JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
