//! Columns of the application's that repeat `account_state` and `missing`.

use super::{Mirror, UsersTable};
use crate::store::engine::dialect::{Dialect, quoted};

impl UsersTable {
    /// Repeats the state of the users in the only parameter in the application's own columns, where it has some.
    pub fn mirror(&self) -> Option<String> {
        if self.mirrors.is_empty() {
            return None;
        }
        let values: Vec<(String, String)> = self
            .mirrors
            .iter()
            .map(|mirror| {
                let value = mirror.cell.value(self.dialect, &format!("a.{}", mirror.ours));
                (quoted(&mirror.theirs), value)
            })
            .collect();
        let set: Vec<String> = values.iter().map(|(theirs, value)| format!("{theirs} = {value}")).collect();
        let differs: Vec<String> = values
            .iter()
            .map(|(theirs, value)| format!("{}.{theirs} IS DISTINCT FROM {value}", self.table))
            .collect();
        Some(self.dialect.own(&format!(
            "UPDATE {0} SET {1} FROM {2} JOIN headcount.accounts a ON a.user_id = v.c1
             WHERE {0}.{3} = {4} AND ({5})",
            self.table,
            set.join(", "),
            self.dialect.rows(1, 1),
            quoted(&self.id.name),
            self.id_value("v.c1"),
            differs.join(" OR ")
        )))
    }

    /// Our names of the mirrors.
    pub fn mirror_names(&self) -> Vec<&'static str> {
        self.mirrors.iter().map(|mirror| mirror.ours).collect()
    }

    /// Id and each mirror of the rows whose ids are in the only parameter; `None` where there are no mirrors.
    pub fn mirrored(&self) -> Option<String> {
        if self.mirrors.is_empty() {
            return None;
        }
        let cell = |mirror: &Mirror| {
            let column = format!("u.{}", quoted(&mirror.theirs));
            match mirror.ours {
                "missing" if self.dialect == Dialect::Postgres => format!("CAST({column} AS text)"),
                _ => mirror.cell.text(self.dialect, &column),
            }
        };
        let cells: Vec<String> = self.mirrors.iter().map(cell).collect();
        Some(format!(
            "SELECT {} AS id, {} FROM {} u JOIN {} ON {} = {}",
            self.id_text("u."),
            cells.join(", "),
            self.table,
            self.dialect.rows(1, 1),
            self.id_sql("u."),
            self.id_value("v.c1")
        ))
    }

    /// Puts a mirror back to what it was before the accounts in the only parameter (source and id) were adopted.
    pub fn restore_mirror(&self, ours: &str) -> String {
        let Some(mirror) = self.mirrors.iter().find(|mirror| mirror.ours == ours) else {
            return String::new();
        };
        let before = match self.dialect {
            Dialect::Postgres => format!("(CAST(a.before AS json) ->> '{ours}')"),
            Dialect::Sqlite => format!("(a.before ->> '{ours}')"),
        };
        format!(
            "UPDATE {0} SET {1} = {2} FROM {3} JOIN headcount.adoptions a
                 ON a.source = v.c1 AND a.provider_id = v.c2
             WHERE {0}.{4} = {5}",
            self.table,
            quoted(&mirror.theirs),
            mirror.cell.value(self.dialect, &before),
            self.dialect.rows(1, 2),
            quoted(&self.id.name),
            self.id_value("a.user_id")
        )
    }

    /// What a mirror holds from the insert until the state is computed.
    pub(super) fn state_at_first(&self, ours: &str) -> &'static str {
        match (ours, self.dialect) {
            ("missing", Dialect::Postgres) => "'{}'",
            ("missing", Dialect::Sqlite) => "'[]'",
            _ => "'incomplete'",
        }
    }
}
