//! The move of an application from one provider to another, with both live meanwhile: what a report says before it, and the
//! switch of authority in its middle.

mod activity;
mod people;
mod rehearsal;
mod report;
mod steps;
mod survey;
mod switch;

pub use activity::Activity;
pub use people::{ColumnDifference, NAMED_MAX, NamedUsers, People};
pub use rehearsal::{ColumnRewrite, EXAMPLES_MAX, Rehearsal, RewriteExample};
pub use report::{MoveReport, MoveStep, UnfitIds};
pub use switch::SwitchProgress;

use crate::clock::Clock;
use crate::core::switch::AuthoritySwitch;
use crate::core::words::SwitchDirection;
use crate::reconcile::Switching;
use crate::source::Source;
use crate::store::{Store, StoreError};
use std::sync::Arc;
use thiserror::Error;

/// Users that one transaction of a switch looks at.
const SLICE: i64 = 200;

/// A move between two configured sources.
pub struct ProviderMove {
    store: Store,
    sources: Arc<Vec<Source>>,
    clock: Arc<dyn Clock>,
    from: String,
    to: String,
}

/// Why a move cannot be looked at, or a switch cannot go on.
#[derive(Debug, Error)]
pub enum MoveError {
    #[error("a move needs two sources, and --from and --to both say {0}")]
    SameSource(String),
    #[error("source {0} is not configured")]
    NotConfigured(String),
    #[error(
        "{to} cannot take over from {from}: {from} itself supersedes {superseded} by an earlier switch. Write {from} before \
         {superseded} under [users.authority] `default`, so that the configuration says it, then switch again"
    )]
    Chained { from: String, to: String, superseded: String },
    #[error(
        "{to} supersedes {other} by an earlier switch: `headcount move --from {other} --to {to} --back` takes that back first"
    )]
    OtherSwitch { to: String, other: String },
    #[error("{0} is retired: `headcount source retire {0} --undo` takes it up again")]
    Retired(String),
    #[error("{to} does not supersede {from}: there is nothing to take back")]
    NotSwitched { from: String, to: String },
    #[error("another process is at a switch; this one can go on once that has ended")]
    Underway,
    #[error("the switch is in force and has not come to its end: the same command goes on where it stopped")]
    Stopped,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl MoveError {
    /// Whether only another command, or another configuration, can help.
    pub fn is_wrong_setup(&self) -> bool {
        match self {
            MoveError::SameSource(_)
            | MoveError::NotConfigured(_)
            | MoveError::Chained { .. }
            | MoveError::OtherSwitch { .. }
            | MoveError::Retired(_)
            | MoveError::NotSwitched { .. } => true,
            MoveError::Underway | MoveError::Stopped => false,
            MoveError::Store(error) => error.is_wrong_setup(),
        }
    }
}

impl ProviderMove {
    /// Between two of the configured sources.
    pub fn new(
        store: &Store,
        sources: &Arc<Vec<Source>>,
        clock: &Arc<dyn Clock>,
        from: &Source,
        to: &Source,
    ) -> Result<Self, MoveError> {
        if from.name == to.name {
            return Err(MoveError::SameSource(from.name.clone()));
        }
        Ok(Self {
            store: store.clone(),
            sources: sources.clone(),
            clock: clock.clone(),
            from: from.name.clone(),
            to: to.name.clone(),
        })
    }

    fn switching(&self, direction: SwitchDirection) -> Switching {
        let switch = AuthoritySwitch { from: self.from.clone(), to: self.to.clone(), direction };
        let (store, sources, clock) = (self.store.clone(), self.sources.clone(), self.clock.clone());
        Switching { store, sources, clock, switch }
    }
}
