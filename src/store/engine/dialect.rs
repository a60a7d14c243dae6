//! Where the two databases' SQL differs, as fragments. The only place that asks which one it is.

use crate::core::columns::ColumnType;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Postgres,
    Sqlite,
}

impl Dialect {
    pub fn name(self) -> &'static str {
        match self {
            Dialect::Postgres => "postgres",
            Dialect::Sqlite => "sqlite",
        }
    }

    /// Statements are written with PostgreSQL's schema; on SQLite it is a prefix.
    pub fn own(self, sql: &str) -> String {
        match self {
            Dialect::Postgres => sql.to_owned(),
            Dialect::Sqlite => sql.replace("headcount.", "headcount_"),
        }
    }

    /// The database's clock at this moment of the transaction.
    pub fn clock(self) -> &'static str {
        match self {
            Dialect::Postgres => "clock_timestamp()",
            Dialect::Sqlite => "strftime('%Y-%m-%dT%H:%M:%fZ','now')",
        }
    }

    /// The database's time when the transaction began: constant, so that an index can be used with it.
    pub fn began(self) -> &'static str {
        match self {
            Dialect::Postgres => "now()",
            Dialect::Sqlite => "strftime('%Y-%m-%dT%H:%M:%fZ','now')",
        }
    }

    /// `began` moved by the milliseconds in expression `ms`.
    pub fn began_plus_ms(self, ms: &str) -> String {
        match self {
            Dialect::Postgres => format!("now() + CAST({ms} AS bigint) * interval '1 millisecond'"),
            Dialect::Sqlite => {
                format!(
                    "strftime('%Y-%m-%dT%H:%M:%fZ','now', printf('%+.3f seconds', CAST({ms} AS bigint) / 1000.0))"
                )
            }
        }
    }

    /// The database's clock moved by the milliseconds in expression `ms`.
    pub fn clock_plus_ms(self, ms: &str) -> String {
        match self {
            Dialect::Postgres => {
                format!("clock_timestamp() + CAST({ms} AS bigint) * interval '1 millisecond'")
            }
            Dialect::Sqlite => self.began_plus_ms(ms),
        }
    }

    /// The database's clock in microseconds since 1970.
    pub fn clock_us(self) -> String {
        self.epoch_us(self.clock())
    }

    /// A timestamp in microseconds since 1970.
    pub fn epoch_us(self, timestamp: &str) -> String {
        match self {
            Dialect::Postgres => format!("CAST(extract(epoch FROM {timestamp}) * 1000000 AS bigint)"),
            Dialect::Sqlite => format!("CAST(unixepoch({timestamp}, 'subsec') * 1000000 AS integer)"),
        }
    }

    /// Expressions of text as one text: comparing many at once costs as much as comparing one.
    pub fn packed(self, cells: &[String]) -> String {
        let chr = match self {
            Dialect::Postgres => "chr",
            Dialect::Sqlite => "char",
        };
        let cells: Vec<String> =
            cells.iter().map(|cell| format!("coalesce({cell}, {chr}({}))", u32::from(PACKED_NULL))).collect();
        cells.join(&format!(" || {chr}({}) || ", u32::from(PACKED_BETWEEN)))
    }

    /// Names and declared types of a table's columns; nothing where there is no such table. The parameter is the table: quoted,
    /// with its schema, on PostgreSQL; its bare name on SQLite.
    pub fn columns_of_table(self) -> &'static str {
        match self {
            Dialect::Postgres => {
                "SELECT CAST(attname AS text) AS name, format_type(atttypid, NULL) AS declared FROM pg_attribute
                 WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped"
            }
            Dialect::Sqlite => "SELECT name, type AS declared FROM pragma_table_info($1)",
        }
    }

    /// Whether the server follows another one, and may lack what that one has; `None` where there is no such thing.
    pub fn is_standby(self) -> Option<&'static str> {
        match self {
            Dialect::Postgres => Some("SELECT CAST(pg_is_in_recovery() AS text) AS is_standby"),
            Dialect::Sqlite => None,
        }
    }

    /// A word that no other epoch has: of the feed, or of an outbox.
    pub fn fresh_epoch(self) -> &'static str {
        match self {
            Dialect::Postgres => "substr(replace(CAST(gen_random_uuid() AS text), '-', ''), 1, 16)",
            Dialect::Sqlite => "lower(hex(randomblob(8)))",
        }
    }

    /// A timestamp column as canonical text.
    pub fn timestamp_text(self, column: &str) -> String {
        match self {
            Dialect::Postgres => {
                format!("to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')")
            }
            Dialect::Sqlite => column.to_owned(),
        }
    }

    /// A column of any type as its canonical text.
    pub fn cell_text(self, column: &str, column_type: ColumnType) -> String {
        match (self, column_type) {
            (_, ColumnType::Text) => column.to_owned(),
            (_, ColumnType::Timestamp) => self.timestamp_text(column),
            (Dialect::Postgres, ColumnType::Bool) => format!("CAST({column} AS text)"),
            (_, ColumnType::Integer) => format!("CAST({column} AS text)"),
            (Dialect::Sqlite, ColumnType::Bool) => {
                format!("CASE {column} WHEN 1 THEN 'true' WHEN 0 THEN 'false' END")
            }
        }
    }

    /// The value that a canonical text stands for.
    pub fn cell_value(self, text: &str, column_type: ColumnType) -> String {
        match (self, column_type) {
            (_, ColumnType::Text) | (Dialect::Sqlite, ColumnType::Timestamp) => text.to_owned(),
            (Dialect::Postgres, ColumnType::Timestamp) => format!("CAST({text} AS timestamptz)"),
            (Dialect::Postgres, ColumnType::Bool) => format!("CAST({text} AS boolean)"),
            (Dialect::Sqlite, ColumnType::Bool) => format!("({text} = 'true')"),
            (_, ColumnType::Integer) => format!("CAST({text} AS bigint)"),
        }
    }

    pub fn timestamp_value(self, text: &str) -> String {
        self.cell_value(text, ColumnType::Timestamp)
    }

    /// A list of names from a JSON array.
    pub fn list_value(self, json: &str) -> String {
        match self {
            Dialect::Postgres => format!("ARRAY(SELECT json_array_elements_text(CAST({json} AS json)))"),
            Dialect::Sqlite => json.to_owned(),
        }
    }

    /// A list of names as a JSON array.
    pub fn list_text(self, column: &str) -> String {
        match self {
            Dialect::Postgres => format!("CAST(array_to_json({column}) AS text)"),
            Dialect::Sqlite => column.to_owned(),
        }
    }

    /// The names in a list, as a relation `name` with the column `value`.
    pub fn each(self, list: &str, name: &str) -> String {
        match self {
            Dialect::Postgres => format!("unnest({list}) AS {name}(value)"),
            Dialect::Sqlite => format!("json_each({list}) AS {name}"),
        }
    }

    /// Whether a list has this name.
    pub fn list_has(self, list: &str, name: &str) -> String {
        match self {
            Dialect::Postgres => format!("{name} = ANY ({list})"),
            Dialect::Sqlite => format!("EXISTS (SELECT 1 FROM json_each({list}) h WHERE h.value = {name})"),
        }
    }

    /// The rows of the last parameter, `$first`, as a relation `v` with text columns `c1` to `c{width}`.
    ///
    /// PostgreSQL gets an array a column, SQLite one JSON text.
    pub fn rows(self, first: usize, width: usize) -> String {
        let names: Vec<String> = (1..=width).map(|n| format!("c{n}")).collect();
        match self {
            Dialect::Postgres => {
                let arrays: Vec<String> =
                    (first..first + width).map(|n| format!("CAST(${n} AS text[])")).collect();
                format!("UNNEST({}) AS v({})", arrays.join(", "), names.join(", "))
            }
            Dialect::Sqlite => {
                let fields: Vec<String> =
                    names.iter().enumerate().map(|(n, name)| format!("value->>{n} AS {name}")).collect();
                format!("(SELECT {} FROM json_each(${first})) AS v", fields.join(", "))
            }
        }
    }

    /// Whether `value` is in the first column of the rows of parameter `$first`: no join, which could take another way
    /// into the table than its index.
    pub fn is_among(self, value: &str, first: usize) -> String {
        let rows = self.rows(first, 1);
        match self {
            Dialect::Postgres => format!("{value} = ANY (ARRAY(SELECT v.c1 FROM {rows}))"),
            Dialect::Sqlite => format!("{value} IN (SELECT v.c1 FROM {rows})"),
        }
    }

    /// `rows` with the rows of `table` (as `name`) whose `column` is `value` of each: by the column's index, even where
    /// PostgreSQL knows little of the table yet and would rather read all of it.
    pub fn each_row(self, rows: &str, table: &str, name: &str, column: &str, value: &str) -> String {
        match self {
            Dialect::Postgres => format!(
                "{rows} CROSS JOIN LATERAL (SELECT * FROM {table} x WHERE x.{column} = {value} OFFSET 0) AS {name}"
            ),
            Dialect::Sqlite => format!("{rows} JOIN {table} {name} ON {name}.{column} = {value}"),
        }
    }

    /// As [`Self::each_row`], keeping the rows that have none.
    pub fn each_row_or_none(self, rows: &str, table: &str, name: &str, column: &str, value: &str) -> String {
        match self {
            Dialect::Postgres => format!(
                "{rows} LEFT JOIN LATERAL (SELECT * FROM {table} x WHERE x.{column} = {value} OFFSET 0) AS {name} ON true"
            ),
            Dialect::Sqlite => format!("{rows} LEFT JOIN {table} {name} ON {name}.{column} = {value}"),
        }
    }

    /// The column `source` in a statement that goes by the user: SQLite would look through everybody at the source instead.
    pub fn source_beside_user(self, column: &str) -> String {
        match self {
            Dialect::Postgres => column.to_owned(),
            Dialect::Sqlite => format!("{column} || ''"),
        }
    }

    /// The column `source` in a statement that goes by the time of creation: as the index of those times has it.
    pub fn source_by_time(self, column: &str) -> String {
        match self {
            Dialect::Postgres => format!("{column} || ''"),
            Dialect::Sqlite => column.to_owned(),
        }
    }

    /// Takes the row locks of `table`, passing over what others hold. SQLite has one writer at a time anyway.
    ///
    /// Not `FOR UPDATE`: that would block the application's inserts of rows that refer to these.
    pub fn lock_rows_of(self, table: &str) -> String {
        match self {
            Dialect::Postgres => format!("FOR NO KEY UPDATE OF {table} SKIP LOCKED"),
            Dialect::Sqlite => String::new(),
        }
    }

    /// How the next `$1` numbers of the feed are taken: a statement before the one that uses them, how that one begins, and
    /// the relation in it that has the number before them as `before`. The counter stays locked until the commit.
    pub fn next_changes(self) -> (Option<&'static str>, &'static str, &'static str) {
        match self {
            Dialect::Postgres => (
                None,
                "WITH given AS (UPDATE headcount.counters SET value = value + $1 WHERE name = 'changes'
                                RETURNING value - $1 AS before)",
                "given",
            ),
            Dialect::Sqlite => (
                Some("UPDATE headcount.counters SET value = value + $1 WHERE name = 'changes'"),
                "",
                "(SELECT value - $1 AS before FROM headcount.counters WHERE name = 'changes') AS given",
            ),
        }
    }

    /// What makes deferred constraints speak up now and not at the commit.
    pub fn check_deferred(self) -> Option<&'static str> {
        match self {
            Dialect::Postgres => Some("SET CONSTRAINTS ALL IMMEDIATE"),
            Dialect::Sqlite => None,
        }
    }
}

const PACKED_NULL: char = '\u{1}';
pub(in crate::store) const PACKED_BETWEEN: char = '\u{1f}';

/// What [`Dialect::packed`] makes of these cells.
pub fn packed<'a>(cells: impl Iterator<Item = Option<&'a str>>) -> String {
    let mut text = String::with_capacity(128);
    for (n, cell) in cells.enumerate() {
        if n > 0 {
            text.push(PACKED_BETWEEN);
        }
        match cell {
            Some(cell) => text.push_str(cell),
            None => text.push(PACKED_NULL),
        }
    }
    text
}

/// A name from outside, as SQL.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
