//! What headcount offers to applications in the database itself: a view of people, and on PostgreSQL the function that
//! makes a user in the application's own transaction.

mod people;
mod used;

use super::state::{RowOf, View};
use super::{Field, IdKind, IdOrigin, Place, Placed, UsersTable, dollar_quote, in_format, literal};
use crate::core::columns::{Column, Owner};
use crate::store::engine::dialect::{Dialect, quoted};
use serde_json::{Map, Value};

/// The functions, with gaps for what the table decides about.
const BODIES: [&str; 3] =
    [include_str!("ensure_start.sql"), include_str!("ensure_finish.sql"), include_str!("ensure.sql")];

/// The functions with the types of their parameters.
pub(in crate::store) const ENSURE_FUNCTIONS: [&str; 3] = [
    "ensure_start(text, text, text, text)",
    "ensure_finish(text, text, jsonb, jsonb)",
    "ensure(text, text, jsonb, jsonb)",
];

/// As the first function was before version 11.
const BEFORE: &str = "DROP FUNCTION IF EXISTS headcount.ensure_start(text, text, text)";

/// Whoever may call the function may call its two halves, which an earlier version did not have.
const SAME_CALLERS: &str = "DO $callers$ DECLARE
    caller text;
BEGIN
    FOR caller IN SELECT DISTINCT CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END
        FROM pg_proc p CROSS JOIN LATERAL aclexplode(p.proacl) a
        WHERE p.oid = CAST('headcount.ensure(text, text, jsonb, jsonb)' AS regprocedure) AND a.privilege_type = 'EXECUTE'
    LOOP
        EXECUTE 'GRANT EXECUTE ON FUNCTION headcount.ensure_start(text, text, text, text),
            headcount.ensure_finish(text, text, jsonb, jsonb) TO ' || caller;
    END LOOP;
END $callers$";

/// What is shown of other people.
const SHOWN: [Column; 3] = [Column::Username, Column::DisplayName, Column::AvatarUrl];

impl UsersTable {
    /// The script that makes all of it, or makes it anew. `None` on a table of the application's in SQLite, where migrations
    /// make tables anew, and renaming one fails while there is a view of it.
    pub fn offered(&self, required: &[String]) -> Option<String> {
        match self.dialect {
            Dialect::Sqlite if self.is_adopted => None,
            Dialect::Sqlite => Some(format!("DROP VIEW IF EXISTS headcount_people;\n{}", self.people())),
            Dialect::Postgres => {
                Some(format!("{};\n{}", self.people_anew(), self.ensure_functions(required)))
            }
        }
    }

    /// Rows where the parts of [`Self::offered`] are missing.
    pub fn lacks_offered(&self) -> &'static str {
        match self.dialect {
            Dialect::Postgres => {
                "SELECT 'yes' WHERE to_regclass('headcount.people') IS NULL
                    OR (SELECT count(DISTINCT p.proname) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
                        WHERE n.nspname = 'headcount'
                          AND p.proname IN ('ensure', 'ensure_start', 'ensure_finish', 'people_now')) < 4"
            }
            Dialect::Sqlite => {
                "SELECT 'yes' WHERE NOT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'headcount_people')"
            }
        }
    }

    pub(super) fn id_type(&self) -> &'static str {
        match self.id.kind {
            IdKind::Uuid => "uuid",
            IdKind::Text => "text",
            IdKind::Integer => "bigint",
        }
    }

    /// The three functions: one with the caller's rights, and two with headcount's around it.
    fn ensure_functions(&self, required: &[String]) -> String {
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
        let nothing = || "NULL".to_owned();
        let (account, keep, keep_elsewhere) = match self.is_adopted {
            true => (self.ensure_account(required), nothing(), self.ensure_keep()),
            false => (nothing(), self.ensure_keep(), nothing()),
        };
        let (more, values) = self.ensure_constants();
        let (fresh_id, offered_id) = self.fresh_id();
        let over = match self.id.origin {
            IdOrigin::Sequence(_) => " OVERRIDING SYSTEM VALUE",
            _ => "",
        };
        let is_settable = |column| self.layout.is_settable(column);
        let settable = self.layout.columns().filter(|&column| is_settable(column));
        let settable = settable.map(|column| (self.layout.name(column).to_owned(), Value::Null));
        let settable = Value::Object(settable.collect()).to_string();
        let gaps = [
            ("{id}", quoted(&self.id.name)),
            ("{id_literal}", literal(&quoted(&self.id.name))),
            ("{id_in_format}", in_format(&quoted(&self.id.name))),
            ("{table_in_format}", in_format(&self.table)),
            ("{id_type}", self.id_type().to_owned()),
            ("{table}", self.table.clone()),
            ("{fresh_id}", fresh_id),
            ("{offered_id}", offered_id),
            ("{shared_id}", self.shared_id_of_account().to_owned()),
            ("{is_users_address}", self.is_users_address()),
            ("{hints_in_users}", literal(&self.names(Place::Users, is_hint))),
            ("{hints_elsewhere}", literal(&self.names(Place::Accounts, is_hint))),
            ("{set_in_users}", literal(&self.names(Place::Users, is_settable))),
            ("{set_elsewhere}", literal(&self.names(Place::Accounts, is_settable))),
            ("{settable}", literal(&settable)),
            ("{supplied}", literal(&self.names(Place::Users, |column| self.layout.is_supplied(column)))),
            ("{ours}", literal(&self.not_theirs())),
            ("{verified}", literal(&verified)),
            ("{id_column}", self.id_of_account()),
            ("{needs_id_column}", self.needs_id_of_account().to_string()),
            ("{more_columns}", more),
            ("{more_values}", values),
            ("{over}", over.to_owned()),
            ("{keep}", keep),
            ("{keep_elsewhere}", keep_elsewhere),
            ("{account}", account),
        ];
        let filled =
            BODIES.map(|body| fill(body, &gaps)).map(|text| fill(&text, &[("{quote}", dollar_quote(&text))]));
        let revoked = ENSURE_FUNCTIONS
            .iter()
            .map(|name| format!("REVOKE ALL ON FUNCTION headcount.{name} FROM PUBLIC"));
        let revoked: Vec<String> = revoked.collect();
        format!("{BEFORE};\n{};\n{};\n{SAME_CALLERS}", filled.join(";\n"), revoked.join(";\n"))
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

    /// Whether that column may not be null.
    fn needs_id_of_account(&self) -> bool {
        let shows = |placed: &&Placed| matches!(placed.field, Field::Column(column) if self.layout.is_account_id(column));
        self.fields.iter().find(shows).is_some_and(|placed| placed.never_null)
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

    /// A new id, made with headcount's rights; and one that the caller makes, as a default of the application's may need
    /// its search path. One of the two is null.
    fn fresh_id(&self) -> (String, String) {
        let null = || format!("CAST(NULL AS {})", self.id_type());
        match &self.id.origin {
            // The time in the first six bytes, then the bits that say: version 7.
            IdOrigin::Ours | IdOrigin::Rowid { .. } => {
                let uuid = "CAST(encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) PLACING \
                            substring(int8send(CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS bigint)) FROM 3) \
                            FROM 1 FOR 6), 52, 1), 53, 1), 'hex') AS uuid)";
                let made = match self.id.kind {
                    IdKind::Uuid => uuid.to_owned(),
                    IdKind::Text | IdKind::Integer => format!("CAST({uuid} AS text)"),
                };
                (made, "NULL".to_owned())
            }
            IdOrigin::Sequence(next) if self.id.sequence.is_some() => {
                (format!("CAST({next} AS {})", self.id_type()), "NULL".to_owned())
            }
            IdOrigin::Sequence(next) | IdOrigin::Default(next) => (null(), next.clone()),
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
        let view = View { users: RowOf::Columns("u."), accounts: &own };
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

/// The text with its gaps filled; what a gap is filled with has none, whatever it looks like.
fn fill(text: &str, gaps: &[(&str, String)]) -> String {
    let (mut filled, mut rest) = (String::new(), text);
    while let Some(at) = rest.find('{') {
        filled.push_str(&rest[..at]);
        rest = &rest[at..];
        match gaps.iter().find(|(gap, _)| rest.starts_with(gap)) {
            Some((gap, with)) => {
                filled.push_str(with);
                rest = &rest[gap.len()..];
            }
            None => {
                filled.push('{');
                rest = &rest[1..];
            }
        }
    }
    filled + rest
}
