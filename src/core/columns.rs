//! The columns of `users` that a provider has something to say about, and who owns each of them.

/// One such column. The order is that of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Column {
    Email,
    EmailVerified,
    Phone,
    Username,
    FirstName,
    LastName,
    DisplayName,
    AvatarUrl,
    CreatedAt,
}

/// Who decides what a column holds (contract, rule 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The provider: what the application writes here is drift.
    Provider,
    /// The provider, until the application has written another value.
    AppOnceSet,
}

/// How a column's canonical text is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    Text,
    /// `true` or `false`
    Bool,
    /// fixed-width UTC text
    Timestamp,
}

impl Column {
    pub const COUNT: usize = 9;
    pub const ALL: [Column; Column::COUNT] = [
        Column::Email,
        Column::EmailVerified,
        Column::Phone,
        Column::Username,
        Column::FirstName,
        Column::LastName,
        Column::DisplayName,
        Column::AvatarUrl,
        Column::CreatedAt,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Column::Email => "email",
            Column::EmailVerified => "email_verified",
            Column::Phone => "phone",
            Column::Username => "username",
            Column::FirstName => "first_name",
            Column::LastName => "last_name",
            Column::DisplayName => "display_name",
            Column::AvatarUrl => "avatar_url",
            Column::CreatedAt => "created_at",
        }
    }

    pub fn owner(self) -> Owner {
        match self {
            Column::Username | Column::DisplayName | Column::AvatarUrl => Owner::AppOnceSet,
            _ => Owner::Provider,
        }
    }

    pub fn column_type(self) -> ColumnType {
        match self {
            Column::EmailVerified => ColumnType::Bool,
            Column::CreatedAt => ColumnType::Timestamp,
            _ => ColumnType::Text,
        }
    }

    /// What the column holds once the account is deleted, where a deletion frees it for somebody else
    /// (contract, rule 11); `None` where a deletion leaves the column alone.
    pub fn freed(self) -> Option<Cell> {
        match self {
            Column::Email | Column::Phone | Column::Username => Some(None),
            Column::EmailVerified => Some(Some("false".to_owned())),
            _ => None,
        }
    }
}

/// A column's value in its canonical text form; `None` is null.
pub type Cell = Option<String>;

/// A value for each [`Column`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns([Cell; Column::COUNT]);

impl Columns {
    pub fn get(&self, column: Column) -> Option<&str> {
        self.0[column as usize].as_deref()
    }

    pub fn set(&mut self, column: Column, value: Cell) {
        self.0[column as usize] = value;
    }

    /// The same columns with what a deletion frees, freed.
    pub fn after_deletion(&self) -> Columns {
        let mut freed = self.clone();
        for column in Column::ALL {
            if let Some(value) = column.freed() {
                freed.set(column, value);
            }
        }
        freed
    }

    /// The columns in which the two differ.
    pub fn differing<'a>(&'a self, other: &'a Columns) -> impl Iterator<Item = Column> + 'a {
        Column::ALL.into_iter().filter(|&column| self.get(column) != other.get(column))
    }
}

/// What `row` shall hold when the provider's word moves from `before` to `after`.
///
/// A column that the application may take over still follows the provider as long as it holds what the provider
/// last wrote there; any other value is the application's, and stays.
pub fn follow(row: &Columns, before: &Columns, after: &Columns) -> Columns {
    let mut next = row.clone();
    for column in Column::ALL {
        let follows = match column.owner() {
            Owner::Provider => true,
            Owner::AppOnceSet => row.get(column) == before.get(column),
        };
        if follows {
            next.set(column, after.get(column).map(str::to_owned));
        }
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(email: &str, username: Option<&str>) -> Columns {
        let mut columns = Columns::default();
        columns.set(Column::Email, Some(email.to_owned()));
        columns.set(Column::Username, username.map(str::to_owned));
        columns
    }

    #[test]
    fn the_order_of_all_is_the_index() {
        for (index, column) in Column::ALL.into_iter().enumerate() {
            assert_eq!(column as usize, index);
        }
    }

    #[test]
    fn what_the_application_wrote_stays_and_the_rest_follows() {
        let row = columns("old@example.com", Some("ann"));
        let before = columns("old@example.com", None);
        let after = columns("new@example.com", Some("from_provider"));
        assert_eq!(follow(&row, &before, &after), columns("new@example.com", Some("ann")));
        let untouched = columns("edited-here@example.com", None);
        assert_eq!(follow(&untouched, &before, &after), after);
    }
}
