//! SQLite: one file, one writer, readers beside it. Several processes may share the file.

use crate::core::retry_policy::SCRUB;
use crate::store::engine::delivery::{FIRST_STATUS, NewDelivery, TEXTS, TIMES, first_states};
use crate::store::engine::dialect::Dialect;
use crate::store::engine::driver::{Access, Arg, Driver, Tx};
use crate::store::engine::error::StoreError;
use crate::store::engine::row::{ColumnNames, Row};
use crate::store::engine::session::Session;
use async_trait::async_trait;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, Column as _, ConnectOptions, Executor, Row as _, Sqlite};
use std::fs::OpenOptions;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::timeout;
use tracing::debug;

/// Deliveries that one statement stores: more than the inbox's writer has at once, and far from SQLite's number of parameters.
const STEP_ROWS_MAX: usize = 512;
/// Deliveries of this size make some 16 MB of log. Pages that are written again and again, those of indexes, go into the file
/// once for all of that.
const CHECKPOINT_BYTES: usize = 8 * 1024 * 1024;
const READERS_MAX: u32 = 4;
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
const WRITE: &str = "BEGIN IMMEDIATE";
/// Longer than SQLite waits by itself, so that it is SQLite that says what it waited for.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(15);
/// Longer than a process of headcount's holds the file for a commit.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// A commit writes to the disk and may bring the whole log into the file. A disk that hangs hangs for everybody.
const END_TIMEOUT: Duration = Duration::from_secs(60);

pub(in crate::store) struct SqliteDriver {
    /// A single connection: writers of this process queue here, in order, and not in SQLite's busy loop.
    writer: SqlitePool,
    readers: SqlitePool,
    path: PathBuf,
    /// The file that the connections write to, whatever stands at the path by now.
    opened: FileId,
    /// Bytes of deliveries since the log was last brought into the file.
    logged_bytes: AtomicUsize,
    checkpoint_due: Arc<Notify>,
}

impl SqliteDriver {
    pub(in crate::store) async fn open(path: &Path) -> Result<Self, StoreError> {
        make_private(path);
        let options = options(path);
        let pool = |connections: u32| {
            SqlitePoolOptions::new().max_connections(connections).acquire_timeout(ACQUIRE_TIMEOUT)
        };
        let writer = pool(1).connect_with(options.clone()).await?;
        let readers = pool(READERS_MAX).connect_lazy_with(options);
        let checkpoint_due = Arc::new(Notify::new());
        tokio::spawn(checkpoints(readers.clone(), checkpoint_due.clone()));
        let opened = FileId::at(path)?;
        let logged_bytes = AtomicUsize::new(0);
        Ok(Self { writer, readers, path: path.to_owned(), opened, logged_bytes, checkpoint_due })
    }

    /// A file of somebody else's, taken as it is: its writer never waits for ours to bring the log into the file or onto the
    /// disk. It is an error where it is not there.
    pub(in crate::store) async fn open_foreign(path: &Path) -> Result<Self, StoreError> {
        let opened = FileId::at(path)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .busy_timeout(BUSY_TIMEOUT)
            .disable_statement_logging();
        let writing =
            options.clone().synchronous(SqliteSynchronous::Normal).pragma("wal_autocheckpoint", "0");
        let pool = || SqlitePoolOptions::new().max_connections(1).acquire_timeout(ACQUIRE_TIMEOUT);
        let readers = pool().connect_with(options.read_only(true)).await?;
        let writer = pool().connect_lazy_with(writing);
        let (path, checkpoint_due) = (path.to_owned(), Arc::default());
        Ok(Self { writer, readers, path, opened, logged_bytes: AtomicUsize::new(0), checkpoint_due })
    }

    /// Fails where the path no longer leads to the file that is open: it was moved, deleted or replaced, and what is
    /// written to it would be found by nobody, and what is read of it is over.
    fn is_still_there(&self) -> Result<(), StoreError> {
        match FileId::at(&self.path).is_ok_and(|file| file == self.opened) {
            true => Ok(()),
            false => Err(StoreError::Replaced),
        }
    }
}

/// Device and inode: a file that is put in another's place has another.
#[derive(PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    fn at(path: &Path) -> Result<Self, StoreError> {
        let unreadable =
            |error: std::io::Error| StoreError::Unavailable(format!("the database's file: {error}"));
        let file = std::fs::metadata(path).map_err(unreadable)?;
        Ok(Self { device: file.dev(), inode: file.ino() })
    }
}

/// Makes the file where there is none, for its owner alone: it has everybody's address, and the key of erasures. SQLite gives
/// the log beside it the same rights. What keeps it from being made is SQLite's to tell.
fn make_private(path: &Path) {
    let _ = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
}

/// How every connection is opened.
pub(in crate::store) fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // With NORMAL the last commits may be lost with the power, and an acknowledged delivery must not be.
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
        .foreign_keys(true)
        // A checkpoint waits for the disk twice, and whoever commits waits for the checkpoint. While deliveries pour in
        // it is done beside them; by the time that this limit (64 MB) is reached there is little left to do.
        .pragma("wal_autocheckpoint", "16000")
        // What is deleted is overwritten with zeros: erased people must not be found in the file's free space.
        .pragma("secure_delete", "ON")
        .disable_statement_logging()
}

#[async_trait]
impl Driver for SqliteDriver {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    async fn begin(&self, access: Access) -> Result<Box<dyn Tx>, StoreError> {
        self.is_still_there()?;
        let session = match access {
            Access::Read => Session::begin(&self.readers, "BEGIN", BEGIN_TIMEOUT).await?,
            Access::Write | Access::Decide { .. } => {
                Session::begin(&self.writer, WRITE, BEGIN_TIMEOUT).await?
            }
        };
        Ok(Box::new(SqliteTx(session)))
    }

    /// Each value is bound by itself: as JSON, which is how many rows travel elsewhere, a body is written and read ten
    /// times.
    async fn accept(&self, deliveries: &[NewDelivery]) -> Result<Option<Vec<(String, String)>>, StoreError> {
        let mut session = Session::begin(&self.writer, WRITE, BEGIN_TIMEOUT).await?;
        let connection = session.connection()?;
        let mut count = 0;
        for step in deliveries.chunks(STEP_ROWS_MAX) {
            // Each that is new is written with its state.
            count += insert(step).execute(&mut *connection).await?.rows_affected() / 2;
        }
        let mut new = None;
        if count < deliveries.len() as u64 {
            let latest = Dialect::Sqlite.own(&format!(
                "SELECT source, message_id FROM headcount.deliveries ORDER BY seq DESC LIMIT {count}"
            ));
            let rows = sqlx::query(AssertSqlSafe(latest)).fetch_all(&mut *connection).await?;
            let key = |row: &SqliteRow| Ok((row.try_get_unchecked(0)?, row.try_get_unchecked(1)?));
            new = Some(rows.iter().map(key).collect::<Result<_, sqlx::Error>>()?);
        }
        session.end("COMMIT", END_TIMEOUT).await?;
        // Behind the commit, so that nothing is acknowledged that went into a file that is gone.
        self.is_still_there()?;
        let bytes: usize =
            deliveries.iter().filter_map(|delivery| delivery.body.as_ref()).map(String::len).sum();
        if self.logged_bytes.fetch_add(bytes, Relaxed) + bytes >= CHECKPOINT_BYTES {
            self.logged_bytes.store(0, Relaxed);
            self.checkpoint_due.notify_one();
        }
        Ok(new)
    }

    /// The log holds what was written last: it goes into the file and is cut off. A reader may hold it for a moment.
    async fn scrub(&self) -> Result<(), StoreError> {
        let mut failures = 0;
        loop {
            let row = sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&self.writer).await?;
            if row.try_get_unchecked::<i64, _>(0)? == 0 {
                return Ok(());
            }
            failures += 1;
            let Some(delay_ms) = SCRUB.next_delay_ms(failures, 0.0) else {
                return Err(StoreError::Unavailable(
                    "a reader holds the database's log, which still has what was erased".to_owned(),
                ));
            };
            tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        }
    }

    /// The file itself: one that was put in its place is another.
    async fn fingerprint(&self, _table: &str) -> Result<String, StoreError> {
        let file = FileId::at(&self.path)?;
        Ok(format!("{}.{}", file.device, file.inode))
    }

    async fn takes_writes(&self) -> Result<(), StoreError> {
        match timeout(PROBE_TIMEOUT, self.begin(Access::Write)).await {
            Ok(begun) => begun?.rollback().await,
            Err(_) => {
                Err(StoreError::Held(format!("it did not let go within {} s", PROBE_TIMEOUT.as_secs())))
            }
        }
    }

    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Brings the log into the file whenever that is due, until the pool is closed. It holds up neither readers nor the
/// writer, and takes only what none of them still needs.
async fn checkpoints(readers: SqlitePool, due: Arc<Notify>) {
    loop {
        tokio::select! {
            biased;
            () = readers.close_event() => return,
            () = due.notified() => {}
        }
        if let Err(error) = sqlx::raw_sql("PRAGMA wal_checkpoint(PASSIVE)").execute(&readers).await {
            debug!("the log stays as it is until the next commit that finds it long: {error}");
        }
    }
}

/// Deliveries, and the states of those that had none: one text, for each is a way to the connection's thread and back. Rows
/// of nulls fill it up to a power of two, so that there are few to keep prepared.
fn insert(deliveries: &[NewDelivery]) -> sqlx::query::Query<'static, Sqlite, SqliteArguments> {
    let dialect = Dialect::Sqlite;
    let rows = deliveries.len().next_power_of_two();
    let stateless = format!(
        "(SELECT seq, dead_because, {FIRST_STATUS} AS status FROM headcount.deliveries
          WHERE seq > coalesce((SELECT max(seq) FROM headcount.delivery_states), 0))"
    );
    let columns = [TEXTS.as_slice(), TIMES.as_slice()].concat();
    let sql = dialect.own(&format!(
        "INSERT INTO headcount.deliveries ({}, received_at) SELECT v.*, {now} FROM (VALUES {}) AS v
         WHERE v.column1 IS NOT NULL ON CONFLICT (source, message_id) DO NOTHING; {}",
        columns.join(", "),
        vec![format!("({})", vec!["?"; columns.len()].join(", ")); rows].join(", "),
        first_states(&stateless, dialect.began()),
        now = dialect.began(),
    ));
    let cells = deliveries.iter().flat_map(|delivery| {
        let texts = delivery.texts().map(|text| text.map(str::to_owned));
        texts.into_iter().chain(delivery.times().map(|time| time.map(|time| time.to_string())))
    });
    let padding = std::iter::repeat_n(None, (rows - deliveries.len()) * columns.len());
    cells.chain(padding).fold(sqlx::query(AssertSqlSafe(sql)), |query, cell| query.bind(cell))
}

struct SqliteTx(Session<Sqlite>);

impl SqliteTx {
    /// What an error means for the transaction. SQLite rolls some back by itself: where the disk is full, for instance, and
    /// where a trigger asks for it. It has no word for that, but a second `BEGIN` succeeds only where none is open any more.
    async fn failed(&mut self, error: sqlx::Error) -> StoreError {
        let error = self.0.failed(error);
        let Ok(connection) = self.0.connection() else { return error };
        match connection.execute(sqlx::raw_sql("BEGIN")).await {
            Err(_) => error,
            Ok(_) => {
                self.0.give_up();
                error.undone()
            }
        }
    }
}

fn query(sql: &str, args: Vec<Arg>) -> sqlx::query::Query<'static, Sqlite, SqliteArguments> {
    let mut query = sqlx::query(AssertSqlSafe(sql.to_owned()));
    for arg in args {
        query = match arg {
            Arg::Text(text) => query.bind(text),
            Arg::Int(number) => query.bind(number),
            Arg::Rows(rows) => query.bind(serde_json::json!(rows).to_string()),
            Arg::NoRows(_) => query.bind("[]"),
        };
    }
    query
}

fn decode(rows: &[SqliteRow]) -> Result<Vec<Row>, StoreError> {
    let Some(first) = rows.first() else { return Ok(Vec::new()) };
    let names: ColumnNames = first.columns().iter().map(|column| column.name().into()).collect();
    // Unchecked: SQLite turns a number into its text by itself. What is no UTF-8, because an application wrote bytes,
    // reads as a text that nobody else writes.
    let cell = |row: &SqliteRow, index: usize| -> Result<Option<String>, StoreError> {
        let bytes = row.try_get_unchecked::<Option<&[u8]>, _>(index)?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
    };
    let row = |row| {
        let cells = (0..names.len()).map(|index| cell(row, index)).collect::<Result<_, _>>()?;
        Ok(Row::new(names.clone(), cells))
    };
    rows.iter().map(row).collect()
}

#[async_trait]
impl Tx for SqliteTx {
    async fn fetch(&mut self, sql: &str, args: Vec<Arg>) -> Result<Vec<Row>, StoreError> {
        match query(sql, args).fetch_all(self.0.connection()?).await {
            Ok(rows) => decode(&rows),
            Err(error) => Err(self.failed(error).await),
        }
    }

    async fn execute(&mut self, sql: &str, args: Vec<Arg>) -> Result<u64, StoreError> {
        match query(sql, args).execute(self.0.connection()?).await {
            Ok(done) => Ok(done.rows_affected()),
            Err(error) => Err(self.failed(error).await),
        }
    }

    async fn script(&mut self, sql: &str) -> Result<(), StoreError> {
        match self.0.connection()?.execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.failed(error).await),
        }
    }

    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        self.0.end("COMMIT", END_TIMEOUT).await
    }

    async fn rollback(self: Box<Self>) -> Result<(), StoreError> {
        self.0.end("ROLLBACK", END_TIMEOUT).await
    }
}
