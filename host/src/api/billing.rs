//! There is none; clients that ask are told.

use axum::http::Method;
use serde_json::json;

use super::answer::Answer;
use super::endpoint::Json::Text;
use super::endpoint::{Access, Endpoint, Field, Shape, field};
use super::failure::Failure;

const PLAN: &[Field] = &[field("plan_name", "Plan", Text)];
const NONE: &str = "There is no billing here: nothing is limited by a plan.";

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint {
            method: Method::GET,
            path: "/v1/organizations/{org}/subscriptions",
            summary: "The plan: there is none",
            access: Access::Member,
            params: &[],
            answers: &[(200, Shape::Single(PLAN))],
            handler: |_| {
                Box::pin(async { Ok(Answer::single(json!({ "plan_name": "none" }), NONE, PLAN)) })
            },
        },
        Endpoint {
            method: Method::GET,
            path: "/v1/organizations/{org}/subscriptions/plans",
            summary: "Plans: there are none",
            access: Access::Member,
            params: &[],
            answers: &[(200, Shape::Collection(PLAN))],
            handler: |_| Box::pin(async { Ok(Answer::collection(Vec::new(), NONE, PLAN)) }),
        },
        Endpoint {
            method: Method::POST,
            path: "/v1/organizations/{org}/subscriptions/open_portal",
            summary: "A place to pay at: there is none",
            access: Access::Member,
            params: &[],
            answers: &[],
            handler: |_| Box::pin(async { Err(Failure::conflict(NONE)) }),
        },
    ]
}
