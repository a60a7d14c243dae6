//! Why a column holds what it holds.

use super::columns::{Cell, Column, Columns, Owner};
use super::known::User;
use super::layout::Layout;

/// Whose word a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// Nobody has said anything.
    Nobodys,
    /// What the provider says.
    Providers,
    /// A call of the application's has set it, and it stays.
    Calls,
    /// The application has written it, by SQL.
    Applications,
    /// The application knew it before anything came from the provider.
    Hinted,
    /// Held by the row when it was linked; nobody has declared who owns the column.
    Kept,
    /// Written here although it is the provider's: the next full resync puts it right.
    Drift,
    /// What the provider says is held back: the application's own constraints do not let it in.
    HeldBack,
}

impl Word {
    pub fn name(self) -> &'static str {
        match self {
            Word::Nobodys => "nobody",
            Word::Providers => "provider",
            Word::Calls => "call",
            Word::Applications => "application",
            Word::Hinted => "hint",
            Word::Kept => "kept",
            Word::Drift => "drift",
            Word::HeldBack => "held-back",
        }
    }
}

/// Whose word the column's value is. `said` is what the provider says of the account that leads the user, where anything
/// has come from it.
pub fn word(layout: &Layout, column: Column, user: &User, merged: Option<&Columns>) -> Word {
    let owner = layout.owner(column);
    let held = user.columns.get(column);
    let Some(merged) = merged else {
        return match (user.kept.contains(column), held) {
            (true, _) => Word::Calls,
            (false, None) => Word::Nobodys,
            (false, Some(_)) if user.columns.is_vacant(column) => Word::Nobodys,
            (false, Some(_)) => Word::Hinted,
        };
    };
    match (owner, held == merged.get(column)) {
        _ if user.held.instead.contains_key(&column) => Word::HeldBack,
        (Owner::AppOnceSet, _) if user.kept.contains(column) => Word::Calls,
        (_, true) if user.columns.is_vacant(column) => Word::Nobodys,
        (_, true) => Word::Providers,
        (Owner::Undeclared, false) if user.kept.contains(column) => Word::Kept,
        (Owner::App | Owner::AppOnceSet, false) => Word::Applications,
        (Owner::Provider | Owner::Undeclared, false) => Word::Drift,
    }
}

/// What the provider says, where the row holds something else.
pub fn contradicted(column: Column, user: &User, merged: Option<&Columns>) -> Option<Cell> {
    let merged = merged?.get(column);
    (merged != user.columns.get(column)).then(|| merged.map(str::to_owned))
}
