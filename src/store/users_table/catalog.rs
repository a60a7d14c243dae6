//! What the database itself says of the application's table.

use super::config::AdoptedTable;
use crate::store::Store;
use crate::store::accounts::codec::texts;
use crate::store::engine::dialect::Dialect;
use crate::store::engine::driver::{Access, Arg, Tx};
use crate::store::engine::error::StoreError;
use crate::store::engine::row::Row;
use crate::store::inbox::deliveries::take;

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
    pub unique: bool,
    pub may_insert: bool,
    pub may_update: bool,
    pub may_use_sequence: bool,
}

impl Catalog {
    pub(super) fn column(&self, name: &str) -> Option<&CatalogColumn> {
        self.columns.iter().find(|column| column.name == name)
    }
}

const POSTGRES_TABLE: &str = "SELECT CAST(c.relkind AS text), CAST(current_user AS text),
            CASE WHEN has_table_privilege(c.oid, 'SELECT') THEN '1' END,
            CASE WHEN has_schema_privilege(n.oid, 'USAGE') THEN '1' END,
            CASE WHEN row_security_active(c.oid) AND (
                     EXISTS (SELECT 1 FROM pg_policy p WHERE p.polrelid = c.oid AND NOT p.polpermissive)
                     OR NOT EXISTS (SELECT 1 FROM pg_policy p WHERE p.polrelid = c.oid AND p.polpermissive
                         AND p.polcmd = '*' AND pg_get_expr(p.polqual, p.polrelid) = 'true'
                         AND coalesce(pg_get_expr(p.polwithcheck, p.polrelid), 'true') = 'true'
                         AND (0 = ANY (p.polroles) OR EXISTS (SELECT 1 FROM unnest(p.polroles) AS r(id)
                                 WHERE r.id <> 0 AND pg_has_role(current_user, r.id, 'MEMBER')))))
                 THEN '1' END
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = $1 AND c.relname = $2";

const POSTGRES_COLUMNS: &str =
    "SELECT CAST(a.attname AS text), format_type(a.atttypid, a.atttypmod),
            CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, NULL) ELSE format_type(a.atttypid, NULL) END,
            CASE WHEN t.typtype = 'e' THEN '1' END, CASE WHEN NOT a.attnotnull THEN '1' END,
            pg_get_expr(d.adbin, d.adrelid), CASE WHEN a.attgenerated <> '' THEN '1' END,
            NULLIF(CAST(a.attidentity AS text), ''), s.name,
            CASE WHEN EXISTS (SELECT 1 FROM pg_index x WHERE x.indrelid = c.oid AND x.indisunique AND x.indisvalid
                     AND x.indnkeyatts = 1 AND x.indkey[0] = a.attnum AND x.indpred IS NULL) THEN '1' END,
            CASE WHEN has_column_privilege(c.oid, a.attnum, 'INSERT') THEN '1' END,
            CASE WHEN has_column_privilege(c.oid, a.attnum, 'UPDATE') THEN '1' END,
            CASE WHEN s.name IS NOT NULL AND has_sequence_privilege(s.name, 'USAGE') THEN '1' END
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
                "SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
                   AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'headcount', 'pg_toast')"
            }
            Dialect::Sqlite => {
                "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')
                 AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT LIKE 'headcount\\_%' ESCAPE '\\'"
            }
        };
        let rows = self.read(sql, vec![]).await?;
        Ok(texts(rows))
    }
}

async fn postgres(tx: &mut dyn Tx, table: &AdoptedTable) -> Result<Option<Catalog>, StoreError> {
    let args = || vec![Arg::text(&table.schema), Arg::text(&table.name)];
    let Some(row) = tx.fetch(POSTGRES_TABLE, args()).await?.into_iter().next() else { return Ok(None) };
    let [kind, role, may_select, may_use_schema, hides_rows] = take(row);
    let mut catalog = Catalog {
        kind: kind.unwrap_or_default(),
        role: role.unwrap_or_default(),
        may_select: may_select.is_some(),
        may_use_schema: may_use_schema.is_some(),
        hides_rows: hides_rows.is_some(),
        autoincrement: true,
        columns: Vec::new(),
    };
    for row in tx.fetch(POSTGRES_COLUMNS, args()).await? {
        let mut column = postgres_column(row);
        column.constant = constant(tx, &column).await?;
        catalog.columns.push(column);
    }
    Ok(Some(catalog))
}

fn postgres_column(row: Row) -> CatalogColumn {
    let [
        name,
        type_name,
        base,
        is_enum,
        nullable,
        default,
        generated,
        identity,
        sequence,
        unique,
        may_insert,
        may_update,
        may_use_sequence,
    ] = take(row);
    let generated = generated.is_some();
    CatalogColumn {
        name: name.unwrap_or_default(),
        type_name: type_name.unwrap_or_default(),
        base: base.unwrap_or_default(),
        is_enum: is_enum.is_some(),
        nullable: nullable.is_some(),
        default: default.filter(|_| !generated),
        constant: None,
        generated,
        identity,
        sequence,
        unique: unique.is_some(),
        may_insert: may_insert.is_some(),
        may_update: may_update.is_some(),
        may_use_sequence: may_use_sequence.is_some(),
    }
}

/// What a default that calls nothing comes to.
async fn constant(tx: &mut dyn Tx, column: &CatalogColumn) -> Result<Option<String>, StoreError> {
    let Some(default) = column.default.as_ref().filter(|default| !default.contains('(')) else {
        return Ok(None);
    };
    let rows = tx.fetch(&format!("SELECT CAST(({default}) AS text)"), vec![]).await?;
    Ok(rows.into_iter().next().and_then(|row| take::<1>(row)[0].clone()))
}

async fn sqlite(tx: &mut dyn Tx, table: &AdoptedTable) -> Result<Option<Catalog>, StoreError> {
    let args = || vec![Arg::text(&table.name)];
    let found =
        tx.fetch("SELECT type, sql FROM sqlite_master WHERE name = $1 AND type IN ('table', 'view')", args());
    let Some(row) = found.await?.into_iter().next() else { return Ok(None) };
    let [kind, sql] = take(row);
    let sql = sql.unwrap_or_default().to_ascii_uppercase();
    let kind = match sql.starts_with("CREATE VIRTUAL") {
        true => "virtual".to_owned(),
        false => kind.unwrap_or_default(),
    };
    let mut catalog = Catalog {
        kind,
        may_select: true,
        may_use_schema: true,
        autoincrement: sql.contains("AUTOINCREMENT"),
        ..Catalog::default()
    };
    // A key of one column is unique; so is a column with a unique index of its own over all rows.
    let columns =
        "SELECT x.name, x.type, CASE WHEN x.\"notnull\" = 0 AND x.pk = 0 THEN '1' END, x.dflt_value,
            CASE WHEN x.hidden IN (2, 3) THEN '1' END,
            CASE WHEN (x.pk = 1 AND (SELECT count(*) FROM pragma_table_xinfo($1) k WHERE k.pk > 0) = 1)
                   OR EXISTS (SELECT 1 FROM pragma_index_list($1) i WHERE i.\"unique\" = 1 AND i.partial = 0
                       AND (SELECT count(*) FROM pragma_index_info(i.name)) = 1
                       AND (SELECT name FROM pragma_index_info(i.name)) = x.name) THEN '1' END
         FROM pragma_table_xinfo($1) x ORDER BY x.cid";
    for row in tx.fetch(columns, args()).await? {
        let [name, type_name, nullable, default, generated, unique] = take(row);
        let type_name = type_name.unwrap_or_default();
        let mut column = CatalogColumn {
            name: name.unwrap_or_default(),
            base: type_name.to_ascii_uppercase(),
            type_name,
            nullable: nullable.is_some(),
            default,
            generated: generated.is_some(),
            unique: unique.is_some(),
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
