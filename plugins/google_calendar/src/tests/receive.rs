//! The backend's posts.

use rowgate_plugin::testing::{StreamChange, webhook};
use rowgate_plugin::{Failure, Plugin, Result};
use serde_json::json;

use super::{GOOGLE_CALENDAR_LIST_V1, World, calendars, text};
use crate::GoogleCalendar;
use crate::manifest::services::GOOGLE_CALENDAR_LIST_V1 as LIST;

fn post(world: &World, body: impl ToString) -> Result<()> {
    GoogleCalendar::receive(&world.cx(LIST), &webhook(body))
}

#[test]
fn each_spelling_of_each_verb() {
    let cases: [(&str, &[&str], bool, bool); 7] = [
        ("LINK", &["link"], true, true),
        ("LINKED", &["link"], true, true),
        ("REFRESH", &["link"], true, false),
        ("REFRESHED", &["link"], true, false),
        ("UNLINK", &["unlink"], false, false),
        ("UNLINKED", &["unlink"], false, false),
        ("RESYNC", &["resync"], false, false),
    ];
    for (verb, owners, writes_row, resets) in cases {
        let mut world = World::new();
        let body = json!({"type": verb, "external_owner_id": "owner", "refresh_token": null});
        post(&world, body).unwrap();
        let did = world.host.take();
        assert_eq!(did.owners, owners, "{verb}");
        let reset = if resets { vec![StreamChange::Reset(calendars())] } else { vec![] };
        assert_eq!(did.streams, reset, "{verb}");
        world.tables.commit(&did.writes);
        let rows = world.tables.rows(GOOGLE_CALENDAR_LIST_V1);
        let data: Vec<_> = rows.iter().map(|row| text(row, "data").unwrap()).collect();
        assert_eq!(data, if writes_row { vec!["{}"] } else { vec![] }, "{verb}");
        assert_eq!(world.host.requests(), [], "{verb}");
    }
}

#[test]
fn what_the_body_schema_would_refuse_is_a_bug() {
    for body in ["{}", r#"{"type":"linked"}"#, r#"{"type":null}"#, "[]", "LINKED"] {
        let world = World::new();
        assert!(matches!(post(&world, body), Err(Failure::Bug(_))), "{body}");
        assert_eq!(world.host.take(), Default::default(), "{body}");
    }
}
