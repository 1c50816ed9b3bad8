//! events.list on the data: tokens, pages, parameters, tombstones.

use serde_json::json;
use simulator::model::TokenScope;
use simulator::model::calendar::Role;
use simulator::model::directory::CalendarSpec;
use simulator::model::generate::Mix;

use crate::setup::{ANA, BO, all, brief, events, model, parsed, reason, series, single};

const WORK: &str = "work@group.calendar.google.com";

#[test]
fn a_delta_holds_what_changed_since_its_token() {
    let mut model = model();
    for (id, day) in [("a1", 2), ("a2", 3), ("a3", 4)] {
        model.add_event(ANA, &single(id, day)).unwrap();
    }
    let (items, token) = all(&model, "");
    assert_eq!(brief(&items), ["a1", "a2", "a3"]);

    model.patch_event(ANA, "a2", &json!({ "summary": "new" })).unwrap();
    model.cancel_event(ANA, "a3").unwrap();
    let (items, token) = all(&model, &format!("syncToken={}", token.unwrap()));
    assert_eq!(brief(&items), ["a2", "a3:cancelled"]);
    let gone = items.iter().find(|item| item["id"] == "a3").unwrap();
    assert_eq!(gone.as_object().unwrap().len(), 4, "only kind, etag, id, status: {gone}");

    let (items, _) = all(&model, &format!("syncToken={}", token.unwrap()));
    assert!(items.is_empty());
}

#[test]
fn tombstones_show_details_only_when_deleted_ones_are_asked_for() {
    let mut model = model();
    model.add_calendar(ANA, &calendar(WORK)).unwrap();
    model.add_event(ANA, &single("gone", 2)).unwrap();
    model.add_event(ANA, &single("moved", 3)).unwrap();
    let (_, token) = all(&model, "showDeleted=true");
    model.cancel_event(ANA, "gone").unwrap();
    model.move_event(ANA, WORK, "moved").unwrap();
    let (items, _) = all(&model, &format!("showDeleted=true&syncToken={}", token.unwrap()));
    assert_eq!(brief(&items), ["gone:cancelled", "moved:cancelled"]);
    for item in &items {
        assert_eq!(item["summary"].is_string(), item["id"] == "gone", "{item}");
    }
    let moved = parsed(&events(&model, ANA, WORK, "").unwrap());
    assert_eq!(brief(&moved), ["moved"]);

    model.undelete_event(ANA, "gone").unwrap();
    assert_eq!(brief(&all(&model, "").0), ["gone"]);
}

#[test]
fn changes_between_pages_are_in_the_next_delta() {
    let mut model = model();
    model.generate_events(ANA, 9, Mix::Singles).unwrap();
    let first = events(&model, ANA, ANA, "maxResults=5").unwrap();
    let changed = parsed(&first)[0]["id"].as_str().unwrap().to_owned();
    model.cancel_event(ANA, &changed).unwrap();
    let page = first.next_page_token.unwrap();
    let last = events(&model, ANA, ANA, &format!("maxResults=5&pageToken={page}")).unwrap();
    assert_eq!((first.items.len(), last.items.len()), (5, 4));
    let token = last.next_sync_token.unwrap();
    let delta = events(&model, ANA, ANA, &format!("maxResults=5&syncToken={token}")).unwrap();
    assert_eq!(brief(&parsed(&delta)), [format!("{changed}:cancelled")]);
}

#[test]
fn only_the_last_page_has_a_sync_token_and_some_listings_have_none() {
    let mut model = model();
    model.generate_events(ANA, 8, Mix::Singles).unwrap();
    let first = events(&model, ANA, ANA, "maxResults=5").unwrap();
    assert!(first.next_page_token.is_some() && first.next_sync_token.is_none());
    for (query, has_token) in [
        ("timeMin=2026-01-01T00:00:00Z", true),
        ("showDeleted=true&singleEvents=true", true),
        ("singleEvents=true&orderBy=startTime", false),
        ("orderBy=updated", false),
        ("q=budget", false),
        ("iCalUID=x", false),
        ("updatedMin=2026-11-01T00:00:00Z", false),
        ("privateExtendedProperty=a%3Db", false),
    ] {
        let page = events(&model, ANA, ANA, query).unwrap();
        assert_eq!(page.next_sync_token.is_some(), has_token, "{query}");
        assert_eq!(page.next_page_token, None, "{query}");
    }
}

#[test]
fn a_sync_token_is_bound_to_all_that_it_depends_on() {
    let mut model = model();
    model.create_user(BO);
    model.share_calendar(ANA, BO, Role::Reader).unwrap();
    model.add_calendar(ANA, &calendar(WORK)).unwrap();
    let token = events(&model, ANA, ANA, "").unwrap().next_sync_token.unwrap();
    let gone = (410, "fullSyncRequired");
    for (user, calendar, query, wanted) in [
        (BO, ANA, "", gone),
        (ANA, WORK, "", gone),
        (ANA, ANA, "maxResults=100", gone),
        (ANA, ANA, "singleEvents=true", gone),
        (ANA, ANA, "maxAttendees=1", gone),
        (ANA, ANA, "timeZone=Asia/Tokyo", gone),
        (ANA, ANA, "timeMin=2026-01-01T00:00:00Z", (400, "badRequest")),
        (ANA, ANA, "timeMax=2026-01-01T00:00:00Z", (400, "badRequest")),
        (ANA, ANA, "orderBy=updated", (400, "badRequest")),
        (ANA, ANA, "q=x", (400, "badRequest")),
        (ANA, ANA, "iCalUID=x", (400, "badRequest")),
        (ANA, ANA, "updatedMin=2026-01-01T00:00:00Z", (400, "badRequest")),
        (ANA, ANA, "sharedExtendedProperty=x", (400, "badRequest")),
        (ANA, ANA, "showDeleted=false", (400, "badRequest")),
    ] {
        let query = format!("{query}&syncToken={token}");
        let error = events(&model, user, calendar, &query).unwrap_err();
        assert_eq!(reason(&error), wanted, "{user} {calendar} {query}");
    }
    for query in ["", "maxResults=250", "singleEvents=false", "showDeleted=true"] {
        assert!(events(&model, ANA, ANA, &format!("{query}&syncToken={token}")).is_ok(), "{query}");
    }
}

#[test]
fn sync_tokens_end_with_a_change_of_access_or_on_command() {
    let mut model = model();
    model.create_user(BO);
    let token = |model: &simulator::model::Model| {
        events(model, ANA, ANA, "").unwrap().next_sync_token.unwrap()
    };
    let refused = |model: &simulator::model::Model, token: &str| {
        let error = events(model, ANA, ANA, &format!("syncToken={token}")).err();
        error.map(|error| reason(&error))
    };
    let old = token(&model);
    assert_eq!(refused(&model, &old), None);
    model.set_role(ANA, BO, Role::Reader).unwrap();
    assert_eq!(refused(&model, &old), Some((410, "fullSyncRequired")));
    for scope in [TokenScope::All, TokenScope::Calendar(ANA.to_owned())] {
        let old = token(&model);
        assert_eq!(refused(&model, &old), None);
        model.expire_sync_tokens(&scope).unwrap();
        assert_eq!(refused(&model, &old), Some((410, "fullSyncRequired")), "{scope:?}");
    }
    assert_eq!(refused(&model, "rubbish"), Some((400, "invalid")));
}

#[test]
fn a_delta_can_end_in_the_middle() {
    let mut model = model();
    let token = events(&model, ANA, ANA, "maxResults=3").unwrap().next_sync_token.unwrap();
    model.generate_events(ANA, 8, Mix::Singles).unwrap();
    let query = format!("maxResults=3&syncToken={token}");
    let page = events(&model, ANA, ANA, &query).unwrap().next_page_token.unwrap();
    model.expire_sync_tokens(&TokenScope::All).unwrap();
    let error = events(&model, ANA, ANA, &format!("{query}&pageToken={page}")).unwrap_err();
    assert_eq!(reason(&error), (410, "fullSyncRequired"));
}

#[test]
fn page_tokens_want_the_same_request() {
    let mut model = model();
    model.generate_events(ANA, 8, Mix::Singles).unwrap();
    let page = events(&model, ANA, ANA, "maxResults=5").unwrap().next_page_token.unwrap();
    for query in [
        format!("maxResults=4&pageToken={page}"),
        format!("maxResults=5&singleEvents=true&pageToken={page}"),
        "maxResults=5&pageToken=rubbish".to_owned(),
    ] {
        let error = events(&model, ANA, ANA, &query).unwrap_err();
        assert_eq!(reason(&error), (400, "invalid"), "{query}");
    }
}

#[test]
fn bad_parameters_are_refused() {
    let model = model();
    for (query, wanted) in [
        ("maxResults=0", (400, "invalid")),
        ("maxResults=x", (400, "invalid")),
        ("singleEvents=1", (400, "invalid")),
        ("orderBy=startTime", (400, "invalid")),
        ("timeZone=Mars", (400, "invalid")),
        ("timeMin=today", (400, "badRequest")),
        ("timeMin=2026-02-01T00:00:00Z&timeMax=2026-01-01T00:00:00Z", (400, "timeRangeEmpty")),
        ("updatedMin=2026-01-01T00:00:00Z", (410, "updatedMinTooLongAgo")),
    ] {
        let error = events(&model, ANA, ANA, query).unwrap_err();
        assert_eq!(reason(&error), wanted, "{query}");
    }
    let error = events(&model, ANA, "nobody", "").unwrap_err();
    assert_eq!(reason(&error), (404, "notFound"));
    assert!(events(&model, ANA, ANA, "maxResults=99999").is_ok(), "larger values are capped");
}

#[test]
fn filters_select() {
    let mut model = model();
    let mut titled = single("titled", 2);
    titled["summary"] = json!("Quarterly Budget");
    titled["extendedProperties"] = json!({ "private": { "a": "b" } });
    titled["eventType"] = json!("outOfOffice");
    model.add_event(ANA, &titled).unwrap();
    model.add_event(ANA, &single("late", 20)).unwrap();
    model.add_event(ANA, &series("weekly", 4, "FREQ=WEEKLY;COUNT=4")).unwrap();
    for (query, ids) in [
        ("q=budget", vec!["titled"]),
        ("eventTypes=outOfOffice", vec!["titled"]),
        ("privateExtendedProperty=a=b", vec!["titled"]),
        ("iCalUID=late@google.com", vec!["late"]),
        ("timeMax=2026-11-03T00:00:00Z", vec!["titled"]),
        ("timeMin=2026-11-19T00:00:00Z", vec!["late", "weekly"]),
        ("timeMin=2026-11-19T00:00:00Z&singleEvents=true", vec!["late", "weekly_20261125T100000Z"]),
    ] {
        assert_eq!(brief(&all(&model, query).0), ids, "{query}");
    }
}

#[test]
fn reminders_change_silently() {
    let mut model = model();
    model.add_event(ANA, &single("a", 2)).unwrap();
    let (before, token) = all(&model, "");
    model.patch_event(ANA, "a", &json!({ "reminders": { "useDefault": false } })).unwrap();
    let (after, _) = all(&model, &format!("syncToken={}", token.unwrap()));
    assert_eq!(after[0]["updated"], before[0]["updated"]);
    assert_eq!(after[0]["reminders"]["useDefault"], false);
}

#[test]
fn a_free_busy_reader_sees_times_of_instances_only() {
    let mut model = model();
    model.create_user(BO);
    model.add_event(ANA, &series("weekly", 4, "FREQ=WEEKLY;COUNT=2")).unwrap();
    model.share_calendar(ANA, BO, Role::FreeBusyReader).unwrap();
    let items = parsed(&events(&model, BO, ANA, "").unwrap());
    assert_eq!(brief(&items), ["weekly_20261104T100000Z", "weekly_20261111T100000Z"]);
    assert!(items[0]["summary"].is_null() && items[0]["start"]["dateTime"].is_string());
}

#[test]
fn some_calendars_leave_deletions_out_of_deltas() {
    let mut model = model();
    let id = "book#contacts@group.v.calendar.google.com";
    model.add_calendar(ANA, &calendar(id)).unwrap();
    model.add_event(id, &single("a", 2)).unwrap();
    let token = events(&model, ANA, id, "").unwrap().next_sync_token.unwrap();
    model.cancel_event(id, "a").unwrap();
    model.add_event(id, &single("b", 3)).unwrap();
    let delta = events(&model, ANA, id, &format!("syncToken={token}")).unwrap();
    assert_eq!(brief(&parsed(&delta)), ["b"]);
}

#[test]
fn strange_contents_survive() {
    let mut model = model();
    let mut strange = single("strange", 2);
    strange["created"] = json!("0000-12-31T00:00:00Z");
    strange["summary"] = json!("nul \u{0} and \u{202e}");
    strange["fromTheFuture"] = json!({ "a": [1.5, null] });
    model.add_event(ANA, &strange).unwrap();
    let page = events(&model, ANA, ANA, "").unwrap();
    assert!(page.items[0].contains("\\u0000"), "{}", page.items[0]);
    let item = &parsed(&page)[0];
    for name in ["created", "summary", "fromTheFuture"] {
        assert_eq!(item[name], strange[name]);
    }
}

#[test]
fn attendees_are_cut_on_request() {
    let mut model = model();
    let mut event = single("a", 2);
    event["attendees"] = json!([{ "email": "x@example.com" }, { "email": "y@example.com" }]);
    model.add_event(ANA, &event).unwrap();
    let (items, _) = all(&model, "maxAttendees=1");
    assert_eq!(items[0]["attendees"].as_array().unwrap().len(), 1);
    assert_eq!(items[0]["attendeesOmitted"], true);
}

#[test]
fn generating_is_reproducible_and_varied() {
    let make = || {
        let mut model = model();
        model.generate_events(ANA, 3_000, Mix::Mixed).unwrap();
        all(&model, "maxResults=2500&showDeleted=true").0
    };
    let items = make();
    assert_eq!(items, make());
    assert_eq!(items.len(), 3_000);
    for field in ["recurrence", "recurringEventId", "somethingNew"] {
        assert!(items.iter().any(|item| !item[field].is_null()), "{field}");
    }
    let bytes: usize = items.iter().map(|item| item.to_string().len()).sum();
    assert!((900..1_600).contains(&(bytes / items.len())), "{}", bytes / items.len());
}

fn calendar(id: &str) -> CalendarSpec {
    CalendarSpec { id: Some(id.to_owned()), ..CalendarSpec::default() }
}
