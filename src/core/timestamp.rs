//! One instant, in whole milliseconds, in the one form that both databases store and sort.

use std::fmt;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// The last instant whose fixed-width text still has four digits of year: 9999-12-31T23:59:59.999Z.
pub const TIMESTAMP_MS_MAX: i64 = 253_402_300_799_999;

/// Milliseconds since 1970 (UTC), between 1970 and the end of the year 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// `None` outside of the years 1970 to 9999.
    pub fn from_ms(ms: i64) -> Option<Self> {
        (0..=TIMESTAMP_MS_MAX).contains(&ms).then_some(Self(ms))
    }

    /// An instant that is only a point to compare with or to add to: what lies outside of the range is clamped.
    pub fn clamped(ms: i64) -> Self {
        Self(ms.clamp(0, TIMESTAMP_MS_MAX))
    }

    pub fn ms(self) -> i64 {
        self.0
    }

    /// Whole seconds, rounded down.
    pub fn seconds(self) -> i64 {
        self.0 / 1000
    }

    /// RFC 3339 of any width and offset; finer parts than a millisecond are dropped.
    pub fn parse(text: &str) -> Option<Self> {
        let parsed = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        let ms = parsed.unix_timestamp_nanos().div_euclid(1_000_000);
        Self::from_ms(i64::try_from(ms).ok()?)
    }

    /// The one form in which headcount writes it, and no other.
    pub fn parse_canonical(text: &str) -> Option<Self> {
        Self::parse(text).filter(|at| at.to_string() == text)
    }

    /// The same instant as the `time` crate's type.
    pub fn to_time(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

/// Fixed width (`2026-01-02T03:04:05.006Z`), so that text sorts as time does.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let t = self.to_time();
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            t.year(),
            u8::from(t.month()),
            t.day(),
            t.hour(),
            t.minute(),
            t.second(),
            t.millisecond()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_one_width_and_comes_back() {
        for ms in [0, 1, 1_716_883_200_123, TIMESTAMP_MS_MAX] {
            let stamp = Timestamp::from_ms(ms).unwrap();
            assert_eq!(stamp.to_string().len(), 24);
            assert_eq!(Timestamp::parse(&stamp.to_string()), Some(stamp));
        }
        assert_eq!(Timestamp::clamped(1_716_883_200_123).to_string(), "2024-05-28T08:00:00.123Z");
    }

    #[test]
    fn offsets_and_finer_parts_are_normalized() {
        let parsed = Timestamp::parse("2026-01-02T04:04:05.0069+01:00").unwrap();
        assert_eq!(parsed.to_string(), "2026-01-02T03:04:05.006Z");
    }

    #[test]
    fn another_form_of_the_same_instant_is_told_from_the_canonical_one() {
        let canonical = "2026-01-02T03:04:05.006Z";
        assert_eq!(Timestamp::parse_canonical(canonical), Timestamp::parse(canonical));
        for other in ["2026-01-02T04:04:05.006+01:00", "2026-01-02T03:04:05Z", "2026-01-02 03:04:05.006", ""]
        {
            assert_eq!(Timestamp::parse_canonical(other), None, "{other}");
        }
    }

    #[test]
    fn what_no_database_text_can_hold_is_refused() {
        assert_eq!(Timestamp::from_ms(-1), None);
        assert_eq!(Timestamp::from_ms(TIMESTAMP_MS_MAX + 1), None);
        assert_eq!(Timestamp::parse("yesterday"), None);
    }

    #[test]
    fn seconds_are_rounded_down() {
        assert_eq!([0, 999, 1_000, 7_999].map(|ms| Timestamp::clamped(ms).seconds()), [0, 0, 1, 7]);
    }

    #[test]
    fn what_lies_outside_of_the_range_is_clamped_to_its_ends() {
        assert_eq!(Timestamp::clamped(-1).ms(), 0);
        assert_eq!(Timestamp::clamped(i64::MAX).ms(), TIMESTAMP_MS_MAX);
    }
}
