//! Compares the tables with what the simulator says a complete copy holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use serde_json::Value;
use simulator::model::expected::{ExpectedCalendar, ExpectedEvent};

use crate::{TestHost, Tree};

/// What a thing should look like, by a path such as `owner / calendar / event`.
type Facts = BTreeMap<String, String>;

/// Differences that a failing test prints.
const SHOWN: usize = 20;

impl TestHost {
    /// Every linked owner's calendars and live events are those of the model, and no other owner has
    /// a row.
    pub async fn assert_matches_model(&self, tree: &Tree) {
        let differences = self.differences(tree).await;
        assert!(differences.is_empty(), "tables and model differ:\n{}", differences.join("\n"));
    }

    /// The first differences between tables and model.
    pub async fn differences(&self, tree: &Tree) -> Vec<String> {
        let linked = tree.linked.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let expected = self.simulator.model().expected();
        let lists = linked.iter().map(|(owner, email)| (owner, expected.users.get(email)));
        let entries = || {
            lists.clone().flat_map(|(owner, list)| {
                list.into_iter().flatten().map(move |(id, calendar)| (owner, id, calendar))
            })
        };
        let calendars =
            entries().filter_map(|(owner, id, entry)| Some((path(&[owner, id]), calendar(entry)?)));
        let calendars: Facts = calendars.collect();
        let mut found = compare(&calendars, &self.calendar_facts(tree).await);
        if let Some(event) = &tree.event {
            let events = entries().flat_map(|(owner, id, c)| events(owner, id, &c.expanded));
            found.extend(compare(&events.collect(), &self.event_facts(&event.table).await));
        }
        if let Some(source) = &tree.source {
            let events = entries().flat_map(|(owner, id, c)| events(owner, id, &c.source));
            found.extend(compare(&events.collect(), &self.event_facts(&source.table).await));
        }
        found.extend(self.strangers(tree, &linked.into_keys().collect()).await);
        found.truncate(SHOWN);
        found
    }

    /// A calendar that is gone may have a row, marked so, or none if it was never seen.
    async fn calendar_facts(&self, tree: &Tree) -> Facts {
        let query = format!(
            "select external_owner_id as o, google_id as c, time_zone as z, data from {} \
             where deleted is not true",
            tree.calendar.table
        );
        let rows = self.sql(&query).await.into_iter();
        rows.map(|row| {
            let (zone, entry) = (text(&row["z"]), &row["data"]);
            let (title, role) = (entry["summary"].as_str(), text(&entry["accessRole"]));
            let is_hidden = entry["hidden"].as_bool().unwrap_or_default();
            (path(&[text(&row["o"]), text(&row["c"])]), live_in(zone, title, role, is_hidden))
        })
        .collect()
    }

    async fn event_facts(&self, table: &str) -> Facts {
        let query = format!(
            "select external_owner_id as o, google_calendar_id as c, google_id as e, status, \
             start_date, start_at, end_date, end_at, original_start_date, original_start_at, \
             created, updated, compound_identity, \
             recurring_event_id as r, data->>'summary' as t from {table} \
             where status is distinct from 'cancelled'"
        );
        let rows = self.sql(&query).await.into_iter();
        rows.map(|row| {
            let original_start = either(&row["original_start_date"], &row["original_start_at"]);
            let event = ExpectedEvent {
                status: text(&row["status"]).to_owned(),
                start: moment(either(&row["start_date"], &row["start_at"])),
                end: moment(either(&row["end_date"], &row["end_at"])),
                original_start: Some(moment(original_start)).filter(|text| text != "null"),
                created: row["created"].as_str().map(moment),
                updated: moment(text(&row["updated"])),
                recurring_event_id: row["r"].as_str().map(str::to_owned),
                summary: row["t"].as_str().map(str::to_owned),
            };
            let path = path(&[text(&row["o"]), text(&row["c"]), text(&row["e"])]);
            (path, fact(&event, text(&row["compound_identity"])))
        })
        .collect()
    }

    /// Rows of owners that aren't linked.
    async fn strangers(&self, tree: &Tree, linked: &BTreeSet<String>) -> Vec<String> {
        let mut found = Vec::new();
        for table in tree.tables() {
            let query = format!(
                "select external_owner_id as o, count(*) as n from {table} group by 1 order by 1"
            );
            let rows = self.sql(&query).await.into_iter();
            let strangers = rows.filter(|row| !linked.contains(text(&row["o"])));
            found.extend(strangers.map(|row| format!("{table}: rows of a stranger: {row}")));
        }
        found
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("null")
}

/// A whole day has a date, any other event a time.
fn either<'a>(date: &'a Value, time: &'a Value) -> &'a str {
    text(if date.is_null() { time } else { date })
}

fn path(parts: &[&str]) -> String {
    parts.join(" / ")
}

/// `2026-11-02T10:00:00.001000Z` as the model writes it.
fn moment(text: &str) -> String {
    let Some((seconds, fraction)) = text.split_once('.') else { return text.to_owned() };
    match fraction.trim_end_matches('Z').trim_end_matches('0') {
        "" => format!("{seconds}Z"),
        fraction => format!("{seconds}.{fraction}Z"),
    }
}

fn fact(event: &ExpectedEvent, compound_identity: &str) -> String {
    format!("{compound_identity}: {event:?}")
}

/// Owner, calendar and event in one, as no other three are.
fn identity(owner: &str, calendar: &str, id: &str) -> String {
    let escaped = |part: &str| part.replace('%', "%25").replace('-', "%2D");
    format!("{}-{}-{id}", escaped(owner), escaped(calendar))
}

/// What is told of a calendar that is there.
fn calendar(expected: &ExpectedCalendar) -> Option<String> {
    let zone = expected.time_zone.as_deref().filter(|_| !expected.deleted)?;
    let (title, role) = (expected.summary.as_deref(), expected.access_role.as_str());
    Some(live_in(zone, title, role, expected.hidden))
}

fn live_in(zone: &str, title: Option<&str>, role: &str, is_hidden: bool) -> String {
    format!("live in {zone}: {title:?}, {role}, hidden: {is_hidden}")
}

fn events<'a>(
    owner: &'a str,
    calendar: &'a str,
    events: &'a BTreeMap<String, ExpectedEvent>,
) -> impl Iterator<Item = (String, String)> + 'a {
    events.iter().map(move |(id, event)| {
        (path(&[owner, calendar, id]), fact(event, &identity(owner, calendar, id)))
    })
}

fn compare(model: &Facts, table: &Facts) -> Vec<String> {
    let missing = model.iter().filter(|(path, fact)| table.get(*path) != Some(fact));
    let missing = missing.map(|(path, fact)| {
        let found = table.get(path).map_or("nothing", String::as_str);
        format!("{path}: the model has {fact}, the table {found}")
    });
    let surplus = table.iter().filter(|(path, _)| !model.contains_key(*path));
    missing
        .chain(surplus.map(|(path, fact)| format!("{path}: only the table has {fact}")))
        .collect()
}
