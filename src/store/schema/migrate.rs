//! The tables: made, upgraded and checked.
//!
//! Our own bookkeeping rather than sqlx's: it runs behind a pooler (unnamed statements, one transaction, no advisory
//! lock), shows its plan, and covers the state trigger, which depends on configuration.

use crate::core::retry_policy::MIGRATION_BOOTSTRAP;
use crate::digest::hex;
use crate::store::Store;
use crate::store::accounts::codec::texts;
use crate::store::accounts::transaction::Reconciliation;
use crate::store::engine::dialect::{Dialect, quoted};
use crate::store::engine::driver::{Access, Arg, Tx};
use crate::store::engine::error::StoreError;
use crate::store::engine::row::Row;
use crate::store::inbox::deliveries::{first, number, take};
use crate::store::schema::lock_wait::LockWait;
use crate::store::schema::migrations::{MIGRATIONS, Migration};
use crate::store::users_table::columns::{FIRST_VERSION, MadeColumn, latest_version};
use sha2::{Digest, Sha256};

/// Something that is to be done, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub title: String,
    /// What runs, as it runs.
    pub sql: String,
}

/// What a migration did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migrated {
    pub steps: Vec<Step>,
    /// The fields that a complete account must have, as the database has them now.
    pub required_fields: Vec<String>,
}

pub(in crate::store) const REQUIRED_FIELDS: &str = "required_fields";
const USERS_MADE: &str = "users_table_made";
/// The application's own table, where headcount works on one.
const USERS_ADOPTED: &str = "users_table";
/// The schema version from which on it may be.
const ADOPTED_SINCE: i64 = 3;
pub(in crate::store) const REQUIRED_BY_DEFAULT: &str = "email";

impl Store {
    /// What [`Store::migrate`] would do now.
    pub async fn migration_plan(&self, required: Option<&[String]>) -> Result<Vec<Step>, StoreError> {
        let mut tx = self.begin(Access::Read).await?;
        if self.dialect() == Dialect::Postgres {
            // Another process may be at it: a table that it has made is looked at together with its word on that.
            tx.script("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ").await?;
        }
        let (steps, _) = self.steps(&mut *tx, required).await?;
        Ok(steps)
    }

    /// Creates or upgrades the tables. `required` sets the required fields; `None` leaves them as they are. Several
    /// processes may do this at once: one does it, the others find it done.
    pub async fn migrate(&self, required: Option<&[String]>) -> Result<Migrated, StoreError> {
        let mut lock_wait = LockWait::default();
        let steps = loop {
            match self.try_migrate(required).await {
                Err(StoreError::LockTimeout(reason)) => lock_wait.wait(reason).await?,
                tried => break tried?,
            }
        };
        self.correct_states().await?;
        Ok(Migrated { steps, required_fields: self.required_fields().await? })
    }

    async fn try_migrate(&self, required: Option<&[String]>) -> Result<Vec<Step>, StoreError> {
        let planned = self.migration_plan(required).await?;
        if planned.is_empty() {
            return Ok(planned);
        }
        self.bootstrap().await?;
        let mut tx = self.schema_change().await?;
        if self.dialect() == Dialect::Postgres {
            tx.script("LOCK TABLE headcount.migrations IN EXCLUSIVE MODE").await?;
        }
        let (steps, _) = self.steps(&mut *tx, required).await?;
        for step in &steps {
            tx.script(&step.sql).await?;
        }
        tx.commit().await?;
        Ok(steps)
    }

    /// For a process that must not change the schema: whether it can work on this one.
    pub async fn check_schema(&self) -> Result<(), StoreError> {
        let plan = self.migration_plan(None).await?;
        match plan.first() {
            None => Ok(()),
            Some(step) => Err(StoreError::Setup(format!(
                "the schema is not current ({}); run `headcount migrate` with a role that may change it",
                step.title
            ))),
        }
    }

    /// The fields that a complete account must have.
    pub async fn required_fields(&self) -> Result<Vec<String>, StoreError> {
        let mut tx = self.begin(Access::Read).await?;
        let stored = self.setting(&mut *tx, REQUIRED_FIELDS).await?;
        Ok(split(stored.as_deref().unwrap_or(REQUIRED_BY_DEFAULT)))
    }

    async fn bootstrap(&self) -> Result<(), StoreError> {
        let script = self.dialect().own(match self.dialect() {
            Dialect::Postgres => concat!(
                "CREATE SCHEMA IF NOT EXISTS headcount;\n",
                "CREATE TABLE IF NOT EXISTS headcount.migrations (version bigint PRIMARY KEY, name text NOT NULL,
                 checksum text NOT NULL, oldest_reader bigint NOT NULL, applied_at timestamptz NOT NULL)"
            ),
            Dialect::Sqlite => {
                "CREATE TABLE IF NOT EXISTS headcount.migrations (version integer PRIMARY KEY, name text NOT NULL,
                 checksum text NOT NULL, oldest_reader integer NOT NULL, applied_at text NOT NULL)"
            }
        });
        self.check_schema_owner().await?;
        let mut failures = 0;
        loop {
            let result = async {
                let mut tx = self.begin(Access::Write).await?;
                tx.script(&script).await?;
                tx.commit().await
            };
            match result.await {
                Err(error @ (StoreError::Rejected(_) | StoreError::Setup(_) | StoreError::Forbidden(_))) => {
                    failures += 1;
                    if MIGRATION_BOOTSTRAP.is_spent(failures) {
                        return Err(error);
                    }
                }
                result => return result,
            }
        }
    }

    /// A schema that somebody else has made, before anything of headcount's was in it: its owner could change everything.
    async fn check_schema_owner(&self) -> Result<(), StoreError> {
        if self.dialect() != Dialect::Postgres {
            return Ok(());
        }
        let sql = "WITH RECURSIVE mine(id) AS (
                 SELECT oid FROM pg_roles WHERE rolname = current_user
                 UNION SELECT m.roleid FROM pg_auth_members m JOIN mine ON m.member = mine.id)
             SELECT CAST(r.rolname AS text), CAST(current_user AS text)
             FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner
             WHERE n.nspname = 'headcount' AND n.nspowner NOT IN (SELECT id FROM mine)
               AND to_regclass('headcount.migrations') IS NULL";
        match first(self.read(sql, vec![]).await?) {
            [Some(owner), Some(role)] => Err(StoreError::Setup(format!(
                "schema headcount belongs to role {owner}, which could change everything in it; \
                 drop it, or ALTER SCHEMA headcount OWNER TO {}",
                quoted(&role)
            ))),
            [..] => Ok(()),
        }
    }

    async fn steps(
        &self,
        tx: &mut dyn Tx,
        required: Option<&[String]>,
    ) -> Result<(Vec<Step>, Vec<String>), StoreError> {
        let applied = self.applied(tx).await?;
        check_history(&applied)?;
        let mut steps = Vec::new();
        if applied.iter().any(|(version, ..)| *version > LATEST) {
            // A newer headcount keeps this schema, its trigger and its required fields; two would undo each other.
            let fields = self.setting(tx, REQUIRED_FIELDS).await?;
            return Ok((steps, split(fields.as_deref().unwrap_or(REQUIRED_BY_DEFAULT))));
        }
        for migration in &MIGRATIONS {
            if !applied.iter().any(|(version, ..)| *version == migration.version) {
                steps.push(self.numbered_step(migration));
            }
        }
        let stored = match applied.is_empty() {
            true => None,
            false => self.setting(tx, REQUIRED_FIELDS).await?,
        };
        let fields = match required {
            Some(fields) => fields.to_vec(),
            None => split(stored.as_deref().unwrap_or(REQUIRED_BY_DEFAULT)),
        };
        let (mut made, mut adopted) = (false, None);
        if !applied.is_empty() {
            made = self.setting(tx, USERS_MADE).await?.is_some();
            adopted = self.setting(tx, USERS_ADOPTED).await?;
        }
        self.check_same_table(made, adopted.as_deref())?;
        let exists = !tx.fetch(&self.users_table().exists(), vec![]).await?.is_empty();
        match self.users_table().is_adopted() {
            true => self.adopted_steps(adopted.is_some(), &mut steps),
            false => self.own_steps(tx, exists, made, &mut steps).await?,
        }
        self.state_steps(tx, exists, &fields, &mut steps).await?;
        self.offered_step(tx, !applied.is_empty(), &fields, &mut steps).await?;
        if stored.as_deref() != Some(&*fields.join(",")) {
            steps.push(Step {
                title: format!("{REQUIRED_STEP}: {}", fields.join(", ")),
                sql: self.set_setting(REQUIRED_FIELDS, &fields.join(",")),
            });
        }
        Ok((steps, fields))
    }

    fn numbered_step(&self, migration: &Migration) -> Step {
        let Migration { version, name, oldest_reader, .. } = migration;
        let sql = self.sql_of(migration);
        let record = self.dialect().own(&format!(
            "INSERT INTO headcount.migrations (version, name, checksum, oldest_reader, applied_at)
             VALUES ({version}, '{name}', '{}', {oldest_reader}, {})",
            checksum(sql),
            self.dialect().clock()
        ));
        Step { title: format!("migration {version:04} {name}"), sql: format!("{}\n{record}", sql.trim_end()) }
    }

    fn sql_of(&self, migration: &Migration) -> &'static str {
        match self.dialect() {
            Dialect::Postgres => migration.postgres,
            Dialect::Sqlite => migration.sqlite,
        }
    }

    /// Identities belong to rows of one table: another one needs another database, or a new beginning.
    fn check_same_table(&self, made: bool, adopted: Option<&str>) -> Result<(), StoreError> {
        let users = self.users_table();
        let found = match (made, adopted) {
            (true, _) => Some("the `users` table that headcount made".to_owned()),
            (false, Some(table)) => Some(format!("table {table}")),
            (false, None) => None,
        };
        let same = match adopted {
            Some(table) => users.is_adopted() && users.display() == table,
            None => !made || !users.is_adopted(),
        };
        match found.filter(|_| !same) {
            None => Ok(()),
            Some(found) => Err(StoreError::Setup(format!(
                "headcount's tables here belong to {found}, and `[users]` in headcount.toml says otherwise; put it back, or \
                 `headcount migrate --uninstall` first"
            ))),
        }
    }

    fn adopted_steps(&self, known: bool, steps: &mut Vec<Step>) {
        if !known {
            let table = self.users_table().display();
            let title = format!("your table {table} is the users table");
            // A headcount that knows of no such table would look for its own.
            let oldest = self.dialect().own(&format!(
                "UPDATE headcount.migrations SET oldest_reader = {ADOPTED_SINCE} WHERE version = {ADOPTED_SINCE}"
            ));
            let sql = format!("{};\n{oldest}", self.set_setting(USERS_ADOPTED, &table));
            steps.push(Step { title, sql });
        }
    }

    async fn own_steps(
        &self,
        tx: &mut dyn Tx,
        exists: bool,
        made: bool,
        steps: &mut Vec<Step>,
    ) -> Result<(), StoreError> {
        let users = self.users_table();
        if exists && !made {
            return Err(StoreError::Setup(
                "there is a `users` table here that headcount did not make, and it will not touch it unless it is told to: \
                 `[users]` in headcount.toml with table = \"users\" puts it on that table (`headcount adopt --help`). Or give \
                 headcount a database of its own (HEADCOUNT_DATABASE_URL)"
                    .to_owned(),
            ));
        }
        if !exists {
            let sql = format!("{};\n{}", users.create(), self.set_setting(USERS_MADE, "yes"));
            steps.push(Step { title: "the users table".to_owned(), sql });
            return Ok(());
        }
        let columns: Vec<String> = texts(tx.fetch(&users.column_names(), vec![]).await?);
        for MadeColumn { name, definition, since } in users.made_columns() {
            if since > FIRST_VERSION && !columns.iter().any(|column| column == name) {
                let title = format!("column {name} of the users table");
                steps.push(Step { title, sql: users.add_column(&definition) });
            }
        }
        if let Some(lacks_room) = users.lacks_room()
            && !tx.fetch(&lacks_room, vec![]).await?.is_empty()
        {
            let title = "room for new versions of rows in the users table".to_owned();
            steps.push(Step { title, sql: users.make_room() });
        }
        Ok(())
    }

    /// `(version, checksum matches or version unknown, oldest reader)` of what was applied.
    async fn applied(&self, tx: &mut dyn Tx) -> Result<Vec<(i64, bool, i64)>, StoreError> {
        let there = match self.dialect() {
            Dialect::Postgres => "SELECT 'yes' WHERE to_regclass('headcount.migrations') IS NOT NULL",
            Dialect::Sqlite => "SELECT 'yes' FROM sqlite_master WHERE name = 'headcount_migrations'",
        };
        if tx.fetch(there, vec![]).await?.is_empty() {
            return Ok(Vec::new());
        }
        let sql = self.dialect().own(
            "SELECT CAST(version AS text), checksum, CAST(oldest_reader AS text) FROM headcount.migrations m ORDER BY m.version",
        );
        let rows = tx.fetch(&sql, vec![]).await?;
        Ok(rows.into_iter().map(|row| self.applied_row(row)).collect())
    }

    fn applied_row(&self, row: Row) -> (i64, bool, i64) {
        let [version, recorded, oldest_reader] = take(row);
        let version = number(version);
        let ours = MIGRATIONS.iter().find(|migration| migration.version == version);
        let same = ours.is_none_or(|migration| Some(checksum(self.sql_of(migration))) == recorded);
        (version, same, number(oldest_reader))
    }

    pub(in crate::store) async fn setting(
        &self,
        tx: &mut dyn Tx,
        key: &str,
    ) -> Result<Option<String>, StoreError> {
        let sql = self.dialect().own("SELECT value FROM headcount.settings WHERE key = $1");
        let rows = tx.fetch(&sql, vec![Arg::text(key)]).await?;
        let [value] = first(rows);
        Ok(value)
    }

    pub(in crate::store) fn set_setting(&self, key: &str, value: &str) -> String {
        self.dialect().own(&format!(
            "INSERT INTO headcount.settings (key, value) VALUES ('{key}', '{}')
             ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            value.replace('\'', "''")
        ))
    }
}

impl Reconciliation {
    /// The fields that a complete account must have.
    pub(in crate::store) async fn required_fields(&mut self) -> Result<Vec<String>, StoreError> {
        if let Some(required) = &self.required {
            return Ok(required.clone());
        }
        let sql = self.dialect.own("SELECT value FROM headcount.settings WHERE key = $1");
        let [stored] = first(self.tx.fetch(&sql, vec![Arg::text(REQUIRED_FIELDS)]).await?);
        let required = split(stored.as_deref().unwrap_or(REQUIRED_BY_DEFAULT));
        self.required = Some(required.clone());
        Ok(required)
    }
}

const REQUIRED_STEP: &str = "required fields";

/// The highest version that this headcount knows.
const LATEST: i64 = MIGRATIONS[MIGRATIONS.len() - 1].version;
// A column of the users table comes with a migration, so that a schema version says which columns there are.
const _: () = assert!(latest_version() <= LATEST, "a column of users is newer than the last migration");

fn check_history(applied: &[(i64, bool, i64)]) -> Result<(), StoreError> {
    for &(version, same, oldest_reader) in applied {
        if !same {
            return Err(StoreError::Setup(format!(
                "migration {version:04} was applied in another form than this headcount has; \
                 restore the binary that made this database, or the database from a backup"
            )));
        }
        if oldest_reader > LATEST {
            return Err(StoreError::Setup(format!(
                "this database was upgraded by a newer headcount (schema {version}), which this one (schema {LATEST}) \
                 cannot work with; use the newer one"
            )));
        }
    }
    Ok(())
}

pub(in crate::store) fn split(fields: &str) -> Vec<String> {
    fields.split(',').map(str::trim).filter(|field| !field.is_empty()).map(str::to_owned).collect()
}

pub(in crate::store) fn checksum(sql: &str) -> String {
    hex(Sha256::digest(sql.as_bytes()))
}
