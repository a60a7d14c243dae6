//! What can go wrong in the database, by what helps.

use thiserror::Error;

/// PostgreSQL's SQLSTATE for a right that is missing.
const INSUFFICIENT_PRIVILEGE: &str = "42501";

#[derive(Debug, Error)]
pub enum StoreError {
    /// The database cannot be reached, is busy or full, or a commit's outcome is unknown. Trying again helps.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// The database refuses this very row: a constraint, a trigger, or a value that it cannot hold. Trying the same
    /// again helps only once somebody has made room.
    #[error("{0}")]
    Rejected(String),
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
const TABLES_OF_ACCOUNTS: [&str; 5] = ["identities", "held_values", "confirmations", "deliveries", "users"];

impl StoreError {
    /// Whether it is the rows of one account that the database refuses or that cannot be read: the others go past it.
    pub fn is_of_one_account(&self) -> bool {
        match self {
            StoreError::Rejected(_) => true,
            StoreError::Corrupt { table, .. } => TABLES_OF_ACCOUNTS.contains(table),
            _ => false,
        }
    }

    /// Whether the same call may succeed in a while.
    pub fn is_transient(&self) -> bool {
        matches!(self, StoreError::Unavailable(_) | StoreError::LockTimeout(_))
    }

    /// Whether a person has to change the set-up or grant a right before the same call can succeed.
    pub fn is_wrong_setup(&self) -> bool {
        matches!(self, StoreError::Setup(_) | StoreError::Forbidden(_))
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
        if database.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some() {
            from_sqlstate(&code, message)
        } else {
            from_sqlite(&code, message)
        }
    }
}

/// Class 22 quotes the value, so only its code is kept; a class 23 message names the constraint alone.
fn from_sqlstate(code: &str, message: &str) -> StoreError {
    match code.get(..2).unwrap_or_default() {
        "42" if code == INSUFFICIENT_PRIVILEGE => {
            StoreError::Forbidden(format!("{message} (SQLSTATE {code})"))
        }
        "22" | "54" => StoreError::Rejected(format!("the database refuses a value (SQLSTATE {code})")),
        "23" => StoreError::Rejected(message.to_owned()),
        "P0" | "44" | "27" => {
            StoreError::Rejected(format!("a trigger or check refuses the row (SQLSTATE {code})"))
        }
        "55" => StoreError::LockTimeout(format!("{message} (SQLSTATE {code})")),
        "42" | "3D" | "3F" | "28" | "0A" => StoreError::Setup(format!("{message} (SQLSTATE {code})")),
        _ => StoreError::Unavailable(format!("{message} (SQLSTATE {code})")),
    }
}

/// Primary codes: 19 constraint, 18 too big, 20 mismatch, 1 SQL error, 8 read-only, 23 not authorized, 26 not a
/// database. The rest (5 busy, 10 I/O, 13 full, 14 cannot open, …) may pass.
fn from_sqlite(code: &str, message: &str) -> StoreError {
    let primary = code.parse::<u32>().unwrap_or(0) & 0xff;
    match primary {
        18..=20 => StoreError::Rejected(message.to_owned()),
        1 | 8 | 23 | 26 => StoreError::Setup(message.to_owned()),
        _ => StoreError::Unavailable(format!("{message} (SQLite code {code})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_that_is_missing_is_told_from_a_table_that_is_missing() {
        let right = from_sqlstate("42501", "permission denied for table users");
        assert!(matches!(right, StoreError::Forbidden(_)) && right.is_wrong_setup(), "{right:?}");
        let table = from_sqlstate("42P01", "relation \"users\" does not exist");
        assert!(matches!(table, StoreError::Setup(_)) && table.is_wrong_setup(), "{table:?}");
        assert!(matches!(from_sqlstate("4250", ""), StoreError::Setup(_)), "the whole code counts");
    }
}
