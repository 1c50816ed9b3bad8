//! How a server is reached: what its URLs say, and databases that are made where they are missing.

use std::str::FromStr as _;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, PgConnection};

use crate::store::Error;

/// PostgreSQL's code for a database that doesn't exist.
const NO_SUCH_DATABASE: &str = "3D000";

/// Connects; makes the database first where it is missing and the role may.
pub(super) async fn connect_or_create(options: &PgConnectOptions) -> Result<PgConnection, Error> {
    let options = options.clone().disable_statement_logging();
    match options.connect().await {
        Ok(connection) => return Ok(connection),
        Err(error) if !is_missing(&error) => return Err(Error::Unavailable(error.to_string())),
        Err(_) => {}
    }
    let database = name(&options).to_owned();
    let refused = |error: sqlx::Error| {
        Error::Refused(format!(
            "there is no database {database}, and it can't be made: {error}; make it, or name one \
             that exists"
        ))
    };
    let mut beside = options.clone().database("postgres").connect().await.map_err(refused)?;
    let create = format!(
        "create database \"{database}\" template template0 encoding 'UTF8' lc_collate 'C' lc_ctype 'C'"
    );
    let created = beside.execute(create.as_str()).await;
    let _ = beside.close().await;
    // Where another host was faster, it is there now.
    match options.connect().await {
        Ok(connection) => Ok(connection),
        Err(error) => Err(refused(created.err().unwrap_or(error))),
    }
}

fn is_missing(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).as_deref() == Some(NO_SUCH_DATABASE)
}

pub(super) fn parse(key: &str, url: &str) -> Result<PgConnectOptions, Error> {
    let scheme = url.split_once("://").map(|(scheme, _)| scheme);
    if !matches!(scheme, Some("postgres" | "postgresql")) {
        return Err(Error::Refused(format!(
            "{key} must be like postgres://user:password@host/database"
        )));
    }
    let options = PgConnectOptions::from_str(url)
        .map_err(|error| Error::Refused(format!("{key}: {error}")))?;
    if options.get_database().is_none_or(str::is_empty) {
        return Err(Error::Refused(format!("{key} names no database")));
    }
    // That something was there already is no news.
    Ok(options.options([("client_min_messages", "warning")]))
}

pub(super) fn name(options: &PgConnectOptions) -> &str {
    options.get_database().unwrap_or_default()
}
