//! The brake on deletions by delivery: how many accounts a source may delete within an hour before a person is asked.

/// `HEADCOUNT_MAX_DELETE_DELIVERED`: accounts per source within a rolling hour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DeleteLimit {
    /// The larger of 1 % and 100 accounts.
    Default,
    Accounts(u64),
    Percent(f64),
    Off,
}

/// Up to this many deletions the size of the source does not matter to the default, so nobody has to count it.
pub const DEFAULT_ACCOUNTS: u64 = 100;

impl DeleteLimit {
    /// The limit for a source with `accounts` accounts that are not deleted.
    pub fn allowed(self, accounts: u64) -> u64 {
        let percent = |p: f64| (accounts as f64 * p / 100.0).floor() as u64;
        match self {
            DeleteLimit::Default => DEFAULT_ACCOUNTS.max(percent(1.0)),
            DeleteLimit::Accounts(n) => n,
            DeleteLimit::Percent(p) => percent(p),
            DeleteLimit::Off => u64::MAX,
        }
    }

    /// `Some` where the limit is the same, or not reached by `deletions`, at any number of accounts.
    pub fn without_counting(self, deletions: u64) -> Option<u64> {
        match self {
            DeleteLimit::Default => (deletions <= DEFAULT_ACCOUNTS).then_some(DEFAULT_ACCOUNTS),
            DeleteLimit::Accounts(n) => Some(n),
            DeleteLimit::Percent(_) => None,
            DeleteLimit::Off => Some(u64::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_the_larger_of_one_percent_and_a_hundred() {
        assert_eq!(DeleteLimit::Default.allowed(50), 100);
        assert_eq!(DeleteLimit::Default.allowed(1_000_000), 10_000);
        assert_eq!(DeleteLimit::Default.without_counting(100), Some(100));
        assert_eq!(DeleteLimit::Default.without_counting(101), None);
        assert_eq!(DeleteLimit::Percent(5.0).allowed(1_000), 50);
    }

    #[test]
    fn a_limit_that_does_not_depend_on_the_sources_size_is_known_without_counting() {
        assert_eq!(DeleteLimit::Accounts(7).without_counting(1_000), Some(7));
        assert_eq!(DeleteLimit::Off.without_counting(1_000), Some(u64::MAX));
        assert_eq!(DeleteLimit::Percent(5.0).without_counting(0), None, "a share is of something");
        assert_eq!((DeleteLimit::Accounts(7).allowed(1), DeleteLimit::Off.allowed(1)), (7, u64::MAX));
    }
}
