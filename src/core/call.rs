//! What the application or an operator asks for of one user: its row before anything has come from the provider,
//! columns of its own, a ban, a way back, another account.

use super::change::{Change, change_between};
use super::columns::{Cell, Column, ColumnSet, Columns, Owner};
use super::decide::{account_after, spoken};
use super::known::Sibling;
use super::known::{Account, FactSet, HeldValues, Identity, User};
use super::layout::Layout;
use super::timestamp::Timestamp;
use super::words::IdentityState;

/// What a call sets in a user's row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowSetting {
    /// Columns that the application may set ([`Layout::is_settable`]) or supply ([`Layout::is_supplied`]).
    pub columns: Vec<(Column, Cell)>,
    /// A ban, or its end.
    pub suspended: Option<bool>,
}

/// An account as it is after a call, and what the feed says of it.
pub type Called = (Account, Option<Change>);

/// The account with a row of which nothing has come from the provider: `hints` fill it where it is new.
///
/// An account that has a row, or has ended, is left as it is.
pub fn provisional(
    layout: &Layout,
    known: &Account,
    hints: &Columns,
    setting: &RowSetting,
    fresh_id: &str,
) -> Called {
    let has_row = known.user.is_some() && !known.linked_now;
    if has_row || known.identity.as_ref().is_some_and(|identity| identity.deletion.is_some()) {
        return (known.clone(), None);
    }
    if let Some(identity) = known.identity.as_ref().filter(|identity| identity.latest.is_some()) {
        // The provider has spoken, and the row was kept out by what the call may bring.
        let (mut after, _) = account_after(layout, known, identity.clone(), fresh_id);
        after.user = after.user.map(|user| apply_beside(layout, user, setting));
        let change = after.user.as_ref().and_then(|user| change_between(layout, known.user.as_ref(), user));
        return (after, change);
    }
    let hints = layout.filled(hints.clone());
    let user = known.user.clone().unwrap_or_else(|| User {
        id: fresh_id.to_owned(),
        columns: layout.follow_first(&Columns::default(), &hints).0,
        deleted_at: None,
        suspended_by_source: false,
        suspended_by_app: false,
        provisional: true,
        kept: ColumnSet::default(),
        held: HeldValues::default(),
        unreadable: FactSet::default(),
    });
    let identity = known.identity.clone().unwrap_or(Identity {
        state: IdentityState::Present,
        latest: None,
        deletion: None,
        replaced_version: None,
        hints: Some(hints),
    });
    let mut user = apply(layout, user, setting);
    if user.columns.get(Column::EmailVerified).is_none() {
        user.columns.set(Column::EmailVerified, Some("false".to_owned()));
    }
    user.unreadable = FactSet::default();
    // Where another account has said something, the user is known already.
    user.provisional = known.siblings.iter().all(|sibling| sibling.identity.latest.is_none());
    let change = change_between(layout, known.user.as_ref(), &user);
    (
        Account { identity: Some(identity), user: Some(user), needs_announcement: false, ..known.clone() },
        change,
    )
}

/// The account with these columns set; values that were held back are tried again.
pub fn set(layout: &Layout, known: &Account, setting: &RowSetting) -> Called {
    let (Some(before), Some(identity)) = (&known.user, &known.identity) else {
        return (known.clone(), None);
    };
    let with = Account { user: Some(apply(layout, before.clone(), setting)), ..known.clone() };
    let (after, _) = account_after(layout, &with, identity.clone(), &before.id);
    let announced = Some(before).filter(|_| !known.needs_announcement);
    let change = after.user.as_ref().and_then(|user| change_between(layout, announced, user));
    (after, change)
}

/// The account as it was before its deletion, by a person's word.
pub fn revive(layout: &Layout, known: &Account, fresh_id: &str) -> Called {
    let Some(identity) = &known.identity else { return (known.clone(), None) };
    let suspended = identity.latest.as_ref().is_some_and(|latest| latest.snapshot.suspended);
    let state = if suspended { IdentityState::Suspended } else { IdentityState::Present };
    account_after(layout, known, Identity { state, deletion: None, ..identity.clone() }, fresh_id)
}

/// The account with this user for its own, beside those that the user has.
pub fn linked(layout: &Layout, known: &Account, user: User, siblings: Vec<Sibling>) -> Called {
    let Some(identity) = &known.identity else { return (known.clone(), None) };
    let id = user.id.clone();
    let with =
        Account { user: Some(user), linked_now: true, needs_announcement: false, siblings, ..known.clone() };
    account_after(layout, &with, identity.clone(), &id)
}

/// A user whose last account has gone to another one.
pub fn abandoned(layout: &Layout, user: &User, at: Timestamp) -> (User, Option<Change>) {
    let after = User {
        columns: layout.freed(&user.columns),
        deleted_at: user.deleted_at.or(Some(at)),
        provisional: false,
        kept: layout.kept_of_deleted(user.kept),
        held: HeldValues::default(),
        unreadable: FactSet::default(),
        ..user.clone()
    };
    let change = change_between(layout, Some(user), &after);
    (after, change)
}

/// What a row holds of a person, as nothing: whoever owns the columns.
pub fn blank(layout: &Layout) -> Columns {
    layout.filled(Columns::default())
}

/// Columns of the provider's that the setting supplies although the provider has a word for them.
pub fn contradicts(layout: &Layout, known: &Account, setting: &RowSetting) -> Option<Column> {
    let said = spoken(layout, known)?;
    let mut supplied = setting.columns.iter().map(|(column, _)| *column);
    supplied.find(|&column| layout.is_supplied(column) && said.get(column).is_some())
}

/// The row as the provider has it, with what a call sets: what it supplies counts where the provider has nothing.
pub fn apply_beside(layout: &Layout, user: User, setting: &RowSetting) -> User {
    let counts =
        |(column, _): &&(Column, Cell)| !(layout.is_supplied(*column) && user.columns.get(*column).is_some());
    let columns = setting.columns.iter().filter(counts).cloned().collect();
    apply(layout, user, &RowSetting { columns, suspended: setting.suspended })
}

/// The row with what a call sets in it.
pub fn apply(layout: &Layout, mut user: User, setting: &RowSetting) -> User {
    for (column, cell) in &setting.columns {
        user.columns.set(*column, cell.clone());
        user.held.instead.remove(column);
        if layout.is_settable(*column) && layout.owner(*column) != Owner::App {
            user.kept.insert(*column);
        }
    }
    user.suspended_by_app = setting.suspended.unwrap_or(user.suspended_by_app);
    user
}

#[cfg(test)]
mod tests;
