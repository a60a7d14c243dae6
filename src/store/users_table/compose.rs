//! A users table put together from the configuration and what the database says, with a message per problem.

use super::catalog::{Catalog, CatalogColumn};
use super::cell::CellType;
use super::config::{AdoptedTable, UsersConfig};
use super::types::{holds_uuid, notes, postgres_cell, sqlite_cell, stand_in};
use super::{Field, IdColumn, IdKind, IdOrigin, Mirror, Place, Placed, UsersTable};
use crate::core::columns::{Column, ColumnType, Owner};
use crate::core::layout::{Layout, PATHS_MAX, PathColumn};
use crate::nearest::nearest;
use crate::store::engine::dialect::{Dialect, quoted};
use crate::store::engine::error::StoreError;
use std::sync::Arc;

/// What is being put together.
struct Composition<'a> {
    dialect: Dialect,
    table: &'a AdoptedTable,
    catalog: &'a Catalog,
    problems: Vec<String>,
}

impl UsersTable {
    /// The application's own table. An error has every problem on a line of its own.
    pub(in crate::store) fn adopted(
        dialect: Dialect,
        config: &UsersConfig,
        table: &AdoptedTable,
        catalog: &Catalog,
    ) -> Result<Self, StoreError> {
        let mut composition = Composition { dialect, table, catalog, problems: Vec::new() };
        composition.check_table();
        let id = composition.id_column();
        let layout = composition.layout(config);
        let fields = composition.fields(&layout);
        let mirrors = composition.mirrors();
        let updated_at = composition.updated_at();
        let name = quoted(&table.name);
        let users = Self {
            dialect,
            layout: Arc::new(layout),
            schema: table.schema.clone(),
            name: table.name.clone(),
            table: match table.schema.as_str() {
                "" => name,
                schema => format!("{}.{name}", quoted(schema)),
            },
            id,
            fields,
            is_adopted: true,
            mirrors,
            updated_at,
            their_columns: catalog.columns.iter().map(|column| column.name.clone()).collect(),
            notes: notes(table, catalog),
        };
        composition.problems.extend(users.access_problems(catalog));
        composition.check_targets();
        if composition.problems.is_empty() {
            return Ok(users);
        }
        Err(StoreError::Setup(format!(
            "headcount cannot work on table {} as it is:\n  - {}",
            table.display(),
            composition.problems.join("\n  - ")
        )))
    }
}

impl<'a> Composition<'a> {
    fn problem(&mut self, problem: String) {
        self.problems.push(problem);
    }

    fn updated_at(&mut self) -> Option<(String, CellType)> {
        let column = self.target("updated_at")?;
        Some((column.name.clone(), self.cell("updated_at", column, ColumnType::Timestamp)?))
    }

    /// The column that ours is mapped to; a problem where there is no such one.
    fn target(&mut self, ours: &str) -> Option<&'a CatalogColumn> {
        let (_, theirs) = self.table.columns.iter().find(|(name, _)| name == ours)?;
        let found = self.catalog.column(theirs);
        if found.is_none() {
            self.problems.push(self.missing_column(ours, theirs));
        }
        found
    }

    fn check_table(&mut self) {
        let table = self.table.display();
        let problem = match self.catalog.kind.as_str() {
            "r" | "p" | "table" => None,
            "v" | "m" | "view" => Some(format!(
                "{table} is a view; name the table below it, for rows must be locked and written"
            )),
            _ => Some(format!("{table} is no ordinary table, so its rows cannot be locked and written")),
        };
        self.problems.extend(problem);
    }

    fn missing_column(&self, what: &str, name: &str) -> String {
        let names = self.catalog.columns.iter().map(|column| &column.name);
        let nearest = nearest(names, name);
        let nearest = nearest.map(String::as_str).unwrap_or_default();
        let table = self.table.display();
        format!("{what} is mapped to `{name}`, which is no column of {table}; the nearest is `{nearest}`")
    }

    fn id_column(&mut self) -> IdColumn {
        let nowhere = IdColumn {
            name: self.table.id.clone(),
            kind: IdKind::Text,
            origin: IdOrigin::Ours,
            sequence: None,
        };
        let Some(column) = self.catalog.column(&self.table.id) else {
            let problem = self.missing_column("id", &self.table.id);
            self.problem(problem);
            return nowhere;
        };
        let (name, type_name) = (&column.name, &column.type_name);
        if !column.unique {
            self.problem(format!("id column `{name}` is not unique by itself: two rows could be one user"));
        }
        if column.nullable {
            self.problem(format!("id column `{name}` may be null: make it NOT NULL"));
        }
        let kind = match (self.dialect, column.base.as_str()) {
            (Dialect::Postgres, "uuid") => IdKind::Uuid,
            (Dialect::Postgres, "text" | "character varying") => IdKind::Text,
            (Dialect::Postgres, "bigint" | "integer") => IdKind::Integer,
            (Dialect::Sqlite, base) if base.contains("INT") => IdKind::Integer,
            (Dialect::Sqlite, base) if base.contains("CHAR") || base.contains("TEXT") || base == "UUID" => {
                IdKind::Text
            }
            _ => {
                self.problem(format!(
                    "id column `{name}` has type {type_name}; it must be uuid, text or a whole number"
                ));
                return nowhere;
            }
        };
        let origin = self.id_origin(column, kind);
        let (name, sequence) = (name.clone(), column.sequence.clone());
        IdColumn { name, kind, origin: origin.unwrap_or(IdOrigin::Ours), sequence }
    }

    /// Where new ids come from: from the database where it makes them, else from us.
    fn id_origin(&mut self, column: &CatalogColumn, kind: IdKind) -> Option<IdOrigin> {
        let (name, role) = (&column.name, &self.catalog.role);
        if let Some(sequence) = &column.sequence {
            if !column.may_use_sequence {
                self.problems.push(format!(
                    "role {role} may not use sequence {sequence} of id column `{name}`; \
                     `headcount migrate --grants {role}` helps"
                ));
            }
            let literal = sequence.replace('\'', "''");
            return Some(IdOrigin::Sequence(format!("nextval('{literal}')")));
        }
        if column.generated {
            self.problems.push(format!("id column `{name}` is generated: no row could be made here"));
            return None;
        }
        let is_rowid = self.dialect == Dialect::Sqlite && column.base == "INTEGER";
        match (&column.default, kind) {
            (_, IdKind::Uuid) => Some(IdOrigin::Ours),
            (Some(default), _) if default.contains("nextval(") => Some(IdOrigin::Sequence(default.clone())),
            (Some(default), _) if default.contains('(') => Some(IdOrigin::Default(default.clone())),
            (_, IdKind::Text) if holds_uuid(&column.type_name) => Some(IdOrigin::Ours),
            (_, IdKind::Integer) if is_rowid => {
                Some(IdOrigin::Rowid { autoincrement: self.catalog.autoincrement })
            }
            _ => {
                self.problems.push(format!(
                    "id column `{name}` has type {} and no default that makes a new id, and headcount makes UUIDs only; \
                     give it an identity or a default",
                    column.type_name
                ));
                None
            }
        }
    }

    fn theirs(&self, ours: &str) -> Option<&CatalogColumn> {
        let (_, theirs) = self.table.columns.iter().find(|(name, _)| name == ours)?;
        self.catalog.column(theirs)
    }

    fn layout(&mut self, config: &UsersConfig) -> Layout {
        let mapped: Vec<String> = self.table.columns.iter().map(|(ours, _)| ours.clone()).collect();
        let paths: Vec<String> = mapped.into_iter().filter(|name| AdoptedTable::is_path(name)).collect();
        if paths.len() > PATHS_MAX {
            self.problem(format!("{} paths of the profile are mapped; {PATHS_MAX} may be", paths.len()));
        }
        let typed = |path: &String| PathColumn {
            path: path.clone(),
            column_type: self.theirs(path).map_or(ColumnType::Text, |column| self.path_type(column)),
        };
        let typed: Vec<PathColumn> = paths.iter().map(typed).collect();
        let by_name = Layout::new(typed.clone(), |_| Owner::Provider);
        let mut layout = Layout::new(typed, |column| {
            let name = by_name.name(column);
            // Wherever it lies: whether an address is verified is said of the address that the row holds.
            let of_email = column == Column::EmailVerified && config.owner("email").is_none();
            let is_theirs = self.theirs(name).is_some() || (of_email && self.theirs("email").is_some());
            match (config.owner(name), column.default_owner()) {
                (Some(declared), _) => declared,
                (None, Owner::Provider) if is_theirs => Owner::Undeclared,
                (None, owner) => owner,
            }
        });
        layout.authority = config.authority.clone();
        for column in by_name.columns() {
            let Some(theirs) = self.theirs(by_name.name(column)) else { continue };
            layout = match stand_in(theirs) {
                Some(text) => layout.with_stand_in(column, text),
                None if theirs.nullable => layout,
                None => layout.with_never_null(column, theirs.default.is_some()),
            };
        }
        layout
    }

    fn path_type(&self, column: &CatalogColumn) -> ColumnType {
        match (self.dialect, column.base.as_str()) {
            (Dialect::Postgres, "boolean") => ColumnType::Bool,
            (Dialect::Postgres, "smallint" | "integer" | "bigint") => ColumnType::Integer,
            (Dialect::Sqlite, base) if base.contains("BOOL") => ColumnType::Bool,
            (Dialect::Sqlite, base) if base.contains("INT") => ColumnType::Integer,
            _ => ColumnType::Text,
        }
    }

    fn fields(&mut self, layout: &Layout) -> Vec<Placed> {
        let mut fields = Vec::new();
        for column in layout.columns() {
            let (name, column_type) = (layout.name(column).to_owned(), layout.column_type(column));
            fields.push(self.placed(Field::Column(column), &name, column_type));
        }
        for (field, name, column_type) in super::FACTS {
            fields.push(self.placed(field, name, column_type));
        }
        fields
    }

    fn placed(&mut self, field: Field, name: &str, column_type: ColumnType) -> Placed {
        let Some(column) = self.target(name) else {
            return Placed::plain(field, Place::Accounts, name.to_owned(), column_type.into());
        };
        let target = &column.name;
        if field == Field::DeletedAt && !column.nullable {
            self.problem(format!("deleted_at is mapped to `{target}`, which may not be null"));
        }
        let cell = self.cell(name, column, column_type).unwrap_or(column_type.into());
        let dialect = self.dialect;
        let default = column.default.as_ref().filter(|_| !column.nullable && stand_in(column).is_none());
        let default = default.map(|default| match dialect {
            Dialect::Postgres => format!("CAST(({default}) AS {})", column.type_name),
            Dialect::Sqlite => format!("({default})"),
        });
        Placed {
            never_null: !column.nullable,
            default,
            ..Placed::plain(field, Place::Users, target.clone(), cell)
        }
    }

    /// How this column holds values of that type; a problem where it cannot.
    fn cell(&mut self, ours: &str, column: &CatalogColumn, needed: ColumnType) -> Option<CellType> {
        let (theirs, type_name) = (&column.name, &column.type_name);
        if column.generated || column.identity.is_some() {
            self.problem(format!("{ours} is mapped to `{theirs}`, which is generated and cannot be written"));
            return None;
        }
        let found = match self.dialect {
            Dialect::Postgres => postgres_cell(column, needed),
            Dialect::Sqlite => sqlite_cell(column, needed),
        };
        if found.is_none() {
            let needed = match needed {
                ColumnType::Text => "text",
                ColumnType::Bool => "boolean",
                ColumnType::Integer => "a whole number",
                ColumnType::Timestamp if self.dialect == Dialect::Postgres => {
                    "timestamptz or timestamp, with milliseconds at least"
                }
                ColumnType::Timestamp => "text (fixed-width UTC, as 2026-01-02T03:04:05.006Z)",
            };
            self.problem(format!(
                "{ours} is mapped to `{theirs}`, which has type {type_name}; it must be {needed}"
            ));
        }
        found
    }

    fn mirrors(&mut self) -> Vec<Mirror> {
        let mut mirrors = Vec::new();
        for ours in ["account_state", "missing"] {
            let Some(column) = self.target(ours) else { continue };
            let target = &column.name;
            let is_list = ours == "missing" && self.dialect == Dialect::Postgres;
            let cell = match is_list {
                false => self.cell(ours, column, ColumnType::Text),
                true if column.base == "text[]" => Some(CellType::Named("text[]".into())),
                true => {
                    self.problem(format!("missing is mapped to `{target}`, which must have type text[]"));
                    None
                }
            };
            mirrors.extend(cell.map(|cell| Mirror { ours, theirs: target.clone(), cell }));
        }
        mirrors
    }

    fn check_targets(&mut self) {
        let mut targets: Vec<&String> = self.table.columns.iter().map(|(_, theirs)| theirs).collect();
        targets.push(&self.table.id);
        targets.sort();
        let twice: Vec<String> =
            targets.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0].clone()).collect();
        for target in twice {
            self.problem(format!("column `{target}` is mapped twice"));
        }
    }
}
