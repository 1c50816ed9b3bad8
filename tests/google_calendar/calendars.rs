//! Calendars that come, go, or can't be read.

use serde_json::json;
use simulator::model::calendar::Role;
use simulator::model::directory::CalendarSpec;
use simulator::{Then, When};

use crate::setup::{ANA, BO, Case, OWNER, live, series, single};

impl Case {
    /// A calendar of Bo's that Ana may read, with the event `shared`.
    async fn shared(role: Role) -> (Self, String) {
        let case = Self::linked().await;
        let id = {
            let mut model = case.simulator.model();
            model.create_user(BO);
            let id = model.add_calendar(BO, &CalendarSpec::default()).unwrap();
            model.share_calendar(&id, ANA, role).unwrap();
            model.add_event(&id, &single("shared", 5)).unwrap();
            id
        };
        case.catch_up().await;
        case.matches().await;
        (case, id)
    }

    /// Live ids in both tables of a calendar.
    async fn in_calendar(&self, id: &str) -> (Vec<String>, Vec<String>) {
        let mut tables = Vec::new();
        for table in [self.tree.events(), self.tree.sources()] {
            let statuses = self.statuses(table, id).await;
            tables.push(live(&statuses).into_iter().map(str::to_owned).collect());
        }
        let source = tables.pop().unwrap_or_default();
        (tables.pop().unwrap_or_default(), source)
    }

    /// What the calendar's row has of its entry in the list.
    async fn entry(&self, id: &str) -> serde_json::Value {
        let table = &self.tree.calendar.table;
        let query = format!("select data from {table} where google_id = '{id}'");
        self.sql(&query).await.remove(0)["data"].take()
    }

    /// Path of a calendar's events, as on the wire.
    fn events_of(id: &str) -> When {
        let name = id.split('@').next().unwrap_or_default();
        When::path(&format!("*/calendars/{name}*/events"))
    }
}

fn both(ids: &[&str]) -> (Vec<String>, Vec<String>) {
    let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
    (ids.clone(), ids)
}

#[tokio::test]
async fn ids_with_signs_are_encoded_and_read() {
    let case = Case::linked().await;
    for id in ["en.usa#holiday@group.v.calendar.google.com", "a b%2F+&?=@x"] {
        let spec = CalendarSpec { id: Some(id.to_owned()), ..CalendarSpec::default() };
        case.simulator.model().add_calendar(ANA, &spec).unwrap();
        case.simulator.model().add_event(id, &single("in", 5)).unwrap();
        case.catch_up().await;
        case.matches().await;
        assert_eq!(case.in_calendar(id).await, both(&["in"]), "{id}");
    }
    let paths = case.simulator.requests();
    assert!(paths.iter().any(|seen| seen.path.contains("en.usa%23holiday")));
}

#[tokio::test]
async fn a_calendar_that_leaves_the_list_and_returns() {
    let (case, id) = Case::shared(Role::Reader).await;
    case.simulator.model().remove_from_list(ANA, &id).unwrap();
    case.catch_up().await;
    case.matches().await;
    let query =
        format!("select deleted from {} where google_id = '{id}'", case.tree.calendar.table);
    assert_eq!(case.sql(&query).await, [json!({ "deleted": true })]);
    assert_eq!(case.in_calendar(&id).await, both(&[]));
    assert_eq!(case.statuses(case.tree.events(), &id).await["shared"], "cancelled");
    // What happens meanwhile is seen when it is back, by a full listing.
    case.simulator.model().add_event(&id, &single("later", 6)).unwrap();
    case.simulator.model().add_to_list(ANA, &id).unwrap();
    case.simulator.clear_requests();
    case.catch_up().await;
    case.matches().await;
    assert_eq!(case.sql(&query).await, [json!({ "deleted": false })]);
    assert_eq!(case.in_calendar(&id).await, both(&["later", "shared"]));
    assert!(case.listings().contains(&"events full".to_owned()));
}

#[tokio::test]
async fn a_calendar_that_is_deleted() {
    let (case, id) = Case::shared(Role::Writer).await;
    let before = case.calendars(&case.tree, OWNER).await;
    case.simulator.model().delete_calendar(&id).unwrap();
    case.catch_up().await;
    case.matches().await;
    assert_eq!(case.in_calendar(&id).await, both(&[]));
    assert_eq!(live(&case.expanded().await), ["one"], "other calendars stay");
    let after = case.calendars(&case.tree, OWNER).await;
    for (before, after) in before.iter().zip(&after) {
        // Google's stub knows neither zone nor title.
        assert_eq!(before["time_zone"], after["time_zone"]);
        assert_eq!(before["data"], after["data"]);
        assert_eq!(after["deleted"], after["google_id"] == id.as_str());
    }
}

#[tokio::test]
async fn calendars_that_a_full_list_omits_are_deleted() {
    let (case, id) = Case::shared(Role::Reader).await;
    // The list answers without the calendar and without a stub of it.
    let items = json!([{ "id": ANA, "primary": true, "timeZone": "UTC", "accessRole": "owner" }]);
    let body = json!({ "kind": "calendar#calendarList", "items": items, "nextSyncToken": "x" });
    let list = When::path("*/calendarList").times(1);
    case.fault(list, Then::Answer { status: 200, body: body.to_string() });
    case.read_again().await;
    assert_eq!(case.in_calendar(&id).await, both(&[]));
    assert_eq!(live(&case.expanded().await), ["one"]);
}

#[tokio::test]
async fn a_primary_calendar_that_is_said_to_be_deleted_stays() {
    let case = Case::linked().await;
    let items = json!([{ "id": ANA, "primary": true, "deleted": true }]);
    let body = json!({ "kind": "calendar#calendarList", "items": items, "nextSyncToken": "x" });
    let list = When::path("*/calendarList").times(1);
    let fault = case.fault(list, Then::Answer { status: 200, body: body.to_string() });
    case.read_again().await;
    assert_eq!(case.hits(fault), 1);
    assert_eq!(live(&case.expanded().await), ["one"]);
    case.matches().await;
}

#[tokio::test]
async fn a_role_that_was_lowered_takes_details_away() {
    let (case, id) = Case::shared(Role::Writer).await;
    let private = || async {
        let query = format!(
            "select data from {} where google_calendar_id = '{id}' and status <> 'cancelled'",
            case.tree.events()
        );
        case.sql(&query).await[0]["data"]["summary"].clone()
    };
    assert_eq!(private().await, "shared");
    // Deltas of the list of calendars never say so; sync tokens of the events end.
    case.simulator.model().set_role(&id, ANA, Role::FreeBusyReader).unwrap();
    case.simulator.clear_requests();
    case.catch_up().await;
    case.matches().await;
    assert_eq!(private().await, json!(null), "what may no longer be seen is gone");
    // The list has the last word on roles, so it was read in full.
    let listings = case.listings();
    assert!(listings.contains(&"calendars full".to_owned()), "{listings:?}");
    assert_eq!(case.entry(&id).await["accessRole"], "freeBusyReader");
}

#[tokio::test]
async fn whoever_sees_only_times_keeps_no_ghosts_of_series() {
    let (case, id) = Case::shared(Role::FreeBusyReader).await;
    case.simulator.model().add_event(&id, &series("abc", 3, "FREQ=DAILY")).unwrap();
    case.catch_up().await;
    case.matches().await;
    let (expanded, source) = case.in_calendar(&id).await;
    assert_eq!((expanded.len(), source.len()), (731, 731), "the source feed is expanded, too");
    {
        let mut model = case.simulator.model();
        model.delete_series(&id, "abc").unwrap();
        let rules = ["RRULE:FREQ=DAILY;COUNT=2".to_owned()];
        model.make_recurring(&id, "shared", &rules).unwrap();
    }
    case.catch_up().await;
    case.matches().await;
    let left = both(&["shared_20261105T100000Z", "shared_20261106T100000Z"]);
    assert_eq!(case.in_calendar(&id).await, left);
}

#[tokio::test]
async fn a_calendar_s_row_follows_its_entry() {
    let case = Case::linked().await;
    let id = case.simulator.model().add_calendar(ANA, &CalendarSpec::default()).unwrap();
    case.catch_up().await;
    let unnamed = case.entry(&id).await;
    assert_eq!((&unnamed["summaryOverride"], &unnamed["hidden"]), (&json!(null), &json!(null)));
    {
        let mut model = case.simulator.model();
        model.rename_calendar(&id, "Work").unwrap();
        model.set_summary_override(ANA, &id, Some("My work")).unwrap();
        model.set_hidden(ANA, &id, true).unwrap();
    }
    case.simulator.clear_requests();
    case.catch_up().await;
    case.matches().await;
    let named = case.entry(&id).await;
    assert_eq!(named["summary"], "Work");
    assert_eq!(named["summaryOverride"], "My work");
    assert_eq!(named["hidden"], true);
    {
        let mut model = case.simulator.model();
        model.set_summary_override(ANA, &id, None).unwrap();
        model.set_hidden(ANA, &id, false).unwrap();
    }
    case.catch_up().await;
    let shown = case.entry(&id).await;
    assert_eq!((&shown["summaryOverride"], &shown["hidden"]), (&json!(null), &json!(null)));
    let listings = case.listings();
    assert!(!listings.contains(&"calendars full".to_owned()), "{listings:?}");
}

#[tokio::test]
async fn a_calendar_that_is_forbidden_or_not_found_stops_alone() {
    for (answer, status) in [("forbidden", 403), ("requiredAccessLevel", 403), ("notFound", 404)] {
        let (case, id) = Case::shared(Role::Reader).await;
        case.simulator.model().add_event(&id, &single("unseen", 6)).unwrap();
        case.add(single("two", 4));
        let fault = case.fault(Case::events_of(&id), Then::Error(answer.into()));
        case.catch_up().await;
        assert!(case.hits(fault) <= 6, "{answer}: no storm, {} requests", case.hits(fault));
        assert!(case.hits(fault) >= 2);
        assert_eq!(live(&case.expanded().await), ["one", "two"], "{answer}: others go on");
        assert_eq!(case.in_calendar(&id).await, both(&["shared"]), "{answer}: rows stay");
        assert_eq!(case.owner(OWNER).await["state"], "current", "{answer}");
        let streams = case.streams().await.into_iter().filter(|s| s["key"] == id.as_str());
        for stream in streams {
            assert_eq!(stream["state"], "unreadable");
            let reason = stream["reason"].as_str().unwrap_or_default();
            assert!(reason.contains(&status.to_string()), "{reason}");
        }
        case.simulator.clear_faults(None);
        case.catch_up().await;
        case.matches().await;
    }
}

#[tokio::test]
async fn a_time_zone_that_changed_is_taken_from_the_events() {
    let (case, id) = Case::shared(Role::Reader).await;
    case.simulator.model().set_time_zone(&id, "Asia/Tokyo").unwrap();
    case.simulator.model().add_event(&id, &single("later", 6)).unwrap();
    case.catch_up().await;
    case.matches().await;
    assert_eq!(case.entry(&id).await["timeZone"], "Asia/Tokyo");
}

/// The list's deltas tell only a calendar's owners of it.
#[tokio::test]
async fn a_shared_calendar_that_was_renamed_has_its_new_title() {
    let (case, id) = Case::shared(Role::Reader).await;
    case.simulator.model().set_summary_override(ANA, &id, Some("mine")).unwrap();
    case.catch_up().await;
    case.simulator.model().rename_calendar(&id, "theirs").unwrap();
    case.simulator.clear_requests();
    case.catch_up().await;
    case.matches().await;
    let entry = case.entry(&id).await;
    assert_eq!((&entry["summary"], &entry["summaryOverride"]), (&json!("theirs"), &json!("mine")));
    let listings = case.listings();
    assert!(listings.iter().all(|listing| listing.ends_with("delta")), "{listings:?}");
}

#[tokio::test]
async fn contacts_are_always_read_in_full_and_swept() {
    let case = Case::linked().await;
    let id = "addressbook#contacts@group.v.calendar.google.com";
    {
        let mut model = case.simulator.model();
        let spec = CalendarSpec { id: Some(id.to_owned()), ..CalendarSpec::default() };
        model.add_calendar(ANA, &spec).unwrap();
        model.add_event(id, &single("b1", 5)).unwrap();
        model.add_event(id, &single("b2", 6)).unwrap();
    }
    case.catch_up().await;
    assert_eq!(case.in_calendar(id).await, both(&["b1", "b2"]));
    // Deltas of such a calendar would hide this.
    case.simulator.model().cancel_event(id, "b1").unwrap();
    case.simulator.clear_requests();
    case.catch_up().await;
    case.matches().await;
    assert_eq!(case.in_calendar(id).await, both(&["b2"]));
    let requests = case.simulator.requests();
    let mut of_contacts = requests.iter().filter(|seen| seen.path.contains("contacts"));
    assert!(of_contacts.clone().count() >= 2);
    assert!(of_contacts.all(|seen| !seen.query.contains("syncToken")));
}

#[tokio::test]
async fn hidden_calendars_are_read_too() {
    let (case, id) = Case::shared(Role::Reader).await;
    case.simulator.model().set_hidden(ANA, &id, true).unwrap();
    case.simulator.model().add_event(&id, &single("later", 6)).unwrap();
    case.read_again().await;
    case.matches().await;
    assert_eq!(case.in_calendar(&id).await, both(&["later", "shared"]));
}
