//! A second user with many events: how long until her first row and her last.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use super::{Demo, Options, screen};
use crate::suites::Stopwatch;

/// The backend's own id of the second user.
pub(super) const BOB: &str = "bob";
pub(super) const BOB_EMAIL: &str = "bob@example.com";

/// Nothing that works takes so long to write its first row.
const FIRST_ROW_LIMIT: Duration = Duration::from_secs(60);

pub(super) fn linked(demo: &Demo<'_>, options: &Options) -> Result<()> {
    let events = options.events;
    screen::heading(&format!("LINKED: a user with {events} events"));
    demo.google.refresh_token(BOB_EMAIL)?;
    let generate = json!({ "calendar": BOB_EMAIL, "count": events, "mix": "singles" });
    demo.google.control("generate_events", &generate)?;
    let stopwatch = Stopwatch::start();
    demo.post_token("LINKED", BOB, BOB_EMAIL)?;
    let (first, looks) = first_row(demo, &stopwatch)?;
    demo.host.settle()?;
    let all = stopwatch.elapsed();
    let count = format!("select count(*) as events from {} ", demo.events.table)
        + &format!("where external_owner_id = '{BOB}'");
    demo.host.show_sql(&count)?;
    demo.expect_all(BOB, BOB_EMAIL)?;
    let rows = demo.live(BOB)?.1;
    ensure!(rows == u64::from(events), "{events} events should be {events} rows, not {rows}");

    println!();
    println!("from the post to the first row  {:>8.2} s", first.as_secs_f64());
    println!("from the post to all rows       {:>8.2} s", all.as_secs_f64());
    println!("rows per second                 {:>8.0}", rows as f64 / all.as_secs_f64());
    let build = match options.release {
        true => "by the host as it is shipped",
        false => "by a development build (`--release` shows the host as it is shipped)",
    };
    screen::say(&format!(
        "Measured {build} and from outside: the clock starts before the post; the first row is the \
         first that `rowgate db sql` sees, asked again and again ({looks} times, {:.0} ms each); all \
         rows is when /statusz/idle answers that nothing is left to do. Token, calendar list and {} pages \
         of events by HTTP are in it.",
        first.as_secs_f64() * 1e3 / f64::from(looks),
        events.div_ceil(2_000),
    ));
    Ok(())
}

/// When a row of the second user was seen first, and by which look.
fn first_row(demo: &Demo<'_>, stopwatch: &Stopwatch) -> Result<(Duration, u32)> {
    let table = &demo.events.table;
    let sql = format!("select 1 as one from {table} where external_owner_id = '{BOB}' limit 1");
    let mut looks = 0;
    loop {
        looks += 1;
        let seen = !demo.host.rows(&sql)?.is_empty();
        let elapsed = stopwatch.elapsed();
        if seen {
            return Ok((elapsed, looks));
        }
        ensure!(elapsed < FIRST_ROW_LIMIT, "no row of {BOB} after {elapsed:.0?}");
    }
}
