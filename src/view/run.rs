//! Reads of sources.

use crate::store;
use serde::Serialize;
use utoipa::ToSchema;

/// Each count is a field of the object itself, between what the run is and when it ran.
macro_rules! run_json {
    ($($(#[$doc:meta])* $count:ident,)*) => {
        /// One read of a source, with what it has done.
        #[derive(Clone, Debug, Serialize, ToSchema)]
        #[schema(as = Run)]
        pub struct RunJson {
            pub run: String,
            pub source: String,
            /// `full`, `incremental`, `dry-run` or `user`
            pub mode: String,
            /// `running`, `succeeded`, `failed`, `held`, `rejected` or `interrupted`
            pub status: String,
            pub cause: String,
            $($(#[$doc])* pub $count: u64,)*
            pub started_at: Option<String>,
            pub finished_at: Option<String>,
            pub duration_ms: Option<i64>,
            pub approved_until: Option<String>,
            pub error: Option<String>,
        }

        impl From<&store::Run> for RunJson {
            fn from(run: &store::Run) -> Self {
                let at = |at: Option<crate::core::timestamp::Timestamp>| at.map(|at| at.to_string());
                Self {
                    run: run.id.clone(),
                    source: run.source.clone(),
                    mode: run.mode.clone(),
                    status: run.status.clone(),
                    cause: run.cause.clone(),
                    $($count: run.counts.$count,)*
                    started_at: at(run.started_at),
                    finished_at: at(run.finished_at),
                    duration_ms: run.duration_ms(),
                    approved_until: at(run.approved_until),
                    error: run.error.clone(),
                }
            }
        }
    };
}
store::with_counts!(run_json);

/// Runs, the newest first.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RunPage {
    pub runs: Vec<RunJson>,
}
