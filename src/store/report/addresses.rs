//! Accounts about whose address a person may have to decide: those that wait for it, and those that collide over it.

use crate::core::event::IdentityKey;
use crate::core::link::{LinkRule, owner_of_address};
use crate::store::Store;
use crate::store::accounts::codec::key_of;
use crate::store::engine::driver::Arg;
use crate::store::engine::error::StoreError;
use crate::store::engine::row::{Row, only};

/// An account whose address is another user's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressConflict {
    pub key: IdentityKey,
    /// The user that it has; `None` where it waits without one.
    pub user_id: Option<String>,
    /// The user whose address it is; `None` where that user has given it up, and the account is about to get one of its own.
    pub other_user_id: Option<String>,
    pub since: Option<String>,
}

/// How many accounts of a source wait for an address, and how many collide over one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressConflicts {
    pub awaiting: u64,
    pub colliding: u64,
}

/// An account that waits for an address, or collides over one.
const IN_CONFLICT: &str = "(i.awaited_address IS NOT NULL OR i.collides_with IS NOT NULL)";

impl Store {
    /// The accounts of the source that wait or collide, or of all sources, in key order.
    pub async fn address_conflicts(
        &self,
        source: Option<&str>,
        limit: i64,
    ) -> Result<Vec<AddressConflict>, StoreError> {
        let sql = self.dialect().own(&format!(
            "SELECT i.source, i.provider_id, i.user_id, i.awaited_address, i.collides_with,
                 {} AS since FROM headcount.identities i
             WHERE {IN_CONFLICT} AND ($1 = '' OR i.source = $1)
             ORDER BY i.source, i.provider_id LIMIT $2",
            self.dialect().timestamp_text("coalesce(i.collides_since, i.waiting_since)")
        ));
        let args = vec![Arg::text(source.unwrap_or_default()), Arg::Int(limit)];
        let read = |row: Row| {
            let mut row = row.of("identities");
            let conflict = AddressConflict {
                key: key_of(&mut row)?,
                user_id: row.opt_text("user_id")?,
                other_user_id: row.opt_text("collides_with")?,
                since: row.opt_text("since")?,
            };
            Ok((row.opt_text("awaited_address")?, conflict))
        };
        let found = self.read(&sql, args).await?.into_iter().map(read);
        let mut found = found.collect::<Result<Vec<(Option<String>, AddressConflict)>, StoreError>>()?;
        let awaited: Vec<String> = found.iter().filter_map(|(address, _)| address.clone()).collect();
        let owners = self.candidates(&LinkRule::VerifiedEmail, &awaited, &[]).await?;
        for (address, conflict) in &mut found {
            if let Some(address) = address {
                let owner = owners.get(address).and_then(|users| owner_of_address(users, None));
                conflict.other_user_id = owner.map(str::to_owned);
            }
        }
        Ok(found.into_iter().map(|(_, conflict)| conflict).collect())
    }

    pub async fn count_address_conflicts(&self, source: &str) -> Result<AddressConflicts, StoreError> {
        let sql = self.dialect().own(&format!(
            "SELECT CAST(count(i.awaited_address) AS text) AS awaiting, CAST(count(i.collides_with) AS text) AS colliding
             FROM headcount.identities i WHERE {IN_CONFLICT} AND i.source = $1"
        ));
        let mut row = only(self.read(&sql, vec![Arg::text(source)]).await?, "identities")?;
        Ok(AddressConflicts { awaiting: row.count("awaiting")?, colliding: row.count("colliding")? })
    }
}
