//! `cargo test -p rowgate --lib measure -- --ignored --nocapture`

#![allow(clippy::disallowed_methods, reason = "measures wall time")]

use std::time::Instant;

use super::*;
use crate::rows::Rows;
use crate::rows::fixture::utf8;

const EVENTS: &str = "google_calendar_event_v1";
const PAGE: usize = 2_000;

/// A page of events like Google's: instances of series, 1 kB of JSON each.
fn page(number: usize, status: &str) -> Batch {
    let rows = number * PAGE..(number + 1) * PAGE;
    let hash = |row: usize| (row as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
    let ids: Vec<String> =
        rows.clone().map(|row| format!("{:016x}x{row:010}_20240101T090000Z", hash(row))).collect();
    let masters: Vec<String> = rows.clone().map(|row| format!("{:016x}", hash(row / 50))).collect();
    let description = "Agenda: numbers of the week, open questions, who does what. ".repeat(8);
    let data: Vec<String> = rows
        .clone()
        .map(|row| {
            format!(
                r#"{{"kind":"calendar#event","etag":"\"{row}\"","id":"{}","status":"{status}","htmlLink":"https://www.google.com/calendar/event?eid={row}","created":"2024-01-01T00:00:00.000Z","updated":"2024-01-02T00:00:00.000Z","summary":"Weekly meeting number {row}","description":"{description}","location":"Room 12","creator":{{"email":"someone@example.org","self":true}},"organizer":{{"email":"someone@example.org","self":true}},"start":{{"dateTime":"2024-01-01T09:00:00+01:00","timeZone":"Europe/Berlin"}},"end":{{"dateTime":"2024-01-01T10:00:00+01:00","timeZone":"Europe/Berlin"}},"iCalUID":"{row}@google.com","sequence":0,"reminders":{{"useDefault":true}},"eventType":"default"}}"#,
                ids[row % PAGE]
            )
        })
        .collect();
    let optional = |values: &[String]| -> Vec<Option<String>> {
        values.iter().map(|value| Some(value.clone())).collect()
    };
    let text = |name: &str, values: &[String]| {
        let values = optional(values);
        let values: Vec<Option<&str>> = values.iter().map(Option::as_deref).collect();
        column(name, Values::Text(utf8(&values)))
    };
    let times = |offset: i64| {
        let times =
            rows.clone().map(|row| 1_700_000_000_000_000 + row as i64 * 900_000_000 + offset);
        Values::Timestamp(times.collect())
    };
    let data: Vec<Option<&str>> = data.iter().map(|data| Some(data.as_str())).collect();
    let columns = vec![
        text("google_id", &ids),
        column("google_calendar_id", Values::Constant(super::text("someone@example.org"))),
        text("status", &vec![status.to_owned(); PAGE]),
        column("created", times(0)),
        column("updated", times(1)),
        column("start_date", Values::Constant(Scalar::Null)),
        column("end_date", Values::Constant(Scalar::Null)),
        column("original_start_date", Values::Constant(Scalar::Null)),
        column("start_at", times(2)),
        column("end_at", times(3)),
        column("original_start_at", times(2)),
        text("recurring_event_id", &masters),
        documents("data", &data),
    ];
    batch(EVENTS, PAGE, columns)
}

/// CPU time of this process: other load on the machine doesn't show in it. Linux counts in 10 ms.
fn cpu_ms() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 10
}

#[test]
#[ignore = "a measurement"]
fn measure_normalising() {
    let spec = spec(EVENTS);
    let pages: Vec<Batch> = (0..5).map(|number| page(number, "confirmed")).collect();
    for _ in 0..3 {
        let start = Instant::now();
        let rows: usize =
            pages.iter().map(|page| Rows::new(&spec, page, Some("owner-1")).unwrap().rows).sum();
        println!("{rows} rows normalised in {:?}", start.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
#[ignore = "a measurement"]
async fn measure_events() {
    let mut fixture = Fixture::with_services(Dialect::Sqlite, &[EVENTS]).await;
    let confirmed: Vec<Batch> = (0..5).map(|number| page(number, "confirmed")).collect();
    let cancelled: Vec<Batch> = (0..5).map(|number| page(number, "cancelled")).collect();
    for (owner, what, pages) in [
        ("a", "inserted", &confirmed),
        ("a", "unchanged", &confirmed),
        ("a", "changed", &cancelled),
        ("a", "changed back", &confirmed),
        ("b", "inserted for another owner", &confirmed),
        ("b", "unchanged", &confirmed),
    ] {
        let (start, cpu) = (Instant::now(), cpu_ms());
        let mut changed = 0;
        for page in pages {
            let write = [Write::Upsert(page.clone())];
            changed += fixture.apply(owner, &write).await.unwrap().rows_changed;
        }
        let (rows, elapsed) = (pages.len() * PAGE, start.elapsed());
        let rate = rows as f64 / elapsed.as_secs_f64();
        let cpu = cpu_ms() - cpu;
        println!(
            "{rows} rows {what} ({changed} changed) in {elapsed:?}: {rate:.0} rows/s; {cpu} ms CPU"
        );
    }
}
