//! Organizations.

use serde_json::{Value, json};

use super::answer::{Answer, Step};
use super::call::Call;
use super::endpoint::Json::{Integer, Text};
use super::endpoint::{Access, Endpoint, Field, Kind, Param, Shape, field};
use super::failure::Failure;
use super::integrations::STILL_GOING_ON;
use crate::app;
use crate::store::organizations::Organization;

const ORGANIZATION: &[Field] =
    &[field("id", "Id", Integer), field("name", "Name", Text), field("key", "Key", Text)];

const NAME: Param = Param::text("name", "The name").asked("Name of the organization:");

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post(
            "/v1/organizations/create",
            "Make an organization",
            Access::Customer,
            &[NAME],
            &[(200, Shape::Single(ORGANIZATION))],
            |call| Box::pin(create(call)),
        ),
        Endpoint::get(
            "/v1/organizations/{org}",
            "An organization; `-` with `?org=` takes its id, key or name",
            Access::Member,
            const { &[Param::text("org", "Which, where the path has `-`")] },
            &[(200, Shape::Single(ORGANIZATION))],
            |call| Box::pin(show(call)),
        ),
        Endpoint::post(
            "/v1/organizations/{org}/rename",
            "Give an organization another name; its key stays",
            Access::Admin,
            &[NAME],
            &[(200, Shape::Single(ORGANIZATION))],
            |call| Box::pin(rename(call)),
        ),
        Endpoint::post(
            "/v1/organizations/{org}/update",
            "Change a field of an organization",
            Access::Admin,
            const {
                &[
                    Param::text("field", "Which").of(Kind::OneOf(&["name"])).asked("Field (name):"),
                    Param::text("value", "Its new value").asked("New value:"),
                ]
            },
            &[(200, Shape::Single(ORGANIZATION))],
            |call| Box::pin(rename(call)),
        ),
        Endpoint::post(
            "/v1/organizations/{org}/close",
            "Delete an organization with its integrations, tables and members",
            Access::Admin,
            const { &[Param::text("confirm", "The key of the organization")] },
            &[(200, Shape::Step)],
            |call| Box::pin(close(call)),
        ),
    ]
}

async fn create(call: Call) -> Result<Answer, Failure> {
    let name = call.values.text("name");
    let max = call.app.config.limits.customer_organizations_max;
    let made = call.app.store.found_organization(&name, call.email(), max).await?;
    let message =
        format!("Organization {} (key {}) is made, and you are its admin.", made.name, made.key);
    Ok(organization(&made, message))
}

async fn show(call: Call) -> Result<Answer, Failure> {
    let of = call.organization();
    Ok(organization(of, format!("This is {} (key {}).", of.name, of.key)))
}

async fn rename(call: Call) -> Result<Answer, Failure> {
    let name = call.values.given("name").unwrap_or_else(|| call.values.text("value"));
    let mut of = call.organization().clone();
    call.app.store.rename_organization(of.id, &name).await?;
    of.name = name.trim().to_owned();
    let message = format!("The organization is called {} now.", of.name);
    Ok(organization(&of, message))
}

async fn close(call: Call) -> Result<Answer, Failure> {
    let of = call.organization();
    let own = call.app.store.own_database(of.id).await?;
    if call.values.text("confirm").trim() != of.key {
        let count = call.app.store.integrations(of.id).await?.len();
        let tables = match &own {
            Some(url) => format!("(their tables stay in {url})"),
            None => "with their tables".to_owned(),
        };
        let prompt = format!(
            "This deletes {} for good: {count} integrations {tables}, all members and saved queries. \
             Type {} to confirm:",
            of.name, of.key
        );
        return Err(Failure::prompt("confirm", &Step::ask(prompt, &call.url, "confirm")));
    }
    let wholly = app::organizations::close(&call.app, of.id).await?;
    tracing::info!(organization = of.key, by = call.email(), wholly, "an organization was closed");
    let rest = match (own, wholly) {
        (None, true) => ". Nothing is left of it".to_owned(),
        (None, false) => STILL_GOING_ON.to_owned(),
        (Some(own), true) => format!(". Its tables stay in {own}, and are yours alone now"),
        (Some(own), false) => format!(
            "{STILL_GOING_ON}. Its tables stay in {own}. If that can't be reached for a day, drop the schema \
             rowgate there, and the role that reads, if it was made for you"
        ),
    };
    Ok(Answer::step(&Step::complete(format!("{} is closed{rest}.", of.name))))
}

fn organization(of: &Organization, message: String) -> Answer {
    Answer::single(entity(of), message, ORGANIZATION)
}

pub(super) fn entity(of: &Organization) -> Value {
    json!({ "id": of.id, "name": of.name, "key": of.key })
}
