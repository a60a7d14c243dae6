//! What a database says of itself: every table, column, index, constraint, trigger, view and function of headcount's, with
//! rights, storage and settings.

use super::support::{Backend, Db};
use std::collections::BTreeSet;

/// Statements whose rows are the catalog of PostgreSQL; the first column says what a row is.
const POSTGRES: &[&str] = &[
    "SELECT 'relation', n.nspname || '.' || c.relname, CAST(c.relkind AS text), CAST(c.relpersistence AS text),
            CAST(c.reloptions AS text), CAST(c.relacl AS text), obj_description(c.oid, 'pg_class')
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname IN ('public', 'headcount')",
    "SELECT 'column', n.nspname || '.' || c.relname, a.attname,
            CAST(row_number() OVER (PARTITION BY c.oid ORDER BY a.attnum) AS text),
            format_type(a.atttypid, a.atttypmod), CAST(a.attnotnull AS text), CAST(a.attidentity AS text),
            CAST(a.attgenerated AS text), CAST(a.attstorage AS text), CAST(a.attcompression AS text),
            CAST(a.attstattarget AS text), CAST(a.attoptions AS text), CAST(a.attacl AS text),
            pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum)
     FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
          LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
     WHERE n.nspname IN ('public', 'headcount') AND a.attnum > 0 AND NOT a.attisdropped AND c.relkind <> 'i'",
    "SELECT 'index', pg_get_indexdef(i.indexrelid), CAST(i.indisvalid AS text)
     FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname IN ('public', 'headcount')",
    "SELECT 'constraint', CAST(k.conrelid AS regclass) || '', k.conname, pg_get_constraintdef(k.oid)
     FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace WHERE n.nspname IN ('public', 'headcount')",
    "SELECT 'trigger', pg_get_triggerdef(t.oid), CAST(t.tgenabled AS text)
     FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname IN ('public', 'headcount') AND NOT t.tgisinternal",
    "SELECT 'function', pg_get_functiondef(p.oid), CAST(p.proacl AS text)
     FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname IN ('public', 'headcount')",
    "SELECT 'view', schemaname || '.' || viewname, definition FROM pg_views
     WHERE schemaname IN ('public', 'headcount')",
    "SELECT 'sequence', schemaname || '.' || sequencename, CAST(data_type AS text), CAST(start_value AS text),
            CAST(increment_by AS text), CAST(cache_size AS text), CAST(cycle AS text)
     FROM pg_sequences WHERE schemaname IN ('public', 'headcount')",
    "SELECT 'statistics', pg_get_statisticsobjdef(s.oid) FROM pg_statistic_ext s
     JOIN pg_namespace n ON n.oid = s.stxnamespace WHERE n.nspname IN ('public', 'headcount')",
    "SELECT 'schema', nspname, CAST(nspacl AS text) FROM pg_namespace WHERE nspname = 'headcount'",
];

/// SQLite keeps the statements themselves. A column that was added later stands at the end of its table's.
const SQLITE: &[&str] = &[
    "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' AND sql IS NOT NULL",
];

/// What both keep in tables of their own: which migrations ran, and what depends on configuration.
const BOTH: &[&str] = &[
    "SELECT 'migration', CAST(version AS text), name, checksum, CAST(oldest_reader AS text) FROM headcount.migrations m",
    "SELECT 'setting', key, value FROM headcount.settings WHERE key <> 'erasure_key'",
    "SELECT 'setting', key, CAST(length(value) AS text) FROM headcount.settings WHERE key = 'erasure_key'",
    "SELECT 'counter', name FROM headcount.counters",
];

/// One text for each thing, without what only lays it out.
pub async fn catalog(db: &Db) -> BTreeSet<String> {
    let engine = if db.backend == Backend::Sqlite { SQLITE } else { POSTGRES };
    let mut things = BTreeSet::new();
    for sql in engine.iter().chain(BOTH) {
        for row in db.query(sql).await {
            let cells: Vec<String> = row
                .into_iter()
                .map(|cell| {
                    cell.map_or("NULL".to_owned(), |text| text.split_whitespace().collect::<String>())
                })
                .collect();
            things.insert(cells.join(" | "));
        }
    }
    things
}
