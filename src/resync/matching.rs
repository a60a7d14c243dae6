//! Which accounts of a source belong to which rows of a table that was there before them: looked at, nothing written.

use super::compare::key;
use super::walk::{WalkPlace, page};
use super::{Phase, Resync, ResyncError};
use crate::core::columns::Columns;
use crate::core::event::{IdentityKey, Snapshot};
use crate::core::link::{LinkRule, Match, matched};
use crate::reconcile::names_of_sources;
use crate::store::{Known, match_key};
use std::collections::{BTreeMap, HashMap, HashSet};

/// What looking at a whole source has found.
#[derive(Clone, Debug, Default)]
pub struct Matching {
    /// Accounts at the source.
    pub accounts: u64,
    /// Those that have a row already.
    pub linked_before: u64,
    /// Rows by the provider id of the account that each belongs to.
    pub plan: HashMap<String, String>,
    /// Accounts that fit, but not one free row alone: provider id and why.
    pub ambiguous: Vec<(String, &'static str)>,
    /// Accounts that fit no row, and were never heard of.
    pub unmatched: Vec<String>,
    /// How many of them can have no row: the provider has nothing for a column that needs something.
    pub rowless: u64,
    /// Those of them that a rule which is not followed would tie to somebody: by how many each rule would.
    pub doubled: Vec<(LinkRule, u64)>,
    /// Accounts that fit no row, and are known: a constraint keeps theirs out, or the application has removed it.
    pub waiting: u64,
    /// What linking would change, by column.
    pub columns: BTreeMap<String, ColumnEffect>,
    pub pages: u64,
}

/// What linking does to a column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ColumnEffect {
    /// Rows in which it was empty.
    pub filled: u64,
    /// Rows in which it holds something else, which stays.
    pub kept: u64,
    /// Rows in which it holds something else, which the provider's value replaces: its owner was declared.
    pub replaced: u64,
}

impl Matching {
    /// Accounts for which a run would create users.
    pub fn without_row(&self) -> Vec<String> {
        let ambiguous = self.ambiguous.iter().map(|(id, _)| id.clone());
        self.unmatched.iter().cloned().chain(ambiguous).collect()
    }
}

/// Accounts of a page that have no row yet.
struct Unlinked {
    key: IdentityKey,
    snapshot: Snapshot,
    is_known: bool,
}

impl Resync {
    /// Walks the whole list. Of those that fit no row by the rules, counts those that one of the others would tie to somebody.
    pub(super) async fn match_rows(
        &self,
        rules: &[LinkRule],
        others: &[LinkRule],
    ) -> Result<Matching, ResyncError> {
        let total = self.gate.count().await?;
        let names = names_of_sources(&self.store, &self.reads.sources).await?;
        let others = others.iter().filter(|rule| !rules.contains(rule)).map(|rule| (rule.clone(), 0));
        let mut matching = Matching { doubled: others.collect(), ..Matching::default() };
        // Rows with the account that came first, and those that several came for.
        let mut chosen: HashMap<String, String> = HashMap::new();
        let mut contested: HashSet<String> = HashSet::new();
        let mut place = WalkPlace::default();
        loop {
            self.check_stopped()?;
            let fetched = page(&self.gate, &place).await?;
            matching.pages += 1;
            matching.accounts += fetched.entries.len() as u64;
            let understood: Vec<Unlinked> = fetched
                .entries
                .into_iter()
                .filter_map(|entry| {
                    let key = key(&self.source, &entry.provider_id?);
                    Some(Unlinked { key, snapshot: entry.snapshot.ok()?, is_known: false })
                })
                .collect();
            let open = self.without_known_row(understood, &mut matching).await?;
            let found = self.match_page(rules, &names, open, &mut matching).await?;
            self.weigh(&found, &mut matching).await?;
            for (account, row) in found {
                let id = account.key.provider_id;
                if let Some(first) = chosen.insert(row.clone(), id.clone()) {
                    contested.insert(row);
                    matching.plan.remove(&first);
                    matching.ambiguous.extend([(first, CONTESTED), (id, CONTESTED)]);
                } else {
                    matching.plan.insert(id, row);
                }
            }
            self.report(Phase::Walking, matching.accounts, total.unwrap_or(0));
            if fetched.is_last {
                break;
            }
            place = fetched.next;
        }
        matching.plan.retain(|_, row| !contested.contains(row));
        matching.ambiguous.sort();
        matching.ambiguous.dedup();
        Ok(matching)
    }

    async fn without_known_row(
        &self,
        accounts: Vec<Unlinked>,
        matching: &mut Matching,
    ) -> Result<Vec<Unlinked>, ResyncError> {
        let ids: Vec<String> = accounts.iter().map(|account| account.key.provider_id.clone()).collect();
        let known = self.store.known_of(&self.source.name, &ids).await?;
        // A tombstone is no reason to make a user either.
        let (settled, rowless): (Vec<_>, Vec<_>) =
            known.into_iter().partition(|known| known.row.is_some() || known.deleted);
        matching.linked_before += settled.len() as u64;
        let ids = |known: Vec<Known>| -> HashSet<String> {
            known.into_iter().map(|known| known.provider_id).collect()
        };
        let (settled, rowless) = (ids(settled), ids(rowless));
        let open = accounts.into_iter().filter(|account| !settled.contains(&account.key.provider_id));
        let known =
            |account: Unlinked| Unlinked { is_known: rowless.contains(&account.key.provider_id), ..account };
        Ok(open.map(known).collect())
    }

    /// Each account with its row, by the first rule that finds any.
    async fn match_page(
        &self,
        rules: &[LinkRule],
        names: &[String],
        mut open: Vec<Unlinked>,
        matching: &mut Matching,
    ) -> Result<Vec<(Unlinked, String)>, ResyncError> {
        let mut found = Vec::new();
        for rule in rules {
            let mut still = Vec::new();
            for (account, fits) in self.matches(rule, names, open).await? {
                match fits {
                    Match::Row(row) => found.push((account, row)),
                    Match::Ambiguous(why) => matching.ambiguous.push((account.key.provider_id, why)),
                    Match::None => still.push(account),
                }
            }
            open = still;
        }
        open = self.count_doubled(names, open, matching).await?;
        matching.waiting += open.iter().filter(|account| account.is_known).count() as u64;
        let never_seen: Vec<Unlinked> = open.into_iter().filter(|account| !account.is_known).collect();
        let layout = self.store.layout();
        let rowless = never_seen.iter().filter(|account| !layout.makes_a_row(&account.snapshot.columns));
        matching.rowless += rowless.count() as u64;
        matching.unmatched.extend(never_seen.into_iter().map(|account| account.key.provider_id));
        Ok(found)
    }

    async fn matches(
        &self,
        rule: &LinkRule,
        names: &[String],
        accounts: Vec<Unlinked>,
    ) -> Result<Vec<(Unlinked, Match)>, ResyncError> {
        let want =
            |account: &Unlinked| match_key(self.store.users_table(), rule, &account.key, &account.snapshot);
        let texts: Vec<String> = accounts.iter().filter_map(want).collect();
        let candidates = self.store.candidates(rule, &texts, names).await?;
        let fits = |account: Unlinked| {
            let rows = want(&account).and_then(|text| candidates.get(&text));
            let fits = matched(rows.map_or(&[], Vec::as_slice), &self.source.name);
            (account, fits)
        };
        Ok(accounts.into_iter().map(fits).collect())
    }

    /// Counts those that a rule would tie to somebody if it were followed, each once. The accounts as they came.
    async fn count_doubled(
        &self,
        names: &[String],
        accounts: Vec<Unlinked>,
        matching: &mut Matching,
    ) -> Result<Vec<Unlinked>, ResyncError> {
        let (mut open, mut doubled) = (accounts, Vec::new());
        for (rule, count) in &mut matching.doubled {
            let mut still = Vec::new();
            for (account, fits) in self.matches(rule, names, open).await? {
                match fits {
                    Match::Row(_) if !account.is_known => {
                        *count += 1;
                        doubled.push(account);
                    }
                    _ => still.push(account),
                }
            }
            open = still;
        }
        open.extend(doubled);
        Ok(open)
    }

    /// Counts what linking would change.
    async fn weigh(&self, found: &[(Unlinked, String)], matching: &mut Matching) -> Result<(), ResyncError> {
        let layout = self.store.layout();
        let ids: Vec<String> = found.iter().map(|(_, row)| row.clone()).collect();
        let rows: HashMap<String, Columns> = self.store.rows(&ids).await?;
        for (account, id) in found {
            let Some(row) = rows.get(id) else { continue };
            let provider = &account.snapshot.columns;
            let (next, _) = layout.follow_first(row, provider);
            for column in layout.columns().filter(|&column| row.get(column) != provider.get(column)) {
                let follows = next.get(column) == provider.get(column);
                let is_vacant = row.is_vacant(column);
                if !follows && is_vacant {
                    continue;
                }
                let effect = matching.columns.entry(layout.name(column).to_owned()).or_default();
                match (follows, is_vacant) {
                    (true, true) => effect.filled += 1,
                    (true, false) => effect.replaced += 1,
                    (false, _) => effect.kept += 1,
                }
            }
        }
        Ok(())
    }
}

const CONTESTED: &str = "another account fits the same row";
