//! What is posted: the body that receivers of WebhookDB know, deletions beside it where they are
//! asked for, and what headers say of it.

use std::fmt::Write as _;

use rowgate_manifest::ColumnType;
use sha2::{Digest as _, Sha256};

use crate::model::Micros;
use crate::rows::{TableSpec, push_object, push_text, timestamp_text};
use crate::store::feed::{Bookmark, Change, Page};
use crate::store::targets::Target;

/// A delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Payload {
    /// The same for the same content.
    pub(super) id: String,
    pub(super) body: String,
    pub(super) epoch: String,
    pub(super) number: i64,
    /// It tells of an owner whose first sync is complete.
    pub(super) is_synced: bool,
}

/// The body of a verification, as WebhookDB sends it.
pub(super) const VERIFICATION: &str = r#"{"rows":[],"integration_id":"svi_test","integration_service":"httpsync_test","table":"test"}"#;

/// How many changes of a page the target is told of. None: there is nothing to say.
pub(super) fn told_of(target: &Target, page: &Page) -> Option<usize> {
    let there = page.changes.iter().filter(|change| change.row.is_some()).count();
    let rows = if target.deletions { page.changes.len() } else { there };
    // A copy's end says that what wasn't in it is gone.
    let copy_ends = page.copy.as_ref().is_some_and(|copy| copy.last);
    (rows > 0 || target.deletions && copy_ends).then_some(rows)
}

/// What a page comes to.
pub(super) fn payload(
    target: &Target,
    spec: &TableSpec,
    page: &Page,
    fence: i64,
    begun_at: Micros,
) -> Payload {
    let (epoch, number) = place(&page.end);
    let mut body = String::from("{\"rows\":[");
    push_rows(&mut body, spec, &page.changes);
    body.push(']');
    for (name, text) in [
        ("integration_id", target.integration_id.as_str()),
        ("integration_service", &target.service),
        ("table", &target.table_name),
    ] {
        let _infallible = write!(body, ",\"{name}\":");
        push_text(&mut body, text);
    }
    if target.deletions {
        push_deletions(&mut body, spec, page);
    }
    let id = id(target, &epoch, number, &body);
    if target.deletions {
        let _infallible = write!(body, ",\"position\":{{\"epoch\":");
        push_text(&mut body, &epoch);
        let _infallible = write!(body, ",\"number\":{number},\"fence\":{fence}}}");
    }
    let begun_at = timestamp_text(begun_at).unwrap_or_default().replace('Z', "+00:00");
    let _infallible = write!(body, ",\"sync_timestamp\":\"{begun_at}\"}}");
    Payload { id, body, epoch, number, is_synced: false }
}

fn push_rows(body: &mut String, spec: &TableSpec, changes: &[Change]) {
    let mut first = true;
    for row in changes.iter().filter_map(|change| change.row.as_ref()) {
        if !std::mem::take(&mut first) {
            body.push(',');
        }
        push_object(body, spec, row);
    }
}

/// Beside the rows, never among them: who only knows rows stores what is in them.
fn push_deletions(body: &mut String, spec: &TableSpec, page: &Page) {
    let unique = spec.unique_column();
    body.push_str(",\"key\":");
    push_text(body, &unique.name);
    body.push_str(",\"deleted\":[");
    let gone = page.changes.iter().filter(|change| change.row.is_none());
    for (at, change) in gone.enumerate() {
        let comma = if at == 0 { "" } else { "," };
        let _infallible = write!(body, "{comma}{{\"pk\":{},", change.pk);
        push_text(body, &unique.name);
        body.push(':');
        push_key(body, spec, change);
        body.push('}');
    }
    body.push_str("],\"copy\":");
    match &page.copy {
        None => body.push_str("null"),
        Some(copy) => {
            body.push_str("{\"id\":");
            push_text(body, &copy.id);
            let (first, last) = (copy.is_first(), copy.last);
            let _infallible = write!(body, ",\"first\":{first},\"last\":{last}}}");
        }
    }
}

/// A row's unique key as its column has it.
pub(super) fn push_key(body: &mut String, spec: &TableSpec, change: &Change) {
    match spec.unique_column().kind {
        ColumnType::Int => body.push_str(&change.key),
        _ => push_text(body, &change.key),
    }
}

/// Epoch and number of a place in the feed.
pub(super) fn place(bookmark: &Bookmark) -> (String, i64) {
    match bookmark {
        Bookmark::Start => (String::new(), 0),
        Bookmark::Copying { epoch, number, .. } => (epoch.clone(), *number),
        Bookmark::At { epoch, position } => (epoch.clone(), position.number),
    }
}

/// A delivery that is repeated after a lost answer has the same id only if it says the same: else
/// whoever drops known ids would miss what has changed in between. After a rewind nothing is a
/// repetition.
pub(super) fn id(target: &Target, epoch: &str, number: i64, body: &str) -> String {
    let digest = Sha256::new()
        .chain_update(format!("{} {} {epoch} {number} ", target.id, target.rewinds))
        .chain_update(body)
        .finalize();
    let hex: String = digest.iter().take(16).fold(String::new(), |mut hex, byte| {
        let _infallible = write!(hex, "{byte:02x}");
        hex
    });
    format!("msg_{hex}")
}

#[cfg(test)]
pub(super) mod tests;
