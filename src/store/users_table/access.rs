//! Whether headcount's role may do on the users table what it has to, and sees all of its rows.

use super::UsersTable;
use super::catalog::{Catalog, CatalogColumn};
use crate::store::engine::dialect::quoted;

impl UsersTable {
    /// What the role lacks, each with what helps. A row that it cannot see would be taken for one that is not there.
    pub(in crate::store) fn access_problems(&self, catalog: &Catalog) -> Vec<String> {
        let (role, table, mut problems) = (&catalog.role, self.display(), Vec::new());
        if !catalog.may_use_schema {
            problems.push(format!(
                "role {role} may not use schema {0}; GRANT USAGE ON SCHEMA {1} TO {role}",
                self.schema,
                quoted(&self.schema)
            ));
        }
        if !catalog.may_select {
            problems
                .push(format!("role {role} may not read {table}; `headcount migrate --grants {role}` helps"));
        }
        if catalog.hides_rows {
            problems.push(format!(
                "row-level security hides rows of {table} from role {role}, and people would be taken for missing; \
                 ALTER ROLE {role} BYPASSRLS, or give it a policy FOR ALL USING (true) WITH CHECK (true)"
            ));
        }
        let (updated, inserted) = self.written_columns();
        let lacks = |may: fn(&CatalogColumn) -> bool, names: Vec<String>| -> Vec<String> {
            let found = names.iter().filter_map(|name| catalog.column(name));
            found.filter(|column| !may(column)).map(|column| column.name.clone()).collect()
        };
        let updates = lacks(|column| column.may_update, updated);
        let inserts = lacks(|column| column.may_insert, inserted);
        for (right, names) in [("update", updates), ("insert", inserts)] {
            if !names.is_empty() {
                problems.push(format!(
                    "role {role} may not {right} {} of {table}; `headcount migrate --grants {role}` prints what helps",
                    names.join(", ")
                ));
            }
        }
        problems
    }
}
