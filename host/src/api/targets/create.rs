//! A target is made.

use super::kinds::{Of, SIGNING_SECRET};
use super::{entity, targets};
use crate::api::answer::{Answer, Step};
use crate::api::call::Call;
use crate::api::failure::Failure;
use crate::app::targets::{Asked, TargetError, Targets};
use crate::store::targets::Kind;

/// Integration and URL are checked before the period is asked for.
pub(super) async fn create<K: Of>(call: Call) -> Result<Answer, Failure> {
    let (targets, organization) = (targets::<K>(&call)?, call.organization().id);
    let (integration, url) =
        (call.values.text("service_integration_identifier"), call.values.text("connection_url"));
    let (schema, table) = (call.values.text("schema"), call.values.text("table"));
    let Some(period_seconds) = call.values.integer("period_seconds") else {
        return Err(period(&call, &targets, &integration, &url).await);
    };
    let asked = Asked {
        integration: &integration,
        connection_url: &url,
        period_seconds,
        to: K::to(&call, &schema, &table),
    };
    let made = targets.create(organization, asked).await?;
    let mut entity = entity(&targets, &made);
    if K::KIND == Kind::Http {
        let secret = targets.signing_secret(organization, &made.id).await?;
        entity[SIGNING_SECRET.name] = secret.as_str().into();
    }
    let message = format!("Changes of {} are delivered from now on.", made.table_name);
    Ok(Answer::single(entity, message, K::MADE))
}

/// What asks for the period, or says what is wrong with what was given before.
async fn period(call: &Call, targets: &Targets, integration: &str, url: &str) -> Failure {
    match targets.verify(call.organization().id, integration, url).await {
        Ok(()) => {
            let (min, max) = targets.periods().into_inner();
            let prompt = format!("Seconds without a delivery, at most ({min} to {max}):");
            let mut step = Step::ask(prompt, &call.url, "period_seconds");
            step.post_params = call.values.sent().clone();
            Failure::prompt("period_seconds", &step)
        }
        // Whoever typed it is asked again.
        Err(TargetError::Field { field, reason }) => Failure::field(field, reason),
        Err(other) => other.into(),
    }
}
