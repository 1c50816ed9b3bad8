//! One value in the form in which it is stored and compared.

use std::borrow::Cow;

use crate::model::Micros;

/// Days from 0001-01-01 to 9999-12-31, since 1970-01-01.
const DAYS: std::ops::RangeInclusive<i64> = -719_162..=2_932_896;
const DAY_US: i64 = 86_400_000_000;

/// One value. Timestamps, dates, decimals and JSON are text: equal text is equal value, and the
/// order of timestamps and dates is the order of their text.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Value<'a> {
    Null,
    Boolean(bool),
    Integer(i64),
    Double(f64),
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
}

impl Value<'_> {
    /// SQL null?
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// The same, borrowed.
    pub fn by_ref(&self) -> Value<'_> {
        match self {
            Value::Null => Value::Null,
            Value::Boolean(value) => Value::Boolean(*value),
            Value::Integer(value) => Value::Integer(*value),
            Value::Double(value) => Value::Double(*value),
            Value::Text(value) => Value::Text(Cow::Borrowed(value)),
            Value::Bytes(value) => Value::Bytes(Cow::Borrowed(value)),
        }
    }

    /// The same, owned.
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Value::Null => Value::Null,
            Value::Boolean(value) => Value::Boolean(value),
            Value::Integer(value) => Value::Integer(value),
            Value::Double(value) => Value::Double(value),
            Value::Text(value) => Value::Text(Cow::Owned(value.into_owned())),
            Value::Bytes(value) => Value::Bytes(Cow::Owned(value.into_owned())),
        }
    }
}

/// `YYYY-MM-DDTHH:MM:SS.ffffffZ`. None outside the years 0001 to 9999.
pub fn timestamp_text(at: Micros) -> Option<String> {
    let mut text = String::with_capacity(27);
    push_date(&mut text, at.div_euclid(DAY_US))?;
    let micros = at.rem_euclid(DAY_US);
    let seconds = micros / 1_000_000;
    text.push('T');
    push_digits(&mut text, seconds / 3600, 2);
    text.push(':');
    push_digits(&mut text, seconds / 60 % 60, 2);
    text.push(':');
    push_digits(&mut text, seconds % 60, 2);
    text.push('.');
    push_digits(&mut text, micros % 1_000_000, 6);
    text.push('Z');
    Some(text)
}

/// `YYYY-MM-DD`. None outside the years 0001 to 9999.
pub fn date_text(days: i32) -> Option<String> {
    let mut text = String::with_capacity(10);
    push_date(&mut text, i64::from(days))?;
    Some(text)
}

/// Reads what [`timestamp_text`] wrote.
pub fn text_timestamp(text: &str) -> Option<Micros> {
    let bytes = text.as_bytes();
    let separators = [(10, b'T'), (13, b':'), (16, b':'), (19, b'.'), (26, b'Z')];
    if bytes.len() != 27 || separators.iter().any(|(at, byte)| bytes[*at] != *byte) {
        return None;
    }
    let days = i64::from(text_date(text.get(..10)?)?);
    let seconds =
        digits(&bytes[11..13])? * 3600 + digits(&bytes[14..16])? * 60 + digits(&bytes[17..19])?;
    Some(days * DAY_US + seconds * 1_000_000 + digits(&bytes[20..26])?)
}

/// Reads what [`date_text`] wrote.
pub fn text_date(text: &str) -> Option<i32> {
    let bytes = text.as_bytes();
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let (month, day) = (digits(&bytes[5..7])?, digits(&bytes[8..10])?);
    let days = days_from_civil(digits(&bytes[..4])?, month, day);
    i32::try_from(days).ok()
}

fn push_date(text: &mut String, days: i64) -> Option<()> {
    if !DAYS.contains(&days) {
        return None;
    }
    let (year, month, day) = civil_from_days(days);
    push_digits(text, year, 4);
    text.push('-');
    push_digits(text, month, 2);
    text.push('-');
    push_digits(text, day, 2);
    Some(())
}

/// The last `count` digits, six at most.
fn push_digits(text: &mut String, value: i64, count: usize) {
    let (mut digits, mut rest) = ([0; 6], value as u32);
    for digit in digits[..count].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    text.extend(digits[..count].iter().map(|digit| char::from(*digit)));
}

fn digits(bytes: &[u8]) -> Option<i64> {
    bytes.iter().try_fold(0_i64, |number, byte| {
        byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0'))
    })
}

/// Proleptic Gregorian calendar, in eras of 400 years that begin on 1 March.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_text_of_fixed_width() {
        let cases = [
            (0, Some("1970-01-01T00:00:00.000000Z")),
            (-1, Some("1969-12-31T23:59:59.999999Z")),
            (1_700_000_000_123_456, Some("2023-11-14T22:13:20.123456Z")),
            (951_782_400_000_000, Some("2000-02-29T00:00:00.000000Z")),
            (-62_135_596_800_000_000, Some("0001-01-01T00:00:00.000000Z")),
            (-62_135_596_800_000_001, None),
            (253_402_300_799_999_999, Some("9999-12-31T23:59:59.999999Z")),
            (253_402_300_800_000_000, None),
            (i64::MIN, None),
            (i64::MAX, None),
        ];
        for (micros, text) in cases {
            assert_eq!(timestamp_text(micros).as_deref(), text);
            assert!(text.is_none() || text_timestamp(text.unwrap()) == Some(micros));
        }
    }

    #[test]
    fn every_day_survives_the_way_through_text() {
        let mut last = String::new();
        for days in DAYS {
            let text = date_text(days as i32).unwrap();
            assert!(last < text);
            assert_eq!(text_date(&text), Some(days as i32));
            last = text;
        }
        assert_eq!(last, "9999-12-31");
        assert_eq!((date_text(i32::MIN), date_text(i32::MAX)), (None, None));
    }

    #[test]
    fn other_text_is_no_timestamp() {
        for text in ["", "1970-01-01", "1970-01-01T00:00:00.00000éZ", "1970-01-01 00:00:00.000000Z"]
        {
            assert_eq!(text_timestamp(text), None);
        }
    }
}
