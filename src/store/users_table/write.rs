//! Writing rows, and the order of their cells.

use super::{Field, FieldSet, IdOrigin, Place, Placed, TheirCell, UsersTable};
use crate::core::columns::{Cell, Column, ColumnSet, Owner};
use crate::core::known::User;
use crate::store::engine::dialect::{Dialect, quoted};
use crate::store::engine::driver::Values;

impl UsersTable {
    /// Inserts the rows of the only parameter: id, then each field, then these columns of the application's.
    pub fn insert(&self, also: &[TheirCell]) -> String {
        let mut names = vec![quoted(&self.id.name)];
        let mut values = vec![self.id_value("v.c1")];
        for (placed, value) in self.fields.iter().zip(self.values()) {
            if placed.place == Place::Users {
                names.push(quoted(&placed.name));
                values.push(match &placed.default {
                    Some(default) => format!("coalesce({value}, {default})"),
                    None => value,
                });
            }
        }
        for mirror in &self.mirrors {
            names.push(quoted(&mirror.theirs));
            values.push(mirror.cell.value(self.dialect, self.state_at_first(mirror.ours)));
        }
        for (name, value) in
            self.updated_now().into_iter().chain(self.their_values(also, self.fields.len() + 2))
        {
            names.push(name);
            values.push(value);
        }
        let over = match (self.dialect, &self.id.origin) {
            (Dialect::Postgres, IdOrigin::Sequence(_)) => " OVERRIDING SYSTEM VALUE",
            _ => "",
        };
        format!(
            "INSERT INTO {} ({}){over} SELECT {} FROM {} WHERE true",
            self.table,
            names.join(", "),
            values.join(", "),
            self.dialect.rows(1, 1 + self.fields.len() + also.len())
        )
    }

    /// Writes these fields of the rows of the only parameter: id, then each of them (those that lie in `users`), then
    /// these columns of the application's.
    pub fn update(&self, set: FieldSet, also: &[TheirCell]) -> String {
        let mut assignments = Vec::new();
        let chosen = self.fields.iter().enumerate().filter(|(n, _)| set & (1 << n) != 0);
        for (n, (_, placed)) in chosen.enumerate() {
            let value = placed.cell.value(self.dialect, &format!("v.c{}", n + 2));
            assignments.push(format!("{} = {value}", quoted(&placed.name)));
        }
        let width = 1 + set.count_ones() as usize;
        let more = self.updated_now().into_iter().chain(self.their_values(also, width + 1));
        assignments.extend(more.map(|(name, value)| format!("{name} = {value}")));
        format!(
            "UPDATE {0} SET {1} FROM {2} WHERE {0}.{3} = {4}",
            self.table,
            assignments.join(", "),
            self.dialect.rows(1, width + also.len()),
            quoted(&self.id.name),
            self.id_value("v.c1")
        )
    }

    /// Sets these columns of the users in the only parameter to null: room for values that go round in a circle.
    pub fn vacate(&self, columns: &[Column]) -> Option<String> {
        let in_users = |placed: &&Placed| {
            matches!(placed.field, Field::Column(column) if columns.contains(&column))
                && placed.place == Place::Users
        };
        let assignments: Vec<String> = self
            .fields
            .iter()
            .filter(in_users)
            .map(|placed| format!("{} = NULL", quoted(&placed.name)))
            .collect();
        (!assignments.is_empty()).then(|| {
            format!(
                "UPDATE {0} SET {1} FROM {2} WHERE {0}.{3} = {4}",
                self.table,
                assignments.join(", "),
                self.dialect.rows(1, 1),
                quoted(&self.id.name),
                self.id_value("v.c1")
            )
        })
    }

    /// The fields in which two rows differ, by where they lie: in `users`, and in `accounts`.
    pub fn touched(&self, before: &Values, after: &Values) -> (FieldSet, FieldSet) {
        let (mut in_users, mut in_accounts) = (0, 0);
        for (n, placed) in self.fields.iter().enumerate() {
            if before[n + 1] != after[n + 1] {
                match placed.place {
                    Place::Users => in_users |= 1 << n,
                    Place::Accounts => in_accounts |= 1 << n,
                    Place::Nowhere => {}
                }
            }
        }
        (in_users, in_accounts)
    }

    /// Whether `users` itself shows when a row was written last.
    pub fn dates_itself(&self) -> bool {
        self.updated_now().is_some()
    }

    /// Removes the users in the only parameter.
    pub fn remove(&self) -> String {
        format!(
            "DELETE FROM {0} WHERE {1} IN (SELECT {2} FROM {3})",
            self.table,
            quoted(&self.id.name),
            self.id_value("v.c1"),
            self.dialect.rows(1, 1)
        )
    }

    /// The row as statements take it: id, then each field. A fact that cannot be read is a text that no decided row has.
    pub fn row(&self, user: &User) -> Values {
        let mut row = vec![Some(user.id.clone())];
        let is_unreadable = |field: Field| field.fact().is_some_and(|fact| user.unreadable.contains(fact));
        row.extend(self.fields.iter().map(|placed| match placed.field {
            field if is_unreadable(field) => Some("?".to_owned()),
            Field::Column(column) => match (user.columns.get(column), user.deleted_at) {
                (None, Some(_)) => placed.freed_text(&user.id),
                (cell, _) => cell.map(str::to_owned),
            },
            Field::DeletedAt => user.deleted_at.map(|at| at.to_string()),
            Field::SuspendedBySource => Some(user.suspended_by_source.to_string()),
            Field::SuspendedByApp => Some(user.suspended_by_app.to_string()),
            Field::Provisional => Some(user.provisional.to_string()),
            Field::Kept => Some(self.kept_text(user)),
        }));
        row
    }

    /// A cell of a row as it reads: nothing where a deletion has freed a column that takes no null.
    pub fn as_read(&self, column: Column, user_id: &str, cell: Cell) -> Cell {
        let freed = self.fields.get(column.index()).and_then(|placed| placed.freed_text(user_id));
        if freed.is_some() && cell == freed { None } else { cell }
    }

    /// Of [`Self::row`] the id and these fields.
    pub fn part(&self, row: &Values, set: FieldSet) -> Values {
        let chosen = |n: &usize| *n == 0 || set & (1 << (n - 1)) != 0;
        row.iter().enumerate().filter(|(n, _)| chosen(n)).map(|(_, cell)| cell.clone()).collect()
    }

    fn kept_text(&self, user: &User) -> String {
        let kept = self.layout.columns().filter(|&column| user.kept.contains(column));
        kept.map(|column| format!("\"{}\"", self.layout.name(column))).collect::<Vec<_>>().join(",")
    }

    /// Reads [`Field::Kept`]: what the provider or the application was declared to own since keeps nothing. `None` where
    /// it is no list of names in quotes.
    pub fn kept(&self, text: &str) -> Option<ColumnSet> {
        if text.is_empty() {
            return Some(ColumnSet::default());
        }
        let inner = text.strip_prefix('"')?.strip_suffix('"')?;
        let names: Vec<&str> = inner.split("\",\"").collect();
        if names.iter().any(|name| name.is_empty() || name.contains('"')) {
            return None;
        }
        let may_keep = |column: &Column| {
            matches!(self.layout.owner(*column), Owner::Undeclared | Owner::AppOnceSet)
                && names.contains(&self.layout.name(*column))
        };
        Some(self.layout.columns().filter(may_keep).collect())
    }

    pub(super) fn values(&self) -> impl Iterator<Item = String> + '_ {
        self.fields
            .iter()
            .enumerate()
            .map(|(n, placed)| placed.cell.value(self.dialect, &format!("v.c{}", n + 2)))
    }

    pub(super) fn rows(&self) -> String {
        self.dialect.rows(1, 1 + self.fields.len())
    }

    fn updated_now(&self) -> Option<(String, String)> {
        let clock = self.dialect.clock();
        match (&self.updated_at, self.is_adopted) {
            (Some((name, cell)), _) => Some((quoted(name), cell.instant(clock))),
            (None, false) => Some(("updated_at".to_owned(), clock.to_owned())),
            (None, true) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::users_table::UsersConfig;

    #[test]
    fn what_is_kept_is_a_list_of_names_in_quotes_or_cannot_be_read() {
        let users = UsersTable::own(Dialect::Sqlite, &UsersConfig::default());
        let both: ColumnSet = [Column::Username, Column::AvatarUrl].into_iter().collect();
        assert_eq!(users.kept(""), Some(ColumnSet::default()));
        assert_eq!(users.kept("\"avatar_url\",\"username\""), Some(both));
        assert_eq!(
            users.kept("\"username\",\"email\",\"nothing\",\"avatar_url\""),
            Some(both),
            "not ours to keep"
        );
        for text in ["username", "\"", "\"\"", "\"username\",", "\"username\" \"phone\"", "?616263", "{}"] {
            assert_eq!(users.kept(text), None, "{text}");
        }
    }
}
