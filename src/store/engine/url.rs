//! Which database: the URLs that are understood, and what other tools' parameters in them mean (nothing).

use crate::store::engine::error::StoreError;
use std::path::PathBuf;
use url::Url;

#[derive(Clone, Debug)]
pub enum DatabaseUrl {
    /// The file's path.
    Sqlite(PathBuf),
    Postgres(Url),
}

/// Parameters of a PostgreSQL URL that mean something to the driver. What Prisma, PgBouncer, Supabase and others put
/// beside them is passed over.
const POSTGRES_PARAMETERS: [&str; 8] =
    ["sslmode", "sslrootcert", "sslcert", "sslkey", "host", "port", "user", "dbname"];

impl DatabaseUrl {
    pub fn parse(text: &str) -> Result<Self, StoreError> {
        let scheme = text.split(':').next().unwrap_or_default();
        match scheme {
            "sqlite" => sqlite_path(text),
            "postgres" | "postgresql" => {
                let mut url = Url::parse(text)
                    .map_err(|error| setup(format!("the database URL cannot be read: {error}")))?;
                let known: Vec<(String, String)> = url
                    .query_pairs()
                    .filter(|(key, _)| POSTGRES_PARAMETERS.contains(&&**key))
                    .map(|(key, value)| (key.into_owned(), value.into_owned()))
                    .collect();
                url.set_query(None);
                if !known.is_empty() {
                    url.query_pairs_mut().extend_pairs(known);
                }
                Ok(Self::Postgres(url))
            }
            other => Err(setup(format!(
                "the database URL begins with `{}`; use sqlite://PATH, postgres://… or postgresql://…",
                other.chars().take(20).collect::<String>()
            ))),
        }
    }

    /// The URL without its password, for people.
    pub fn redacted(&self) -> String {
        match self {
            Self::Sqlite(path) => format!("sqlite://{}", path.display()),
            Self::Postgres(url) => {
                let mut shown = url.clone();
                if shown.password().is_some() {
                    // Fails only for URLs that cannot have a password.
                    let _ = shown.set_password(Some("***"));
                }
                shown.to_string()
            }
        }
    }
}

fn sqlite_path(text: &str) -> Result<DatabaseUrl, StoreError> {
    let rest = text.trim_start_matches("sqlite:").trim_start_matches("//");
    let path = rest.split('?').next().unwrap_or_default();
    if path.is_empty() || path.contains(":memory:") {
        return Err(setup("a SQLite database needs a file: sqlite://PATH".to_owned()));
    }
    Ok(DatabaseUrl::Sqlite(PathBuf::from(path)))
}

fn setup(message: String) -> StoreError {
    StoreError::Setup(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        DatabaseUrl::parse(text).map_or_else(|error| error.to_string(), |url| url.redacted())
    }

    #[test]
    fn other_tools_parameters_are_ignored_and_passwords_hidden() {
        assert_eq!(
            shown("postgresql://me:secret@db.example:6543/app?pgbouncer=true&sslmode=require&schema=x"),
            "postgresql://me:***@db.example:6543/app?sslmode=require"
        );
        assert_eq!(shown("sqlite://headcount.db?mode=rwc"), "sqlite://headcount.db");
        assert_eq!(shown("sqlite:///tmp/x.db"), "sqlite:///tmp/x.db");
    }

    #[test]
    fn the_rest_says_what_to_use() {
        assert!(shown("mysql://root:secret@x/y").contains("use sqlite://PATH"));
        assert!(!shown("mysql://root:secret@x/y").contains("secret"));
        assert!(shown("sqlite://").contains("needs a file"));
        assert!(shown("sqlite::memory:").contains("needs a file"));
    }
}
