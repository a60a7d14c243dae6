//! What a resync compares with a source's page.

use super::{Field, Place, Placed, UsersTable};
use crate::core::columns::Columns;
use crate::store::engine::dialect::{PACKED_BETWEEN, packed};

impl UsersTable {
    /// provider id, creation time, state, version, profile, and the row as [`UsersTable::is_as_expected`] takes it:
    /// accounts of source `$1` heard of before `$4` and created from `$3` on (up to `$5`, where `bounded`), at most `$2`; with `sliced`, those
    /// after the creation time and the id in the last two parameters.
    pub fn known_between(&self, bounded: bool, sliced: bool) -> String {
        let value = |n: usize| self.dialect.timestamp_value(&format!("${n}"));
        let mut range = format!("i.provider_created_at >= {} AND i.first_seen_at < {}", value(3), value(4));
        if bounded {
            range.push_str(&format!(" AND i.provider_created_at <= {}", value(5)));
        }
        if sliced {
            let n = if bounded { 6 } else { 5 };
            range.push_str(&format!(
                " AND (i.provider_created_at, i.provider_id) > ({}, ${})",
                value(n),
                n + 1
            ));
        }
        self.dialect.own(&format!(
            "{} WHERE {} = $1 AND {range} ORDER BY i.provider_created_at, i.provider_id LIMIT $2",
            self.known("headcount.identities i"),
            self.dialect.source_by_time("i.source"),
        ))
    }

    /// As [`Self::known_between`], for the sources and ids in the rows of the only parameter.
    ///
    /// The source comes with each row: as a constant it would have SQLite go through all of its accounts.
    pub fn known_of(&self) -> String {
        let from = format!(
            "{} JOIN headcount.identities i ON i.source = v.c1 AND i.provider_id = v.c2",
            self.dialect.rows(1, 2)
        );
        self.dialect.own(&self.known(&from))
    }

    fn known(&self, from: &str) -> String {
        let cells: Vec<String> = self
            .compared()
            .map(|placed| {
                let cell = placed.cell.exact(self.dialect, &placed.sql());
                match placed.field {
                    Field::SuspendedBySource | Field::SuspendedByApp | Field::Provisional => {
                        format!("coalesce({cell}, 'false')")
                    }
                    Field::Kept => format!("coalesce({cell}, '')"),
                    _ => cell,
                }
            })
            .collect();
        let user_id = self.id_value("i.user_id");
        let mut from = self.dialect.each_row_or_none(from, &self.table, "u", &self.id_sql(""), &user_id);
        if self.is_adopted {
            from = self.dialect.each_row_or_none(&from, "headcount.accounts", "a", "user_id", "i.user_id");
        }
        format!(
            "SELECT i.provider_id, {} AS provider_created_at, i.state, CAST(i.version AS text) AS version, i.profile,
                    CASE WHEN {} IS NOT NULL THEN {} END AS packed
             FROM {from}",
            self.dialect.timestamp_text("i.provider_created_at"),
            self.id_sql("u."),
            self.dialect.packed(&cells),
        )
    }

    /// What only the provider decides about: its columns, then the facts. What the application decides about, its own bans
    /// and what it keeps, is there as well: it may be anything that headcount writes, and nothing else.
    fn compared(&self) -> impl Iterator<Item = &Placed> {
        self.fields.iter().filter(|placed| match placed.field {
            Field::Column(column) => self.layout.owner(column).is_provider(),
            _ => placed.place != Place::Nowhere,
        })
    }

    /// Whether a row that was read is as the provider has it; of columns that keep what they held, and of what the
    /// application decides about, that does not matter.
    pub fn is_as_expected(&self, row: &str, columns: &Columns, suspended: bool) -> bool {
        let truth = |truth: bool| Some(if truth { "true" } else { "false" });
        let expected = |placed: &Placed| match placed.field {
            Field::Column(column) => columns.get(column),
            Field::DeletedAt => None,
            Field::SuspendedBySource => truth(suspended),
            Field::SuspendedByApp | Field::Provisional => truth(false),
            Field::Kept => Some(""),
        };
        if row == packed(self.compared().map(expected)) {
            return true;
        }
        let Some(kept) = row.rsplit(PACKED_BETWEEN).next().and_then(|kept| self.kept(kept)) else {
            return false;
        };
        let may_be = |placed: &Placed, found: &str| match placed.field {
            Field::Column(column) => kept.contains(column),
            Field::SuspendedByApp => matches!(found, "true" | "false"),
            field => field == Field::Kept,
        };
        let mut cells = row.split(PACKED_BETWEEN);
        let all = self.compared().all(|placed| {
            let is_right = |found| may_be(placed, found) || found == packed([expected(placed)].into_iter());
            cells.next().is_some_and(is_right)
        });
        all && cells.next().is_none()
    }
}
