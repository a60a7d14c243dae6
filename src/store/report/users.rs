//! What people and programs read of users.

use crate::core::columns::{Cell, Column, Columns};
use crate::store::Store;
use crate::store::accounts::codec::texts;
use crate::store::engine::driver::{Access, Arg, Tx};
use crate::store::engine::error::StoreError;
use crate::store::engine::row::Row;
use crate::store::inbox::deliveries::take;
use std::collections::{BTreeMap, HashMap};

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

impl Store {
    pub async fn users(&self, filter: &UserFilter) -> Result<Vec<UserView>, StoreError> {
        let args = vec![
            Arg::text(filter.after.as_deref().unwrap_or_default()),
            Arg::Int(filter.limit),
            Arg::text(filter.state.as_deref().unwrap_or_default()),
            Arg::text(filter.source.as_deref().unwrap_or_default()),
        ];
        self.viewed(&self.users_table().list(), args).await
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
        self.viewed(&self.users_table().show(), vec![Arg::Rows(rows)]).await
    }

    /// The users that these accounts of a source belong to.
    pub async fn users_of(&self, source: &str, provider_ids: &[String]) -> Result<Vec<UserView>, StoreError> {
        if provider_ids.is_empty() {
            return Ok(Vec::new());
        }
        let rows = provider_ids.iter().map(|id| vec![Some(source.to_owned()), Some(id.clone())]).collect();
        self.viewed(&self.users_table().show_of_accounts(), vec![Arg::Rows(rows)]).await
    }

    /// What the column of these accounts' users shows, by the provider's id; where there is no row, nothing.
    pub async fn shown(
        &self,
        source: &str,
        ids: &[String],
        column: Column,
    ) -> Result<HashMap<String, Cell>, StoreError> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let rows = ids.iter().map(|id| vec![Some(source.to_owned()), Some(id.clone())]).collect();
        let rows = self.read(&self.users_table().show_column(column), vec![Arg::Rows(rows)]).await?;
        let shown = |row: Row| {
            let [id, value] = take(row);
            Some((id?, value))
        };
        Ok(rows.into_iter().filter_map(shown).collect())
    }

    /// Users, at most so many, who live on at several sources and are banned at one of these, which are not retired.
    pub async fn banned_beside_others(
        &self,
        sources: &[String],
        limit: i64,
    ) -> Result<Vec<UserView>, StoreError> {
        if sources.is_empty() {
            return Ok(Vec::new());
        }
        let sql = self.dialect().own(&format!(
            "SELECT DISTINCT i.user_id FROM {} JOIN headcount.identities i ON i.source = v.c1
             JOIN headcount.sources s ON s.name = i.source
             WHERE i.state = 'suspended' AND i.version IS NOT NULL AND s.retired_at IS NULL AND EXISTS (
                 SELECT 1 FROM headcount.identities o
                 WHERE o.user_id = i.user_id AND o.source <> i.source AND o.state <> 'deleted')
             ORDER BY i.user_id LIMIT {limit}",
            self.dialect().rows(1, 1)
        ));
        let rows = sources.iter().map(|name| vec![Some(name.clone())]).collect();
        let ids: Vec<String> = texts(self.read(&sql, vec![Arg::Rows(rows)]).await?);
        self.users_by_id(&ids).await
    }

    /// The users of a statement with their identities.
    async fn viewed(&self, sql: &str, args: Vec<Arg>) -> Result<Vec<UserView>, StoreError> {
        let mut tx = self.begin(Access::Read).await?;
        let mut users: Vec<UserView> = tx.fetch(sql, args).await?.into_iter().map(user_view).collect();
        if !users.is_empty() {
            self.add_identities(&mut *tx, &mut users).await?;
        }
        tx.commit().await?;
        Ok(users)
    }

    async fn add_identities(&self, tx: &mut dyn Tx, users: &mut [UserView]) -> Result<(), StoreError> {
        let sql = self.dialect().own(&format!(
            "SELECT i.user_id, i.source, i.provider_id, i.state, CAST(i.version AS text)
             FROM {} ORDER BY i.source, i.provider_id",
            self.dialect().each_row(
                &self.dialect().rows(1, 1),
                "headcount.identities",
                "i",
                "user_id",
                "v.c1"
            )
        ));
        let ids = users.iter().map(|user| vec![Some(user.id.clone())]).collect();
        let mut of_user: BTreeMap<String, Vec<IdentityView>> = BTreeMap::new();
        for row in tx.fetch(&sql, vec![Arg::Rows(ids)]).await? {
            let [user_id, source, provider_id, state, version] = take(row);
            of_user.entry(user_id.unwrap_or_default()).or_default().push(IdentityView {
                source: source.unwrap_or_default(),
                provider_id: provider_id.unwrap_or_default(),
                state: state.unwrap_or_default(),
                version: version.and_then(|version| version.parse().ok()),
            });
        }
        for user in users {
            user.identities = of_user.remove(&user.id).unwrap_or_default();
        }
        Ok(())
    }
}

fn user_view(row: Row) -> UserView {
    let mut cells = row.rest();
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
