//! What subscribers are posted: one row each, as receivers of WebhookDB know it; and that an owner's
//! first sync is complete, to those who ask for it.

use std::fmt::Write as _;

use axum::http::{HeaderMap, HeaderValue};

use super::deliver::post::{ask, headers};
use super::destination::Destination;
use super::payload::{Payload, id, place, push_key};
use crate::egress::Poster;
use crate::rows::{TableSpec, push_object, push_text, timestamp_text};
use crate::store::feed::{Bookmark, Change, Page};
use crate::store::synced::SyncedOwner;
use crate::store::targets::Target;

/// What a page comes to: nothing for deletions that weren't asked for.
pub(super) fn payloads(target: &Target, spec: &TableSpec, page: &Page) -> Vec<Payload> {
    let told = page.changes.iter().filter(|change| target.deletions || change.row.is_some());
    told.map(|change| changed(target, spec, change)).collect()
}

fn changed(target: &Target, spec: &TableSpec, change: &Change) -> Payload {
    let mut body = String::from("{\"service_name\":");
    push_text(&mut body, &target.service);
    body.push_str(",\"table_name\":");
    push_text(&mut body, &target.table_name);
    body.push_str(",\"row\":");
    match &change.row {
        Some(row) => push_object(&mut body, spec, row),
        None => body.push_str("null,\"deleted\":true"),
    }
    body.push_str(",\"external_id\":");
    push_key(&mut body, spec, change);
    body.push_str(",\"external_id_column\":");
    push_text(&mut body, &spec.unique_column().name);
    body.push('}');
    with_id(target, body, change.after.clone())
}

/// An owner's first sync is complete. It follows all rows that were there then.
pub(super) fn synced(target: &Target, owner: &SyncedOwner, at: &Bookmark) -> Payload {
    let mut body = String::from("{\"event\":\"synced\"");
    let synced_at = timestamp_text(owner.synced_at).unwrap_or_default();
    for (name, text) in [
        ("external_owner_id", owner.external_owner_id.as_str()),
        ("service_name", &target.service),
        ("table_name", &target.table_name),
        ("integration_id", &target.integration_id),
        ("synced_at", &synced_at),
    ] {
        let _infallible = write!(body, ",\"{name}\":");
        push_text(&mut body, text);
    }
    body.push('}');
    // Where the target stands is no part of it: a repetition is known by its id.
    let id = id(target, "synced", 0, &body);
    Payload { id, is_synced: true, ..with_id(target, body, at.clone()) }
}

fn with_id(target: &Target, body: String, end: Bookmark) -> Payload {
    let (epoch, number) = place(&end);
    let id = id(target, &epoch, number, &body);
    Payload { id, body, epoch, number, end, rows: 1, is_synced: false }
}

/// Adds what receivers know a post by. False: the secret can't be sent.
pub(super) fn say(headers: &mut HeaderMap, secret: &str, attempt: i64, is_synced: bool) -> bool {
    let Ok(mut secret) = HeaderValue::from_str(secret) else { return false };
    secret.set_sensitive(true);
    headers.insert("whdb-webhook-secret", secret);
    headers.insert("whdb-attempt", HeaderValue::from(attempt));
    if is_synced {
        headers.insert("whdb-event", HeaderValue::from_static("synced"));
    }
    true
}

/// Posts a test event to a subscriber. `of`: service and table that it names.
///
/// # Errors
/// Why it wasn't taken, without secrets.
pub async fn test(
    poster: &Poster,
    destination: &Destination,
    secret: &str,
    of: (&str, &str),
) -> Result<(), String> {
    let mut headers = headers(destination);
    headers.insert("whdb-test-event", HeaderValue::from_static("1"));
    if !say(&mut headers, secret, 1, false) {
        return Err("the secret can't be sent in a header".into());
    }
    let mut body = String::from("{\"service_name\":");
    push_text(&mut body, of.0);
    body.push_str(",\"table_name\":");
    push_text(&mut body, of.1);
    body.push_str(",\"row\":{},\"external_id\":\"test\",\"external_id_column\":\"external_id\"}");
    ask(poster, destination, headers, body).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::payload::tests::{page, target, tickets};

    const ROWS: [(i64, i64, Option<&str>); 3] =
        [(7, 70, None), (1, 10, Some("a")), (2, 20, Some("b\""))];

    #[test]
    fn each_row_is_a_post() {
        let of = |deletions| payloads(&target(deletions), &tickets(), &page(&ROWS, None));
        let bodies = of(false).into_iter().map(|one| one.body).collect::<Vec<_>>();
        assert_eq!(
            bodies,
            [
                r#"{"service_name":"ticket_v1","table_name":"ticket_v1_ab12","row":{"pk":1,"number":10,"title":"a"},"external_id":10,"external_id_column":"number"}"#,
                r#"{"service_name":"ticket_v1","table_name":"ticket_v1_ab12","row":{"pk":2,"number":20,"title":"b\""},"external_id":20,"external_id_column":"number"}"#,
            ]
        );
        let with_deletions = of(true);
        assert_eq!(with_deletions.len(), 3);
        assert_eq!(
            with_deletions[0].body,
            r#"{"service_name":"ticket_v1","table_name":"ticket_v1_ab12","row":null,"deleted":true,"external_id":70,"external_id_column":"number"}"#
        );
        let ids: std::collections::BTreeSet<_> = with_deletions.iter().map(|one| &one.id).collect();
        assert_eq!(ids.len(), 3);
    }

    #[test]
    fn who_is_synced_is_named() {
        let owner =
            SyncedOwner { owner_id: 1, external_owner_id: "a\"b".into(), synced_at: 1_000_001 };
        let said = synced(&target(false), &owner, &Bookmark::behind("e", 9));
        assert_eq!(
            said.body,
            r#"{"event":"synced","external_owner_id":"a\"b","service_name":"ticket_v1","table_name":"ticket_v1_ab12","integration_id":"svi_1","synced_at":"1970-01-01T00:00:01.000001Z"}"#
        );
        assert!(said.is_synced);
        assert_eq!((said.number, said.end), (9, Bookmark::behind("e", 9)));
    }

    #[test]
    fn what_receivers_know_a_post_by() {
        let mut headers = HeaderMap::new();
        assert!(say(&mut headers, "hush", 3, true));
        let found = |name: &str| headers.get(name).unwrap().to_str().unwrap();
        assert_eq!((found("whdb-webhook-secret"), found("whdb-attempt")), ("hush", "3"));
        assert_eq!(found("whdb-event"), "synced");
        assert!(!format!("{headers:?}").contains("hush"));
        assert!(!say(&mut headers, "a\nb", 1, false));
    }
}
