//! What WebhookDB has and this host hasn't; clients that ask are told what there is instead.

use super::answer::Answer;
use super::endpoint::Access::Member;
use super::endpoint::Json::Text;
use super::endpoint::{Endpoint, Field, Shape, field};
use super::failure::Failure;

const VIEW: &[Field] = &[field("name", "Name", Text), field("sql", "", Text)];

const NO_VIEWS: &str = "Views aren't kept here. Keep the query: saved-query create";

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(
            "/v1/organizations/{org}/saved_views",
            "Views that an organization keeps: there are none",
            Member,
            &[],
            &[(200, Shape::Collection(VIEW))],
            |_| Box::pin(async { Ok(Answer::collection(Vec::new(), NO_VIEWS, VIEW)) }),
        ),
        Endpoint::post(
            "/v1/organizations/{org}/saved_views/create_or_replace",
            "Keep a view: refused",
            Member,
            &[],
            &[],
            |_| Box::pin(async { Err(Failure::forbidden("views_disabled", NO_VIEWS)) }),
        ),
        Endpoint::post(
            "/v1/organizations/{org}/saved_views/delete",
            "Forget a view: refused",
            Member,
            &[],
            &[],
            |_| Box::pin(async { Err(Failure::forbidden("views_disabled", NO_VIEWS)) }),
        ),
    ]
}
