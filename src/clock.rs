//! Time, fresh ids and chance: the only place that takes them from the operating system.
//!
//! Everybody else is given a [`Clock`]. `SystemClock` is the real one. `SeededClock` gives the same ids and numbers for
//! the same seed and the same calls, and its time stands still until somebody moves it on.
//!
//! Waiting is tokio's (`tokio::time`), whose clock a test can pause. The database has a clock of its own;
//! `store/engine/driver.rs` says how.

use crate::core::timestamp::Timestamp;
use rand::distr::{Distribution, StandardUniform};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// What headcount takes from the world around it, so that the same program can be run on a seed.
pub trait Clock: Send + Sync {
    /// The time of this process, which need not be the database's.
    fn now(&self) -> Timestamp;

    /// A new id: UUIDv7. Ids of one clock sort by the order in which they were asked for.
    fn fresh_id(&self) -> String;

    /// A number in `0.0..1.0`.
    fn random(&self) -> f64;

    /// Bytes that nobody can guess, for keys and tokens.
    fn random_bytes(&self) -> [u8; 32];
}

/// The operating system's time and chance.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

/// All ids of this process, so that those of one millisecond keep their order.
static SYSTEM_ID_ORDER: Mutex<IdOrder> = Mutex::new(IdOrder::NEW);

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everybody else is given")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::clamped(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn fresh_id(&self) -> String {
        lock(&SYSTEM_ID_ORDER).next(self.now(), system_random())
    }

    fn random(&self) -> f64 {
        system_random()
    }

    fn random_bytes(&self) -> [u8; 32] {
        system_random()
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the chance that everybody else is given")]
fn system_random<T>() -> T
where
    StandardUniform: Distribution<T>,
{
    rand::random()
}

/// Time that somebody moves, and ids and chance that follow from a seed.
#[derive(Debug)]
pub struct SeededClock {
    now_ms: AtomicI64,
    random: Mutex<StdRng>,
    id_order: Mutex<IdOrder>,
}

impl SeededClock {
    /// Its time is `start` until [`SeededClock::advance`] moves it.
    pub fn new(seed: u64, start: Timestamp) -> Self {
        Self {
            now_ms: AtomicI64::new(start.ms()),
            random: Mutex::new(StdRng::seed_from_u64(seed)),
            id_order: Mutex::new(IdOrder::NEW),
        }
    }

    /// Moves its time on, in milliseconds.
    pub fn advance(&self, by_ms: i64) {
        self.now_ms.fetch_add(by_ms, Ordering::Relaxed);
    }
}

impl Clock for SeededClock {
    fn now(&self) -> Timestamp {
        Timestamp::clamped(self.now_ms.load(Ordering::Relaxed))
    }

    fn fresh_id(&self) -> String {
        let random = lock(&self.random).random();
        lock(&self.id_order).next(self.now(), random)
    }

    fn random(&self) -> f64 {
        lock(&self.random).random()
    }

    fn random_bytes(&self) -> [u8; 32] {
        lock(&self.random).random()
    }
}

/// What keeps ids in their order: within a millisecond they count (RFC 9562, 6.2, method 1), with a counter of 42 bits.
#[derive(Debug)]
struct IdOrder {
    ms: u64,
    counter: u64,
}

const COUNTER_BITS: u32 = 42;

impl IdOrder {
    const NEW: Self = Self { ms: 0, counter: 0 };

    /// The next id, of `now` or of the latest id's millisecond where the time went back.
    fn next(&mut self, now: Timestamp, random: [u8; 10]) -> String {
        let now_ms = u64::try_from(now.ms()).unwrap_or(0);
        let [a, b, c, d, e, f, rest @ ..] = random;
        if now_ms > self.ms {
            // A new millisecond begins in the lower half of the counter, so that there is room above.
            let seed = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
            (self.ms, self.counter) = (now_ms, seed >> (48 - COUNTER_BITS + 1));
        } else {
            self.counter += 1;
            if self.counter >> COUNTER_BITS > 0 {
                (self.ms, self.counter) = (self.ms + 1, 0);
            }
        }
        // 12 bits before the variant, 30 bits after it, then what is random.
        let before = (self.counter >> 30).to_be_bytes();
        let after = (self.counter & 0x3fff_ffff).to_be_bytes();
        let mut bytes = [0; 10];
        bytes[..2].copy_from_slice(&before[6..]);
        bytes[2..6].copy_from_slice(&after[4..]);
        bytes[6..].copy_from_slice(&rest);
        uuid::Builder::from_unix_timestamp_millis(self.ms, &bytes).into_uuid().hyphenated().to_string()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(seed: u64) -> (Vec<String>, Vec<f64>, [u8; 32]) {
        let clock = SeededClock::new(seed, Timestamp::clamped(1_700_000_000_000));
        let ids = (0..100).map(|n| {
            clock.advance(n % 3);
            clock.fresh_id()
        });
        (ids.collect(), (0..100).map(|_| clock.random()).collect(), clock.random_bytes())
    }

    #[test]
    fn a_seed_repeats_ids_and_chance() {
        assert_eq!(told(1), told(1));
        let (one, two) = (told(1), told(2));
        assert!(one.0 != two.0 && one.1 != two.1 && one.2 != two.2);
        assert!(one.1.iter().all(|random| (0.0..1.0).contains(random)));
    }

    #[test]
    fn ids_are_of_version_7_and_sort_as_they_were_asked_for() {
        let clocks: [&dyn Clock; 2] =
            [&SystemClock, &SeededClock::new(3, Timestamp::clamped(1_700_000_000_000))];
        for clock in clocks {
            let ids: Vec<String> = (0..2_000).map(|_| clock.fresh_id()).collect();
            assert!(ids.is_sorted_by(|a, b| a < b));
            for id in ids {
                let id = uuid::Uuid::parse_str(&id).unwrap();
                assert_eq!((id.get_version_num(), id.get_variant()), (7, uuid::Variant::RFC4122));
            }
        }
    }

    #[test]
    fn an_id_tells_its_time_and_no_time_goes_back() {
        let clock = SeededClock::new(3, Timestamp::clamped(1_700_000_000_123));
        let first = clock.fresh_id();
        assert!(first.starts_with("018bcfe5-687b-7"), "{first}");
        clock.advance(-60_000);
        assert!(clock.fresh_id() > first);
    }

    #[test]
    fn a_full_counter_goes_on_in_the_next_millisecond() {
        let mut order = IdOrder { ms: 1_700_000_000_000, counter: (1 << COUNTER_BITS) - 1 };
        let before = order.ms;
        order.next(Timestamp::clamped(0), [0; 10]);
        assert_eq!((order.ms, order.counter), (before + 1, 0));
    }
}
