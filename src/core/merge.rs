//! What the accounts of one user say together (contract, rule 9): in each column the first source, in the order of
//! authority, that has something to say. It follows from what is known of each, so in whatever order they were heard.

use super::columns::{Column, Columns};
use super::known::{AccountView, Authority, SourceStatus, SuspensionRule};
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
    /// Banned at a source whose ban counts.
    pub suspended: bool,
    /// Accounts, and no snapshot.
    pub provisional: bool,
}

/// A source's place in an order: a smaller one speaks first. Twice the place in the list, and one more for all but those
/// that have taken another one's place.
type Rank = usize;

impl Authority {
    /// An order of a column's own holds whatever was switched: only the order of all has places that are taken over.
    fn rank(&self, column: &str, view: &AccountView<'_>) -> Rank {
        let place = |order: &[String], source: &str| order.iter().position(|name| name == source);
        let own = self.by_column.get(column).map_or(&[][..], Vec::as_slice);
        if let Some(n) = place(own, &view.key.source) {
            return 2 * n + 1;
        }
        let of_all = |source: &str| place(&self.order, source).map(|n| 2 * (own.len() + n));
        let taken_over = view.standing.supersedes.as_deref().and_then(of_all);
        let configured = of_all(&view.key.source).map(|rank| rank + 1);
        taken_over.into_iter().chain(configured).min().unwrap_or(Rank::MAX)
    }

    fn sort(&self, column: &str, views: &mut [AccountView<'_>]) {
        views.sort_by_key(|view| (view.standing.status.order(), self.rank(column, view), view.key));
    }

    /// The accounts whose ban counts, of those that have said something, the first one first.
    fn banning<'a>(&self, views: &[AccountView<'a>]) -> Vec<AccountView<'a>> {
        let by_any = self.suspension == SuspensionRule::Any;
        let counts = |n: usize, view: &AccountView<'_>| {
            n == 0 || (by_any && view.standing.status == SourceStatus::Active)
        };
        let is_banned = |view: &AccountView<'_>| view.identity.state == IdentityState::Suspended;
        let banned = views.iter().enumerate().filter(|(n, view)| is_banned(view) && counts(*n, view));
        banned.map(|(_, view)| *view).collect()
    }
}

impl SourceStatus {
    /// Who speaks later: being configured or not decides nothing but whether a ban counts.
    fn order(self) -> u8 {
        match self {
            SourceStatus::Active | SourceStatus::Unconfigured => 0,
            SourceStatus::Retired => 1,
            SourceStatus::Unread => 2,
        }
    }
}

/// What the accounts of one user say together. `row` is what their user's row holds.
pub fn merge(layout: &Layout, views: Vec<AccountView<'_>>, row: Option<&Columns>) -> Merged {
    let is_alive = views.iter().any(AccountView::is_alive);
    let deletions = views.iter().filter_map(|view| view.identity.deletion);
    let deleted_at = deletions.map(|deletion| deletion.at).max().filter(|_| !is_alive);
    let speaks = |view: &&AccountView<'_>| !is_alive || view.is_alive();
    let is_unread = views.iter().filter(speaks).any(|view| view.standing.status == SourceStatus::Unread);
    let mut views = heard(views);
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
        suspended: !layout.authority.banning(&views).is_empty(),
        provisional: is_alive && views.is_empty() && !is_unread,
    }
}

/// The account whose word the column's value is; `views` are those of one user.
pub fn winner<'a>(layout: &Layout, column: Column, views: Vec<AccountView<'a>>) -> Option<AccountView<'a>> {
    first(layout, column, &heard(views))
}

/// The accounts whose ban suspends the user that these are of.
pub fn banned_by<'a>(layout: &Layout, views: Vec<AccountView<'a>>) -> Vec<AccountView<'a>> {
    let mut views = heard(views);
    layout.authority.sort("", &mut views);
    layout.authority.banning(&views)
}

/// Those that have said something; of living ones alone, where there is one.
fn heard(mut views: Vec<AccountView<'_>>) -> Vec<AccountView<'_>> {
    if views.iter().any(AccountView::is_alive) {
        views.retain(AccountView::is_alive);
    }
    views.retain(|view| view.identity.latest.is_some());
    views
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
