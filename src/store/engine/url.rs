//! Which database: the URLs that are handed out, and what other tools' parameters in them mean (nothing).

use crate::store::engine::error::StoreError;
use crate::store::engine::postgres_url;
use std::path::PathBuf;
use url::Url;

/// What is shown in the place of a secret.
const HIDDEN: &str = "***";

#[derive(Clone, Debug)]
pub enum DatabaseUrl {
    /// The file's path.
    Sqlite(PathBuf),
    /// Every part is encoded, whatever was written; the parameters are those that the driver knows.
    Postgres {
        url: Url,
        /// What the URL asks for and gets in another way, for people.
        notes: Vec<String>,
        /// Connections of this process at the most.
        connections_max: u32,
    },
}

impl DatabaseUrl {
    /// Reads a URL.
    ///
    /// # Errors
    ///
    /// [`StoreError::Setup`], which names the part that cannot be read and never quotes a password.
    pub fn parse(text: &str) -> Result<Self, StoreError> {
        let scheme = text.split(':').next().unwrap_or_default();
        match scheme {
            "sqlite" => sqlite_path(text),
            "postgres" | "postgresql" => {
                let (url, notes) = postgres_url::parse(text)?;
                Ok(Self::Postgres { url, notes, connections_max: CONNECTIONS_DEFAULT })
            }
            "file" => Err(setup(
                "the database URL begins with `file`; headcount writes such a path as sqlite://PATH"
                    .to_owned(),
            )),
            other => {
                let known = other.len() < text.len() && other.chars().all(|c| c.is_ascii_alphanumeric());
                let begins =
                    if known { format!("begins with `{other}`") } else { "has no scheme".to_owned() };
                Err(setup(format!(
                    "the database URL {begins}; use sqlite://PATH, postgres://… or postgresql://…"
                )))
            }
        }
    }

    /// How many connections this process opens at most; none that are counted for a file.
    pub fn connections_max(&self) -> u32 {
        match self {
            Self::Sqlite(_) => 0,
            Self::Postgres { connections_max, .. } => *connections_max,
        }
    }

    /// The same database over so many connections; of no meaning for SQLite, which has one writer.
    pub fn over_connections(self, connections_max: u32) -> Self {
        match self {
            Self::Sqlite(path) => Self::Sqlite(path),
            Self::Postgres { url, notes, .. } => Self::Postgres { url, notes, connections_max },
        }
    }

    /// Whether the URL holds a password.
    pub fn has_password(&self) -> bool {
        self.password().is_some()
    }

    /// The password as it is written in [`DatabaseUrl::Postgres`]: to be compared, never shown.
    pub fn password(&self) -> Option<&str> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgres { url, .. } => url.password(),
        }
    }

    /// What the URL asks for and gets in another way.
    pub fn notes(&self) -> &[String] {
        match self {
            Self::Sqlite(_) => &[],
            Self::Postgres { notes, .. } => notes,
        }
    }

    /// The URL without its password, for people.
    pub fn redacted(&self) -> String {
        match self {
            Self::Sqlite(path) => format!("sqlite://{}", path.display()),
            Self::Postgres { url, .. } => {
                let mut shown = url.clone();
                if shown.password().is_some() {
                    // Fails only for URLs that cannot have a password.
                    let _ = shown.set_password(Some(HIDDEN));
                }
                shown.to_string()
            }
        }
    }
}

/// Connections of one process at the most, unless HEADCOUNT_DATABASE_CONNECTIONS says another number.
const CONNECTIONS_DEFAULT: u32 = 8;

fn sqlite_path(text: &str) -> Result<DatabaseUrl, StoreError> {
    let rest = text.strip_prefix("sqlite:").unwrap_or(text);
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let path = rest.split('?').next().unwrap_or_default();
    if path.is_empty() || path.contains(":memory:") {
        return Err(setup("a SQLite database needs a file: sqlite://PATH".to_owned()));
    }
    // An absolute path is written with three slashes or with four.
    let is_doubled = path.starts_with("//");
    Ok(DatabaseUrl::Sqlite(PathBuf::from(if is_doubled { &path[1..] } else { path })))
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
    fn a_path_is_read_as_it_is_written() {
        assert_eq!(shown("sqlite://headcount.db?mode=rwc"), "sqlite://headcount.db");
        assert_eq!(shown("sqlite:headcount.db"), "sqlite://headcount.db");
        for absolute in ["sqlite:///tmp/x.db", "sqlite:////tmp/x.db", "sqlite:/tmp/x.db"] {
            assert_eq!(shown(absolute), "sqlite:///tmp/x.db", "{absolute}");
        }
        assert_eq!(shown("sqlite://data//x.db"), "sqlite://data//x.db");
    }

    #[test]
    fn the_rest_says_what_to_use() {
        assert!(shown("mysql://root:secret@x/y").contains("use sqlite://PATH"));
        assert!(shown("file:./dev.db").contains("sqlite://PATH"));
        for text in ["mysql://root:secret@x/y", "secret", "se-cret:x", "postgres:secret"] {
            assert!(!shown(text).contains("cret"), "{}", shown(text));
        }
        assert!(shown("sqlite://").contains("needs a file"));
        assert!(shown("sqlite::memory:").contains("needs a file"));
    }
}
