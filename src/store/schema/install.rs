//! The rights of a role that may not change the schema, and taking everything away again.

use crate::store::Store;
use crate::store::accounts::codec::texts;
use crate::store::engine::dialect::{Dialect, quoted};
use crate::store::engine::driver::{Access, Arg, Tx};
use crate::store::engine::error::StoreError;
use crate::store::schema::lock_wait::LockWait;
use crate::store::schema::migrate::Step;
use crate::store::users_table::offered::ENSURE_FUNCTIONS;
use crate::store::users_table::rights::Right;

/// What was granted on things of the application's (JSON: role and statement that takes it back).
const GRANTED: &str = "granted";
/// What stands beside the tables, and names them.
const VIEWS: [&str; 2] = ["inbox", "people"];

impl Store {
    /// What gives a role the least rights that `serve` needs under HEADCOUNT_MIGRATE=off: what it has already is left
    /// out, so that nothing is taken from it when headcount goes.
    pub async fn grants(&self, role: &str) -> Result<Vec<Step>, StoreError> {
        if self.dialect() == Dialect::Sqlite {
            return Err(StoreError::Setup(
                "SQLite knows no roles: who may write the file may do everything".to_owned(),
            ));
        }
        self.check_role(role).await?;
        let mut steps = vec![step(format!("GRANT USAGE ON SCHEMA headcount TO {}", quoted(role)))];
        for table in self.own_tables().await? {
            let rights = match table.as_str() {
                // Written by whoever migrates.
                "migrations" | "settings" => "SELECT",
                _ => "SELECT, INSERT, UPDATE, DELETE",
            };
            steps.push(step(format!("GRANT {rights} ON headcount.{} TO {}", quoted(&table), quoted(role))));
        }
        steps.push(step(format!("GRANT SELECT ON headcount.inbox TO {}", quoted(role))));
        steps.extend(self.lacking_rights(role, self.users_table().rights(role)).await?);
        Ok(steps)
    }

    async fn check_role(&self, role: &str) -> Result<(), StoreError> {
        let there = "SELECT CAST(rolname AS text) FROM pg_roles WHERE rolname = $1";
        match self.read(there, vec![Arg::text(role)]).await?.is_empty() {
            false => Ok(()),
            true => Err(StoreError::Setup(format!(
                "there is no role {role}; CREATE ROLE {} LOGIN PASSWORD '…' makes it, and then this command goes on",
                quoted(role)
            ))),
        }
    }

    /// Grants what the role lacks of these rights, and writes down how to take it back.
    async fn lacking_rights(&self, role: &str, rights: Vec<Right>) -> Result<Vec<Step>, StoreError> {
        let mut tx = self.begin(Access::Read).await?;
        let (mut steps, mut granted) = (Vec::new(), self.granted(&mut *tx).await?);
        for right in rights {
            let lacking: Vec<String> = texts(tx.fetch(&right.lacking, vec![]).await?);
            if !lacking.is_empty() {
                steps.push(step(right.grant(role, &lacking)));
                granted.push((role.to_owned(), right.revoke(role, &lacking)));
            }
        }
        let json = serde_json::json!(granted).to_string();
        steps.push(step(self.set_setting(GRANTED, &json)));
        Ok(steps)
    }

    /// What gives the application's own role what it may use of headcount's: the view of people, and the function that
    /// makes a user in its own transaction.
    pub async fn app_grants(&self, role: &str) -> Result<Vec<Step>, StoreError> {
        if self.dialect() == Dialect::Sqlite {
            return Err(StoreError::Setup(
                "SQLite knows no roles: who may read the file may read the view".to_owned(),
            ));
        }
        self.check_role(role).await?;
        let name = quoted(role);
        let mut steps = vec![
            step(format!("GRANT USAGE ON SCHEMA headcount TO {name}")),
            step(format!("GRANT SELECT ON headcount.people TO {name}")),
        ];
        for function in ENSURE_FUNCTIONS {
            steps.push(step(format!("GRANT EXECUTE ON FUNCTION headcount.{function} TO {name}")));
        }
        steps.extend(self.lacking_rights(role, self.users_table().app_rights(role)).await?);
        Ok(steps)
    }

    /// Takes headcount's triggers off the users table, for a migration of the application's that they stand in the way of
    /// (SQLite lets no column go that a trigger names). [`Store::migrate`] puts them back, and corrects the states.
    pub fn release_plan(&self) -> Vec<Step> {
        let title = "the account state trigger is off until the next `headcount migrate`".to_owned();
        vec![Step { title, sql: self.users_table().remove_state() }]
    }

    /// The statements that take everything of headcount's away, and leave the users table: in order.
    pub async fn uninstall_plan(&self) -> Result<Vec<Step>, StoreError> {
        let users = self.users_table();
        let tables = self.own_tables().await?;
        let mut steps = Vec::new();
        let mut tx = self.begin(Access::Read).await?;
        if !tx.fetch(&users.exists(), vec![]).await?.is_empty() {
            steps.push(Step { title: "the account state trigger".to_owned(), sql: users.remove_state() });
        }
        if tables.iter().any(|table| table == "settings") {
            for (role, revoke) in self.granted(&mut *tx).await? {
                let exists = "SELECT CAST(rolname AS text) FROM pg_roles WHERE rolname = $1";
                if !tx.fetch(exists, vec![Arg::text(&role)]).await?.is_empty() {
                    steps.push(Step { title: format!("a right of role {role}"), sql: revoke });
                }
            }
        }
        if !tables.is_empty() {
            let sql = match self.dialect() {
                Dialect::Postgres => "DROP SCHEMA headcount CASCADE".to_owned(),
                Dialect::Sqlite => {
                    let views = VIEWS.map(|view| format!("DROP VIEW IF EXISTS headcount_{view}"));
                    let drops = tables.iter().map(|table| format!("DROP TABLE headcount_{table}"));
                    views.into_iter().chain(drops).collect::<Vec<_>>().join(";\n")
                }
            };
            steps.push(Step { title: format!("headcount's tables: {}", tables.join(", ")), sql });
        }
        Ok(steps)
    }

    /// Roles, and the statements that take back what was granted to them on things of the application's.
    async fn granted(&self, tx: &mut dyn Tx) -> Result<Vec<(String, String)>, StoreError> {
        let granted = self.setting(tx, GRANTED).await?;
        Ok(granted.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default())
    }

    /// Runs the steps, all or none.
    pub async fn run_steps(&self, steps: &[Step]) -> Result<(), StoreError> {
        let mut lock_wait = LockWait::default();
        loop {
            match self.try_steps(steps).await {
                Err(StoreError::LockTimeout(reason)) => lock_wait.wait(reason).await?,
                tried => return tried,
            }
        }
    }

    async fn try_steps(&self, steps: &[Step]) -> Result<(), StoreError> {
        let mut tx = self.schema_change().await?;
        for step in steps {
            tx.script(&step.sql).await?;
        }
        tx.commit().await
    }

    /// The names of headcount's tables, without schema or prefix.
    pub async fn own_tables(&self) -> Result<Vec<String>, StoreError> {
        let sql = match self.dialect() {
            Dialect::Postgres => {
                "SELECT CAST(tablename AS text) FROM pg_tables WHERE schemaname = 'headcount' ORDER BY 1"
            }
            Dialect::Sqlite => {
                "SELECT substr(name, 11) FROM sqlite_master
                 WHERE type = 'table' AND name LIKE 'headcount\\_%' ESCAPE '\\' ORDER BY 1"
            }
        };
        Ok(texts(self.read(sql, vec![]).await?))
    }
}

fn step(sql: String) -> Step {
    Step { title: sql.clone(), sql }
}
