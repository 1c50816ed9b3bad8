//! What there is, and how it is.

use serde_json::{Value, json};

use super::{found, of};
use crate::api::answer::{Answer, line, table};
use crate::api::call::Call;
use crate::api::endpoint::Access::Member;
use crate::api::endpoint::Json::{Text, TextOrNull};
use crate::api::endpoint::{Endpoint, Field, Param, Shape, field};
use crate::api::failure::Failure;
use crate::app::integrations::{self, Described, Refusal};
use crate::rows;

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
/// Admins alone see these.
const SECRETS: [&str; 2] = ["webhook_secret", "webhookdb_api_key"];

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(
            of!(""),
            "All integrations of an organization",
            Member,
            &[],
            &[(200, Shape::Collection(INTEGRATION))],
            |call| Box::pin(list(call)),
        ),
        Endpoint::post(
            of!("/{i}/info"),
            "All of an integration, or one field of it",
            Member,
            const { &[Param::text("field", "Which; all if empty")] },
            &[(200, Shape::Blocks)],
            |call| Box::pin(info(call)),
        ),
    ]
}

async fn list(call: Call) -> Result<Answer, Failure> {
    let store = &call.app.store;
    let mut items: Vec<Value> = Vec::new();
    for one in store.integrations(call.organization().id).await? {
        let reason = store.tree(&one.root_id).await?.misconfigured;
        let missing = match integrations::open_questions(&call.app, &one).await {
            // No active plugin offers the service: nothing can be asked.
            Err(Refusal::Conflict(_)) => Vec::new(),
            asked => asked?,
        };
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

async fn described(call: &Call) -> Result<Described, Failure> {
    let integration = found(call).await?;
    Ok(integrations::describe(&call.app, integration).await?)
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
