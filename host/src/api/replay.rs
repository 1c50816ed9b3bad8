//! Webhooks of the past once more.

use serde_json::json;

use super::answer::Answer;
use super::call::Call;
use super::endpoint::Access::Admin;
use super::endpoint::Json::{Integer, Texts};
use super::endpoint::{Endpoint, Field, Kind, Param, Shape, field};
use super::failure::Failure;
use crate::app::replay::{self, Asked};

const REPLAYED: &[Field] = &[
    field("replayed", "Replayed", Integer),
    field("left_out", "Left out", Integer),
    field("left_out_owners", "Owners of those", Texts),
];

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint::post(
        "/v1/organizations/{org}/replay",
        "Handle stored webhooks once more, in the order in which they were accepted",
        Admin,
        const {
            &[
                Param::text("service_integration_identifier", "Id, table or service; all if empty"),
                Param::text("hours", "Those of so many hours; 1, if empty").of(Kind::Integer),
                Param::text("after", "Those since then, like 2026-03-20T16:00:00Z"),
                Param::text("before", "Those until then; until now, if empty"),
                Param::text("webhook_id", "This one alone").of(Kind::Integer),
            ]
        },
        &[(200, Shape::Single(REPLAYED))],
        |call| Box::pin(replay(call)),
    )]
}

async fn replay(call: Call) -> Result<Answer, Failure> {
    let integration = call.values.given("service_integration_identifier");
    let asked = Asked {
        integration: integration.as_deref(),
        hours: call.values.integer("hours"),
        after: call.values.time("after")?,
        before: call.values.time("before")?,
        item: call.values.integer("webhook_id"),
    };
    let replayed = replay::replay(&call.app, call.organization().id, asked).await?;
    let message = told(replayed.replayed, replayed.left_out);
    let entity = json!({
        "replayed": replayed.replayed,
        "left_out": replayed.left_out,
        "left_out_owners": replayed.left_out_owners,
    });
    Ok(Answer::single(entity, message, REPLAYED))
}

/// What is printed.
fn told(replayed: usize, left_out: usize) -> String {
    let why = match left_out {
        0 => "",
        _ => "; a secret that came with each is gone, or its owner was linked again since",
    };
    format!("Webhooks that are handled once more: {replayed}. Left out: {left_out}{why}.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_explained() {
        for (replayed, left_out, said) in [
            (1, 0, "Webhooks that are handled once more: 1. Left out: 0."),
            (0, 1, "once more: 0. Left out: 1; a secret that came with each is gone"),
        ] {
            assert!(told(replayed, left_out).contains(said), "{}", told(replayed, left_out));
        }
    }
}
