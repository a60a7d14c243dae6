//! The one transaction in which anything reaches `users`: claim ([`crate::store::inbox::claim`]), lock, load, and later write
//! ([`super::writing`]), finish, commit.
//!
//! Whoever holds an account's row locks decides about it; what another process holds is passed over and stays
//! pending. There is no lease, so a process that dies leaves nothing behind but a rolled-back transaction.

use crate::core::event::IdentityKey;
use crate::core::known::User;
use crate::store::Store;
use crate::store::accounts::codec::{change_row, column, id_rows, key_of, key_row, user};
use crate::store::accounts::types::{Altered, CausedChange, StoredAccount};
use crate::store::engine::driver::Values;
use crate::store::engine::driver::{Access, Arg, Tx};
use crate::store::engine::error::StoreError;
use crate::store::engine::row::{Row, only};
use crate::store::inbox::claimed::Finished;
use crate::store::users_table::UsersTable;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, OnceLock};
use tracing::warn;

pub struct Reconciliation {
    pub(in crate::store) tx: Box<dyn Tx>,
    pub(in crate::store) users: Arc<UsersTable>,
    pub(in crate::store) dialect: crate::store::engine::dialect::Dialect,
    /// The fields that a complete account must have, once somebody needed them.
    pub(in crate::store) required: Option<Vec<String>>,
    /// Broken references that there were before, where each write looks for new ones itself.
    pub(in crate::store) broken_before: Option<u64>,
    /// What the database has changed of values that were sent to the users that this transaction holds.
    pub(in crate::store) altered: Altered,
    /// Whether something of the application's may change what is written, once somebody needed to know.
    pub(in crate::store) may_alter: Option<bool>,
    /// The statement that last wrote rows, and how many columns its parameter has.
    pub(in crate::store) last_write: Option<(String, usize)>,
    pub(in crate::store) erasure_key: Arc<OnceLock<String>>,
    /// Accounts that [`Self::lock`] was asked for and that were erased.
    erased: HashSet<IdentityKey>,
}

/// The application's own transaction may hold a name or an account for as long as it likes.
const LOCK_WAIT_MS: u32 = 2_000;

impl Store {
    pub async fn reconciliation(&self) -> Result<Reconciliation, StoreError> {
        self.reconciliation_within(LOCK_WAIT_MS).await
    }

    /// The same, waiting for nobody's lock longer than so many milliseconds.
    pub async fn reconciliation_within(&self, lock_wait_ms: u32) -> Result<Reconciliation, StoreError> {
        Ok(Reconciliation {
            tx: self.begin(Access::Decide { lock_wait_ms }).await?,
            users: self.users.clone(),
            dialect: self.dialect(),
            required: None,
            broken_before: None,
            altered: Altered::default(),
            may_alter: None,
            last_write: None,
            erasure_key: self.erasure_key.clone(),
            erased: HashSet::new(),
        })
    }
}

impl Reconciliation {
    /// Locks the accounts and loads what is stored of them; what somebody else holds is absent from the answer, and
    /// so is what was erased ([`Self::is_erased`]).
    pub async fn lock(
        &mut self,
        keys: &[IdentityKey],
    ) -> Result<BTreeMap<IdentityKey, StoredAccount>, StoreError> {
        if keys.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut locked = self.lock_identities(keys).await?;
        let absent = |locked: &BTreeMap<IdentityKey, StoredAccount>| -> Vec<IdentityKey> {
            keys.iter().filter(|key| !locked.contains_key(key)).cloned().collect()
        };
        // Unknown, or held by somebody else.
        let unknown = absent(&locked);
        if !unknown.is_empty() {
            locked.extend(self.insert_unknown(&unknown).await?);
            // Somebody was faster, and may be done with it by now.
            let others = absent(&locked);
            if !others.is_empty() {
                locked.extend(self.lock_identities(&others).await?);
            }
        }
        self.leave_out_erased(&mut locked).await?;
        let ids: Vec<String> = locked.values().filter_map(|account| account.user_id.clone()).collect();
        if ids.is_empty() {
            return Ok(locked);
        }
        let mut users = self.lock_users(&ids).await?;
        let mut elsewhere = HashSet::new();
        if users.len() < ids.len() {
            // Not among those that we hold but there: somebody else's. Not there: removed by the application.
            elsewhere = self.existing(&ids).await?;
        }
        self.load_held(&mut users).await?;
        let mut siblings = self.siblings(&locked).await?;
        locked.retain(|key, account| {
            let Some(id) = &account.user_id else { return true };
            account.siblings = siblings.remove(key).unwrap_or_default();
            // Of two accounts of one user both see its row.
            account.user = users.get(id).cloned();
            account.user.is_some() || !elsewhere.contains(id)
        });
        Ok(locked)
    }

    /// Whether a look at the account has found that it was erased: nothing is ever stored of it again.
    pub fn is_erased(&self, key: &IdentityKey) -> bool {
        self.erased.contains(key)
    }

    /// Only who has no snapshot can have been erased.
    async fn leave_out_erased(
        &mut self,
        locked: &mut BTreeMap<IdentityKey, StoredAccount>,
    ) -> Result<(), StoreError> {
        let unknown = |locked: &StoredAccount| locked.latest.is_none() && locked.deletion.is_none();
        let keys: Vec<IdentityKey> =
            locked.iter().filter(|(_, account)| unknown(account)).map(|(key, _)| key.clone()).collect();
        let erased = self.find_erased(&keys).await?;
        if erased.is_empty() {
            return Ok(());
        }
        locked.retain(|key, _| !erased.contains(key));
        self.delete_placeholders(&erased.iter().cloned().collect::<Vec<_>>()).await?;
        self.erased.extend(erased);
        Ok(())
    }

    /// Those of the users that nobody else holds, by id.
    pub(in crate::store) async fn lock_users(
        &mut self,
        ids: &[String],
    ) -> Result<HashMap<String, User>, StoreError> {
        let (mut ids, mut read) = (id_rows(ids), self.users.lock());
        if let Some(lock) = self.users.lock_first() {
            let locked = self.tx.fetch(&lock, vec![Arg::Rows(ids)]).await?;
            ids = id_rows(&column::<Vec<String>>(locked, "users", "id")?);
            read = self.users.load();
        }
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let rows = self.tx.fetch(&read, vec![Arg::Rows(ids)]).await?;
        let users = &self.users;
        let by_id = |user: User| (user.id.clone(), user);
        let mut found = rows.into_iter().map(|row| user(row, users).map(by_id)).collect::<Result<_, _>>()?;
        self.load_altered(&mut found).await?;
        Ok(found)
    }

    /// Those of the ids that have a row, whoever holds it.
    pub async fn existing(&mut self, ids: &[String]) -> Result<HashSet<String>, StoreError> {
        let rows = id_rows(ids);
        let there = self.tx.fetch(&self.users.existing(), vec![Arg::Rows(rows)]).await?;
        column(there, "users", "id")
    }

    /// So many new ids of users; none where they are ours to make. A dry run takes none from a sequence.
    pub async fn fresh_ids(&mut self, count: usize, dry: bool) -> Result<Vec<String>, StoreError> {
        let Some(sql) = self.users.fresh_ids(dry).filter(|_| count > 0) else { return Ok(Vec::new()) };
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let rows = self.tx.fetch(&sql, vec![Arg::Int(count)]).await?;
        column(rows, "users", "id")
    }

    /// Those that nobody has made before. In key order, so that two processes that meet wait for each other and never in
    /// a circle.
    async fn insert_unknown(
        &mut self,
        keys: &[IdentityKey],
    ) -> Result<Vec<(IdentityKey, StoredAccount)>, StoreError> {
        let of_source = |column: &str| {
            format!(
                "(SELECT {column} FROM headcount.sources s WHERE s.name = headcount.identities.source) AS {column}"
            )
        };
        let sql = self.dialect.own(&format!(
            "INSERT INTO headcount.identities (source, provider_id, state, first_seen_at)
             SELECT v.c1, v.c2, 'present', {} FROM {} WHERE true ORDER BY v.c1, v.c2
             ON CONFLICT (source, provider_id) DO NOTHING RETURNING source, provider_id, {}, {}",
            self.dialect.clock(),
            self.dialect.rows(1, 2),
            of_source("retired_at").replacen("retired_at", "CAST(retired_at AS text)", 1),
            of_source("supersedes"),
        ));
        let made = self.tx.fetch(&sql, vec![Arg::Rows(keys.iter().map(key_row).collect())]).await?;
        let placeholder = |row: Row| {
            let mut row = row.of("identities");
            let key = key_of(&mut row)?;
            let is_retired = row.opt_text("retired_at")?.is_some();
            Ok((key, StoredAccount::placeholder(is_retired, row.opt_text("supersedes")?)))
        };
        made.into_iter().map(placeholder).collect()
    }

    /// Keeps the source's row until the commit: whoever counts what others do to its accounts does so one after the other.
    pub async fn hold_source(&mut self, source: &str) -> Result<(), StoreError> {
        let make = self
            .dialect
            .own("INSERT INTO headcount.sources (name) VALUES ($1) ON CONFLICT (name) DO NOTHING");
        let hold = self.dialect.own("UPDATE headcount.sources SET name = name WHERE name = $1");
        for sql in [make, hold] {
            self.tx.execute(&sql, vec![Arg::text(source)]).await?;
        }
        Ok(())
    }

    /// How many users of the source a delivery has deleted within the last hour.
    pub async fn deleted_lately(&mut self, source: &str) -> Result<u64, StoreError> {
        let sql = self.dialect.own(&format!(
            "SELECT CAST(count(*) AS text) AS count FROM headcount.identities
             WHERE source = $1 AND event_deleted_at > {} AND user_id IS NOT NULL",
            self.dialect.began_plus_ms("$2")
        ));
        self.count(&sql, vec![Arg::text(source), Arg::Int(-3_600_000)]).await
    }

    /// How many accounts the source has that are not deleted.
    pub async fn accounts_of(&mut self, source: &str) -> Result<u64, StoreError> {
        let sql = self.dialect.own(
            "SELECT CAST(count(*) AS text) AS count FROM headcount.identities WHERE source = $1 AND state <> 'deleted'",
        );
        self.count(&sql, vec![Arg::text(source)]).await
    }

    /// The number in the column `count` of the only row.
    pub(in crate::store) async fn count(&mut self, sql: &str, args: Vec<Arg>) -> Result<u64, StoreError> {
        only(self.tx.fetch(sql, args).await?, "identities")?.count("count")
    }

    /// Records what became of claimed deliveries.
    pub async fn finish(&mut self, finished: &[Finished]) -> Result<(), StoreError> {
        if finished.is_empty() {
            return Ok(());
        }
        let sql = self.dialect.own(&format!(
            "UPDATE headcount.delivery_states SET status = v.c2, attempts = CAST(v.c3 AS integer),
                 next_attempt_at = CASE WHEN v.c2 = 'pending' THEN {} END, last_error = v.c5,
                 finished_at = CASE WHEN v.c2 <> 'pending' THEN {} END
             FROM {} WHERE headcount.delivery_states.seq = CAST(v.c1 AS bigint)",
            self.dialect.began_plus_ms("v.c4"),
            self.dialect.clock(),
            self.dialect.rows(1, 5)
        ));
        let rows = finished
            .iter()
            .map(|finished| {
                vec![
                    Some(finished.seq.to_string()),
                    Some(finished.status.to_owned()),
                    Some(finished.attempts.to_string()),
                    Some(finished.retry_in_ms.unwrap_or(0).to_string()),
                    finished.last_error.clone(),
                ]
            })
            .collect();
        self.tx.execute(&sql, vec![Arg::Rows(rows)]).await?;
        let ignored = finished.iter().filter(|finished| finished.status == "ignored");
        let ignored: Vec<Values> = ignored.map(|finished| vec![Some(finished.seq.to_string())]).collect();
        if ignored.is_empty() {
            return Ok(());
        }
        let sql = self.dialect.own(&format!(
            "UPDATE headcount.deliveries SET body = NULL FROM {} WHERE headcount.deliveries.seq = CAST(v.c1 AS bigint)",
            self.dialect.rows(1, 1)
        ));
        self.tx.execute(&sql, vec![Arg::Rows(ignored)]).await?;
        Ok(())
    }

    /// Commits what was decided, or rolls back and passes the error on: whoever tries again at once finds no lock of
    /// this transaction.
    pub async fn end<T>(self, decided: Result<(T, Vec<CausedChange>), StoreError>) -> Result<T, StoreError> {
        match decided {
            Ok((outcome, changes)) => self.commit(&changes).await.map(|()| outcome),
            Err(error) => {
                self.rollback().await;
                Err(error)
            }
        }
    }

    /// Returns once the locks are given back.
    pub async fn rollback(self) {
        if let Err(error) = self.tx.rollback().await {
            warn!("a transaction could not be rolled back, and its connection is given up: {error}");
        }
    }

    /// Appends to the feed, then commits. The counter's row lock is the last thing taken, so numbers become visible
    /// in their order and a reader that polls skips none.
    pub async fn commit(mut self, changes: &[CausedChange]) -> Result<(), StoreError> {
        if !changes.is_empty() {
            let count = Arg::Int(changes.len() as i64);
            let (take, with, given) = self.dialect.next_changes();
            if let Some(take) = take {
                self.tx.execute(&self.dialect.own(take), vec![count.clone()]).await?;
            }
            let sql = self.dialect.own(&format!(
                "{with} INSERT INTO headcount.changes (seq, user_id, kind, changed, cause, changed_at)
                 SELECT given.before + CAST(v.c1 AS bigint), v.c2, v.c3, {}, v.c5, {} FROM {given} CROSS JOIN {}
                 WHERE true",
                self.dialect.list_value("v.c4"),
                self.dialect.clock(),
                self.dialect.rows(2, 5)
            ));
            let rows = changes.iter().zip(1..).map(|(change, n)| change_row(change, n)).collect();
            self.tx.execute(&sql, vec![count, Arg::Rows(rows)]).await?;
        }
        self.tx.commit().await
    }
}
