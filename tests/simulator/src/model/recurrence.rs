//! Recurrence rules: the part of RFC 5545 that calendars use every day, expanded like Google does.

use std::collections::BTreeSet;

use jiff::ToSpan;
use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;

use super::time::{EventTime, zone};

/// Google cuts a series after this many instances.
pub const INSTANCES_MAX: usize = 730;

/// Periods looked at before a rule that never matches is given up.
const PERIODS_MAX: i32 = 40_000;

/// The `recurrence` of a master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recurrence {
    /// As they were written.
    pub lines: Vec<String>,
    rule: Option<Rule>,
    exdates: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    frequency: Frequency,
    interval: i32,
    count: Option<usize>,
    until: Option<String>,
    by_day: Vec<(i8, Weekday)>,
    by_month_day: Vec<i8>,
    by_month: Vec<i8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frequency {
    Daily,
    Weekly,
    Monthly,
    Yearly,
}

impl Recurrence {
    /// Reads `RRULE:` and `EXDATE` lines. The error is a sentence for the caller.
    pub fn parse(lines: &[String]) -> Result<Self, String> {
        let mut rule = None;
        let mut exdates = BTreeSet::new();
        for line in lines {
            let (name, value) = line.split_once(':').ok_or_else(|| bad(line, "no colon"))?;
            match name.split(';').next() {
                Some("RRULE") if rule.is_none() => rule = Some(Rule::parse(value)?),
                Some("EXDATE") => exdates.extend(value.split(',').map(str::to_owned)),
                _ => return Err(bad(line, "only one RRULE and EXDATE are known")),
            }
        }
        Ok(Self { lines: lines.to_vec(), rule, exdates })
    }

    /// Original starts of the instances of a series that starts at `start`, in order.
    pub fn occurrences(&self, start: &EventTime, calendar_zone: &TimeZone) -> Vec<EventTime> {
        let Some(rule) = &self.rule else { return vec![start.clone()] };
        let mut found = Vec::new();
        let limit = rule.count.unwrap_or(usize::MAX).min(INSTANCES_MAX);
        let first = local_date(start, calendar_zone);
        let mut counted = 0;
        'periods: for period in 0..PERIODS_MAX {
            let Some(dates) = rule.dates(first, period) else { break };
            for date in dates {
                let Some(time) = at_date(start, date, calendar_zone) else { continue };
                if time.micros() < start.micros() {
                    continue;
                }
                if counted == limit || rule.is_past(&time) {
                    break 'periods;
                }
                counted += 1;
                if self.exdates.is_empty() || !self.exdates.contains(&time.instance_suffix()) {
                    found.push(time);
                }
            }
        }
        found
    }

    /// The same rule that ends before `until` (as in an instance id); COUNT gives way.
    pub fn trimmed(&self, until: &str) -> Self {
        let trim = |line: &String| {
            let Some(rule) = line.strip_prefix("RRULE:") else { return line.clone() };
            let kept = rule
                .split(';')
                .filter(|part| !part.starts_with("UNTIL=") && !part.starts_with("COUNT="));
            format!("RRULE:{};UNTIL={until}", kept.collect::<Vec<_>>().join(";"))
        };
        let lines: Vec<String> = self.lines.iter().map(trim).collect();
        Self::parse(&lines).unwrap_or_else(|_| self.clone())
    }
}

fn bad(line: &str, why: &str) -> String {
    format!("Invalid recurrence line {line:?}: {why}.")
}

fn local_date(start: &EventTime, calendar_zone: &TimeZone) -> Date {
    match start {
        EventTime::Date(date) => *date,
        EventTime::At { instant, zone } => {
            rules(zone.as_deref(), calendar_zone).to_datetime(*instant).date()
        }
    }
}

/// `start` on another day, same wall clock in the event's zone.
fn at_date(start: &EventTime, date: Date, calendar_zone: &TimeZone) -> Option<EventTime> {
    match start {
        EventTime::Date(_) => Some(EventTime::Date(date)),
        EventTime::At { instant, zone } => {
            let rules = rules(zone.as_deref(), calendar_zone);
            let local = date.to_datetime(rules.to_datetime(*instant).time());
            let instant = rules.to_ambiguous_timestamp(local).compatible().ok()?;
            Some(EventTime::At { instant, zone: zone.clone() })
        }
    }
}

fn rules<'a>(own: Option<&str>, calendar_zone: &'a TimeZone) -> &'a TimeZone {
    own.and_then(zone).unwrap_or(calendar_zone)
}

impl Rule {
    fn parse(text: &str) -> Result<Self, String> {
        let mut rule = Self {
            frequency: Frequency::Daily,
            interval: 1,
            count: None,
            until: None,
            by_day: Vec::new(),
            by_month_day: Vec::new(),
            by_month: Vec::new(),
        };
        let mut frequency = None;
        for part in text.split(';') {
            let (name, value) = part.split_once('=').ok_or_else(|| bad(text, "no ="))?;
            let wrong = || bad(text, name);
            match name {
                "FREQ" => frequency = Some(Frequency::parse(value).ok_or_else(wrong)?),
                "INTERVAL" => {
                    let parsed = value.parse().ok().filter(|n| *n > 0);
                    rule.interval = parsed.ok_or_else(wrong)?;
                }
                "COUNT" => rule.count = Some(value.parse().map_err(|_| wrong())?),
                "UNTIL" => rule.until = Some(value.to_owned()),
                "BYDAY" => rule.by_day = list(value, weekday).ok_or_else(wrong)?,
                "BYMONTHDAY" => rule.by_month_day = list(value, number).ok_or_else(wrong)?,
                "BYMONTH" => rule.by_month = list(value, number).ok_or_else(wrong)?,
                "WKST" => {}
                _ => return Err(bad(text, "unknown part")),
            }
        }
        rule.frequency = frequency.ok_or_else(|| bad(text, "no FREQ"))?;
        Ok(rule)
    }

    /// UNTIL has the same compact form as an instance id; days compare with days.
    fn is_past(&self, time: &EventTime) -> bool {
        let Some(until) = &self.until else { return false };
        let suffix = time.instance_suffix();
        let digits = suffix.len().min(until.len());
        suffix[..digits] > until[..digits]
    }

    /// Days of the n-th period counted from the one of `first`. None: beyond the calendar.
    fn dates(&self, first: Date, period: i32) -> Option<Vec<Date>> {
        let step = period.checked_mul(self.interval)?;
        match self.frequency {
            Frequency::Daily => {
                let day = first.checked_add(step.days()).ok()?;
                let fits = self.by_day.is_empty()
                    || self.by_day.iter().any(|(_, weekday)| *weekday == day.weekday());
                Some(if fits && self.in_month(day) { vec![day] } else { Vec::new() })
            }
            Frequency::Weekly => self.week(first, step),
            Frequency::Monthly => {
                let months = i32::from(first.month()) - 1 + step;
                let year = i16::try_from(i32::from(first.year()) + months / 12).ok()?;
                let month = i8::try_from(months % 12 + 1).ok()?;
                Date::new(year, month, 1).ok().map(|start| self.month(start, first.day()))
            }
            Frequency::Yearly => {
                let year = i16::try_from(i32::from(first.year()) + step).ok()?;
                let start = Date::new(year, 1, 1).ok()?;
                let own = [first.month()];
                let months = if self.by_month.is_empty() { &own[..] } else { &self.by_month };
                let month = |month: &i8| Date::new(start.year(), *month, 1).ok();
                let starts = months.iter().filter_map(month);
                Some(starts.flat_map(|start| self.month(start, first.day())).collect())
            }
        }
    }

    fn in_month(&self, day: Date) -> bool {
        self.by_month.is_empty() || self.by_month.contains(&day.month())
    }

    fn week(&self, first: Date, weeks: i32) -> Option<Vec<Date>> {
        let monday =
            first.checked_sub(i32::from(first.weekday().to_monday_zero_offset()).days()).ok()?;
        let monday = monday.checked_add(weeks.weeks()).ok()?;
        let own = [(0, first.weekday())];
        let wanted = if self.by_day.is_empty() { &own[..] } else { &self.by_day };
        let mut days: Vec<i8> = wanted.iter().map(|(_, d)| d.to_monday_zero_offset()).collect();
        days.sort_unstable();
        days.iter().map(|day| monday.checked_add(i32::from(*day).days()).ok()).collect()
    }

    fn month(&self, start: Date, own_day: i8) -> Vec<Date> {
        let mut days: BTreeSet<Date> = BTreeSet::new();
        for (nth, weekday) in &self.by_day {
            let every = 1..=5;
            let nths = if *nth == 0 { every } else { *nth..=*nth };
            days.extend(nths.filter_map(|nth| start.nth_weekday_of_month(nth, *weekday).ok()));
        }
        let own = [own_day];
        let numbers = match (self.by_day.is_empty(), self.by_month_day.is_empty()) {
            (true, true) => &own[..],
            _ => &self.by_month_day,
        };
        for &number in numbers {
            let day = if number < 0 { start.days_in_month() + 1 + number } else { number };
            days.extend(Date::new(start.year(), start.month(), day).ok());
        }
        days.into_iter().collect()
    }
}

impl Frequency {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "DAILY" => Self::Daily,
            "WEEKLY" => Self::Weekly,
            "MONTHLY" => Self::Monthly,
            "YEARLY" => Self::Yearly,
            _ => return None,
        })
    }
}

fn list<T>(text: &str, one: fn(&str) -> Option<T>) -> Option<Vec<T>> {
    text.split(',').map(one).collect()
}

fn number(text: &str) -> Option<i8> {
    text.parse().ok()
}

/// `MO`, `2TU`, `-1FR`; 0 stands for every one.
fn weekday(text: &str) -> Option<(i8, Weekday)> {
    let (nth, name) = text.split_at_checked(text.len().checked_sub(2)?)?;
    let weekday = match name {
        "MO" => Weekday::Monday,
        "TU" => Weekday::Tuesday,
        "WE" => Weekday::Wednesday,
        "TH" => Weekday::Thursday,
        "FR" => Weekday::Friday,
        "SA" => Weekday::Saturday,
        "SU" => Weekday::Sunday,
        _ => return None,
    };
    Some((if nth.is_empty() { 0 } else { nth.parse().ok()? }, weekday))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn expand(start: serde_json::Value, rule: &str) -> Vec<String> {
        let utc = zone("UTC").unwrap();
        let start = EventTime::parse(&start, utc).unwrap();
        let lines: Vec<String> = rule.split('\n').map(str::to_owned).collect();
        let times = Recurrence::parse(&lines).unwrap().occurrences(&start, utc);
        times.iter().map(EventTime::instance_suffix).collect()
    }

    #[test]
    fn rules_expand() {
        let day = |date: &str| json!({ "date": date });
        for (start, rule, expected) in [
            (day("2026-11-02"), "RRULE:FREQ=DAILY;COUNT=3", "20261102 20261103 20261104"),
            (day("2026-11-02"), "RRULE:FREQ=DAILY;INTERVAL=2;UNTIL=20261105", "20261102 20261104"),
            (
                day("2026-11-02"),
                "RRULE:FREQ=WEEKLY;BYDAY=FR,MO;COUNT=4",
                "20261102 20261106 20261109 20261113",
            ),
            (day("2026-11-04"), "RRULE:FREQ=WEEKLY;BYDAY=MO,WE;COUNT=2", "20261104 20261109"),
            (day("2026-10-31"), "RRULE:FREQ=MONTHLY;COUNT=3", "20261031 20261231 20270131"),
            (
                day("2026-11-30"),
                "RRULE:FREQ=MONTHLY;BYMONTHDAY=-1;COUNT=3",
                "20261130 20261231 20270131",
            ),
            (
                day("2026-11-10"),
                "RRULE:FREQ=MONTHLY;BYDAY=2TU;COUNT=3",
                "20261110 20261208 20270112",
            ),
            (day("2026-11-27"), "RRULE:FREQ=MONTHLY;BYDAY=-1FR;COUNT=2", "20261127 20261225"),
            (
                day("2024-02-29"),
                "RRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29;COUNT=2",
                "20240229 20280229",
            ),
            (
                day("2026-11-02"),
                "RRULE:FREQ=DAILY;COUNT=3\nEXDATE;VALUE=DATE:20261103",
                "20261102 20261104",
            ),
        ] {
            assert_eq!(expand(start, rule).join(" "), expected, "{rule}");
        }
    }

    #[test]
    fn wall_clock_time_survives_the_end_of_summer_time() {
        let start = json!({"dateTime": "2026-10-24T09:00:00+02:00", "timeZone": "Europe/Berlin"});
        assert_eq!(
            expand(start, "RRULE:FREQ=DAILY;COUNT=2"),
            ["20261024T070000Z", "20261025T080000Z"]
        );
    }

    #[test]
    fn unbounded_series_are_cut_at_730_instances() {
        let instances = expand(json!({"date": "2026-11-02"}), "RRULE:FREQ=WEEKLY");
        assert_eq!(instances.len(), INSTANCES_MAX);
        assert_eq!(instances.last().unwrap(), "20401022");
    }

    #[test]
    fn trimming_replaces_count_by_until() {
        let rule = Recurrence::parse(&["RRULE:FREQ=DAILY;COUNT=9".to_owned()]).unwrap();
        assert_eq!(rule.trimmed("20261104").lines, ["RRULE:FREQ=DAILY;UNTIL=20261104"]);
    }

    #[test]
    fn bad_rules_are_refused() {
        for line in ["FREQ=DAILY", "RRULE:COUNT=3", "RRULE:FREQ=HOURLY", "RDATE:20261102"] {
            assert!(Recurrence::parse(&[line.to_owned()]).is_err(), "{line}");
        }
    }
}
