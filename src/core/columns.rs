//! The columns of `users` that a provider has something to say about.

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
    /// The n-th path of the profile that the application has asked for ([`super::layout::Layout::paths`]).
    Path(u8),
}

/// Who decides what a column holds (contract, rule 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The provider: what the application writes here is drift.
    Provider,
    /// The provider, as nobody has declared otherwise for the application's own table: what a row held when it was
    /// linked stays, and what is empty is filled.
    Undeclared,
    /// The application: headcount never writes here.
    App,
    /// The provider, until the application has written another value.
    AppOnceSet,
}

impl Owner {
    /// As it is written in the configuration.
    pub const NAMES: [(&'static str, Owner); 3] =
        [("provider", Owner::Provider), ("app", Owner::App), ("app-once-set", Owner::AppOnceSet)];

    /// As reports show it.
    pub fn name(self) -> &'static str {
        let declared = Self::NAMES.iter().find(|(_, owner)| *owner == self);
        declared.map_or("undeclared", |(name, _)| name)
    }

    /// Whether another value than the provider's is drift.
    pub fn is_provider(self) -> bool {
        matches!(self, Owner::Provider | Owner::Undeclared)
    }
}

/// How a column's canonical text is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    Text,
    /// `true` or `false`
    Bool,
    /// fixed-width UTC text
    Timestamp,
    /// decimal digits; of paths alone
    Integer,
}

impl Column {
    pub const COUNT: usize = 9;
    /// Those that headcount itself has: all but the paths.
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

    /// Its place among all columns.
    pub fn index(self) -> usize {
        match self {
            Column::Email => 0,
            Column::EmailVerified => 1,
            Column::Phone => 2,
            Column::Username => 3,
            Column::FirstName => 4,
            Column::LastName => 5,
            Column::DisplayName => 6,
            Column::AvatarUrl => 7,
            Column::CreatedAt => 8,
            Column::Path(n) => Column::COUNT + usize::from(n),
        }
    }

    /// Empty for a path, which [`super::layout::Layout::name`] knows.
    pub fn name(self) -> &'static str {
        const NAMES: [&str; Column::COUNT] = [
            "email",
            "email_verified",
            "phone",
            "username",
            "first_name",
            "last_name",
            "display_name",
            "avatar_url",
            "created_at",
        ];
        NAMES.get(self.index()).copied().unwrap_or_default()
    }

    /// The owner where nobody has declared another.
    pub fn default_owner(self) -> Owner {
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

/// Behind a user's id in an address that is nobody's.
pub const NOBODYS_ADDRESS: &str = "@erased.invalid";

/// A column's value in its canonical text form; `None` is null.
pub type Cell = Option<String>;

/// A value for each [`Column`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    own: [Cell; Column::COUNT],
    /// No longer than up to the last one that is not null.
    paths: Vec<Cell>,
}

impl Columns {
    pub fn get(&self, column: Column) -> Option<&str> {
        match column {
            Column::Path(n) => self.paths.get(usize::from(n))?.as_deref(),
            own => self.own[own.index()].as_deref(),
        }
    }

    pub fn set(&mut self, column: Column, value: Cell) {
        let Column::Path(n) = column else {
            self.own[column.index()] = value;
            return;
        };
        let n = usize::from(n);
        if n >= self.paths.len() && value.is_some() {
            self.paths.resize(n + 1, None);
        }
        if let Some(cell) = self.paths.get_mut(n) {
            *cell = value;
        }
        while self.paths.last().is_some_and(Option::is_none) {
            self.paths.pop();
        }
    }

    /// The columns in which the two differ.
    pub fn differing<'a>(&'a self, other: &'a Columns) -> impl Iterator<Item = Column> + 'a {
        let paths = self.paths.len().max(other.paths.len());
        let paths = (0..paths).filter_map(|n| u8::try_from(n).ok()).map(Column::Path);
        Column::ALL.into_iter().chain(paths).filter(|&column| self.get(column) != other.get(column))
    }

    /// Whether there is nothing in the column that anybody would miss.
    pub fn is_vacant(&self, column: Column) -> bool {
        match self.get(column) {
            None | Some("") => true,
            Some(value) => column == Column::EmailVerified && value == "false",
        }
    }
}

/// Some columns of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ColumnSet(u64);

impl ColumnSet {
    pub fn insert(&mut self, column: Column) {
        self.0 |= 1 << column.index();
    }

    pub fn contains(self, column: Column) -> bool {
        self.0 & (1 << column.index()) != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<Column> for ColumnSet {
    fn from_iter<I: IntoIterator<Item = Column>>(columns: I) -> Self {
        let mut set = Self::default();
        columns.into_iter().for_each(|column| set.insert(column));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_all_is_the_index() {
        for (index, column) in Column::ALL.into_iter().enumerate() {
            assert_eq!(column.index(), index);
        }
    }

    #[test]
    fn nulls_of_paths_leave_no_trace() {
        let mut columns = Columns::default();
        columns.set(Column::Path(2), Some("x".to_owned()));
        assert_eq!(columns.get(Column::Path(2)), Some("x"));
        assert_eq!(columns.differing(&Columns::default()).collect::<Vec<_>>(), [Column::Path(2)]);
        columns.set(Column::Path(2), None);
        assert_eq!(columns, Columns::default());
    }

    #[test]
    fn a_path_that_is_set_leaves_the_others_alone() {
        let mut columns = Columns::default();
        for (n, text) in [(2, "c"), (0, "a"), (1, "b")] {
            columns.set(Column::Path(n), Some(text.to_owned()));
        }
        let held = [0, 1, 2].map(|n| columns.get(Column::Path(n)).map(str::to_owned));
        assert_eq!(held, ["a", "b", "c"].map(|text| Some(text.to_owned())));
        columns.set(Column::Path(9), None);
        assert_eq!(columns.get(Column::Path(2)), Some("c"));
    }

    #[test]
    fn a_set_holds_what_was_put_into_it_and_nothing_else() {
        let paths =
            (0..super::super::layout::PATHS_MAX).filter_map(|n| u8::try_from(n).ok()).map(Column::Path);
        let all: Vec<Column> = Column::ALL.into_iter().chain(paths).collect();
        for put in &all {
            let set: ColumnSet = [*put].into_iter().collect();
            assert!(!set.is_empty());
            for column in &all {
                assert_eq!(set.contains(*column), column == put, "{column:?} in a set of {put:?}");
            }
        }
        let mut set: ColumnSet = all.iter().copied().collect();
        assert!(all.iter().all(|column| set.contains(*column)));
        set.insert(Column::Email);
        assert!(set.contains(Column::Email), "what is put in twice is in it");
        assert!(ColumnSet::default().is_empty());
    }

    #[test]
    fn columns_have_the_contracts_names_and_types() {
        let names = Column::ALL.map(Column::name).join(" ");
        let contract =
            "email email_verified phone username first_name last_name display_name avatar_url created_at";
        assert_eq!(names, contract);
        for column in Column::ALL {
            let column_type = match column.name() {
                "email_verified" => ColumnType::Bool,
                "created_at" => ColumnType::Timestamp,
                _ => ColumnType::Text,
            };
            assert_eq!(column.column_type(), column_type, "{column:?}");
        }
        assert_eq!(Column::Path(0).name(), "");
    }

    #[test]
    fn the_name_and_the_picture_are_the_applications_once_set_and_the_rest_is_the_providers() {
        for column in Column::ALL.into_iter().chain([Column::Path(0)]) {
            let is_own = ["username", "display_name", "avatar_url"].contains(&column.name());
            let owner = if is_own { Owner::AppOnceSet } else { Owner::Provider };
            assert_eq!(column.default_owner(), owner, "{column:?}");
        }
    }

    #[test]
    fn another_value_is_drift_only_where_nobody_has_given_the_column_to_the_application() {
        for (owner, name, is_drift) in [
            (Owner::Provider, "provider", true),
            (Owner::Undeclared, "undeclared", true),
            (Owner::App, "app", false),
            (Owner::AppOnceSet, "app-once-set", false),
        ] {
            assert_eq!((owner.name(), owner.is_provider()), (name, is_drift));
        }
    }

    #[test]
    fn a_deletion_frees_addresses_and_names_that_somebody_else_may_need() {
        for column in Column::ALL.into_iter().chain([Column::Path(0)]) {
            let freed = match column.name() {
                "email" | "phone" | "username" => Some(None),
                "email_verified" => Some(Some("false".to_owned())),
                _ => None,
            };
            assert_eq!(column.freed(), freed, "{column:?}");
        }
    }

    #[test]
    fn null_and_empty_and_not_verified_are_nothing_that_anybody_would_miss() {
        for (column, value, is_vacant) in [
            (Column::FirstName, None, true),
            (Column::FirstName, Some(""), true),
            (Column::FirstName, Some("Ann"), false),
            (Column::FirstName, Some("false"), false),
            (Column::EmailVerified, Some("false"), true),
            (Column::EmailVerified, Some("true"), false),
        ] {
            let mut columns = Columns::default();
            columns.set(column, value.map(str::to_owned));
            assert_eq!(columns.is_vacant(column), is_vacant, "{column:?} {value:?}");
        }
    }
}
