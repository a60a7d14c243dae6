//! What the accounts of one user say together (contract, rule 9): in each column the first source, in the order of
//! authority, that has something to say. It follows from what is known of each, so in whatever order they were heard.

use super::columns::{Column, Columns};
use super::known::{AccountView, Authority, SourceStatus};
use super::layout::Layout;
use super::timestamp::Timestamp;
use super::words::IdentityState;

/// What follows for the user.
#[derive(Debug, Default)]
pub struct Merged {
    /// `None` where nobody has said anything.
    pub columns: Option<Columns>,
    /// Where no account is left: when the last one ended.
    pub deleted_at: Option<Timestamp>,
    /// Banned at the first source, in the order of authority, that knows the user.
    pub suspended: bool,
    /// Accounts, and no snapshot.
    pub provisional: bool,
}

impl Authority {
    fn rank(&self, column: &str, source: &str) -> usize {
        let place = |order: &[String]| order.iter().position(|name| name == source);
        let own = self.by_column.get(column).map_or(&[][..], Vec::as_slice);
        place(own).or_else(|| place(&self.order).map(|n| own.len() + n)).unwrap_or(usize::MAX)
    }

    fn sort(&self, column: &str, views: &mut [AccountView<'_>]) {
        views.sort_by_key(|view| (view.source_status, self.rank(column, &view.key.source), view.key));
    }
}

/// What the voices say together. `row` is what their user's row holds.
pub fn merge(layout: &Layout, mut views: Vec<AccountView<'_>>, row: Option<&Columns>) -> Merged {
    let is_alive = views.iter().any(AccountView::is_alive);
    let deletions = views.iter().filter_map(|view| view.identity.deletion);
    let deleted_at = deletions.map(|deletion| deletion.at).max().filter(|_| !is_alive);
    if is_alive {
        views.retain(AccountView::is_alive);
    }
    let is_unread = views.iter().any(|view| view.source_status == SourceStatus::Unread);
    views.retain(|view| view.identity.latest.is_some());
    layout.authority.sort("", &mut views);
    let mut columns = merged_columns(layout, &views);
    if let (Some(columns), Some(row), true) = (&mut columns, row, is_unread) {
        for column in layout.columns().filter(|&column| row.get(column).is_some()) {
            if !layout.says_something(column, columns.get(column)) {
                columns.set(column, row.get(column).map(str::to_owned));
            }
        }
    }
    Merged {
        columns: if is_alive { columns } else { columns.map(|columns| layout.freed(&columns)) },
        deleted_at,
        suspended: views.first().is_some_and(|first| first.identity.state == IdentityState::Suspended),
        provisional: is_alive && views.is_empty() && !is_unread,
    }
}

/// The account whose word the column's value is; `voices` are those of one user.
pub fn winner<'a>(
    layout: &Layout,
    column: Column,
    mut views: Vec<AccountView<'a>>,
) -> Option<AccountView<'a>> {
    if views.iter().any(AccountView::is_alive) {
        views.retain(AccountView::is_alive);
    }
    views.retain(|view| view.identity.latest.is_some());
    first(layout, column, &views)
}

fn merged_columns(layout: &Layout, views: &[AccountView<'_>]) -> Option<Columns> {
    let (first_view, others) = views.split_first()?;
    if others.is_empty() {
        return first_view.columns().cloned();
    }
    let mut columns = Columns::default();
    for column in layout.columns() {
        let word = first(layout, column, views).and_then(|view| view.columns()?.get(column));
        columns.set(column, word.map(str::to_owned));
    }
    Some(columns)
}

/// The first that says something. Whether an address is verified is said by whoever says the address.
fn first<'a>(layout: &Layout, column: Column, views: &[AccountView<'a>]) -> Option<AccountView<'a>> {
    let asked = if column == Column::EmailVerified { Column::Email } else { column };
    let mut order = views.to_vec();
    layout.authority.sort(layout.name(asked), &mut order);
    let says = |view: &&AccountView<'_>| {
        let word = view.columns().and_then(|columns| columns.get(asked));
        layout.says_something(asked, word)
    };
    order.iter().find(says).or(order.first()).copied()
}

#[cfg(test)]
mod tests;
