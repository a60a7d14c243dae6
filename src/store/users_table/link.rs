//! Finding the row that was there before its account was (contract, rule 10).

use super::{IdKind, Place, UsersTable, literal};
use crate::core::columns::Column;
use crate::nearest::nearest;
use crate::store::engine::dialect::{Dialect, quoted};

impl UsersTable {
    /// A user's id from outside, as this table writes it; `None` where it cannot be one.
    pub fn id_from(&self, text: &str) -> Option<String> {
        match self.id.kind {
            IdKind::Uuid => uuid::Uuid::parse_str(text).ok().map(|id| id.hyphenated().to_string()),
            IdKind::Integer => text.parse::<i64>().ok().map(|id| id.to_string()),
            IdKind::Text => (!text.is_empty() && !text.contains('\0')).then(|| text.to_owned()),
        }
    }

    /// An account's id as that of its row; `None` where the column cannot hold it. Numbers are the table's own to give.
    pub fn shared_id_from(&self, provider_id: &str) -> Option<String> {
        let is_hyphenated = |text: &&str| text.len() == 36;
        match self.id.kind {
            IdKind::Uuid => Some(provider_id).filter(is_hyphenated).and_then(|text| self.id_from(text)),
            IdKind::Text => self.id_from(provider_id),
            IdKind::Integer => None,
        }
    }

    /// The same of `the_account`, in the function that makes users on PostgreSQL.
    pub(super) fn shared_id_of_account(&self) -> &'static str {
        match self.id.kind {
            IdKind::Uuid => {
                "CASE WHEN the_account ~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$' \
                 THEN CAST(the_account AS uuid) END"
            }
            IdKind::Text => "the_account",
            IdKind::Integer => "CAST(NULL AS bigint)",
        }
    }

    /// Whether the column lies in the application's own table.
    pub fn is_theirs(&self, column: Column) -> bool {
        self.is_adopted && self.fields.get(column.index()).is_some_and(|placed| placed.place == Place::Users)
    }

    /// Whether the table has a column of this name.
    pub fn has_column(&self, name: &str) -> bool {
        self.their_columns.contains(name)
    }

    /// Columns of theirs, for a message.
    pub fn nearest_column(&self, name: &str) -> &str {
        let nearest = nearest(&self.their_columns, name);
        nearest.map_or("", String::as_str)
    }

    /// Value and id of the rows whose `column` holds one of the texts in the only parameter.
    pub fn ids_by_column(&self, column: &str) -> String {
        let column = format!("u.{}", quoted(column));
        let value = format!("CAST({column} AS text)");
        // SQLite takes no index for a cast, and compares by the column's own type.
        let compared = if self.dialect == Dialect::Sqlite { &column } else { &value };
        format!(
            "SELECT {value} AS text, {} AS id, NULL AS verified FROM {} u WHERE {compared} IN (SELECT v.c1 FROM {})",
            self.id_text("u."),
            self.table,
            self.dialect.rows(1, 1)
        )
    }

    /// Address, id and whether it is verified here (null where the table does not say) of the rows that may have one of
    /// the addresses in the only parameter, by what the database takes for small letters; `None` where addresses do not lie
    /// in `users`.
    pub fn ids_by_email(&self) -> Option<String> {
        let in_users = |name: &str| self.placed(name).filter(|placed| placed.place == Place::Users);
        let email = in_users("email")?;
        let verified = match in_users("email_verified") {
            Some(placed) => placed.cell.text(self.dialect, &placed.sql()),
            None => "NULL".to_owned(),
        };
        let address = email.cell.text(self.dialect, &email.sql());
        Some(format!(
            "SELECT {address} AS text, {} AS id, {verified} AS verified FROM {} u WHERE lower({address}) IN (SELECT lower(v.c1) FROM {})",
            self.id_text("u."),
            self.table,
            self.dialect.rows(1, 1)
        ))
    }

    /// Whether `hinted_address` is a user's, verified or without a word about that; in the function that makes users on
    /// PostgreSQL. Capitals mean nothing in ASCII; the two spellings of a domain are not compared there.
    pub(super) fn is_users_address(&self) -> String {
        let in_users = |name: &str| self.placed(name).filter(|placed| placed.place == Place::Users);
        let Some(email) = in_users("email") else { return "false".to_owned() };
        let address = email.cell.text(self.dialect, &email.sql());
        let verified = in_users("email_verified")
            .map_or_else(|| "NULL".to_owned(), |placed| placed.cell.text(self.dialect, &placed.sql()));
        let folded = |text: &str| {
            format!("translate({text}, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', 'abcdefghijklmnopqrstuvwxyz')")
        };
        format!(
            "EXISTS (SELECT 1 FROM {} u WHERE lower({address}) = lower(hinted_address)
                 AND {} = {} AND CAST({verified} AS text) IS DISTINCT FROM 'false')",
            self.table,
            folded(&address),
            folded("hinted_address")
        )
    }

    /// Which of the ids in the only parameter some account has, with its source, and whether it lives and was erased.
    pub fn taken(&self) -> String {
        self.dialect.own(&format!(
            "SELECT DISTINCT i.user_id, i.source, CASE WHEN i.state = 'deleted' THEN '0' ELSE '1' END AS lives,
                    CASE WHEN i.deleted_by = 'erase' THEN '1' ELSE '0' END AS is_erased
             FROM {} JOIN headcount.identities i ON i.user_id = v.c1",
            self.dialect.rows(1, 1)
        ))
    }

    /// Provider id and user of the accounts (source, provider id) in the only parameter that have one.
    pub fn users_of_accounts(&self) -> String {
        self.dialect.own(&format!(
            "SELECT i.provider_id, i.user_id FROM {} JOIN headcount.identities i
                 ON i.source = v.c1 AND i.provider_id = v.c2 WHERE i.user_id IS NOT NULL",
            self.dialect.rows(1, 2)
        ))
    }

    /// How many rows there are, and how many of them belong to no account.
    pub fn count_unlinked(&self) -> String {
        self.dialect.own(&format!(
            "SELECT CAST(count(*) AS text) AS count,
                    CAST(coalesce(sum(CASE WHEN i.user_id IS NULL THEN 1 ELSE 0 END), 0) AS text) AS unlinked
             FROM {} u LEFT JOIN (SELECT DISTINCT user_id FROM headcount.identities WHERE user_id IS NOT NULL) i
                  ON i.user_id = {}",
            self.table,
            self.id_text("u.")
        ))
    }

    /// How many references from and to the users are broken (SQLite, where a deferred constraint speaks up only at the
    /// commit).
    pub fn broken_references(&self) -> String {
        let (name, id) = (literal(&self.name), literal(&self.id.name));
        format!(
            "SELECT CAST(count(*) AS text) AS count FROM (
                 SELECT m.name AS name FROM sqlite_master m WHERE m.type = 'table' AND (m.name = {name} OR EXISTS (
                     SELECT 1 FROM pragma_foreign_key_list(m.name) f
                     WHERE f.\"table\" = {name} COLLATE NOCASE AND f.\"to\" <> {id}))) AS t
             JOIN pragma_foreign_key_check(t.name)"
        )
    }
}
