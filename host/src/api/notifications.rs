//! Subscriptions to changes: notifications.

use serde_json::{Value, json};

use super::answer::Answer;
use super::call::Call;
use super::endpoint::Access::{Admin, Member};
use super::endpoint::Json::{Flag, Integer, Text, TextOrNull, Texts};
use super::endpoint::{Endpoint, Field, Kind, Param, Shape, field};
use super::failure::Failure;
use crate::app::notifications::{Asked, NotificationError, Notifications, Shown};
use crate::rows;

const SUBSCRIPTION: &[Field] = &[
    field("opaque_id", "Id", Text),
    field("associated_type", "", Text),
    field("associated_id", "", TextOrNull),
    field("service_integration", "Table", Text),
    field("deliver_to_url", "Url", Text),
    field("events", "Events", Texts),
    field("deletions", "", Flag),
    field("state", "State", Text),
    field("reason", "Reason", Text),
    field("attempts", "", Integer),
    field("created_at", "", TextOrNull),
];
const ONE: &[(u16, Shape)] = &[(200, Shape::Single(SUBSCRIPTION))];

macro_rules! of {
    ($path:literal) => {
        concat!("/v1/organizations/{org}/webhook_subscriptions", $path)
    };
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(
            of!(""),
            "All subscriptions of an organization",
            Member,
            &[],
            &[(200, Shape::Collection(SUBSCRIPTION))],
            |call| Box::pin(list(call)),
        ),
        Endpoint::post(
            of!("/create"),
            "Let each row that changes be posted to a URL",
            Admin,
            const {
                &[
                    Param::text(
                        "service_integration_identifier",
                        "Id, table or service; all of the organization, if empty",
                    ),
                    Param::text("url", "https").asked("Paste the URL to post to:").hidden(),
                    Param::text("webhook_secret", "Sent in the header Whdb-Webhook-Secret")
                        .asked("Secret that is sent with each post:")
                        .hidden(),
                    Param::text("events", "rows, synced; rows, if empty").of(Kind::Texts),
                    Param::text("deletions", "Posts tell of deleted rows too").of(Kind::Flag),
                ]
            },
            ONE,
            |call| Box::pin(create(call)),
        ),
        Endpoint::post(of!("/{w}/test"), "Post a test event", Admin, &[], ONE, |call| {
            Box::pin(test(call))
        }),
        Endpoint::post(
            of!("/{w}/resume"),
            "Go on where it was paused, or waits after a failure",
            Admin,
            &[],
            ONE,
            |call| Box::pin(resume(call)),
        ),
        Endpoint::post(of!("/{w}/delete"), "Forget a subscription", Admin, &[], ONE, |call| {
            Box::pin(delete(call))
        }),
    ]
}

fn notifications(call: &Call) -> Result<Notifications, Failure> {
    call.app.notifications().map_err(|error| Failure::conflict(error.to_string()))
}

async fn list(call: Call) -> Result<Answer, Failure> {
    let all = notifications(&call)?.list(call.organization().id).await?;
    let none = "There are no subscriptions yet. Make one: notifications create";
    Ok(Answer::collection(all.iter().map(entity).collect(), none, SUBSCRIPTION))
}

async fn create(call: Call) -> Result<Answer, Failure> {
    let integration = call.values.given("service_integration_identifier");
    let (url, secret) = (call.values.text("url"), call.values.text("webhook_secret"));
    let asked = Asked {
        integration: integration.as_deref(),
        url: &url,
        webhook_secret: &secret,
        events: &call.values.texts("events"),
        deletions: call.values.flag("deletions"),
    };
    let made = notifications(&call)?.create(call.organization().id, asked).await?;
    Ok(Answer::single(entity(&made), "What changes is posted from now on.", SUBSCRIPTION))
}

async fn test(call: Call) -> Result<Answer, Failure> {
    let tested = notifications(&call)?.test(call.organization().id, call.path("w")).await?;
    Ok(Answer::single(entity(&tested), "The receiver took a test event.", SUBSCRIPTION))
}

async fn resume(call: Call) -> Result<Answer, Failure> {
    let resumed = notifications(&call)?.resume(call.organization().id, call.path("w")).await?;
    Ok(Answer::single(entity(&resumed), "What came meanwhile is posted now.", SUBSCRIPTION))
}

async fn delete(call: Call) -> Result<Answer, Failure> {
    let gone = notifications(&call)?.delete(call.organization().id, call.path("w")).await?;
    Ok(Answer::single(entity(&gone), "The subscription is forgotten.", SUBSCRIPTION))
}

fn entity(shown: &Shown) -> Value {
    let subscription = &shown.subscription;
    let (kind, table) = match &shown.integration {
        Some(integration) => ("service_integration", integration.table_name.as_str()),
        None => ("organization", "all"),
    };
    json!({
        "opaque_id": subscription.id,
        "associated_type": kind,
        "associated_id": subscription.integration_id,
        "service_integration": table,
        "deliver_to_url": subscription.shown_url,
        "events": shown.events(),
        "deletions": subscription.deletions,
        "state": shown.health.name(),
        "reason": shown.reason,
        "attempts": shown.attempts,
        "created_at": rows::timestamp_text(subscription.created_at),
    })
}

impl From<NotificationError> for Failure {
    fn from(error: NotificationError) -> Self {
        let text = error.to_string();
        match error {
            NotificationError::Field { field, reason } => Self::field(field, reason),
            NotificationError::Integration(refusal) => refusal.into(),
            NotificationError::NoSubscription(_) => Self::forbidden("no_such_subscription", text),
            NotificationError::NotTaken(_) => Self::invalid("test_event_not_taken", text),
            NotificationError::Store(error) => error.into(),
        }
    }
}
