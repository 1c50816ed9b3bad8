//! Targets of HTTP Sync and DB Sync.

use serde_json::{Value, json};

use super::answer::{Answer, Step};
use super::call::Call;
use super::endpoint::Access::{Admin, Member};
use super::endpoint::Json::{Flag, Integer, IntegerOrNull, Text, TextOrNull};
use super::endpoint::{Endpoint, Field, Kind, Param, Shape, field};
use super::failure::Failure;
use crate::app::targets::{Asked, AskedTo, Change, TargetError, Targets};
use crate::rows;
use crate::store::targets::{Kind as TargetKind, Target};

/// What differs between the kinds of targets in what is asked and shown.
trait Of {
    const KIND: TargetKind;
    const TARGET: &'static [Field];
    const ONE: &'static [(u16, Shape)] = &[(200, Shape::Single(Self::TARGET))];
    const ALL: &'static [(u16, Shape)] = &[(200, Shape::Collection(Self::TARGET))];
    /// Told where there are none.
    const MAKE_ONE: &'static str;
    const LIST: &'static str;
    const CREATE: &'static str;
    const UPDATE: &'static str;
    const UPDATE_CREDENTIALS: &'static str;
    const DELETE: &'static str;
    const SYNC: &'static str;
    const CREATES: &'static str;
    const ASKED: &'static [Param];
    const CHANGED: &'static [Param];

    fn to<'a>(call: &'a Call, schema: &'a str, table: &'a str) -> AskedTo<'a>;
}

struct Http;
struct Db;

const fn shown(name: &'static str, header: &'static str) -> Field {
    field(name, header, Text)
}

const ID: Field = shown("opaque_id", "Id");
const OF_TYPE: Field = shown("associated_type", "");
const OF: Field = shown("associated_id", "");
const OF_TABLE: Field = shown("associated_object_display", "Table");
const URL: Field = shown("connection_url", "Url");
const SECONDS: Field = field("period_seconds", "Period", Integer);
const STATE: Field = shown("state", "State");
const REASON: Field = field("reason", "", TextOrNull);
const LAST_SYNCED_AT: Field = field("last_synced_at", "Last sync", TextOrNull);
const LATENCY: Field = field("latency", "Latency", IntegerOrNull);

const INTEGRATION: Param = Param::text("service_integration_identifier", "Id, table or service")
    .asked("Which integration?");
const PERIOD: Param =
    Param::text("period_seconds", "At most so many seconds without a delivery").of(Kind::Integer);
const PERIOD_ASKED: Param = PERIOD.asked("At most how many seconds without a delivery?");
const PAGE_SIZE: Param = Param::text("page_size", "Rows of a delivery").of(Kind::Integer);
const DELETIONS: Param =
    Param::text("deletions", "Deliveries tell of deleted rows too").of(Kind::Flag);

macro_rules! paths {
    ($kind:literal) => {
        const LIST: &'static str = concat!("/v1/organizations/{org}/sync_targets/", $kind);
        const CREATE: &'static str =
            concat!("/v1/organizations/{org}/sync_targets/", $kind, "/create");
        const UPDATE: &'static str =
            concat!("/v1/organizations/{org}/sync_targets/", $kind, "/{t}/update");
        const UPDATE_CREDENTIALS: &'static str =
            concat!("/v1/organizations/{org}/sync_targets/", $kind, "/{t}/update_credentials");
        const DELETE: &'static str =
            concat!("/v1/organizations/{org}/sync_targets/", $kind, "/{t}/delete");
        const SYNC: &'static str =
            concat!("/v1/organizations/{org}/sync_targets/", $kind, "/{t}/sync");
    };
}

impl Of for Http {
    paths!("http");

    const KIND: TargetKind = TargetKind::Http;
    const TARGET: &'static [Field] = &[
        ID,
        OF_TYPE,
        OF,
        OF_TABLE,
        URL,
        SECONDS,
        field("page_size", "Page size", Integer),
        field("deletions", "", Flag),
        STATE,
        REASON,
        LAST_SYNCED_AT,
        LATENCY,
    ];
    const MAKE_ONE: &'static str =
        "There are no targets yet. Make one: httpsync create INTEGRATION";
    const CREATES: &'static str =
        "Let a table's changes be posted to a URL, once its receiver has answered a test";
    const ASKED: &'static [Param] = &[
        INTEGRATION,
        Param::text("connection_url", "https, with user and password")
            .asked("Paste the URL to post to, like https://user:password@example.com/:")
            .hidden(),
        PERIOD_ASKED,
        PAGE_SIZE,
        DELETIONS,
    ];
    const CHANGED: &'static [Param] = &[PERIOD, PAGE_SIZE, DELETIONS];

    fn to<'a>(call: &'a Call, _: &'a str, _: &'a str) -> AskedTo<'a> {
        let deletions = call.values.flag("deletions");
        AskedTo::Receiver { page_size: call.values.integer("page_size"), deletions }
    }
}

impl Of for Db {
    paths!("db");

    const KIND: TargetKind = TargetKind::Db;
    const TARGET: &'static [Field] = &[
        ID,
        OF_TYPE,
        OF,
        OF_TABLE,
        URL,
        shown("schema", "Schema"),
        shown("table", "Mirror"),
        SECONDS,
        STATE,
        REASON,
        LAST_SYNCED_AT,
        LATENCY,
    ];
    const MAKE_ONE: &'static str = "There are no targets yet. Make one: dbsync create INTEGRATION";
    const CREATES: &'static str =
        "Let a table be mirrored in a PostgreSQL database, once that has answered";
    const ASKED: &'static [Param] = &[
        INTEGRATION,
        Param::text("connection_url", "postgres://user:password@host:5432/database")
            .asked("Paste the database's URL, like postgres://user:password@example.com/database:")
            .hidden(),
        PERIOD_ASKED,
        Param::text("schema", "Where the mirror stands; `public` if empty"),
        Param::text("table", "The mirror's name; the table's if empty"),
    ];
    const CHANGED: &'static [Param] = &[PERIOD];

    fn to<'a>(_: &'a Call, schema: &'a str, table: &'a str) -> AskedTo<'a> {
        AskedTo::Database { schema, table }
    }
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    let mut all = endpoints_of::<Http>();
    all.extend(endpoints_of::<Db>());
    all
}

fn endpoints_of<K: Of + 'static>() -> Vec<Endpoint> {
    vec![
        Endpoint::get(K::LIST, "All targets of an organization", Member, &[], K::ALL, |call| {
            Box::pin(list::<K>(call))
        }),
        Endpoint::post(K::CREATE, K::CREATES, Admin, K::ASKED, K::ONE, |call| {
            Box::pin(create::<K>(call))
        }),
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
                    Param::text("user", "The user").asked("Which user?"),
                    Param::text("password", "The password").asked("Which password?").hidden(),
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
        Endpoint::post(K::SYNC, "Deliver now, also after a failure", Admin, &[], K::ONE, |call| {
            Box::pin(sync::<K>(call))
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

async fn create<K: Of>(call: Call) -> Result<Answer, Failure> {
    let targets = targets::<K>(&call)?;
    let (integration, url) =
        (call.values.text("service_integration_identifier"), call.values.text("connection_url"));
    let (schema, table) = (call.values.text("schema"), call.values.text("table"));
    let asked = Asked {
        integration: &integration,
        connection_url: &url,
        period_seconds: call.values.integer("period_seconds").unwrap_or_default(),
        to: K::to(&call, &schema, &table),
    };
    let made = targets.create(call.organization().id, asked).await?;
    let message = format!("Changes of {} are delivered from now on.", made.table_name);
    Ok(Answer::single(entity(&targets, &made), message, K::TARGET))
}

async fn update<K: Of>(call: Call) -> Result<Answer, Failure> {
    let targets = targets::<K>(&call)?;
    let change = Change {
        period_seconds: call.values.integer("period_seconds"),
        page_size: call.values.integer("page_size"),
        deletions: call.values.given("deletions").map(|_| call.values.flag("deletions")),
    };
    let changed = targets.update(call.organization().id, call.path("t"), change).await?;
    Ok(Answer::single(entity(&targets, &changed), "The target is changed.", K::TARGET))
}

async fn update_credentials<K: Of>(call: Call) -> Result<Answer, Failure> {
    let targets = targets::<K>(&call)?;
    let (user, password) = (call.values.text("user"), call.values.text("password"));
    let organization = call.organization().id;
    let changed =
        targets.update_credentials(organization, call.path("t"), &user, &password).await?;
    Ok(Answer::single(entity(&targets, &changed), "They were taken there.", K::TARGET))
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
    targets.delete(organization, &target.id).await?;
    Ok(Answer::single(entity(&targets, &target), "The target is forgotten.", K::TARGET))
}

async fn sync<K: Of>(call: Call) -> Result<Answer, Failure> {
    let (targets, organization) = (targets::<K>(&call)?, call.organization().id);
    targets.trigger(organization, call.path("t")).await?;
    let target = targets.get(organization, call.path("t")).await?;
    Ok(Answer::single(entity(&targets, &target), "What there is is delivered now.", K::TARGET))
}

fn entity(targets: &Targets, target: &Target) -> Value {
    let mut entity = json!({
        "opaque_id": target.id,
        "associated_type": "service_integration",
        "associated_id": target.integration_id,
        "associated_object_display": target.table_name,
        "connection_url": target.shown_url,
        "period_seconds": target.period_s,
        "state": targets.health(target).name(),
        "reason": target.reason(),
        "last_synced_at": target.last_synced_at.and_then(rows::timestamp_text),
        "latency": target.last_delivery_ms,
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
            TargetError::SeveralIntegrations { .. } => Self::conflict(text),
            TargetError::NoTarget(_) => Self::forbidden("no_such_target", text),
            TargetError::Store(error) => error.into(),
        }
    }
}
