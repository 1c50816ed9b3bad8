//! Moves of an organization's tables to a database of its own.

use serde_json::{Value, json};

use super::answer::Answer;
use super::call::Call;
use super::endpoint::Access::{Admin, Member};
use super::endpoint::Json::{Flag, Integer, Text};
use super::endpoint::{Endpoint, Field, Param, Shape, field};
use super::failure::Failure;
use crate::app::moves::{self, Asked};
use crate::rows::timestamp_text;
use crate::store::moves::{Move, WrongDatabase};

const MIGRATION: &[Field] = &[
    field("id", "Id", Text),
    field("status", "Status", Text),
    field("database_url", "Database", Text),
    field("current", "", Flag),
    field("started_at", "Started", Text),
    field("finished_at", "Finished", Text),
    field("table_name", "Table", Text),
    field("rows_copied", "Rows", Integer),
    field("error", "Error", Text),
];

const NONE_YET: &str = "The tables have never been moved. Move them to a PostgreSQL database of your \
                        own: db migrations start";

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(
            "/v1/db/{org}/migrations",
            "Moves of the tables to a database of the organization's own",
            Member,
            &[],
            &[(200, Shape::Collection(MIGRATION))],
            |call| Box::pin(list(call)),
        ),
        Endpoint::post(
            "/v1/db/{org}/migrate_database",
            "Move the tables to an empty PostgreSQL database of the organization's own",
            Admin,
            const {
                &[
                    Param::text(
                        "admin_url",
                        "postgres://user:password@host:5432/database, of its owner",
                    )
                    .asked("Paste the URL of an empty database, with the user who owns it:")
                    .hidden(),
                    Param::text(
                        "readonly_url",
                        "The same of a user who may only read; without it one is made",
                    )
                    .hidden(),
                ]
            },
            &[(200, Shape::Single(MIGRATION))],
            |call| Box::pin(start(call)),
        ),
    ]
}

async fn list(call: Call) -> Result<Answer, Failure> {
    let moves = call.app.store.moves(call.organization().id).await?;
    Ok(Answer::collection(moves.iter().map(entity).collect(), NONE_YET, MIGRATION))
}

async fn start(call: Call) -> Result<Answer, Failure> {
    if !call.app.config.allow_own_databases {
        let message = "Where the tables lie is said by the host's operator. Databases of \
                       organizations' own are off: the operator can allow them \
                       (allow_own_databases, ROWGATE_ALLOW_OWN_DATABASES)";
        return Err(Failure::forbidden("migrations_disabled", message));
    }
    let of = call.organization();
    let (admin_url, readonly_url) =
        (call.values.text("admin_url"), call.values.given("readonly_url"));
    let asked = moves::begin(&call.app, of.id, &admin_url, readonly_url.as_deref()).await?;
    let (entity, message) = match asked {
        Asked::Begun(begun) => {
            tracing::info!(
                organization = of.key,
                id = begun.id,
                by = call.email(),
                "tables are to move"
            );
            let message = format!(
                "The tables of {} move to {}. Webhooks are taken meanwhile, and handled when they are \
                 there: db migrations list",
                of.name, begun.shown_url
            );
            (entity(&begun), message)
        }
        Asked::UrlsReplaced(current) => {
            let message = "The tables lie there already: they are reached by the new URLs now.";
            (entity(&current), message.to_owned())
        }
    };
    Ok(Answer::single(entity, message, MIGRATION))
}

fn entity(of: &Move) -> Value {
    json!({
        "id": of.id,
        "status": of.state,
        "database_url": of.shown_url,
        "current": of.is_current,
        "started_at": timestamp_text(of.created_at),
        "finished_at": of.ended_at.and_then(timestamp_text),
        "table_name": of.table_name,
        "rows_copied": of.rows_copied,
        "error": of.error,
    })
}

impl From<WrongDatabase> for Failure {
    fn from(error: WrongDatabase) -> Self {
        let text = error.to_string();
        match error {
            WrongDatabase::Admin(_) | WrongDatabase::Reader(_) => {
                Self::invalid("invalid_migration_database", text)
            }
            WrongDatabase::Store(error) => error.into(),
        }
    }
}
