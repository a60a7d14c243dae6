//! When a delivery that could not be applied is tried again, and when it is not.

/// After so many attempts a delivery becomes a dead letter: with the delays below, after about a day.
pub const ATTEMPTS_MAX: u32 = 12;

const FIRST_DELAY_MS: u64 = 1_000;
const DELAY_MS_MAX: u64 = 6 * 3_600_000;

/// How long to wait after the `attempts`-th failure (1 for the first), in milliseconds; `None` once it is enough.
///
/// Four times as long each time, from one second to six hours, with up to a quarter taken off so that what failed together is not tried together.
/// `jitter` lies in `0.0..1.0`.
pub fn next_delay_ms(attempts: u32, jitter: f64) -> Option<u64> {
    if attempts >= ATTEMPTS_MAX {
        return None;
    }
    let grown = FIRST_DELAY_MS.saturating_mul(4_u64.saturating_pow(attempts.saturating_sub(1)));
    let delay = grown.min(DELAY_MS_MAX);
    let off = (delay / 4) as f64 * jitter.clamp(0.0, 1.0);
    Some(delay - off as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_their_limit_and_end() {
        assert_eq!(next_delay_ms(1, 0.0), Some(1_000));
        assert_eq!(next_delay_ms(2, 0.0), Some(4_000));
        assert_eq!(next_delay_ms(2, 1.0), Some(3_000));
        assert_eq!(next_delay_ms(11, 0.0), Some(DELAY_MS_MAX));
        assert_eq!(next_delay_ms(ATTEMPTS_MAX, 0.0), None);
    }

    #[test]
    fn no_wait_is_longer_than_six_hours_and_all_of_them_together_take_a_day() {
        let waits: Vec<u64> = (1..ATTEMPTS_MAX).filter_map(|attempts| next_delay_ms(attempts, 0.0)).collect();
        assert_eq!(waits.iter().max(), Some(&21_600_000));
        let hours = waits.iter().sum::<u64>() / 3_600_000;
        assert_eq!((waits.len(), hours), (11, 24));
    }
}
