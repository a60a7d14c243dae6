//! Switches of authority from one source to another, and back: which is in force, how far each has come, and whose users it
//! rewrites.

use crate::core::event::IdentityKey;
use crate::core::switch::AuthoritySwitch;
use crate::core::timestamp::Timestamp;
use crate::core::words::{SwitchDirection, SwitchStatus};
use crate::store::Store;
use crate::store::accounts::codec::texts;
use crate::store::accounts::transaction::Reconciliation;
use crate::store::engine::driver::{Access, Arg};
use crate::store::engine::error::StoreError;
use crate::store::engine::row::{Row, only};

/// What a switch has done so far, in users.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SwitchCounts {
    pub seen: u64,
    pub updated: u64,
    /// Of those that were updated: some value is held back.
    pub partial: u64,
    pub refused: u64,
}

impl SwitchCounts {
    pub fn add(&mut self, more: Self) {
        self.seen += more.seen;
        self.updated += more.updated;
        self.partial += more.partial;
        self.refused += more.refused;
    }
}

/// A switch as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedSwitch {
    pub id: String,
    pub switch: AuthoritySwitch,
    pub status: SwitchStatus,
    /// The provider's id, at the new source, of the last account that was looked at; empty at the beginning.
    pub cursor: String,
    pub counts: SwitchCounts,
    pub started_at: Timestamp,
    pub finished_at: Option<Timestamp>,
}

impl Store {
    /// Puts the switch in force and records its beginning, in one transaction; others that are under way end as overtaken.
    pub async fn begin_switch(
        &self,
        id: &str,
        switch: &AuthoritySwitch,
        holder: &str,
    ) -> Result<(), StoreError> {
        let clock = self.dialect().clock();
        let in_force = self.dialect().own(
            "INSERT INTO headcount.sources (name, supersedes) VALUES ($1, $2)
             ON CONFLICT (name) DO UPDATE SET supersedes = excluded.supersedes",
        );
        let overtake = self.dialect().own(&format!(
            "UPDATE headcount.switches SET status = 'overtaken', finished_at = {clock}, cursor = ''
             WHERE status = 'running' AND ($1 = '' OR true)"
        ));
        let record = self.dialect().own(&format!(
            "INSERT INTO headcount.switches (id, from_source, to_source, direction, status, holder, started_at)
             VALUES ($1, $2, $3, $4, 'running', $5, {clock})"
        ));
        let superseded = switch.supersedes().map(str::to_owned);
        let mut tx = self.begin(Access::Write).await?;
        tx.execute(&in_force, vec![Arg::text(&switch.to), Arg::Text(superseded)]).await?;
        tx.execute(&overtake, vec![Arg::text(id)]).await?;
        let args = [id, &switch.from, &switch.to, switch.direction.name(), holder].map(Arg::text);
        tx.execute(&record, args.to_vec()).await?;
        tx.commit().await
    }

    /// Takes over the latest switch, where it is this one and was given up in the middle.
    pub async fn resume_switch(
        &self,
        switch: &AuthoritySwitch,
        holder: &str,
    ) -> Result<Option<RecordedSwitch>, StoreError> {
        let sql = self.dialect().own(
            "UPDATE headcount.switches SET holder = $4
             WHERE status = 'running' AND from_source = $1 AND to_source = $2 AND direction = $3",
        );
        let args = [&switch.from, &switch.to, switch.direction.name(), holder].map(Arg::text);
        match self.write(&sql, args.to_vec()).await? {
            0 => Ok(None),
            _ => Ok(self.switches(1).await?.pop()),
        }
    }

    /// The latest switches, the newest first.
    pub async fn switches(&self, limit: i64) -> Result<Vec<RecordedSwitch>, StoreError> {
        self.switches_where("true", limit).await
    }

    /// The switch that was given up in the middle, where there is one.
    pub async fn unfinished_switch(&self) -> Result<Option<RecordedSwitch>, StoreError> {
        let nobody_is_at_it = format!(
            "status = 'running' AND NOT EXISTS (
                 SELECT 1 FROM headcount.leases l WHERE l.holder = headcount.switches.holder AND l.until > {})",
            self.dialect().clock()
        );
        Ok(self.switches_where(&nobody_is_at_it, 1).await?.pop())
    }

    async fn switches_where(&self, condition: &str, limit: i64) -> Result<Vec<RecordedSwitch>, StoreError> {
        let count = |name: &str| format!("CAST({name} AS text) AS {name}");
        let at = |name: &str| format!("{} AS {name}", self.dialect().timestamp_text(name));
        let sql = self.dialect().own(&format!(
            "SELECT id, from_source, to_source, direction, status, cursor, {}, {}, {}, {}, {}, {}
             FROM headcount.switches WHERE {condition} ORDER BY headcount.switches.started_at DESC, id DESC LIMIT $1",
            count("seen"),
            count("updated"),
            count("partial"),
            count("refused"),
            at("started_at"),
            at("finished_at"),
        ));
        self.read(&sql, vec![Arg::Int(limit)]).await?.into_iter().map(recorded).collect()
    }

    /// Ends the switch, unless it is somebody else's by now.
    pub async fn end_switch(&self, id: &str, holder: &str, status: SwitchStatus) -> Result<(), StoreError> {
        let sql = self.dialect().own(&format!(
            "UPDATE headcount.switches SET status = $3, finished_at = {}, cursor = ''
             WHERE id = $1 AND holder = $2 AND status = 'running'",
            self.dialect().clock()
        ));
        self.write(&sql, [id, holder, status.name()].map(Arg::text).to_vec()).await?;
        Ok(())
    }

    /// Accounts at `to` whose users have one at `from` as well, after the id `after` in the database's order.
    pub async fn accounts_at_both(
        &self,
        from: &str,
        to: &str,
        after: &str,
        limit: i64,
    ) -> Result<Vec<IdentityKey>, StoreError> {
        let sql = self.dialect().own(&format!(
            "SELECT i.provider_id FROM headcount.identities i WHERE {} AND i.provider_id > $3
             ORDER BY i.provider_id LIMIT $4",
            self.is_at_both()
        ));
        let args = vec![Arg::text(from), Arg::text(to), Arg::text(after), Arg::Int(limit)];
        let ids: Vec<String> = texts(self.read(&sql, args).await?);
        let key = |provider_id| IdentityKey { source: to.to_owned(), provider_id };
        Ok(ids.into_iter().map(key).collect())
    }

    /// How many accounts at `to` there are whose users have one at `from` as well.
    pub async fn count_at_both(&self, from: &str, to: &str) -> Result<u64, StoreError> {
        let sql = self.dialect().own(&format!(
            "SELECT CAST(count(*) AS text) AS count FROM headcount.identities i WHERE {}",
            self.is_at_both()
        ));
        let rows = self.read(&sql, vec![Arg::text(from), Arg::text(to)]).await?;
        only(rows, "identities")?.count("count")
    }

    /// Whether account `i` is at source `$2`, and its user has an account at `$1`.
    fn is_at_both(&self) -> String {
        format!(
            "i.source = $2 AND EXISTS (
                 SELECT 1 FROM headcount.identities o WHERE o.user_id = i.user_id AND {} = $1)",
            self.dialect().source_beside_user("o.source")
        )
    }
}

impl Reconciliation {
    /// Writes down how far the switch has come, in the transaction of what it did. An error where it is somebody else's by
    /// now: then nothing of the transaction may be kept.
    pub async fn progress_switch(
        &mut self,
        id: &str,
        holder: &str,
        cursor: &str,
        counts: SwitchCounts,
    ) -> Result<(), StoreError> {
        let sql = self.dialect.own(
            "UPDATE headcount.switches SET cursor = $3, seen = $4, updated = $5, partial = $6, refused = $7
             WHERE id = $1 AND holder = $2 AND status = 'running'",
        );
        let numbers = [counts.seen, counts.updated, counts.partial, counts.refused];
        let texts = [id, holder, cursor].map(Arg::text).into_iter();
        let numbers = numbers.map(|count| Arg::Int(i64::try_from(count).unwrap_or(i64::MAX)));
        match self.tx.execute(&sql, texts.chain(numbers).collect()).await? {
            1 => Ok(()),
            _ => Err(StoreError::Lost(format!("switch {id} was taken over by another process"))),
        }
    }
}

fn recorded(row: Row) -> Result<RecordedSwitch, StoreError> {
    let mut row = row.of("switches");
    Ok(RecordedSwitch {
        id: row.text("id")?,
        switch: AuthoritySwitch {
            from: row.text("from_source")?,
            to: row.text("to_source")?,
            direction: row.word::<SwitchDirection>("direction")?,
        },
        status: row.word::<SwitchStatus>("status")?,
        cursor: row.text("cursor")?,
        counts: SwitchCounts {
            seen: row.count("seen")?,
            updated: row.count("updated")?,
            partial: row.count("partial")?,
            refused: row.count("refused")?,
        },
        started_at: row.time("started_at")?,
        finished_at: row.opt_time("finished_at")?,
    })
}
