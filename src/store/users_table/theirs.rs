//! Columns of the users table that are the application's alone: headcount writes there only what a call asks it to.

use super::catalog::CatalogColumn;
use super::config::AdoptedTable;
use super::{Field, Place, UsersTable};
use crate::core::columns::Cell;
use crate::store::Store;
use crate::store::engine::dialect::{Dialect, quoted};
use crate::store::engine::driver::Arg;
use crate::store::engine::error::StoreError;
use crate::store::engine::row::Row;

/// A column that no layout of headcount's knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TheirColumn {
    pub name: String,
    /// As the database writes it.
    type_name: String,
}

/// A value that a call puts there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TheirCell {
    pub column: TheirColumn,
    pub value: Cell,
}

impl Store {
    /// The columns of the users table that headcount does not fill.
    pub async fn their_columns(&self) -> Result<Vec<TheirColumn>, StoreError> {
        let users = self.users_table();
        let columns = self.catalog_of_users().await?.into_iter();
        let theirs = columns.filter(|column| !users.fills(&column.name) && !column.generated);
        Ok(theirs.map(|column| TheirColumn { name: column.name, type_name: column.type_name }).collect())
    }

    /// The columns without which there can be no row, and that a call may have to bring: by our names, or theirs.
    pub async fn required_columns(&self) -> Result<Vec<String>, StoreError> {
        let users = self.users_table();
        let has_own =
            |name: &str| name == users.id.name || (users.fills(name) && users.ours_of(name).is_none());
        let needs = |column: &CatalogColumn| {
            let is_given = column.nullable || column.default.is_some() || column.identity.is_some();
            !is_given && !column.generated && !has_own(&column.name)
        };
        let needed = self.catalog_of_users().await?.into_iter().filter(needs);
        Ok(needed
            .map(|column| users.ours_of(&column.name).map_or(column.name.clone(), str::to_owned))
            .collect())
    }

    /// What is wrong with the users table as it is now, each with what helps: rights that are missing, rows that are
    /// hidden, columns that changed since this process has looked. Nothing where all is well.
    pub async fn table_problems(&self) -> Result<Vec<String>, StoreError> {
        let users = self.users_table();
        let table = self.config.adopted.clone().unwrap_or_else(|| self.own_name());
        let Some(catalog) = self.catalog(&table).await? else {
            return Ok(vec![format!("there is no table {} any more", users.display())]);
        };
        if !users.is_adopted() {
            return Ok(users.access_problems(&catalog));
        }
        match UsersTable::adopted(self.dialect(), &self.config, &table, &catalog) {
            Err(StoreError::Setup(problems)) => Ok(vec![problems]),
            Err(error) => Err(error),
            Ok(now) if now.works_as(users) => Ok(Vec::new()),
            Ok(_) => Ok(vec![format!(
                "table {} has changed since this process began; restart it, so that it knows the columns as they are now",
                users.display()
            )]),
        }
    }

    async fn catalog_of_users(&self) -> Result<Vec<CatalogColumn>, StoreError> {
        Ok(self.catalog(&self.own_name()).await?.unwrap_or_default().columns)
    }

    /// The table alone, without what is mapped.
    fn own_name(&self) -> AdoptedTable {
        let users = self.users_table();
        AdoptedTable {
            schema: users.schema.clone(),
            name: users.name.clone(),
            id: users.id.name.clone(),
            columns: Vec::new(),
        }
    }

    /// Those of the cells that the user's row does not hold already.
    pub async fn unlike(&self, user_id: &str, cells: &[TheirCell]) -> Result<Vec<TheirCell>, StoreError> {
        if cells.is_empty() {
            return Ok(Vec::new());
        }
        let users = self.users_table();
        let names: Vec<String> = cells.iter().map(|cell| cell.column.text(users.dialect)).collect();
        let sql = format!(
            "SELECT {} FROM {} u WHERE {} = {}",
            names.join(", "),
            users.table,
            users.id_sql("u."),
            users.id_value("$1")
        );
        let rows = self.read(&sql, vec![Arg::text(user_id)]).await?;
        let row = rows.into_iter().next();
        let held = row.into_iter().flat_map(Row::rest).map(Some).chain(std::iter::repeat(None));
        let differs = |(cell, held): &(&TheirCell, Option<Cell>)| held.as_ref() != Some(&cell.value);
        Ok(cells.iter().zip(held).filter(differs).map(|(cell, _)| cell.clone()).collect())
    }
}

impl UsersTable {
    /// Whether headcount fills the column of `users` with this name.
    fn fills(&self, name: &str) -> bool {
        let computed = ["account_state", "missing", "updated_at", "state_since"];
        let placed = self.fields.iter().any(|placed| placed.place == Place::Users && placed.name == name);
        placed
            || name == self.id.name
            || self.mirrors.iter().any(|mirror| mirror.theirs == name)
            || self.updated_at.as_ref().is_some_and(|(updated_at, _)| updated_at == name)
            || (!self.is_adopted && computed.contains(&name))
    }

    /// What we call the column of `users` that has this name, where we fill it from an account.
    pub fn ours_of(&self, theirs: &str) -> Option<&str> {
        let placed =
            self.fields.iter().find(|placed| placed.place == Place::Users && placed.name == theirs)?;
        match placed.field {
            Field::Column(column) => Some(self.layout.name(column)),
            _ => None,
        }
    }

    /// Assignments of these cells' columns to the columns of the rows from `first` on: name and value.
    pub(super) fn their_values(&self, cells: &[TheirCell], first: usize) -> Vec<(String, String)> {
        let value = |(n, cell): (usize, &TheirCell)| {
            let text = format!("v.c{}", first + n);
            (quoted(&cell.column.name), cell.column.value(self.dialect, &text))
        };
        cells.iter().enumerate().map(value).collect()
    }
}

impl TheirColumn {
    fn is_bool(&self) -> bool {
        self.type_name.to_ascii_uppercase().contains("BOOL")
    }

    fn text(&self, dialect: Dialect) -> String {
        let column = format!("u.{}", quoted(&self.name));
        match dialect {
            Dialect::Sqlite if self.is_bool() => {
                format!("CASE {column} WHEN 1 THEN 'true' WHEN 0 THEN 'false' ELSE {column} END")
            }
            _ => format!("CAST({column} AS text)"),
        }
    }

    fn value(&self, dialect: Dialect, text: &str) -> String {
        match dialect {
            Dialect::Postgres => format!("CAST({text} AS {})", self.type_name),
            Dialect::Sqlite if self.is_bool() => {
                format!("CASE {text} WHEN 'true' THEN 1 WHEN 'false' THEN 0 ELSE {text} END")
            }
            Dialect::Sqlite => text.to_owned(),
        }
    }
}
