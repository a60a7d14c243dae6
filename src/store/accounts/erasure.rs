//! What is left of an account that was erased: a keyed hash, which says that it is gone and not whose it was.

use crate::core::event::IdentityKey;
use crate::digest::hex;
use crate::store::Store;
use crate::store::accounts::codec::{key_of, key_row};
use crate::store::accounts::transaction::Reconciliation;
use crate::store::engine::delivery::NewDelivery;
use crate::store::engine::driver::Values;
use crate::store::engine::driver::{Access, Arg};
use crate::store::engine::error::StoreError;
use crate::store::engine::row::{Row, only};
use crate::store::runs::postponed::Task;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::collections::HashSet;

/// The setting that holds the key; the database makes it, and nobody changes it.
pub(in crate::store) const ERASURE_KEY: &str = "erasure_key";
/// Before the hash, where the provider's id was.
pub(in crate::store) const ERASED: &str = "erased:";

/// An account whose time of keeping is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub key: IdentityKey,
    pub user_id: Option<String>,
}

/// Makes the hashes that stand for erased accounts.
pub(in crate::store) struct Eraser(String);

impl Eraser {
    /// HMAC-SHA256 of source and id, which `headcount.ensure` computes in the same way.
    pub(in crate::store) fn tombstone(&self, key: &IdentityKey) -> String {
        let digest = Hmac::<Sha256>::new_from_slice(self.0.as_bytes()).map(|mut mac| {
            mac.update(format!("{}\n{}", key.source, key.provider_id).as_bytes());
            mac.finalize().into_bytes()
        });
        // An HMAC takes a key of any length.
        let digest = digest.unwrap_or_default();
        let hex = hex(digest);
        format!("{ERASED}{hex}")
    }
}

impl Reconciliation {
    async fn eraser(&mut self) -> Result<Eraser, StoreError> {
        if let Some(key) = self.erasure_key.get() {
            return Ok(Eraser(key.clone()));
        }
        let sql = self.dialect.own("SELECT value FROM headcount.settings WHERE key = $1");
        let found = self.tx.fetch(&sql, vec![Arg::text(ERASURE_KEY)]).await?.into_iter().next();
        let lost = || StoreError::Setup("the key of erasures is gone from headcount's settings".to_owned());
        let key = found.ok_or_else(lost)?.of("settings").text("value")?;
        // Another one may have looked it up meanwhile, and found the same.
        let _ = self.erasure_key.set(key.clone());
        Ok(Eraser(key))
    }

    /// Those of the accounts that were erased.
    pub async fn find_erased(&mut self, keys: &[IdentityKey]) -> Result<HashSet<IdentityKey>, StoreError> {
        if keys.is_empty() {
            return Ok(HashSet::new());
        }
        let eraser = self.eraser().await?;
        let sql = self.dialect.own(&format!(
            "SELECT v.c1 AS source, v.c3 AS provider_id FROM {} JOIN headcount.identities i ON i.source = v.c1 AND i.provider_id = v.c2",
            self.dialect.rows(1, 3)
        ));
        let row = |key: &IdentityKey| {
            vec![Some(key.source.clone()), Some(eraser.tombstone(key)), Some(key.provider_id.clone())]
        };
        let rows = self.tx.fetch(&sql, vec![Arg::Rows(keys.iter().map(row).collect())]).await?;
        rows.into_iter().map(|row| key_of(&mut row.of("identities"))).collect()
    }

    /// Removes the user's row.
    pub async fn remove_user(&mut self, user_id: &str) -> Result<(), StoreError> {
        let remove = self.users.remove();
        let id = || vec![Arg::Rows(vec![vec![Some(user_id.to_owned())]])];
        self.tx.script("SAVEPOINT removal").await?;
        self.last_write = None;
        let removed = async {
            match self.tx.execute(&remove, id()).await? {
                1 => {}
                _ => {
                    return Err(StoreError::Rejected(
                        "a rule or a trigger of the table keeps the row".to_owned(),
                    ));
                }
            }
            self.check_now(None).await
        };
        match removed.await {
            Ok(()) => {
                let sql = self.dialect.own("DELETE FROM headcount.accounts WHERE user_id = $1");
                self.tx.execute(&sql, vec![Arg::text(user_id)]).await?;
                self.tx.script("RELEASE SAVEPOINT removal").await
            }
            // Where the right to remove rows is missing, the row can be emptied all the same.
            Err(error) => Err(self.refused("removal", error).await?),
        }
    }

    /// Puts hashes in the place of these accounts, and takes them out of everything that headcount keeps. The hashes
    /// stay with `user_id`, where its row stays.
    pub async fn bury(&mut self, keys: &[IdentityKey], user_id: Option<&str>) -> Result<(), StoreError> {
        let eraser = self.eraser().await?;
        let clock = self.dialect.clock();
        let rows = |keys: &[IdentityKey]| -> Vec<Values> {
            keys.iter().map(|key| [key_row(key), vec![Some(eraser.tombstone(key))]].concat()).collect()
        };
        if keys.is_empty() {
            return Ok(());
        }
        let statements = [
            format!(
                "INSERT INTO headcount.identities (source, provider_id, user_id, state, first_seen_at, deleted_at,
                     deleted_by, deletion_received_at, announced_at)
                 SELECT v.c1, v.c3, $1, 'deleted', {clock}, {clock}, 'erase', {clock}, {clock} FROM {} WHERE true
                 ON CONFLICT (source, provider_id) DO NOTHING",
                self.dialect.rows(2, 3)
            ),
            // What is in doubt, held or remembered of them.
            self.forget("identities"),
            self.forget("confirmations"),
            self.forget("held_deletes"),
            self.forget("held_creates"),
            self.forget("adoptions"),
            format!(
                "UPDATE headcount.runs SET cursor = NULL FROM {} WHERE ($1 = '' OR true) AND status <> 'running'
                   AND headcount.runs.source = v.c1 AND cursor LIKE '%' || v.c2 || '%'",
                self.dialect.rows(2, 3)
            ),
            format!(
                "UPDATE headcount.switches SET cursor = '' FROM {} WHERE ($1 = '' OR true)
                   AND headcount.switches.to_source = v.c1 AND cursor = v.c2",
                self.dialect.rows(2, 3)
            ),
            format!(
                "UPDATE headcount.runs SET error = replace(error, v.c2, v.c3) FROM {} WHERE ($1 = '' OR true)
                   AND headcount.runs.source = v.c1 AND error LIKE '%' || v.c2 || '%'",
                self.dialect.rows(2, 3)
            ),
        ];
        for sql in statements {
            let args = vec![Arg::Text(user_id.map(str::to_owned)), Arg::Rows(rows(keys))];
            self.tx.execute(&self.dialect.own(&sql), args).await?;
        }
        self.scrub_inbox(keys, &eraser).await
    }

    fn forget(&self, table: &str) -> String {
        format!(
            "DELETE FROM headcount.{table} WHERE ($1 = '' OR true)
               AND (source, provider_id) IN (SELECT v.c1, v.c2 FROM {})",
            self.dialect.rows(2, 3)
        )
    }

    /// Takes bodies and ids of these accounts' deliveries out of the inbox; message ids stay.
    pub async fn forget_deliveries(&mut self, keys: &[IdentityKey]) -> Result<(), StoreError> {
        if keys.is_empty() {
            return Ok(());
        }
        let eraser = self.eraser().await?;
        self.scrub_inbox(keys, &eraser).await
    }

    async fn scrub_inbox(&mut self, keys: &[IdentityKey], eraser: &Eraser) -> Result<(), StoreError> {
        // First what is known by the ids, then the ids.
        let states = format!(
            "UPDATE headcount.delivery_states SET finished_at = coalesce(finished_at, {}), next_attempt_at = NULL,
                 last_error = 'the account was erased', status = 'ignored'
             WHERE status IN ('pending', 'held', 'dead') AND seq IN (
                 SELECT d.seq FROM {} JOIN headcount.deliveries d ON d.provider_id = v.c2 AND d.source = v.c1)",
            self.dialect.clock(),
            self.dialect.rows(1, 3)
        );
        let deliveries = format!(
            "UPDATE headcount.deliveries SET body = NULL, provider_id = v.c3, signature = '' FROM {}
             WHERE headcount.deliveries.provider_id = v.c2 AND headcount.deliveries.source = v.c1",
            self.dialect.rows(1, 3)
        );
        let row = |key: &IdentityKey| [key_row(key), vec![Some(eraser.tombstone(key))]].concat();
        let rows: Vec<Values> = keys.iter().map(row).collect();
        for sql in [states, deliveries] {
            self.tx.execute(&self.dialect.own(&sql), vec![Arg::Rows(rows.clone())]).await?;
        }
        Ok(())
    }

    /// Takes what is held back of the user, and ids of its accounts out of the history, which goes on telling what
    /// changed and when.
    pub async fn forget_history(&mut self, user_id: &str, keys: &[IdentityKey]) -> Result<(), StoreError> {
        for table in ["held_values", "altered_values"] {
            let sql = self.dialect.own(&format!("DELETE FROM headcount.{table} WHERE user_id = $1"));
            self.tx.execute(&sql, vec![Arg::text(user_id)]).await?;
        }
        self.forget_reasons(user_id).await?;
        if keys.is_empty() {
            return Ok(());
        }
        let sql = self.dialect.own(&format!(
            "UPDATE headcount.changes SET cause = replace(cause, '\"' || v.c2 || '\"', '\"erased\"') FROM {}
             WHERE user_id = $1 AND cause LIKE '%' || v.c2 || '%'",
            self.dialect.rows(2, 2)
        ));
        let rows = keys.iter().map(key_row).collect();
        self.tx.execute(&sql, vec![Arg::text(user_id), Arg::Rows(rows)]).await?;
        Ok(())
    }
}

impl Reconciliation {
    /// Takes what people wrote about the user, such as why it was banned, out of the history.
    async fn forget_reasons(&mut self, user_id: &str) -> Result<(), StoreError> {
        let find = self.dialect.own(
            "SELECT CAST(seq AS text) AS seq, cause FROM headcount.changes
             WHERE user_id = $1 AND cause LIKE '%\"reason\":\"%'",
        );
        let mut rows: Vec<Values> = Vec::new();
        for row in self.tx.fetch(&find, vec![Arg::text(user_id)]).await? {
            let mut row = row.of("changes");
            let (seq, cause) = (row.text("seq")?, row.text("cause")?);
            let Ok(mut cause) = serde_json::from_str::<serde_json::Value>(&cause) else { continue };
            if let Some(reason) = cause.pointer_mut("/call/reason") {
                *reason = serde_json::Value::Null;
                rows.push(vec![Some(seq), Some(cause.to_string())]);
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
        let sql = self.dialect.own(&format!(
            "UPDATE headcount.changes SET cause = v.c2 FROM {} WHERE headcount.changes.seq = CAST(v.c1 AS bigint)",
            self.dialect.rows(1, 2)
        ));
        self.tx.execute(&sql, vec![Arg::Rows(rows)]).await?;
        Ok(())
    }

    /// Takes the bodies of dead letters of which nobody could tell whose they are, and that name one of these accounts or
    /// one of these words, out of the inbox.
    pub async fn forget_bodies_with(
        &mut self,
        keys: &[IdentityKey],
        words: &[String],
    ) -> Result<(), StoreError> {
        let ids = keys.iter().map(|key| (&key.source, &key.provider_id));
        let named = keys.iter().flat_map(|key| words.iter().map(move |word| (&key.source, word)));
        let rows: Vec<Values> = ids
            .chain(named)
            .filter(|(_, word)| word.chars().count() >= WORD_CHARS_MIN)
            .map(|(source, word)| vec![Some(source.clone()), Some(format!("%{}%", escaped(word)))])
            .collect();
        if rows.is_empty() {
            return Ok(());
        }
        let sql = self.dialect.own(&format!(
            "UPDATE headcount.deliveries SET body = NULL, signature = '' WHERE provider_id IS NULL AND body IS NOT NULL
               AND seq IN (SELECT s.seq FROM headcount.delivery_states s WHERE s.status = 'dead')
               AND EXISTS (SELECT 1 FROM {} WHERE headcount.deliveries.source = v.c1
                           AND headcount.deliveries.body LIKE v.c2 ESCAPE '!')",
            self.dialect.rows(1, 2)
        ));
        self.tx.execute(&sql, vec![Arg::Rows(rows)]).await?;
        Ok(())
    }
}

/// A shorter word than this is in bodies of all kinds of people.
const WORD_CHARS_MIN: usize = 4;

/// A word as a pattern of LIKE that means itself.
fn escaped(word: &str) -> String {
    word.replace('!', "!!").replace('%', "!%").replace('_', "!_")
}

impl Store {
    /// Accounts that ended more than `age_ms` ago by headcount's own clock, and are not erased yet: those that ended
    /// first. Of a user that has another account none is due.
    pub async fn ended_before(&self, age_ms: i64, limit: i64) -> Result<Vec<Ended>, StoreError> {
        let sql = self.dialect().own(&format!(
            "SELECT i.source, i.provider_id, i.user_id FROM headcount.identities i
             WHERE i.state = 'deleted' AND i.deleted_by <> 'erase' AND i.deletion_received_at < {}
               AND NOT EXISTS (SELECT 1 FROM headcount.identities o
                               WHERE o.user_id = i.user_id AND o.state <> 'deleted')
               AND {}
             ORDER BY i.deletion_received_at LIMIT $2",
            self.dialect().began_plus_ms("$1"),
            self.is_due(Task::Erase, "i"),
        ));
        let ended = |row: Row| {
            let mut row = row.of("identities");
            Ok(Ended { key: key_of(&mut row)?, user_id: row.opt_text("user_id")? })
        };
        let rows = self.read(&sql, vec![Arg::Int(-age_ms), Arg::Int(limit)]).await?;
        rows.into_iter().map(ended).collect()
    }

    /// Those of a page's users that cannot be understood, but for those that were erased: of them nothing is kept or told.
    pub async fn without_erased(&self, odd: Vec<NewDelivery>) -> Result<Vec<NewDelivery>, StoreError> {
        let key = |delivery: &NewDelivery| {
            Some(IdentityKey { source: delivery.source.clone(), provider_id: delivery.provider_id.clone()? })
        };
        let keys: Vec<IdentityKey> = odd.iter().filter_map(key).collect();
        if keys.is_empty() {
            return Ok(odd);
        }
        let erased = self.reconciliation().await?.find_erased(&keys).await?;
        let is_kept = |delivery: &NewDelivery| key(delivery).is_none_or(|key| !erased.contains(&key));
        Ok(odd.into_iter().filter(is_kept).collect())
    }

    /// Has the database's file forget what its rows have forgotten, as far as that is possible: on SQLite its log, on
    /// PostgreSQL nothing (that is VACUUM's and the backups' business).
    pub async fn scrub(&self) -> Result<(), StoreError> {
        self.driver.scrub().await
    }

    /// Entries of the feed that are older, a slice at a time: `false` where there are none left. The latest of each
    /// column of a user stays, as the word on where its value comes from.
    pub async fn prune_changes(&self, age_ms: i64) -> Result<bool, StoreError> {
        let dialect = self.dialect();
        let begin = dialect
            .own("SELECT CAST(value AS text) AS value FROM headcount.counters WHERE name = 'changes_pruned'");
        let end = dialect.own(&format!(
            "SELECT CAST(max(s.seq) AS text) AS seq FROM (
                 SELECT seq, changed_at FROM headcount.changes WHERE seq > $1 ORDER BY seq LIMIT 2000) AS s
             WHERE s.changed_at < {}",
            dialect.began_plus_ms("$2")
        ));
        let delete = dialect.own(&format!(
            "DELETE FROM headcount.changes WHERE seq > $1 AND seq <= $2 AND NOT EXISTS (
                 SELECT 1 FROM {} WHERE NOT EXISTS (
                     SELECT 1 FROM headcount.changes l WHERE l.user_id = headcount.changes.user_id
                       AND l.seq > headcount.changes.seq AND {}))",
            dialect.each("headcount.changes.changed", "e"),
            dialect.list_has("l.changed", "e.value"),
        ));
        let pruned = dialect.own("UPDATE headcount.counters SET value = $1 WHERE name = 'changes_pruned'");
        let mut tx = self.begin(Access::Write).await?;
        let after = only(tx.fetch(&begin, vec![]).await?, "counters")?.int("value")?;
        let slice = tx.fetch(&end, vec![Arg::Int(after), Arg::Int(-age_ms)]).await?;
        let Some(last) = only(slice, "changes")?.opt_int("seq")? else { return Ok(false) };
        tx.execute(&delete, vec![Arg::Int(after), Arg::Int(last)]).await?;
        tx.execute(&pruned, vec![Arg::Int(last)]).await?;
        tx.commit().await?;
        Ok(true)
    }
}
