//! Event times and the time zones that the simulator knows.
//!
//! Zones are POSIX rules, so a result never depends on the machine's time zone database.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use jiff::civil::{Date, DateTime};
use jiff::fmt::rfc2822::DateTimePrinter;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// Microseconds of one day.
pub const DAY_US: i64 = 86_400_000_000;

const ZONES: &[(&str, &str)] = &[
    ("UTC", "UTC0"),
    ("Etc/UTC", "UTC0"),
    ("Europe/London", "GMT0BST,M3.5.0/1,M10.5.0"),
    ("Europe/Berlin", "CET-1CEST,M3.5.0,M10.5.0/3"),
    ("Europe/Paris", "CET-1CEST,M3.5.0,M10.5.0/3"),
    ("Europe/Zurich", "CET-1CEST,M3.5.0,M10.5.0/3"),
    ("America/New_York", "EST5EDT,M3.2.0,M11.1.0"),
    ("America/Chicago", "CST6CDT,M3.2.0,M11.1.0"),
    ("America/Denver", "MST7MDT,M3.2.0,M11.1.0"),
    ("America/Los_Angeles", "PST8PDT,M3.2.0,M11.1.0"),
    ("America/Sao_Paulo", "<-03>3"),
    ("Asia/Kolkata", "IST-5:30"),
    ("Asia/Tokyo", "JST-9"),
    ("Australia/Sydney", "AEST-10AEDT,M10.1.0,M4.1.0/3"),
];

/// The rules of a zone, by its tz database name. None: not one of the simulator's.
pub fn zone(name: &str) -> Option<&'static TimeZone> {
    static TABLE: OnceLock<BTreeMap<&str, TimeZone>> = OnceLock::new();
    let build = || {
        let rules = ZONES.iter().map(|&(name, rule)| (name, TimeZone::posix(rule)));
        rules.filter_map(|(name, zone)| Some((name, zone.ok()?))).collect()
    };
    TABLE.get_or_init(build).get(name)
}

/// Names that [`zone`] knows.
pub fn zone_names() -> impl Iterator<Item = &'static str> {
    ZONES.iter().map(|&(name, _)| name)
}

/// Start or end of an event: a whole day, or an instant with the event's own zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventTime {
    /// `{"date": ...}`; as an end it is exclusive.
    Date(Date),
    /// `{"dateTime": ..., "timeZone": ...}`; the zone only matters for expanding a series.
    At {
        /// The instant.
        instant: Timestamp,
        /// The event's own zone, if it has one.
        zone: Option<String>,
    },
}

impl EventTime {
    /// Reads `start`, `end` or `originalStartTime`. A dateTime without offset needs a zone: its
    /// own, else the calendar's.
    pub fn parse(value: &Value, calendar_zone: &TimeZone) -> Result<Self, String> {
        if let Some(date) = value.get("date").and_then(Value::as_str) {
            return date.parse().map(Self::Date).map_err(|_| format!("Invalid date: {date}"));
        }
        let Some(text) = value.get("dateTime").and_then(Value::as_str) else {
            return Err("Missing date or dateTime.".to_owned());
        };
        let own = value.get("timeZone").and_then(Value::as_str);
        let rules = match own {
            Some(name) => zone(name).ok_or_else(|| format!("Unknown time zone: {name}"))?,
            None => calendar_zone,
        };
        let instant = match text.parse::<Timestamp>() {
            Ok(instant) => instant,
            Err(_) => text
                .parse::<DateTime>()
                .and_then(|local| rules.to_ambiguous_timestamp(local).compatible())
                .map_err(|_| format!("Invalid dateTime: {text}"))?,
        };
        Ok(Self::At { instant, zone: own.map(str::to_owned) })
    }

    /// The form on the wire: offset of `calendar_zone`, name of the event's own zone.
    pub fn to_json(&self, calendar_zone: &TimeZone) -> Value {
        match self {
            Self::Date(date) => json!({ "date": date.to_string() }),
            Self::At { instant, zone } => {
                let text = with_offset(*instant, calendar_zone);
                match zone {
                    Some(zone) => json!({ "dateTime": text, "timeZone": zone }),
                    None => json!({ "dateTime": text }),
                }
            }
        }
    }

    /// Independent of any viewer: `2026-11-02` or `2026-11-02T10:00:00Z`.
    pub fn to_utc_text(&self) -> String {
        match self {
            Self::Date(date) => date.to_string(),
            Self::At { instant, .. } => instant.to_string(),
        }
    }

    /// Microseconds since 1970; a date counts as its midnight in UTC.
    pub fn micros(&self) -> i64 {
        match self {
            Self::Date(date) => date_micros(*date),
            Self::At { instant, .. } => instant.as_microsecond(),
        }
    }

    /// What stands behind the `_` of an instance id: `20261102T100000Z` or `20261102`.
    pub fn instance_suffix(&self) -> String {
        match self {
            Self::Date(date) => compact_date(*date),
            Self::At { instant, .. } => {
                let local = TimeZone::UTC.to_datetime(*instant);
                let (hour, minute, second) = (local.hour(), local.minute(), local.second());
                format!("{}T{hour:02}{minute:02}{second:02}Z", compact_date(local.date()))
            }
        }
    }

    /// The same kind of time, `micros` later (whole days for a date).
    pub fn shifted(&self, micros: i64) -> Self {
        match self {
            Self::Date(date) => {
                let days = SignedDuration::from_hours(24 * (micros / DAY_US));
                Self::Date(date.saturating_add(days))
            }
            Self::At { instant, zone } => Self::At {
                instant: instant
                    .checked_add(SignedDuration::from_micros(micros))
                    .unwrap_or(*instant),
                zone: zone.clone(),
            },
        }
    }
}

fn compact_date(date: Date) -> String {
    format!("{:04}{:02}{:02}", date.year(), date.month(), date.day())
}

fn date_micros(date: Date) -> i64 {
    let midnight = date.at(0, 0, 0, 0);
    TimeZone::UTC.to_timestamp(midnight).map_or(0, Timestamp::as_microsecond)
}

/// RFC 3339 with the zone's offset at that instant; `Z` for UTC.
fn with_offset(instant: Timestamp, zone: &TimeZone) -> String {
    let offset = zone.to_offset(instant);
    let local = offset.to_datetime(instant);
    let (date, hour, minute, second) = (local.date(), local.hour(), local.minute(), local.second());
    let sign = if offset.seconds() < 0 { '-' } else { '+' };
    let minutes = offset.seconds().abs() / 60;
    match minutes {
        0 => format!("{date}T{hour:02}:{minute:02}:{second:02}Z"),
        _ => format!(
            "{date}T{hour:02}:{minute:02}:{second:02}{sign}{:02}:{:02}",
            minutes / 60,
            minutes % 60
        ),
    }
}

/// `2026-11-02T10:00:00.123Z`, as in `created` and `updated`.
pub fn millis_text(micros: i64) -> String {
    let instant = timestamp(micros);
    let local = TimeZone::UTC.to_datetime(instant);
    let (hour, minute, second) = (local.hour(), local.minute(), local.second());
    let millis = local.subsec_nanosecond() / 1_000_000;
    format!("{}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z", local.date())
}

/// `Mon, 02 Nov 2026 00:00:00 GMT`, as in headers.
pub fn http_date(at: Timestamp) -> String {
    DateTimePrinter::new().timestamp_to_rfc9110_string(&at).unwrap_or_default()
}

/// The instant of microseconds since 1970; out of range is 1970.
pub fn timestamp(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_render_in_the_calendar_zone_and_name_their_own() {
        let berlin = zone("Europe/Berlin").unwrap();
        let cases = [
            (
                json!({"dateTime": "2026-07-20T13:00:00-03:00", "timeZone": "America/Los_Angeles"}),
                json!({"dateTime": "2026-07-20T18:00:00+02:00", "timeZone": "America/Los_Angeles"}),
                "20260720T160000Z",
            ),
            (
                json!({"dateTime": "2026-12-01T09:00:00"}),
                json!({"dateTime": "2026-12-01T09:00:00+01:00"}),
                "20261201T080000Z",
            ),
            (json!({"date": "2026-12-24"}), json!({"date": "2026-12-24"}), "20261224"),
        ];
        for (given, rendered, suffix) in cases {
            let time = EventTime::parse(&given, berlin).unwrap();
            assert_eq!(time.to_json(berlin), rendered);
            assert_eq!(time.instance_suffix(), suffix);
        }
    }

    #[test]
    fn all_listed_zones_have_rules() {
        for name in zone_names() {
            assert!(zone(name).is_some(), "{name}");
        }
    }

    #[test]
    fn bad_times_say_what_is_wrong() {
        let utc = zone("UTC").unwrap();
        for (given, message) in [
            (json!({}), "Missing date or dateTime."),
            (json!({"date": "2026-13-01"}), "Invalid date: 2026-13-01"),
            (json!({"dateTime": "noon"}), "Invalid dateTime: noon"),
            (json!({"dateTime": "noon", "timeZone": "Mars"}), "Unknown time zone: Mars"),
        ] {
            assert_eq!(EventTime::parse(&given, utc).unwrap_err(), message);
        }
    }
}
