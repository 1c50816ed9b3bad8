//! What is done at the destination in one transaction, step by step.

use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::{Connection as _, Executor as _, FromRow, Postgres, Transaction};

use super::Holder;
use super::failure::{Failure, one_line};
use super::rows::PageRows;
use super::sql::{self, Mirror};
use crate::store::feed::{Bookmark, CopyPart, Page};
use crate::store::moves;
use crate::store::tables::missing_columns;
use crate::store::targets::Target;
use crate::store::{Argument, Dialect};

/// Rows that a copy removes in one transaction. What is beyond them goes when its page comes once more.
pub(super) const SWEPT_ROWS: i64 = 10_000;

/// An id has fewer, if it is one of ours.
const TARGET_CHARS_MAX: usize = 60;

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

pub(super) async fn begin(
    connection: &mut PgConnection,
    timeout: Duration,
) -> sqlx::Result<Transaction<'_, Postgres>> {
    let mut transaction = connection.begin().await?;
    transaction.execute(sql::settings(timeout.as_millis()).as_str()).await?;
    Ok(transaction)
}

/// Makes what is missing. `begins`: the page is the first of a copy. Any other one needs the mirror
/// that those before it have filled.
pub(super) async fn prepare(
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
    let kinds: Vec<(String,)> = fetch(connection, sql::KIND, &[schema(), table.clone()]).await?;
    if let Some(other) = kinds.first().and_then(|(kind,)| no_table(kind)) {
        let (schema, table) = (mirror.schema, &mirror.spec.table_name);
        let reason = format!("table {table}: {other} of this name is in the schema {schema}");
        return Err(Failure::Refused(reason));
    }
    let columns: Vec<(String, String)> =
        fetch(connection, sql::COLUMNS, &[schema(), table]).await?;
    if has_mirrors {
        left_alone(connection, mirror, target_id).await?;
    }
    if !begins && (columns.is_empty() || !has_mirrors) {
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

/// What it is, where it is no table that rows lie in. (`pg_class.relkind`)
fn no_table(kind: &str) -> Option<&'static str> {
    match kind {
        "r" | "p" => None,
        "v" => Some("a view"),
        "m" => Some("a materialized view"),
        "f" => Some("a foreign table"),
        "S" => Some("a sequence"),
        "i" | "I" => Some("an index"),
        _ => Some("something else"),
    }
}

/// Refuses a table that another target fills: a copy would remove that one's rows.
async fn left_alone(
    connection: &mut PgConnection,
    mirror: &Mirror<'_>,
    target_id: &str,
) -> Result<(), Failure> {
    let table = mirror.spec.table_name.as_str();
    let arguments = [Argument::from(table), Argument::from(target_id)];
    let others: Vec<(String,)> = fetch(connection, &mirror.filled_by(), &arguments).await?;
    let Some((other,)) = others.first() else { return Ok(()) };
    let other = one_line(other, TARGET_CHARS_MAX);
    Err(filled_by(mirror, &format!("the target {other}")))
}

fn filled_by(mirror: &Mirror<'_>, other: &str) -> Failure {
    let (table, schema) = (&mirror.spec.table_name, mirror.schema);
    Failure::Refused(format!(
        "table {table} is the mirror of {other}, whose rows would be removed; if that one is gone, \
         delete its row in {schema}.rowgate_mirrors"
    ))
}

/// Takes the mirror for a target. Touches no row where a later holder was here. Whoever takes the same one at this
/// moment is waited for, and isn't there to be seen before.
async fn take(
    connection: &mut PgConnection,
    mirror: &Mirror<'_>,
    arguments: &[Argument<'_>],
) -> Result<u64, Failure> {
    let taken = execute(connection, &mirror.begin(), arguments).await;
    taken.map_err(|error| {
        // The target is the row's own key, on which there is no conflict.
        match error.as_database_error().is_some_and(DatabaseError::is_unique_violation) {
            true => filled_by(mirror, "another target"),
            false => Failure::Database(error),
        }
    })
}

/// Does what the first page of a target that is to be made does, without rows, and undoes it: what is refused here
/// would be refused by that.
pub(super) async fn try_out(
    connection: &mut PgConnection,
    mirror: &Mirror<'_>,
    timeout: Duration,
) -> Result<(), Failure> {
    const TARGET: &str = "trial";
    let nothing = Page { changes: Vec::new(), copy: None, end: Bookmark::Start, more: false };
    let rows = PageRows::new(mirror.spec, &nothing).map_err(Failure::Refused)?;
    let mut transaction = begin(connection, timeout).await?;
    prepare(&mut transaction, mirror, TARGET, true).await?;
    let (fence, end) = (Argument::from(0_i64), Argument::from(nothing.end.text()));
    let table = Argument::from(mirror.spec.table_name.as_str());
    take(&mut transaction, mirror, &[TARGET.into(), fence, end, table]).await?;
    execute(&mut transaction, &mirror.delete(), std::slice::from_ref(&rows.gone)).await?;
    execute(&mut transaction, &mirror.upsert(), &rows.columns).await?;
    Ok(transaction.rollback().await?)
}

/// Plants the fence, and beside it where the page leads. The mirror must stand where the page begins:
/// behind the last page that we know to be taken, or behind one that went on from there and whose
/// acknowledgement was lost. Anything else is an older copy, or another's work. A copy's first page needs
/// nothing; nor does a page go on from it before it is known to be taken.
pub(super) async fn move_on(
    connection: &mut PgConnection,
    mirror: &Mirror<'_>,
    holder: &Holder<'_>,
    page: &Page,
) -> Result<(), Failure> {
    let Holder { target, fence, .. } = holder;
    let (id, end) = (Argument::from(target.id.as_str()), Argument::from(page.end.text()));
    let fence_argument = Argument::from(fence);
    let moved = if page.copy.as_ref().is_some_and(CopyPart::is_first) {
        let table = Argument::from(mirror.spec.table_name.as_str());
        let arguments = [id.clone(), fence_argument, end, table];
        take(connection, mirror, &arguments).await?
    } else {
        let taken = Argument::from(target.taken.as_deref());
        let arguments = [id.clone(), fence_argument, end, taken];
        execute(connection, &mirror.go_on(), &arguments).await?
    };
    if moved > 0 {
        return Ok(());
    }
    let planted: Vec<(i64,)> = fetch(connection, &mirror.fence(), &[id]).await?;
    match planted.first() {
        Some((planted,)) if planted > fence => {
            Err(Failure::Refused("another host has gone on meanwhile".into()))
        }
        _ => Err(Failure::Lost),
    }
}

/// What is gone comes first: its numbers may be others' by now.
pub(super) async fn write(
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
pub(super) async fn sweep(
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

/// Removes the target's row, if there are any.
pub(super) async fn leave(connection: &mut PgConnection, target: &Target) -> sqlx::Result<()> {
    let schema = target.to_schema.as_str();
    let there: Vec<(bool, bool)> =
        fetch(connection, sql::SCHEMA, &[Argument::from(schema)]).await?;
    if there == [(true, true)] {
        let target_id = Argument::from(target.id.as_str());
        execute(connection, &sql::leave(schema), &[target_id]).await?;
    }
    Ok(())
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
