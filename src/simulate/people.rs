//! Made-up people: everything about one follows from a seed, a number and a revision, so that a million need no memory.

use serde::{Deserialize, Serialize};

const FIRST_NAMES: [&str; 24] = [
    "Ada", "Žofia", "Chinedu", "Mei", "Olu", "Ana", "Jürgen", "Noor", "Priya", "Sölvi", "Tomás", "Yuki",
    "Léa", "Ivo", "Zeynep", "Kofi", "Marit", "Hugo", "Sana", "Rui", "Elif", "Bram", "Inés", "Joon",
];
const LAST_NAMES: [&str; 20] = [
    "Lovelace", "Nowak", "Okafor", "Chen", "García", "Müller", "Haddad", "Patel", "Jónsson", "Silva",
    "Tanaka", "Dubois", "Novák", "Yılmaz", "Mensah", "Larsen", "Rossi", "Khan", "Park", "O'Neill",
];

/// A seeded generator (SplitMix64): the same numbers in every run.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0) % sides.max(1)
    }

    pub(super) fn chance(&mut self, share: f64) -> bool {
        (self.roll(1_000_000) as f64) < share * 1_000_000.0
    }

    /// In `0.0..1.0`.
    pub(super) fn fraction(&mut self) -> f64 {
        self.roll(1_000_000) as f64 / 1_000_000.0
    }
}

fn mixed(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What of the changes are sign-ups and deletions; the rest are updates, a few of them bans.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mix {
    pub created: f64,
    pub deleted: f64,
    pub banned: f64,
}

impl Default for Mix {
    fn default() -> Self {
        Self { created: 0.25, deleted: 0.05, banned: 0.02 }
    }
}

/// What a person holds that somebody may edit.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Details {
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub username: Option<String>,
    pub external_id: Option<String>,
    pub emails: Vec<String>,
    /// Nobody has confirmed the first of them yet (WorkOS, Better Auth).
    pub is_unverified: bool,
    pub phones: Vec<String>,
    pub public_metadata: serde_json::Map<String, serde_json::Value>,
    pub private_metadata: serde_json::Map<String, serde_json::Value>,
    pub unsafe_metadata: serde_json::Map<String, serde_json::Value>,
}

/// Person `number` in their `revision`: names change with it now and then, addresses with every third one.
pub(super) fn made_up(seed: u64, number: u64, revision: u32) -> Details {
    let mut dice = Dice::new(seed ^ number.wrapping_mul(0x5851_f42d_4c95_7f2d));
    let mut pick = |from: &[&str]| from[dice.roll(from.len() as u64) as usize].to_owned();
    let (first_name, last_name) = (pick(&FIRST_NAMES), pick(&LAST_NAMES));
    let traits = dice.roll(1_000);
    let suffix = if revision == 0 { String::new() } else { format!(" {revision}") };
    Details {
        first_name: Some(format!("{first_name}{suffix}")),
        last_name: Some(last_name),
        username: traits.is_multiple_of(3).then(|| format!("person{number}")),
        external_id: None,
        // One in twenty signed up by phone alone.
        emails: if traits % 20 == 7 {
            Vec::new()
        } else {
            vec![format!("person{number}.{}@example.com", revision / 3)]
        },
        phones: if traits % 20 == 7 || traits % 10 == 3 {
            vec![format!("+1555{:07}", number % 10_000_000)]
        } else {
            Vec::new()
        },
        ..Details::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_and_a_number_are_a_person() {
        assert_eq!(made_up(1, 7, 2), made_up(1, 7, 2));
        assert_ne!(made_up(1, 7, 2), made_up(1, 7, 3));
        assert_ne!(made_up(1, 7, 0), made_up(1, 8, 0));
    }
}
