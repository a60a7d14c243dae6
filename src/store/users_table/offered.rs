//! What headcount offers to applications in the database itself: a view of people, and on PostgreSQL the function that
//! makes a user in the application's own transaction.

use super::state::View;
use super::{Field, IdKind, IdOrigin, Place, Placed, UsersTable, literal};
use crate::core::columns::{Column, Owner};
use crate::store::engine::dialect::{Dialect, quoted};
use serde_json::{Map, Value};

/// The function, with gaps for what the table decides about.
const BODY: &str = include_str!("ensure.sql");

impl UsersTable {
    /// The script that makes all of it, or makes it anew. `None` on a table of the application's in SQLite, where migrations
    /// make tables anew, and renaming one fails while there is a view of it.
    pub fn offered(&self, required: &[String]) -> Option<String> {
        match self.dialect {
            Dialect::Sqlite if self.is_adopted => None,
            Dialect::Sqlite => Some(format!("DROP VIEW IF EXISTS headcount_people;\n{}", self.people())),
            Dialect::Postgres => Some(format!(
                "DO $view$ BEGIN\n{};\nEXCEPTION WHEN invalid_table_definition THEN\n    DROP VIEW headcount.people;\n{};\n\
                 END $view$;\n{}",
                self.people().replace("CREATE VIEW", "CREATE OR REPLACE VIEW"),
                self.people(),
                self.ensure_function(required)
            )),
        }
    }

    /// Rows where the parts of [`Self::offered`] are missing.
    pub fn lacks_offered(&self) -> &'static str {
        match self.dialect {
            Dialect::Postgres => {
                "SELECT 'yes' WHERE to_regclass('headcount.people') IS NULL
                    OR NOT EXISTS (SELECT 1 FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
                                   WHERE n.nspname = 'headcount' AND p.proname = 'ensure')"
            }
            Dialect::Sqlite => {
                "SELECT 'yes' WHERE NOT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'headcount_people')"
            }
        }
    }

    /// For lists of other people: whoever is deleted is there as such, without personal data.
    pub fn people(&self) -> String {
        let state = self.computed("account_state");
        let shown = [Column::Username, Column::DisplayName, Column::AvatarUrl].map(|column| {
            let value = self.fields.get(column.index()).map_or("NULL".to_owned(), Placed::sql);
            format!("CASE WHEN coalesce({state}, '') <> 'deleted' THEN {value} END AS {}", column.name())
        });
        self.dialect.own(&format!(
            "CREATE VIEW headcount.people AS\n    SELECT {} AS id, {state} AS account_state, {}\n    FROM {} u{}",
            self.id_sql("u."),
            shown.join(", "),
            self.table,
            self.with_accounts("LEFT JOIN", &self.id_text("u."))
        ))
    }

    fn ensure_function(&self, required: &[String]) -> String {
        let id_type = match self.id.kind {
            IdKind::Uuid => "uuid",
            IdKind::Text => "text",
            IdKind::Integer => "bigint",
        };
        let is_hint = |column: Column| {
            self.layout.owner(column) != Owner::App && !matches!(column, Column::Path(_) | Column::CreatedAt)
        };
        let verified = match self.placed(Column::EmailVerified.name()) {
            Some(placed) if placed.place == Place::Users => {
                let mut object = Map::new();
                object.insert(placed.name.clone(), Value::Bool(false));
                Value::Object(object).to_string()
            }
            _ => "{}".to_owned(),
        };
        let accounts = if self.is_adopted { self.ensure_account(required) } else { "NULL".to_owned() };
        let (more, values) = self.ensure_constants();
        let over = match self.id.origin {
            IdOrigin::Sequence(_) => " OVERRIDING SYSTEM VALUE",
            _ => "",
        };
        let body = BODY
            .replace("{id}", &quoted(&self.id.name))
            .replace("{id_type}", id_type)
            .replace("{table}", &self.table)
            .replace("{fresh_id}", &self.fresh_id())
            .replace("{shared_id}", self.shared_id_of_account())
            .replace("{hints_in_users}", &literal(&self.names(Place::Users, is_hint)))
            .replace("{hints_elsewhere}", &literal(&self.names(Place::Accounts, is_hint)))
            .replace("{set_in_users}", &literal(&self.names(Place::Users, |c| self.layout.is_settable(c))))
            .replace(
                "{set_elsewhere}",
                &literal(&self.names(Place::Accounts, |c| self.layout.is_settable(c))),
            )
            .replace("{supplied}", &literal(&self.names(Place::Users, |c| self.layout.is_supplied(c))))
            .replace("{ours}", &literal(&self.not_theirs()))
            .replace("{verified}", &literal(&verified))
            .replace("{id_column}", &self.id_of_account())
            .replace("{more_columns}", &more)
            .replace("{more_values}", &values)
            .replace("{over}", over)
            .replace("{keep}", &self.ensure_keep())
            .replace("{account}", &accounts);
        format!(
            "{body};\n\
             REVOKE ALL ON FUNCTION headcount.ensure(text, text, jsonb, jsonb) FROM PUBLIC"
        )
    }

    /// The column of `users` that shows the provider's own id, as SQL.
    fn id_of_account(&self) -> String {
        let shows = |placed: &&Placed| match placed.field {
            Field::Column(column) => placed.place == Place::Users && self.layout.is_account_id(column),
            _ => false,
        };
        let found = self.fields.iter().find(shows);
        found.map_or_else(|| "CAST(NULL AS text)".to_owned(), |placed| literal(&placed.name))
    }

    /// Our names and theirs of the columns at a place, as a JSON object.
    fn names(&self, place: Place, chosen: impl Fn(Column) -> bool) -> String {
        let there = self.fields.iter().filter_map(|placed| match placed.field {
            Field::Column(column) if placed.place == place && chosen(column) => {
                Some((self.layout.name(column).to_owned(), Value::from(placed.name.clone())))
            }
            _ => None,
        });
        Value::Object(there.collect()).to_string()
    }

    /// Every name that a call may not take for a column of the application's own.
    fn not_theirs(&self) -> String {
        let mut names: Vec<String> =
            self.layout.columns().map(|column| self.layout.name(column).to_owned()).collect();
        names
            .extend(self.fields.iter().filter(|placed| placed.place == Place::Users).map(|p| p.name.clone()));
        names.extend(self.mirrors.iter().map(|mirror| mirror.theirs.clone()));
        names.extend(self.updated_at.iter().map(|(name, _)| name.clone()));
        names.push(self.id.name.clone());
        names.extend(["account_state", "missing", "updated_at", "state_since"].map(str::to_owned));
        let object = names.into_iter().map(|name| (name, Value::Null));
        Value::Object(object.collect()).to_string()
    }

    fn fresh_id(&self) -> String {
        match &self.id.origin {
            // The time in the first six bytes, then the bits that say: version 7.
            IdOrigin::Ours | IdOrigin::Rowid { .. } => {
                let uuid = "CAST(encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) PLACING \
                            substring(int8send(CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS bigint)) FROM 3) \
                            FROM 1 FOR 6), 52, 1), 53, 1), 'hex') AS uuid)";
                match self.id.kind {
                    IdKind::Uuid => uuid.to_owned(),
                    IdKind::Text | IdKind::Integer => format!("CAST({uuid} AS text)"),
                }
            }
            // The insert itself gives it.
            IdOrigin::Sequence(_) | IdOrigin::Default(_) => "NULL".to_owned(),
        }
    }

    /// Further columns of the row, and their values, as arrays of SQL.
    fn ensure_constants(&self) -> (String, String) {
        let mut more: Vec<(String, String)> = Vec::new();
        if !self.is_adopted {
            more.push(("provisional".to_owned(), "true".to_owned()));
            more.push(("kept".to_owned(), "$3".to_owned()));
        }
        for mirror in &self.mirrors {
            let value = match mirror.ours {
                "account_state" => "'provisional'",
                ours => self.state_at_first(ours),
            };
            more.push((quoted(&mirror.theirs), mirror.cell.value(self.dialect, value)));
        }
        if let Some((name, cell)) = &self.updated_at {
            more.push((quoted(name), cell.instant("clock_timestamp()")));
        }
        let array = |texts: Vec<&String>| {
            let texts: Vec<String> = texts.into_iter().map(|text| literal(text)).collect();
            format!("CAST(ARRAY[{}] AS text[])", texts.join(", "))
        };
        (
            array(more.iter().map(|(name, _)| name).collect()),
            array(more.iter().map(|(_, value)| value).collect()),
        )
    }

    /// Has the row remember which columns a call has set.
    fn ensure_keep(&self) -> String {
        let (table, id) = match self.is_adopted {
            true => ("headcount.accounts".to_owned(), "user_id = CAST(new_id AS text)".to_owned()),
            false => (self.table.clone(), format!("{} = new_id", quoted(&self.id.name))),
        };
        format!(
            "UPDATE {table} SET kept = (SELECT string_agg(DISTINCT k, ',')
                 FROM unnest(string_to_array(NULLIF(kept, ''), ',') || string_to_array(NULLIF(keeps, ''), ',')) AS k)
             WHERE {id} AND keeps <> '' AND kept IS DISTINCT FROM keeps"
        )
    }

    /// Of an adopted table: what it has no column for.
    fn ensure_account(&self, required: &[String]) -> String {
        let own = |name: &str| format!("r.{}", quoted(name));
        let view = View { users: "u.", accounts: &own };
        let columns = self.fields.iter().filter_map(|placed| match placed.field {
            Field::Column(column) if placed.place == Place::Accounts && column != Column::EmailVerified => {
                Some(quoted(&placed.name))
            }
            _ => None,
        });
        let columns: Vec<String> = columns.collect();
        let names: Vec<String> = columns.iter().map(|name| format!(", {name}")).collect();
        let values: Vec<String> = columns.iter().map(|name| format!(", r.{name}")).collect();
        format!(
            "INSERT INTO headcount.accounts (user_id, account_state, missing, provisional, kept, state_since, updated_at{})
        SELECT CAST(new_id AS text), 'provisional', {}, true, keeps, clock_timestamp(), clock_timestamp(){}
        FROM {} u CROSS JOIN jsonb_populate_record(CAST(NULL AS headcount.accounts), elsewhere) r
        WHERE {} = new_id
        ON CONFLICT (user_id) DO NOTHING",
            names.join(""),
            self.missing(&view, required),
            values.join(""),
            self.table,
            self.id_sql("u.")
        )
    }
}
