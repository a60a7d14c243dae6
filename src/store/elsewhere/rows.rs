//! The statements: each row comes as one JSON object, in which a time is RFC 3339 or a number of milliseconds.

use super::catalog::{FoundColumn, FoundTable};
use crate::store::engine::dialect::{Dialect, literal, quoted};
use crate::store::engine::driver::Arg;

impl FoundTable {
    /// Compared and ordered by the column's own collation, so that its index serves both.
    pub(super) fn rows_after(&self, key: Option<&str>, limit: i64) -> (String, Vec<Arg>) {
        let mut args = vec![Arg::Int(limit)];
        let behind = key.map(|key| {
            args.push(Arg::text(key));
            format!("WHERE {} > {}", quoted(&self.key.column), self.as_key("$2"))
        });
        let sql = format!(
            "SELECT {} AS row FROM {} {} ORDER BY {} LIMIT $1",
            self.object(),
            self.name,
            behind.unwrap_or_default(),
            quoted(&self.key.column)
        );
        (sql, args)
    }

    pub(super) fn newest(&self, offset: i64, limit: i64) -> (String, Vec<Arg>) {
        let (version, key) = (quoted(&self.version.column), quoted(&self.key.column));
        let sql = format!(
            "SELECT {} AS row FROM {} ORDER BY {version} DESC, {key} DESC LIMIT $1 OFFSET $2",
            self.object(),
            self.name
        );
        (sql, vec![Arg::Int(limit), Arg::Int(offset)])
    }

    pub(super) fn row(&self, key: &str) -> (String, Vec<Arg>) {
        let (object, table, column) = (self.object(), &self.name, quoted(&self.key.column));
        let sql = format!("SELECT {object} AS row FROM {table} WHERE {column} = {}", self.as_key("$1"));
        (sql, vec![Arg::text(key)])
    }

    /// `keys` is a JSON array of texts. What cannot be a key of this type is nobody's.
    pub(super) fn rows_of(&self, keys: &str) -> (String, Vec<Arg>) {
        let (object, table, column) = (self.object(), &self.name, quoted(&self.key.column));
        let wanted = match (self.dialect, &*self.key.declared) {
            (Dialect::Postgres, declared) => {
                let value = match declared {
                    "uuid" => {
                        "CASE WHEN value ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN CAST(value AS uuid) END"
                    }
                    "smallint" | "integer" | "bigint" => {
                        "CASE WHEN value ~ '^-?[0-9]{1,18}$' THEN CAST(value AS bigint) END"
                    }
                    _ => "value",
                };
                format!(
                    "= ANY (ARRAY(SELECT {value} FROM json_array_elements_text(CAST($1 AS json)) AS k(value)))"
                )
            }
            (Dialect::Sqlite, declared) if declared.contains("int") => {
                "IN (SELECT CAST(value AS INTEGER) FROM json_each($1))".to_owned()
            }
            (Dialect::Sqlite, _) => "IN (SELECT value FROM json_each($1))".to_owned(),
        };
        let sql = format!(
            "SELECT CAST({column} AS text) AS key, {object} AS row FROM {table} WHERE {column} {wanted}"
        );
        (sql, vec![Arg::text(keys)])
    }

    /// How many keys there are in rows of this version or a later one, in milliseconds since 1970.
    pub(super) fn keys_since(&self, since_ms: i64) -> (String, Vec<Arg>) {
        let (key, version) = (quoted(&self.key.column), quoted(&self.version.column));
        let is_since = match (self.dialect, &*self.version.declared) {
            (Dialect::Postgres, "timestamp without time zone") => {
                format!("{version} >= to_timestamp($1 / 1000.0) AT TIME ZONE 'UTC'")
            }
            (Dialect::Postgres, _) => format!("{version} >= to_timestamp($1 / 1000.0)"),
            (Dialect::Sqlite, _) => format!(
                "CASE typeof({version}) WHEN 'integer' THEN {version} >= $1
                      ELSE {version} >= strftime('%Y-%m-%dT%H:%M:%fZ', $1 / 1000.0, 'unixepoch') END"
            ),
        };
        let table = &self.name;
        let sql =
            format!("SELECT CAST(count(DISTINCT {key}) AS text) AS count FROM {table} WHERE {is_since}");
        (sql, vec![Arg::Int(since_ms)])
    }

    /// Whether a row may have this key, by the type of its column.
    pub(super) fn may_have_key(&self, key: &str) -> bool {
        match &*self.key.declared {
            "uuid" => uuid::Uuid::try_parse(key).is_ok(),
            declared if declared.contains("int") || declared.contains("serial") => key.parse::<i64>().is_ok(),
            _ => true,
        }
    }

    pub(super) fn count(&self) -> (String, Vec<Arg>) {
        (format!("SELECT CAST(count(*) AS text) AS row FROM {}", self.name), Vec::new())
    }

    /// The parameter in the key's own type, so that its index is used.
    fn as_key(&self, parameter: &str) -> String {
        match (self.dialect, &*self.key.declared) {
            (Dialect::Postgres, "text" | "character varying" | "character") => parameter.to_owned(),
            (Dialect::Postgres, declared) => format!("CAST({parameter} AS {declared})"),
            (Dialect::Sqlite, declared) if declared.contains("int") => {
                format!("CAST({parameter} AS INTEGER)")
            }
            (Dialect::Sqlite, _) => parameter.to_owned(),
        }
    }

    /// The row as an object of its fields.
    fn object(&self) -> String {
        let cell = |column: &FoundColumn| format!("{}, {}", literal(&column.field), self.cell(column));
        let cells: Vec<String> = self.fields.iter().map(cell).collect();
        match self.dialect {
            Dialect::Postgres => format!("CAST(json_build_object({}) AS text)", cells.join(", ")),
            Dialect::Sqlite => format!("json_object({})", cells.join(", ")),
        }
    }

    fn cell(&self, column: &FoundColumn) -> String {
        let name = quoted(&column.column);
        const RFC_3339: &str = "'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'";
        match (self.dialect, &*column.declared) {
            _ if column.field == self.key.field => format!("CAST({name} AS text)"),
            (Dialect::Postgres, "timestamp with time zone") => {
                format!("to_char({name} AT TIME ZONE 'UTC', {RFC_3339})")
            }
            // What writes such a column writes UTC.
            (Dialect::Postgres, "timestamp without time zone") => format!("to_char({name}, {RFC_3339})"),
            _ => name,
        }
    }
}
