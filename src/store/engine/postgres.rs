//! PostgreSQL, direct or behind a transaction-mode pooler.
//!
//! Behind such a pooler every statement runs unnamed inside of an explicit transaction: a named one, or one outside of a
//! transaction, may meet another client's server connection. Where nobody is in between, statements are prepared once a
//! connection.

use crate::store::engine::accept_postgres::{insert, new};
use crate::store::engine::delivery::NewDelivery;
use crate::store::engine::dialect::Dialect;
use crate::store::engine::direct::is_direct;
use crate::store::engine::driver::{Access, Arg, Driver, Tx, width};
use crate::store::engine::error::{StoreError, is_of_an_old_connection};
use crate::store::engine::row::{ColumnNames, Row, only};
use crate::store::engine::session::{Session, answered, give_up, no_answer};
use crate::store::engine::url::DatabaseUrl;
use async_trait::async_trait;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgPool, PgPoolOptions, PgRow};
use sqlx::{AssertSqlSafe, Column as _, ConnectOptions, Connection, Executor, Postgres, Row as _};
use std::str::FromStr;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use url::{Host, Url};

/// With fewer, none is kept for storing deliveries alone: everything else would wait for the rest.
const CONNECTIONS_OF_WHICH_ONE_IS_KEPT: u32 = 4;
/// A database or a role may have it off by default; an acknowledged delivery must be on disk.
const WRITE: &str =
    "BEGIN; SET LOCAL synchronous_commit = on; SET LOCAL idle_in_transaction_session_timeout = 5000";
const WRITE_PREPARED: &str = "BEGIN";
/// Without statistics yet, which is how a table looks after a first run, five hundred rows by their ids are thought to be
/// worth compiling for: longer than reading them.
const READ: &str = "BEGIN READ ONLY; SET LOCAL jit = off";
/// What is decided about is looked up by its keys. On small tables, or those that it has no statistics of, the planner would
/// rather read all of it, for each batch.
const DECIDE: &str = "BEGIN; SET LOCAL synchronous_commit = on; SET LOCAL idle_in_transaction_session_timeout = 5000; \
     SET LOCAL jit = off; \
     SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_hashjoin = off; \
     SET LOCAL enable_mergejoin = off";
/// Where there is one way only to take, it is found once for each statement.
const DECIDE_PREPARED: &str = "BEGIN; SET LOCAL plan_cache_mode = force_generic_plan; \
     SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_hashjoin = off; \
     SET LOCAL enable_mergejoin = off";
/// Of each connection, so that no transaction has to say it; a pooler refuses such parameters. A process that is frozen
/// within a transaction, and a host that died, hold their locks for some seconds and not for the hours of TCP's defaults.
const OF_EACH_CONNECTION: [(&str, &str); 7] = [
    ("synchronous_commit", "on"),
    ("jit", "off"),
    ("idle_in_transaction_session_timeout", "5000"),
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "20000"),
];
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
const BEGIN_TIMEOUT: Duration = Duration::from_secs(5);
/// The database has so long for one answer. A connection may be dead without a sign: behind a failover, a load balancer, a
/// network that drops everything. What takes longer is never asked in one statement, but for migrations.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(25);
/// For storing a batch of deliveries: a provider waits.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(5);
const PING_TIMEOUT: Duration = Duration::from_secs(1);

pub(in crate::store) struct PostgresDriver {
    pool: PgPool,
    connections_max: u32,
    /// Nobody is in between.
    is_direct: bool,
    /// The connection that deliveries are stored over, once there were any.
    inbox: Mutex<Option<PoolConnection<Postgres>>>,
    mistrust: Mistrust,
}

/// When a connection last broke or gave no answer. What was idle before that is asked whether it is well before it is used.
#[derive(Clone, Default)]
struct Mistrust(Arc<StdMutex<Option<Instant>>>);

impl Mistrust {
    fn raise(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn is_about(&self, last_used: Instant) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|raised| last_used <= raised)
    }
}

impl PostgresDriver {
    /// Connects once, so that a wrong address is told now.
    pub(in crate::store) async fn open(url: &Url, connections_max: u32) -> Result<Self, StoreError> {
        let options = options(url)?;
        let is_direct = is_direct(&options).await?;
        let mistrust = Mistrust::default();
        let mistrusted = mistrust.clone();
        let pool = PgPoolOptions::new()
            .max_connections(connections_max)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .test_before_acquire(false)
            .before_acquire(move |connection, idle| {
                let is_mistrusted = mistrusted.is_about(Instant::now() - idle.idle_for);
                Box::pin(async move {
                    match is_mistrusted {
                        true => Ok(matches!(timeout(PING_TIMEOUT, connection.ping()).await, Ok(Ok(())))),
                        false => Ok(true),
                    }
                })
            })
            .connect_with(of_pool(options, is_direct))
            .await?;
        Ok(Self { pool, connections_max, is_direct, inbox: Mutex::default(), mistrust })
    }

    async fn begin_with(&self, statement: &str) -> Result<Session<Postgres>, StoreError> {
        let mut attempts = 1;
        loop {
            match Session::begin(&self.pool, statement, BEGIN_TIMEOUT).await {
                Ok(session) => return Ok(session),
                Err(error) if self.may_be_cut(&error, attempts) => attempts += 1,
                Err(error) => return Err(self.explained(error).await),
            }
        }
    }

    /// Connections that a restart of the server has cut are met at the next use, one after the other. Testing them before
    /// every use would cost a round trip. One that gave no answer has cost seconds: after it the others are tested.
    fn may_be_cut(&self, error: &sqlx::Error, attempts: u32) -> bool {
        if !is_of_an_old_connection(error) {
            return false;
        }
        self.mistrust.raise();
        let is_silent =
            matches!(error, sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::TimedOut);
        attempts <= if is_silent { 1 } else { self.connections_max }
    }

    /// The pool only says that it has waited. What it waited for is found out by connecting once more.
    async fn explained(&self, error: sqlx::Error) -> StoreError {
        if !matches!(error, sqlx::Error::PoolTimedOut) {
            return error.into();
        }
        match timeout(PING_TIMEOUT, self.pool.connect_options().connect()).await {
            Ok(Ok(_)) => StoreError::Unavailable(format!(
                "all {} connections of this process were in use for {} s",
                self.connections_max,
                ACQUIRE_TIMEOUT.as_secs()
            )),
            Ok(Err(cause)) => cause.into(),
            Err(_) => no_answer(ACQUIRE_TIMEOUT).into(),
        }
    }
}

/// How a connection of the pool is opened.
fn of_pool(options: PgConnectOptions, is_direct: bool) -> PgConnectOptions {
    if is_direct { options.options(OF_EACH_CONNECTION) } else { options }
}

/// How every connection is opened.
pub(in crate::store) fn options(url: &Url) -> Result<PgConnectOptions, StoreError> {
    let options = PgConnectOptions::from_str(url.as_str())
        .map_err(|error| StoreError::Setup(format!("the database URL cannot be used: {error}")))?;
    // The driver would look up the brackets around an address as a part of a name.
    let options = match url.host() {
        Some(Host::Ipv6(address)) if !url.query_pairs().any(|(name, _)| name == "host") => {
            options.host(&address.to_string())
        }
        _ => options,
    };
    // The first is a start-up parameter that poolers refuse.
    Ok(options.extra_float_digits(None).application_name("headcount").disable_statement_logging())
}

#[async_trait]
impl Driver for PostgresDriver {
    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    async fn begin(&self, access: Access) -> Result<Box<dyn Tx>, StoreError> {
        let statement = match (access, self.is_direct) {
            (Access::Read, _) => READ,
            (Access::Write, false) => WRITE,
            (Access::Write, true) => WRITE_PREPARED,
            (Access::Decide { .. }, false) => DECIDE,
            (Access::Decide { .. }, true) => DECIDE_PREPARED,
        };
        let statement = match access {
            Access::Read | Access::Write => statement.to_owned(),
            Access::Decide { lock_wait_ms } => {
                format!("{statement}; SET LOCAL lock_timeout = {lock_wait_ms}")
            }
        };
        Ok(Box::new(PostgresTx {
            session: self.begin_with(&statement).await?,
            is_direct: self.is_direct,
            // A migration takes as long as it takes.
            script_within: if access == Access::Write { None } else { Some(ANSWER_TIMEOUT) },
            mistrust: self.mistrust.clone(),
        }))
    }

    /// By itself where nobody is in between, and planned for these very values: many of them are filters that may be empty.
    async fn read(&self, sql: &str, args: Vec<Arg>) -> Result<Vec<Row>, StoreError> {
        if !self.is_direct {
            let mut tx = self.begin(Access::Read).await?;
            let rows = tx.fetch(sql, args).await?;
            tx.commit().await?;
            return Ok(rows);
        }
        let mut attempts = 1;
        loop {
            let mut connection = match self.pool.acquire().await {
                Ok(connection) => connection,
                Err(error) => return Err(self.explained(error).await),
            };
            let read = query(sql, args.clone(), false).fetch_all(&mut *connection);
            match answered(ANSWER_TIMEOUT, read).await {
                Ok(rows) => return decode(&rows),
                Err(error) => {
                    give_up(connection);
                    if !self.may_be_cut(&error, attempts) {
                        return Err(error.into());
                    }
                    attempts += 1;
                }
            }
        }
    }

    /// Where nobody is in between this is one round trip instead of four, on a connection that
    /// is kept: the pool asks each that it gets back whether it is well.
    ///
    /// What was sent over a connection that has been cut is sent once more: a message that is there already stays as it is.
    async fn accept(&self, deliveries: &[NewDelivery]) -> Result<Option<Vec<(String, String)>>, StoreError> {
        if !self.is_direct {
            let mut session = self.begin_with(WRITE).await?;
            let stored = insert(deliveries, false).fetch_all(session.connection()?);
            let rows = answered(ACCEPT_TIMEOUT, stored).await?;
            session.end("COMMIT", ACCEPT_TIMEOUT).await?;
            return new(&rows);
        }
        let mut kept = self.inbox.lock().await;
        let mut attempts = 1;
        loop {
            // Put back only after everything went well.
            let mut connection = match kept.take() {
                Some(connection) => connection,
                None => match self.pool.acquire().await {
                    Ok(connection) => connection,
                    Err(error) => return Err(self.explained(error).await),
                },
            };
            match answered(ACCEPT_TIMEOUT, insert(deliveries, true).fetch_all(&mut *connection)).await {
                Ok(rows) => {
                    *kept = (self.connections_max >= CONNECTIONS_OF_WHICH_ONE_IS_KEPT).then_some(connection);
                    return new(&rows);
                }
                Err(error) => {
                    give_up(connection);
                    if !self.may_be_cut(&error, attempts) {
                        return Err(error.into());
                    }
                    attempts += 1;
                }
            }
        }
    }

    /// Nothing of ours to do: VACUUM, the write-ahead log and the backups are its operator's.
    async fn scrub(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// The cluster, its timeline (a restore to a time that is over begins a new one, and so does a failover), the database,
    /// and the table.
    async fn fingerprint(&self, table: &str) -> Result<String, StoreError> {
        const SQL: &str = "SELECT concat_ws('.', (SELECT system_identifier FROM pg_control_system()),
                 CASE WHEN NOT pg_is_in_recovery() THEN substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END,
                 (SELECT oid FROM pg_database WHERE datname = current_database()),
                 CAST(CAST($1 AS regclass) AS oid)) AS fingerprint";
        only(self.read(SQL, vec![Arg::text(table)]).await?, "the catalog")?.text("fingerprint")
    }

    fn connect_as(&self, url: &DatabaseUrl) -> Result<(), StoreError> {
        if let DatabaseUrl::Postgres { url, .. } = url {
            self.pool.set_connect_options(of_pool(options(url)?, self.is_direct));
        }
        Ok(())
    }

    async fn close(&self) {
        *self.inbox.lock().await = None;
        self.pool.close().await;
    }
}

struct PostgresTx {
    session: Session<Postgres>,
    is_direct: bool,
    script_within: Option<Duration>,
    mistrust: Mistrust,
}

impl PostgresTx {
    fn failed(&mut self, error: sqlx::Error) -> StoreError {
        if is_of_an_old_connection(&error) {
            self.mistrust.raise();
        }
        self.session.failed(error)
    }
}

fn query(sql: &str, args: Vec<Arg>, is_direct: bool) -> sqlx::query::Query<'static, Postgres, PgArguments> {
    let mut query = sqlx::query(AssertSqlSafe(sql.to_owned())).persistent(is_direct);
    for arg in args {
        query = match arg {
            Arg::Text(text) => query.bind(text),
            Arg::Int(number) => query.bind(number),
            Arg::Rows(rows) => {
                let mut columns = vec![Vec::with_capacity(rows.len()); width(&rows)];
                for row in rows {
                    for (column, cell) in columns.iter_mut().zip(row) {
                        column.push(cell);
                    }
                }
                columns.into_iter().fold(query, |query, column| query.bind(column))
            }
            Arg::NoRows(width) => (0..width).fold(query, |query, _| query.bind(Vec::<String>::new())),
        };
    }
    query
}

fn decode(rows: &[PgRow]) -> Result<Vec<Row>, StoreError> {
    let Some(first) = rows.first() else { return Ok(Vec::new()) };
    let names: ColumnNames = first.columns().iter().map(|column| column.name().into()).collect();
    let row = |row: &PgRow| {
        let cells = (0..names.len()).map(|index| row.try_get(index)).collect::<Result<_, sqlx::Error>>()?;
        Ok(Row::new(names.clone(), cells))
    };
    rows.iter().map(row).collect()
}

#[async_trait]
impl Tx for PostgresTx {
    async fn fetch(&mut self, sql: &str, args: Vec<Arg>) -> Result<Vec<Row>, StoreError> {
        let asked = query(sql, args, self.is_direct).fetch_all(self.session.connection()?);
        match answered(ANSWER_TIMEOUT, asked).await {
            Ok(rows) => decode(&rows),
            Err(error) => Err(self.failed(error)),
        }
    }

    async fn execute(&mut self, sql: &str, args: Vec<Arg>) -> Result<u64, StoreError> {
        let asked = query(sql, args, self.is_direct).execute(self.session.connection()?);
        match answered(ANSWER_TIMEOUT, asked).await {
            Ok(done) => Ok(done.rows_affected()),
            Err(error) => Err(self.failed(error)),
        }
    }

    async fn script(&mut self, sql: &str) -> Result<(), StoreError> {
        let script = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        let asked = self.session.connection()?.execute(script);
        let done = match self.script_within {
            Some(within) => answered(within, asked).await,
            None => asked.await,
        };
        done.map(|_| ()).map_err(|error| self.failed(error))
    }

    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        self.session.end("COMMIT", ANSWER_TIMEOUT).await
    }

    async fn rollback(self: Box<Self>) -> Result<(), StoreError> {
        self.session.end("ROLLBACK", BEGIN_TIMEOUT).await
    }
}
