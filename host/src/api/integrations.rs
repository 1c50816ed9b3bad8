//! Integrations of an organization.

use axum::http::Method;
use serde_json::{Value, json};

use super::answer::{Answer, Step, line, table};
use super::call::Call;
use super::endpoint::Json::{Integer, Text, TextOrNull};
use super::endpoint::{Access, Endpoint, Field, Handler, Kind, Param, Shape, field};
use super::failure::Failure;
use super::machine::{self, VALUE};
use crate::app::integrations::{self, Described, Draft};
use crate::rows;
use crate::store::integrations::Integration;

const INTEGRATION: &[Field] = &[
    field("service_name", "Name", Text),
    field("table_name", "Table", Text),
    field("opaque_id", "Id", Text),
    field("state", "State", Text),
    field("reason", "", TextOrNull),
    field("depends_on", "", TextOrNull),
    field("endpoint", "", Text),
    field("created_at", "", TextOrNull),
];
const NAMED: &[Field] = &[
    field("service_name", "Name", Text),
    field("table_name", "Table", Text),
    field("opaque_id", "Id", Text),
];
const KEY: &[Field] = &[field("webhookdb_api_key", "API key", Text)];
const STATS: &[Field] = &[
    field("owners_linked", "Owners linked", Integer),
    field("owners_dead", "Owners whose grant is dead", Integer),
    field("webhooks_kept", "Webhooks kept", Integer),
    field("webhooks_waiting", "Waiting", Integer),
    field("webhooks_parked", "Failed for good", Integer),
    field("last_webhook_at", "Last webhook", TextOrNull),
    field("streams", "Streams", Integer),
    field("streams_failing", "Failing", Integer),
    field("last_success_at", "Last sync", TextOrNull),
];

/// Admins alone see these.
const SECRETS: [&str; 2] = ["webhook_secret", "webhookdb_api_key"];

const CONFIRM: Param = Param::text("confirm", "The name of the table");

macro_rules! of {
    ($path:literal) => {
        concat!("/v1/organizations/{org}/service_integrations", $path)
    };
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    use Access::{Admin, Member};
    vec![
        Endpoint {
            method: Method::GET,
            path: of!(""),
            summary: "All integrations of an organization",
            access: Member,
            params: &[],
            answers: &[(200, Shape::Collection(INTEGRATION))],
            handler: |call| Box::pin(list(call)),
        },
        Endpoint {
            method: Method::GET,
            path: of!("/{i}/stats"),
            summary: "How an integration is",
            access: Member,
            params: &[],
            answers: &[(200, Shape::Single(STATS))],
            handler: |call| Box::pin(stats(call)),
        },
        post(
            of!("/create"),
            "Begin to configure a service",
            Admin,
            const {
                &[
                    Param::text("service_name", "Which").asked("Which service?"),
                    Param::text("guard_confirm", "Sent, whatever it is: another one is wanted"),
                    Param::text("depends_on", "The integration to hang under, by id or table"),
                    Param::text("settings", "Answers to its prompts, by name").of(Kind::Named),
                ]
            },
            &[(200, Shape::Step)],
            |call| Box::pin(create(call)),
        ),
        post(
            of!("/{i}/transition/{field}"),
            "Answer a step",
            Admin,
            const { &[Param::text(VALUE, "The answer")] },
            &[(200, Shape::Step)],
            |call| Box::pin(transition(call)),
        ),
        post(
            of!("/{i}/setup"),
            "The step that is next",
            Admin,
            &[],
            &[(200, Shape::Step)],
            |call| Box::pin(setup(call)),
        ),
        post(
            of!("/{i}/reset"),
            "Forget the secret of the endpoint, and begin again",
            Admin,
            &[],
            &[(200, Shape::Step)],
            |call| Box::pin(reset(call)),
        ),
        post(
            of!("/{i}/info"),
            "All of an integration, or one field of it",
            Member,
            const { &[Param::text("field", "Which; all if empty")] },
            &[(200, Shape::Blocks)],
            |call| Box::pin(info(call)),
        ),
        post(
            of!("/{i}/roll_api_key"),
            "Make a new key, which stands for the integration in this API",
            Admin,
            &[],
            &[(200, Shape::Single(KEY))],
            |call| Box::pin(roll_key(call)),
        ),
        post(
            of!("/{i}/delete"),
            "Delete an integration with its table, and all that depend on it",
            Admin,
            const { &[CONFIRM] },
            &[(200, Shape::Single(NAMED))],
            |call| Box::pin(delete(call)),
        ),
        post(
            of!("/{i}/rename_table"),
            "Give a table another name",
            Admin,
            const { &[Param::text("new_name", "The name").asked("What shall the table be called?")] },
            &[(200, Shape::Single(NAMED))],
            |call| Box::pin(rename(call)),
        ),
        post(
            of!("/{i}/backfill"),
            "Read everything again: owner by owner, by a post",
            Member,
            &[],
            &[],
            |call| Box::pin(backfill(call)),
        ),
    ]
}

fn post(
    path: &'static str,
    summary: &'static str,
    access: Access,
    params: &'static [Param],
    answers: &'static [(u16, Shape)],
    handler: Handler,
) -> Endpoint {
    Endpoint { method: Method::POST, path, summary, access, params, answers, handler }
}

/// The integration of the path.
async fn found(call: &Call) -> Result<Integration, Failure> {
    Ok(integrations::find(&call.app, call.organization().id, call.path("i")).await?)
}

async fn described(call: &Call) -> Result<Described, Failure> {
    let integration = found(call).await?;
    Ok(integrations::describe(&call.app, integration).await?)
}

async fn draft(call: &Call) -> Result<Option<Draft>, Failure> {
    Ok(Draft::stored(&call.app, call.organization().id, call.path("i")).await?)
}

async fn list(call: Call) -> Result<Answer, Failure> {
    let store = &call.app.store;
    let mut items: Vec<Value> = Vec::new();
    for one in store.integrations(call.organization().id).await? {
        let reason = store.tree(&one.root_id).await?.misconfigured;
        let missing = integrations::open_questions(&call.app, &one).await.unwrap_or_default();
        let state = match (&reason, missing.is_empty()) {
            (Some(_), _) => "misconfigured",
            (None, false) => "incomplete",
            (None, true) => "ok",
        };
        items.push(json!({
            "opaque_id": one.id,
            "service_name": one.service,
            "table_name": one.table_name,
            "state": state,
            "reason": reason,
            "depends_on": one.depends_on,
            "endpoint": call.app.endpoint(&one.id),
            "created_at": rows::timestamp_text(one.created_at),
        }));
    }
    let none = "There are no integrations yet. Make one: integrations create SERVICE";
    Ok(Answer::collection(items, none, INTEGRATION))
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
                 Ctrl+C to stop.",
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
    let (field, value) = (call.path("field").to_owned(), call.values.text(VALUE));
    if let Some(mut draft) = draft(&call).await? {
        machine::take(&call, &mut draft, &field, &value).await?;
        return Ok(Answer::step(&machine::advance(&call, draft).await?));
    }
    let of = found(&call).await?;
    // A client may repeat what it got no answer to.
    if field != machine::DEPENDENCY {
        let changed =
            integrations::change(&call.app, &of, &field, &value, call.is_operator()).await;
        changed.map_err(machine::under_value)?;
    }
    next(&call, of).await
}

async fn next(call: &Call, of: Integration) -> Result<Answer, Failure> {
    let open = integrations::open_questions(&call.app, &of).await?;
    let described = integrations::describe(&call.app, of).await?;
    Ok(Answer::step(&machine::of_existing(call, &described, &open)))
}

async fn setup(call: Call) -> Result<Answer, Failure> {
    match draft(&call).await? {
        Some(draft) => Ok(Answer::step(&machine::advance(&call, draft).await?)),
        None => next(&call, found(&call).await?).await,
    }
}

async fn reset(call: Call) -> Result<Answer, Failure> {
    let of = found(&call).await?;
    integrations::reset(&call.app, &of).await?;
    next(&call, of).await
}

async fn info(call: Call) -> Result<Answer, Failure> {
    let of = described(&call).await?;
    let fields = info_fields(&call, &of).await?;
    let Some(name) = call.values.given("field") else {
        let shown = |(name, label, value): (&str, &str, Option<String>)| {
            let hidden = SECRETS.contains(&name) && !call.is_admin();
            vec![Some(label.to_owned()), value.filter(|_| !hidden)]
        };
        let rows = fields.into_iter().map(shown).collect();
        return Ok(Answer::blocks(vec![table(&["Field", "Value"], rows)]));
    };
    let names: Vec<&str> = fields.iter().map(|(name, ..)| *name).collect();
    let Some(at) = names.iter().position(|known| *known == name) else {
        return Err(Failure::field("field", format!("must be one of {}", names.join(", "))));
    };
    if SECRETS.contains(&names[at]) && !call.is_admin() {
        let message = "You need to be an admin of the organization to see secrets";
        return Err(Failure::forbidden("forbidden", message));
    }
    Ok(Answer::blocks(vec![line(fields[at].2.clone().unwrap_or_default())]))
}

/// Name, label and value.
async fn info_fields(
    call: &Call,
    of: &Described,
) -> Result<Vec<(&'static str, &'static str, Option<String>)>, Failure> {
    let integration = &of.integration;
    let key = integrations::key(&call.app, &integration.id).await?;
    let key = key.map(|key| String::from_utf8_lossy(&key).into_owned());
    let config = call.app.store.tree(&integration.root_id).await?.config;
    let secret = of.webhook_secret.as_ref().map(|(_, secret)| secret.to_string());
    Ok(vec![
        ("id", "Id", Some(integration.id.clone())),
        ("service", "Service", Some(integration.service.clone())),
        ("table", "Table", Some(integration.table_name.clone())),
        ("url", "URL", Some(of.endpoint.clone())),
        ("webhook_secret", "Webhook secret", secret),
        ("webhookdb_api_key", "API key", key),
        ("api_url", "API URL", config.get("api_url").cloned()),
    ])
}

async fn roll_key(call: Call) -> Result<Answer, Failure> {
    let of = found(&call).await?;
    let key = integrations::roll_key(&call.app, &of).await?;
    let entity = json!({ "webhookdb_api_key": key });
    Ok(Answer::single(entity, "The key before this one is void.", KEY))
}

async fn stats(call: Call) -> Result<Answer, Failure> {
    let of = found(&call).await?;
    let stats = call.app.store.integration_stats(&of.root_id, &of.service).await?;
    let time = |at: Option<i64>| at.and_then(rows::timestamp_text);
    let entity = json!({
        "owners_linked": stats.owners_linked,
        "owners_dead": stats.owners_dead,
        "webhooks_kept": stats.webhooks_kept,
        "webhooks_waiting": stats.webhooks_waiting,
        "webhooks_parked": stats.webhooks_parked,
        "last_webhook_at": time(stats.last_webhook_at),
        "streams": stats.streams,
        "streams_failing": stats.streams_failing,
        "last_success_at": time(stats.last_success_at),
    });
    Ok(Answer::single(entity, "", STATS))
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
    let gone = integrations::delete(&call.app, &of).await?;
    let tables: Vec<&str> = gone.iter().map(|one| one.table_name.as_str()).collect();
    Ok(Answer::single(named(&of), format!("Deleted: {}", tables.join(", ")), NAMED))
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
