//! Error handlers: who is told when somebody must act.

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::answer::Answer;
use super::call::Call;
use super::endpoint::Access::Admin;
use super::endpoint::Json::{Text, TextOrNull};
use super::endpoint::{Endpoint, Field, Param, Shape, field};
use super::failure::Failure;
use crate::rows;
use crate::store::alerts::ErrorHandler;

const HANDLER: &[Field] = &[
    field("opaque_id", "Id", Text),
    field("url", "Url", Text),
    field("created_at", "", TextOrNull),
];
const ONE: &[(u16, Shape)] = &[(200, Shape::Single(HANDLER))];

macro_rules! of {
    ($path:literal) => {
        concat!("/v1/organizations/{org}/error_handlers", $path)
    };
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(
            of!(""),
            "All error handlers of an organization",
            Admin,
            &[],
            &[(200, Shape::Collection(HANDLER))],
            |call| Box::pin(list(call)),
        ),
        Endpoint::post(
            of!("/create"),
            "Let a URL be told when somebody must act",
            Admin,
            const {
                &[Param::text("url", "https, or a DSN of Sentry's")
                    .asked("Paste the URL, or a DSN of Sentry's:")
                    .hidden()]
            },
            ONE,
            |call| Box::pin(create(call)),
        ),
        Endpoint::get(of!("/{h}"), "An error handler", Admin, &[], ONE, |call| {
            Box::pin(show(call))
        }),
        Endpoint::post(of!("/{h}/delete"), "Forget an error handler", Admin, &[], ONE, |call| {
            Box::pin(delete(call))
        }),
    ]
}

async fn list(call: Call) -> Result<Answer, Failure> {
    let all = call.app.store.error_handlers(call.organization().id).await?;
    let none = "There are no error handlers yet. Make one: error-handlers create";
    Ok(Answer::collection(all.iter().map(entity).collect(), none, HANDLER))
}

async fn create(call: Call) -> Result<Answer, Failure> {
    let url = Zeroizing::new(call.values.text("url").trim().to_owned());
    let shown = call.app.shown_handler(&url).map_err(|reason| Failure::field("url", reason))?;
    let made = call.app.store.create_error_handler(call.organization().id, &url, shown).await?;
    Ok(Answer::single(entity(&made), "It is told of errors from now on.", HANDLER))
}

async fn show(call: Call) -> Result<Answer, Failure> {
    Ok(Answer::single(entity(&found(&call).await?), "", HANDLER))
}

async fn delete(call: Call) -> Result<Answer, Failure> {
    let handler = found(&call).await?;
    call.app.store.delete_error_handler(call.organization().id, &handler.id).await?;
    Ok(Answer::single(entity(&handler), "The error handler is forgotten.", HANDLER))
}

async fn found(call: &Call) -> Result<ErrorHandler, Failure> {
    let id = call.path("h");
    let all = call.app.store.error_handlers(call.organization().id).await?;
    all.into_iter().find(|handler| handler.id == id).ok_or_else(|| {
        Failure::forbidden("no_such_error_handler", format!("There is no error handler `{id}`"))
    })
}

fn entity(handler: &ErrorHandler) -> Value {
    json!({
        "opaque_id": handler.id,
        "url": handler.shown_url,
        "created_at": rows::timestamp_text(handler.created_at),
    })
}
