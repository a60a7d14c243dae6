//! `--rehearse`: what a switch would write, by column, without writing.

use super::{MoveError, ProviderMove, SLICE};
use crate::core::words::SwitchDirection;
use crate::reconcile::RewrittenUser;
use crate::store::SwitchCounts;
use std::collections::BTreeMap;

/// Examples that a rehearsal names of each column.
pub const EXAMPLES_MAX: usize = 5;

/// What a switch would write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rehearsal {
    pub counts: SwitchCounts,
    /// By the column's name; `suspended` for bans.
    pub columns: BTreeMap<String, ColumnRewrite>,
    /// Accounts that another transaction held, and that were left out.
    pub busy: u64,
    /// Accounts whose rows the database does not take, with its reason, the first of them.
    pub refused: Vec<(String, String)>,
}

/// What a switch would write of one column.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColumnRewrite {
    /// Users who get another value.
    pub users: u64,
    /// Of those: nothing after something.
    pub emptied: u64,
    /// Of those: only capitals differ.
    pub by_case: u64,
    /// Of those: the value would be held back, for the database does not take it.
    pub held: u64,
    pub examples: Vec<RewriteExample>,
}

/// One user's value, before and after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RewriteExample {
    pub user_id: String,
    pub before: Option<String>,
    pub after: Option<String>,
}

impl ProviderMove {
    /// Goes through everybody who is at both sources.
    pub async fn rehearse(&self, direction: SwitchDirection) -> Result<Rehearsal, MoveError> {
        let switching = self.switching(direction);
        let (mut rehearsal, mut cursor) = (Rehearsal::default(), String::new());
        loop {
            let keys = self.store.accounts_at_both(&self.from, &self.to, &cursor, SLICE).await?;
            let Some(last) = keys.last() else { return Ok(rehearsal) };
            let slice = switching.rehearse(&keys).await?;
            rehearsal.counts.add(slice.counts);
            rehearsal.busy += slice.busy.len() as u64;
            slice.rewritten.iter().for_each(|user| rehearsal.add(user));
            for (key, reason) in slice.refused {
                if rehearsal.refused.len() < EXAMPLES_MAX {
                    rehearsal.refused.push((key.provider_id, reason));
                }
            }
            cursor.clone_from(&last.provider_id);
        }
    }
}

impl Rehearsal {
    fn add(&mut self, user: &RewrittenUser) {
        for (column, before, after) in &user.columns {
            let rewrite = self.columns.entry(column.clone()).or_default();
            rewrite.add(&user.user_id, before.as_deref(), after.as_deref());
            rewrite.held += u64::from(user.held.contains(column));
        }
        if let Some(suspended) = user.suspended {
            let (before, after) = (!suspended, suspended);
            let rewrite = self.columns.entry("suspended".to_owned()).or_default();
            rewrite.add(&user.user_id, Some(&before.to_string()), Some(&after.to_string()));
        }
    }
}

impl ColumnRewrite {
    fn add(&mut self, user_id: &str, before: Option<&str>, after: Option<&str>) {
        let differs_by_case = |(a, b): (&str, &str)| a.to_lowercase() == b.to_lowercase();
        self.users += 1;
        self.emptied += u64::from(after.is_none());
        self.by_case += u64::from(before.zip(after).is_some_and(differs_by_case));
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(RewriteExample {
                user_id: user_id.to_owned(),
                before: before.map(str::to_owned),
                after: after.map(str::to_owned),
            });
        }
    }
}
