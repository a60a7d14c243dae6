//! Which columns there are here, who owns each of them, and what follows from that for a row (contract, rule 9).

use super::columns::{Column, ColumnSet, ColumnType, Columns, Owner};
use super::known::Authority;

/// Paths of the profile that may have columns of their own.
pub const PATHS_MAX: usize = 32;

/// The columns that headcount keeps of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// In the order of [`Column::index`].
    owners: Vec<Owner>,
    paths: Vec<PathColumn>,
    /// What a column holds that may not be null, where the provider has nothing for it.
    stand_ins: Vec<(Column, String)>,
    /// Columns that may not be null and have no such stand-in: what the provider has nothing for, the application supplies.
    never_null: ColumnSet,
    /// Those of them that the database does not fill either: without them there can be no row.
    needed: ColumnSet,
    /// Whose word counts first where a user has accounts at several sources.
    pub authority: Authority,
}

/// What the sources said of a user before something new was heard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastSeen {
    /// Together.
    pub merged: Columns,
    /// Each of them, where there are several: the order of authority may have changed since.
    pub each: Vec<Columns>,
}

impl LastSeen {
    /// Whether the row holds a source's word in this column, rather than the application's.
    fn is_in(&self, row: &Columns, column: Column) -> bool {
        let held = row.get(column);
        held == self.merged.get(column)
            || (held.is_some() && self.each.iter().any(|columns| columns.get(column) == held))
    }
}

/// A column of the application's that shows a path of the profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathColumn {
    /// Such as `public_metadata.role`.
    pub path: String,
    pub column_type: ColumnType,
}

impl Default for Layout {
    fn default() -> Self {
        Self::new(Vec::new(), |column| column.default_owner())
    }
}

impl Layout {
    /// With columns for these paths of the profile, at most [`PATHS_MAX`].
    pub fn new(paths: Vec<PathColumn>, owner: impl Fn(Column) -> Owner) -> Self {
        let mut layout = Self {
            owners: Vec::new(),
            paths,
            stand_ins: Vec::new(),
            never_null: ColumnSet::default(),
            needed: ColumnSet::default(),
            authority: Authority::default(),
        };
        layout.paths.truncate(PATHS_MAX);
        layout.owners = layout.columns().map(owner).collect();
        layout
    }

    pub fn columns(&self) -> impl Iterator<Item = Column> + use<> {
        let paths = u8::try_from(self.paths.len()).unwrap_or(u8::MAX);
        Column::ALL.into_iter().chain((0..paths).map(Column::Path))
    }

    /// Columns in which another value than the provider's is drift.
    pub fn provider_columns(&self) -> impl Iterator<Item = Column> + '_ {
        self.columns().filter(|&column| self.owner(column).is_provider())
    }

    pub fn paths(&self) -> &[PathColumn] {
        &self.paths
    }

    /// The column may not be null: this stands in for nothing.
    pub fn with_stand_in(mut self, column: Column, text: String) -> Self {
        self.stand_ins.push((column, text));
        self
    }

    /// The column may not be null, and nothing stands in for nothing but its default, where it has one.
    pub fn with_never_null(mut self, column: Column, has_default: bool) -> Self {
        self.never_null.insert(column);
        if !has_default {
            self.needed.insert(column);
        }
        self
    }

    /// Whether a row of these columns can be made without anything that the application would have to supply.
    pub fn makes_a_row(&self, columns: &Columns) -> bool {
        let filled = self.filled(columns.clone());
        self.columns().all(|column| !self.needed.contains(column) || filled.get(column).is_some())
    }

    /// Whether a call may fill the column although it is the provider's: while the provider has nothing for it, no row
    /// could be.
    pub fn is_supplied(&self, column: Column) -> bool {
        let is_told_by_the_account = self.is_account_id(column) || column == Column::EmailVerified;
        let is_the_providers = !self.is_settable(column) && self.owner(column) != Owner::App;
        self.never_null.contains(column) && is_the_providers && !is_told_by_the_account
    }

    /// Whether the value says something: neither nothing nor what stands in for it.
    pub fn says_something(&self, column: Column, value: Option<&str>) -> bool {
        let stands_in = |(of, text): &(Column, String)| *of == column && value == Some(text);
        value.is_some() && !self.stand_ins.iter().any(stands_in)
    }

    /// What a provider says, as the columns here can hold it: stand-ins for nulls, nothing for what a typed column
    /// cannot show.
    pub fn fit(&self, columns: &mut Columns) {
        for (column, path) in (0..).map(Column::Path).zip(&self.paths) {
            let fits = match (path.column_type, columns.get(column)) {
                (ColumnType::Bool, Some(text)) => matches!(text, "true" | "false"),
                (ColumnType::Integer, Some(text)) => {
                    text.parse::<i64>().is_ok_and(|number| number.to_string() == text)
                }
                _ => true,
            };
            if !fits {
                columns.set(column, None);
            }
        }
        for (column, text) in &self.stand_ins {
            if columns.get(*column).is_none() {
                columns.set(*column, Some(text.clone()));
            }
        }
    }

    /// The row with everything in it that may not be null: an address of which nothing is known is not verified.
    pub fn filled(&self, mut columns: Columns) -> Columns {
        if columns.get(Column::EmailVerified).is_none() {
            columns.set(Column::EmailVerified, Some("false".to_owned()));
        }
        self.fit(&mut columns);
        columns
    }

    pub fn column_type(&self, column: Column) -> ColumnType {
        match column {
            Column::Path(n) => {
                self.paths.get(usize::from(n)).map_or(ColumnType::Text, |path| path.column_type)
            }
            own => own.column_type(),
        }
    }

    pub fn owner(&self, column: Column) -> Owner {
        self.owners.get(column.index()).copied().unwrap_or(Owner::Provider)
    }

    /// What feed, held values and reports call the column.
    pub fn name(&self, column: Column) -> &str {
        match column {
            Column::Path(n) => self.paths.get(usize::from(n)).map_or("", |path| &path.path),
            own => own.name(),
        }
    }

    pub fn column(&self, name: &str) -> Option<Column> {
        self.columns().find(|&column| self.name(column) == name)
    }

    /// What `row` shall hold when the provider's word moves from `before` to `after`, and which of the `kept` columns
    /// are kept still.
    ///
    /// A column that the application may take over follows the provider as long as it holds what the provider last
    /// put there; any other value is the application's, and stays.
    pub fn follow(
        &self,
        row: &Columns,
        kept: ColumnSet,
        before: &LastSeen,
        after: &Columns,
    ) -> (Columns, ColumnSet) {
        let stays = |column| {
            let differs = !row.is_vacant(column) && row.get(column) != after.get(column);
            kept.contains(column) && differs
        };
        // What the provider never had a word for is the application's to supply.
        let supplied =
            |column| self.is_supplied_in(column, row, after) && before.merged.get(column).is_none();
        self.choose(row, after, |column| match self.owner(column) {
            Owner::Provider | Owner::Undeclared if supplied(column) => ColumnChoice::Stay,
            Owner::Provider => ColumnChoice::Follow,
            Owner::Undeclared if stays(column) => ColumnChoice::Keep,
            Owner::Undeclared => ColumnChoice::Follow,
            Owner::AppOnceSet if kept.contains(column) => ColumnChoice::Keep,
            Owner::AppOnceSet if before.is_in(row, column) => ColumnChoice::Follow,
            Owner::AppOnceSet | Owner::App => ColumnChoice::Stay,
        })
    }

    /// The same for a row that was there before its account was: what it holds is somebody's, what it lacks is filled.
    pub fn follow_first(&self, row: &Columns, after: &Columns) -> (Columns, ColumnSet) {
        let fills = |column| row.is_vacant(column) || row.get(column) == after.get(column);
        self.choose(row, after, |column| match self.owner(column) {
            Owner::Provider | Owner::Undeclared if self.is_supplied_in(column, row, after) => {
                ColumnChoice::Stay
            }
            Owner::Provider => ColumnChoice::Follow,
            Owner::Undeclared | Owner::AppOnceSet if fills(column) => ColumnChoice::Follow,
            Owner::Undeclared => ColumnChoice::Keep,
            Owner::AppOnceSet | Owner::App => ColumnChoice::Stay,
        })
    }

    fn is_supplied_in(&self, column: Column, row: &Columns, after: &Columns) -> bool {
        self.never_null.contains(column) && row.get(column).is_some() && after.get(column).is_none()
    }

    /// What stays once a deletion has freed its columns: whoever comes back finds them as the provider has them.
    pub fn kept_of_deleted(&self, kept: ColumnSet) -> ColumnSet {
        self.columns().filter(|&column| kept.contains(column) && column.freed().is_none()).collect()
    }

    /// Whether the column shows the provider's own id of the account: the one thing that is known before a snapshot.
    pub fn is_account_id(&self, column: Column) -> bool {
        matches!(column, Column::Path(_)) && self.name(column) == "id" && self.owner(column) != Owner::App
    }

    /// Whether a call of the application's may write the column.
    pub fn is_settable(&self, column: Column) -> bool {
        match self.owner(column) {
            Owner::App | Owner::AppOnceSet => true,
            Owner::Undeclared => column.default_owner() == Owner::AppOnceSet,
            Owner::Provider => false,
        }
    }

    /// The row with what a deletion frees, freed: but for what is the application's alone.
    pub fn freed(&self, row: &Columns) -> Columns {
        let mut freed = row.clone();
        for column in Column::ALL.into_iter().filter(|&column| self.owner(column) != Owner::App) {
            if let Some(value) = column.freed() {
                freed.set(column, value);
            }
        }
        self.fit(&mut freed);
        freed
    }

    fn choose(
        &self,
        row: &Columns,
        after: &Columns,
        choice: impl Fn(Column) -> ColumnChoice,
    ) -> (Columns, ColumnSet) {
        let (mut next, mut kept) = (row.clone(), ColumnSet::default());
        for column in self.columns() {
            // Whether an address is verified can be said of that address only.
            let follows_email = column == Column::EmailVerified && kept.contains(Column::Email);
            match choice(column) {
                _ if follows_email && self.owner(column) == Owner::Undeclared => {
                    kept.insert(column);
                    if next.get(column).is_none() {
                        next.set(column, Some("false".to_owned()));
                    }
                }
                ColumnChoice::Follow => next.set(column, after.get(column).map(str::to_owned)),
                ColumnChoice::Keep => kept.insert(column),
                ColumnChoice::Stay => {}
            }
        }
        (next, kept)
    }
}

enum ColumnChoice {
    Follow,
    /// Until somebody declares who owns the column.
    Keep,
    Stay,
}

#[cfg(test)]
mod tests;
