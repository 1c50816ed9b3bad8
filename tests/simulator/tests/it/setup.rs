//! Short forms of what every test of the data needs.

use serde_json::{Value, json};
use simulator::model::Model;
use simulator::model::calendar_list::ListQuery;
use simulator::model::error::ApiError;
use simulator::model::feed::Page;
use simulator::model::query::{EventQuery, Params};

pub(crate) const NOW_US: i64 = 1_793_577_600_000_000; // 2026-11-02T00:00:00Z
pub(crate) const ANA: &str = "ana@example.com";
pub(crate) const BO: &str = "bo@example.com";

/// A model with one user, whose primary calendar is empty.
pub(crate) fn model() -> Model {
    let mut model = Model::new(7, NOW_US);
    model.create_user(ANA);
    model
}

/// `a=b&c=d`, without escapes.
pub(crate) fn params(text: &str) -> Params {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    Params(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

pub(crate) fn events(
    model: &Model,
    user: &str,
    calendar: &str,
    text: &str,
) -> Result<Page, ApiError> {
    model.list_events(user, calendar, &EventQuery::parse(params(text))?, None)
}

pub(crate) fn calendars(model: &Model, user: &str, text: &str) -> Result<Page, ApiError> {
    model.list_calendars(user, &ListQuery::parse(params(text))?, None)
}

/// Every page of a listing of Ana's primary calendar, and the sync token at its end.
pub(crate) fn all(model: &Model, text: &str) -> (Vec<Value>, Option<String>) {
    let mut items = Vec::new();
    let mut page = events(model, ANA, ANA, text).unwrap();
    loop {
        items.extend(parsed(&page));
        match &page.next_page_token {
            Some(token) => {
                page = events(model, ANA, ANA, &format!("{text}&pageToken={token}")).unwrap();
            }
            None => return (items, page.next_sync_token),
        }
    }
}

pub(crate) fn parsed(page: &Page) -> Vec<Value> {
    page.items.iter().map(|item| serde_json::from_str(item).unwrap()).collect()
}

/// `id` or `id:status` where the status isn't confirmed, sorted.
pub(crate) fn brief(items: &[Value]) -> Vec<String> {
    let text = |item: &Value, name: &str| item[name].as_str().unwrap_or_default().to_owned();
    let mut brief: Vec<String> = items
        .iter()
        .map(|item| match text(item, "status").as_str() {
            "confirmed" => text(item, "id"),
            status => format!("{}:{status}", text(item, "id")),
        })
        .collect();
    brief.sort();
    brief
}

/// A one-hour event on a day of November 2026.
pub(crate) fn single(id: &str, day: u32) -> Value {
    json!({
        "id": id, "summary": id,
        "start": { "dateTime": format!("2026-11-{day:02}T10:00:00Z") },
        "end": { "dateTime": format!("2026-11-{day:02}T11:00:00Z") },
    })
}

/// The same, with a rule.
pub(crate) fn series(id: &str, day: u32, rule: &str) -> Value {
    let mut event = single(id, day);
    event["recurrence"] = json!([format!("RRULE:{rule}")]);
    event
}

pub(crate) fn reason(error: &ApiError) -> (u16, &'static str) {
    (error.status, error.legacy.map_or("", |(_, reason)| reason))
}
