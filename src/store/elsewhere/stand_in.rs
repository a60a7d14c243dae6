//! A users table as Better Auth makes it, in a SQLite file of its own: for the story that `demo --move` tells.

use crate::store::engine::dialect::Dialect;
use crate::store::engine::driver::{Access, Arg, Driver, Values};
use crate::store::engine::error::StoreError;
use crate::store::engine::sqlite::SqliteDriver;
use std::path::Path;

/// As the library's own migration has it, with the plugins `admin` and `username`.
const TABLE: &str = r#"
CREATE TABLE "user" (
    "id" text NOT NULL PRIMARY KEY, "name" text NOT NULL, "email" text NOT NULL UNIQUE, "emailVerified" integer NOT NULL,
    "image" text, "createdAt" date NOT NULL, "updatedAt" date NOT NULL, "username" text UNIQUE, "displayUsername" text,
    "role" text, "banned" integer, "banReason" text, "banExpires" date
);
"#;

/// The stand-in's table.
pub struct StandInTable {
    driver: SqliteDriver,
}

/// A row of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandInPerson {
    pub id: String,
    pub name: String,
    pub email: String,
    pub is_verified: bool,
    pub username: Option<String>,
}

impl StandInTable {
    /// Makes the file and the table.
    pub async fn create(path: &Path) -> Result<Self, StoreError> {
        let driver = SqliteDriver::open(path).await?;
        let mut tx = driver.begin(Access::Write).await?;
        tx.script(TABLE).await?;
        tx.commit().await?;
        Ok(Self { driver })
    }

    /// Inserts or changes these rows, in one transaction. `at` is RFC 3339 in UTC with milliseconds.
    pub async fn put(&self, people: &[StandInPerson], at: &str) -> Result<(), StoreError> {
        let sql = format!(
            r#"INSERT INTO "user" ("id", "name", "email", "emailVerified", "username", "createdAt", "updatedAt", "banned")
               SELECT v.c1, v.c2, v.c3, CAST(v.c4 AS integer), v.c5, $1, $1, 0 FROM {} WHERE true
               ON CONFLICT ("id") DO UPDATE SET "name" = excluded."name", "email" = excluded."email",
                   "emailVerified" = excluded."emailVerified", "username" = excluded."username",
                   "updatedAt" = excluded."updatedAt""#,
            Dialect::Sqlite.rows(2, 5)
        );
        let row = |person: &StandInPerson| -> Values {
            let verified = if person.is_verified { "1" } else { "0" };
            let texts = [&person.id, &person.name, &person.email].map(|text| Some(text.clone()));
            [texts.to_vec(), vec![Some(verified.to_owned()), person.username.clone()]].concat()
        };
        let mut tx = self.driver.begin(Access::Write).await?;
        tx.execute(&sql, vec![Arg::text(at), Arg::Rows(people.iter().map(row).collect())]).await?;
        tx.commit().await
    }
}
