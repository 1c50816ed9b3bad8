//! What subscribers are posted: one row each, as receivers of WebhookDB know it; and that an owner's
//! first sync is complete, to those who ask for it.

use std::fmt::Write as _;

use axum::http::{HeaderMap, HeaderValue};
use url::Url;

use super::decision::Outcome;
use super::destination::{DestinationRules, url};
use super::payload::{Payload, id, place, push_key};
use super::receiver::{Receiver, Sent};
use crate::egress::Poster;
use crate::rows::{TableSpec, push_object, push_text, timestamp_text};
use crate::store::feed::{Bookmark, Change, Page};
use crate::store::synced::SyncedOwner;
use crate::store::targets::Target;

/// Who is posted to row by row.
#[derive(Debug)]
pub struct Subscriber {
    receiver: Receiver,
    shape: Shape,
}

/// What a post looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// As receivers of WebhookDB know it.
    Row,
    /// As GitHub takes it, to start workflows of a repository. The secret is a token that may.
    RepositoryDispatch,
}

impl Subscriber {
    /// Checks an address. It may name a user and password.
    ///
    /// # Errors
    /// What is wrong with it, without its secrets.
    pub fn parse(text: &str, rules: DestinationRules) -> Result<Self, String> {
        let url = url(text)?;
        let shape = Shape::of(&url);
        Receiver::parse_open(url, rules).map(|receiver| Self { receiver, shape })
    }

    /// The address as it may be shown.
    pub fn shown(&self) -> String {
        self.receiver.shown()
    }

    /// Posts one of [`changed`] or [`synced`].
    pub(super) async fn take(&self, poster: &Poster, mut sent: Sent<'_>) -> Outcome {
        let Some(own) = self.shape.said(sent.secret, sent.attempt, sent.payload.is_synced) else {
            return Outcome::Unanswered("its secret is broken".into());
        };
        sent.payload.body = self.shape.body(sent.payload.body);
        self.receiver.deliver(poster, sent, own).await
    }

    /// Posts a test event. `of`: service and table that it names.
    ///
    /// # Errors
    /// Why it wasn't taken, without secrets.
    pub async fn test(
        &self,
        poster: &Poster,
        secret: &str,
        of: (&str, &str),
    ) -> Result<(), String> {
        let own = self.shape.said(secret, 1, false);
        let mut own = own.ok_or("has a secret that can't be sent in a header")?;
        own.insert("whdb-test-event", HeaderValue::from_static("1"));
        let mut body = String::from("{\"service_name\":");
        push_text(&mut body, of.0);
        body.push_str(",\"table_name\":");
        push_text(&mut body, of.1);
        body.push_str(
            ",\"row\":{},\"external_id\":\"test\",\"external_id_column\":\"external_id\"}",
        );
        self.receiver.ask(poster, own, self.shape.body(body)).await
    }
}

impl Shape {
    fn of(url: &Url) -> Self {
        let path: Vec<&str> = url.path_segments().into_iter().flatten().collect();
        match (url.host_str(), path.as_slice()) {
            (Some("api.github.com"), ["repos", _, _, "dispatches"]) => Self::RepositoryDispatch,
            _ => Self::Row,
        }
    }

    /// What receivers know a post by. None: the secret can't be sent.
    fn said(self, secret: &str, attempt: i64, is_synced: bool) -> Option<HeaderMap> {
        let mut said = HeaderMap::new();
        let (name, secret) = match self {
            Self::Row => ("whdb-webhook-secret", HeaderValue::from_str(secret)),
            Self::RepositoryDispatch => {
                said.insert("accept", HeaderValue::from_static("application/vnd.github+json"));
                ("authorization", HeaderValue::from_str(&format!("Bearer {secret}")))
            }
        };
        let mut secret = secret.ok()?;
        secret.set_sensitive(true);
        said.insert(name, secret);
        said.insert("whdb-attempt", HeaderValue::from(attempt));
        if is_synced {
            said.insert("whdb-event", HeaderValue::from_static("synced"));
        }
        Some(said)
    }

    fn body(self, said: String) -> String {
        match self {
            Self::Row => said,
            Self::RepositoryDispatch => {
                format!("{{\"event_type\":\"webhook\",\"client_payload\":{said}}}")
            }
        }
    }
}

/// The changes of a page that are posted: no deletions, where they weren't asked for.
pub(super) fn told_of<'p>(target: &Target, page: &'p Page) -> impl Iterator<Item = &'p Change> {
    let deletions = target.deletions;
    page.changes.iter().filter(move |change| deletions || change.row.is_some())
}

/// A row as it stands, or that it is gone.
pub(super) fn changed(target: &Target, spec: &TableSpec, change: &Change) -> Payload {
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
    let (epoch, number) = place(&change.after);
    let id = id(target, &epoch, number, &body);
    Payload { id, body, epoch, number, is_synced: false }
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
    let (epoch, number) = place(at);
    Payload { id, body, epoch, number, is_synced: true }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::payload::tests::{page, target, tickets};

    const ROWS: [(i64, i64, Option<&str>); 3] =
        [(7, 70, None), (1, 10, Some("a")), (2, 20, Some("b\""))];

    #[test]
    fn each_row_is_a_post() {
        let (page, spec) = (page(&ROWS, None), tickets());
        let of = |deletions| -> Vec<Payload> {
            let target = target(deletions);
            told_of(&target, &page).map(|change| changed(&target, &spec, change)).collect()
        };
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
        assert_eq!((said.epoch.as_str(), said.number), ("e", 9));
    }

    #[test]
    fn what_receivers_know_a_post_by() {
        let headers = Shape::Row.said("hush", 3, true).unwrap();
        let found = |name: &str| headers.get(name).unwrap().to_str().unwrap();
        assert_eq!((found("whdb-webhook-secret"), found("whdb-attempt")), ("hush", "3"));
        assert_eq!(found("whdb-event"), "synced");
        assert!(!format!("{headers:?}").contains("hush"));
        assert!(headers.get("authorization").is_none());
        assert!(Shape::Row.said("a\nb", 1, false).is_none());
    }

    #[test]
    fn github_is_asked_to_start_workflows() {
        for (url, shape) in [
            ("https://api.github.com/repos/a-b/c.d/dispatches", Shape::RepositoryDispatch),
            ("https://API.github.com/repos/a/b/dispatches?x=1", Shape::RepositoryDispatch),
            ("https://api.github.com/repos/a/b/dispatches/c", Shape::Row),
            ("https://api.github.com/repos/a/dispatches", Shape::Row),
            ("https://api.github.com.example/repos/a/b/dispatches", Shape::Row),
            ("https://a.example/repos/a/b/dispatches", Shape::Row),
        ] {
            let rules = DestinationRules::default();
            assert_eq!(Subscriber::parse(url, rules).unwrap().shape, shape, "{url}");
        }
        let shape = Shape::RepositoryDispatch;
        let headers = shape.said("hush", 2, false).unwrap();
        let found = |name: &str| headers.get(name).unwrap().to_str().unwrap();
        assert_eq!(found("authorization"), "Bearer hush");
        assert_eq!(found("accept"), "application/vnd.github+json");
        assert_eq!(found("whdb-attempt"), "2");
        assert!(headers.get("whdb-webhook-secret").is_none());
        assert!(!format!("{headers:?}").contains("hush"));
        assert_eq!(
            shape.body("{\"row\":{}}".into()),
            r#"{"event_type":"webhook","client_payload":{"row":{}}}"#
        );
    }
}
