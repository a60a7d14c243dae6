//! Everybody who has an account at one of the two sources, looked at once: what the report counts and names.

use super::{MoveError, ProviderMove};
use crate::core::address::comparable;
use crate::core::collision::{Collision, HeldBy, collisions};
use crate::core::columns::{Column, Columns};
use crate::core::event::Snapshot;
use crate::core::known::Sibling;
use crate::core::words::IdentityState;
use crate::reconcile::account_word;
use crate::store::{AccountDetail, UserFilter, UserView};
use std::collections::BTreeMap;

/// Users that are read at once.
const SLICE: i64 = 500;
/// Users that a report names of each kind.
pub const NAMED_MAX: usize = 100;

/// How many there are, and the first of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamedUsers {
    pub count: u64,
    /// Their ids.
    pub users: Vec<String>,
}

/// A column in which the two sources say different things of people who live at both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ColumnDifference {
    pub users: u64,
    /// Of those: the account at the old source was changed later.
    pub newer_at_from: u64,
}

/// What was seen of everybody.
#[derive(Clone, Debug, Default)]
pub struct People {
    /// Living at the old source, and never seen at the new one.
    pub only_from: u64,
    /// The other way round.
    pub only_to: u64,
    /// Living at both.
    pub both: u64,
    /// Deleted at the old source, living at the new one.
    pub left_from: u64,
    /// Deleted at the new source, living at the old one: they left.
    pub left_to: NamedUsers,
    /// Deleted at each of the two that knows them.
    pub ended: u64,
    /// Of those who are known at both: by which rule the one account found the other one's user.
    pub linked_by: BTreeMap<String, u64>,
    pub differences: BTreeMap<String, ColumnDifference>,
    pub banned_only_at_from: NamedUsers,
    pub banned_only_at_to: NamedUsers,
    /// Living, and neither source says that their address is verified.
    pub verified_nowhere: NamedUsers,
    /// Ids of accounts at the old source whose people have none at the new one.
    pub ids_to_come: Vec<String>,
    pub addresses: Vec<Collision>,
    pub usernames: Vec<Collision>,
}

/// How somebody stands at a source, the liveliest account first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Present,
    Suspended,
    Deleted,
    Absent,
}

impl Standing {
    fn lives(self) -> bool {
        matches!(self, Standing::Present | Standing::Suspended)
    }
}

impl NamedUsers {
    pub(super) fn add(&mut self, user_id: &str) {
        self.count += 1;
        if self.users.len() < NAMED_MAX {
            self.users.push(user_id.to_owned());
        }
    }
}

impl ProviderMove {
    /// Reads everybody.
    pub(super) async fn people(&self) -> Result<People, MoveError> {
        let mut people = People::default();
        let (mut addresses, mut usernames) = (Vec::new(), Vec::new());
        for source in [&self.from, &self.to] {
            let mut after = None;
            loop {
                let filter =
                    UserFilter { source: Some(source.clone()), after, limit: SLICE, ..UserFilter::default() };
                let users = self.store.users(&filter).await?;
                let Some(last) = users.last() else { break };
                after = Some(last.id.clone());
                // Who is at both was seen in the first round.
                let is_new = |user: &&UserView| {
                    *source == self.from || user.identities.iter().all(|account| account.source != self.from)
                };
                let users: Vec<&UserView> = users.iter().filter(is_new).collect();
                let ids: Vec<String> = users.iter().map(|user| user.id.clone()).collect();
                let mut accounts = self.store.account_details_of(&ids).await?;
                for user in users {
                    self.look(&mut people, user, &accounts.remove(&user.id).unwrap_or_default());
                    if user.account_state == "deleted" {
                        continue;
                    }
                    let held = |value: &str| HeldBy { user_id: user.id.clone(), value: value.to_owned() };
                    addresses.extend(user.columns.get(Column::Email).map(|email| held(&comparable(email))));
                    usernames.extend(user.columns.get(Column::Username).map(held));
                }
            }
        }
        people.addresses = collisions(addresses);
        people.usernames = collisions(usernames);
        Ok(people)
    }

    fn look(&self, people: &mut People, user: &UserView, accounts: &[AccountDetail]) {
        let at = |source| at_source(accounts, source);
        let standing = |source| at(source).map(standing).min().unwrap_or(Standing::Absent);
        let (from, to) = (standing(&self.from), standing(&self.to));
        match (from.lives(), to.lives()) {
            (true, true) => people.both += 1,
            (true, false) if to == Standing::Deleted => people.left_to.add(&user.id),
            (true, false) => {
                people.only_from += 1;
                people.ids_to_come.extend(at(&self.from).map(|account| account.key.provider_id.clone()));
            }
            (false, true) if from == Standing::Deleted => people.left_from += 1,
            (false, true) => people.only_to += 1,
            (false, false) => people.ended += 1,
        }
        if from != Standing::Absent && to != Standing::Absent {
            let rule = at(&self.to).chain(at(&self.from)).find_map(|account| account.linked_by.clone());
            *people.linked_by.entry(rule.unwrap_or_else(|| "not recorded".to_owned())).or_default() += 1;
        }
        match (from, to) {
            (Standing::Suspended, Standing::Present) => people.banned_only_at_from.add(&user.id),
            (Standing::Present, Standing::Suspended) => people.banned_only_at_to.add(&user.id),
            _ => {}
        }
        if !from.lives() && !to.lives() {
            return;
        }
        let word = |account: &AccountDetail| account_word(account, &self.sources, self.store.layout());
        let living = at(&self.from).chain(at(&self.to));
        let living = living.filter(|account| account.state != IdentityState::Deleted);
        let words: Vec<Sibling> = living.map(word).collect();
        let is_verified = |sibling: &Sibling| {
            sibling.view().columns().and_then(|columns| columns.get(Column::EmailVerified)) == Some("true")
        };
        if !words.iter().any(is_verified) {
            people.verified_nowhere.add(&user.id);
        }
        let snapshot = |source: &String| {
            let latest = words
                .iter()
                .find(|sibling| sibling.key.source == *source && sibling.identity.latest.is_some());
            latest.and_then(|sibling| Some(&sibling.identity.latest.as_ref()?.snapshot))
        };
        if let (Some(from), Some(to)) = (snapshot(&self.from), snapshot(&self.to)) {
            self.compare(people, from, to);
        }
    }

    fn compare(&self, people: &mut People, from: &Snapshot, to: &Snapshot) {
        let layout = self.store.layout();
        let says = |columns: &Columns, column| layout.says_something(column, columns.get(column));
        let is_newer = from.versioned_at > to.versioned_at;
        // Each source has its own id of an account, and its own time of creation.
        let is_its_own = |column| column == Column::CreatedAt || layout.is_account_id(column);
        let both_say = |column: &Column| {
            !is_its_own(*column) && says(&from.columns, *column) && says(&to.columns, *column)
        };
        for column in from.columns.differing(&to.columns).filter(both_say) {
            let difference = people.differences.entry(layout.name(column).to_owned()).or_default();
            difference.users += 1;
            difference.newer_at_from += u64::from(is_newer);
        }
    }
}

fn standing(account: &AccountDetail) -> Standing {
    match account.state {
        IdentityState::Present => Standing::Present,
        IdentityState::Suspended => Standing::Suspended,
        IdentityState::Deleted => Standing::Deleted,
    }
}

fn at_source<'a>(accounts: &'a [AccountDetail], source: &'a str) -> impl Iterator<Item = &'a AccountDetail> {
    accounts.iter().filter(move |account| account.key.source == source)
}
