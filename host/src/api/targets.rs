//! Targets of HTTP Sync and DB Sync.

mod create;
mod kinds;
mod messages;

use serde_json::{Value, json};

use super::answer::{Answer, Step};
use super::call::Call;
use super::endpoint::Access::{Admin, Member};
use super::endpoint::{Endpoint, Kind, Param, Shape};
use super::failure::Failure;
use super::values::Values;
use crate::app::targets::{Change, Rewind, TargetError, Targets};
use crate::rows;
use crate::store::targets::{Kind as TargetKind, Target};
use kinds::{Db, Http, Of, SIGNING_SECRET, SIGNING_SECRET_PATH};

/// Why it is paused, where nobody said why.
const PAUSED_BY_HAND: &str = "paused by an operator";

pub(super) fn endpoints() -> Vec<Endpoint> {
    let mut all = making::<Http>();
    all.extend(changing::<Http>());
    all.extend(delivering::<Http>());
    all.extend(making::<Db>());
    all.extend(changing::<Db>());
    all.extend(delivering::<Db>());
    all.push(Endpoint::get(
        SIGNING_SECRET_PATH,
        "The secret that signs what a receiver is sent",
        Admin,
        &[],
        &[(200, Shape::Single(&[SIGNING_SECRET]))],
        |call| Box::pin(signing_secret(call)),
    ));
    all
}

fn making<K: Of + 'static>() -> Vec<Endpoint> {
    vec![
        Endpoint::get(K::LIST, "All targets of an organization", Member, &[], K::ALL, |call| {
            Box::pin(list::<K>(call))
        }),
        Endpoint::post(K::CREATE, K::CREATES, Admin, K::ASKED, K::JUST_MADE, |call| {
            Box::pin(create::create::<K>(call))
        }),
    ]
}

fn changing<K: Of + 'static>() -> Vec<Endpoint> {
    vec![
        Endpoint::post(
            K::UPDATE,
            "Change how a target is delivered to",
            Admin,
            K::CHANGED,
            K::ONE,
            |call| Box::pin(update::<K>(call)),
        ),
        Endpoint::post(
            K::UPDATE_CREDENTIALS,
            "Change user and password of the URL, once they were taken there",
            Admin,
            const {
                &[
                    Param::text("user", "The user").asked("User:"),
                    Param::text("password", "The password").asked("Password:").hidden(),
                ]
            },
            K::ONE,
            |call| Box::pin(update_credentials::<K>(call)),
        ),
        Endpoint::post(
            K::DELETE,
            "Forget a target",
            Admin,
            const { &[Param::text("confirm", "The name of the table")] },
            K::ONE,
            |call| Box::pin(delete::<K>(call)),
        ),
    ]
}

fn delivering<K: Of + 'static>() -> Vec<Endpoint> {
    vec![
        Endpoint::post(
            K::SYNC,
            "Deliver now, also after a failure or a pause for failures",
            Admin,
            &[],
            K::ONE,
            |call| Box::pin(sync::<K>(call)),
        ),
        Endpoint::post(
            K::REWIND,
            "Deliver again from a point of the past",
            Admin,
            const {
                &[
                    Param::text("beginning", "Every row as it stands, then what changes")
                        .of(Kind::Flag),
                    Param::text("number", "What changed behind this number of the feed")
                        .of(Kind::Integer),
                    Param::text("since", "What changed since then, like 2026-03-20T16:00:00Z"),
                ]
            },
            K::ONE,
            |call| Box::pin(rewind::<K>(call)),
        ),
        Endpoint::post(
            K::PAUSE,
            "Deliver nothing until it is resumed",
            Admin,
            const { &[Param::text("reason", "Why; it is shown with the target")] },
            K::ONE,
            |call| Box::pin(pause::<K>(call)),
        ),
        Endpoint::post(K::RESUME, "Go on with what came meanwhile", Admin, &[], K::ONE, |call| {
            Box::pin(resume::<K>(call))
        }),
    ]
}

fn targets<K: Of>(call: &Call) -> Result<Targets, Failure> {
    call.app.targets(K::KIND).map_err(|error| Failure::conflict(error.to_string()))
}

async fn list<K: Of>(call: Call) -> Result<Answer, Failure> {
    let targets = targets::<K>(&call)?;
    let all = targets.list(call.organization().id).await?;
    let items = all.iter().map(|target| entity(&targets, target)).collect();
    Ok(Answer::collection(items, K::MAKE_ONE, K::TARGET))
}

async fn signing_secret(call: Call) -> Result<Answer, Failure> {
    let targets = targets::<Http>(&call)?;
    let secret = targets.signing_secret(call.organization().id, call.path("t")).await?;
    let entity = json!({ "signing_secret": secret.as_str() });
    Ok(Answer::single(entity, "", &[SIGNING_SECRET]))
}

async fn update<K: Of>(call: Call) -> Result<Answer, Failure> {
    let targets = targets::<K>(&call)?;
    let (schema, table) = (call.values.text("schema"), call.values.text("table"));
    let change = Change {
        period_seconds: call.values.integer("period_seconds"),
        page_size: call.values.integer("page_size"),
        deletions: call.values.given("deletions").map(|_| call.values.flag("deletions")),
        schema: &schema,
        table: &table,
    };
    let organization = call.organization().id;
    let before = targets.get(organization, call.path("t")).await?;
    let changed = targets.update(organization, &before.id, change).await?;
    let shape = |target: &Target| (target.period_s, target.page_size, target.deletions);
    let is_changed = shape(&before) != shape(&changed);
    let message = messages::updated(is_changed, changed.deletions && !before.deletions);
    Ok(Answer::single(entity(&targets, &changed), message, K::TARGET))
}

async fn update_credentials<K: Of>(call: Call) -> Result<Answer, Failure> {
    let targets = targets::<K>(&call)?;
    let (user, password) = (call.values.text("user"), call.values.text("password"));
    let organization = call.organization().id;
    let before = targets.get(organization, call.path("t")).await?;
    let changed = targets.update_credentials(organization, &before.id, &user, &password).await?;
    let stands = TargetError::paused(&changed).map(|paused| paused.to_string());
    let message = messages::credentials_taken(before.paused.as_deref(), stands.as_deref());
    Ok(Answer::single(entity(&targets, &changed), message, K::TARGET))
}

async fn delete<K: Of>(call: Call) -> Result<Answer, Failure> {
    let (targets, organization) = (targets::<K>(&call)?, call.organization().id);
    let target = targets.get(organization, call.path("t")).await?;
    if call.values.text("confirm") != target.table_name {
        let prompt = format!(
            "Nothing more is delivered to {}. Type {} to confirm:",
            target.shown_url, target.table_name
        );
        return Err(Failure::prompt("confirm", &Step::ask(prompt, &call.url, "confirm")));
    }
    let untold = targets.delete(organization, &target.id).await?;
    let message = messages::deleted(untold.as_deref(), &target.to_schema, &target.id);
    Ok(Answer::single(entity(&targets, &target), message, K::TARGET))
}

async fn sync<K: Of>(call: Call) -> Result<Answer, Failure> {
    let (targets, organization) = (targets::<K>(&call)?, call.organization().id);
    let before = targets.get(organization, call.path("t")).await?;
    targets.trigger(organization, &before.id).await?;
    let target = targets.get(organization, &before.id).await?;
    let message = messages::triggered(before.paused.as_deref());
    Ok(Answer::single(entity(&targets, &target), message, K::TARGET))
}

async fn rewind<K: Of>(call: Call) -> Result<Answer, Failure> {
    let (targets, organization) = (targets::<K>(&call)?, call.organization().id);
    targets.rewind(organization, call.path("t"), rewind_to(&call.values)?).await?;
    let target = targets.get(organization, call.path("t")).await?;
    let message = messages::rewound(target.paused.is_some());
    Ok(Answer::single(entity(&targets, &target), message, K::TARGET))
}

/// One point of the past.
fn rewind_to(values: &Values) -> Result<Rewind, Failure> {
    let (number, since) = (values.integer("number"), values.time("since")?);
    match (values.flag("beginning"), number, since) {
        (true, None, None) => Ok(Rewind::Beginning),
        (false, Some(number), None) => Ok(Rewind::Number(number)),
        (false, None, Some(since)) => Ok(Rewind::Time(since)),
        _ => {
            Err(Failure::field("beginning", "or number or since must be given, one of them alone"))
        }
    }
}

async fn pause<K: Of>(call: Call) -> Result<Answer, Failure> {
    let (targets, organization) = (targets::<K>(&call)?, call.organization().id);
    let reason = call.values.given("reason").unwrap_or_else(|| PAUSED_BY_HAND.to_owned());
    let paused = targets.pause(organization, call.path("t"), reason.trim()).await?;
    Ok(Answer::single(entity(&targets, &paused), "Nothing is delivered now.", K::TARGET))
}

async fn resume<K: Of>(call: Call) -> Result<Answer, Failure> {
    let (targets, organization) = (targets::<K>(&call)?, call.organization().id);
    let resumed = targets.resume(organization, call.path("t")).await?;
    Ok(Answer::single(entity(&targets, &resumed), "It is delivered to again.", K::TARGET))
}

fn entity(targets: &Targets, target: &Target) -> Value {
    let last_synced_at = target.last_synced_at.and_then(rows::timestamp_text);
    let mut entity = json!({
        "opaque_id": target.id,
        "associated_type": "service_integration",
        "associated_id": target.integration_id,
        "associated_object_display": target.table_name,
        "connection_url": target.shown_url,
        "period_seconds": target.period_s,
        "state": targets.health(target).name(),
        "reason": target.reason(),
        "attempts": target.attempts,
        "next_at": rows::timestamp_text(target.due_at.max(target.not_before)),
        "last_synced_at": last_synced_at,
        "last_synced_at_formatted": last_synced_at,
        "latency": target.last_delivery_ms,
        "latency_formatted": target.last_delivery_ms.map(|ms| format!("{ms} ms")),
        "created_at": rows::timestamp_text(target.created_at),
    });
    match target.kind {
        TargetKind::Http | TargetKind::Notification => {
            entity["page_size"] = target.page_size.into();
            entity["deletions"] = target.deletions.into();
        }
        TargetKind::Db => {
            entity["schema"] = target.to_schema.as_str().into();
            entity["table"] = target.to_table.as_str().into();
        }
    }
    entity
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
            TargetError::SeveralIntegrations { .. } | TargetError::Paused { .. } => {
                Self::conflict(text)
            }
            TargetError::NoTarget(_) => Self::forbidden("no_such_target", text),
            TargetError::Store(error) => error.into(),
        }
    }
}
