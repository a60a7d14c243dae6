//! Values of several people that are one value somewhere else: the same text, the same but for its capitals, or one that only
//! looks the same because its letters are another alphabet's.

use std::collections::BTreeMap;
use unicode_security::skeleton;

/// How alike the values of a collision are, the most alike first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Likeness {
    Same,
    /// But for capitals.
    Case,
    /// Letters of different alphabets that look the same (Unicode Technical Standard 39).
    Alphabet,
}

/// Somebody's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldBy {
    pub user_id: String,
    pub value: String,
}

/// Several people and what they hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collision {
    /// Of the two that are most alike.
    pub likeness: Likeness,
    pub holders: Vec<HeldBy>,
}

/// The collisions among these, the most alike first. Each person has one value at the most.
pub fn collisions(values: Vec<HeldBy>) -> Vec<Collision> {
    let mut alike: BTreeMap<String, Vec<HeldBy>> = BTreeMap::new();
    for held in values {
        alike.entry(skeleton(&held.value.to_lowercase()).collect()).or_default().push(held);
    }
    let mut found: Vec<Collision> =
        alike.into_values().filter(|holders| holders.len() > 1).filter_map(collision).collect();
    found.sort_by_key(|collision| collision.likeness);
    found
}

/// Of people whose values look the same. Two that are plain ASCII and differ are two names: `l` and `1` look alike, and are
/// told apart.
fn collision(mut holders: Vec<HeldBy>) -> Option<Collision> {
    holders.sort_by(|a, b| (a.value.to_lowercase(), &a.value).cmp(&(b.value.to_lowercase(), &b.value)));
    let any = |alike: fn(&HeldBy, &HeldBy) -> bool| holders.windows(2).any(|two| alike(&two[0], &two[1]));
    let likeness = if any(|a, b| a.value == b.value) {
        Likeness::Same
    } else if any(|a, b| a.value.to_lowercase() == b.value.to_lowercase()) {
        Likeness::Case
    } else {
        Likeness::Alphabet
    };
    let is_plain = holders.iter().all(|held| held.value.is_ascii());
    (likeness != Likeness::Alphabet || !is_plain).then_some(Collision { likeness, holders })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_collide_by_text_by_capitals_and_by_alphabet() {
        for (values, likeness) in [
            (&["ann", "bob"][..], None),
            (&["ann", "ann"], Some(Likeness::Same)),
            (&["ann", "Ann"], Some(Likeness::Case)),
            (&["ann", "Ann", "ANN"], Some(Likeness::Case)),
            // The second one begins with a Cyrillic letter.
            (&["ann", "\u{430}nn"], Some(Likeness::Alphabet)),
            (&["ann", "\u{430}nn", "ann"], Some(Likeness::Same)),
            (&["paul1", "paull"], None),
            (&["\u{c4}nne", "\u{e4}nne"], Some(Likeness::Case)),
        ] {
            let held = values.iter().enumerate();
            let held = held.map(|(n, value)| HeldBy { user_id: n.to_string(), value: (*value).to_owned() });
            let found = collisions(held.collect());
            assert_eq!(found.first().map(|one| one.likeness), likeness, "{values:?}");
            assert_eq!(
                found.first().map_or(0, |one| one.holders.len()),
                likeness.map_or(0, |_| values.len())
            );
        }
    }
}
