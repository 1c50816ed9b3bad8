use super::*;
use crate::rows::Value;
use crate::rows::fixture::spec;
use crate::store::feed::{CopyPart, Page};
use crate::store::targets::Kind;

pub(in crate::delivery) fn target(deletions: bool) -> Target {
    Target {
        id: "syt_1".into(),
        organization_id: 1,
        integration_id: "svi_1".into(),
        service: "ticket_v1".into(),
        plugin: "sample".into(),
        table_name: "ticket_v1_ab12".into(),
        kind: Kind::Http,
        to_schema: String::new(),
        to_table: String::new(),
        subscription_id: None,
        tells_rows: true,
        shown_url: String::new(),
        period_s: 60,
        page_size: 200,
        rows_max: None,
        deletions,
        created_at: 0,
        bookmark: String::new(),
        taken: None,
        rewinds: 0,
        restarts: 0,
        restarted_at: None,
        fence: 3,
        due_at: 0,
        not_before: 0,
        attempts: 0,
        failing_since: None,
        last_error: None,
        last_error_at: None,
        last_synced_at: None,
        last_delivery_ms: None,
        paused: None,
        pause_asked_at: None,
    }
}

pub(in crate::delivery) fn tickets() -> TableSpec {
    let mut spec = spec("ticket_v1");
    spec.columns.retain(|column| ["pk", "number", "title"].contains(&column.name.as_str()));
    spec.unique_key = spec.position("number").unwrap();
    spec
}

/// Each row: pk, number, title or deleted.
pub(in crate::delivery) fn page(
    rows: &[(i64, i64, Option<&'static str>)],
    copy: Option<CopyPart>,
) -> Page {
    let changes = rows.iter().map(|(pk, number, title)| {
        let row = title.map(|title| {
            vec![Value::Integer(*pk), Value::Integer(*number), Value::Text(title.into())]
        });
        Change::new(*pk, number.to_string(), row)
    });
    let (changes, end) = (changes.collect(), Bookmark::behind("e", 9));
    Page { changes, copy, end, more: false }
}

const ROWS: [(i64, i64, Option<&str>); 3] =
    [(7, 70, None), (1, 10, Some("a")), (2, 20, Some("b\""))];

#[test]
fn who_asks_for_rows_alone_gets_what_webhookdb_sends() {
    let payload = payload(&target(false), &tickets(), &page(&ROWS, None), 3, 1_000_001);
    assert_eq!(
        payload.body,
        r#"{"rows":[{"pk":1,"number":10,"title":"a"},{"pk":2,"number":20,"title":"b\""}],"integration_id":"svi_1","integration_service":"ticket_v1","table":"ticket_v1_ab12","sync_timestamp":"1970-01-01T00:00:01.000001+00:00"}"#
    );
    assert_eq!((payload.epoch.as_str(), payload.number), ("e", 9));
    let told = |deletions| told_of(&target(deletions), &page(&ROWS, None));
    assert_eq!((told(false), told(true)), (Some(2), Some(3)));
}

#[test]
fn who_asks_for_deletions_gets_them_beside_the_rows() {
    let copy = CopyPart { id: "c".into(), after_pk: None, last: false };
    let payload = payload(&target(true), &tickets(), &page(&ROWS[..2], Some(copy)), 3, 0);
    assert_eq!(
        payload.body,
        r#"{"rows":[{"pk":1,"number":10,"title":"a"}],"integration_id":"svi_1","integration_service":"ticket_v1","table":"ticket_v1_ab12","key":"number","deleted":[{"pk":7,"number":70}],"copy":{"id":"c","first":true,"last":false},"position":{"epoch":"e","number":9,"fence":3},"sync_timestamp":"1970-01-01T00:00:00.000000+00:00"}"#
    );
    serde_json::from_str::<serde_json::Value>(&payload.body).unwrap();
}

#[test]
fn nothing_is_sent_where_there_is_nothing_to_say() {
    let (gone, nothing) = (page(&ROWS[..1], None), page(&[], None));
    let ended = |last| page(&[], Some(CopyPart { id: "c".into(), after_pk: Some(9), last }));
    for (page, rows_alone, deletions_too) in [
        (&gone, false, true),
        (&nothing, false, false),
        (&ended(true), false, true),
        (&ended(false), false, false),
    ] {
        let told = |deletions| told_of(&target(deletions), page);
        assert_eq!(
            (told(false).is_some(), told(true).is_some()),
            (rows_alone, deletions_too),
            "{page:?}"
        );
    }
}

#[test]
fn a_repetition_has_the_same_id() {
    let of = |target: &Target, rows: &[(i64, i64, Option<&'static str>)], fence, at| {
        payload(target, &tickets(), &page(rows, None), fence, at).id
    };
    let (target, rewound) = (target(true), Target { rewinds: 1, ..target(true) });
    let first = of(&target, &ROWS, 3, 0);
    assert_eq!(first, of(&target, &ROWS, 4, 1), "another holder, another time");
    assert_ne!(first, of(&target, &ROWS[1..], 3, 0), "other content");
    assert_ne!(first, of(&rewound, &ROWS, 3, 0), "it was asked for again");
    assert_eq!(first.len(), "msg_".len() + 32);
}
