//! Rows that were there before their accounts: found, and tied to them.

use crate::core::address::{comparable, spellings};
use crate::core::columns::Column;
use crate::core::event::{IdentityKey, Snapshot};
use crate::core::known::User;
use crate::core::link::{Candidate, LinkRule};
use crate::store::Store;
use crate::store::accounts::codec::{column, id_rows, key};
use crate::store::accounts::transaction::Reconciliation;
use crate::store::engine::dialect::Dialect;
use crate::store::engine::driver::Values;
use crate::store::engine::driver::{Access, Arg, Tx};
use crate::store::engine::error::StoreError;
use crate::store::engine::row::{Row, only};
use crate::store::users_table::UsersTable;
use std::collections::{BTreeSet, HashMap};

/// What a row would have to show to be this account's; `None` where the rule says nothing about it.
pub fn match_key(
    users: &UsersTable,
    rule: &LinkRule,
    key: &IdentityKey,
    snapshot: &Snapshot,
) -> Option<String> {
    match rule {
        LinkRule::ExternalId => users.id_from(snapshot.external_id.as_ref()?),
        LinkRule::SharedId | LinkRule::Column(_) => Some(key.provider_id.clone()),
        LinkRule::SharedExternalId => snapshot.external_id.clone().filter(|id| !id.is_empty()),
        LinkRule::VerifiedEmail => {
            let verified = snapshot.columns.get(Column::EmailVerified) == Some("true");
            snapshot.columns.get(Column::Email).filter(|_| verified).map(comparable)
        }
    }
}

/// The rows that show one of these texts, by the text.
async fn candidates(
    tx: &mut dyn Tx,
    users: &UsersTable,
    rule: &LinkRule,
    wanted: &[String],
    sources: &[String],
) -> Result<HashMap<String, Vec<Candidate>>, StoreError> {
    // Each once: a row that two accounts want is one row all the same.
    let wanted: BTreeSet<&String> = wanted.iter().collect();
    let rows = || id_rows(wanted.iter().copied());
    if wanted.is_empty() {
        return Ok(HashMap::new());
    }
    let found: Vec<(String, Candidate)> = match rule {
        LinkRule::ExternalId => {
            let there = tx.fetch(&users.existing(), vec![Arg::Rows(rows())]).await?;
            let ids: Vec<String> = column(there, "users", "id")?;
            ids.into_iter().map(|id| (id.clone(), candidate(id, None))).collect()
        }
        LinkRule::SharedId => {
            let mut found = with_row_id(tx, users, &wanted).await?;
            found.extend(of_accounts(tx, users, &wanted, sources).await?);
            found.into_iter().map(|(text, user_id)| (text, candidate(user_id, None))).collect()
        }
        LinkRule::SharedExternalId => {
            let found = of_accounts(tx, users, &wanted, sources).await?;
            found.into_iter().map(|(text, user_id)| (text, candidate(user_id, None))).collect()
        }
        LinkRule::Column(column) => candidate_rows(tx, &users.ids_by_column(column), rows()).await?,
        LinkRule::VerifiedEmail => match users.ids_by_email() {
            Some(sql) => {
                let spelled = wanted.iter().flat_map(|address| spellings(address));
                let rows = candidate_rows(tx, &sql, id_rows(spelled.collect::<Vec<_>>().iter())).await?;
                // What the database takes for small letters may be other ones.
                let rows = rows.into_iter().map(|(address, candidate)| (comparable(&address), candidate));
                rows.filter(|(address, _)| wanted.contains(address)).collect()
            }
            None => Vec::new(),
        },
    };
    let ids: Vec<String> = found.iter().map(|(_, candidate)| candidate.user_id.clone()).collect();
    let taken = taken(tx, users, &ids).await?;
    let mut by_text: HashMap<String, Vec<Candidate>> = HashMap::new();
    for (text, mut candidate) in found {
        if let Some(accounts) = taken.get(&candidate.user_id) {
            candidate.is_erased = accounts.iter().any(|account| account.is_erased);
            candidate.sources = counting(accounts).map(|account| account.source.clone()).collect();
        }
        by_text.entry(text).or_default().push(candidate);
    }
    Ok(by_text)
}

/// Each text that is a row's id, with that.
async fn with_row_id(
    tx: &mut dyn Tx,
    users: &UsersTable,
    wanted: &BTreeSet<&String>,
) -> Result<BTreeSet<(String, String)>, StoreError> {
    let as_row_id: HashMap<String, &String> =
        wanted.iter().filter_map(|text| Some((users.id_from(text)?, *text))).collect();
    if as_row_id.is_empty() {
        return Ok(BTreeSet::new());
    }
    let there = tx.fetch(&users.existing(), vec![Arg::Rows(id_rows(as_row_id.keys()))]).await?;
    let there = column::<Vec<String>>(there, "users", "id")?.into_iter();
    Ok(there.filter_map(|id| as_row_id.get(&id).map(|text| ((*text).clone(), id.clone()))).collect())
}

/// Each text that is the id of an account at one of the sources, with the account's user.
async fn of_accounts(
    tx: &mut dyn Tx,
    users: &UsersTable,
    wanted: &BTreeSet<&String>,
    sources: &[String],
) -> Result<BTreeSet<(String, String)>, StoreError> {
    let pairs = sources.iter().flat_map(|source| wanted.iter().map(move |id| (source, *id)));
    let pairs: Vec<Values> = pairs.map(|(source, id)| vec![Some(source.clone()), Some(id.clone())]).collect();
    if pairs.is_empty() {
        return Ok(BTreeSet::new());
    }
    let user_of = |row: Row| {
        let mut row = row.of("identities");
        Ok((row.text("provider_id")?, row.text("user_id")?))
    };
    tx.fetch(&users.users_of_accounts(), vec![Arg::Rows(pairs)]).await?.into_iter().map(user_of).collect()
}

async fn candidate_rows(
    tx: &mut dyn Tx,
    sql: &str,
    wanted: Vec<Values>,
) -> Result<Vec<(String, Candidate)>, StoreError> {
    let candidate = |row: Row| {
        let mut row = row.of("users");
        let (text, user_id) = (row.text("text")?, row.text("id")?);
        // The application writes it: what is no truth says nothing.
        let verified = row.opt_text("verified")?.map(|verified| verified == "true");
        Ok((text, self::candidate(user_id, verified)))
    };
    tx.fetch(sql, vec![Arg::Rows(wanted)]).await?.into_iter().map(candidate).collect()
}

fn candidate(user_id: String, verified: Option<bool>) -> Candidate {
    Candidate { user_id, verified, sources: Vec::new(), is_erased: false }
}

/// By user: the accounts that it has.
type Taken = HashMap<String, Vec<TakenBy>>;

/// An account that has a row.
struct TakenBy {
    source: String,
    lives: bool,
    is_erased: bool,
}

/// The accounts that keep others of their sources from the row. Whoever has deleted one account and lives on by another may
/// sign up anew where that one was.
fn counting(accounts: &[TakenBy]) -> impl Iterator<Item = &TakenBy> {
    let is_alive = accounts.iter().any(|account| account.lives);
    accounts.iter().filter(move |account| account.lives || !is_alive)
}

async fn taken(tx: &mut dyn Tx, users: &UsersTable, ids: &[String]) -> Result<Taken, StoreError> {
    let mut taken = Taken::new();
    if ids.is_empty() {
        return Ok(taken);
    }
    for row in tx.fetch(&users.taken(), vec![Arg::Rows(id_rows(ids))]).await? {
        let mut row = row.of("identities");
        let user_id = row.text("user_id")?;
        let source = row.text("source")?;
        let (lives, is_erased) = (row.truth("lives")?, row.truth("is_erased")?);
        taken.entry(user_id).or_default().push(TakenBy { source, lives, is_erased });
    }
    Ok(taken)
}

impl Reconciliation {
    /// As [`Store::candidates`], within the transaction.
    pub async fn candidates(
        &mut self,
        rule: &LinkRule,
        texts: &[String],
        sources: &[String],
    ) -> Result<HashMap<String, Vec<Candidate>>, StoreError> {
        let users = self.users.clone();
        candidates(&mut *self.tx, &users, rule, texts, sources).await
    }

    /// Waits for every other transaction that has claimed one of these addresses, and has the next one wait for this one.
    /// SQLite has one writer at a time.
    pub async fn claim_addresses(&mut self, addresses: &[String]) -> Result<(), StoreError> {
        if addresses.is_empty() || self.dialect == Dialect::Sqlite {
            return Ok(());
        }
        let make = format!(
            "INSERT INTO headcount.address_claims (address) SELECT v.c1 FROM {} ORDER BY v.c1 ON CONFLICT DO NOTHING",
            self.dialect.rows(1, 1)
        );
        self.tx.execute(&make, vec![Arg::Rows(id_rows(addresses))]).await?;
        // Made and removed in one transaction: whoever makes it as well waits for this one's end all the same.
        let remove = format!(
            "DELETE FROM headcount.address_claims WHERE address IN (SELECT v.c1 FROM {})",
            self.dialect.rows(1, 1)
        );
        self.tx.execute(&remove, vec![Arg::Rows(id_rows(addresses))]).await?;
        Ok(())
    }

    /// Accounts without a user that wait for one of these addresses.
    pub async fn awaiting(&mut self, addresses: &[String]) -> Result<Vec<IdentityKey>, StoreError> {
        if addresses.is_empty() {
            return Ok(Vec::new());
        }
        let sql = self.dialect.own(&format!(
            "SELECT i.source, i.provider_id FROM {} JOIN headcount.identities i ON i.awaited_address = v.c1
             ORDER BY i.source, i.provider_id",
            self.dialect.rows(1, 1)
        ));
        let rows = self.tx.fetch(&sql, vec![Arg::Rows(id_rows(addresses))]).await?;
        rows.into_iter().map(|row| key(row, "identities")).collect()
    }

    /// Those of the rows that nobody else holds and that may be an account's of the source beside them, locked.
    pub async fn lock_rows(
        &mut self,
        wanted: &HashMap<String, String>,
    ) -> Result<HashMap<String, User>, StoreError> {
        if wanted.is_empty() {
            return Ok(HashMap::new());
        }
        let ids: Vec<String> = wanted.keys().cloned().collect();
        let mut users = self.lock_users(&ids).await?;
        // Looked at under the lock: whoever links a row holds it.
        let table = self.users.clone();
        let taken = taken(&mut *self.tx, &table, &ids).await?;
        let is_free = |id: &String| {
            let accounts = taken.get(id).map_or(&[][..], Vec::as_slice);
            accounts.iter().all(|account| !account.is_erased)
                && counting(accounts).all(|account| Some(&account.source) != wanted.get(id))
        };
        users.retain(|id, _| is_free(id));
        Ok(users)
    }

    pub fn users_table(&self) -> &UsersTable {
        &self.users
    }
}

impl Store {
    /// The rows that show one of these texts, by the text; of shared ids, those of accounts at these sources as well.
    pub async fn candidates(
        &self,
        rule: &LinkRule,
        texts: &[String],
        sources: &[String],
    ) -> Result<HashMap<String, Vec<Candidate>>, StoreError> {
        let mut tx = self.begin(Access::Read).await?;
        candidates(&mut *tx, self.users_table(), rule, texts, sources).await
    }

    /// How many rows the users table has, and how many of them belong to no account.
    pub async fn count_unlinked(&self) -> Result<(u64, u64), StoreError> {
        let mut row = only(self.read(&self.users_table().count_unlinked(), vec![]).await?, "users")?;
        Ok((row.count("count")?, row.count("unlinked")?))
    }

    /// How many living accounts of other sources have a user.
    pub async fn count_elsewhere(&self, source: &str) -> Result<u64, StoreError> {
        let sql = self.dialect().own(
            "SELECT CAST(count(*) AS text) AS count FROM headcount.identities
             WHERE source <> $1 AND state <> 'deleted' AND user_id IS NOT NULL",
        );
        only(self.read(&sql, vec![Arg::text(source)]).await?, "identities")?.count("count")
    }

    /// From now on accounts of the source that were never seen find their rows so; `None` ends it.
    pub async fn set_link_rule(&self, source: &str, rule: Option<&LinkRule>) -> Result<(), StoreError> {
        let sql = self.dialect().own(
            "INSERT INTO headcount.sources (name, link_by) VALUES ($1, $2)
             ON CONFLICT (name) DO UPDATE SET link_by = excluded.link_by",
        );
        let rule = Arg::Text(rule.map(LinkRule::name));
        self.write(&sql, vec![Arg::text(source), rule]).await?;
        Ok(())
    }
}
