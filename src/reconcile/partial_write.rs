//! A row that the database refuses: which of its values it does not let in (contract, rule 11).
//!
//! Constraints are never parsed. Columns are taken away until what is left fits, then given back one by one.

use super::write_outcome::Outcome;
use crate::core::columns::{Column, Columns};
use crate::core::known::User;
use crate::core::layout::Layout;
use crate::core::words::IdentityState;
use crate::store::{AccountWrite, HELD_STATE, HeldValue, Reconciliation, StoreError};

/// Columns that are taken away first: those that applications want to be unique.
const FIRST_SUSPECTS: [Column; 3] = [Column::Username, Column::Email, Column::Phone];

/// How much is done to find out what the database refuses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ConstraintCheck {
    /// What it says at once.
    OnWrite,
    /// What it would say at the commit only, as well.
    BeforeCommit,
    /// Rows of the application's are left alone.
    SkipUserRow,
}

impl ConstraintCheck {
    pub async fn prepare(self, tx: &mut Reconciliation) -> Result<(), StoreError> {
        match self {
            ConstraintCheck::BeforeCommit => tx.look_ahead().await,
            ConstraintCheck::OnWrite | ConstraintCheck::SkipUserRow => Ok(()),
        }
    }

    /// The write as far as it may be tried.
    pub fn of(self, layout: &Layout, write: AccountWrite) -> AccountWrite {
        match self {
            ConstraintCheck::OnWrite | ConstraintCheck::BeforeCommit => write,
            ConstraintCheck::SkipUserRow => {
                let reason = "the database refuses the row only when the transaction is committed";
                held_whole(layout, &write, reason)
            }
        }
    }
}

/// Writes what the database lets in of an account that it has refused as a whole, with `reason`.
pub(super) async fn write_partly(
    tx: &mut Reconciliation,
    write: &AccountWrite,
    reason: String,
) -> Result<Outcome, StoreError> {
    let layout = tx.users_table().layout().clone();
    let units = units(&layout, write);
    // What the database says of all that there is names the culprit; of less it may blame what was taken away.
    let (first_reason, mut reason) = (reason.clone(), reason);
    let mut taken: Vec<(Column, String)> = Vec::new();
    let mut fits = None;
    for unit in &units {
        taken.extend(unit.iter().map(|column| (*column, reason.clone())));
        let attempt = without(&layout, write, &taken);
        match tx.write(std::slice::from_ref(&attempt)).await {
            Ok(()) => {
                fits = Some((attempt, unit));
                break;
            }
            Err(StoreError::Rejected(next)) => reason = next,
            Err(error) => return Err(error),
        }
    }
    match fits {
        Some((attempt, guilty)) => {
            let innocent = units.iter().take_while(|unit| *unit != guilty);
            give_back(tx, &layout, write, attempt, innocent, taken).await
        }
        None => write_nothing(tx, &layout, write, first_reason).await,
    }
}

/// Puts back, one by one, what was taken away before the culprit was found.
async fn give_back<'a>(
    tx: &mut Reconciliation,
    layout: &Layout,
    write: &AccountWrite,
    mut written: AccountWrite,
    units: impl Iterator<Item = &'a Vec<Column>>,
    mut taken: Vec<(Column, String)>,
) -> Result<Outcome, StoreError> {
    for unit in units {
        let fewer: Vec<(Column, String)> =
            taken.iter().filter(|(column, _)| !unit.contains(column)).cloned().collect();
        let attempt = AccountWrite { before: written.user.clone(), ..without(layout, write, &fewer) };
        match tx.write(std::slice::from_ref(&attempt)).await {
            Ok(()) => (written, taken) = (attempt, fewer),
            Err(StoreError::Rejected(reason)) => {
                for (_, known) in taken.iter_mut().filter(|(column, _)| unit.contains(column)) {
                    known.clone_from(&reason);
                }
            }
            Err(error) => return Err(error),
        }
    }
    // With the reasons as they turned out, and as one step from what there was before.
    let last = without(layout, write, &taken);
    tx.note_held(&last).await?;
    Ok(Outcome::Written(last))
}

/// Nothing of the row can be written: the identity waits without one, or with the row as it is.
async fn write_nothing(
    tx: &mut Reconciliation,
    layout: &Layout,
    write: &AccountWrite,
    reason: String,
) -> Result<Outcome, StoreError> {
    let mut attempt = held_whole(layout, write, &reason);
    if attempt.waiting.is_some() && tx.users_table().gives_ids() {
        attempt.reserved_id = write.user.as_ref().map(|user| user.id.clone());
    }
    match tx.write(std::slice::from_ref(&attempt)).await {
        Ok(()) => Ok(Outcome::Written(attempt)),
        Err(StoreError::Rejected(_)) => Ok(Outcome::Refused(reason)),
        Err(error) => Err(error),
    }
}

/// The write with the row as it is, and everything that was to change held back.
fn held_whole(layout: &Layout, write: &AccountWrite, reason: &str) -> AccountWrite {
    let (Some(before), Some(wanted)) = (&write.before, &write.user) else {
        // Whose account has ended needs no row any more.
        let is_over = write.identity.state == IdentityState::Deleted;
        let waiting = (!is_over).then(|| reason.to_owned());
        return AccountWrite { user: None, waiting, ..write.clone() };
    };
    let all: Vec<(Column, String)> =
        before.columns.differing(&wanted.columns).map(|column| (column, reason.to_owned())).collect();
    let mut held = without(layout, write, &all);
    let state = |user: &User| {
        let bans = (user.suspended_by_source, user.suspended_by_app);
        (user.deleted_at, bans, user.provisional, user.unreadable)
    };
    if state(before) != state(wanted) {
        let suspended = wanted.suspended_by_source || wanted.suspended_by_app;
        let value = match (wanted.deleted_at, suspended) {
            (Some(_), _) => "deleted",
            (None, true) => "suspended",
            (None, false) => "active",
        };
        held.held.push(HeldValue {
            column: HELD_STATE.to_owned(),
            value: Some(value.to_owned()),
            instead: None,
            reason: reason.to_owned(),
        });
    }
    if let Some(user) = &mut held.user {
        let bans;
        (user.deleted_at, bans, user.provisional, user.unreadable) = state(before);
        (user.suspended_by_source, user.suspended_by_app) = bans;
        user.held.facts = held.held.iter().any(|held| held.column == HELD_STATE);
    }
    held
}

/// The write without these columns: they keep what they hold, and their values are held back.
fn without(layout: &Layout, write: &AccountWrite, taken: &[(Column, String)]) -> AccountWrite {
    let base = base(layout, write);
    let mut part = AccountWrite { held: Vec::new(), ..write.clone() };
    let Some(user) = &mut part.user else { return part };
    for (column, reason) in taken {
        let instead = base.get(*column).map(str::to_owned);
        part.held.push(HeldValue {
            column: layout.name(*column).to_owned(),
            value: user.columns.get(*column).map(str::to_owned),
            instead: instead.clone(),
            reason: reason.clone(),
        });
        user.columns.set(*column, instead.clone());
        user.held.instead.insert(*column, instead);
    }
    part
}

/// What the row holds, or would hold without any value of the provider's.
fn base(layout: &Layout, write: &AccountWrite) -> Columns {
    match &write.before {
        Some(before) => before.columns.clone(),
        None => layout.filled(Columns::default()),
    }
}

/// The columns that change, the usual suspects first. Whether an address is verified goes with the address.
fn units(layout: &Layout, write: &AccountWrite) -> Vec<Vec<Column>> {
    let Some(user) = &write.user else { return Vec::new() };
    let base = base(layout, write);
    let differs: Vec<Column> = base.differing(&user.columns).collect();
    let rest = layout.columns().filter(|column| !FIRST_SUSPECTS.contains(column));
    let verified = differs.contains(&Column::Email) && differs.contains(&Column::EmailVerified);
    FIRST_SUSPECTS
        .into_iter()
        .chain(rest)
        .filter(|column| differs.contains(column))
        .filter(|column| !(verified && *column == Column::EmailVerified))
        .map(|column| match (verified, column) {
            (true, Column::Email) => vec![Column::Email, Column::EmailVerified],
            _ => vec![column],
        })
        .collect()
}
