//! A provider's times as texts, in all the forms in which PostgreSQL, Go and JavaScript write them.

use crate::core::timestamp::Timestamp;

/// Whether a text is a time, in any of these forms.
pub fn is_time(text: &str) -> bool {
    Moment::parse(text).is_some()
}

/// A time that a provider names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// Microseconds since 1970; a [`Timestamp`] can hold it.
    At(i64),
    /// Later than any [`Timestamp`]: `infinity`, or beyond the year 9999.
    Never,
    /// Earlier than any [`Timestamp`]: `-infinity`, or before 1970.
    Long,
}

impl Moment {
    /// RFC 3339 of any width and offset, and what PostgreSQL writes besides: a blank for the `T`, an offset of hours alone or
    /// with seconds, no offset (UTC), years of more than four digits, ` BC`, and both infinities. `None`: no time at all.
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text.trim() {
            "infinity" | "Infinity" => Some(Moment::Never),
            "-infinity" | "-Infinity" => Some(Moment::Long),
            text => Self::of_us(microseconds(text)?),
        }
    }

    /// A number of milliseconds since 1970.
    pub(super) fn from_ms(ms: f64) -> Option<Self> {
        if ms.is_nan() { None } else { Self::of_us((ms * 1_000.0) as i128) }
    }

    fn of_us(us: i128) -> Option<Self> {
        let of_range = i64::try_from(us).ok().filter(|us| Timestamp::from_ms(us.div_euclid(1_000)).is_some());
        Some(match of_range {
            Some(us) => Moment::At(us),
            None if us < 0 => Moment::Long,
            None => Moment::Never,
        })
    }

    /// Microseconds since 1970.
    pub(super) fn us(self) -> Option<i64> {
        match self {
            Moment::At(us) => Some(us),
            Moment::Never | Moment::Long => None,
        }
    }
}

fn microseconds(text: &str) -> Option<i128> {
    let (text, is_bc) = text.strip_suffix(" BC").map_or((text, false), |text| (text, true));
    let (date, rest) = text.split_once(['T', 't', ' '])?;
    let zone_at = rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len());
    let (clock, zone) = rest.split_at(zone_at);
    let days = days(date.trim_start_matches('+'), is_bc)?;
    Some(
        (i128::from(days) * 86_400 - i128::from(offset_seconds(zone)?)) * 1_000_000 + clock_us(clock.trim())?,
    )
}

/// Days since 1970 of `year-month-day`, in the calendar that is used today carried back.
fn days(date: &str, is_bc: bool) -> Option<i64> {
    let mut parts = date.rsplitn(3, '-');
    let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
    let (day, month) = (two_digits(day)?, two_digits(month)?);
    let year = digits(year).filter(|_| year.len() >= 4)?;
    let year = if is_bc { 1 - year } else { year };
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_of_month = match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=days_of_month).contains(&day) {
        return None;
    }
    // Years begin with March here, so that the leap day is the last of them: <https://howardhinnant.github.io/date_algorithms.html>.
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468)
}

/// `hours:minutes`, with seconds and their parts where it has them. A leap second is the first of the next minute.
fn clock_us(clock: &str) -> Option<i128> {
    let (whole, parts) = clock.split_once(['.', ',']).unwrap_or((clock, ""));
    let mut units = whole.split(':');
    let (hours, minutes) = (two_digits(units.next()?)?, two_digits(units.next()?)?);
    let seconds = units.next().map_or(Some(0), two_digits)?;
    if hours > 24 || minutes > 59 || seconds > 60 || units.next().is_some() {
        return None;
    }
    let mut us = 0;
    if !parts.is_empty() {
        digits(parts)?;
        let six: String = parts.chars().chain("000000".chars()).take(6).collect();
        us = digits(&six)?;
    }
    Some(i128::from((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + i128::from(us))
}

/// `Z`, `+hh`, `+hhmm`, `+hh:mm`, `+hh:mm:ss`, or nothing, which is UTC.
fn offset_seconds(zone: &str) -> Option<i64> {
    let sign = match zone.chars().next() {
        None | Some('Z' | 'z') => return (zone.len() <= 1).then_some(0),
        Some('-') => -1,
        Some(_) => 1,
    };
    let zone = &zone[1..];
    let units: Vec<&str> = match zone.len() {
        4 => vec![zone.get(..2)?, zone.get(2..)?],
        _ => zone.split(':').collect(),
    };
    let units = units.into_iter().map(two_digits).collect::<Option<Vec<i64>>>()?;
    let seconds = match units.as_slice() {
        [hours] => hours * 3_600,
        [hours, minutes] => hours * 3_600 + minutes * 60,
        [hours, minutes, seconds] => hours * 3_600 + minutes * 60 + seconds,
        _ => return None,
    };
    Some(sign * seconds)
}

fn two_digits(text: &str) -> Option<i64> {
    digits(text).filter(|_| text.len() == 2)
}

fn digits(text: &str) -> Option<i64> {
    (text.len() <= 18 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

/// Microseconds as an instant.
pub(super) fn instant_us(us: i64) -> Option<Timestamp> {
    Timestamp::from_ms(us.div_euclid(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use time::OffsetDateTime;
    use time::format_description::well_known::Rfc3339;

    #[test]
    fn every_form_is_understood() {
        const AT: i64 = 1_767_323_045_000_000;
        for (text, us) in [
            ("2026-01-02T03:04:05Z", AT),
            ("2026-01-02 03:04:05+00", AT),
            ("2026-01-02 03:04:05", AT),
            ("2026-01-02 04:57:33+01:53:28", AT),
            ("2026-01-02T08:34:05.000001+0530", AT + 1),
            ("2026-01-02T00:04:05.1234567-03:00", AT + 123_456),
            ("2026-01-02 03:04:05.5+00:00", AT + 500_000),
            ("+2026-01-02T03:04:05z", AT),
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T23:59:60Z", 951_868_800_000_000),
            ("9999-12-31T23:59:59.999999Z", 253_402_300_799_999_999),
        ] {
            assert_eq!(Moment::parse(text), Some(Moment::At(us)), "{text}");
        }
        for text in
            ["infinity", "9999-12-31 23:59:59-03:00", "10000-01-01T00:00:00Z", "294276-12-31 23:59:59+00"]
        {
            assert_eq!(Moment::parse(text), Some(Moment::Never), "{text}");
        }
        for text in ["-infinity", "0044-03-15 12:00:00+00 BC", "1969-12-31T23:59:59Z", "0001-01-01T00:00:00Z"]
        {
            assert_eq!(Moment::parse(text), Some(Moment::Long), "{text}");
        }
        for text in [
            "",
            "yesterday",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-02",
            "2026-01-02T25:00:00Z",
            "2026-01-02T03:04:05+1",
            "2026-01-02T03:04:05Zulu",
            "26-01-02T03:04:05Z",
            "2026-01-02T03:04:05.xZ",
            "T",
        ] {
            assert_eq!(Moment::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn rfc_3339_is_read_as_a_library_reads_it(us in 0..253_402_300_799_999_999_i64, offset in -1_000..1_000_i32) {
            let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(us) * 1_000).unwrap();
            let offset = time::UtcOffset::from_whole_seconds(offset * 60).unwrap();
            if let Some(at) = at.checked_to_offset(offset) {
                prop_assert_eq!(Moment::parse(&at.format(&Rfc3339).unwrap()), Some(Moment::At(us)));
            }
        }

        #[test]
        fn nothing_breaks(text in ".{0,40}") {
            let _ = Moment::parse(&text);
        }
    }
}
