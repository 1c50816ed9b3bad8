//! A mirror: a copy of a table in a customer's PostgreSQL database. Each page is one transaction
//! there, and comes to the same however often it is applied, so a lost acknowledgement does no harm.
//!
//! Rows are found by the unique key, as the feed tells of them; their numbers follow. A copy goes
//! through the table by its numbers, and each of its pages removes what the mirror has between them
//! and the table hasn't: behind the last page the mirror is the table, without a list of what was
//! seen.

mod address;
mod own;
mod rows;
mod sql;

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgRow, PgSslMode};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, FromRow, Postgres, Transaction};

pub use address::DatabaseAddress;
pub use own::OwnDatabases;

use super::decision::Outcome;
use crate::egress::{Relay, Relays};
use crate::rows::TableSpec;
use crate::store::feed::{CopyPart, Page};
use crate::store::moves;
use crate::store::tables::missing_columns;
use crate::store::targets::Target;
use crate::store::{Argument, Dialect};
use rows::PageRows;
use sql::Mirror;

/// Rows of a page where the customer can't say it.
pub const PAGE_ROWS: i64 = 1_000;

/// Rows that a copy removes in one statement. What is beyond them goes in further transactions.
const SWEPT_ROWS: i64 = 10_000;

/// No more of a server's words is kept.
const TOLD_CHARS_MAX: usize = 300;

/// Of PostgreSQL: it takes neither user nor password.
const REFUSED_CREDENTIALS: &str = "28";

/// What a page is applied for.
pub(super) struct Holder<'a> {
    pub(super) target: &'a Target,
    /// Of the table that is mirrored.
    pub(super) spec: &'a TableSpec,
    pub(super) fence: i64,
    /// Of the whole page, at the destination too.
    pub(super) timeout: Duration,
}

/// A connection to a customer's database.
pub(super) struct Session {
    connection: PgConnection,
    /// The mirror was found as it must be.
    prepared: bool,
    _relay: Relay,
}

/// Why a page wasn't applied.
enum Failure {
    Database(sqlx::Error),
    /// In our own words.
    Refused(String),
    /// The mirror is gone, or another one.
    Lost,
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

/// Applies a page. `session` is used, and kept for the next page if this one went well.
pub(super) async fn apply(
    session: &mut Option<Session>,
    relays: &Relays,
    address: &DatabaseAddress,
    holder: &Holder<'_>,
    page: &Page,
) -> Outcome {
    let kept = session.take();
    let applied = async {
        let mut session = match kept {
            Some(session) => session,
            None => connect(relays, address).await?,
        };
        match session.apply(holder, page).await {
            Ok(()) => Ok((Some(session), Outcome::Taken)),
            Err(Failure::Lost) => Ok((None, Outcome::Lost)),
            Err(Failure::Refused(reason)) => Err(reason),
            Err(Failure::Database(error)) => Err(told(&error, address)),
        }
    };
    match contained(holder.timeout, applied).await {
        Ok((kept, outcome)) => {
            *session = kept;
            outcome
        }
        Err(reason) => Outcome::Unanswered(reason),
    }
}

/// Asks whether a database is there.
///
/// # Errors
/// Why not, without secrets.
pub(super) async fn verify(
    relays: &Relays,
    address: &DatabaseAddress,
    timeout: Duration,
) -> Result<(), String> {
    let asked = async {
        let mut session = connect(relays, address).await?;
        let answered = session.connection.execute("select 1").await;
        answered.map(drop).map_err(|error| told(&error, address))
    };
    let answered = contained(timeout, asked).await;
    answered.map_err(|reason| format!("must answer `select 1`: {reason}"))
}

/// What is said to a server, in time and whatever it answers: sqlx panics on messages that PostgreSQL
/// wouldn't send, and on users that SCRAM has no form of.
async fn contained<T>(
    timeout: Duration,
    said: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    match tokio::time::timeout(timeout, AssertUnwindSafe(said).catch_unwind()).await {
        Ok(Ok(ended)) => ended,
        Ok(Err(_)) => Err("it doesn't speak as PostgreSQL does, or not with such a user".into()),
        Err(_) => Err("no answer in time".into()),
    }
}

async fn connect(relays: &Relays, address: &DatabaseAddress) -> Result<Session, String> {
    let relay = relays.open(&address.server).await.map_err(|error| error.to_string())?;
    // Nothing but PGOPTIONS is left to what the environment says of other databases. TLS is the
    // relay's business.
    let options = PgConnectOptions::new_without_pgpass()
        .socket(relay.directory())
        .port(Relay::PORT)
        .username(&address.user)
        .password(&address.password)
        .database(&address.database)
        .ssl_mode(PgSslMode::Disable)
        .application_name("rowgate")
        // Poolers take no settings that they don't know.
        .extra_float_digits(None)
        .disable_statement_logging();
    let connection = options.connect().await.map_err(|error| told(&error, address))?;
    Ok(Session { connection, prepared: false, _relay: relay })
}

impl Session {
    async fn apply(&mut self, holder: &Holder<'_>, page: &Page) -> Result<(), Failure> {
        // Under the mirror's own name: what doesn't fit is said of it.
        let table_name = holder.target.to_table.clone();
        let spec = TableSpec { table_name, ..holder.spec.clone() };
        let mirror = Mirror { schema: &holder.target.to_schema, spec: &spec };
        let rows = PageRows::new(&spec, page).map_err(Failure::Refused)?;
        let mut transaction = begin(&mut self.connection, holder.timeout).await?;
        if !self.prepared {
            let begins = page.copy.as_ref().is_some_and(CopyPart::is_first);
            prepare(&mut transaction, &mirror, &holder.target.id, begins).await?;
        }
        plant_fence(&mut transaction, &mirror, holder).await?;
        write(&mut transaction, &mirror, &rows).await?;
        let mut more = sweep(&mut transaction, &mirror, page.copy.as_ref(), &rows).await?;
        transaction.commit().await?;
        self.prepared = true;
        while more {
            let mut transaction = begin(&mut self.connection, holder.timeout).await?;
            plant_fence(&mut transaction, &mirror, holder).await?;
            more = sweep(&mut transaction, &mirror, page.copy.as_ref(), &rows).await?;
            transaction.commit().await?;
        }
        Ok(())
    }
}

async fn begin(
    connection: &mut PgConnection,
    timeout: Duration,
) -> sqlx::Result<Transaction<'_, Postgres>> {
    let mut transaction = connection.begin().await?;
    transaction.execute(sql::settings(timeout.as_millis()).as_str()).await?;
    Ok(transaction)
}

/// Makes what is missing. `begins`: the page is the first of a copy. Any other one needs the mirror
/// that those before it have filled.
async fn prepare(
    connection: &mut PgConnection,
    mirror: &Mirror<'_>,
    target_id: &str,
    begins: bool,
) -> Result<(), Failure> {
    let schema = || Argument::from(mirror.schema);
    let holds_tables: Vec<(bool,)> = fetch(connection, sql::HOLDS_TABLES, &[]).await?;
    if holds_tables == [(true,)] && moves::SCHEMAS.contains(&mirror.schema) {
        // A mirror of a table is swept: it must not be one that is synced to.
        let reason = format!(
            "an organization's tables lie in the schema {}: name another one for the mirror",
            mirror.schema
        );
        return Err(Failure::Refused(reason));
    }
    let there: Vec<(bool, bool)> = fetch(connection, sql::SCHEMA, &[schema()]).await?;
    let (has_schema, has_mirrors) = there.first().copied().unwrap_or_default();
    let table = Argument::from(mirror.spec.table_name.as_str());
    let columns: Vec<(String, String)> =
        fetch(connection, sql::COLUMNS, &[schema(), table]).await?;
    let is_known = has_mirrors && {
        let known: Vec<(bool,)> =
            fetch(connection, &mirror.known(), &[Argument::from(target_id)]).await?;
        known == [(true,)]
    };
    if !begins && (columns.is_empty() || !is_known) {
        return Err(Failure::Lost);
    }
    let mut statements = Vec::new();
    if !has_schema {
        statements.push(mirror.create_schema());
    }
    if !has_mirrors {
        statements.push(mirror.create_mirrors());
    }
    if columns.is_empty() {
        statements.push(mirror.create_table());
    } else {
        let missing = missing_columns(Dialect::Postgres, mirror.spec, &columns);
        let missing = missing.map_err(|error| Failure::Refused(error.to_string()))?;
        statements.extend(missing.into_iter().map(|column| mirror.add_column(column)));
    }
    if !statements.is_empty() {
        statements.insert(0, sql::ALONE.to_owned());
    }
    for statement in statements {
        execute(connection, &statement, &[]).await?;
    }
    Ok(())
}

async fn plant_fence(
    connection: &mut PgConnection,
    mirror: &Mirror<'_>,
    holder: &Holder<'_>,
) -> Result<(), Failure> {
    let arguments = [Argument::from(holder.target.id.as_str()), Argument::from(holder.fence)];
    match execute(connection, &mirror.plant_fence(), &arguments).await? {
        0 => Err(Failure::Refused("another host has gone on meanwhile".into())),
        _ => Ok(()),
    }
}

/// What is gone comes first: its numbers may be others' by now.
async fn write(
    connection: &mut PgConnection,
    mirror: &Mirror<'_>,
    rows: &PageRows<'_>,
) -> Result<(), Failure> {
    if rows.has_gone {
        execute(connection, &mirror.delete(), std::slice::from_ref(&rows.gone)).await?;
    }
    if rows.has_rows {
        let claimed = [rows.numbers(), rows.keys()].map(Clone::clone);
        execute(connection, &mirror.make_room(), &claimed).await?;
        execute(connection, &mirror.upsert(), &rows.columns).await?;
    }
    Ok(())
}

/// Removes what lies between the numbers of a copy's page and isn't in it. True: there may be more.
async fn sweep(
    connection: &mut PgConnection,
    mirror: &Mirror<'_>,
    copy: Option<&CopyPart>,
    rows: &PageRows<'_>,
) -> Result<bool, Failure> {
    let Some(copy) = copy else { return Ok(false) };
    let after_pk = copy.after_pk.unwrap_or(i64::MIN);
    let upto_pk = if copy.last { i64::MAX } else { rows.last_pk.unwrap_or(after_pk) };
    let arguments = [after_pk.into(), upto_pk.into(), rows.keys().clone(), SWEPT_ROWS.into()];
    let swept = execute(connection, &mirror.sweep(), &arguments).await?;
    Ok(i64::try_from(swept).is_ok_and(|swept| swept >= SWEPT_ROWS))
}

/// How many rows it touched. Not prepared for a next time: a pooler between may lead that elsewhere.
async fn execute(
    connection: &mut PgConnection,
    sql: &str,
    arguments: &[Argument<'_>],
) -> sqlx::Result<u64> {
    let statement = sqlx::query_with(sql, bound(arguments)?).persistent(false);
    Ok(statement.execute(connection).await?.rows_affected())
}

async fn fetch<R: for<'r> FromRow<'r, PgRow> + Send + Unpin>(
    connection: &mut PgConnection,
    sql: &str,
    arguments: &[Argument<'_>],
) -> sqlx::Result<Vec<R>> {
    let statement = sqlx::query_as_with(sql, bound(arguments)?).persistent(false);
    statement.fetch_all(connection).await
}

fn bound(arguments: &[Argument<'_>]) -> sqlx::Result<PgArguments> {
    let mut bound = PgArguments::default();
    arguments.iter().try_for_each(|argument| argument.add_to(&mut bound))?;
    Ok(bound)
}

/// What a server, or the way there, has to say, on one line: it ends up in somebody's terminal.
fn told(error: &sqlx::Error, address: &DatabaseAddress) -> String {
    let text = match error.as_database_error() {
        None => error.to_string(),
        Some(database) => {
            let code = database.code().unwrap_or_default();
            match code.starts_with(REFUSED_CREDENTIALS) {
                true => return "it refuses the user and password".into(),
                false => format!("{} (SQLSTATE {code})", database.message()),
            }
        }
    };
    let words = text.split(|letter: char| letter.is_whitespace() || letter.is_control());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    address.hide(&words.join(" ")).chars().take(TOLD_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests;
