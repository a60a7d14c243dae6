//! What keeps the state of an adopted table's rows true when the application itself writes them.

use super::state::{MIRROR_TRIGGER, RowOf, SQLITE_TRIGGERS, STORED, TRIGGER, View};
use super::{Place, UsersTable, dollar_quoted, literal};
use crate::store::engine::dialect::quoted;

impl UsersTable {
    /// Columns of `users` whose change may change the state, and those that repeat it.
    pub(super) fn watched(&self, required: &[String]) -> Vec<String> {
        let mut watched: Vec<String> =
            required.iter().filter_map(|field| self.required_in_users(field)).map(str::to_owned).collect();
        let deleted_at = self.placed("deleted_at").filter(|placed| placed.place == Place::Users);
        watched.extend(deleted_at.map(|placed| placed.name.clone()));
        watched.extend(self.mirrors.iter().map(|mirror| mirror.theirs.clone()));
        watched.sort();
        watched.dedup();
        watched
    }

    /// As texts: not every type can be compared.
    fn changed(&self, required: &[String]) -> String {
        let differing = self.watched(required).into_iter().map(|name| {
            let name = quoted(&name);
            format!("CAST(OLD.{name} AS text) IS NOT CAST(NEW.{name} AS text)")
        });
        differing.collect::<Vec<_>>().join(" OR ")
    }

    /// Puts the state in `accounts` right after the application has written a row.
    fn watch(&self, required: &[String], row: RowOf<'_>, id: &str) -> String {
        let view = View { users: row, ..STORED };
        let (state, missing) = (self.state(&view, required), self.missing(&view, required));
        let now = self.dialect.clock();
        format!(
            "    UPDATE headcount.accounts SET account_state = {state}, missing = {missing},\n        \
             state_since = CASE WHEN account_state = {state} THEN state_since ELSE {now} END, updated_at = {now}\n    \
             WHERE user_id = {id} AND NOT (account_state = {state} AND missing = {missing});\n"
        )
    }

    fn id_in(&self, row: RowOf<'_>) -> String {
        format!("CAST({} AS text)", row.column(&self.id.name))
    }

    /// The row as JSON: the application may change any column, and its statements go on working.
    pub(super) fn postgres_watch(&self, required: &[String]) -> String {
        let row = RowOf::Json("row_as_it_is");
        format!(
            "\nDECLARE\n    row_as_it_is jsonb := to_jsonb(NEW);\nBEGIN\n{}    RETURN NULL;\nEND\n",
            self.watch(required, row, &self.id_in(row))
        )
    }

    /// Repeats the state in the application's own columns while the row is on its way: a second statement would run its
    /// triggers once more, with headcount's rights.
    pub(super) fn postgres_mirror(&self, required: &[String]) -> Option<String> {
        let row = RowOf::Json("row_as_it_is");
        let accounts = |name: &str| format!("a.{}", quoted(name));
        let view = View { users: row, accounts: &accounts };
        let cells: Vec<String> = self
            .mirrors
            .iter()
            .map(|mirror| {
                let value = match mirror.ours {
                    "missing" => self.missing(&view, required),
                    _ => self.state(&view, required),
                };
                format!("{}, {value}", literal(&mirror.theirs))
            })
            .collect();
        (!cells.is_empty()).then(|| {
            format!(
                "\nDECLARE\n    row_as_it_is jsonb := to_jsonb(NEW);\n    repeated jsonb;\nBEGIN\n    \
                 SELECT jsonb_build_object({}) INTO repeated FROM headcount.accounts a WHERE a.user_id = {};\n    \
                 IF repeated IS NOT NULL THEN\n        NEW := jsonb_populate_record(NEW, repeated);\n    END IF;\n    \
                 RETURN NEW;\nEND\n",
                cells.join(", "),
                self.id_in(row)
            )
        })
    }

    /// The application's roles have no rights on headcount's tables, so both run with those of their owner; neither runs
    /// any code of the application's. No trigger names a column, which could not be changed then.
    pub(super) fn install_watch(&self, source: &[String]) -> String {
        let table = &self.table;
        let mut script = vec![self.remove_state()];
        let triggers = [(TRIGGER, "users_state", "AFTER"), (MIRROR_TRIGGER, "users_mirror", "BEFORE")];
        for ((trigger, function, when), body) in triggers.into_iter().zip(source) {
            script.push(format!(
                "CREATE OR REPLACE FUNCTION headcount.{function}() RETURNS trigger LANGUAGE plpgsql \
                 SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS {};\n\
                 REVOKE ALL ON FUNCTION headcount.{function}() FROM PUBLIC;\n\
                 CREATE TRIGGER {trigger} {when} UPDATE ON {table}\n    \
                 FOR EACH ROW EXECUTE FUNCTION headcount.{function}()",
                dollar_quoted(body)
            ));
        }
        script.join(";\n")
    }

    pub(super) fn sqlite_watch(&self, required: &[String]) -> String {
        let row = RowOf::Columns("NEW.");
        let (own_id, id) = (quoted(&self.id.name), self.id_in(row));
        let mut body = self.watch(required, row, &id);
        for mirror in &self.mirrors {
            let theirs = quoted(&mirror.theirs);
            let value = format!("(SELECT {} FROM headcount.accounts WHERE user_id = {id})", mirror.ours);
            body.push_str(&format!(
                "    UPDATE {0} SET {theirs} = {value}\n    \
                 WHERE {own_id} = NEW.{own_id} AND {theirs} IS NOT {value} AND {value} IS NOT NULL;\n",
                self.table
            ));
        }
        self.dialect.own(&format!(
            "CREATE TRIGGER {} AFTER UPDATE ON {} WHEN {}\nBEGIN\n{body}END",
            SQLITE_TRIGGERS[1],
            self.table,
            self.changed(required)
        ))
    }
}
