//! Runs: reads of a source, from their beginning to their end, with their counts.

use crate::core::schedule::History;
use crate::core::timestamp::Timestamp;
use crate::core::words::RunMode;
use crate::store::Store;
use crate::store::accounts::codec::instant;
use crate::store::accounts::transaction::Reconciliation;
use crate::store::engine::driver::{Access, Arg};
use crate::store::engine::error::StoreError;
use crate::store::engine::row::Row;
use crate::store::inbox::deliveries::{first, number};
use crate::store::runs::counts::{COUNTS, Counts};

/// A run as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    pub id: String,
    pub source: String,
    pub mode: String,
    /// `interrupted` as well where it says that it runs and nobody holds its lease.
    pub status: String,
    pub cause: String,
    pub cursor: Option<String>,
    pub marked_at: Option<Timestamp>,
    pub counts: Counts,
    pub known_before: Option<i64>,
    pub count_before: Option<i64>,
    pub count_after: Option<i64>,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub error: Option<String>,
    pub approved_until: Option<Timestamp>,
}

impl Run {
    /// From its beginning to its end; `None` while it is under way.
    pub fn duration_ms(&self) -> Option<i64> {
        Some(self.finished_at?.ms() - self.started_at?.ms())
    }
}

/// The name of the lease that whoever reads a source in full holds.
pub fn run_lease(source: &str) -> String {
    format!("resync/{source}")
}

/// How a run ends.
#[derive(Clone, Debug)]
pub struct Ending {
    pub status: &'static str,
    pub error: Option<String>,
}

impl Store {
    /// Begins a run now: its read mark is the database's time.
    pub async fn begin_run(
        &self,
        id: &str,
        source: &str,
        mode: RunMode,
        cause: &str,
        holder: &str,
    ) -> Result<Run, StoreError> {
        let sql = self.dialect().own(&format!(
            "INSERT INTO headcount.runs (id, source, mode, status, cause, holder, marked_at, started_at)
             VALUES ($1, $2, $3, 'running', $4, $5, {clock}, {clock})",
            clock = self.dialect().clock()
        ));
        let args = [id, source, mode.name(), cause, holder].map(Arg::text).to_vec();
        self.write(&sql, args).await?;
        self.run(id).await?.ok_or_else(|| StoreError::Unavailable(format!("run {id} cannot be read back")))
    }

    /// Takes over the source's full run that was given up in the middle, if it began less than `age_ms_max` ago.
    pub async fn resume_run(
        &self,
        source: &str,
        holder: &str,
        age_ms_max: i64,
    ) -> Result<Option<Run>, StoreError> {
        let sql = self.dialect().own(&format!(
            "UPDATE headcount.runs SET holder = $2, status = 'running', finished_at = NULL, error = NULL
             WHERE id = (SELECT id FROM headcount.runs
                         WHERE source = $1 AND mode = 'full' ORDER BY started_at DESC, id DESC LIMIT 1)
               AND status IN ('running', 'interrupted') AND cursor IS NOT NULL AND started_at > {}
             RETURNING id",
            self.dialect().began_plus_ms("$3")
        ));
        let mut tx = self.begin(Access::Write).await?;
        let [id] =
            first(tx.fetch(&sql, vec![Arg::text(source), Arg::text(holder), Arg::Int(-age_ms_max)]).await?);
        tx.commit().await?;
        match id {
            Some(id) => self.run(&id).await,
            None => Ok(None),
        }
    }

    /// Full runs that were given up and are not resumed end as interrupted.
    pub async fn close_runs_before(&self, source: &str, run_id: &str) -> Result<(), StoreError> {
        let clock = self.dialect().clock();
        let interrupted = self.dialect().own(&format!(
            "UPDATE headcount.runs SET status = 'interrupted', finished_at = {clock},
                 error = coalesce(error, 'its process ended; run ' || $2 || ' began anew')
             WHERE source = $1 AND id <> $2 AND mode = 'full' AND status = 'running'"
        ));
        self.write(&interrupted, vec![Arg::text(source), Arg::text(run_id)]).await?;
        Ok(())
    }

    /// Held runs of the source that began earlier, and that nobody has said yes to, are overtaken by this one.
    pub async fn overtake_held(&self, source: &str, run_id: &str) -> Result<(), StoreError> {
        let held = self.dialect().own(&format!(
            "UPDATE headcount.runs SET status = 'rejected', approved_until = NULL,
                 error = 'overtaken by run ' || $2
             WHERE source = $1 AND id <> $2 AND mode IN ('full', 'incremental') AND status = 'held'
               AND (approved_until IS NULL OR approved_until <= {})",
            self.dialect().clock()
        ));
        let sets = self.dialect().own(
            "DELETE FROM headcount.held_deletes WHERE source = $1 AND run_id <> $2
               AND run_id NOT IN (SELECT id FROM headcount.runs WHERE status = 'held')",
        );
        let creates = sets.replace("held_deletes", "held_creates");
        let mut tx = self.begin(Access::Write).await?;
        for sql in [held, sets, creates] {
            tx.execute(&sql, vec![Arg::text(source), Arg::text(run_id)]).await?;
        }
        tx.commit().await
    }

    pub async fn set_run_counts(
        &self,
        run_id: &str,
        known_before: u64,
        count_before: Option<u64>,
    ) -> Result<(), StoreError> {
        let sql = self
            .dialect()
            .own("UPDATE headcount.runs SET known_before = $2, count_before = $3 WHERE id = $1");
        let counts = [Some(known_before), count_before].map(|count| Arg::Int(count.map_or(-1, |n| n as i64)));
        self.write(&sql, [vec![Arg::text(run_id)], counts.to_vec()].concat()).await?;
        Ok(())
    }

    /// Ends the run, unless it is somebody else's by now.
    pub async fn end_run(
        &self,
        run_id: &str,
        holder: &str,
        counts: Counts,
        count_after: Option<u64>,
        ending: &Ending,
    ) -> Result<(), StoreError> {
        let sql = self.dialect().own(&format!(
            "UPDATE headcount.runs SET status = $3, error = $4, finished_at = {}, count_after = $5,
                 cursor = CASE WHEN $3 = 'interrupted' THEN cursor END, {}
             WHERE id = $1 AND holder = $2 AND status = 'running'",
            self.dialect().clock(),
            assignments(6)
        ));
        let mut args = vec![
            Arg::text(run_id),
            Arg::text(holder),
            Arg::text(ending.status),
            Arg::Text(ending.error.clone()),
            // -1 stands for none: a parameter has one type.
            Arg::Int(count_after.map_or(-1, |count| count as i64)),
        ];
        args.extend(numbers(counts));
        self.write(&sql, args).await?;
        Ok(())
    }

    /// Ends a run that is under way or was interrupted; `false` where it is neither. Its process finds its lease and its run
    /// gone, and writes nothing more.
    pub async fn cancel_run(&self, id: &str) -> Result<bool, StoreError> {
        let dialect = self.dialect();
        let cancel = dialect.own(&format!(
            "UPDATE headcount.runs SET status = 'cancelled', cursor = NULL, finished_at = {},
                 error = 'cancelled by a person'
             WHERE id = $1 AND status IN ('running', 'interrupted')",
            dialect.clock()
        ));
        let release = dialect.own(
            "DELETE FROM headcount.leases WHERE holder = (SELECT holder FROM headcount.runs WHERE id = $1)",
        );
        let mut tx = self.begin(Access::Write).await?;
        let cancelled = tx.execute(&cancel, vec![Arg::text(id)]).await?;
        if cancelled == 1 {
            tx.execute(&release, vec![Arg::text(id)]).await?;
        }
        tx.commit().await?;
        Ok(cancelled == 1)
    }

    pub async fn run(&self, id: &str) -> Result<Option<Run>, StoreError> {
        let sql = self.run_sql("r.id = $1", 1);
        Ok(self.read(&sql, vec![Arg::text(id)]).await?.into_iter().map(run).next())
    }

    /// The latest runs, the newest first; `''` for any source or status.
    pub async fn runs(&self, source: &str, status: &str, limit: i64) -> Result<Vec<Run>, StoreError> {
        let sql = format!(
            "SELECT * FROM ({}) AS s WHERE ($2 = '' OR s.effective_status = $2) LIMIT $3",
            self.run_sql("($1 = '' OR r.source = $1)", 100_000)
        );
        let args = vec![Arg::text(source), Arg::text(status), Arg::Int(limit)];
        Ok(self.read(&sql, args).await?.into_iter().map(run).collect())
    }

    /// The latest full run of the source.
    pub async fn last_full_run(&self, source: &str) -> Result<Option<Run>, StoreError> {
        let sql = self.run_sql("r.source = $1 AND r.mode = 'full'", 1);
        Ok(self.read(&sql, vec![Arg::text(source)]).await?.into_iter().map(run).next())
    }

    fn run_sql(&self, condition: &str, limit: i64) -> String {
        let at = |column: &str| self.dialect().timestamp_text(&format!("r.{column}"));
        let counts: Vec<String> =
            COUNTS.iter().map(|name| format!("CAST(r.{name} AS text) AS {name}")).collect();
        self.dialect().own(&format!(
            "SELECT r.id, r.source, r.mode,
                 CASE WHEN r.status = 'running' AND NOT EXISTS (
                     SELECT 1 FROM headcount.leases l WHERE l.holder = r.holder AND l.until > {clock})
                 THEN 'interrupted' ELSE r.status END AS effective_status,
                 r.cause, r.cursor, {marked} AS marked, {started} AS started, {finished} AS finished, r.error,
                 {approved} AS approved, CAST(r.known_before AS text) AS known_before,
                 CAST(r.count_before AS text) AS count_before, CAST(r.count_after AS text) AS count_after, {counts}
             FROM headcount.runs r WHERE {condition} ORDER BY r.started_at DESC, r.id DESC LIMIT {limit}",
            clock = self.dialect().clock(),
            marked = at("marked_at"),
            started = at("started_at"),
            finished = at("finished_at"),
            approved = at("approved_until"),
            counts = counts.join(", "),
        ))
    }

    /// What the schedule needs to know of the source's full runs. One that was interrupted goes on at once.
    pub async fn run_history(&self, source: &str) -> Result<History, StoreError> {
        let settled = self.dialect().own(&format!(
            "SELECT {} FROM headcount.runs
             WHERE source = $1 AND mode = 'full' AND status IN ('succeeded', 'partial', 'held', 'rejected', 'cancelled')
             ORDER BY started_at DESC LIMIT 1",
            self.dialect().timestamp_text("started_at")
        ));
        let [settled_at] = first(self.read(&settled, vec![Arg::text(source)]).await?);
        let failed = self.dialect().own(&format!(
            "SELECT {}, CAST(count(*) AS text) FROM headcount.runs
             WHERE source = $1 AND mode = 'full' AND status = 'failed'
               AND ($2 = '' OR started_at > {})",
            self.dialect().timestamp_text("max(coalesce(finished_at, started_at))"),
            self.dialect().timestamp_value("NULLIF($2, '')"),
        ));
        let args = vec![Arg::text(source), Arg::text(settled_at.clone().unwrap_or_default())];
        let [failed_at, failures] = first(self.read(&failed, args).await?);
        Ok(History {
            settled_at: instant(settled_at),
            failed_at: instant(failed_at),
            failures: number(failures).try_into().unwrap_or(0),
        })
    }

    /// Forgets runs that began longer ago, but for those that wait for a person.
    pub async fn prune_runs(&self, age_ms: i64) -> Result<(), StoreError> {
        let sql = self.dialect().own(&format!(
            "DELETE FROM headcount.runs WHERE status <> 'held' AND started_at < {}",
            self.dialect().began_plus_ms("$1")
        ));
        self.write(&sql, vec![Arg::Int(-age_ms)]).await?;
        Ok(())
    }
}

impl Reconciliation {
    /// Writes down how far the run has come, in the transaction of what it did. An error where the run is somebody
    /// else's by now: then nothing of the transaction may be kept.
    pub async fn progress(
        &mut self,
        run_id: &str,
        holder: &str,
        cursor: &str,
        counts: Counts,
    ) -> Result<(), StoreError> {
        let sql = self.dialect.own(&format!(
            "UPDATE headcount.runs SET cursor = $3, {} WHERE id = $1 AND holder = $2 AND status = 'running'",
            assignments(4)
        ));
        let mut args = vec![Arg::text(run_id), Arg::text(holder), Arg::text(cursor)];
        args.extend(numbers(counts));
        match self.tx.execute(&sql, args).await? {
            1 => Ok(()),
            _ => Err(StoreError::Lost(format!("run {run_id} was taken over by another process"))),
        }
    }
}

/// `name = $n, …` for each count, from parameter `first_parameter` on.
fn assignments(first_parameter: usize) -> String {
    let each: Vec<String> =
        COUNTS.iter().enumerate().map(|(n, name)| format!("{name} = ${}", first_parameter + n)).collect();
    each.join(", ")
}

fn numbers(mut counts: Counts) -> Vec<Arg> {
    counts.numbers().into_iter().map(|count| Arg::Int(*count as i64)).collect()
}

fn run(row: Row) -> Run {
    let mut cells = row.rest();
    let mut next = || cells.next().flatten();
    let mut run = Run {
        id: next().unwrap_or_default(),
        source: next().unwrap_or_default(),
        mode: next().unwrap_or_default(),
        status: next().unwrap_or_default(),
        cause: next().unwrap_or_default(),
        cursor: next(),
        marked_at: instant(next()),
        started_at: instant(next()),
        finished_at: instant(next()),
        error: next(),
        approved_until: instant(next()),
        ..Run::default()
    };
    let mut whole = || next().map(|cell| number(Some(cell))).filter(|count| *count >= 0);
    (run.known_before, run.count_before, run.count_after) = (whole(), whole(), whole());
    for count in run.counts.numbers() {
        *count = whole().and_then(|count| count.try_into().ok()).unwrap_or(0);
    }
    run
}
