//! An organization's tables, by SQL.

mod foreign;

use std::time::Duration;

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use serde_json::{Value, json};

use super::answer::{Answer, Step};
use super::call::Call;
use super::endpoint::Json::{Flag, Rows, Text, Texts};
use super::endpoint::{Access, Endpoint, Field, Param, Shape, field};
use super::failure::Failure;
use crate::model::OrganizationId;
use crate::store::Error;
use crate::store::sql::{Asking, QueryLimits, Rows as Answered};

const CONNECTION: &[Field] = &[field("connection_url", "", Text)];
const TABLES: &[Field] = &[field("tables", "", Texts), field("message", "", Text)];
pub(super) const RESULT: &[Field] =
    &[field("headers", "", Texts), field("rows", "", Rows), field("max_rows_reached", "", Flag)];
const ROLLED: &[Field] = &[field("connection_url", "", Text)];

/// Of `run_sql`: its organization isn't part of the path.
const ANY: &[Param] = &[
    Param::text("org_identifier", "Id or key of the organization"),
    Param::text("query", "The statement"),
    Param::text("query_base64", "The statement in base64, as it is safe in a URL"),
];

/// Base64 as it is safe in a URL, with padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

pub(super) fn endpoints() -> Vec<Endpoint> {
    let mut all = of_organizations();
    all.push(foreign::endpoint());
    all.extend([
        Endpoint::get(
            "/v1/db/run_sql",
            "Run one reading statement, from a page of any origin too",
            Access::Reader,
            ANY,
            &[(200, Shape::Object(RESULT))],
            |call| Box::pin(sql_anywhere(call)),
        )
        .for_any_origin(),
        Endpoint::post(
            "/v1/db/run_sql",
            "Run one reading statement, from a page of any origin too",
            Access::Reader,
            ANY,
            &[(200, Shape::Object(RESULT))],
            |call| Box::pin(sql_anywhere(call)),
        )
        .for_any_origin(),
    ]);
    all
}

fn of_organizations() -> Vec<Endpoint> {
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
            Access::Reader,
            const { &[Param::text("query", "The statement").asked("Statement:")] },
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
    answer(&call, call.organization().id, &call.values.text("query")).await
}

async fn sql_anywhere(call: Call) -> Result<Answer, Failure> {
    let Some(org) = call.values.given("org_identifier") else {
        return Err(Failure::field("org_identifier", "is missing"));
    };
    let found = call.readable(&org).await?;
    let query = match (call.values.given("query"), call.values.given("query_base64")) {
        (Some(query), None) => query,
        (None, Some(encoded)) => {
            let decoded = BASE64.decode(encoded.trim()).ok();
            let text = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
            text.filter(|text| !text.contains('\0'))
                .ok_or_else(|| Failure::field("query_base64", "must be base64 of a text"))?
        }
        _ => return Err(Failure::field("query", "or query_base64 must be given, not both")),
    };
    answer(&call, found.id, &query).await
}

async fn answer(call: &Call, of: OrganizationId, query: &str) -> Result<Answer, Failure> {
    let rows = run(call, of, query, Asking::Reader).await.map_err(|error| match error {
        Error::Refused(reason) => Failure::forbidden("invalid_query", reason),
        other => other.into(),
    })?;
    Ok(result(rows))
}

/// Runs a statement under the limits of the API, when there is room for it.
pub(super) async fn run(
    call: &Call,
    of: OrganizationId,
    query: &str,
    asking: Asking,
) -> Result<Answered, Error> {
    let _admitted = call.app.queries.enter(of, asking).await?;
    let limits = &call.app.config.limits;
    let limits = QueryLimits {
        rows: limits.api_sql_rows_max,
        bytes: limits.api_sql_bytes_max,
        time: Duration::from_millis(limits.api_sql_timeout_ms),
        memory_bytes: limits.api_sql_memory_bytes_max,
        cut_rows: true,
    };
    call.app.store.query(of, query, limits).await
}

pub(super) fn result(rows: Answered) -> Answer {
    let mut answer = json!({ "headers": rows.columns, "max_rows_reached": rows.cut });
    // Moved: there may be many.
    answer["rows"] = rows.rows.into_iter().map(Value::Array).collect();
    Answer::object(answer)
}

async fn roll(call: Call) -> Result<Answer, Failure> {
    if !call.values.has("guard_confirm") {
        let prompt = "Whoever uses the connection now will have to use the new one. Press Enter to \
                      go on, or Ctrl+C to stop:";
        let step = Step::ask(prompt, &call.url, "guard_confirm");
        return Err(Failure::prompt("guard_confirm", &step));
    }
    let organization = call.organization().id;
    call.app.store.roll_reader(organization).await?;
    let url = call.app.store.connection_url(organization).await?;
    let entity = json!({ "connection_url": *url });
    Ok(Answer::single(entity, "The credentials are new.", ROLLED))
}
