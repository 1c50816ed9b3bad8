//! Upsert and patch as one conditional statement a chunk of rows.

use sqlx::SqliteConnection;

use super::dialect::{PARAMETER, key_text, literal, quoted};
use super::feed::Change;
use super::query::{Query, chunks};
use super::{ApplyError, ApplyScope, Moved};
use crate::model::Existing;
use crate::rows::{Cells, Part, Presented, Role, Rows, TableSpec, Value, timestamp_text};

/// SQLite's code of a violated NOT NULL.
const NOT_NULL_VIOLATED: &str = "1299";

/// Inserts or updates rows by the unique key; `patch` leaves out those that the owner doesn't have.
/// Moves only rows that really change. A key of another owner fails.
pub(super) async fn upsert(
    conn: &mut SqliteConnection,
    scope: &ApplyScope,
    spec: &TableSpec,
    rows: &Rows<'_>,
    patch: bool,
) -> Result<Moved, ApplyError> {
    let now = timestamp_text(scope.now).unwrap_or_default();
    let mut moved = Vec::new();
    for part in &rows.parts {
        let statement = Statement::new(spec, scope, rows, part, &now, patch);
        for chunk in chunks(&part.rows, statement.varying.len(), statement.same.len() + 3) {
            match statement.query(chunk)?.fetch_keys(conn).await {
                Ok(keys) => moved.extend(keys),
                Err(error) => {
                    return Err(explain(conn, scope, spec, rows, chunk, error).await);
                }
            }
        }
    }
    Ok(Moved { change: Change::Upserted, rows: moved })
}

struct Statement<'a> {
    spec: &'a TableSpec,
    owner: Option<&'a str>,
    now: &'a str,
    patch: bool,
    /// Columns with a value a row.
    varying: Vec<&'a Presented<'a>>,
    /// Columns with one value.
    same: Vec<&'a Presented<'a>>,
}

impl<'a> Statement<'a> {
    fn new(
        spec: &'a TableSpec,
        scope: &'a ApplyScope,
        rows: &'a Rows<'a>,
        part: &Part,
        now: &'a str,
        patch: bool,
    ) -> Self {
        let kept = |presented: &&Presented<'_>| {
            !part.without_data || spec.columns[presented.column].role != Role::Data
        };
        let (varying, same) = rows.columns.iter().filter(kept).partition(|presented| {
            presented.column == spec.unique_key || matches!(presented.cells, Cells::Each(_))
        });
        let owner = spec.owner.and(scope.external_owner_id.as_deref());
        Self { spec, owner, now, patch, varying, same }
    }

    fn query(&self, rows: &[usize]) -> sqlx::Result<Query<'a>> {
        let mut query = Query::default();
        self.push_input(&mut query, rows)?;
        self.push_insert(&mut query)?;
        self.push_update(&mut query);
        let key = key_text(self.spec, &quoted(&self.spec.table_name));
        query.push_fmt(format_args!("\nreturning pk, {key}"));
        Ok(query)
    }

    fn push_input(&self, query: &mut Query<'a>, rows: &[usize]) -> sqlx::Result<()> {
        let tuple = format!("({})", vec![PARAMETER; self.varying.len()].join(", "));
        query.push_fmt(format_args!("with input ({}) as (values ", self.names(&self.varying)));
        for (at, row) in rows.iter().enumerate() {
            query.push(if at == 0 { "" } else { ", " });
            query.push(&tuple);
            self.varying.iter().try_for_each(|presented| query.bind(presented.cell(*row)))?;
        }
        query.push(")\n");
        Ok(())
    }

    /// A key that was deleted comes back with the pk it had.
    fn push_insert(&self, query: &mut Query<'a>) -> sqlx::Result<()> {
        let Self { spec, .. } = self;
        let (table, key) = (quoted(&spec.table_name), quoted(&spec.unique_column().name));
        query.push_fmt(format_args!(
            "insert into {table} as old (pk, {}",
            self.names(&self.varying)
        ));
        if !self.same.is_empty() {
            query.push_fmt(format_args!(", {}", self.names(&self.same)));
        }
        query.push_fmt(format_args!(
            ", row_created_at, row_updated_at)\nselect (select feed.pk from rowgate_feed as feed \
             where feed.table_name = {} and feed.unique_key = {} and feed.deleted)",
            literal(&spec.table_name),
            key_text(spec, "input"),
        ));
        for presented in &self.varying {
            query.push_fmt(format_args!(", input.{}", self.name(presented)));
        }
        for presented in &self.same {
            query.push(", ");
            query.push_value(presented.cell(0))?;
        }
        for _ in 0..2 {
            query.push(", ");
            query.push_text(self.now)?;
        }
        query.push("\nfrom input where true");
        if self.patch {
            query.push_fmt(format_args!(
                " and exists (select 1 from {table} as live where live.{key} = input.{key}"
            ));
            if let (Some(owner), Some(column)) = (self.owner, spec.owner) {
                let column = quoted(&spec.columns[column].name);
                query.push_fmt(format_args!(" and live.{column} = "));
                query.push_text(owner)?;
            }
            query.push(")");
        }
        Ok(())
    }

    /// The owner column is never null: where the owner differs, setting it to null ends the call.
    fn push_update(&self, query: &mut Query<'a>) {
        let Self { spec, .. } = self;
        let (mut set, mut changed, mut guard) = (Vec::new(), Vec::new(), String::new());
        for presented in self.varying.iter().chain(&self.same) {
            let (column, name) = (&spec.columns[presented.column], self.name(presented));
            let new = match (&column.role, presented.existing) {
                (Role::Data, Existing::Keep) => continue,
                (Role::Guest | Role::Data, Existing::Replace) => format!("excluded.{name}"),
                (Role::Guest | Role::Data, Existing::Merge) => {
                    format!("coalesce(excluded.{name}, old.{name})")
                }
                (Role::Guest, Existing::Keep) => format!("coalesce(old.{name}, excluded.{name})"),
                _ => continue,
            };
            changed.push((presented.column, format!("old.{name} is distinct from {new}")));
            set.push(format!("{name} = {new}"));
            if Some(presented.column) == spec.newer {
                guard = format!("(excluded.{name} < old.{name}) is not true and ");
            }
        }
        // Short columns first, in the table's order; comparing `data` comes last.
        changed.sort();
        let changed: Vec<String> = changed.into_iter().map(|(_, changed)| changed).collect();
        let mut conditions = Vec::new();
        if !set.is_empty() {
            set.push("row_updated_at = excluded.row_updated_at".to_owned());
            conditions.push(format!("{guard}({})", changed.join(" or ")));
        }
        if let Some(owner) = spec.owner.filter(|owner| *owner != spec.unique_key) {
            let owner = quoted(&spec.columns[owner].name);
            set.push(format!(
                "{owner} = case when old.{owner} = excluded.{owner} then old.{owner} end"
            ));
            conditions.insert(0, format!("old.{owner} <> excluded.{owner}"));
        }
        let key = quoted(&spec.unique_column().name);
        if set.is_empty() {
            query.push_fmt(format_args!("\non conflict ({key}) do nothing"));
            return;
        }
        let (set, conditions) = (set.join(", "), conditions.join(" or "));
        query.push_fmt(format_args!(
            "\non conflict ({key}) do update set {set}\nwhere {conditions}"
        ));
    }

    fn name(&self, presented: &Presented<'_>) -> String {
        quoted(&self.spec.columns[presented.column].name)
    }

    fn names(&self, columns: &[&Presented<'_>]) -> String {
        columns.iter().map(|presented| self.name(presented)).collect::<Vec<_>>().join(", ")
    }
}

/// Finds the row of another owner that a failed statement met.
async fn explain(
    conn: &mut SqliteConnection,
    scope: &ApplyScope,
    spec: &TableSpec,
    rows: &Rows<'_>,
    chunk: &[usize],
    error: sqlx::Error,
) -> ApplyError {
    let violated = error.as_database_error().and_then(|error| error.code());
    let (Some(owner), Some(mine)) = (spec.owner, &scope.external_owner_id) else {
        return error.into();
    };
    if violated.as_deref() != Some(NOT_NULL_VIOLATED) {
        return error.into();
    }
    let keys: Vec<&Value<'_>> = chunk.iter().map(|row| rows.key(*row)).collect();
    match foreign_key(conn, spec, owner, mine, &keys).await {
        Ok(Some(key)) => ApplyError::AnotherOwnersRow { table: spec.table_name.clone(), key },
        Ok(None) => error.into(),
        Err(error) => error.into(),
    }
}

async fn foreign_key(
    conn: &mut SqliteConnection,
    spec: &TableSpec,
    owner: usize,
    mine: &str,
    keys: &[&Value<'_>],
) -> sqlx::Result<Option<String>> {
    let table = quoted(&spec.table_name);
    let mut query = Query::new(format!(
        "select pk, {} from {table} where {table}.{} in (",
        key_text(spec, &table),
        quoted(&spec.unique_column().name),
    ));
    for (at, key) in keys.iter().enumerate() {
        query.push(if at == 0 { "" } else { ", " });
        query.push_value(key)?;
    }
    query.push_fmt(format_args!(") and {table}.{} <> ", quoted(&spec.columns[owner].name)));
    query.push_text(mine)?;
    query.push(" limit 1");
    Ok(query.fetch_keys(conn).await?.pop().map(|(_, key)| key))
}

#[cfg(test)]
pub(super) fn sql(
    spec: &TableSpec,
    scope: &ApplyScope,
    rows: &Rows<'_>,
    patch: bool,
) -> Vec<String> {
    let texts = rows.parts.iter().map(|part| {
        let statement = Statement::new(spec, scope, rows, part, "", patch);
        statement.query(&part.rows).unwrap().sql().to_owned()
    });
    texts.collect()
}
