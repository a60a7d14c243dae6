//! How often and after how long headcount tries again: every policy of the program, as data.
//!
//! To add a policy, add a constant here and its line in [`ALL`], and use it by its name. What is tried, and how somebody
//! waits, is the caller's business: `crate::retry` for loops of a process, `reconcile::lock_wait` for locks, a column
//! `next_attempt_at` for what outlives the process.

/// How much of a delay is left to chance, so that what failed together is not tried together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Jitter {
    None,
    /// Up to this share of the delay is taken off.
    Less(f64),
    /// The delay becomes up to this share shorter or longer.
    Around(f64),
}

impl Jitter {
    /// What a delay is multiplied with. `random` lies in `0.0..1.0`; other numbers count as the nearer end.
    pub fn factor(self, random: f64) -> f64 {
        let random = random.clamp(0.0, 1.0);
        match self {
            Jitter::None => 1.0,
            Jitter::Less(share) => 1.0 - share * random,
            Jitter::Around(share) => 1.0 - share + 2.0 * share * random,
        }
    }
}

/// When something that has failed is tried again, and when it is not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    pub name: &'static str,
    /// Attempts in all, the first one included; `None` for attempts without an end.
    pub attempts_max: Option<u32>,
    /// The delay after the first failure. Zero where something else says how long to wait; the constant names it.
    pub first_delay_ms: u64,
    /// Each delay is so many times as long as the one before it.
    pub factor: f64,
    pub delay_ms_max: u64,
    pub jitter: Jitter,
}

/// A delivery that could not be applied. After the last attempt, which comes after about a day, it is a dead letter.
pub const DELIVERY: RetryPolicy = RetryPolicy {
    name: "delivery",
    attempts_max: Some(12),
    first_delay_ms: 1_000,
    factor: 4.0,
    delay_ms_max: 6 * HOUR_MS,
    jitter: Jitter::Less(0.25),
};

/// A delivery whose account another transaction holds. Such transactions are short, as a rule: see
/// [`RetryPolicy::delay_after_ms`] for the others.
pub const DELIVERY_PASSED_OVER: RetryPolicy = doubling("delivery passed over", None, 100, 15_000);

/// A delivery that met a lock which was not given up while its batch waited. Whoever holds one for so long may hold it for
/// hours, and each look at it costs the others some milliseconds.
pub const DELIVERY_LOCKED: RetryPolicy = doubling("delivery behind a lock", None, 1_000, 15_000);

/// Somebody waits for deliveries that another process may hold.
pub const DELIVERIES_AWAITED: RetryPolicy = steady("deliveries awaited", Some(201), 50);

/// Values that the application's constraints keep out. Nobody tells headcount when the application frees one.
pub const HELD_VALUES: RetryPolicy = steady("held values", None, 15_000);

/// A call to a user that another transaction holds.
pub const LOCK_WAIT: RetryPolicy = steady("lock of a call", Some(60), 50);

/// An account that a sweep is about to delete and that another transaction holds. The next run finds it otherwise.
pub const SWEEP_LOCK_WAIT: RetryPolicy = steady("lock of a sweep", Some(21), 50);

/// A loop of a process that has failed, for whatever reason.
pub const PROCESS: RetryPolicy = RetryPolicy {
    name: "loop of a process",
    attempts_max: None,
    first_delay_ms: 100,
    factor: 1.5,
    delay_ms_max: 10_000,
    jitter: Jitter::Around(0.5),
};

/// A request to a provider that fails or is answered with nonsense. One that hangs counts as two attempts.
pub const REQUEST: RetryPolicy = RetryPolicy { name: "request", attempts_max: Some(4), ..PROCESS };

/// A request that the provider answers with 429. The delay counts where the answer does not say how long to wait.
pub const THROTTLED_REQUEST: RetryPolicy = steady("throttled request", Some(12), 10_000);

/// A provider that has failed [`BREAKER_FAILURES`] times in a row, whoever asked. Nobody asks it for so long.
pub const BREAKER: RetryPolicy = doubling("breaker", None, 15_000, 240_000);

/// From so many failures in a row on a provider is left alone.
pub const BREAKER_FAILURES: i64 = 8;

/// An account that is read by its id until two readings agree. `HEADCOUNT_CONFIRM_AFTER` is the delay.
pub const CONFIRMATION: RetryPolicy = steady("confirmation", Some(10), 0);

/// An account that its source cannot give, or that cannot be understood. After the last attempt, which comes after about
/// two days, only a full run asks for it again.
pub const UNREADABLE_ACCOUNT: RetryPolicy = doubling("unreadable account", Some(14), 30_000, 6 * HOUR_MS);

/// Something of one user's that could not be carried out, such as an erasure that the database refuses. The others come
/// first.
pub const POSTPONED: RetryPolicy = doubling("postponed task", None, 30_000, 6 * HOUR_MS);

/// The first read of a source's API, for which its deliveries wait.
pub const FIRST_READ: RetryPolicy = doubling("first read", None, 1_000, MINUTE_MS);

/// A full run that failed. A schedule with a shorter interval is the limit instead.
pub const FULL_RUN: RetryPolicy = doubling("full run", None, MINUTE_MS, HOUR_MS);

/// `ensure` for somebody who shares another caller's look at the provider, and gets that one's failure. It looks anew
/// at once.
pub const SHARED_LOOKUP: RetryPolicy = steady("shared lookup of ensure", Some(3), 0);

/// `CREATE … IF NOT EXISTS` of two processes at once can still collide. The next attempt comes at once.
pub const MIGRATION_BOOTSTRAP: RetryPolicy = steady("bootstrap of a migration", Some(5), 0);

/// A change of the schema that meets a lock: each attempt waits for half a second, behind which everybody else waits.
pub const MIGRATION_LOCK: RetryPolicy = doubling("lock of a migration", Some(60), 500, 5_000);

/// SQLite's log, which a reader may hold for a moment while erased data is to leave it.
pub const SCRUB: RetryPolicy = steady("scrub of the log", Some(40), 50);

/// A slice of a switch of authority that meets a lock, or a database that stumbles. The switch is in force meanwhile.
pub const SWITCH_SLICE: RetryPolicy = doubling("slice of a switch", Some(10), 250, 5_000);

/// Every policy.
pub const ALL: [RetryPolicy; 21] = [
    DELIVERY,
    DELIVERY_PASSED_OVER,
    DELIVERY_LOCKED,
    DELIVERIES_AWAITED,
    HELD_VALUES,
    LOCK_WAIT,
    SWEEP_LOCK_WAIT,
    PROCESS,
    REQUEST,
    THROTTLED_REQUEST,
    BREAKER,
    CONFIRMATION,
    UNREADABLE_ACCOUNT,
    POSTPONED,
    FIRST_READ,
    FULL_RUN,
    SHARED_LOOKUP,
    MIGRATION_BOOTSTRAP,
    MIGRATION_LOCK,
    SCRUB,
    SWITCH_SLICE,
];

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;

/// The same delay each time, without jitter.
const fn steady(name: &'static str, attempts_max: Option<u32>, delay_ms: u64) -> RetryPolicy {
    let jitter = Jitter::None;
    RetryPolicy { name, attempts_max, first_delay_ms: delay_ms, factor: 1.0, delay_ms_max: delay_ms, jitter }
}

/// Twice as long each time, without jitter.
const fn doubling(
    name: &'static str,
    attempts_max: Option<u32>,
    first_delay_ms: u64,
    delay_ms_max: u64,
) -> RetryPolicy {
    RetryPolicy { name, attempts_max, first_delay_ms, factor: 2.0, delay_ms_max, jitter: Jitter::None }
}

impl RetryPolicy {
    /// Whether so many failures are all that there may be.
    pub fn is_spent(&self, failures: u32) -> bool {
        self.attempts_max.is_some_and(|attempts_max| failures >= attempts_max)
    }

    /// How long to wait after the `failures`-th failure in a row (1 for the first), in milliseconds, whether or not
    /// another attempt is left. `random` lies in `0.0..1.0`.
    pub fn delay_ms(&self, failures: u32, random: f64) -> u64 {
        let steps = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
        let grown = self.first_delay_ms as f64 * self.factor.powi(steps);
        (grown.min(self.delay_ms_max as f64) * self.jitter.factor(random)).ceil() as u64
    }

    /// For what is not counted: as long again as it has waited already, in milliseconds, within the policy's limits. That
    /// doubles.
    pub fn delay_after_ms(&self, waited_ms: u64) -> u64 {
        waited_ms.clamp(self.first_delay_ms, self.delay_ms_max)
    }

    /// As [`RetryPolicy::delay_ms`]; `None` where no attempt is left.
    pub fn next_delay_ms(&self, failures: u32, random: f64) -> Option<u64> {
        (!self.is_spent(failures)).then(|| self.delay_ms(failures, random))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Delays in milliseconds after the first four failures and after the twentieth, all without luck, and after how
    /// many failures no attempt is left.
    const TABLE: [(RetryPolicy, [u64; 5], Option<u32>); 21] = [
        (DELIVERY, [1_000, 4_000, 16_000, 64_000, 21_600_000], Some(12)),
        (DELIVERY_PASSED_OVER, [100, 200, 400, 800, 15_000], None),
        (DELIVERY_LOCKED, [1_000, 2_000, 4_000, 8_000, 15_000], None),
        (DELIVERIES_AWAITED, [50; 5], Some(201)),
        (HELD_VALUES, [15_000; 5], None),
        (LOCK_WAIT, [50; 5], Some(60)),
        (SWEEP_LOCK_WAIT, [50; 5], Some(21)),
        (PROCESS, [50, 75, 113, 169, 5_000], None),
        (REQUEST, [50, 75, 113, 169, 5_000], Some(4)),
        (THROTTLED_REQUEST, [10_000; 5], Some(12)),
        (BREAKER, [15_000, 30_000, 60_000, 120_000, 240_000], None),
        (CONFIRMATION, [0; 5], Some(10)),
        (UNREADABLE_ACCOUNT, [30_000, 60_000, 120_000, 240_000, 21_600_000], Some(14)),
        (POSTPONED, [30_000, 60_000, 120_000, 240_000, 21_600_000], None),
        (FIRST_READ, [1_000, 2_000, 4_000, 8_000, 60_000], None),
        (FULL_RUN, [60_000, 120_000, 240_000, 480_000, 3_600_000], None),
        (SHARED_LOOKUP, [0; 5], Some(3)),
        (MIGRATION_BOOTSTRAP, [0; 5], Some(5)),
        (MIGRATION_LOCK, [500, 1_000, 2_000, 4_000, 5_000], Some(60)),
        (SCRUB, [50; 5], Some(40)),
        (SWITCH_SLICE, [250, 500, 1_000, 2_000, 5_000], Some(10)),
    ];

    #[test]
    fn every_policy_has_its_numbers() {
        for ((policy, delays, spent_after), listed) in TABLE.into_iter().zip(ALL) {
            assert_eq!(policy, listed);
            let told = [1, 2, 3, 4, 20].map(|failures| policy.delay_ms(failures, 0.0));
            assert_eq!(told, delays, "{}", policy.name);
            assert_eq!(policy.attempts_max, spent_after, "{}", policy.name);
        }
    }

    #[test]
    fn delays_grow_to_their_limit_and_end() {
        assert_eq!(DELIVERY.next_delay_ms(1, 0.0), Some(1_000));
        assert_eq!(DELIVERY.next_delay_ms(2, 0.0), Some(4_000));
        assert_eq!(DELIVERY.next_delay_ms(2, 1.0), Some(3_000));
        assert_eq!(DELIVERY.next_delay_ms(11, 0.0), Some(6 * HOUR_MS));
        assert_eq!(DELIVERY.next_delay_ms(12, 0.0), None);
        assert_eq!(PROCESS.next_delay_ms(u32::MAX, 0.5), Some(10_000));
    }

    #[test]
    fn what_is_not_counted_waits_as_long_again() {
        let delays = [0, 700, 3_000, 99_000].map(|waited_ms| DELIVERY_LOCKED.delay_after_ms(waited_ms));
        assert_eq!(delays, [1_000, 1_000, 3_000, 15_000]);
    }

    #[test]
    fn jitter_shortens_or_goes_both_ways() {
        assert_eq!([0.0, 0.5, 1.0].map(|random| PROCESS.delay_ms(1, random)), [50, 100, 150]);
        assert_eq!([0.0, 0.5, 1.0, 7.0].map(|random| DELIVERY.delay_ms(1, random)), [1_000, 875, 750, 750]);
        assert_eq!([0.0, 1.0].map(|random| LOCK_WAIT.delay_ms(1, random)), [50, 50]);
    }

    #[test]
    fn names_stand_once() {
        let names: std::collections::BTreeSet<&str> = ALL.iter().map(|policy| policy.name).collect();
        assert_eq!(names.len(), ALL.len());
    }
}
