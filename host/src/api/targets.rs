//! Targets of HTTP Sync.

use serde_json::{Value, json};

use super::answer::{Answer, Step};
use super::call::Call;
use super::endpoint::Access::{Admin, Member};
use super::endpoint::Json::{Flag, Integer, IntegerOrNull, Text, TextOrNull};
use super::endpoint::{Endpoint, Field, Kind, Param, Shape, field};
use super::failure::Failure;
use crate::app::targets::{Asked, Change, TargetError, Targets};
use crate::rows;
use crate::store::targets::Target;

const TARGET: &[Field] = &[
    field("opaque_id", "Id", Text),
    field("associated_type", "", Text),
    field("associated_id", "", Text),
    field("associated_object_display", "Table", Text),
    field("connection_url", "Url", Text),
    field("period_seconds", "Period", Integer),
    field("page_size", "Page size", Integer),
    field("deletions", "", Flag),
    field("state", "State", Text),
    field("reason", "", TextOrNull),
    field("last_synced_at", "Last sync", TextOrNull),
    field("latency", "Latency", IntegerOrNull),
];
const ONE: &[(u16, Shape)] = &[(200, Shape::Single(TARGET))];

const PERIOD: Param =
    Param::text("period_seconds", "At most so many seconds without a delivery").of(Kind::Integer);
const PAGE_SIZE: Param = Param::text("page_size", "Rows of a delivery").of(Kind::Integer);
const DELETIONS: Param =
    Param::text("deletions", "Deliveries tell of deleted rows too").of(Kind::Flag);

macro_rules! of {
    ($path:literal) => {
        concat!("/v1/organizations/{org}/sync_targets/http", $path)
    };
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(
            of!(""),
            "All targets of an organization",
            Member,
            &[],
            &[(200, Shape::Collection(TARGET))],
            |call| Box::pin(list(call)),
        ),
        Endpoint::post(
            of!("/create"),
            "Let a table's changes be posted to a URL, once its receiver has answered a test",
            Admin,
            const {
                &[
                    Param::text("service_integration_identifier", "Id, table or service")
                        .asked("Which integration?"),
                    Param::text("connection_url", "https, with user and password")
                        .asked("Paste the URL to post to, like https://user:password@example.com/:")
                        .hidden(),
                    PERIOD.asked("At most how many seconds without a delivery?"),
                    PAGE_SIZE,
                    DELETIONS,
                ]
            },
            ONE,
            |call| Box::pin(create(call)),
        ),
        Endpoint::post(
            of!("/{t}/update"),
            "Change period, page size or shape",
            Admin,
            const { &[PERIOD, PAGE_SIZE, DELETIONS] },
            ONE,
            |call| Box::pin(update(call)),
        ),
        Endpoint::post(
            of!("/{t}/update_credentials"),
            "Change user and password of the URL, once the receiver has taken them",
            Admin,
            const {
                &[
                    Param::text("user", "The user").asked("Which user?"),
                    Param::text("password", "The password").asked("Which password?").hidden(),
                ]
            },
            ONE,
            |call| Box::pin(update_credentials(call)),
        ),
        Endpoint::post(
            of!("/{t}/delete"),
            "Forget a target",
            Admin,
            const { &[Param::text("confirm", "The name of the table")] },
            ONE,
            |call| Box::pin(delete(call)),
        ),
        Endpoint::post(
            of!("/{t}/sync"),
            "Deliver now, also after a failure",
            Admin,
            &[],
            ONE,
            |call| Box::pin(sync(call)),
        ),
    ]
}

fn targets(call: &Call) -> Result<Targets, Failure> {
    call.app.targets().map_err(|error| Failure::conflict(error.to_string()))
}

async fn list(call: Call) -> Result<Answer, Failure> {
    let targets = targets(&call)?;
    let all = targets.list(call.organization().id).await?;
    let items = all.iter().map(|target| entity(&targets, target)).collect();
    let none = "There are no targets yet. Make one: httpsync create INTEGRATION";
    Ok(Answer::collection(items, none, TARGET))
}

async fn create(call: Call) -> Result<Answer, Failure> {
    let targets = targets(&call)?;
    let (integration, url) =
        (call.values.text("service_integration_identifier"), call.values.text("connection_url"));
    let asked = Asked {
        integration: &integration,
        connection_url: &url,
        period_seconds: call.values.integer("period_seconds").unwrap_or_default(),
        page_size: call.values.integer("page_size"),
        deletions: call.values.flag("deletions"),
    };
    let made = targets.create(call.organization().id, asked).await?;
    let message = format!("Changes of {} are posted from now on.", made.table_name);
    Ok(Answer::single(entity(&targets, &made), message, TARGET))
}

async fn update(call: Call) -> Result<Answer, Failure> {
    let targets = targets(&call)?;
    let change = Change {
        period_seconds: call.values.integer("period_seconds"),
        page_size: call.values.integer("page_size"),
        deletions: call.values.given("deletions").map(|_| call.values.flag("deletions")),
    };
    let changed = targets.update(call.organization().id, call.path("t"), change).await?;
    Ok(Answer::single(entity(&targets, &changed), "The target is changed.", TARGET))
}

async fn update_credentials(call: Call) -> Result<Answer, Failure> {
    let targets = targets(&call)?;
    let (user, password) = (call.values.text("user"), call.values.text("password"));
    let organization = call.organization().id;
    let changed =
        targets.update_credentials(organization, call.path("t"), &user, &password).await?;
    Ok(Answer::single(entity(&targets, &changed), "The receiver took them.", TARGET))
}

async fn delete(call: Call) -> Result<Answer, Failure> {
    let (targets, organization) = (targets(&call)?, call.organization().id);
    let target = targets.get(organization, call.path("t")).await?;
    if call.values.text("confirm") != target.table_name {
        let prompt = format!(
            "Nothing more is posted to {}. Type {} to confirm:",
            target.shown_url, target.table_name
        );
        return Err(Failure::prompt("confirm", &Step::ask(prompt, &call.url, "confirm")));
    }
    targets.delete(organization, &target.id).await?;
    Ok(Answer::single(entity(&targets, &target), "The target is forgotten.", TARGET))
}

async fn sync(call: Call) -> Result<Answer, Failure> {
    let (targets, organization) = (targets(&call)?, call.organization().id);
    targets.trigger(organization, call.path("t")).await?;
    let target = targets.get(organization, call.path("t")).await?;
    Ok(Answer::single(entity(&targets, &target), "What there is is posted now.", TARGET))
}

fn entity(targets: &Targets, target: &Target) -> Value {
    let reason = target.paused.as_ref().or(target.last_error.as_ref());
    json!({
        "opaque_id": target.id,
        "associated_type": "service_integration",
        "associated_id": target.integration_id,
        "associated_object_display": target.table_name,
        "connection_url": target.shown_url,
        "period_seconds": target.period_s,
        "page_size": target.page_size,
        "deletions": target.deletions,
        "state": targets.health(target).name(),
        "reason": reason,
        "last_synced_at": target.last_synced_at.and_then(rows::timestamp_text),
        "latency": target.last_delivery_ms,
    })
}

impl From<TargetError> for Failure {
    fn from(error: TargetError) -> Self {
        let text = error.to_string();
        match error {
            TargetError::Field { field: "connection_url", .. } => {
                Self::invalid("invalid_sync_target_connection", text)
            }
            TargetError::Field { field, reason } => Self::field(field, reason),
            TargetError::NoIntegration(_) => Self::forbidden("no_such_integration", text),
            TargetError::SeveralIntegrations { .. } => Self::conflict(text),
            TargetError::NoTarget(_) => Self::forbidden("no_such_target", text),
            TargetError::Store(error) => error.into(),
        }
    }
}
