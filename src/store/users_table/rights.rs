//! The least rights that `serve` needs of the users table.

use super::{Place, UsersTable, literal};
use crate::store::engine::dialect::quoted;

/// A right on something of the application's.
pub struct Right {
    /// Rows with one text: what of it the role lacks.
    pub lacking: String,
    /// Before the lacking columns, where it is a right on columns.
    verb: &'static str,
    on: String,
    of_columns: bool,
}

impl Right {
    fn on_columns(role: &str, verb: &'static str, table: &str, columns: &[String]) -> Self {
        let names: Vec<String> = columns.iter().map(|name| literal(name)).collect();
        let lacking = format!(
            "SELECT c FROM unnest(CAST(ARRAY[{}] AS text[])) AS n(c)
             WHERE NOT has_column_privilege({}, {}, c, '{verb}')",
            names.join(", "),
            literal(role),
            literal(table)
        );
        Self { lacking, verb, on: table.to_owned(), of_columns: true }
    }

    pub fn grant(&self, role: &str, lacking: &[String]) -> String {
        format!("GRANT {} ON {} TO {}", self.what(lacking), self.on, quoted(role))
    }

    pub fn revoke(&self, role: &str, lacking: &[String]) -> String {
        format!("REVOKE {} ON {} FROM {}", self.what(lacking), self.on, quoted(role))
    }

    fn what(&self, lacking: &[String]) -> String {
        let columns: Vec<String> = lacking.iter().map(|column| quoted(column)).collect();
        match self.of_columns {
            true => format!("{} ({})", self.verb, columns.join(", ")),
            false => self.verb.to_owned(),
        }
    }
}

impl UsersTable {
    /// What a role of PostgreSQL needs.
    pub fn rights(&self, role: &str) -> Vec<Right> {
        let (name_of_role, role, table) = (role, literal(role), literal(&self.table));
        let whole = |verb, on: String, has: String| Right {
            lacking: format!("SELECT 'all of it' WHERE NOT {has}"),
            verb,
            on,
            of_columns: false,
        };
        let schema = literal(&self.schema);
        let mut rights = vec![
            whole(
                "USAGE",
                format!("SCHEMA {}", quoted(&self.schema)),
                format!("has_schema_privilege({role}, {schema}, 'USAGE')"),
            ),
            whole("SELECT", self.table.clone(), format!("has_table_privilege({role}, {table}, 'SELECT')")),
        ];
        let (updated, inserted) = self.written_columns();
        for (verb, columns) in [("INSERT", inserted), ("UPDATE", updated)] {
            rights.push(Right::on_columns(name_of_role, verb, &self.table, &columns));
        }
        if let Some(sequence) = &self.id.sequence {
            rights.push(whole(
                "USAGE",
                format!("SEQUENCE {sequence}"),
                format!("has_sequence_privilege({role}, {}, 'USAGE')", literal(sequence)),
            ));
        }
        rights
    }

    /// What the application's own role needs for what it is offered: the view shows what it may see, and the function
    /// writes what it may write.
    pub fn app_rights(&self, role: &str) -> Vec<Right> {
        let (read, inserted, updated) = self.offered_columns();
        let quoted_schema = quoted(&self.schema);
        let mut rights = vec![Right {
            lacking: format!(
                "SELECT 'all of it' WHERE NOT has_schema_privilege({}, {}, 'USAGE')",
                literal(role),
                literal(&self.schema)
            ),
            verb: "USAGE",
            on: format!("SCHEMA {quoted_schema}"),
            of_columns: false,
        }];
        for (verb, columns) in [("SELECT", read), ("INSERT", inserted), ("UPDATE", updated)] {
            rights.push(Right::on_columns(role, verb, &self.table, &columns));
        }
        if self.is_adopted {
            rights.push(Right::on_columns(role, "SELECT", "headcount.accounts", &self.shown_elsewhere()));
        }
        rights
    }

    /// The columns that are updated, and those that are inserted.
    pub(super) fn written_columns(&self) -> (Vec<String>, Vec<String>) {
        let in_users = self.fields.iter().filter(|placed| placed.place == Place::Users);
        let mut written: Vec<String> = in_users.map(|placed| placed.name.clone()).collect();
        written.extend(self.mirrors.iter().map(|mirror| mirror.theirs.clone()));
        match (&self.updated_at, self.is_adopted) {
            (Some((name, _)), _) => written.push(name.clone()),
            (None, false) => written.push("updated_at".to_owned()),
            (None, true) => {}
        }
        let id = self.id.name.clone();
        // A row lock needs the right to update some column.
        let updated = if written.is_empty() { vec![id.clone()] } else { written.clone() };
        written.push(id);
        (updated, written)
    }
}
