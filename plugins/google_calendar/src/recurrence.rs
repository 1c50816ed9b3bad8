//! How far a series goes by its recurrence lines (RFC 5545).

use rowgate_plugin::time;

use crate::events::DAY_MICROS;
use crate::row;
use crate::wire::{Event, Text};

/// How far a series goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Extent {
    /// No recurrence: a single event.
    Single,
    /// Without end.
    Open,
    /// The last start is not after this instant.
    Until(i64),
    /// The last day is not after this one.
    UntilDay(i32),
    /// Only listing it tells.
    Unknown,
}

/// How far the recurrence of an event goes. Anything but one rule with a plain `UNTIL` that fits the
/// start is left to a listing.
pub(crate) fn extent(event: &Event<'_>) -> Extent {
    let rules = values(event, "RRULE");
    let endless = rules.iter().any(|rule| part(rule, "UNTIL").or(part(rule, "COUNT")).is_none());
    match (rules.as_slice(), values(event, "RDATE").is_empty()) {
        ([], true) => Extent::Single,
        ([rule], true) => rule_extent(rule, event),
        _ if endless => Extent::Open,
        _ => Extent::Unknown,
    }
}

/// Is there an instance at least every four weeks, so that a series can't end earlier without a
/// cancelled one near its end?
pub(crate) fn is_dense(master: &Event<'_>) -> bool {
    let rules = values(master, "RRULE");
    let [rule] = rules.as_slice() else { return false };
    let days = match part(rule, "FREQ").map(str::to_ascii_uppercase).as_deref() {
        Some("DAILY") => 1,
        Some("WEEKLY") => 7,
        _ => return false,
    };
    let interval = part(rule, "INTERVAL").map_or(Some(1), |text| text.parse::<u32>().ok());
    let narrowed = rule.to_ascii_uppercase().contains("BYMONTH");
    let plain = values(master, "RDATE").is_empty() && values(master, "EXDATE").is_empty();
    plain && !narrowed && interval.is_some_and(|interval| interval <= 28 / days)
}

/// What a series' instances follow from, as a number; none where the rule isn't shown.
pub(crate) fn fingerprint(master: &Event<'_>) -> Option<u64> {
    let lines = master.recurrence.as_deref().filter(|lines| !lines.is_empty())?;
    let start = master.start.as_ref()?;
    let start = [&start.date, &start.date_time, &start.time_zone];
    let texts = lines.iter().chain(start.into_iter().flatten()).map(Text::as_str);
    // FNV-1a; 0xff is in no text, and so parts them.
    let bytes = texts.flat_map(|text| text.bytes().chain([0xff]));
    let mixed = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    Some(bytes.fold(0xcbf2_9ce4_8422_2325, mixed))
}

/// Values of the recurrence lines of a name; the name may have parameters (`RDATE;VALUE=DATE:`).
fn values<'a>(event: &'a Event<'_>, name: &str) -> Vec<&'a str> {
    let lines = event.recurrence.as_deref().unwrap_or_default().iter().map(Text::as_str);
    lines
        .filter_map(|line| line.split_once(':'))
        .filter(|(key, _)| key.split(';').next().unwrap_or_default().eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
        .collect()
}

fn rule_extent(rule: &str, event: &Event<'_>) -> Extent {
    if part(rule, "COUNT").is_some() {
        return Extent::Unknown;
    }
    let Some(until) = part(rule, "UNTIL") else { return Extent::Open };
    let day = || {
        let (year, rest) = until.split_at_checked(4)?;
        let (month, rest) = rest.split_at_checked(2)?;
        time::days_from_date(&format!("{year}-{month}-{}", rest.get(..2)?))
    };
    if row::day(&event.start).is_some() {
        return day().map_or(Extent::Unknown, Extent::UntilDay);
    }
    let instant = || {
        let (_, clock) = until.split_once('T')?;
        let clock = clock.strip_suffix('Z').filter(|clock| clock.len() == 6)?;
        let (hour, rest) = clock.split_at_checked(2)?;
        let (minute, second) = rest.split_at_checked(2)?;
        let midnight = i64::from(day()?) * DAY_MICROS;
        let since = time::micros_from_rfc3339(&format!("1970-01-01T{hour}:{minute}:{second}Z"))?;
        Some(midnight + since)
    };
    instant().map_or(Extent::Unknown, Extent::Until)
}

fn part<'a>(rule: &'a str, name: &str) -> Option<&'a str> {
    rule.split(';').find_map(|part| {
        let (key, value) = part.split_once('=')?;
        key.eq_ignore_ascii_case(name).then_some(value)
    })
}
