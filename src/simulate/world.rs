//! Who there is at the simulated provider, in the orders that its API lists them.

use super::ids::IdForm;
use super::people::{Details, made_up};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Bound;

/// The first person of the initial population signed up here (ms): 2025-01-01.
const BEGINNING_MS: i64 = 1_735_689_600_000;
/// From one to the next.
const STEP_MS: i64 = 25;

#[derive(Clone, Debug)]
pub(super) struct Person {
    pub number: u64,
    pub created_ms: i64,
    pub updated_ms: i64,
    pub revision: u32,
    pub alive: bool,
    pub banned: bool,
    pub locked: bool,
    /// Since when a version of the account says that it ended.
    pub soft_deleted_ms: Option<i64>,
    /// Where somebody has edited them; otherwise all follows from seed, number and revision.
    pub edited: Option<Box<Details>>,
}

/// A person as the provider has them, to be compared with what others made of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Truth {
    pub id: String,
    pub version: i64,
    pub email: Option<String>,
    pub phone: Option<String>,
    pub username: Option<String>,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub display_name: Option<String>,
    pub banned: bool,
}

pub(super) struct World {
    ids: IdForm,
    seed: u64,
    people: Vec<Person>,
    by_created: BTreeSet<(i64, u64)>,
    by_updated: BTreeSet<(i64, u64)>,
}

impl World {
    pub(super) fn new(ids: IdForm, seed: u64, users: u64) -> Self {
        let (by_created, by_updated) = (BTreeSet::new(), BTreeSet::new());
        let mut world = Self { ids, seed, people: Vec::new(), by_created, by_updated };
        for number in 0..users {
            let at = BEGINNING_MS + number as i64 * STEP_MS;
            world.add(at, at, None);
        }
        world
    }

    /// Their number.
    pub(super) fn add(&mut self, created_ms: i64, updated_ms: i64, edited: Option<Details>) -> u64 {
        let number = self.people.len() as u64;
        self.people.push(Person {
            number,
            created_ms,
            updated_ms,
            revision: 0,
            alive: true,
            banned: false,
            locked: false,
            soft_deleted_ms: None,
            edited: edited.map(Box::new),
        });
        self.by_created.insert((created_ms, number));
        self.by_updated.insert((updated_ms, number));
        number
    }

    pub(super) fn count(&self) -> usize {
        self.by_created.len()
    }

    pub(super) fn id(&self, number: u64) -> String {
        self.ids.id(self.seed, number)
    }

    pub(super) fn person(&self, number: u64) -> Option<&Person> {
        self.people.get(usize::try_from(number).ok()?)
    }

    /// The account goes on being there, and says that it ended.
    pub(super) fn soft_delete(&mut self, number: u64, now_ms: i64) {
        self.edit(number, now_ms, |details| *details = Details::default());
        self.change(number, now_ms, |person| person.soft_deleted_ms = Some(now_ms));
    }

    /// Whoever has this id, dead or alive.
    pub(super) fn by_id(&self, id: &str) -> Option<&Person> {
        let person = self.person(self.ids.number(id)?)?;
        (self.id(person.number) == id).then_some(person)
    }

    pub(super) fn alive(&self, id: &str) -> Option<&Person> {
        self.by_id(id).filter(|person| person.alive)
    }

    pub(super) fn details<'a>(&self, person: &'a Person) -> Cow<'a, Details> {
        match &person.edited {
            Some(details) => Cow::Borrowed(details),
            None => Cow::Owned(made_up(self.seed, person.number, person.revision)),
        }
    }

    /// Somebody who is alive: the one at this place of a ring.
    pub(super) fn somebody(&self, place: u64) -> Option<u64> {
        let pivot = place % (self.people.len() as u64).max(1);
        let person = self.people.get(usize::try_from(pivot).ok()?)?;
        if person.alive {
            return Some(person.number);
        }
        let after = (Bound::Excluded((person.created_ms, person.number)), Bound::Unbounded);
        self.by_created
            .range(after)
            .next()
            .or_else(|| self.by_created.iter().next())
            .map(|(_, number)| *number)
    }

    /// Changes a person; `None` where there is no such one. Versions never stand still.
    pub(super) fn change(
        &mut self,
        number: u64,
        now_ms: i64,
        change: impl FnOnce(&mut Person),
    ) -> Option<i64> {
        let person = self.people.get_mut(usize::try_from(number).ok()?).filter(|person| person.alive)?;
        self.by_updated.remove(&(person.updated_ms, number));
        self.by_created.remove(&(person.created_ms, number));
        change(person);
        person.updated_ms = now_ms.max(person.updated_ms + 1);
        self.by_updated.insert((person.updated_ms, number));
        self.by_created.insert((person.created_ms, number));
        Some(person.updated_ms)
    }

    pub(super) fn edit(&mut self, number: u64, now_ms: i64, edit: impl FnOnce(&mut Details)) -> Option<i64> {
        let person = self.people.get(usize::try_from(number).ok()?)?;
        let mut details = self.details(person).into_owned();
        edit(&mut details);
        self.change(number, now_ms, |person| person.edited = Some(Box::new(details)))
    }

    pub(super) fn remove(&mut self, number: u64) -> bool {
        let Some(person) = self.people.get_mut(usize::try_from(number).unwrap_or(usize::MAX)) else {
            return false;
        };
        if !std::mem::take(&mut person.alive) {
            return false;
        }
        let (created, updated) = (person.created_ms, person.updated_ms);
        self.by_created.remove(&(created, number));
        self.by_updated.remove(&(updated, number));
        true
    }

    pub(super) fn restore(&mut self, id: &str, updated_ms: i64, first_name: &str) -> bool {
        let Some(person) = self.by_id(id) else { return false };
        let (number, mut details) = (person.number, self.details(person).into_owned());
        details.first_name = Some(first_name.to_owned());
        self.remove(number);
        let Some(person) = self.people.get_mut(usize::try_from(number).unwrap_or(usize::MAX)) else {
            return false;
        };
        (person.alive, person.updated_ms, person.edited) = (true, updated_ms, Some(Box::new(details)));
        self.by_created.insert((person.created_ms, number));
        self.by_updated.insert((updated_ms, number));
        true
    }

    /// By creation, those behind the cursor first.
    pub(super) fn listed(
        &self,
        after: Option<(i64, u64)>,
        descending: bool,
    ) -> Box<dyn Iterator<Item = &Person> + '_> {
        walk(&self.by_created, &self.people, after, descending)
    }

    pub(super) fn by_update(&self, descending: bool) -> Box<dyn Iterator<Item = &Person> + '_> {
        walk(&self.by_updated, &self.people, None, descending)
    }

    /// Everybody who has not ended, each as `shown` makes it of the whole truth.
    pub(super) fn truth(&self, shown: impl Fn(&Self, &Person, Truth) -> Truth) -> Vec<Truth> {
        let mut all: Vec<Truth> = self
            .by_created
            .iter()
            .filter_map(|(_, number)| self.people.get(usize::try_from(*number).ok()?))
            .filter(|person| person.soft_deleted_ms.is_none())
            .map(|person| shown(self, person, self.truth_of(person)))
            .collect();
        all.sort();
        all
    }
}

impl World {
    /// As the columns of `users` would have the person, at most.
    fn truth_of(&self, person: &Person) -> Truth {
        let details = self.details(person).into_owned();
        let mut truth = Truth {
            id: self.id(person.number),
            version: person.updated_ms,
            email: details.emails.into_iter().next(),
            phone: details.phones.into_iter().next(),
            username: details.username,
            first_name: details.first_name,
            last_name: details.last_name,
            display_name: None,
            banned: person.banned,
        };
        let names: Vec<&str> =
            [&truth.first_name, &truth.last_name].into_iter().flatten().map(String::as_str).collect();
        truth.display_name = (!names.is_empty()).then(|| names.join(" ")).or(truth.username.clone());
        truth
    }
}

fn walk<'a>(
    order: &'a BTreeSet<(i64, u64)>,
    people: &'a [Person],
    after: Option<(i64, u64)>,
    descending: bool,
) -> Box<dyn Iterator<Item = &'a Person> + 'a> {
    let person = |(_, number): &(i64, u64)| people.get(usize::try_from(*number).ok()?);
    match (descending, after) {
        (false, None) => Box::new(order.iter().filter_map(person)),
        (true, None) => Box::new(order.iter().rev().filter_map(person)),
        (false, Some(after)) => {
            Box::new(order.range((Bound::Excluded(after), Bound::Unbounded)).filter_map(person))
        }
        (true, Some(after)) => Box::new(order.range(..after).rev().filter_map(person)),
    }
}
