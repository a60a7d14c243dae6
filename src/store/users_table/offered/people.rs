//! The view of people, for lists of other people.

use super::SHOWN;
use crate::store::engine::dialect::Dialect;
use crate::store::users_table::{UsersTable, dollar_quoted};

impl UsersTable {
    /// For lists of other people: whoever is deleted is there as such, without personal data.
    ///
    /// On PostgreSQL the view stands on a function, which the planner takes apart. The text of a function depends on no column, so the
    /// application's migrations may change any. And the caller's own rights and row-level security hold in it, so that
    /// everybody may call it.
    pub fn people(&self) -> String {
        match self.dialect {
            Dialect::Postgres => {
                "CREATE VIEW headcount.people AS\n    SELECT * FROM headcount.people_now()".to_owned()
            }
            Dialect::Sqlite => {
                self.dialect.own(&format!("CREATE VIEW headcount.people AS\n{}", self.select_people()))
            }
        }
    }

    fn select_people(&self) -> String {
        let state = self.computed("account_state");
        let shown = SHOWN.map(|column| {
            let value =
                self.fields.get(column.index()).map_or("NULL".to_owned(), |placed| match self.dialect {
                    Dialect::Postgres => format!("CAST({} AS text)", placed.sql()),
                    Dialect::Sqlite => placed.sql(),
                });
            format!("CASE WHEN coalesce({state}, '') <> 'deleted' THEN {value} END AS {}", column.name())
        });
        format!(
            "    SELECT {} AS id, {state} AS account_state, {}\n    FROM {} u{}",
            self.id_sql("u."),
            shown.join(", "),
            self.table,
            self.with_accounts("LEFT JOIN", &self.id_text("u."))
        )
    }

    /// The view, made anew where its columns have other types than before; whoever might read it still may.
    pub(super) fn people_anew(&self) -> String {
        let names = SHOWN.map(|column| format!("{} text", column.name())).join(", ");
        let function = format!(
            "CREATE OR REPLACE FUNCTION headcount.people_now() RETURNS TABLE (id {}, account_state text, {names})\n\
             LANGUAGE sql STABLE ROWS 10000 AS {}",
            self.id_type(),
            dollar_quoted(&format!("\n{}\n", self.select_people()))
        );
        let view = self.people();
        let script = format!(
            "\nDECLARE\n    readers text[] := ARRAY(SELECT DISTINCT\n            \
                 CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END\n        \
             FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a\n        \
             WHERE c.oid = to_regclass('headcount.people') AND a.privilege_type = 'SELECT');\n    reader text;\nBEGIN\n\
             BEGIN\n{function};\n{};\nEXCEPTION WHEN invalid_table_definition OR invalid_function_definition THEN\n\
             DROP VIEW IF EXISTS headcount.people;\nDROP FUNCTION IF EXISTS headcount.people_now();\n{function};\n{view};\nEND;\n\
             GRANT EXECUTE ON FUNCTION headcount.people_now() TO PUBLIC;\n\
             FOREACH reader IN ARRAY readers LOOP\n    \
                 EXECUTE 'GRANT SELECT ON headcount.people TO ' || reader;\nEND LOOP;\nEND\n",
            view.replace("CREATE VIEW", "CREATE OR REPLACE VIEW"),
        );
        format!("DO {}", dollar_quoted(&script))
    }
}
