//! There is none; clients that ask are told.

use serde_json::json;

use super::answer::Answer;
use super::endpoint::Json::Text;
use super::endpoint::{Access, Endpoint, Field, Shape, field};
use super::failure::Failure;

const PLAN: &[Field] = &[field("plan_name", "Plan", Text)];
const NONE: &str = "There is no billing here: nothing is limited by a plan.";

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(
            "/v1/organizations/{org}/subscriptions",
            "The plan: there is none",
            Access::Member,
            &[],
            &[(200, Shape::Single(PLAN))],
            |_| Box::pin(async { Ok(Answer::single(json!({ "plan_name": "none" }), NONE, PLAN)) }),
        ),
        Endpoint::get(
            "/v1/organizations/{org}/subscriptions/plans",
            "Plans: there are none",
            Access::Member,
            &[],
            &[(200, Shape::Collection(PLAN))],
            |_| Box::pin(async { Ok(Answer::collection(Vec::new(), NONE, PLAN)) }),
        ),
        Endpoint::post(
            "/v1/organizations/{org}/subscriptions/open_portal",
            "A place to pay at: there is none",
            Access::Member,
            &[],
            &[],
            |_| Box::pin(async { Err(Failure::conflict(NONE)) }),
        ),
    ]
}
