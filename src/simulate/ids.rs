//! What the ids of accounts look like, and whose number an id stands for.

const ID_DIGITS: usize = 22;
const SCATTERED_DIGITS: usize = 12;

/// The form of a provider's ids. Seed and number of a person make the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IdForm {
    /// `user_`, the seed, and the number.
    Prefixed,
    /// A UUID that begins with the seed and ends with the number.
    Uuid,
    /// Text in whose order nobody signed up: the number's digits from behind, and the seed.
    Scattered,
}

impl IdForm {
    pub(super) fn id(self, seed: u64, number: u64) -> String {
        let seed = seed & 0xf_ffff;
        match self {
            IdForm::Prefixed => format!("user_{seed:05x}{number:0ID_DIGITS$}"),
            IdForm::Uuid => format!("{seed:08x}-0000-4000-8000-{number:012x}"),
            IdForm::Scattered => format!("{}BA{seed:05x}", reversed(&format!("{number:0SCATTERED_DIGITS$}"))),
        }
    }

    /// The number that this id has at its end; whether the rest of it fits is not looked at.
    pub(super) fn number(self, id: &str) -> Option<u64> {
        match self {
            IdForm::Prefixed => id.get(id.len().checked_sub(ID_DIGITS)?..)?.parse().ok(),
            IdForm::Uuid => u64::from_str_radix(id.rsplit('-').next()?, 16).ok(),
            IdForm::Scattered => reversed(id.get(..SCATTERED_DIGITS)?).parse().ok(),
        }
    }
}

fn reversed(text: &str) -> String {
    text.chars().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_leads_back_to_its_number() {
        for form in [IdForm::Prefixed, IdForm::Uuid, IdForm::Scattered] {
            assert_eq!(form.number(&form.id(7, 1_234)), Some(1_234), "{form:?}");
            assert_ne!(form.id(7, 1_234), form.id(8, 1_234));
            assert_eq!(form.number("é"), None);
        }
    }
}
