//! A connection of a pool for the length of one transaction.
//!
//! It goes back to the pool only where its state is known: after a commit or a rollback that the database has confirmed.
//! In every other case it is closed, which rolls back at the database what was open. A transaction that is only dropped is
//! rolled back a moment later.

use crate::store::engine::error::{StoreError, leaves_unknown_state};
use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, Database, Executor, Pool};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::timeout;

/// How long the database has for telling that a connection is well when it is handed back.
const HAND_BACK_TIMEOUT: Duration = Duration::from_secs(5);

/// An open transaction on a connection of its own.
pub(super) struct Session<D: Database> {
    /// `None` once it has been given up or handed back.
    connection: Option<PoolConnection<D>>,
    /// What becomes of the connection where nobody has ended the transaction.
    undo: fn(PoolConnection<D>),
}

impl<D> Session<D>
where
    D: Database,
    for<'c> &'c mut D::Connection: Executor<'c, Database = D>,
{
    /// Takes a connection from the pool and begins with this statement, without parameters.
    pub(super) async fn begin(
        pool: &Pool<D>,
        statement: &str,
        within: Duration,
    ) -> Result<Self, sqlx::Error> {
        let mut connection = pool.acquire().await?;
        let begun = connection.execute(sqlx::raw_sql(AssertSqlSafe(statement.to_owned())));
        match answered(within, begun).await {
            Ok(_) => Ok(Self { connection: Some(connection), undo: undo_later }),
            Err(error) => {
                give_up(connection);
                Err(error)
            }
        }
    }

    /// The connection while the transaction is open.
    pub(super) fn connection(&mut self) -> Result<&mut D::Connection, StoreError> {
        let gone = "the transaction has ended already, because of an error before this one";
        self.connection.as_deref_mut().ok_or_else(|| StoreError::Unavailable(gone.to_owned()))
    }

    /// The error for the caller. Where nobody knows any more what the connection's state is, it is closed.
    pub(super) fn failed(&mut self, error: sqlx::Error) -> StoreError {
        if leaves_unknown_state(&error) {
            self.give_up();
        }
        error.into()
    }

    /// Ends the transaction with this statement.
    pub(super) async fn end(mut self, statement: &'static str, within: Duration) -> Result<(), StoreError> {
        let ended = self.connection()?.execute(sqlx::raw_sql(statement));
        match answered(within, ended).await {
            Ok(_) => {
                self.hand_back();
                Ok(())
            }
            Err(error) => {
                self.give_up();
                Err(error.into())
            }
        }
    }

    /// Closes the connection without a word to the database, which may not be listening.
    pub(super) fn give_up(&mut self) {
        if let Some(connection) = self.connection.take() {
            give_up(connection);
        }
    }

    fn hand_back(&mut self) {
        if let Some(connection) = self.connection.take() {
            hand_back(connection);
        }
    }
}

impl<D: Database> Drop for Session<D> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            (self.undo)(connection);
        }
    }
}

/// Rolls back beside whoever goes on. A statement that was under way comes to its end first; where that takes long, the
/// connection is closed.
fn undo_later<D>(mut connection: PoolConnection<D>)
where
    D: Database,
    for<'c> &'c mut D::Connection: Executor<'c, Database = D>,
{
    let Ok(runtime) = Handle::try_current() else { return give_up(connection) };
    runtime.spawn(async move {
        let undone = connection.execute(sqlx::raw_sql("ROLLBACK"));
        match answered(HAND_BACK_TIMEOUT, undone).await {
            Ok(_) => hand_back(connection),
            Err(_) => give_up(connection),
        }
    });
}

/// Closes the connection; the pool may open another one in its place at once.
pub(super) fn give_up<D: Database>(connection: PoolConnection<D>) {
    drop(connection.detach());
}

/// Gives the pool a connection back. The pool asks it whether it is well, and one that does not answer is closed.
fn hand_back<D: Database>(mut connection: PoolConnection<D>) {
    let returned = connection.return_to_pool();
    tokio::spawn(timeout(HAND_BACK_TIMEOUT, returned));
}

/// What the database answers within this time.
pub(super) async fn answered<T>(
    within: Duration,
    asked: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    timeout(within, asked).await.unwrap_or_else(|_| Err(no_answer(within)))
}

/// The database did not answer in time.
pub(super) fn no_answer(within: Duration) -> sqlx::Error {
    let text = format!("the database gave no answer within {} s", within.as_secs());
    sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, text))
}
