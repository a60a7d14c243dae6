//! What people and programs read of the whole: status, counts of what was refused.

use crate::store::Store;
use crate::store::engine::driver::Arg;
use crate::store::engine::error::StoreError;
use crate::store::engine::row::Row;
use crate::store::inbox::deliveries::{first, number, take};
use crate::store::report::addresses::AddressConflicts;
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatusReport {
    pub users: BTreeMap<String, u64>,
    pub missing: Vec<MissingField>,
    pub inbox: BTreeMap<String, u64>,
    /// When the longest waiting delivery that is due was received.
    pub oldest_pending: Option<String>,
    pub refusals: Vec<RefusalCount>,
    pub sources: Vec<SourceReport>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingField {
    pub field: String,
    pub users: u64,
    pub oldest_since: Option<String>,
}

/// Deliveries that were refused, since the tables were made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusalCount {
    pub source: String,
    pub reason: String,
    pub count: u64,
    pub last_at: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceReport {
    pub name: String,
    pub accounts: u64,
    pub last_delivery: Option<String>,
    /// When the longest waiting delivery of the source that is due was received.
    pub oldest_pending: Option<String>,
    /// Accounts that are to be read again.
    pub doubted: u64,
    pub address_conflicts: AddressConflicts,
}

impl Store {
    pub async fn status(&self, sources: &[String]) -> Result<StatusReport, StoreError> {
        let inbox = self
            .dialect()
            .own("SELECT status, CAST(count(*) AS text) FROM headcount.delivery_states GROUP BY status");
        let pending = self.dialect().own(&format!(
            "SELECT {} FROM headcount.inbox WHERE status = 'pending' AND next_attempt_at <= {}",
            self.dialect().timestamp_text("min(received_at)"),
            self.dialect().began()
        ));
        let [oldest_pending] = first(self.read(&pending, vec![]).await?);
        let mut reports = Vec::new();
        for source in sources {
            reports.push(self.source_report(source).await?);
        }
        Ok(StatusReport {
            users: self.counts(&self.users_table().count_states()).await?,
            missing: self.missing_fields().await?,
            inbox: self.counts(&inbox).await?,
            oldest_pending,
            refusals: self.refusals().await?,
            sources: reports,
        })
    }

    /// How many deliveries wait to be applied.
    pub async fn backlog(&self) -> Result<u64, StoreError> {
        let sql = self
            .dialect()
            .own("SELECT CAST(count(*) AS text) FROM headcount.delivery_states WHERE status = 'pending'");
        let [pending] = first(self.read(&sql, vec![]).await?);
        Ok(count(pending))
    }

    async fn missing_fields(&self) -> Result<Vec<MissingField>, StoreError> {
        let rows = self.read(&self.users_table().count_missing(), vec![]).await?;
        let field = |row| {
            let [field, users, oldest_since] = take(row);
            MissingField { field: field.unwrap_or_default(), users: count(users), oldest_since }
        };
        Ok(rows.into_iter().map(field).collect())
    }

    async fn source_report(&self, name: &str) -> Result<SourceReport, StoreError> {
        let accounts = self
            .dialect()
            .own("SELECT CAST(count(*) AS text) FROM headcount.identities WHERE source = $1 AND state <> 'deleted'");
        let last = self.dialect().own(&format!(
            "SELECT {} FROM headcount.deliveries WHERE source = $1 AND signature <> '' ORDER BY seq DESC LIMIT 1",
            self.dialect().timestamp_text("received_at")
        ));
        let [accounts] = first(self.read(&accounts, vec![Arg::text(name)]).await?);
        let [last_delivery] = first(self.read(&last, vec![Arg::text(name)]).await?);
        let pending = self.dialect().own(&format!(
            "SELECT {} FROM headcount.inbox
             WHERE status = 'pending' AND next_attempt_at <= {} AND source || '' = $1",
            self.dialect().timestamp_text("min(received_at)"),
            self.dialect().began()
        ));
        let [oldest_pending] = first(self.read(&pending, vec![Arg::text(name)]).await?);
        let doubted = self
            .dialect()
            .own("SELECT CAST(count(*) AS text) FROM headcount.confirmations WHERE source = $1");
        let [doubted] = first(self.read(&doubted, vec![Arg::text(name)]).await?);
        let address_conflicts = self.count_address_conflicts(name).await?;
        Ok(SourceReport {
            name: name.to_owned(),
            accounts: count(accounts),
            last_delivery,
            oldest_pending,
            doubted: count(doubted),
            address_conflicts,
        })
    }

    async fn refusals(&self) -> Result<Vec<RefusalCount>, StoreError> {
        let sql = self.dialect().own(&format!(
            "SELECT source, reason, CAST(count AS text), {} FROM headcount.refusals ORDER BY source, reason",
            self.dialect().timestamp_text("last_at")
        ));
        let refusal = |row| {
            let [source, reason, number, last_at] = take(row);
            RefusalCount {
                source: source.unwrap_or_default(),
                reason: reason.unwrap_or_default(),
                count: count(number),
                last_at,
            }
        };
        Ok(self.read(&sql, vec![]).await?.into_iter().map(refusal).collect())
    }

    /// Adds to the counts of refused deliveries: `(source, reason, count)`.
    pub async fn add_refusals(&self, refusals: &[(String, String, u64)]) -> Result<(), StoreError> {
        if refusals.is_empty() {
            return Ok(());
        }
        let sql = self.dialect().own(&format!(
            "INSERT INTO headcount.refusals (source, reason, count, last_at)
             SELECT v.c1, v.c2, CAST(v.c3 AS bigint), {clock} FROM {rows} WHERE true
             ON CONFLICT (source, reason) DO UPDATE
             SET count = headcount.refusals.count + excluded.count, last_at = excluded.last_at",
            clock = self.dialect().clock(),
            rows = self.dialect().rows(1, 3),
        ));
        let rows = refusals
            .iter()
            .map(|(source, reason, count)| {
                vec![Some(source.clone()), Some(reason.clone()), Some(count.to_string())]
            })
            .collect();
        self.write(&sql, vec![Arg::Rows(rows)]).await?;
        Ok(())
    }

    async fn counts(&self, sql: &str) -> Result<BTreeMap<String, u64>, StoreError> {
        let pair = |row: Row| {
            let [name, number] = take(row);
            (name.unwrap_or_default(), count(number))
        };
        Ok(self.read(sql, vec![]).await?.into_iter().map(pair).collect())
    }
}

fn count(cell: Option<String>) -> u64 {
    number(cell).try_into().unwrap_or(0)
}
