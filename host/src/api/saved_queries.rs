//! Statements that an organization keeps, and runs by their ids.

use serde_json::{Value, json};

use super::answer::{Answer, Step, line, table};
use super::call::{Call, Caller};
use super::databases::{self, RESULT};
use super::endpoint::Json::{Flag, Text};
use super::endpoint::{Access, Endpoint, Field, Kind, Param, Shape, field};
use super::failure::Failure;
use crate::model::OrganizationId;
use crate::store::Error;
use crate::store::saved_queries::{Change, NewSavedQuery, SavedQuery, TEXT_BYTES_MAX};
use crate::store::sql::Asking;

const QUERY: &[Field] = &[
    field("id", "Id", Text),
    field("description", "Description", Text),
    field("sql", "", Text),
    field("public", "Public", Flag),
    field("run_url", "Run URL", Text),
];
const ONE: &[(u16, Shape)] = &[(200, Shape::Single(QUERY))];
const RAN: &[(u16, Shape)] = &[(200, Shape::Object(RESULT))];
const INFO: [&str; 5] = ["id", "description", "public", "run_url", "sql"];

macro_rules! of {
    ($path:literal) => {
        concat!("/v1/organizations/{org}/saved_queries", $path)
    };
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    [reading(), writing()].into_iter().flatten().collect()
}

fn reading() -> Vec<Endpoint> {
    vec![
        Endpoint::get(
            of!(""),
            "All queries that an organization keeps",
            Access::Member,
            &[],
            &[(200, Shape::Collection(QUERY))],
            |call| Box::pin(list(call)),
        ),
        Endpoint::get(of!("/{q}"), "A query", Access::Member, &[], ONE, |call| {
            Box::pin(show(call))
        }),
        Endpoint::get(of!("/{q}/run"), "Run a query", Access::Member, &[], RAN, |call| {
            Box::pin(run(call))
        }),
        Endpoint::post(
            of!("/{q}/info"),
            "All of a query, or one field of it",
            Access::Member,
            const { &[Param::text("field", "Which; all if empty").of(Kind::OneOf(&INFO))] },
            &[(200, Shape::Blocks)],
            |call| Box::pin(info(call)),
        ),
        Endpoint::get(
            "/v1/saved_queries/{q}/run",
            "Run a query; a public one for anybody who knows its id",
            Access::Anybody,
            &[],
            RAN,
            |call| Box::pin(run_anywhere(call)),
        )
        .for_any_origin(),
    ]
}

fn writing() -> Vec<Endpoint> {
    vec![
        Endpoint::post(
            of!("/create"),
            "Keep a query; it is run once to see that it works",
            Access::Member,
            const {
                &[
                    Param::text("description", "What it is for").asked("What the query is for:"),
                    Param::text("sql", "The statement").asked("Statement:"),
                    Param::text("public", "Whoever knows its id may run it").of(Kind::Flag),
                ]
            },
            ONE,
            |call| Box::pin(create(call)),
        ),
        Endpoint::post(
            of!("/{q}/update"),
            "Change a field of a query; for who made it, and admins",
            Access::Member,
            const {
                &[
                    Param::text("field", "Which")
                        .of(Kind::OneOf(&["description", "sql", "public"]))
                        .asked("Field (description, sql, public):"),
                    Param::text("value", "Its new value").asked("New value:"),
                ]
            },
            ONE,
            |call| Box::pin(update(call)),
        ),
        Endpoint::post(
            of!("/{q}/delete"),
            "Forget a query; for who made it, and admins",
            Access::Member,
            &[],
            ONE,
            |call| Box::pin(delete(call)),
        ),
    ]
}

async fn list(call: Call) -> Result<Answer, Failure> {
    let all = call.app.store.saved_queries(call.organization().id).await?;
    let items = all.iter().map(|query| entity(&call, query)).collect();
    let none = "There are no saved queries yet. Make one: saved-query create";
    Ok(Answer::collection(items, none, QUERY))
}

async fn show(call: Call) -> Result<Answer, Failure> {
    let query = found(&call).await?;
    Ok(Answer::single(entity(&call, &query), "Run it: saved-query run", QUERY))
}

async fn run(call: Call) -> Result<Answer, Failure> {
    let query = found(&call).await?;
    let ran = databases::run(&call, query.organization_id, &query.sql, Asking::Reader).await;
    Ok(databases::result(ran.map_err(|error| match error {
        Error::Refused(reason) => Failure::invalid("invalid_query", does_not_work(&reason)),
        other => other.into(),
    })?))
}

/// Tells whoever may not know it nothing: not even that there is such a query.
async fn run_anywhere(call: Call) -> Result<Answer, Failure> {
    let forbidden = || Failure::forbidden("forbidden", "You may not run that");
    let query = call.app.store.saved_query(call.path("q")).await?.ok_or_else(forbidden)?;
    let asking = match call.may_read(query.organization_id).await? {
        true => Asking::Reader,
        false if query.public => Asking::Stranger,
        false => return Err(forbidden()),
    };
    let ran = databases::run(&call, query.organization_id, &query.sql, asking).await;
    Ok(databases::result(ran.map_err(|error| match error {
        Error::Refused(_) => Failure::invalid("invalid_query", "The query doesn't work any more"),
        other => other.into(),
    })?))
}

async fn info(call: Call) -> Result<Answer, Failure> {
    let query = found(&call).await?;
    let entity = entity(&call, &query);
    let text = |name: &str| match &entity[name] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if let Some(field) = call.values.given("field") {
        return Ok(Answer::blocks(vec![line(text(&field))]));
    }
    let labels = ["Id", "Description", "Public", "Run URL", "SQL"];
    let rows = labels.iter().zip(INFO);
    let rows = rows.map(|(label, name)| vec![Some((*label).to_owned()), Some(text(name))]);
    Ok(Answer::blocks(vec![table(&["Field", "Value"], rows.collect())]))
}

async fn create(call: Call) -> Result<Answer, Failure> {
    let organization = call.organization().id;
    let sql = short("sql", call.values.text("sql"))?;
    let description = call.values.text("description").trim().to_owned();
    check(&call, organization, "sql", &sql).await?;
    let new = NewSavedQuery {
        organization_id: organization,
        created_by: customer(&call),
        description: short("description", description)?,
        sql,
        public: call.values.flag("public"),
    };
    let made = call.app.store.save_query(new).await?;
    let id = &made.id;
    let message = format!("The query is kept as {id}. Run it: saved-query run {id}");
    Ok(Answer::single(entity(&call, &made), message, QUERY))
}

async fn update(call: Call) -> Result<Answer, Failure> {
    let query = editable(&call).await?;
    let (field, value) = (call.values.text("field"), call.values.text("value"));
    let change = match field.as_str() {
        "sql" => {
            let sql = short("value", value)?;
            check(&call, query.organization_id, "value", &sql).await?;
            Change::Sql(sql)
        }
        "public" => {
            let says = call.values.as_flag("value");
            Change::Public(says.ok_or_else(|| Failure::field("value", "must be true or false"))?)
        }
        _ => Change::Description(short("value", value.trim().to_owned())?),
    };
    let changed = call.app.store.change_saved_query(&query.id, change).await?;
    let query = changed.ok_or_else(|| no_such(&query.id))?;
    // What it is now may be long.
    let message = format!("The {field} of {} is changed.", query.id);
    Ok(Answer::single(entity(&call, &query), message, QUERY))
}

async fn delete(call: Call) -> Result<Answer, Failure> {
    let query = editable(&call).await?;
    call.app.store.delete_saved_query(&query.id).await?;
    let message = format!("The query {} is forgotten.", query.id);
    Ok(Answer::single(entity(&call, &query), message, QUERY))
}

/// The query of the path.
async fn found(call: &Call) -> Result<SavedQuery, Failure> {
    let found = call.app.store.saved_query(call.path("q")).await?;
    found
        .filter(|query| query.organization_id == call.organization().id)
        .ok_or_else(|| no_such(call.path("q")))
}

fn no_such(id: &str) -> Failure {
    Failure::forbidden("no_such_query", format!("There is no saved query `{id}`"))
}

fn short(param: &str, text: String) -> Result<String, Failure> {
    match text.len() <= TEXT_BYTES_MAX {
        true => Ok(text),
        false => Err(Failure::field(param, format!("must have {TEXT_BYTES_MAX} bytes at most"))),
    }
}

/// The same, for who may change it.
async fn editable(call: &Call) -> Result<SavedQuery, Failure> {
    let query = found(call).await?;
    let made_it = query.created_by.is_some() && query.created_by == customer(call);
    match made_it || call.is_admin() {
        true => Ok(query),
        false => Err(Failure::forbidden(
            "forbidden",
            "You need to have made the query, or to be an admin of the organization",
        )),
    }
}

fn customer(call: &Call) -> Option<i64> {
    match &call.caller {
        Caller::Customer { customer, .. } => Some(customer.id),
        _ => None,
    }
}

/// Runs a statement; one that doesn't work is asked for again under the name of its parameter.
async fn check(call: &Call, of: OrganizationId, param: &str, sql: &str) -> Result<(), Failure> {
    let reason = match databases::run(call, of, sql, Asking::Reader).await {
        Ok(_) => return Ok(()),
        Err(Error::Refused(reason)) => reason,
        Err(other) => return Err(other.into()),
    };
    let mut step = Step::ask("Another statement:", &call.url, param).output(does_not_work(&reason));
    step.post_params = call.values.sent().clone();
    step.post_params.remove(param);
    Err(Failure::prompt(param, &step))
}

fn does_not_work(reason: &str) -> String {
    format!("The query doesn't work: {reason}")
}

fn entity(call: &Call, query: &SavedQuery) -> Value {
    json!({
        "id": query.id,
        "description": query.description,
        "sql": query.sql,
        "public": query.public,
        "run_url": format!("{}/v1/saved_queries/{}/run", call.app.public_url(), query.id),
    })
}
