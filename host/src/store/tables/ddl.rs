//! `create table` and what keeps it in step with its manifest.

use std::fmt::Write as _;
use std::sync::Arc;

use super::dialect::{literal, quoted};
use crate::rows::{ColumnSpec, IndexSpec, Role, TableSpec};
use crate::store::{Connection, Database, Dialect, Error, query, query_as, query_scalar};
use rowgate_manifest::{Literal, PartialCondition};

/// Why a table could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// A table of this name stands, and no new column can make it fit.
    #[error("table {table}: column {column} {reason}; rename the old table away")]
    Incompatible {
        /// Name of the table in the database.
        table: String,
        /// Name of the column.
        column: String,
        /// What doesn't fit.
        reason: String,
    },
    /// Somebody else is about to tell of it.
    #[error("table {table} was renamed to {now}")]
    Renamed {
        /// Its old name.
        table: String,
        /// Its new name.
        now: String,
    },
    /// The database's fault.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl From<SchemaError> for Error {
    fn from(error: SchemaError) -> Self {
        match error {
            SchemaError::Database(error) => Self::Database(error),
            refused => Self::Refused(refused.to_string()),
        }
    }
}

/// Moves when a table is renamed or dropped.
pub async fn layout(database: &Database) -> Result<i64, Error> {
    let version = query_scalar("select version from rowgate_layout");
    Ok(version.fetch_one(database.readers()).await?)
}

/// See [`layout`]. Under [`alone`].
pub(super) async fn move_layout(conn: &mut Connection) -> sqlx::Result<()> {
    query("update rowgate_layout set version = version + 1").execute(conn).await.map(drop)
}

/// Refuses what was decided when the layout was another one. Under [`alone`].
pub(super) async fn must_stand(conn: &mut Connection, layout: i64) -> Result<(), Error> {
    let stands: i64 = query_scalar("select version from rowgate_layout").fetch_one(conn).await?;
    match stands == layout {
        true => Ok(()),
        false => Err(Error::Superseded("tables were renamed or dropped meanwhile")),
    }
}

/// Creates tables that aren't there yet, and adds columns that are missing. `layout` was read before
/// the names of the tables were.
///
/// # Errors
/// [`Error::Superseded`]: tables were renamed or dropped since, these may be among them.
pub async fn create_all(
    database: &Database,
    specs: Vec<Arc<TableSpec>>,
    layout: i64,
) -> Result<(), Error> {
    database
        .write(move |connection| {
            Box::pin(async move {
                alone(connection).await?;
                must_stand(connection, layout).await?;
                for spec in specs {
                    create(connection, &spec).await?;
                }
                Ok(())
            })
        })
        .await
}

/// Until the transaction ends nobody else makes, renames or drops tables of the organization. Of two that
/// make the same table at once `if not exists` lets one fail, and one that is being renamed would be made
/// again. The row is out of readers' reach; an advisory lock of the database isn't.
pub(super) async fn alone(conn: &mut Connection) -> sqlx::Result<()> {
    if conn.dialect() == Dialect::Postgres {
        query("select version from rowgate_layout for update").execute(conn).await?;
    }
    Ok(())
}

/// Makes table and indexes where they are missing, columns too.
pub async fn create(conn: &mut Connection, spec: &TableSpec) -> Result<(), SchemaError> {
    if let Some(now) = super::rename::renamed(conn, &spec.table_name).await? {
        return Err(SchemaError::Renamed { table: spec.table_name.clone(), now });
    }
    query(create_table(conn.dialect(), spec)).execute(&mut *conn).await?;
    add_missing_columns(conn, spec).await?;
    // PostgreSQL keeps writers out before it looks whether an index is there.
    let there = indexes(conn, &spec.table_name).await?;
    for index in spec.indexes.iter().filter(|index| !there.contains(&index.name)) {
        query(create_index(spec, index)).execute(&mut *conn).await?;
    }
    Ok(())
}

/// Adds the columns that a table of an earlier manifest doesn't have; returns their names. Columns
/// that left the manifest stay.
pub async fn add_missing_columns(
    conn: &mut Connection,
    spec: &TableSpec,
) -> Result<Vec<String>, SchemaError> {
    let dialect = conn.dialect();
    let there = columns(conn, &spec.table_name).await?;
    let mut added = Vec::new();
    for column in missing_columns(dialect, spec, &there)? {
        let table = quoted(&spec.table_name);
        let definition = definition(dialect, spec, column);
        let sql = format!("alter table {table} add column {definition}");
        query(sql).execute(&mut *conn).await?;
        added.push(column.name.clone());
    }
    Ok(added)
}

/// The columns that a table lacks, of which each name and type is given that it has.
///
/// # Errors
/// One of them can't be added, or another has a type that doesn't fit.
pub(crate) fn missing_columns<'s>(
    dialect: Dialect,
    spec: &'s TableSpec,
    there: &[(String, String)],
) -> Result<Vec<&'s ColumnSpec>, SchemaError> {
    let mut missing = Vec::new();
    for column in &spec.columns {
        let incompatible = |reason: String| SchemaError::Incompatible {
            table: spec.table_name.clone(),
            column: column.name.clone(),
            reason,
        };
        match there.iter().find(|(name, _)| *name == column.name) {
            Some((_, kind))
                if column.role == Role::Pk || kind == dialect.column_type(column.kind) => {}
            Some((_, kind)) => {
                let wanted = dialect.column_type(column.kind);
                return Err(incompatible(format!("has type {kind}, not {wanted}")));
            }
            None if !column.nullable() || spec.unique_column().name == column.name => {
                return Err(incompatible("is missing and can't be added".to_owned()));
            }
            None => missing.push(column),
        }
    }
    Ok(missing)
}

/// Name and type of the columns that the table has.
pub(in crate::store) async fn columns(
    conn: &mut Connection,
    table_name: &str,
) -> sqlx::Result<Vec<(String, String)>> {
    let sql = match conn.dialect() {
        Dialect::Sqlite => "select name, lower(type) from pragma_table_info($1)",
        Dialect::Postgres => {
            "select attname::text, format_type(atttypid, atttypmod) from pg_attribute
             where attrelid = to_regclass(quote_ident($1)) and attnum > 0 and not attisdropped"
        }
    };
    query_as(sql).bind(table_name).fetch_all(conn).await
}

/// Names of the indexes that the table has.
async fn indexes(conn: &mut Connection, table_name: &str) -> sqlx::Result<Vec<String>> {
    let sql = match conn.dialect() {
        Dialect::Sqlite => "select name from pragma_index_list($1)",
        Dialect::Postgres => {
            "select c.relname::text from pg_index i join pg_class c on c.oid = i.indexrelid
             where i.indrelid = to_regclass(quote_ident($1)) and i.indisvalid"
        }
    };
    query_scalar(sql).bind(table_name).fetch_all(conn).await
}

pub(super) fn create_table(dialect: Dialect, spec: &TableSpec) -> String {
    let columns = spec.columns.iter();
    let columns: Vec<String> =
        columns.map(|column| format!("  {}", definition(dialect, spec, column))).collect();
    let table = quoted(&spec.table_name);
    format!("create table if not exists {table} (\n{}\n)", columns.join(",\n"))
}

/// What makes the table in a database of somebody else's.
pub fn script(dialect: Dialect, spec: &TableSpec) -> String {
    let table = create_table(dialect, spec);
    let table = match dialect {
        Dialect::Sqlite => table,
        // Our sequence isn't there.
        Dialect::Postgres => table.replacen(dialect.pk(), "bigserial primary key", 1),
    };
    let indexes = spec.indexes.iter().map(|index| create_index(spec, index));
    std::iter::once(table).chain(indexes).map(|statement| format!("{statement};\n")).collect()
}

/// A column as `create table` and `add column` have it.
pub(crate) fn definition(dialect: Dialect, spec: &TableSpec, column: &ColumnSpec) -> String {
    if column.role == Role::Pk {
        return format!("{} {}", quoted(&column.name), dialect.pk());
    }
    let mut text = dialect.bare_column(&column.name, column.kind);
    let unique = spec.unique_column().name == column.name;
    let never_null = match dialect {
        // What an upsert sets is free to be null: it never is, and the upsert needs no check (see there).
        Dialect::Sqlite => matches!(column.role, Role::Computed(_) | Role::CreatedAt),
        Dialect::Postgres => !column.nullable(),
    };
    if unique || never_null {
        text.push_str(" not null");
    }
    if unique {
        text.push_str(" unique");
    }
    if column.role == Role::Data {
        text.push_str(" default '{}'");
    }
    text
}

pub(super) fn create_index(spec: &TableSpec, index: &IndexSpec) -> String {
    let name = |column: usize| quoted(&spec.columns[column].name);
    let columns: Vec<String> = index.columns.iter().map(|column| name(*column)).collect();
    let mut sql = format!(
        "create index if not exists {} on {} ({})",
        quoted(&index.name),
        quoted(&spec.table_name),
        columns.join(", ")
    );
    for (at, (column, condition)) in index.partial.iter().enumerate() {
        let word = if at == 0 { "where" } else { "and" };
        let _infallible = write!(sql, "\n  {word} {}", test(&name(*column), condition));
    }
    sql
}

/// A condition on a column as a partial index has it, and whoever wants to go by that index: neither
/// database sees that another text means the same.
pub(super) fn test(name: &str, condition: &PartialCondition) -> String {
    match condition {
        PartialCondition::Equal(Literal::Bool(value)) => format!("{name} = {value}"),
        PartialCondition::Equal(Literal::Int(value)) => format!("{name} = {value}"),
        PartialCondition::Equal(Literal::Text(value)) => format!("{name} = {}", literal(value)),
        PartialCondition::DistinctFrom(value) => {
            format!("{name} is distinct from {}", literal(value))
        }
        PartialCondition::Null(true) => format!("{name} is null"),
        PartialCondition::Null(false) => format!("{name} is not null"),
    }
}
