//! How much a test does: little in `tests/run`, as much as one likes by a variable. `tests/full` sets them all.

/// The number that the variable holds, or the usual one where it is not set.
pub fn size(variable: &str, usual: u64) -> u64 {
    match std::env::var(variable) {
        Ok(number) => number.parse().unwrap_or_else(|_| panic!("{variable} is no number: {number}")),
        Err(_) => usual,
    }
}
