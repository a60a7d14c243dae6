//! What the configuration says of the users table.

use crate::core::columns::{Column, Owner};
use crate::core::known::Authority;

/// `[users]` of the configuration; by default headcount's own layout.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsersConfig {
    /// The application's own table, under its own names; `None` for the one that headcount makes.
    pub adopted: Option<AdoptedTable>,
    /// Declared owners, by the name of the column or the path.
    pub owners: Vec<(String, Owner)>,
    /// Whose word counts first where a user has accounts at several sources.
    pub authority: Authority,
}

/// A table that was there before headcount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdoptedTable {
    /// Empty on SQLite.
    pub schema: String,
    pub name: String,
    pub id: String,
    /// Our column, or a path of the profile, and theirs.
    pub columns: Vec<(String, String)>,
}

impl UsersConfig {
    pub fn owner(&self, name: &str) -> Option<Owner> {
        self.owners.iter().find(|(column, _)| column == name).map(|(_, owner)| *owner)
    }
}

/// Columns of headcount's that no provider fills, and that may be mapped as well.
const COMPUTED: [&str; 4] = ["account_state", "missing", "updated_at", "deleted_at"];

impl AdoptedTable {
    /// The names of ours that may be mapped; any other is a path of the profile.
    pub fn own_names() -> impl Iterator<Item = &'static str> {
        Column::ALL.into_iter().map(Column::name).chain(COMPUTED)
    }

    pub fn is_path(name: &str) -> bool {
        Self::own_names().all(|own| own != name)
    }

    /// As people write it.
    pub fn display(&self) -> String {
        match self.schema.as_str() {
            "" => self.name.clone(),
            schema => format!("{schema}.{}", self.name),
        }
    }
}
