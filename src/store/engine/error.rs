//! What can go wrong in the database, by what helps.

use thiserror::Error;

/// PostgreSQL's SQLSTATE for a right that is missing.
const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// PostgreSQL's SQLSTATE for a transaction that may only read.
const READ_ONLY_TRANSACTION: &str = "25006";
/// PostgreSQL's SQLSTATE for a session that it ended because its transaction stood still.
const STOOD_STILL: &str = "25P03";
/// PostgreSQL's SQLSTATE for a lock that was not to be had in time.
const LOCK_NOT_AVAILABLE: &str = "55P03";
/// PostgreSQL's SQLSTATE for a statement that was cancelled, by a time limit or by a person.
const QUERY_CANCELED: &str = "57014";
/// The routine of PostgreSQL that raises the errors of an application's own functions, whose texts may quote a row.
const RAISED_BY_A_FUNCTION: &str = "exec_stmt_raise";

#[derive(Debug, Error)]
pub enum StoreError {
    /// The database cannot be reached, is busy, full or read-only, or a commit's outcome is unknown. Trying again helps.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// The database takes no writes: it is a replica, or was set to be read only. Trying again helps once it is not.
    #[error("the database is read-only: {0}")]
    ReadOnly(String),
    /// Another process holds SQLite's file. Trying again helps once that has let go.
    #[error("another process holds the database's file: {0}")]
    Held(String),
    /// There is no room for what is to be written. Trying again helps once a person has made some.
    #[error("the disk is full; make room on it: {0}")]
    Full(String),
    /// SQLite's file was moved, deleted or replaced while it was open. A person has to put it back, or restart headcount.
    #[error("another file stands in the place of the database's, or none: put it back, or restart headcount")]
    Replaced,
    /// The database refuses this very row: a constraint, a trigger, or a value that it cannot hold. Trying the same
    /// again helps only once somebody has made room.
    #[error("{0}")]
    Rejected(String),
    /// The database refuses a row and has rolled the whole transaction back with it (SQLite's `RAISE(ROLLBACK)`).
    #[error("{0}; the whole transaction was rolled back")]
    Undone(String),
    /// A statement was cancelled: by a time limit of the database, or by a person. Trying again helps unless it is always
    /// the same row's.
    #[error("the database cancelled a statement: {0}")]
    Cancelled(String),
    /// The database's files are damaged. A person has to restore them.
    #[error("the database is damaged: {0}")]
    Damaged(String),
    /// A cell of a table of headcount's own holds what headcount never writes there. A person has to act.
    #[error("{table}.{column} holds what headcount never writes there: was it edited by hand?")]
    Corrupt { table: &'static str, column: String },
    /// The set-up is wrong: a foreign table, a schema that does not fit. A person has to act.
    #[error("{0}")]
    Setup(String),
    /// The role that headcount connects as lacks a right (PostgreSQL). A person has to grant it.
    #[error("{0}")]
    Forbidden(String),
    /// Another transaction, of the application's perhaps, holds what is needed. Trying again helps once it has ended.
    #[error("{0}")]
    LockTimeout(String),
    /// What this process was doing is somebody else's by now, or was called off.
    #[error("{0}")]
    Lost(String),
}

/// Tables of headcount's own whose rows are each about one account, and `users`.
const TABLES_OF_ACCOUNTS: [&str; 6] =
    ["identities", "held_values", "altered_values", "confirmations", "deliveries", "users"];

impl StoreError {
    /// Whether it is the rows of one account that the database refuses or that cannot be read: the others go past it.
    pub fn is_of_one_account(&self) -> bool {
        match self {
            StoreError::Corrupt { table, .. } => TABLES_OF_ACCOUNTS.contains(table),
            _ => self.refuses_the_row(),
        }
    }

    /// Whether it is the row that the database refuses, so that all but the row may be written.
    pub fn refuses_the_row(&self) -> bool {
        matches!(self, StoreError::Rejected(_) | StoreError::Undone(_) | StoreError::Cancelled(_))
    }

    /// Whether the same call may succeed in a while.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            StoreError::Unavailable(_)
                | StoreError::ReadOnly(_)
                | StoreError::Held(_)
                | StoreError::Full(_)
                | StoreError::Replaced
                | StoreError::LockTimeout(_)
                | StoreError::Cancelled(_)
        )
    }

    /// Why a process cannot write, in words for anybody: without what the database said.
    pub fn why_no_writes(&self) -> &'static str {
        match self {
            StoreError::ReadOnly(_) => "the database is read-only",
            StoreError::Held(_) => "another process holds the database's file",
            StoreError::Full(_) => "the disk of the database is full",
            StoreError::Replaced => "another file stands in the place of the database's, or none",
            _ => "the database takes no writes now",
        }
    }

    /// Whether a person has to change the set-up or grant a right before the same call can succeed.
    pub fn is_wrong_setup(&self) -> bool {
        matches!(self, StoreError::Setup(_) | StoreError::Forbidden(_) | StoreError::Damaged(_))
    }

    /// The same error, met while nothing but the application's rows was being written: whatever a reachable database
    /// answers there is about those rows. What is everybody's stays what it is (contract, rule 11).
    pub(in crate::store) fn of_the_rows(self) -> Self {
        match self {
            StoreError::Setup(reason) | StoreError::Forbidden(reason) => StoreError::Rejected(reason),
            other => other,
        }
    }

    /// The same error, after which the transaction is found to be gone.
    pub(in crate::store) fn undone(self) -> Self {
        match self {
            StoreError::Rejected(reason) | StoreError::Setup(reason) | StoreError::Forbidden(reason) => {
                StoreError::Undone(reason)
            }
            other => other,
        }
    }
}

/// Whether nobody knows any more in which state the connection is that answered with this error, or whether it is of no
/// use any longer: it has to be closed. PostgreSQL's 25006 is one of them: the server became a replica, or the session
/// began while it was one.
pub(super) fn leaves_unknown_state(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(database) = error else {
        return !matches!(error, sqlx::Error::RowNotFound | sqlx::Error::ColumnDecode { .. });
    };
    if database.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_none() {
        // SQLite: the driver asks for itself whether the transaction is still there.
        return false;
    }
    let code = database.code().unwrap_or_default();
    matches!(code.get(..2), Some("08" | "53" | "58" | "XX"))
        || (code.starts_with("57") && code != QUERY_CANCELED)
        || matches!(&*code, READ_ONLY_TRANSACTION | STOOD_STILL)
}

/// Whether a connection that has just been taken from the pool turned out to be cut, or to be of no use any more: the
/// same on another connection may well succeed at once.
pub(super) fn is_of_an_old_connection(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) => true,
        sqlx::Error::Database(database) => {
            let code = database.code().unwrap_or_default();
            leaves_unknown_state(error) && matches!(code.get(..2), Some("08" | "57" | "25"))
        }
        _ => false,
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let sqlx::Error::Database(database) = &error else {
            return match error {
                sqlx::Error::ColumnDecode { .. }
                | sqlx::Error::Decode(_)
                | sqlx::Error::ColumnNotFound(_) => {
                    StoreError::Setup(format!("a table has an unexpected shape: {error}"))
                }
                _ => StoreError::Unavailable(error.to_string()),
            };
        };
        let code = database.code().unwrap_or_default().into_owned();
        let message = database.message();
        match database.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
            Some(postgres) => from_sqlstate(&code, message, postgres.routine()),
            None => from_sqlite(&code, message),
        }
    }
}

/// Decided by what is everybody's: connections (class 08), rollbacks of the server's (40), resources (53), an operator's
/// doing (57), the system (58, XX), a read-only transaction and a lock. Everything else is about what was asked.
///
/// Class 22 quotes the value, and a function of the application's may quote whatever it likes: of those only the code is
/// kept. A class 23 message names the constraint alone.
fn from_sqlstate(code: &str, message: &str, routine: Option<&str>) -> StoreError {
    let told = format!("{message} (SQLSTATE {code})");
    match (code.get(..2).unwrap_or_default(), code) {
        (_, LOCK_NOT_AVAILABLE) => StoreError::LockTimeout(told),
        (_, QUERY_CANCELED) => StoreError::Cancelled(told),
        (_, READ_ONLY_TRANSACTION) => StoreError::ReadOnly(told),
        (_, STOOD_STILL) | ("08" | "40" | "53" | "57" | "58" | "XX", _) => StoreError::Unavailable(told),
        _ if routine == Some(RAISED_BY_A_FUNCTION) => {
            StoreError::Rejected(format!("a trigger or check refuses the row (SQLSTATE {code})"))
        }
        ("22" | "54", _) => StoreError::Rejected(format!("the database refuses a value (SQLSTATE {code})")),
        ("23", _) => StoreError::Rejected(message.to_owned()),
        ("P0" | "44" | "27", _) => {
            StoreError::Rejected(format!("a trigger or check refuses the row (SQLSTATE {code})"))
        }
        (_, INSUFFICIENT_PRIVILEGE) => StoreError::Forbidden(told),
        // No such role, a wrong password, no such database.
        ("28" | "3D", _) => {
            StoreError::Setup(format!("{told}; check role, password and database in the URL"))
        }
        _ => StoreError::Setup(told),
    }
}

/// By the primary code, which is the result code's low byte: <https://www.sqlite.org/rescode.html>.
fn from_sqlite(code: &str, message: &str) -> StoreError {
    const READ_ONLY: u32 = 8;
    let told = format!("{message} (SQLite code {code})");
    match code.parse::<u32>().unwrap_or(0) & 0xff {
        // constraint, too big, mismatch
        18..=20 => StoreError::Rejected(message.to_owned()),
        // corrupt, not a database
        11 | 26 => StoreError::Damaged(format!("{told}; stop headcount and restore the file from a backup")),
        READ_ONLY => StoreError::ReadOnly(told),
        5 | 6 => StoreError::Held(told),
        13 => StoreError::Full(told),
        // no memory, interrupted, I/O, cannot open, lock protocol
        7 | 9 | 10 | 14 | 15 => StoreError::Unavailable(told),
        _ => StoreError::Setup(message.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(code: &str) -> StoreError {
        from_sqlstate(code, "told", None)
    }

    #[test]
    fn a_right_that_is_missing_is_told_from_a_table_that_is_missing() {
        let right = said("42501");
        assert!(matches!(right, StoreError::Forbidden(_)) && right.is_wrong_setup(), "{right:?}");
        let table = said("42P01");
        assert!(matches!(table, StoreError::Setup(_)) && table.is_wrong_setup(), "{table:?}");
        assert!(matches!(said("4250"), StoreError::Setup(_)), "the whole code counts");
    }

    #[test]
    fn beside_rows_everything_is_theirs_but_for_what_is_everybodys() {
        for code in ["42501", "PT409", "21000", "42P01", "55000", "P0001", "23505", "22001", "0A000", "HC001"]
        {
            let error = said(code).of_the_rows();
            assert!(matches!(error, StoreError::Rejected(_)), "{code}: {error:?}");
        }
        for code in ["08006", "40001", "40P01", "53100", "57P01", "58030", "XX000", "25006", "25P03"] {
            let error = said(code).of_the_rows();
            assert!(error.is_transient() && !error.is_of_one_account(), "{code}: {error:?}");
        }
        assert!(matches!(said("55P03").of_the_rows(), StoreError::LockTimeout(_)));
        assert!(matches!(said("57014").of_the_rows(), StoreError::Cancelled(_)));
        for code in ["13", "10", "778", "8", "1032", "7", "5", "517"] {
            let error = from_sqlite(code, "told").of_the_rows();
            assert!(error.is_transient() && !error.is_of_one_account(), "{code}: {error:?}");
        }
        for code in ["11", "26"] {
            assert!(matches!(from_sqlite(code, "told").of_the_rows(), StoreError::Damaged(_)));
        }
        for code in ["1", "19", "1811", "20"] {
            assert!(matches!(from_sqlite(code, "told").of_the_rows(), StoreError::Rejected(_)));
        }
    }

    #[test]
    fn why_nothing_can_be_written_is_told_without_the_databases_words() {
        let told = |error: StoreError| error.why_no_writes();
        assert_eq!(told(said("25006")), "the database is read-only");
        assert_eq!(told(from_sqlite("8", "words")), "the database is read-only");
        assert_eq!(told(from_sqlite("5", "words")), "another process holds the database's file");
        assert_eq!(told(from_sqlite("13", "words")), "the disk of the database is full");
        assert_eq!(told(said("08006")), "the database takes no writes now");
    }

    #[test]
    fn what_a_function_of_the_applications_says_is_not_repeated() {
        let error = from_sqlstate("42501", "bob@corp.com is not welcome", Some("exec_stmt_raise"));
        assert!(matches!(&error, StoreError::Rejected(reason) if !reason.contains("bob")), "{error:?}");
    }
}
