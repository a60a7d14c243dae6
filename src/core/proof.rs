//! Deletion by absence needs proof (contract, rule 5). What follows is about the whole run; that each missing account
//! answered 404 twice is `core::read`.

use thiserror::Error;

/// What a walk over a source's whole list has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walked {
    /// Accounts on the pages, each once.
    pub seen: u64,
    /// The provider's own counts, before and after the walk; `None` where it counts nobody.
    pub count_before: Option<u64>,
    pub count_after: Option<u64>,
    /// Deletions that were received since the run's read mark.
    pub deleted_meanwhile: u64,
    /// Accounts that were known here, and not deleted, when the run began.
    pub known_before: u64,
    /// Of those, how many the list did not hold.
    pub missing: u64,
}

/// Why a walk proves nothing. The run has failed; nobody is deleted.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Unproven {
    #[error(
        "the list held {seen} accounts, but the source counts {counted}: it is incomplete, so nothing can be concluded \
         from what it lacks"
    )]
    Incomplete { seen: u64, counted: u64 },
    #[error(
        "{missing} of the {known} accounts known here are not in the source's list, which is more than half: this looks \
         like another instance, another key or a broken list"
    )]
    MoreThanHalf { missing: u64, known: u64 },
}

/// Whether the walk was a walk over all there is.
pub fn prove(walked: &Walked) -> Result<(), Unproven> {
    // Who counts nobody has to be believed that the list is whole: each missing account is asked for all the same.
    let counted = walked.count_before.unwrap_or(0).min(walked.count_after.unwrap_or(0));
    if walked.seen < counted.saturating_sub(walked.deleted_meanwhile) {
        return Err(Unproven::Incomplete { seen: walked.seen, counted });
    }
    if walked.missing.saturating_mul(2) > walked.known_before {
        return Err(Unproven::MoreThanHalf { missing: walked.missing, known: walked.known_before });
    }
    Ok(())
}

/// `HEADCOUNT_MAX_DELETE`: accounts per source and rolling 24 hours, over everything that deletes by absence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SweepLimit {
    /// The smaller of 1 % and 500 accounts, at least 10.
    Default,
    Accounts(u64),
    Percent(f64),
}

impl SweepLimit {
    /// The limit for a source with `accounts` accounts that are not deleted; never over half of them.
    pub fn allowed(self, accounts: u64) -> u64 {
        let percent = |p: f64| (accounts as f64 * p / 100.0).floor() as u64;
        let wanted = match self {
            SweepLimit::Default => percent(1.0).clamp(10, 500),
            SweepLimit::Accounts(n) => n,
            SweepLimit::Percent(p) => percent(p),
        };
        wanted.min(accounts / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: Walked = Walked {
        seen: 100,
        count_before: Some(100),
        count_after: Some(100),
        deleted_meanwhile: 0,
        known_before: 100,
        missing: 0,
    };

    #[test]
    fn a_list_that_lacks_what_the_count_has_proves_nothing() {
        assert_eq!(prove(&WHOLE), Ok(()));
        assert!(prove(&Walked { seen: 99, ..WHOLE }).is_err());
        assert_eq!(prove(&Walked { seen: 99, deleted_meanwhile: 1, ..WHOLE }), Ok(()));
        assert_eq!(prove(&Walked { seen: 99, count_after: Some(99), ..WHOLE }), Ok(()));
        assert_eq!(prove(&Walked { seen: 120, count_after: Some(120), ..WHOLE }), Ok(()));
    }

    #[test]
    fn half_of_the_known_accounts_must_be_there() {
        let empty = Walked { seen: 0, count_before: Some(0), count_after: Some(0), ..WHOLE };
        assert!(prove(&Walked { missing: 100, ..empty }).is_err());
        assert!(
            prove(&Walked { seen: 49, count_before: Some(49), count_after: Some(49), missing: 51, ..WHOLE })
                .is_err()
        );
        assert_eq!(
            prove(&Walked { seen: 50, count_before: Some(50), count_after: Some(50), missing: 50, ..WHOLE }),
            Ok(())
        );
        assert_eq!(prove(&Walked { known_before: 0, ..empty }), Ok(()));
        let uncounted = Walked { count_before: None, count_after: None, ..WHOLE };
        assert_eq!(prove(&Walked { seen: 90, missing: 10, ..uncounted }), Ok(()));
        assert!(prove(&Walked { seen: 40, missing: 60, ..uncounted }).is_err());
    }

    #[test]
    fn the_default_limit_is_small_and_never_over_half() {
        let allowed = |accounts| SweepLimit::Default.allowed(accounts);
        assert_eq!([0, 3, 10, 30, 2_000, 80_000].map(allowed), [0, 1, 5, 10, 20, 500]);
        assert_eq!(SweepLimit::Accounts(1_000).allowed(100), 50);
        assert_eq!(SweepLimit::Percent(5.0).allowed(1_000), 50);
    }

    #[test]
    fn a_failed_proof_says_what_was_seen_and_what_was_expected() {
        let short = prove(&Walked { seen: 98, count_after: Some(99), ..WHOLE });
        assert_eq!(short, Err(Unproven::Incomplete { seen: 98, counted: 99 }));
        let strange = prove(&Walked { missing: 51, ..WHOLE });
        assert_eq!(strange, Err(Unproven::MoreThanHalf { missing: 51, known: 100 }));
    }
}
