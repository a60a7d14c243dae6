//! Which history the feed's numbers are of: after a restore the same numbers are given out for other changes.

use crate::store::Store;
use crate::store::engine::driver::Arg;
use crate::store::engine::error::StoreError;
use crate::store::inbox::deliveries::first;

/// Holds the epoch, a blank, and what the database was when the epoch began.
const SETTING: &str = "feed_epoch";

impl Store {
    /// The epoch of the feed. It changes when the database is another one than it was: restored from a dump or to a time
    /// that is over, or copied to another place. A copy of the whole server, put back as it was, cannot be told from it.
    pub async fn feed_epoch(&self) -> Result<String, StoreError> {
        let now = self.driver.fingerprint("headcount.changes").await?;
        if let Some(epoch) = self.epoch_of(&now).await? {
            return Ok(epoch);
        }
        let fresh = self.dialect().fresh_epoch();
        // Of two processes that find it out at once, one makes the epoch.
        let sql = self.dialect().own(&format!(
            "INSERT INTO headcount.settings (key, value) VALUES ('{SETTING}', {fresh} || ' ' || $1)
             ON CONFLICT (key) DO UPDATE SET value = excluded.value
             WHERE headcount.settings.value NOT LIKE '% ' || $1"
        ));
        self.write(&sql, vec![Arg::text(&now)]).await?;
        let epoch = self.epoch_of(&now).await?;
        epoch.ok_or_else(|| StoreError::Unavailable("the feed's epoch is being changed".to_owned()))
    }

    async fn epoch_of(&self, fingerprint: &str) -> Result<Option<String>, StoreError> {
        let sql = self.dialect().own("SELECT value FROM headcount.settings WHERE key = $1");
        let [value] = first(self.read(&sql, vec![Arg::text(SETTING)]).await?);
        let value: Option<String> = value;
        let epoch = value.and_then(|value| {
            let (epoch, of) = value.split_once(' ')?;
            (of == fingerprint).then(|| epoch.to_owned())
        });
        Ok(epoch)
    }
}
