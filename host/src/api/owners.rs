//! Owners of an integration's tree, their streams, and how they are. With an integration's key they are
//! read at the top of the tree alone.

use serde_json::{Value, json};

use super::answer::Answer;
use super::call::{Call, Caller};
use super::endpoint::Access::Member;
use super::endpoint::Json::{Integer, IntegerOrNull, Text, TextOrNull};
use super::endpoint::{Endpoint, Field, Kind, Param, Shape, field};
use super::failure::Failure;
use crate::app::integrations;
use crate::app::owners::{self, OwnerShown, StreamShown};
use crate::model::Micros;
use crate::rows;
use crate::store::integrations::Integration;
use crate::store::status::StreamPlace;

const OWNER: &[Field] = &[
    field("external_owner_id", "Owner", Text),
    field("integration", "Integration", Text),
    field("state", "State", Text),
    field("reason", "Reason", TextOrNull),
    field("streams", "Streams", Integer),
    field("rows", "Rows", Integer),
    field("inbox_waiting", "Webhooks waiting", Integer),
    field("last_success", "Last success", TextOrNull),
    field("last_full_read", "Last full read", TextOrNull),
    field("next_due", "Next due", TextOrNull),
    field("linked_at", "Linked", TextOrNull),
    field("channels", "Channels", TextOrNull),
    field("last_error", "Last error", TextOrNull),
];
const STREAM: [Field; 14] = [
    field("id", "Id", Integer),
    field("external_owner_id", "", Text),
    field("integration", "", Text),
    field("service", "Service", Text),
    field("kind", "Kind", Text),
    field("key", "Key", Text),
    field("state", "State", Text),
    field("reason", "Reason", TextOrNull),
    field("rows", "Rows", IntegerOrNull),
    field("last_success", "Last success", TextOrNull),
    field("last_full_read", "Last full read", TextOrNull),
    field("next_due", "Next due", TextOrNull),
    field("push", "Push", TextOrNull),
    field("last_error", "Last error", TextOrNull),
];
/// The same where it isn't said before whose they are.
const STREAM_OF_ANY: [Field; 14] = {
    let mut fields = STREAM;
    (fields[1].header, fields[2].header) = ("Owner", "Integration");
    fields
};

/// Owners of one page, each of which is counted in every table of its tree, or streams, each of which is counted
/// in its own.
const LIMIT: i64 = 100;
const LIMIT_MAX: i64 = 1_000;

/// A path below the owners of an integration.
macro_rules! of {
    ($path:literal) => {
        concat!("/v1/organizations/{org}/service_integrations/{i}/owners", $path)
    };
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(
            of!(""),
            "Owners of an integration's tree, by their ids",
            Member,
            const {
                &[
                    Param::text("after", "Only those behind this external owner id"),
                    Param::text("limit", "At most so many; 100, if empty").of(Kind::Integer),
                ]
            },
            &[(200, Shape::Collection(OWNER))],
            |call| Box::pin(list(call)),
        ),
        Endpoint::get(
            of!("/{owner}"),
            "How an owner is",
            Member,
            &[],
            &[(200, Shape::Single(OWNER))],
            |call| Box::pin(show(call)),
        ),
        Endpoint::get(
            of!("/{owner}/streams"),
            "How an owner's streams are",
            Member,
            &[],
            &[(200, Shape::Collection(&STREAM))],
            |call| Box::pin(streams(call)),
        ),
        Endpoint::get(
            "/v1/organizations/{org}/service_integrations/{i}/streams",
            "Streams of an integration's tree, by owner, service, kind and key",
            Member,
            const {
                &[
                    Param::text("owner", "Only those of this external owner id, all of them"),
                    Param::text(
                        "after",
                        "Only those behind one: its owner, service, kind and key as a JSON array",
                    ),
                    Param::text("limit", "At most so many; 100, if empty").of(Kind::Integer),
                ]
            },
            &[(200, Shape::Collection(&STREAM_OF_ANY))],
            |call| Box::pin(streams_of_any(call)),
        ),
    ]
}

async fn list(call: Call) -> Result<Answer, Failure> {
    let of = integration(&call).await?;
    let limit = limit(&call)?;
    let after = call.values.given("after");
    let page = call.app.store.owner_page(&of.root_id, after.as_deref(), limit + 1);
    let (page, has_more) = cut(page.await?, limit);
    let mut items = Vec::with_capacity(page.len());
    for status in page {
        let shown = owners::owner(&call.app, of.organization_id, status).await?;
        items.push(owner_entity(&shown));
    }
    let none = "No post named an owner yet, or none behind that one.";
    Ok(Answer::collection(items, none, OWNER).has_more(has_more))
}

async fn show(call: Call) -> Result<Answer, Failure> {
    let (of, shown) = found(&call).await?;
    let message = format!("The owner is {} in the tree of {}.", shown.state, of.table_name);
    Ok(Answer::single(owner_entity(&shown), message, OWNER))
}

async fn streams(call: Call) -> Result<Answer, Failure> {
    let (of, shown) = found(&call).await?;
    let all = call.app.store.streams_of_owner(&of.root_id, &shown.external_owner_id).await?;
    let all = owners::streams(&call.app, of.organization_id, all).await?;
    let items = all.iter().map(stream_entity).collect();
    Ok(Answer::collection(items, "The owner has no streams.", &STREAM))
}

async fn streams_of_any(call: Call) -> Result<Answer, Failure> {
    let of = integration(&call).await?;
    let (limit, after, store) = (limit(&call)?, place(&call)?, &call.app.store);
    let (page, has_more) = match call.values.given("owner") {
        Some(owner) => (store.streams_of_owner(&of.root_id, &owner).await?, false),
        None => cut(store.stream_page(&of.root_id, &after, limit + 1).await?, limit),
    };
    let page = owners::streams(&call.app, of.organization_id, page).await?;
    let items = page.iter().map(stream_entity).collect();
    let none = "There are no streams, or none behind that one.";
    Ok(Answer::collection(items, none, &STREAM_OF_ANY).has_more(has_more))
}

fn limit(call: &Call) -> Result<i64, Failure> {
    let limit = call.values.integer("limit").unwrap_or(LIMIT);
    match (1..=LIMIT_MAX).contains(&limit) {
        true => Ok(limit),
        false => Err(Failure::field("limit", format!("must be from 1 to {LIMIT_MAX}"))),
    }
}

/// A page of which one more was asked for; whether that was there.
fn cut<T>(mut page: Vec<T>, limit: i64) -> (Vec<T>, bool) {
    let has_more = i64::try_from(page.len()).is_ok_and(|found| found > limit);
    if has_more {
        page.pop();
    }
    (page, has_more)
}

/// The place behind which a page of streams begins.
fn place(call: &Call) -> Result<StreamPlace, Failure> {
    let Some(after) = call.values.given("after") else { return Ok(StreamPlace::default()) };
    let place = serde_json::from_str::<StreamPlace>(&after).ok();
    place.filter(|place| place.iter().all(|part| !part.contains('\0'))).ok_or_else(|| {
        Failure::field("after", "must be a JSON array of a stream's owner, service, kind and key")
    })
}

async fn integration(call: &Call) -> Result<Integration, Failure> {
    let of = integrations::find(&call.app, call.organization().id, call.path("i")).await?;
    match call.caller {
        // It would read of the whole tree with a key that is good for a part.
        Caller::Key(_) if of.id != of.root_id => {
            let message = "Owners are a whole tree's: of all integrations' keys only that of the one \
                           at its top reads them";
            Err(Failure::forbidden("forbidden", message))
        }
        _ => Ok(of),
    }
}

/// The owner of the path.
async fn found(call: &Call) -> Result<(Integration, OwnerShown), Failure> {
    let of = integration(call).await?;
    let id = call.path("owner");
    match call.app.store.owner_status(&of.root_id, id).await? {
        Some(status) => {
            let shown = owners::owner(&call.app, of.organization_id, status).await?;
            Ok((of, shown))
        }
        None => {
            let message = format!("No post ever named an owner `{id}`");
            Err(Failure::forbidden("no_such_owner", message))
        }
    }
}

fn time(at: Option<Micros>) -> Option<String> {
    at.and_then(rows::timestamp_text)
}

fn owner_entity(owner: &OwnerShown) -> Value {
    json!({
        "external_owner_id": owner.external_owner_id,
        "integration": owner.integration,
        "state": owner.state,
        "reason": owner.reason,
        "streams": owner.streams,
        "rows": owner.rows,
        "inbox_waiting": owner.inbox_waiting,
        "last_success": time(owner.last_success_at),
        "last_full_read": time(owner.last_full_at),
        "next_due": time(owner.next_due_at),
        "linked_at": time(owner.linked_at),
        "channels": owner.channels,
        "last_error": owner.last_error,
    })
}

fn stream_entity(stream: &StreamShown) -> Value {
    json!({
        "id": stream.id,
        "external_owner_id": stream.external_owner_id,
        "integration": stream.integration,
        "service": stream.service,
        "kind": stream.kind,
        "key": stream.key,
        "state": stream.state,
        "reason": stream.reason,
        "rows": stream.rows,
        "last_success": time(stream.last_success_at),
        "last_full_read": time(stream.last_full_at),
        "next_due": time(stream.next_due_at),
        "push": stream.push,
        "last_error": stream.last_error,
    })
}
