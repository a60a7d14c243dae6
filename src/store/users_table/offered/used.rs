//! The columns that what is offered uses with its caller's rights.

use super::SHOWN;
use crate::core::columns::{Column, Owner};
use crate::store::users_table::{Field, Place, UsersTable};

impl UsersTable {
    /// Columns of the users table that what is offered reads, inserts and updates with the caller's rights.
    pub(in crate::store::users_table) fn offered_columns(&self) -> (Vec<String>, Vec<String>, Vec<String>) {
        let in_users = |chosen: &dyn Fn(Column) -> bool| -> Vec<String> {
            let there = self.fields.iter().filter(|placed| placed.place == Place::Users);
            let named =
                there.filter(|placed| matches!(placed.field, Field::Column(column) if chosen(column)));
            named.map(|placed| placed.name.clone()).collect()
        };
        let settable = in_users(&|column| self.layout.is_settable(column));
        let shown = in_users(&|column| SHOWN.contains(&column));
        let own = |names: &[&str]| -> Vec<String> {
            let names = names.iter().filter(|_| !self.is_adopted);
            names.map(|name| (*name).to_owned()).collect()
        };
        let id = vec![self.id.name.clone()];
        let others = self.mirrors.iter().map(|mirror| mirror.theirs.clone());
        let others: Vec<String> =
            others.chain(self.updated_at.iter().map(|(name, _)| name.clone())).collect();
        let made = in_users(&|column| {
            let is_hint = !matches!(column, Column::Path(_) | Column::CreatedAt)
                && self.layout.owner(column) != Owner::App;
            is_hint
                || self.layout.is_settable(column)
                || self.layout.is_supplied(column)
                || self.layout.is_account_id(column)
        });
        let unique = |lists: Vec<Vec<String>>| {
            let mut names: Vec<String> = lists.concat();
            names.sort();
            names.dedup();
            names
        };
        (
            unique(vec![id.clone(), shown, settable.clone(), own(&["account_state", "kept"])]),
            unique(vec![id, made, others, own(&["provisional", "kept"])]),
            unique(vec![settable, own(&["kept"])]),
        )
    }

    /// Columns of `accounts` that the view shows.
    pub(in crate::store::users_table) fn shown_elsewhere(&self) -> Vec<String> {
        let there = self.fields.iter().filter(|placed| placed.place == Place::Accounts);
        let shown =
            there.filter(|placed| matches!(placed.field, Field::Column(column) if SHOWN.contains(&column)));
        ["user_id", "account_state"]
            .map(str::to_owned)
            .into_iter()
            .chain(shown.map(|placed| placed.name.clone()))
            .collect()
    }
}
