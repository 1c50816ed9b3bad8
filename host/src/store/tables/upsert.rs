//! Upsert and patch as one conditional statement a chunk of rows.

use std::borrow::Cow;
use std::collections::HashSet;

use super::dialect::{key_text, literal, quoted};
use super::query::{Chunk, Query, argument, array, array_type, chunks};
use super::{ApplyError, ApplyScope, Moved};
use crate::model::Existing;
use crate::rows::{Cells, Part, Presented, Role, Rows, TableSpec, Value, timestamp_text};
use crate::store::{Connection, Dialect};

/// SQLite's code of a number that is none. (<https://www.sqlite.org/rescode.html#mismatch>)
const MISMATCH: &str = "20";

/// What `rowgate_another_owner` fails with.
const ANOTHER_OWNER: &str = "RG001";

/// Inserts or updates rows by the unique key; `patch` leaves out those that the owner doesn't have.
/// Moves only rows that really change. A key of another owner fails. `left_out`: ascending.
pub(super) async fn upsert(
    conn: &mut Connection,
    scope: &ApplyScope,
    spec: &TableSpec,
    rows: &Rows<'_>,
    left_out: &[usize],
    patch: bool,
) -> Result<Moved, ApplyError> {
    let now = timestamp_text(scope.now).unwrap_or_default();
    let dialect = conn.dialect();
    let mut moved = Vec::new();
    for part in &rows.parts {
        let statement = Statement::new(dialect, spec, scope, rows, part, &now, patch);
        let (each, fixed) = (statement.varying.len(), statement.same.len() + 3);
        for chunk in chunks(dialect, &without(&part.rows, left_out), each, fixed) {
            match statement.query(&chunk).move_rows(conn, &spec.table_name).await {
                Ok(pks) => moved.extend(pks),
                Err(error) => {
                    return Err(explain(conn, scope, spec, rows, chunk.rows, error).await);
                }
            }
        }
    }
    if rows.parts.len() > 1 {
        // A key that came twice moved twice, but stands in the feed once.
        let mut seen = HashSet::new();
        moved.retain(|pk| seen.insert(*pk));
    }
    Ok(Moved::Upserted(moved))
}

fn without<'r>(rows: &'r [usize], left_out: &[usize]) -> Cow<'r, [usize]> {
    if left_out.is_empty() {
        return Cow::Borrowed(rows);
    }
    let kept = rows.iter().copied().filter(|row| left_out.binary_search(row).is_err());
    Cow::Owned(kept.collect())
}

struct Statement<'a> {
    dialect: Dialect,
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
        dialect: Dialect,
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
        Self { dialect, spec, owner, now, patch, varying, same }
    }

    fn query(&self, chunk: &Chunk<'_>) -> Query<'a> {
        let mut query = Query::new(self.dialect, "");
        match self.dialect {
            Dialect::Sqlite => self.push_values(&mut query, chunk),
            Dialect::Postgres => self.push_arrays(&mut query, chunk.rows),
        }
        self.push_insert(&mut query);
        self.push_update(&mut query);
        query.push_moved();
        query
    }

    fn push_values(&self, query: &mut Query<'a>, chunk: &Chunk<'_>) {
        query.push_fmt(format_args!("with input ({}) as (values ", self.names(&self.varying)));
        let rows = chunk.rows.iter().map(|row| {
            self.varying.iter().map(|presented| {
                argument(presented.cell(*row), self.spec.columns[presented.column].kind)
            })
        });
        query.push_rows(rows, chunk.padding, self.varying.len());
        query.push(")\n");
    }

    /// One text for any number of rows, so that it stays prepared.
    fn push_arrays(&self, query: &mut Query<'a>, rows: &[usize]) {
        query.push_fmt(format_args!(
            "with input ({}) as (select * from unnest(",
            self.names(&self.varying)
        ));
        for (at, presented) in self.varying.iter().enumerate() {
            query.push(if at == 0 { "" } else { ", " });
            let kind = self.spec.columns[presented.column].kind;
            query.push_argument(array(rows.iter().map(|row| presented.cell(*row)), kind));
            query.push_fmt(format_args!("::{}", array_type(kind)));
        }
        query.push("))\n");
    }

    /// A key that was deleted comes back with the pk it had.
    fn push_insert(&self, query: &mut Query<'a>) {
        let Self { spec, .. } = self;
        let table = quoted(&spec.table_name);
        // A transaction is taken back whole. To take one statement back SQLite copies each page that it
        // changes; it needn't where all that may end it fails at once: no NOT NULL in the update, no function.
        let or_fail = if self.dialect == Dialect::Sqlite { "or fail " } else { "" };
        query.push_fmt(format_args!(
            "insert {or_fail}into {table} as old (pk, {}",
            self.names(&self.varying)
        ));
        if !self.same.is_empty() {
            query.push_fmt(format_args!(", {}", self.names(&self.same)));
        }
        // A sub-select, not a join: rows keep their order, and get their numbers in it.
        let kept = format!(
            "(select feed.pk from rowgate_feed as feed where feed.table_name = {} \
             and feed.unique_key = {} and feed.deleted)",
            literal(&spec.table_name),
            key_text(spec, "input."),
        );
        query.push(", row_created_at, row_updated_at)\nselect ");
        match self.dialect {
            Dialect::Sqlite => query.push(&kept),
            Dialect::Postgres => {
                query.push_fmt(format_args!("coalesce({kept}, nextval('rowgate_pk'))"));
            }
        }
        for presented in &self.varying {
            let cast = self.dialect.cast(spec.columns[presented.column].kind);
            query.push_fmt(format_args!(", input.{}{cast}", self.name(presented)));
        }
        for presented in &self.same {
            query.push(", ");
            query.push_value(presented.cell(0), spec.columns[presented.column].kind);
        }
        for _ in 0..2 {
            query.push(", ");
            query.push_timestamp(self.now);
        }
        query.push("\nfrom input where ");
        match self.dialect {
            // Rows of padding have none.
            Dialect::Sqlite => {
                let key = quoted(&spec.unique_column().name);
                query.push_fmt(format_args!("input.{key} is not null"));
            }
            Dialect::Postgres => query.push("true"),
        }
        if self.patch {
            self.push_live(query);
        }
    }

    /// Only rows that the owner has.
    fn push_live(&self, query: &mut Query<'a>) {
        let Self { spec, .. } = self;
        let (table, key) = (quoted(&spec.table_name), quoted(&spec.unique_column().name));
        query.push_fmt(format_args!(
            " and exists (select 1 from {table} as live where live.{key} = input.{key}"
        ));
        if let (Some(owner), Some(column)) = (self.owner, spec.owner) {
            let column = quoted(&spec.columns[column].name);
            query.push_fmt(format_args!(" and live.{column} = "));
            query.push_text(owner);
        }
        query.push(")");
    }

    /// Where the owner differs, something that fails ends the call. PostgreSQL would then answer nothing more
    /// in this transaction: it says the key at once.
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
            let fails = match self.dialect {
                Dialect::Sqlite => "(select null limit 1 offset 'another owner')".to_owned(),
                Dialect::Postgres => {
                    format!("rowgate_another_owner({})", key_text(spec, "old."))
                }
            };
            set.push(format!(
                "{owner} = case when old.{owner} = excluded.{owner} then old.{owner} else {fails} end"
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
    conn: &mut Connection,
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
    match violated.as_deref() {
        Some(MISMATCH) => {}
        Some(ANOTHER_OWNER) => {
            let key = error.as_database_error().map_or("", |error| error.message()).to_owned();
            return ApplyError::AnotherOwnersRow { table: spec.table_name.clone(), key };
        }
        _ => return error.into(),
    }
    let keys: Vec<&Value<'_>> = chunk.iter().map(|row| rows.key(*row)).collect();
    match foreign_key(conn, spec, owner, mine, &keys).await {
        Ok(Some(key)) => ApplyError::AnotherOwnersRow { table: spec.table_name.clone(), key },
        Ok(None) => error.into(),
        Err(error) => error.into(),
    }
}

async fn foreign_key(
    conn: &mut Connection,
    spec: &TableSpec,
    owner: usize,
    mine: &str,
    keys: &[&Value<'_>],
) -> sqlx::Result<Option<String>> {
    let table = quoted(&spec.table_name);
    let unique = spec.unique_column();
    let sql = format!(
        "select pk, {} from {table} where {table}.{} in (",
        key_text(spec, ""),
        quoted(&unique.name),
    );
    let mut query = Query::new(conn.dialect(), sql);
    for (at, key) in keys.iter().enumerate() {
        query.push(if at == 0 { "" } else { ", " });
        query.push_value(key, unique.kind);
    }
    query.push_fmt(format_args!(") and {table}.{} <> ", quoted(&spec.columns[owner].name)));
    query.push_text(mine);
    query.push(" limit 1");
    Ok(query.fetch_keys(conn).await?.pop().map(|(_, key)| key))
}

#[cfg(test)]
pub(super) fn sql(
    dialect: Dialect,
    spec: &TableSpec,
    scope: &ApplyScope,
    rows: &Rows<'_>,
    patch: bool,
) -> Vec<String> {
    let texts = rows.parts.iter().map(|part| {
        let statement = Statement::new(dialect, spec, scope, rows, part, "", patch);
        statement.query(&Chunk { rows: &part.rows, padding: 0 }).sql().to_owned()
    });
    texts.collect()
}
