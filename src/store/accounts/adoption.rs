//! What an adoption has done to rows, and undoing it.

use crate::core::columns::Columns;
use crate::core::event::IdentityKey;
use crate::core::known::User;
use crate::store::Store;
use crate::store::accounts::codec::{id_rows, key_row, user};
use crate::store::accounts::transaction::Reconciliation;
use crate::store::accounts::types::AccountWrite;
use crate::store::engine::driver::Values;
use crate::store::engine::driver::{Access, Arg};
use crate::store::engine::error::StoreError;
use crate::store::engine::row::{Row, only};
use std::collections::{BTreeMap, HashMap};

/// An account that an adoption has linked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adopted {
    pub key: IdentityKey,
    /// The columns that it has changed, and what they held.
    pub before: BTreeMap<String, Option<String>>,
}

/// By the row's id: the names of columns that repeat the state, and what they hold.
pub type Mirrored = HashMap<String, Vec<(&'static str, Option<String>)>>;

/// How an adoption is remembered of an identity, and what its changes say that they are by.
pub const ADOPTED: &str = "adopt";

/// The cause of an adoption's changes has this in it.
const BY_ADOPTION: &str = "%\"by\":\"adopt\"%";

impl Reconciliation {
    /// What the columns that repeat the state hold in these rows, by the row's id: name and value.
    pub async fn mirrored(&mut self, ids: &[String]) -> Result<Mirrored, StoreError> {
        let Some(sql) = self.users.mirrored().filter(|_| !ids.is_empty()) else { return Ok(Mirrored::new()) };
        let rows = id_rows(ids);
        let names = self.users.mirror_names();
        let mirrored = |row: Row| {
            let mut row = row.of("users");
            Ok((row.text("id")?, names.iter().copied().zip(row.rest()).collect()))
        };
        self.tx.fetch(&sql, vec![Arg::Rows(rows)]).await?.into_iter().map(mirrored).collect()
    }

    /// Writes down what linking has changed in these accounts' rows. `mirrored` is of before.
    pub async fn note_adopted(
        &mut self,
        writes: &[&AccountWrite],
        mirrored: &Mirrored,
    ) -> Result<(), StoreError> {
        let layout = self.users.layout();
        let mut rows: Vec<Values> = Vec::new();
        for write in writes {
            let (Some(before), Some(user)) = (&write.before, &write.user) else { continue };
            let changed =
                before.columns.differing(&user.columns).filter(|column| self.users.is_theirs(*column));
            let cells =
                changed.map(|column| (layout.name(column), before.columns.get(column).map(str::to_owned)));
            let mirrors = mirrored.get(&user.id).into_iter().flatten().cloned();
            let cells: BTreeMap<&str, Option<String>> = cells.chain(mirrors).collect();
            let mut row = key_row(&write.key);
            row.extend([Some(user.id.clone()), Some(serde_json::json!(cells).to_string())]);
            rows.push(row);
        }
        if rows.is_empty() {
            return Ok(());
        }
        let sql = self.dialect.own(&format!(
            "INSERT INTO headcount.adoptions (source, provider_id, user_id, before)
             SELECT v.c1, v.c2, v.c3, v.c4 FROM {} WHERE true ON CONFLICT DO NOTHING",
            self.dialect.rows(1, 4)
        ));
        self.tx.execute(&sql, vec![Arg::Rows(rows)]).await?;
        Ok(())
    }

    /// Unties these accounts from their rows, which are put back as the second of each pair has them.
    pub async fn untie(&mut self, keys: &[IdentityKey], rows: &[(User, User)]) -> Result<(), StoreError> {
        let users = self.users.clone();
        for (now, before) in rows {
            let before = users.row(before);
            let (in_users, _) = users.touched(&users.row(now), &before);
            if in_users != 0 {
                let row = users.part(&before, in_users);
                self.tx.execute(&users.update(in_users, &[]), vec![Arg::Rows(vec![row])]).await?;
            }
        }
        let ids = id_rows(rows.iter().map(|(now, _)| &now.id));
        for table in ["accounts", "held_values", "altered_values"] {
            let sql = self.dialect.own(&format!(
                "DELETE FROM headcount.{table} WHERE user_id IN (SELECT v.c1 FROM {})",
                self.dialect.rows(1, 1)
            ));
            if !ids.is_empty() {
                self.tx.execute(&sql, vec![Arg::Rows(ids.clone())]).await?;
            }
        }
        // Only now: while the state is kept somewhere it would be repeated at once.
        for ours in users.mirror_names() {
            let sql = self.dialect.own(&users.restore_mirror(ours));
            self.tx.execute(&sql, vec![Arg::Rows(keys.iter().map(key_row).collect())]).await?;
        }
        for table in ["adoptions", "identities"] {
            let sql = self.dialect.own(&format!(
                "DELETE FROM headcount.{table} WHERE (source, provider_id) IN (SELECT v.c1, v.c2 FROM {})",
                self.dialect.rows(1, 2)
            ));
            self.tx.execute(&sql, vec![Arg::Rows(keys.iter().map(key_row).collect())]).await?;
        }
        Ok(())
    }
}

impl Store {
    /// How many accounts of the source an adoption has linked, and how many of their users have changed since.
    pub async fn count_adopted(&self, source: &str) -> Result<(u64, u64), StoreError> {
        let sql = self.dialect().own(
            "SELECT CAST(count(*) AS text) AS adopted,
                    CAST(coalesce(sum(CASE WHEN EXISTS (SELECT 1 FROM headcount.changes c
                             WHERE c.user_id = i.user_id AND c.cause NOT LIKE $2) THEN 1 ELSE 0 END), 0) AS text) AS changed
             FROM headcount.identities i WHERE i.source = $1 AND i.linked_by = 'adopt'",
        );
        let args = vec![Arg::text(source), Arg::text(BY_ADOPTION)];
        let mut row = only(self.read(&sql, args).await?, "identities")?;
        Ok((row.count("adopted")?, row.count("changed")?))
    }

    /// Some accounts that an adoption has linked, with what it changed.
    pub async fn adopted(&self, source: &str, limit: i64) -> Result<Vec<Adopted>, StoreError> {
        let sql = self.dialect().own(
            "SELECT i.provider_id, a.before FROM headcount.identities i
             LEFT JOIN headcount.adoptions a ON a.source = i.source AND a.provider_id = i.provider_id
             WHERE i.source = $1 AND i.linked_by = 'adopt' ORDER BY i.provider_id LIMIT $2",
        );
        let adopted = |row: Row| {
            let mut row = row.of("adoptions");
            let key = IdentityKey { source: source.to_owned(), provider_id: row.text("provider_id")? };
            let before = row.parsed("before", |json| serde_json::from_str(json).ok())?;
            // Of an account whose row was as it should be nothing is written down.
            Ok(Adopted { key, before: before.unwrap_or_default() })
        };
        self.read(&sql, vec![Arg::text(source), Arg::Int(limit)]).await?.into_iter().map(adopted).collect()
    }

    /// The rows with these ids, as far as columns of ours show them; without locks.
    pub async fn rows(&self, ids: &[String]) -> Result<HashMap<String, Columns>, StoreError> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let users = self.users_table();
        let ids = id_rows(ids);
        let mut tx = self.begin(Access::Read).await?;
        let rows = tx.fetch(&users.load(), vec![Arg::Rows(ids)]).await?;
        let by_id = |user: User| (user.id, user.columns);
        rows.into_iter().map(|row| user(row, users).map(by_id)).collect()
    }
}
