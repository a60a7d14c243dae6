//! What the database itself says of the application's table.

use super::config::AdoptedTable;
use crate::store::Store;
use crate::store::accounts::codec::column;
use crate::store::engine::dialect::Dialect;
use crate::store::engine::driver::{Access, Arg, Tx};
use crate::store::engine::error::StoreError;
use crate::store::engine::row::{Row, only};

/// A table as its database describes it.
#[derive(Clone, Debug, Default)]
pub(in crate::store) struct Catalog {
    pub kind: String,
    /// Whether its rows are hidden from us by row-level security.
    pub hides_rows: bool,
    /// The role that asks; empty on SQLite.
    pub role: String,
    pub may_select: bool,
    pub may_use_schema: bool,
    /// Ids are never given out twice (SQLite).
    pub autoincrement: bool,
    pub columns: Vec<CatalogColumn>,
}

#[derive(Clone, Debug, Default)]
pub(in crate::store) struct CatalogColumn {
    pub name: String,
    /// As the database writes it, with its length or precision.
    pub type_name: String,
    /// The type without length; of a domain, the one below it.
    pub base: String,
    pub is_enum: bool,
    pub nullable: bool,
    pub default: Option<String>,
    /// What the default comes to, where it is the same every time.
    pub constant: Option<String>,
    pub generated: bool,
    /// `a` for always, `d` for by default.
    pub identity: Option<String>,
    pub sequence: Option<String>,
    /// By itself, over all rows.
    pub unique: bool,
    /// Any unique index has it, alone or with others, as it is or in an expression.
    pub in_unique_index: bool,
    pub may_insert: bool,
    pub may_update: bool,
    pub may_use_sequence: bool,
}

impl Catalog {
    pub(super) fn column(&self, name: &str) -> Option<&CatalogColumn> {
        self.columns.iter().find(|column| column.name == name)
    }
}

const POSTGRES_TABLE: &str = "SELECT CAST(c.relkind AS text) AS kind, CAST(current_user AS text) AS role,
            CASE WHEN has_table_privilege(c.oid, 'SELECT') THEN '1' END AS may_select,
            CASE WHEN has_schema_privilege(n.oid, 'USAGE') THEN '1' END AS may_use_schema,
            CASE WHEN row_security_active(c.oid) AND (
                     EXISTS (SELECT 1 FROM pg_policy p WHERE p.polrelid = c.oid AND NOT p.polpermissive)
                     OR NOT EXISTS (SELECT 1 FROM pg_policy p WHERE p.polrelid = c.oid AND p.polpermissive
                         AND p.polcmd = '*' AND pg_get_expr(p.polqual, p.polrelid) = 'true'
                         AND coalesce(pg_get_expr(p.polwithcheck, p.polrelid), 'true') = 'true'
                         AND (0 = ANY (p.polroles) OR EXISTS (SELECT 1 FROM unnest(p.polroles) AS r(id)
                                 WHERE r.id <> 0 AND pg_has_role(current_user, r.id, 'MEMBER')))))
                 THEN '1' END AS hides_rows
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = $1 AND c.relname = $2";

const POSTGRES_COLUMNS: &str =
    "SELECT CAST(a.attname AS text) AS name, format_type(a.atttypid, a.atttypmod) AS type_name,
            CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, NULL) ELSE format_type(a.atttypid, NULL) END AS base,
            CASE WHEN t.typtype = 'e' THEN '1' END AS is_enum, CASE WHEN NOT a.attnotnull THEN '1' END AS nullable,
            pg_get_expr(d.adbin, d.adrelid) AS default_value, CASE WHEN a.attgenerated <> '' THEN '1' END AS generated,
            NULLIF(CAST(a.attidentity AS text), '') AS identity, s.name AS sequence,
            CASE WHEN EXISTS (SELECT 1 FROM pg_index x WHERE x.indrelid = c.oid AND x.indisunique AND x.indisvalid
                     AND x.indnkeyatts = 1 AND x.indkey[0] = a.attnum AND x.indpred IS NULL) THEN '1' END AS is_unique,
            CASE WHEN EXISTS (SELECT 1 FROM pg_index x JOIN pg_depend p ON p.classid = CAST('pg_class' AS regclass)
                     AND p.objid = x.indexrelid AND p.refclassid = CAST('pg_class' AS regclass)
                     AND p.refobjid = c.oid AND p.refobjsubid = a.attnum
                     WHERE x.indrelid = c.oid AND x.indisunique)
                   OR EXISTS (SELECT 1 FROM pg_index x WHERE x.indrelid = c.oid AND x.indisunique
                     AND a.attnum = ANY (x.indkey)) THEN '1' END AS in_unique_index,
            CASE WHEN has_column_privilege(c.oid, a.attnum, 'INSERT') THEN '1' END AS may_insert,
            CASE WHEN has_column_privilege(c.oid, a.attnum, 'UPDATE') THEN '1' END AS may_update,
            CASE WHEN s.name IS NOT NULL AND has_sequence_privilege(s.name, 'USAGE') THEN '1' END AS may_use_sequence
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     JOIN pg_attribute a ON a.attrelid = c.oid JOIN pg_type t ON t.oid = a.atttypid
     LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
     CROSS JOIN LATERAL (SELECT pg_get_serial_sequence(quote_ident(n.nspname) || '.' || quote_ident(c.relname),
                                                       CAST(a.attname AS text)) AS name) AS s
     WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";

impl Store {
    /// The table as it is; `None` where there is none of that name.
    pub(in crate::store) async fn catalog(
        &self,
        table: &AdoptedTable,
    ) -> Result<Option<Catalog>, StoreError> {
        let mut tx = self.begin(Access::Read).await?;
        match self.dialect() {
            Dialect::Postgres => postgres(&mut *tx, table).await,
            Dialect::Sqlite => sqlite(&mut *tx, table).await,
        }
    }

    /// The names of all tables and views, as they are written in the configuration.
    pub(in crate::store) async fn table_names(&self) -> Result<Vec<String>, StoreError> {
        let sql = match self.dialect() {
            Dialect::Postgres => {
                "SELECT n.nspname || '.' || c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
                   AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'headcount', 'pg_toast')"
            }
            Dialect::Sqlite => {
                "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')
                 AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT LIKE 'headcount\\_%' ESCAPE '\\'"
            }
        };
        let rows = self.read(sql, vec![]).await?;
        column(rows, "the catalog", "name")
    }
}

async fn postgres(tx: &mut dyn Tx, table: &AdoptedTable) -> Result<Option<Catalog>, StoreError> {
    let args = || vec![Arg::text(&table.schema), Arg::text(&table.name)];
    let Some(row) = tx.fetch(POSTGRES_TABLE, args()).await?.into_iter().next() else { return Ok(None) };
    let mut row = row.of("pg_class");
    let mut catalog = Catalog {
        kind: row.text("kind")?,
        role: row.text("role")?,
        may_select: is_so(&mut row, "may_select")?,
        may_use_schema: is_so(&mut row, "may_use_schema")?,
        hides_rows: is_so(&mut row, "hides_rows")?,
        autoincrement: true,
        columns: Vec::new(),
    };
    for row in tx.fetch(POSTGRES_COLUMNS, args()).await? {
        let mut column = postgres_column(row)?;
        column.constant = constant(tx, &column).await?;
        catalog.columns.push(column);
    }
    Ok(Some(catalog))
}

fn postgres_column(row: Row) -> Result<CatalogColumn, StoreError> {
    let mut row = row.of("pg_attribute");
    let (name, type_name, base) = (row.text("name")?, row.text("type_name")?, row.text("base")?);
    let (is_enum, nullable) = (is_so(&mut row, "is_enum")?, is_so(&mut row, "nullable")?);
    let default = row.opt_text("default_value")?;
    let generated = is_so(&mut row, "generated")?;
    Ok(CatalogColumn {
        name,
        type_name,
        base,
        is_enum,
        nullable,
        // Of a generated column that is the expression.
        default: default.filter(|_| !generated),
        constant: None,
        generated,
        identity: row.opt_text("identity")?,
        sequence: row.opt_text("sequence")?,
        unique: is_so(&mut row, "is_unique")?,
        in_unique_index: is_so(&mut row, "in_unique_index")?,
        may_insert: is_so(&mut row, "may_insert")?,
        may_update: is_so(&mut row, "may_update")?,
        may_use_sequence: is_so(&mut row, "may_use_sequence")?,
    })
}

/// Whether the statement has answered `1` and not null.
fn is_so(row: &mut Row, column: &str) -> Result<bool, StoreError> {
    Ok(row.opt_text(column)?.is_some())
}

/// What a default that calls nothing comes to.
async fn constant(tx: &mut dyn Tx, column: &CatalogColumn) -> Result<Option<String>, StoreError> {
    let Some(default) = column.default.as_ref().filter(|default| !default.contains('(')) else {
        return Ok(None);
    };
    let rows = tx.fetch(&format!("SELECT CAST(({default}) AS text) AS value"), vec![]).await?;
    only(rows, "the catalog")?.opt_text("value")
}

async fn sqlite(tx: &mut dyn Tx, table: &AdoptedTable) -> Result<Option<Catalog>, StoreError> {
    let args = || vec![Arg::text(&table.name)];
    let found =
        tx.fetch("SELECT type, sql FROM sqlite_master WHERE name = $1 AND type IN ('table', 'view')", args());
    let Some(row) = found.await?.into_iter().next() else { return Ok(None) };
    let mut row = row.of("sqlite_master");
    let (kind, sql) = (row.text("type")?, row.text("sql")?.to_ascii_uppercase());
    let kind = if sql.starts_with("CREATE VIRTUAL") { "virtual".to_owned() } else { kind };
    let mut catalog = Catalog {
        kind,
        may_select: true,
        may_use_schema: true,
        autoincrement: sql.contains("AUTOINCREMENT"),
        ..Catalog::default()
    };
    // A key of one column is unique; so is a column with a unique index of its own over all rows.
    let columns =
        "SELECT x.name, x.type, CASE WHEN x.\"notnull\" = 0 AND x.pk = 0 THEN '1' END AS nullable, x.dflt_value,
            CASE WHEN x.hidden IN (2, 3) THEN '1' END AS generated,
            CASE WHEN (x.pk = 1 AND (SELECT count(*) FROM pragma_table_xinfo($1) k WHERE k.pk > 0) = 1)
                   OR EXISTS (SELECT 1 FROM pragma_index_list($1) i WHERE i.\"unique\" = 1 AND i.partial = 0
                       AND (SELECT count(*) FROM pragma_index_info(i.name)) = 1
                       AND (SELECT name FROM pragma_index_info(i.name)) = x.name) THEN '1' END AS is_unique,
            CASE WHEN x.pk > 0 OR EXISTS (SELECT 1 FROM pragma_index_list($1) i WHERE i.\"unique\" = 1
                       AND (EXISTS (SELECT 1 FROM pragma_index_info(i.name) c WHERE c.name = x.name)
                         OR EXISTS (SELECT 1 FROM sqlite_master m WHERE m.name = i.name
                             AND instr(lower(m.sql), lower(x.name)) > 0))) THEN '1' END AS in_unique_index
         FROM pragma_table_xinfo($1) x ORDER BY x.cid";
    for row in tx.fetch(columns, args()).await? {
        let mut row = row.of("pragma_table_xinfo");
        let (name, type_name) = (row.text("name")?, row.text("type")?);
        let mut column = CatalogColumn {
            name,
            base: type_name.to_ascii_uppercase(),
            type_name,
            nullable: is_so(&mut row, "nullable")?,
            default: row.opt_text("dflt_value")?,
            generated: is_so(&mut row, "generated")?,
            unique: is_so(&mut row, "is_unique")?,
            in_unique_index: is_so(&mut row, "in_unique_index")?,
            may_insert: true,
            may_update: true,
            may_use_sequence: true,
            ..CatalogColumn::default()
        };
        column.constant = constant(tx, &column).await?;
        catalog.columns.push(column);
    }
    Ok(Some(catalog))
}
