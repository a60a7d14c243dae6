//! Reads of sources.

use crate::store;
use serde::Serialize;
use utoipa::ToSchema;

/// One read of a source, with what it has done.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Run {
    pub run: String,
    pub source: String,
    /// `full`, `incremental`, `dry-run` or `user`
    pub mode: String,
    /// `running`, `succeeded`, `failed`, `held`, `rejected` or `interrupted`
    pub status: String,
    pub cause: String,
    pub seen: u64,
    pub created: u64,
    pub updated: u64,
    pub deleted: u64,
    pub revived: u64,
    pub unchanged: u64,
    /// Of the created and updated: the source had said nothing new, the row had been edited here.
    pub local_edits: u64,
    pub dead: u64,
    pub refused: u64,
    pub held_deletes: u64,
    pub held_creates: u64,
    pub pages: u64,
    pub requests: u64,
    pub throttled: u64,
    pub started_at: Option<String>,
    pub finished_at: Option<String>,
    pub duration_ms: Option<i64>,
    pub approved_until: Option<String>,
    pub error: Option<String>,
}

/// Runs, the newest first.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RunPage {
    pub runs: Vec<Run>,
}

impl From<&store::Run> for Run {
    fn from(run: &store::Run) -> Self {
        let at = |at: Option<crate::core::timestamp::Timestamp>| at.map(|at| at.to_string());
        let counts = run.counts;
        Self {
            run: run.id.clone(),
            source: run.source.clone(),
            mode: run.mode.clone(),
            status: run.status.clone(),
            cause: run.cause.clone(),
            seen: counts.seen,
            created: counts.created,
            updated: counts.updated,
            deleted: counts.deleted,
            revived: counts.revived,
            unchanged: counts.unchanged,
            local_edits: counts.local_edits,
            dead: counts.dead,
            refused: counts.refused,
            held_deletes: counts.held_deletes,
            held_creates: counts.held_creates,
            pages: counts.pages,
            requests: counts.requests,
            throttled: counts.throttled,
            started_at: at(run.started_at),
            finished_at: at(run.finished_at),
            duration_ms: run.duration_ms(),
            approved_until: at(run.approved_until),
            error: run.error.clone(),
        }
    }
}
