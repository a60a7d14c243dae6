//! What people and programs read: users, status, counts of what was refused.

use super::Store;
use super::driver::{Arg, Row};
use super::error::StoreError;
use super::inbox::{first, number, take};
use crate::core::columns::{Column, Columns};
use std::collections::BTreeMap;

/// A user with its identities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserView {
    pub id: String,
    pub account_state: String,
    pub missing: Vec<String>,
    pub columns: Columns,
    pub updated_at: Option<String>,
    pub deleted_at: Option<String>,
    pub identities: Vec<IdentityView>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityView {
    pub source: String,
    pub provider_id: String,
    pub state: String,
    pub version: Option<i64>,
}

/// Which users to list, in the order of their ids.
#[derive(Clone, Debug, Default)]
pub struct UserFilter {
    pub state: Option<String>,
    pub source: Option<String>,
    pub after: Option<String>,
    pub limit: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatusReport {
    pub users: BTreeMap<String, u64>,
    pub missing: Vec<MissingField>,
    pub inbox: BTreeMap<String, u64>,
    /// When the longest waiting delivery that is due was received.
    pub oldest_pending: Option<String>,
    pub refusals: Vec<Refusal>,
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
pub struct Refusal {
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
}

impl Store {
    pub async fn users(&self, filter: &UserFilter) -> Result<Vec<UserView>, StoreError> {
        let args = vec![
            Arg::text(filter.after.as_deref().unwrap_or_default()),
            Arg::Int(filter.limit),
            Arg::text(filter.state.as_deref().unwrap_or_default()),
            Arg::text(filter.source.as_deref().unwrap_or_default()),
        ];
        let rows = self.read(&self.users_table().list(), args).await?;
        self.with_identities(rows.into_iter().map(user_view).collect()).await
    }

    /// The users that `text` names: by id, provider id, e-mail, username or phone number.
    pub async fn find_users(&self, text: &str) -> Result<Vec<UserView>, StoreError> {
        let mut ids: Vec<String> = self.users_table().id_from(text).into_iter().collect();
        let by_identity =
            self.dialect().own("SELECT user_id FROM headcount.identities WHERE provider_id = $1 AND user_id IS NOT NULL LIMIT 10");
        for sql in [by_identity, self.users_table().find()] {
            let rows = self.read(&sql, vec![Arg::text(text)]).await?;
            ids.extend(rows.into_iter().filter_map(|row| take::<1>(row)[0].clone()));
        }
        self.users_by_id(&ids).await
    }

    /// The users with these ids, in the order of ids; unknown ids are left out.
    pub async fn users_by_id(&self, ids: &[String]) -> Result<Vec<UserView>, StoreError> {
        let mut ids = ids.to_vec();
        ids.sort();
        ids.dedup();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let rows = ids.into_iter().map(|id| vec![Some(id)]).collect();
        let found = self.read(&self.users_table().show(), vec![Arg::Rows(rows)]).await?;
        self.with_identities(found.into_iter().map(user_view).collect()).await
    }

    /// The users that these accounts of a source belong to.
    pub async fn users_of(&self, source: &str, provider_ids: &[String]) -> Result<Vec<UserView>, StoreError> {
        if provider_ids.is_empty() {
            return Ok(Vec::new());
        }
        let sql = self.dialect().own(&format!(
            "SELECT i.user_id FROM headcount.identities i JOIN {} ON i.source = v.c1 AND i.provider_id = v.c2
             WHERE i.user_id IS NOT NULL",
            self.dialect().rows(1, 2)
        ));
        let rows = provider_ids.iter().map(|id| vec![Some(source.to_owned()), Some(id.clone())]).collect();
        let found = self.read(&sql, vec![Arg::Rows(rows)]).await?;
        let ids: Vec<String> = found.into_iter().filter_map(|row| take::<1>(row)[0].clone()).collect();
        self.users_by_id(&ids).await
    }

    async fn with_identities(&self, mut users: Vec<UserView>) -> Result<Vec<UserView>, StoreError> {
        if users.is_empty() {
            return Ok(users);
        }
        let sql = self.dialect().own(&format!(
            "SELECT i.user_id, i.source, i.provider_id, i.state, CAST(i.version AS text)
             FROM headcount.identities i JOIN {} ON i.user_id = v.c1 ORDER BY i.source, i.provider_id",
            self.dialect().rows(1, 1)
        ));
        let ids = users.iter().map(|user| vec![Some(user.id.clone())]).collect();
        let mut of_user: BTreeMap<String, Vec<IdentityView>> = BTreeMap::new();
        for row in self.read(&sql, vec![Arg::Rows(ids)]).await? {
            let [user_id, source, provider_id, state, version] = take(row);
            of_user.entry(user_id.unwrap_or_default()).or_default().push(IdentityView {
                source: source.unwrap_or_default(),
                provider_id: provider_id.unwrap_or_default(),
                state: state.unwrap_or_default(),
                version: version.and_then(|version| version.parse().ok()),
            });
        }
        for user in &mut users {
            user.identities = of_user.remove(&user.id).unwrap_or_default();
        }
        Ok(users)
    }

    pub async fn status(&self, sources: &[String]) -> Result<StatusReport, StoreError> {
        let inbox =
            self.dialect().own("SELECT status, CAST(count(*) AS text) FROM headcount.inbox GROUP BY status");
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
            "SELECT {} FROM headcount.inbox WHERE source = $1 AND signature <> '' ORDER BY seq DESC LIMIT 1",
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
        let (name, doubted) = (name.to_owned(), count(doubted));
        Ok(SourceReport { name, accounts: count(accounts), last_delivery, oldest_pending, doubted })
    }

    async fn refusals(&self) -> Result<Vec<Refusal>, StoreError> {
        let sql = self.dialect().own(&format!(
            "SELECT source, reason, CAST(count AS text), {} FROM headcount.refusals ORDER BY source, reason",
            self.dialect().timestamp_text("last_at")
        ));
        let refusal = |row| {
            let [source, reason, number, last_at] = take(row);
            Refusal {
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

fn user_view(row: Row) -> UserView {
    let mut cells = row.into_iter();
    let mut next = move || cells.next().flatten();
    let (id, account_state, missing) = (next(), next(), next());
    let mut columns = Columns::default();
    for column in Column::ALL {
        columns.set(column, next());
    }
    UserView {
        id: id.unwrap_or_default(),
        account_state: account_state.unwrap_or_default(),
        missing: missing.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default(),
        columns,
        updated_at: next(),
        deleted_at: next(),
        identities: Vec::new(),
    }
}
