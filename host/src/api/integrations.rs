//! Integrations of an organization: made step by step, changed, deleted.

mod shown;
mod stats;

use serde_json::{Value, json};

use super::answer::{Answer, Step};
use super::call::Call;
use super::endpoint::Access::{Admin, Member};
use super::endpoint::Json::Text;
use super::endpoint::{Endpoint, Field, Kind, Param, Shape, field};
use super::failure::Failure;
use super::machine::{self, VALUE};
use crate::app::integrations::{self, Deleted, Draft};
use crate::store::integrations::Integration;

const NAMED: &[Field] = &[
    field("service_name", "Name", Text),
    field("table_name", "Table", Text),
    field("opaque_id", "Id", Text),
];
const KEY: &[Field] = &[field("webhookdb_api_key", "API key", Text)];
/// Behind what was deleted.
pub(super) const STILL_GOING_ON: &str = ". Nobody sees anything of it any more. What is left goes on by itself: tables that take long, and the \
     vendor's push channels, which are stopped within a day";
const CONFIRM: Param = Param::text("confirm", "The name of the table");

/// A path below the integrations of an organization.
macro_rules! of {
    ($path:literal) => {
        concat!("/v1/organizations/{org}/service_integrations", $path)
    };
}
use of;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let all = [shown::endpoints(), stats::endpoints(), making(), changing(), refused()];
    all.into_iter().flatten().collect()
}

/// Step by step.
fn making() -> Vec<Endpoint> {
    vec![
        Endpoint::post(
            of!("/create"),
            "Begin to configure a service",
            Admin,
            const {
                &[
                    Param::text("service_name", "Which").asked("Service:"),
                    Param::text("guard_confirm", "Sent, whatever it is: another one is wanted"),
                    Param::text("depends_on", "The integration to hang under, by id or table"),
                    Param::text("settings", "Answers to its prompts, by name").of(Kind::Named),
                ]
            },
            &[(200, Shape::Step)],
            |call| Box::pin(create(call)),
        ),
        Endpoint::post(
            of!("/{i}/transition/{field}"),
            "Answer a step",
            Admin,
            const { &[Param::text(VALUE, "The answer")] },
            &[(200, Shape::Step)],
            |call| Box::pin(transition(call)),
        ),
        Endpoint::post(
            of!("/{i}/setup"),
            "The step that is next",
            Admin,
            &[],
            &[(200, Shape::Step)],
            |call| Box::pin(setup(call)),
        ),
        Endpoint::post(
            of!("/{i}/reset"),
            "Forget the secret of the endpoint, and begin again",
            Admin,
            &[],
            &[(200, Shape::Step)],
            |call| Box::pin(reset(call)),
        ),
    ]
}

fn changing() -> Vec<Endpoint> {
    vec![
        Endpoint::post(
            of!("/{i}/roll_api_key"),
            "Make a new key, which stands for the integration in this API",
            Admin,
            &[],
            &[(200, Shape::Single(KEY))],
            |call| Box::pin(roll_key(call)),
        ),
        Endpoint::post(
            of!("/{i}/delete"),
            "Delete an integration with its table, and all that depend on it",
            Admin,
            const { &[CONFIRM] },
            &[(200, Shape::Single(NAMED))],
            |call| Box::pin(delete(call)),
        ),
        Endpoint::post(
            of!("/{i}/rename_table"),
            "Give a table another name",
            Admin,
            const { &[Param::text("new_name", "The name").asked("New name of the table:")] },
            &[(200, Shape::Single(NAMED))],
            |call| Box::pin(rename(call)),
        ),
    ]
}

/// For services that are filled otherwise. Those here are filled by posts, owner by owner.
fn refused() -> Vec<Endpoint> {
    let again = "Read everything again: owner by owner, by a post";
    vec![
        Endpoint::post(of!("/{i}/backfill"), again, Member, &[], &[], |call| {
            Box::pin(backfill(call))
        }),
        Endpoint::post(of!("/{i}/backfill/reset"), again, Member, &[], &[], |call| {
            Box::pin(backfill(call))
        }),
        Endpoint::post(of!("/{i}/backfill/job"), again, Member, &[], &[], |call| {
            Box::pin(backfill(call))
        }),
        Endpoint::get(of!("/{i}/backfill/job/{job}"), again, Member, &[], &[], |call| {
            Box::pin(backfill(call))
        }),
        Endpoint::post(
            of!("/{i}/upsert"),
            "Write a row: refused, for rows come from the plugin alone",
            Member,
            &[],
            &[],
            |call| Box::pin(upsert(call)),
        ),
    ]
}

/// The integration of the path.
async fn found(call: &Call) -> Result<Integration, Failure> {
    Ok(integrations::find(&call.app, call.organization().id, call.path("i")).await?)
}

async fn draft(call: &Call) -> Result<Option<Draft>, Failure> {
    Ok(Draft::stored(&call.app, call.organization().id, call.path("i")).await?)
}

async fn create(call: Call) -> Result<Answer, Failure> {
    let service = call.values.text("service_name");
    let organization = call.organization().id;
    let mut draft = Draft::begin(&call.app, organization, &service).await?;
    if !call.values.has("guard_confirm") {
        let all = call.app.store.integrations(organization).await?;
        if let Some(one) = all.iter().find(|one| one.service == service) {
            let prompt = format!(
                "There is a {service} integration already ({}). Press Enter to make another one, or \
                 Ctrl+C to stop:",
                one.table_name
            );
            let mut step = Step::ask(prompt, &call.url, "guard_confirm");
            step.post_params = call.values.sent().clone();
            return Err(Failure::prompt("guard_confirm", &step));
        }
    }
    for (name, value) in call.values.named("settings") {
        draft.answer(&name, &value, call.is_operator())?;
    }
    if let Some(parent) = call.values.given("depends_on") {
        draft.choose_named(&call.app, Some(&parent)).await?;
    }
    Ok(Answer::step(&machine::advance(&call, draft).await?))
}

async fn transition(call: Call) -> Result<Answer, Failure> {
    match after(&call).await {
        Ok(step) => Ok(Answer::step(&step)),
        Err(failure) => Ok(Answer::step(&failure.behind_prompt(VALUE)?)),
    }
}

/// The step that follows the one that is answered.
async fn after(call: &Call) -> Result<Step, Failure> {
    let (field, value) = (call.path("field"), call.values.text(VALUE));
    if let Some(mut draft) = draft(call).await? {
        machine::take(call, &mut draft, field, &value).await?;
        return machine::advance(call, draft).await;
    }
    let of = found(call).await?;
    // A client may repeat what it got no answer to.
    if field != machine::DEPENDENCY {
        let changed = integrations::change(&call.app, &of, field, &value, call.is_operator()).await;
        changed.map_err(machine::under_value)?;
    }
    next(call, of).await
}

async fn next(call: &Call, of: Integration) -> Result<Step, Failure> {
    let open = integrations::open_questions(&call.app, &of).await?;
    let described = integrations::describe(&call.app, of).await?;
    Ok(machine::of_existing(call, &described, &open))
}

async fn setup(call: Call) -> Result<Answer, Failure> {
    let step = match draft(&call).await? {
        Some(draft) => machine::advance(&call, draft).await?,
        None => next(&call, found(&call).await?).await?,
    };
    Ok(Answer::step(&step))
}

async fn reset(call: Call) -> Result<Answer, Failure> {
    let of = found(&call).await?;
    integrations::reset(&call.app, &of).await?;
    Ok(Answer::step(&next(&call, of).await?))
}

async fn roll_key(call: Call) -> Result<Answer, Failure> {
    let of = found(&call).await?;
    let key = integrations::roll_key(&call.app, &of).await?;
    let entity = json!({ "webhookdb_api_key": key });
    Ok(Answer::single(entity, "The key before this one is void.", KEY))
}

async fn delete(call: Call) -> Result<Answer, Failure> {
    if let Some(draft) = draft(&call).await? {
        call.app.store.delete_draft(draft.id()).await?;
        let entity = json!({ "opaque_id": draft.id(), "service_name": "", "table_name": "" });
        return Ok(Answer::single(entity, "It is forgotten; it was never finished.", NAMED));
    }
    let of = found(&call).await?;
    if call.values.text("confirm") != of.table_name {
        let prompt = format!(
            "This deletes the table {}, and all integrations that depend on it. Type its name to \
             confirm:",
            of.table_name
        );
        return Err(Failure::prompt("confirm", &Step::ask(prompt, &call.url, "confirm")));
    }
    let Deleted { integrations, wholly } = integrations::delete(&call.app, &of).await?;
    let tables: Vec<&str> = integrations.iter().map(|one| one.table_name.as_str()).collect();
    let mut message = format!("Deleted: {}", tables.join(", "));
    if !wholly {
        message.push_str(STILL_GOING_ON);
    }
    Ok(Answer::single(named(&of), message, NAMED))
}

async fn rename(call: Call) -> Result<Answer, Failure> {
    let mut of = found(&call).await?;
    let name = call.values.text("new_name");
    integrations::rename(&call.app, &of, name.trim()).await?;
    let message = format!("The table {} is called {} now.", of.table_name, name.trim());
    of.table_name = name.trim().to_owned();
    Ok(Answer::single(named(&of), message, NAMED))
}

fn named(of: &Integration) -> Value {
    json!({
        "opaque_id": of.id, "service_name": of.service, "table_name": of.table_name,
    })
}

async fn backfill(call: Call) -> Result<Answer, Failure> {
    let of = found(&call).await?;
    Err(Failure::conflict(format!(
        "{} is read owner by owner. Post {{\"type\": \"RESYNC\", \"external_owner_id\": \"...\"}} to {} \
         to read everything of an owner again",
        of.service,
        call.app.endpoint(&of.root_id)
    )))
}

async fn upsert(call: Call) -> Result<Answer, Failure> {
    let of = found(&call).await?;
    Err(Failure::conflict(format!(
        "Rows of {} come from its plugin alone. What it takes is posted to {}",
        of.service,
        call.app.endpoint(&of.root_id)
    )))
}
