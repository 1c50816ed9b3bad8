//! The statements that keep a mirror: texts without values, of which each page needs the same few.

use rowgate_manifest::ColumnType;

use crate::rows::{ColumnSpec, Role, TableSpec};
use crate::store::Dialect;
use crate::store::tables::{array_type, definition, quoted};

/// Beside the mirrors of a schema: which target fills which table, under which fence, and how far it has
/// come in the feed (`bookmark`), by a page that began where (`since`; null: at a copy's beginning). A page
/// of a holder that was replaced is refused by it, whenever it comes.
const MIRRORS: &str = "rowgate_mirrors";

/// Where a mirror stands, and what it is a mirror of.
#[derive(Clone, Copy, Debug)]
pub struct Mirror<'a> {
    /// Of the destination.
    pub schema: &'a str,
    /// The table's, under the mirror's name.
    pub spec: &'a TableSpec,
}

/// Begins each transaction, whatever the customer's server has as its defaults. `synchronous_commit`:
/// what is acknowledged won't come again, so it has to be on disk.
pub(super) fn settings(timeout_ms: u128) -> String {
    format!(
        "set transaction isolation level read committed read write;
         set local synchronous_commit = on;
         set local statement_timeout = {timeout_ms};
         set local lock_timeout = {timeout_ms};
         set local idle_in_transaction_session_timeout = {timeout_ms}"
    )
}

/// Whether an organization's own tables lie in the database.
pub(super) const HOLDS_TABLES: &str =
    "select pg_catalog.to_regclass('rowgate.rowgate_moved') is not null";

/// Arguments: schema. Whether it is there, and the table of mirrors in it.
pub(super) const SCHEMA: &str = "
select exists (select 1 from pg_catalog.pg_namespace where nspname = $1),
  exists (select 1 from pg_catalog.pg_tables
          where schemaname = $1 and tablename = 'rowgate_mirrors')";

/// Arguments: schema, table. What has this name there, as a letter.
pub(super) const KIND: &str = "
select c.relkind::text
from pg_catalog.pg_class as c join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where n.nspname = $1 and c.relname = $2";

/// Arguments: schema, table. Name and type of its columns; none: it isn't there.
pub(super) const COLUMNS: &str = "
select a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod)
from pg_catalog.pg_attribute as a
  join pg_catalog.pg_class as c on c.oid = a.attrelid
  join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where n.nspname = $1 and c.relname = $2 and a.attnum > 0 and not a.attisdropped";

/// Of two that make the same table at once `if not exists` lets one fail. Until the transaction ends.
pub(super) const ALONE: &str =
    "select pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtext('rowgate_mirrors'))";

/// Arguments: target. It has no mirror any more in this schema.
pub(super) fn leave(schema: &str) -> String {
    format!("delete from {}.{} where target = $1", quoted(schema), quoted(MIRRORS))
}

impl Mirror<'_> {
    pub(super) fn create_schema(&self) -> String {
        format!("create schema if not exists {}", quoted(self.schema))
    }

    pub(super) fn create_mirrors(&self) -> String {
        format!(
            "create table if not exists {} (
               target text primary key, table_name text not null unique, fence bigint not null,
               since text, bookmark text not null)",
            self.in_schema(MIRRORS)
        )
    }

    pub(super) fn create_table(&self) -> String {
        let columns = self.spec.columns.iter();
        let columns: Vec<String> =
            columns.map(|column| format!("  {}", self.definition(column))).collect();
        format!("create table if not exists {} (\n{}\n)", self.table(), columns.join(",\n"))
    }

    pub(super) fn add_column(&self, column: &ColumnSpec) -> String {
        let definition = self.definition(column);
        format!("alter table {} add column if not exists {definition}", self.table())
    }

    /// Arguments: table, target. Another target that fills it.
    pub(super) fn filled_by(&self) -> String {
        format!(
            "select target from {} where table_name = $1 and target <> $2",
            self.in_schema(MIRRORS)
        )
    }

    /// Arguments: target, fence, bookmark, table. A copy begins. Touches no row: a later holder was here.
    /// The row stays locked, so pages of one target follow each other.
    pub(super) fn begin(&self) -> String {
        format!(
            "insert into {} as known (target, fence, bookmark, table_name) values ($1, $2, $3, $4)
             on conflict (target) do update set fence = excluded.fence, since = null,
               bookmark = excluded.bookmark, table_name = excluded.table_name
             where known.fence <= excluded.fence",
            self.in_schema(MIRRORS)
        )
    }

    /// Arguments: target, fence, bookmark, the bookmark behind what was taken last. A page goes on from
    /// there. Touches no row: a later holder was here, or the mirror doesn't stand there.
    pub(super) fn go_on(&self) -> String {
        format!(
            "update {} set fence = $2, since = $4, bookmark = $3
             where target = $1 and fence <= $2 and (bookmark = $4 or since = $4)",
            self.in_schema(MIRRORS)
        )
    }

    /// Arguments: target. Its fence.
    pub(super) fn fence(&self) -> String {
        format!("select fence from {} where target = $1", self.in_schema(MIRRORS))
    }

    /// Arguments: numbers and keys, as arrays. Removes rows that have a number of another key: they
    /// are gone or have another one by now, and come again if they are there.
    pub(super) fn make_room(&self) -> String {
        let (key, keys) = self.key();
        format!(
            "delete from {} as old using unnest($1::bigint[], $2::{keys}) as input (pk, key)
             where old.\"pk\" = input.pk and old.{key} <> input.key",
            self.table()
        )
    }

    /// Arguments: keys, as an array.
    pub(super) fn delete(&self) -> String {
        let (key, keys) = self.key();
        format!("delete from {} where {key} = any($1::{keys})", self.table())
    }

    /// Arguments: an array a column. A row that is the same isn't written.
    pub(super) fn upsert(&self) -> String {
        let (mut names, mut arrays, mut values) = (Vec::new(), Vec::new(), Vec::new());
        let (mut set, mut old, mut new) = (Vec::new(), Vec::new(), Vec::new());
        for (at, column) in self.spec.columns.iter().enumerate() {
            let name = quoted(&column.name);
            arrays.push(format!("${}::{}", at + 1, array_type(column.kind)));
            values.push(format!("input.{name}{}", Dialect::Postgres.cast(column.kind)));
            if at != self.spec.unique_key {
                set.push(format!("{name} = excluded.{name}"));
                old.push(format!("old.{name}"));
                new.push(format!("excluded.{name}"));
            }
            names.push(name);
        }
        let names = names.join(", ");
        format!(
            "insert into {} as old ({names})\nselect {}\nfrom unnest({}) as input ({names})\n\
             on conflict ({}) do update set {}\nwhere ({}) is distinct from ({})",
            self.table(),
            values.join(", "),
            arrays.join(", "),
            self.key().0,
            set.join(", "),
            old.join(", "),
            new.join(", "),
        )
    }

    /// Arguments: a number before the first, the last number, keys as an array, a limit. Removes rows
    /// between these numbers that the table doesn't have.
    pub(super) fn sweep(&self) -> String {
        let (key, keys) = self.key();
        let table = self.table();
        format!(
            "delete from {table} where \"pk\" in (
               select old.\"pk\" from {table} as old
               where old.\"pk\" > $1 and old.\"pk\" <= $2
                 and not exists (select 1 from unnest($3::{keys}) as kept (key)
                                 where kept.key = old.{key})
               order by old.\"pk\" limit $4)"
        )
    }

    /// Its numbers come from the table.
    fn definition(&self, column: &ColumnSpec) -> String {
        match column.role {
            Role::Pk => format!("{} bigint primary key", quoted(&column.name)),
            _ => definition(Dialect::Postgres, self.spec, column),
        }
    }

    /// The unique key's column, and the type of an array of keys.
    fn key(&self) -> (String, &'static str) {
        let ColumnSpec { name, kind, .. } = self.spec.unique_column();
        debug_assert!(matches!(kind, ColumnType::Text | ColumnType::Int), "a table spec says so");
        (quoted(name), array_type(*kind))
    }

    fn table(&self) -> String {
        self.in_schema(&self.spec.table_name)
    }

    fn in_schema(&self, table: &str) -> String {
        format!("{}.{}", quoted(self.schema), quoted(table))
    }
}

#[cfg(test)]
mod tests;
