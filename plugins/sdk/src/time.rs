//! Times and dates of the wire as numbers. Nothing here is ever guessed: what isn't a time between
//! the years 1 and 9999 UTC is none.

use jiff::tz::TimeZone;

const DAY_S: i64 = 86_400;

/// RFC 3339 with an offset, as microseconds since the Unix epoch. Finer digits are cut off; a leap
/// second counts as the one before.
pub fn micros_from_rfc3339(text: &str) -> Option<i64> {
    let (second, micros, rest) = clock_time(text)?;
    let instant = second - offset_s(rest)?;
    in_range(instant).then_some(instant * 1_000_000 + micros)
}

/// A time without offset, as the clocks of an IANA zone show it, as microseconds since the Unix epoch.
/// A time that a clock change skips counts as the same time before it; one that comes twice is the
/// first (RFC 5545, 3.3.5). A zone that isn't known gives none.
pub fn micros_in_zone(text: &str, zone: &str) -> Option<i64> {
    let (second, micros, "") = clock_time(text)? else { return None };
    let shown = jiff::Timestamp::from_microsecond(second * 1_000_000 + micros).ok()?;
    let local = shown.to_zoned(TimeZone::UTC).datetime();
    let instant = local.to_zoned(TimeZone::get(zone).ok()?).ok()?.timestamp().as_microsecond();
    in_range(instant.div_euclid(1_000_000)).then_some(instant)
}

/// Date and time as seconds since 1970-01-01T00:00:00 on the same clock, microseconds beside them,
/// and what follows.
fn clock_time(text: &str) -> Option<(i64, i64, &str)> {
    let (date, rest) = text.split_at_checked(10)?;
    let days = i64::from(days_from_date(date)?);
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (clock, rest) = rest.split_at_checked(8)?;
    let second = second_of_day(clock)?;
    let (micros, rest) = fraction(rest)?;
    Some((days * DAY_S + second, micros, rest))
}

/// `YYYY-MM-DD` as days since 1970-01-01.
pub fn days_from_date(text: &str) -> Option<i32> {
    let bytes = text.as_bytes();
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let year = digits(&bytes[0..4])?;
    let month = digits(&bytes[5..7])?;
    let day = digits(&bytes[8..10])?;
    let valid = year >= 1 && (1..=12).contains(&month) && day >= 1;
    (valid && day <= days_in_month(year, month)).then(|| days_from_civil(year, month, day))
}

/// The form of HTTP dates that is sent today (IMF-fixdate), as microseconds since the Unix epoch.
pub fn micros_from_http_date(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_weekday, rest) = text.split_once(", ")?;
    let words: Vec<_> = rest.split(' ').collect();
    let [day, month, year, clock, "GMT"] = words[..] else { return None };
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    let days = days_from_date(&format!("{year}-{month:02}-{day}"))?;
    Some((i64::from(days) * DAY_S + second_of_day(clock)?) * 1_000_000)
}

fn second_of_day(clock: &str) -> Option<i64> {
    let bytes = clock.as_bytes();
    if bytes.len() != 8 || bytes[2] != b':' || bytes[5] != b':' {
        return None;
    }
    let (hour, minute) = (digits(&bytes[0..2])?, digits(&bytes[3..5])?);
    let second = digits(&bytes[6..8])?;
    let valid = hour < 24 && minute < 60 && second <= 60;
    valid.then(|| i64::from(hour * 3_600 + minute * 60 + second.min(59)))
}

fn fraction(text: &str) -> Option<(i64, &str)> {
    let Some(rest) = text.strip_prefix('.') else { return Some((0, text)) };
    let len = rest.bytes().take_while(u8::is_ascii_digit).count();
    if len == 0 {
        return None;
    }
    let micros = rest.bytes().take(len).chain(std::iter::repeat(b'0')).take(6);
    let micros = micros.fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    Some((micros, &rest[len..]))
}

fn offset_s(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    match bytes {
        [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let (hours, minutes) = (digits(&bytes[1..3])?, digits(&bytes[4..6])?);
            let offset = i64::from(hours * 3_600 + minutes * 60);
            (hours < 24 && minutes < 60).then_some(if *sign == b'-' { -offset } else { offset })
        }
        _ => None,
    }
}

fn digits(bytes: &[u8]) -> Option<i32> {
    bytes.iter().try_fold(0, |sum, b| b.is_ascii_digit().then(|| sum * 10 + i32::from(b - b'0')))
}

fn in_range(instant_s: i64) -> bool {
    let first = i64::from(days_from_civil(1, 1, 1)) * DAY_S;
    let end = i64::from(days_from_civil(10_000, 1, 1)) * DAY_S;
    (first..end).contains(&instant_s)
}

fn days_in_month(year: i32, month: i32) -> i32 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i32::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar, for years from 0 on: years are taken
/// to begin in March, so that the leap day is their last.
fn days_from_civil(year: i32, month: i32, day: i32) -> i32 {
    let year = year - i32::from(month <= 2) + 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468 - 146_097
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants() {
        let cases = [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2026-03-20T13:00:00-03:00", Some(1_774_022_400_000_000)),
            ("2026-03-20T16:00:00.123456789Z", Some(1_774_022_400_123_456)),
            ("2026-03-20t16:00:00.5z", Some(1_774_022_400_500_000)),
            ("1969-12-31T23:59:59.999Z", Some(-1_000)),
            ("2024-02-29T12:00:60Z", Some(1_709_208_059_000_000)),
            ("0001-01-01T00:00:00Z", Some(-62_135_596_800_000_000)),
            ("9999-12-31T23:59:59Z", Some(253_402_300_799_000_000)),
            ("0000-12-31T00:00:00Z", None),
            ("0001-01-01T00:00:00+01:00", None),
            ("9999-12-31T23:59:59-01:00", None),
            ("-001-01-01T00:00:00Z", None),
            ("2026-02-29T00:00:00Z", None),
            ("2026-13-01T00:00:00Z", None),
            ("2026-01-01T24:00:00Z", None),
            ("2026-01-01T00:00:00", None),
            ("2026-01-01T00:00:00.Z", None),
            ("2026-01-01T00:00:00+0100", None),
            ("2026-01-01T00:00:00+01:00x", None),
            ("2026-01-01", None),
            ("2026-01-0éT00:00:00Z", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(micros_from_rfc3339(text), expected, "{text}");
        }
    }

    #[test]
    fn instants_in_zones() {
        let cases = [
            ("2026-03-20T16:00:00", "Asia/Tokyo", "2026-03-20T16:00:00+09:00"),
            ("2026-03-20T16:00:00.25", "America/Los_Angeles", "2026-03-20T16:00:00.25-07:00"),
            ("2026-01-20 16:00:00", "America/Los_Angeles", "2026-01-20T16:00:00-08:00"),
            ("2026-03-20T16:00:00", "UTC", "2026-03-20T16:00:00Z"),
            // Clocks go from 02:00 to 03:00 on 29 March, and from 03:00 to 02:00 on 25 October.
            ("2026-03-29T02:30:00", "Europe/Oslo", "2026-03-29T02:30:00+01:00"),
            ("2026-10-25T02:30:00", "Europe/Oslo", "2026-10-25T02:30:00+02:00"),
        ];
        for (text, zone, same) in cases {
            let expected = micros_from_rfc3339(same);
            assert!(expected.is_some(), "{same}");
            assert_eq!(micros_in_zone(text, zone), expected, "{text} in {zone}");
        }
        let none = [
            ("2026-03-20T16:00:00", "Mars/Olympus_Mons"),
            ("2026-03-20T16:00:00", ""),
            ("2026-03-20T16:00:00Z", "Asia/Tokyo"),
            ("2026-03-20T16:00:00+01:00", "Asia/Tokyo"),
            ("2026-03-20", "Asia/Tokyo"),
            ("0001-01-01T00:00:00", "Asia/Tokyo"),
            ("2026-13-20T16:00:00", "Asia/Tokyo"),
        ];
        for (text, zone) in none {
            assert_eq!(micros_in_zone(text, zone), None, "{text} in {zone}");
        }
    }

    #[test]
    fn dates() {
        let cases = [
            ("1970-01-01", Some(0)),
            ("2000-02-29", Some(11_016)),
            ("1900-02-29", None),
            ("1969-12-31", Some(-1)),
            ("0001-01-01", Some(-719_162)),
            ("9999-12-31", Some(2_932_896)),
            ("0000-01-01", None),
            ("2026-1-1", None),
            ("2026-01-01T", None),
            ("+026-01-01", None),
        ];
        for (text, expected) in cases {
            assert_eq!(days_from_date(text), expected, "{text}");
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut expected = days_from_civil(1, 1, 1);
        for year in 1..=2_400 {
            for month in 1..=12 {
                for day in 1..=days_in_month(year, month) {
                    assert_eq!(days_from_civil(year, month, day), expected);
                    expected += 1;
                }
            }
        }
    }

    #[test]
    fn http_dates() {
        let cases = [
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777_000_000)),
            ("Sun, 06 Nov 1994 08:49:37 CET", None),
            ("Sunday, 06-Nov-94 08:49:37 GMT", None),
            ("120", None),
        ];
        for (text, expected) in cases {
            assert_eq!(micros_from_http_date(text), expected, "{text}");
        }
    }
}
