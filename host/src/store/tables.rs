//! Replicated tables: their DDL, and the writes of a call as conditional SQL with its change feed.
//!
//! Every function works on a connection inside a transaction that the caller owns. An error leaves
//! that transaction half done: roll it (or its savepoint) back.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::model::{Condition, Micros, OwnerId, Scalar, Unseen, Write};
use crate::rows::{Rejected, Rows, TableSpec, Test, Value, assignments, tests};
use crate::store::Connection;

mod brackets;
mod ddl;
mod dialect;
mod feed;
mod filter;
mod query;
mod read;
mod rename;
mod stale;
mod sweep;
mod upsert;

pub use brackets::drop_brackets;
pub(in crate::store) use ddl::columns;
pub use ddl::{SchemaError, add_missing_columns, create, create_all, layout, script};
pub(crate) use ddl::{definition, missing_columns};
pub(in crate::store) use dialect::key_text;
pub(crate) use dialect::{literal, quoted};
pub(crate) use query::{array, array_type};
pub use read::{count_rows, lookup};
pub(in crate::store) use read::{select_list, value, values};
pub use rename::{drop_all, forget_changes, forget_rename, rename_table};
pub use stale::{delete_stale_rows, has_stale_rows};
pub use sweep::{delete_owner_rows, set_bookkeeping};

use brackets::OpenBrackets;
use sweep::Slice;

/// For whom, when and as which commit writes are applied.
#[derive(Clone, Debug, PartialEq)]
pub struct ApplyScope {
    /// Row id of the owner: brackets are kept by it.
    pub owner_id: OwnerId,
    /// What the owner column holds. None: a service without owners.
    pub external_owner_id: Option<String>,
    /// The call's time: `row_created_at` and `row_updated_at`.
    pub now: Micros,
    /// Row of `rowgate_commits`; another one for each `apply`.
    pub commit_id: i64,
    /// The manifest's; a full listing ends under the version that it began with.
    pub mapping_version: i64,
    /// A full listing passes over rows that have been stale since before this time. None: over none.
    pub stale_before: Option<Micros>,
}

/// What a call's writes did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Rows inserted or really changed; `changed_pks` counted.
    pub rows_changed: u64,
    /// Rows of all upserts and patches.
    pub rows_presented: u64,
    /// By service: rows inserted or really changed and still there, ascending.
    pub changed_pks: BTreeMap<String, Vec<i64>>,
    /// Rows deleted.
    pub deleted: u64,
    /// Writes that are done. Fewer than all: the next one ends a full listing, and rows are left that
    /// it is to sweep.
    pub writes_done: usize,
}

/// Why writes were not applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// A unique key that belongs to another owner.
    #[error("table {table}: row {key} belongs to another owner")]
    AnotherOwnersRow {
        /// Name of the table in the database.
        table: String,
        /// The unique key.
        key: String,
    },
    /// The guest never began what it ends, or it is gone: abandoned, or dropped by a call under
    /// another mapping version.
    #[error("table {0}: end-full, but no full listing with this scope is open")]
    NotListed(String),
    /// The guest's fault.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// The database's.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// A write, checked and normalised: all that needs no database.
#[derive(Debug)]
pub struct Prepared {
    spec: Arc<TableSpec>,
    action: Action,
}

#[derive(Debug)]
enum Action {
    Upsert(Rows<'static>),
    Patch(Rows<'static>),
    Update { set: Assignments, tests: Tests },
    Delete(Tests),
    BeginFull(Tests),
    EndFull { scope: Tests, unseen: Option<Assignments> },
}

#[cfg(test)]
impl Prepared {
    /// Of an upsert or a patch.
    pub(crate) fn rows(&self) -> usize {
        match &self.action {
            Action::Upsert(rows) | Action::Patch(rows) => rows.rows,
            _ => 0,
        }
    }
}

type Tests = Vec<Test<'static>>;
type Assignments = Vec<(usize, Value<'static>)>;

/// Checks and normalises a write for an owner (none: a service without owners). None: its service isn't
/// in `tables`, so nobody configured an integration for it, and it is dropped. Pure and the long part of
/// the work: do it before taking the transaction.
pub fn prepare(
    owner: Option<&str>,
    tables: &HashMap<String, Arc<TableSpec>>,
    write: &Write,
) -> Result<Option<Prepared>, Rejected> {
    let Some(spec) = tables.get(table(write)) else { return Ok(None) };
    if spec.owner.is_some() && owner.is_none() {
        let text = format!("table {}: its rows belong to owners, the call has none", spec.service);
        return Err(Rejected::Other(text));
    }
    let action = match write {
        Write::Upsert(batch) => Action::Upsert(Rows::new(spec, batch, owner)?),
        Write::Patch(batch) => Action::Patch(Rows::new(spec, batch, owner)?),
        Write::Update { set, conditions, .. } => {
            Action::Update { set: owned_set(spec, set)?, tests: owned_tests(spec, conditions)? }
        }
        Write::Delete { conditions, .. } => Action::Delete(owned_tests(spec, conditions)?),
        Write::BeginFull { scope, .. } => Action::BeginFull(owned_tests(spec, scope)?),
        Write::EndFull { scope, unseen, .. } => {
            let unseen = match unseen {
                Unseen::Delete => None,
                Unseen::Set(set) => Some(owned_set(spec, set)?),
            };
            Action::EndFull { scope: owned_tests(spec, scope)?, unseen }
        }
    };
    Ok(Some(Prepared { spec: Arc::clone(spec), action }))
}

fn owned_tests(spec: &TableSpec, conditions: &[Condition]) -> Result<Tests, Rejected> {
    Ok(tests(spec, conditions)?.into_iter().map(Test::into_owned).collect())
}

fn owned_set(spec: &TableSpec, set: &[(String, Scalar)]) -> Result<Assignments, Rejected> {
    let set = assignments(spec, set)?.into_iter();
    Ok(set.map(|(column, value)| (column, value.into_owned())).collect())
}

/// Whether a full listing is ended: only then may [`apply`] leave something undone.
pub fn end_listings(writes: &[Prepared]) -> bool {
    writes.iter().any(|write| matches!(write.action, Action::EndFull { .. }))
}

/// Applies what [`prepare`] made for the scope's owner, in order. Of what full listings didn't show at
/// most `slice` rows are swept: where more may be left their bracket stays open, and what follows isn't
/// begun.
pub async fn apply(
    conn: &mut Connection,
    scope: &ApplyScope,
    writes: &[Prepared],
    slice: u32,
) -> Result<Applied, ApplyError> {
    let specs = writes.iter().map(|write| write.spec.as_ref());
    let mut brackets = OpenBrackets::load(conn, scope, specs).await?;
    let (mut changed, mut limit) = (BTreeMap::new(), slice);
    let mut applied = Applied { writes_done: writes.len(), ..Applied::default() };
    for (at, Prepared { spec, action }) in writes.iter().enumerate() {
        let moved = match action {
            Action::Upsert(rows) | Action::Patch(rows) => {
                applied.rows_presented += rows.rows as u64;
                let patch = matches!(action, Action::Patch(_));
                let passed_over = match patch {
                    true => Vec::new(),
                    false => brackets.passed_over(scope, spec, rows),
                };
                brackets.present(spec, rows, &passed_over);
                upsert::upsert(conn, scope, spec, rows, &passed_over, patch).await?
            }
            Action::Update { set, tests } => {
                sweep::update(conn, scope, spec, set, tests, None).await?
            }
            Action::Delete(tests) => sweep::delete(conn, scope, spec, tests, None).await?,
            Action::BeginFull(tests) => {
                brackets.begin(conn, scope, spec, tests).await?;
                continue;
            }
            Action::EndFull { scope: tests, unseen } => {
                let bracket = brackets.end(conn, scope, spec, tests).await?;
                let unseen_rows = Some(Slice { bracket, limit });
                let moved = match unseen {
                    None => sweep::delete(conn, scope, spec, tests, unseen_rows).await?,
                    Some(set) => sweep::update(conn, scope, spec, set, tests, unseen_rows).await?,
                };
                limit = limit.saturating_sub(moved.rows());
                if limit > 0 {
                    brackets::delete(conn, bracket).await?;
                }
                moved
            }
        };
        feed::record(conn, spec, scope.commit_id, &moved).await?;
        count(changed.entry(spec.service.as_str()).or_default(), &mut applied, &moved);
        if limit == 0 {
            applied.writes_done = at;
            break;
        }
    }
    brackets.store(conn, scope).await?;
    for (service, pks) in changed {
        if !pks.is_empty() {
            applied.rows_changed += pks.len() as u64;
            applied.changed_pks.insert(service.to_owned(), pks.into_iter().collect());
        }
    }
    Ok(applied)
}

/// Rows that a write moved, by pk.
enum Moved {
    Upserted(Vec<i64>),
    /// With their unique keys.
    Deleted(Vec<(i64, String)>),
}

impl Moved {
    fn rows(&self) -> u32 {
        let rows = match self {
            Self::Upserted(pks) => pks.len(),
            Self::Deleted(rows) => rows.len(),
        };
        u32::try_from(rows).unwrap_or(u32::MAX)
    }
}

fn count(changed: &mut BTreeSet<i64>, applied: &mut Applied, moved: &Moved) {
    match moved {
        Moved::Upserted(pks) => changed.extend(pks),
        Moved::Deleted(rows) => {
            applied.deleted += rows.len() as u64;
            for (pk, _) in rows {
                changed.remove(pk);
            }
        }
    }
}

pub(crate) fn table(write: &Write) -> &str {
    match write {
        Write::Upsert(batch) | Write::Patch(batch) => &batch.table,
        Write::Update { table, .. }
        | Write::Delete { table, .. }
        | Write::BeginFull { table, .. }
        | Write::EndFull { table, .. } => table,
    }
}

#[cfg(test)]
mod tests;
