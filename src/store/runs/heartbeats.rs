//! Signs of life of the processes that work on this database.

use crate::store::Store;
use crate::store::engine::driver::Arg;
use crate::store::engine::error::StoreError;

impl Store {
    /// Writes that this process is alive, with so many bytes beside it. Returns once that is durable.
    pub async fn beat(&self, process: &str, padding_bytes: usize) -> Result<(), StoreError> {
        let dialect = self.dialect();
        let sql = dialect.own(&format!(
            "INSERT INTO headcount.heartbeats (process, beat_at, padding) VALUES ($1, {now}, $2)
             ON CONFLICT (process) DO UPDATE SET beat_at = {now}, padding = excluded.padding",
            now = dialect.clock(),
        ));
        let padding = (padding_bytes > 0).then(|| "x".repeat(padding_bytes));
        self.write(&sql, vec![Arg::text(process), Arg::Text(padding)]).await.map(|_| ())
    }

    /// Why nothing can be written now; `None` where it can. Nothing is written, and it takes some seconds at the most.
    pub async fn why_no_writes(&self) -> Option<&'static str> {
        self.driver.takes_writes().await.err().map(|error| error.why_no_writes())
    }

    /// Forgets processes that have not been heard of for so long.
    pub async fn prune_heartbeats(&self, after_ms: i64) -> Result<(), StoreError> {
        let dialect = self.dialect();
        let sql = dialect.own(&format!(
            "DELETE FROM headcount.heartbeats WHERE beat_at < {}",
            dialect.began_plus_ms("$1")
        ));
        self.write(&sql, vec![Arg::Int(-after_ms)]).await.map(|_| ())
    }
}
