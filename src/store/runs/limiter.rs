//! What all replicas share about asking a provider: the limiter's row, leases, and which instance a source is.

use crate::core::rate::Pace;
use crate::core::timestamp::Timestamp;
use crate::store::Store;
use crate::store::accounts::codec::instant;
use crate::store::accounts::transaction::Reconciliation;
use crate::store::engine::driver::{Access, Arg};
use crate::store::engine::error::StoreError;
use crate::store::inbox::deliveries::{first, number};

/// Leave to make requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// `count` requests, the first one after `wait_us` microseconds, the next ones an interval apart.
    Granted {
        wait_us: i64,
        count: i64,
        /// The database's time when it was given.
        now: Timestamp,
        /// Requests that have failed in a row so far.
        failures: i64,
    },
    /// Nobody may ask for so long.
    Blocked { for_ms: i64, reason: String },
}

/// What `status` shows of a source's limiter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimiterReport {
    pub blocked_until: Option<String>,
    pub blocked_reason: Option<String>,
    pub failures: i64,
}

impl Reconciliation {
    /// The database's time now.
    pub async fn now(&mut self) -> Result<Timestamp, StoreError> {
        let sql = format!("SELECT {}", self.dialect.timestamp_text(self.dialect.clock()));
        let [now] = first(self.tx.fetch(&sql, vec![]).await?);
        instant(now).ok_or_else(|| StoreError::Unavailable("the database does not tell the time".into()))
    }
}

impl Store {
    /// The database's time now.
    pub async fn now(&self) -> Result<Timestamp, StoreError> {
        self.reconciliation().await?.now().await
    }

    /// Takes up to `pace.grant` requests from the source's limiter (GCRA: one number, moved on in one statement).
    pub async fn grant(&self, source: &str, pace: Pace) -> Result<Grant, StoreError> {
        let dialect = self.dialect();
        let take = dialect.own(&format!(
            "UPDATE headcount.limiters
             SET next_us = CASE WHEN next_us > {us} - $3 THEN next_us ELSE {us} - $3 END + $2
             WHERE source = $1 AND (blocked_until IS NULL OR blocked_until <= {clock})
             RETURNING CAST(next_us - $2 - {us} AS text), {now}, CAST(failures AS text)",
            us = dialect.clock_us(),
            clock = dialect.clock(),
            now = dialect.timestamp_text(dialect.clock()),
        ));
        let args = vec![Arg::text(source), Arg::Int(pace.grant * pace.interval_us), Arg::Int(pace.slack_us)];
        let mut tx = self.begin(Access::Write).await?;
        let mut rows = tx.fetch(&take, args.clone()).await?;
        if rows.is_empty() {
            let make = dialect.own(
                "INSERT INTO headcount.limiters (source, next_us) VALUES ($1, 0) ON CONFLICT (source) DO NOTHING",
            );
            tx.execute(&make, vec![Arg::text(source)]).await?;
            rows = tx.fetch(&take, args).await?;
        }
        let granted = !rows.is_empty();
        let [wait_us, now, failures] = first(rows);
        if !granted {
            let blocked = dialect.own(&format!(
                "SELECT CAST({us} AS text), {until}, blocked_reason FROM headcount.limiters WHERE source = $1",
                us = dialect.clock_us(),
                until = dialect.timestamp_text("blocked_until"),
            ));
            let [now_us, until, reason] = first(tx.fetch(&blocked, vec![Arg::text(source)]).await?);
            let until_ms = instant(until).map_or(0, Timestamp::ms);
            let for_ms = (until_ms - number(now_us) / 1_000).max(1);
            return Ok(Grant::Blocked { for_ms, reason: reason.unwrap_or_default() });
        }
        tx.commit().await?;
        let now = instant(now).unwrap_or(Timestamp::clamped(0));
        Ok(Grant::Granted {
            wait_us: number(wait_us).max(0),
            count: pace.grant,
            now,
            failures: number(failures),
        })
    }

    /// Nobody asks the source for so long. A longer block that is there already stays.
    pub async fn block(&self, source: &str, for_ms: i64, reason: &str) -> Result<(), StoreError> {
        let until = self.dialect().clock_plus_ms("$2");
        let sql = self.dialect().own(&format!(
            "UPDATE headcount.limiters SET blocked_until = {until}, blocked_reason = $3
             WHERE source = $1 AND (blocked_until IS NULL OR blocked_until < {until})"
        ));
        self.write(&sql, vec![Arg::text(source), Arg::Int(for_ms), Arg::text(reason)]).await?;
        Ok(())
    }

    /// One more request failed in a row; how many it are now.
    pub async fn count_failure(&self, source: &str) -> Result<i64, StoreError> {
        let sql = self.dialect().own(
            "UPDATE headcount.limiters SET failures = failures + 1 WHERE source = $1 RETURNING CAST(failures AS text)",
        );
        let mut tx = self.begin(Access::Write).await?;
        let [failures] = first(tx.fetch(&sql, vec![Arg::text(source)]).await?);
        tx.commit().await?;
        Ok(number(failures))
    }

    /// The source answers again.
    pub async fn forget_failures(&self, source: &str) -> Result<(), StoreError> {
        let sql = self.dialect().own(
            "UPDATE headcount.limiters SET failures = 0, blocked_until = NULL, blocked_reason = NULL WHERE source = $1",
        );
        self.write(&sql, vec![Arg::text(source)]).await?;
        Ok(())
    }

    pub async fn limiter(&self, source: &str) -> Result<LimiterReport, StoreError> {
        let sql = self.dialect().own(&format!(
            "SELECT {}, blocked_reason, CAST(failures AS text) FROM headcount.limiters WHERE source = $1",
            self.dialect().timestamp_text(&format!(
                "CASE WHEN blocked_until > {} THEN blocked_until END",
                self.dialect().clock()
            ))
        ));
        let [blocked_until, reason, failures] = first(self.read(&sql, vec![Arg::text(source)]).await?);
        let blocked_reason = reason.filter(|_| blocked_until.is_some());
        Ok(LimiterReport { blocked_until, blocked_reason, failures: number(failures) })
    }

    // ---- leases ----

    /// Takes or renews the lease for `ttl_ms`. `None`: it is ours. `Some`: somebody else's for so many milliseconds.
    pub async fn lease(&self, name: &str, holder: &str, ttl_ms: i64) -> Result<Option<i64>, StoreError> {
        let dialect = self.dialect();
        let until = dialect.clock_plus_ms("$3");
        let take = dialect.own(&format!(
            "INSERT INTO headcount.leases (name, holder, until) VALUES ($1, $2, {until})
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
             WHERE headcount.leases.holder = excluded.holder OR headcount.leases.until <= {}
             RETURNING holder",
            dialect.clock()
        ));
        let mut tx = self.begin(Access::Write).await?;
        let taken = tx.fetch(&take, vec![Arg::text(name), Arg::text(holder), Arg::Int(ttl_ms)]).await?;
        tx.commit().await?;
        if !taken.is_empty() {
            return Ok(None);
        }
        let look = dialect.own(&format!(
            "SELECT {}, CAST({} AS text) FROM headcount.leases WHERE name = $1",
            dialect.timestamp_text("until"),
            dialect.clock_us()
        ));
        let [until, now_us] = first(self.read(&look, vec![Arg::text(name)]).await?);
        Ok(Some((instant(until).map_or(0, Timestamp::ms) - number(now_us) / 1_000).max(1)))
    }

    /// Gives the lease back, where it is still ours.
    pub async fn release(&self, name: &str, holder: &str) -> Result<(), StoreError> {
        let sql = self.dialect().own("DELETE FROM headcount.leases WHERE name = $1 AND holder = $2");
        self.write(&sql, vec![Arg::text(name), Arg::text(holder)]).await?;
        Ok(())
    }
}
