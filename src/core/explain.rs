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
    /// The application has supplied it: the column may not be null, and the provider has nothing for it.
    Supplied,
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
            Word::Supplied => "supplied",
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
        (Owner::Provider | Owner::Undeclared, false)
            if layout.is_supplied(column) && merged.get(column).is_none() =>
        {
            Word::Supplied
        }
        (Owner::Provider | Owner::Undeclared, false) => Word::Drift,
    }
}

/// What the provider says, where the row holds something else.
pub fn contradicted(column: Column, user: &User, merged: Option<&Columns>) -> Option<Cell> {
    let merged = merged?.get(column);
    (merged != user.columns.get(column)).then(|| merged.map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::super::columns::ColumnSet;
    use super::super::known::{FactSet, HeldValues};
    use super::*;

    const COLUMN: Column = Column::FirstName;

    fn columns(value: Option<&str>) -> Columns {
        let mut columns = Columns::default();
        columns.set(COLUMN, value.map(str::to_owned));
        columns
    }

    fn user(value: Option<&str>, is_kept: bool) -> User {
        User {
            id: "id-1".into(),
            columns: columns(value),
            deleted_at: None,
            suspended_by_source: false,
            suspended_by_app: false,
            provisional: false,
            kept: if is_kept { [COLUMN].into_iter().collect() } else { ColumnSet::default() },
            held: HeldValues::default(),
            unreadable: FactSet::default(),
        }
    }

    #[test]
    fn before_the_provider_has_spoken_a_value_is_a_calls_or_a_hint() {
        for (value, is_kept, expected) in [
            (Some("Ann"), true, "call"),
            (None, true, "call"),
            (Some("Ann"), false, "hint"),
            (Some(""), false, "nobody"),
            (None, false, "nobody"),
        ] {
            let word = word(&Layout::default(), COLUMN, &user(value, is_kept), None);
            assert_eq!(word.name(), expected, "{value:?} {is_kept}");
        }
    }

    #[test]
    fn a_value_is_the_word_of_the_columns_owner_unless_it_differs() {
        const PROVIDER: Owner = Owner::Provider;
        const ANN: Option<&str> = Some("Ann");
        for (owner, row, is_kept, merged, expected) in [
            (PROVIDER, ANN, false, ANN, "provider"),
            (PROVIDER, None, false, None, "nobody"),
            (PROVIDER, Some(""), false, Some(""), "nobody"),
            (PROVIDER, ANN, false, Some("Bea"), "drift"),
            (PROVIDER, None, false, ANN, "drift"),
            (PROVIDER, ANN, true, Some("Bea"), "drift"),
            (PROVIDER, ANN, true, ANN, "provider"),
            (Owner::Undeclared, ANN, true, Some("Bea"), "kept"),
            (Owner::Undeclared, ANN, true, ANN, "provider"),
            (Owner::Undeclared, ANN, false, Some("Bea"), "drift"),
            (Owner::AppOnceSet, ANN, true, Some("Bea"), "call"),
            (Owner::AppOnceSet, ANN, true, ANN, "call"),
            (Owner::AppOnceSet, ANN, false, Some("Bea"), "application"),
            (Owner::AppOnceSet, ANN, false, ANN, "provider"),
            (Owner::App, ANN, false, Some("Bea"), "application"),
            (Owner::App, ANN, true, Some("Bea"), "application"),
        ] {
            let layout = Layout::new(Vec::new(), |_| owner);
            let word = word(&layout, COLUMN, &user(row, is_kept), Some(&columns(merged)));
            assert_eq!(word.name(), expected, "{owner:?} {row:?} {is_kept} {merged:?}");
        }
    }

    #[test]
    fn what_the_application_supplies_is_its_own_while_the_provider_has_nothing() {
        for (never_null, merged, expected) in
            [(true, None, "supplied"), (true, Some("Bea"), "drift"), (false, None, "drift")]
        {
            let layout = Layout::default();
            let layout = if never_null { layout.with_never_null(COLUMN, false) } else { layout };
            let word = word(&layout, COLUMN, &user(Some("Ann"), false), Some(&columns(merged)));
            assert_eq!(word.name(), expected, "{never_null} {merged:?}");
        }
    }

    #[test]
    fn what_is_held_back_is_said_to_be_whatever_the_row_holds() {
        for value in [Some("Ann"), Some("Bea"), None] {
            let mut user = user(value, true);
            user.held.instead.insert(COLUMN, None);
            let word = word(&Layout::default(), COLUMN, &user, Some(&columns(Some("Bea"))));
            assert_eq!(word.name(), "held-back");
        }
    }

    #[test]
    fn the_providers_word_is_shown_where_the_row_holds_another() {
        let bea = columns(Some("Bea"));
        let ann = user(Some("Ann"), false);
        assert_eq!(contradicted(COLUMN, &ann, Some(&bea)), Some(Some("Bea".to_owned())));
        assert_eq!(contradicted(COLUMN, &ann, Some(&columns(None))), Some(None), "nothing is a word as well");
        assert_eq!(contradicted(COLUMN, &ann, Some(&columns(Some("Ann")))), None);
        assert_eq!(contradicted(COLUMN, &ann, None), None);
    }
}
