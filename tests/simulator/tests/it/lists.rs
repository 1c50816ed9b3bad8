//! calendarList.list on the data: stubs, hidden entries, and changes that deltas don't show.

use serde_json::Value;
use simulator::model::Model;
use simulator::model::TokenScope;
use simulator::model::calendar::Role;
use simulator::model::directory::CalendarSpec;

use crate::setup::{ANA, BO, calendars, model, parsed, reason};

const WORK: &str = "en.usa#holiday@group.v.calendar.google.com";

fn two_users() -> Model {
    let mut model = model();
    model.create_user(BO);
    let spec = CalendarSpec { id: Some(WORK.to_owned()), ..CalendarSpec::default() };
    model.add_calendar(ANA, &spec).unwrap();
    model.share_calendar(WORK, BO, Role::Writer).unwrap();
    model
}

fn list(model: &Model, user: &str, query: &str) -> Vec<Value> {
    parsed(&calendars(model, user, query).unwrap())
}

/// Ids in a user's delta after a change.
fn delta(model: &mut Model, user: &str, change: impl FnOnce(&mut Model)) -> Vec<Value> {
    let token = calendars(model, user, "").unwrap().next_sync_token.unwrap();
    change(model);
    list(model, user, &format!("syncToken={token}"))
}

#[test]
fn removed_entries_are_stubs() {
    let mut model = two_users();
    let items = delta(&mut model, ANA, |model| model.remove_from_list(ANA, WORK).unwrap());
    let stub = items[0].as_object().unwrap();
    let fields: Vec<&String> = stub.keys().collect();
    assert_eq!(fields, ["defaultReminders", "deleted", "etag", "id", "kind"]);
    assert_eq!(list(&model, ANA, "").len(), 1);
    assert_eq!(list(&model, ANA, "showDeleted=true").len(), 2);
    let items = delta(&mut model, ANA, |model| model.add_to_list(ANA, WORK).unwrap());
    assert_eq!((items[0]["id"].as_str(), items[0]["deleted"].is_null()), (Some(WORK), true));
}

#[test]
fn read_only_changes_are_invisible_to_deltas() {
    let mut model = two_users();
    let downgrade = |model: &mut Model| model.set_role(WORK, BO, Role::FreeBusyReader).unwrap();
    assert!(delta(&mut model, BO, downgrade).is_empty());
    let rename = |model: &mut Model| model.rename_calendar(WORK, "new").unwrap();
    assert!(delta(&mut model, BO, rename).is_empty());
    assert_eq!(delta(&mut model, ANA, rename).len(), 1);
    let zone = |model: &mut Model| model.set_time_zone(WORK, "Asia/Tokyo").unwrap();
    assert!(delta(&mut model, BO, zone).is_empty());

    let entry = list(&model, BO, "").into_iter().find(|entry| entry["id"] == WORK).unwrap();
    assert_eq!(entry["accessRole"], "freeBusyReader");
    assert_eq!((&entry["summary"], &entry["timeZone"]), (&"new".into(), &"Asia/Tokyo".into()));

    let unshare = |model: &mut Model| model.set_role(WORK, BO, Role::None).unwrap();
    assert_eq!(delta(&mut model, BO, unshare)[0]["deleted"], true);
}

#[test]
fn a_deleted_calendar_leaves_every_list() {
    let mut model = two_users();
    let delete = |model: &mut Model| model.delete_calendar(WORK).unwrap();
    assert_eq!(delta(&mut model, BO, delete)[0]["deleted"], true);
    assert_eq!(list(&model, ANA, "").len(), 1);
    assert!(model.expected().users[ANA][WORK].deleted);
}

#[test]
fn hidden_entries_show_on_request_and_in_deltas() {
    let mut model = two_users();
    let hide = |model: &mut Model| model.set_hidden(BO, WORK, true).unwrap();
    assert_eq!(delta(&mut model, BO, hide)[0]["hidden"], true);
    assert_eq!(list(&model, BO, "").len(), 1);
    assert_eq!(list(&model, BO, "showHidden=true").len(), 2);
    assert_eq!(list(&model, ANA, "").len(), 2, "hidden for Bo alone");
    model.set_summary_override(BO, WORK, Some("mine")).unwrap();
    let entry = model.calendar_entry(BO, WORK).unwrap();
    assert!(entry.contains(r#""summaryOverride":"mine""#), "{entry}");
}

#[test]
fn pages_and_filters() {
    let model = two_users();
    let first = calendars(&model, ANA, "maxResults=1").unwrap();
    assert!(first.next_sync_token.is_none());
    let token = first.next_page_token.unwrap();
    let last = calendars(&model, ANA, &format!("maxResults=1&pageToken={token}")).unwrap();
    assert_eq!((last.items.len(), last.next_sync_token.is_some()), (1, true));
    assert_eq!(list(&model, BO, "minAccessRole=owner").len(), 1);
}

#[test]
fn tokens_are_strict() {
    let mut model = two_users();
    let token = calendars(&model, ANA, "").unwrap().next_sync_token.unwrap();
    for (user, query, wanted) in [
        (BO, "", (410, "fullSyncRequired")),
        (ANA, "maxResults=7", (410, "fullSyncRequired")),
        (ANA, "minAccessRole=owner", (400, "badRequest")),
        (ANA, "showOwnOrganizationOnly=true", (400, "badRequest")),
        (ANA, "showDeleted=false", (400, "badRequest")),
        (ANA, "showHidden=false", (400, "badRequest")),
    ] {
        let query = format!("{query}&syncToken={token}");
        let error = calendars(&model, user, &query).unwrap_err();
        assert_eq!(reason(&error), wanted, "{query}");
    }
    model.expire_sync_tokens(&TokenScope::CalendarList(ANA.to_owned())).unwrap();
    let error = calendars(&model, ANA, &format!("syncToken={token}")).unwrap_err();
    assert_eq!(reason(&error), (410, "fullSyncRequired"));
}
