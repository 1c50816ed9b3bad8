//! An organization's tables, by SQL.

use std::time::Duration;

use serde_json::json;

use super::answer::{Answer, Step};
use super::call::Call;
use super::endpoint::Json::{Flag, Rows, Text, Texts};
use super::endpoint::{Access, Endpoint, Field, Param, Shape, field};
use super::failure::Failure;
use crate::store::Error;
use crate::store::sql::QueryLimits;

const CONNECTION: &[Field] = &[field("connection_url", "", Text)];
const TABLES: &[Field] = &[field("tables", "", Texts), field("message", "", Text)];
const RESULT: &[Field] =
    &[field("headers", "", Texts), field("rows", "", Rows), field("max_rows_reached", "", Flag)];
const ROLLED: &[Field] = &[field("connection_url", "", Text)];

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(
            "/v1/db/{org}/connection",
            "Where psql or sqlite3 read the tables; read-only",
            Access::Member,
            &[],
            &[(200, Shape::Object(CONNECTION))],
            |call| Box::pin(connection(call)),
        ),
        Endpoint::get(
            "/v1/db/{org}/tables",
            "Names of the replicated tables",
            Access::Member,
            &[],
            &[(200, Shape::Object(TABLES))],
            |call| Box::pin(tables(call)),
        ),
        Endpoint::post(
            "/v1/db/{org}/sql",
            "Run one reading statement; limited in rows, bytes and time",
            Access::Member,
            const { &[Param::text("query", "The statement").asked("Which statement?")] },
            &[(200, Shape::Object(RESULT))],
            |call| Box::pin(sql(call)),
        ),
        Endpoint::post(
            "/v1/db/{org}/roll_credentials",
            "Give the reading role another password",
            Access::Admin,
            const { &[Param::text("guard_confirm", "Sent, whatever it is: don't ask")] },
            &[(200, Shape::Single(ROLLED))],
            |call| Box::pin(roll(call)),
        ),
    ]
}

async fn connection(call: Call) -> Result<Answer, Failure> {
    let url = call.app.store.connection_url(call.organization().id).await?;
    Ok(Answer::object(json!({ "connection_url": *url })))
}

async fn tables(call: Call) -> Result<Answer, Failure> {
    let all = call.app.store.integrations(call.organization().id).await?;
    let mut names: Vec<String> = all.into_iter().map(|one| one.table_name).collect();
    names.sort();
    let message = match names.is_empty() {
        true => "There are no tables yet: create an integration first.",
        false => "",
    };
    Ok(Answer::object(json!({ "tables": names, "message": message })))
}

async fn sql(call: Call) -> Result<Answer, Failure> {
    let limits = &call.app.config.limits;
    let limits = QueryLimits {
        rows: limits.api_sql_rows_max,
        bytes: limits.api_sql_bytes_max,
        time: Duration::from_millis(limits.api_sql_timeout_ms),
        cut_rows: true,
    };
    let query = call.values.text("query");
    let answered = call.app.store.query(call.organization().id, &query, limits).await;
    let rows = answered.map_err(|error| match error {
        Error::Refused(reason) => Failure::forbidden("invalid_query", reason),
        other => other.into(),
    })?;
    Ok(Answer::object(json!({
        "headers": rows.columns,
        "rows": rows.rows,
        "max_rows_reached": rows.cut,
    })))
}

async fn roll(call: Call) -> Result<Answer, Failure> {
    if !call.values.has("guard_confirm") {
        let prompt = "Whoever uses the connection now will have to use the new one. Press Enter to \
                      go on, or Ctrl+C to stop.";
        let step = Step::ask(prompt, &call.url, "guard_confirm");
        return Err(Failure::prompt("guard_confirm", &step));
    }
    let organization = call.organization().id;
    call.app.store.roll_reader(organization).await?;
    let url = call.app.store.connection_url(organization).await?;
    let entity = json!({ "connection_url": *url });
    Ok(Answer::single(entity, "The credentials are new.", ROLLED))
}
