//! What a call wants in a row: from names and values, into the write, and whether it got there.

use super::call_error::{CallError, NoRoom};
use super::write_outcome::Outcome;
use crate::core::call::{self, RowSetting};
use crate::core::change::Change;
use crate::core::columns::{Cell, Column};
use crate::core::known::Account;
use crate::core::layout::Layout;
use crate::core::words::ChangeKind;
use crate::nearest::nearest;
use crate::store::{AccountWrite, Store, TheirCell};
use std::collections::BTreeMap;

/// What a call sets: columns that headcount fills as well, and columns of the application's alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    pub setting: RowSetting,
    pub also: Vec<TheirCell>,
}

impl Assignment {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The write with what the call sets in its row.
    pub(super) fn put_into(&self, layout: &Layout, mut write: AccountWrite) -> AccountWrite {
        if self.is_empty() {
            return write;
        }
        write.user = write.user.map(|user| call::apply_beside(layout, user, &self.setting));
        AccountWrite { also: self.also.clone(), ..write }
    }

    /// What of the call the database has kept out.
    pub(super) fn unmet(&self, layout: &Layout, outcome: &Outcome) -> Option<NoRoom> {
        let no_room = |columns, reason: &String| Some(NoRoom { columns, reason: reason.clone() });
        match outcome {
            // Without a row nothing is met.
            Outcome::Refused(reason) | Outcome::Written(AccountWrite { waiting: Some(reason), .. }) => {
                no_room(Vec::new(), reason)
            }
            Outcome::Written(write) => {
                let names = self.names(layout);
                let unmet: Vec<_> = write.held.iter().filter(|held| names.contains(&held.column)).collect();
                no_room(unmet.iter().map(|held| held.column.clone()).collect(), &unmet.first()?.reason)
            }
        }
    }

    /// The names of all columns.
    pub(super) fn names(&self, layout: &Layout) -> Vec<String> {
        let own = self.setting.columns.iter().map(|(column, _)| layout.name(*column).to_owned());
        own.chain(self.also.iter().map(|cell| cell.column.name.clone())).collect()
    }
}

/// Why a column of the provider's may not be set.
const PROVIDERS: &str = "it is the provider's; change it there, or declare another owner in [users.owners]";

impl Assignment {
    /// What a call wants, from names and values. Names are headcount's, or of columns that are the application's alone.
    pub(super) async fn of(store: &Store, cells: &BTreeMap<String, Cell>) -> Result<Self, CallError> {
        let (layout, mut assignment) = (store.layout(), Self::default());
        let mut theirs = None;
        for (name, value) in cells {
            if let Some(column) = layout.column(name) {
                if !layout.is_settable(column) && !layout.is_supplied(column) {
                    return Err(not_settable(name, PROVIDERS));
                }
                assignment.setting.columns.push((column, value.clone()));
                continue;
            }
            if let Some(ours) = store.users_table().ours_of(name) {
                return Err(not_settable(name, &format!("a call names it `{ours}`")));
            }
            if theirs.is_none() {
                theirs = Some(store.their_columns().await?);
            }
            let columns = theirs.as_deref().unwrap_or_default();
            let Some(column) = columns.iter().find(|column| column.name == *name) else {
                let known = layout.columns().filter(|&column| layout.is_settable(column));
                let names = known.map(|column| layout.name(column)).chain(columns.iter().map(|c| &*c.name));
                let nearest = nearest(names, name);
                let nearest = nearest.unwrap_or_default();
                let reason =
                    format!("there is no such column, or it is computed; the nearest is `{nearest}`");
                return Err(not_settable(name, &reason));
            };
            assignment.also.push(TheirCell { column: column.clone(), value: value.clone() });
        }
        Ok(assignment)
    }
}

/// The change with the application's own columns in it.
pub(super) fn with_theirs(change: Option<Change>, write: &AccountWrite) -> Option<Change> {
    let names = write.also.iter().map(|cell| cell.column.name.clone());
    match (change, write.also.is_empty()) {
        (Some(mut change), _) => {
            change.changed.extend(names);
            Some(change)
        }
        (None, true) => None,
        (None, false) => {
            let user_id = write.user.as_ref()?.id.clone();
            Some(Change { user_id, kind: ChangeKind::Updated, changed: names.collect() })
        }
    }
}

/// Refuses to supply what the provider has a word for.
pub(super) fn check_supplied(
    layout: &Layout,
    known: &Account,
    assignment: &Assignment,
) -> Result<(), CallError> {
    match call::contradicts(layout, known, &assignment.setting) {
        Some(column) => Err(not_settable(layout.name(column), PROVIDERS)),
        None => Ok(()),
    }
}

fn not_settable(column: &str, reason: &str) -> CallError {
    CallError::NotSettable { column: column.to_owned(), reason: reason.to_owned() }
}

/// A column that hints may fill.
pub fn hintable(layout: &Layout, name: &str) -> Option<Column> {
    // What sessions call it.
    let name = if name == "name" { "display_name" } else { name };
    layout.column(name).filter(|column| !matches!(column, Column::Path(_) | Column::CreatedAt))
}
