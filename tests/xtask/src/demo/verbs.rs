//! LINKED, REFRESHED, RESYNC and UNLINKED, for a user with a handful of events.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{Demo, screen};

/// The backend's own id of the first user.
pub(super) const ALICE: &str = "alice";
pub(super) const ALICE_EMAIL: &str = "alice@example.com";
const TEAM: &str = "team@group.calendar.google.com";

/// A user connects her calendar: her rows appear.
pub(super) fn linked(demo: &Demo<'_>) -> Result<()> {
    populate(demo)?;
    screen::heading("LINKED: a user connects her Google account");
    screen::say("Each integration has a table; no row yet.");
    show_rows(demo)?;
    ensure!(demo.live(ALICE)? == (0, 0), "there should be no rows before LINKED");
    screen::say(
        "When OAuth has given your backend a refresh token, it posts one webhook. The answer 202 \
         means that the post is authenticated, checked and on disk; the token lies sealed, and \
         the plugin never sees it.",
    );
    demo.post_token("LINKED", ALICE, ALICE_EMAIL)?;
    let took = demo.host.settle()?;
    let took_s = took.as_secs_f64();
    screen::say(&format!("{took_s:.1} s later (the plugin's compilation is in it):"));
    show_rows(demo)?;
    demo.expect_all(ALICE, ALICE_EMAIL)
}

/// Something changes at Google: an incremental sync brings just that.
pub(super) fn refreshed(demo: &Demo<'_>) -> Result<()> {
    screen::heading("REFRESHED: she connects again, and things have changed since");
    screen::say("At Google an event is added, one is moved and one is cancelled:");
    let before = newest_change(demo)?;
    let dinner = event("dinner", "Team dinner", ("06T18:30:00Z", "06T21:00:00Z"));
    demo.google.change("add_event", &json!({ "calendar": TEAM, "event": dinner }))?;
    let later = json!({
        "summary": "Planning (moved)",
        "start": { "dateTime": "2026-11-05T15:00:00Z" },
        "end": { "dateTime": "2026-11-05T16:00:00Z" },
    });
    let moved = json!({ "calendar": ALICE_EMAIL, "id": "planning", "patch": later });
    demo.google.change("patch_event", &moved)?;
    demo.google.change("cancel_event", &json!({ "calendar": ALICE_EMAIL, "id": "lunch" }))?;
    screen::say("Without a push from Google, the post is what makes the host look:");
    demo.post_token("REFRESHED", ALICE, ALICE_EMAIL)?;
    demo.host.settle()?;
    screen::say("The rows that changed, and no others:");
    let changed = format!("row_updated_at > '{before}'");
    demo.host.show_sql(&events_sql(demo, &changed))?;
    let changed = demo.host.rows(&events_sql(demo, &changed))?;
    let column = |name: &str| changed.iter().map(|row| row[name].as_str()).collect::<Vec<_>>();
    let (mut ids, mut states) = (column("google_id"), column("status"));
    ids.sort_unstable();
    states.sort_unstable();
    ensure!(
        ids == [Some("dinner"), Some("lunch"), Some("planning")]
            && states == [Some("cancelled"), Some("confirmed"), Some("confirmed")],
        "exactly dinner, lunch (cancelled) and planning should have changed"
    );
    demo.expect_all(ALICE, ALICE_EMAIL)
}

/// Everything is read again; a row that is the same doesn't move.
pub(super) fn resync(demo: &Demo<'_>) -> Result<()> {
    screen::heading("RESYNC: read everything again");
    let versions = versions_sql(demo);
    let before = demo.host.rows(&versions)?;
    let newest = newest_change(demo)?;
    demo.post("RESYNC", ALICE)?;
    demo.host.settle()?;
    screen::say("All was read again in full, and since nothing is different no row has moved:");
    let table = &demo.events.table;
    demo.host.show_sql(&format!(
        "select count(*) as rows, \
         sum(case when row_updated_at > '{newest}' then 1 else 0 end) as moved\n  from {table} \
         where external_owner_id = '{ALICE}'"
    ))?;
    ensure!(demo.host.rows(&versions)? == before, "no row_updated_at should have moved");
    demo.expect_all(ALICE, ALICE_EMAIL)
}

/// She disconnects: her rows are gone, others' stay.
pub(super) fn unlinked(demo: &Demo<'_>) -> Result<()> {
    screen::heading("UNLINKED: she disconnects");
    let table = &demo.events.table;
    let by_owner = format!(
        "select external_owner_id, count(*) as events\n  from {table}\n  \
         group by external_owner_id order by external_owner_id"
    );
    demo.host.show_sql(&by_owner)?;
    let before = demo.host.rows(&by_owner)?;
    ensure!(before.len() == 2, "both owners should have rows before UNLINKED");
    demo.post("UNLINKED", ALICE)?;
    demo.host.settle()?;
    screen::say("Her rows are gone from every table, and only hers:");
    demo.host.show_sql(&by_owner)?;
    ensure!(demo.host.rows(&by_owner)? == before[1..], "only the other owner's rows should stay");
    for table in [&demo.list.table, &demo.calendars.table, &demo.events.table] {
        let left = demo.host.count(table, &format!("external_owner_id = '{ALICE}'"))?;
        ensure!(left == 0, "{table} should hold no row of {ALICE}, but holds {left}");
    }
    demo.show_owners()
}

/// Two calendars: single events, a series, a whole day.
fn populate(demo: &Demo<'_>) -> Result<()> {
    demo.google.refresh_token(ALICE_EMAIL)?;
    let spec = json!({ "id": TEAM, "summary": "Team", "time_zone": "Europe/Berlin" });
    demo.google.control("add_calendar", &json!({ "email": ALICE_EMAIL, "spec": spec }))?;
    let mut standup = event("standup", "Standup", ("03T09:00:00Z", "03T09:15:00Z"));
    standup["recurrence"] = json!(["RRULE:FREQ=WEEKLY;COUNT=4"]);
    let mut offsite = event("offsite", "Offsite", ("", ""));
    offsite["start"] = json!({ "date": "2026-11-19" });
    offsite["end"] = json!({ "date": "2026-11-21" });
    for (calendar, event) in [
        (ALICE_EMAIL, event("planning", "Planning", ("04T10:00:00Z", "04T11:00:00Z"))),
        (ALICE_EMAIL, event("lunch", "Lunch with Bo", ("04T12:00:00Z", "04T13:00:00Z"))),
        (TEAM, standup),
        (TEAM, offsite),
    ] {
        demo.google.control("add_event", &json!({ "calendar": calendar, "event": event }))?;
    }
    Ok(())
}

/// An event in November 2026; times as `DDTHH:MM:SSZ`.
pub(super) fn event(id: &str, summary: &str, (start, end): (&str, &str)) -> Value {
    let time = |time: &str| json!({ "dateTime": format!("2026-11-{time}") });
    json!({ "id": id, "summary": summary, "start": time(start), "end": time(end) })
}

fn show_rows(demo: &Demo<'_>) -> Result<()> {
    let table = &demo.calendars.table;
    demo.host.show_sql(&format!(
        "select google_id, data->>'summary' as summary, time_zone\n  from {table}\n  \
         where external_owner_id = '{ALICE}'"
    ))?;
    demo.host.show_sql(&events_sql(demo, "status is distinct from 'cancelled'"))
}

/// Her events that fit a condition, in the order of their start.
pub(super) fn events_sql(demo: &Demo<'_>, condition: &str) -> String {
    let table = &demo.events.table;
    format!(
        "select google_id, status, coalesce(start_at, start_date) as start, \
         data->>'summary' as summary\n  from {table}\n  \
         where external_owner_id = '{ALICE}' and {condition} order by start"
    )
}

fn versions_sql(demo: &Demo<'_>) -> String {
    let select = |table: &str| {
        format!(
            "select '{table}' as tab, pk, row_updated_at from {table} \
             where external_owner_id = '{ALICE}'"
        )
    };
    let (calendars, events) = (select(&demo.calendars.table), select(&demo.events.table));
    format!("{calendars} union all {events} order by tab, pk")
}

/// When the youngest change of her events was.
fn newest_change(demo: &Demo<'_>) -> Result<String> {
    let table = &demo.events.table;
    let sql = format!(
        "select max(row_updated_at) as newest from {table} where external_owner_id = '{ALICE}'"
    );
    let rows = demo.host.rows(&sql)?;
    let newest = rows.first().and_then(|row| row["newest"].as_str());
    ensure!(newest.is_some(), "her events should have a row_updated_at");
    Ok(newest.unwrap_or_default().to_owned())
}
