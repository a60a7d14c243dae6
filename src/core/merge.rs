//! What the accounts of one user say together (contract, rule 9): in each column the first source, in the order of
//! authority, that has something to say. It follows from what is known of each, so in whatever order they were heard.

use super::account::IdentityState;
use super::columns::{Column, Columns};
use super::known::{Authority, Standing, Voice};
use super::layout::Layout;
use super::timestamp::Timestamp;

/// What follows for the user.
#[derive(Debug, Default)]
pub struct Together {
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

    fn sort(&self, column: &str, voices: &mut [Voice<'_>]) {
        voices.sort_by_key(|voice| (voice.standing, self.rank(column, &voice.key.source), voice.key));
    }
}

/// What the voices say together. `row` is what their user's row holds.
pub fn together(layout: &Layout, mut voices: Vec<Voice<'_>>, row: Option<&Columns>) -> Together {
    let is_alive = voices.iter().any(Voice::is_alive);
    let deletions = voices.iter().filter_map(|voice| voice.identity.deletion);
    let deleted_at = deletions.map(|deletion| deletion.at).max().filter(|_| !is_alive);
    if is_alive {
        voices.retain(Voice::is_alive);
    }
    let is_unread = voices.iter().any(|voice| voice.standing == Standing::Unread);
    voices.retain(|voice| voice.identity.latest.is_some());
    layout.authority.sort("", &mut voices);
    let mut columns = said(layout, &voices);
    if let (Some(columns), Some(row), true) = (&mut columns, row, is_unread) {
        for column in layout.columns().filter(|&column| row.get(column).is_some()) {
            if !layout.is_said(column, columns.get(column)) {
                columns.set(column, row.get(column).map(str::to_owned));
            }
        }
    }
    Together {
        columns: if is_alive { columns } else { columns.map(|columns| layout.freed(&columns)) },
        deleted_at,
        suspended: voices.first().is_some_and(|first| first.identity.state == IdentityState::Suspended),
        provisional: is_alive && voices.is_empty() && !is_unread,
    }
}

/// The account whose word the column's value is; `voices` are those of one user.
pub fn speaker<'a>(layout: &Layout, column: Column, mut voices: Vec<Voice<'a>>) -> Option<Voice<'a>> {
    if voices.iter().any(Voice::is_alive) {
        voices.retain(Voice::is_alive);
    }
    voices.retain(|voice| voice.identity.latest.is_some());
    first(layout, column, &voices)
}

fn said(layout: &Layout, voices: &[Voice<'_>]) -> Option<Columns> {
    let (first_voice, others) = voices.split_first()?;
    if others.is_empty() {
        return first_voice.columns().cloned();
    }
    let mut columns = Columns::default();
    for column in layout.columns() {
        let word = first(layout, column, voices).and_then(|voice| voice.columns()?.get(column));
        columns.set(column, word.map(str::to_owned));
    }
    Some(columns)
}

/// The first that says something. Whether an address is verified is said by whoever says the address.
fn first<'a>(layout: &Layout, column: Column, voices: &[Voice<'a>]) -> Option<Voice<'a>> {
    let asked = if column == Column::EmailVerified { Column::Email } else { column };
    let mut order = voices.to_vec();
    layout.authority.sort(layout.name(asked), &mut order);
    let says = |voice: &&Voice<'_>| {
        let word = voice.columns().and_then(|columns| columns.get(asked));
        layout.is_said(asked, word)
    };
    order.iter().find(says).or(order.first()).copied()
}

#[cfg(test)]
mod tests;
