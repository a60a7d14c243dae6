//! What people and programs read of users.

use super::{Place, UsersTable};
use crate::core::columns::Column;
use crate::store::engine::dialect::{Dialect, quoted};

impl UsersTable {
    /// id, state, missing (JSON), each [`Column`] but the paths, `updated_at`, `deleted_at`: of the users after id `$1`, at most `$2`, with state `$3` ('' for any) and an identity at source `$4` ('' for any).
    pub fn list(&self) -> String {
        self.dialect.own(&format!(
            "{} WHERE {} AND ($3 = '' OR {} = $3)
               AND ($4 = '' OR EXISTS (SELECT 1 FROM headcount.identities i
                                       WHERE i.user_id = {} AND {} = $4))
             ORDER BY {} LIMIT $2",
            self.select(&format!("{} u", self.table)),
            self.id_after("u.", "$1"),
            self.computed("account_state"),
            self.id_text("u."),
            self.dialect.source_beside_user("i.source"),
            self.id_sql("u.")
        ))
    }

    /// As [`Self::list`], for the ids in the rows of the only parameter.
    pub fn show(&self) -> String {
        self.show_each(&self.dialect.rows(1, 1), "v.c1")
    }

    /// As [`Self::list`], for the accounts (source and id) in the rows of the only parameter.
    pub fn show_of_accounts(&self) -> String {
        let accounts = format!(
            "(SELECT DISTINCT i.user_id FROM {} JOIN headcount.identities i
              ON i.source = v.c1 AND i.provider_id = v.c2 WHERE i.user_id IS NOT NULL) AS k",
            self.dialect.rows(1, 2)
        );
        self.show_each(&accounts, "k.user_id")
    }

    fn show_each(&self, rows: &str, user_id: &str) -> String {
        let id = quoted(&self.id.name);
        let each = self.dialect.each_row(rows, &self.table, "u", &id, &self.id_value(user_id));
        self.dialect.own(&format!("{} ORDER BY {}", self.select(&each), self.id_sql("u.")))
    }

    /// The ids of users with text `$1` as e-mail, username or phone number, at most ten.
    pub fn find(&self) -> String {
        let any: Vec<String> = ["email", "username", "phone"]
            .iter()
            .filter_map(|name| self.placed(name))
            .map(|placed| format!("{} = $1", placed.cell.text(self.dialect, &placed.sql())))
            .collect();
        self.dialect.own(&format!(
            "SELECT {} FROM {} u{} WHERE {} ORDER BY {} LIMIT 10",
            self.id_text("u."),
            self.table,
            self.with_accounts("JOIN", &self.id_text("u.")),
            any.join(" OR "),
            self.id_sql("u.")
        ))
    }

    /// `from` has the users as `u`. Of an adopted table only those that headcount knows are listed.
    fn select(&self, from: &str) -> String {
        let cell = |column: Column| match self.fields.get(column.index()) {
            Some(placed) => placed.seen(placed.cell.exact(self.dialect, &placed.sql()), &self.id_text("u.")),
            None => "NULL".to_owned(),
        };
        let columns: Vec<String> = Column::ALL.into_iter().map(cell).collect();
        let deleted_at = match self.placed("deleted_at") {
            Some(placed) => placed.cell.exact(self.dialect, &placed.sql()),
            None => "NULL".to_owned(),
        };
        let updated_at = match &self.updated_at {
            Some((name, cell)) => cell.text(self.dialect, &format!("u.{}", quoted(name))),
            None => self.dialect.timestamp_text(&self.computed("updated_at")),
        };
        format!(
            "SELECT {}, {}, {}, {}, {updated_at}, {deleted_at} FROM {from}{}",
            self.id_text("u."),
            self.computed("account_state"),
            self.dialect.list_text(&self.computed("missing")),
            columns.join(", "),
            self.with_accounts("JOIN", &self.id_text("u."))
        )
    }

    /// The provider's id and a column of the users of these accounts: source and provider's id, of the only parameter.
    pub fn show_column(&self, column: Column) -> String {
        let cell = self
            .fields
            .get(column.index())
            .map(|placed| placed.seen(placed.cell.text(self.dialect, &placed.sql()), &self.id_text("u.")));
        self.dialect.own(&format!(
            "SELECT i.provider_id, {} FROM {} JOIN headcount.identities i ON i.source = v.c1 AND i.provider_id = v.c2
             JOIN {} u ON {} = {}{}",
            cell.unwrap_or_else(|| "NULL".to_owned()),
            self.dialect.rows(1, 2),
            self.table,
            self.id_sql("u."),
            self.id_value("i.user_id"),
            self.with_accounts("JOIN", &self.id_text("u."))
        ))
    }

    /// Since when the users in the only parameter are in their state.
    pub fn state_since(&self) -> String {
        self.dialect.own(&format!(
            "SELECT {} AS state_since FROM {} JOIN {} ON {} = {}",
            self.dialect.timestamp_text("s.state_since"),
            self.stated(),
            self.dialect.rows(1, 1),
            if self.is_adopted { "s.user_id".to_owned() } else { self.id_sql("s.") },
            if self.is_adopted { "v.c1".to_owned() } else { self.id_value("v.c1") }
        ))
    }

    /// A column that no source fills, where it is kept.
    pub(super) fn computed(&self, name: &str) -> String {
        format!("{}.{name}", if self.is_adopted { "a" } else { "u" })
    }

    /// The relation `s` that has the state of each user.
    fn stated(&self) -> String {
        match self.is_adopted {
            // Without rows that the application has removed.
            true => format!(
                "headcount.accounts s JOIN {} u ON {} = {}",
                self.table,
                self.id_sql("u."),
                self.id_value("s.user_id")
            ),
            false => format!("{} s", self.table),
        }
    }

    /// How many users there are in each state.
    pub fn count_states(&self) -> String {
        self.dialect.own(&format!(
            "SELECT s.account_state, CAST(count(*) AS text) FROM {} GROUP BY s.account_state",
            self.stated()
        ))
    }

    /// Of the incomplete: the missing field, how many miss it, and since when the longest waiting one does.
    pub fn count_missing(&self) -> String {
        let since = self.dialect.timestamp_text("min(s.state_since)");
        let (each, field) = match self.dialect {
            Dialect::Postgres => ("CROSS JOIN LATERAL unnest(s.missing) AS m(field)", "m.field"),
            Dialect::Sqlite => ("JOIN json_each(s.missing) AS m", "m.value"),
        };
        self.dialect.own(&format!(
            "SELECT {field}, CAST(count(*) AS text), {since} FROM {} {each}
             WHERE s.account_state = 'incomplete' GROUP BY {field} ORDER BY {field}",
            self.stated()
        ))
    }

    /// Where a column of ours is, as people look for it.
    pub fn place_of(&self, ours: &str) -> String {
        match self.placed(ours) {
            Some(placed) if placed.place == Place::Users => placed.name.clone(),
            _ => format!("accounts.{ours}"),
        }
    }
}
