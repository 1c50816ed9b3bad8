//! Copies what lies in an organization's replication database, a slice of rows at a time. How far each
//! table has come is written in the transaction of its slice: whoever goes on after a crash, or wakes up
//! late, writes nothing twice.

use std::collections::BTreeSet;
use std::sync::Arc;

use rowgate_manifest::Manifest;

use super::Hold;
use super::table::{Slice, Table, kinds, names};
use super::written::{finish, state, write};
use crate::failpoint;
use crate::rows::TableSpec;
use crate::store::feed;
use crate::store::integrations::Integration;
use crate::store::tables::{self, literal, quoted};
use crate::store::{Database, Dialect, Error, Store, query, query_scalar};

/// Rows of a slice. It begins with fewer, until it is known how large rows are.
const ROWS_MAX: i64 = 2_000;
const ROWS_FIRST: i64 = 100;

/// A slice should hold about so much.
const BYTES: usize = 4 << 20;

/// What is no row of the organization's: written at the end, or the copy's own.
const NOT_COPIED: [&str; 4] =
    ["rowgate_feed_head", "rowgate_layout", "rowgate_moved", "rowgate_copied"];

impl Hold<'_> {
    /// Copies everything, or what is left of it; answers the names of the replicated tables. Nothing
    /// changes in the source meanwhile.
    pub(super) async fn copy(
        &self,
        source: &Database,
        destination: &Database,
    ) -> Result<BTreeSet<String>, Error> {
        // Before its commits are copied: each of them has its number then.
        let head = feed::head(source).await?;
        let replicated = self.plan(source, destination).await?;
        let mut all = internal(destination).await?;
        all.extend(replicated.iter().cloned());
        let copied = query_scalar("select coalesce(sum(row_count), 0)::bigint from rowgate_copied");
        let mut copied: i64 = copied.fetch_one(destination).await?;
        let mut both = Vec::new();
        for name in all {
            self.renew().await?;
            let table = fit(source, destination, &name).await?;
            self.copy_table(source, destination, &name, table.as_ref(), &mut copied).await?;
            both.extend(table);
        }
        for table in both {
            let here = table.count(source, self).await?;
            let there = table.count(destination, self).await?;
            if here != there {
                return Err(Error::Inconsistent(format!(
                    "{}: {here} rows here, {there} there: start it again",
                    table.name
                )));
            }
        }
        let numbers = row_numbers(source, &replicated).await?;
        // A sweep that had begun before may have forgotten deletions that were not copied yet.
        if feed::head(source).await?.floor != head.floor {
            return Err(Error::Inconsistent(
                "deletions were forgotten meanwhile: start it again".into(),
            ));
        }
        finish(destination, &self.of, head, numbers).await?;
        Ok(replicated)
    }

    /// Makes the replicated tables; answers their names, those of an earlier attempt too.
    async fn plan(
        &self,
        source: &Database,
        destination: &Database,
    ) -> Result<BTreeSet<String>, Error> {
        let layout = tables::layout(destination).await?;
        let specs = self.store.specs(self.of.organization_id).await?;
        let planned: Vec<String> = specs.iter().map(|spec| spec.table_name.clone()).collect();
        let renamed: Vec<String> = query_scalar("select old_name from rowgate_renames")
            .fetch_all(source.readers())
            .await?;
        if let Some(name) = planned.iter().find(|name| renamed.contains(name)) {
            // Its rows lie under a name that the control database doesn't know yet.
            return Err(Error::Refused(format!(
                "table {name} is half renamed: rename it once more, then start this again"
            )));
        }
        let names = planned.clone();
        let noted = destination.write(move |connection| {
            Box::pin(async move {
                for name in names {
                    let plan = "insert into rowgate_copied (table_name) values ($1)
                                on conflict do nothing";
                    query(plan).bind(name).execute(&mut *connection).await?;
                }
                Ok(())
            })
        });
        noted.await?;
        tables::create_all(destination, specs, layout).await?;
        let known: Vec<String> = query_scalar(
            "select table_name from rowgate_copied where table_name not like 'rowgate\\_%'",
        )
        .fetch_all(destination)
        .await?;
        Ok(known.into_iter().chain(planned).collect())
    }

    async fn copy_table(
        &self,
        source: &Database,
        destination: &Database,
        name: &str,
        table: Option<&Table>,
        copied: &mut i64,
    ) -> Result<(), Error> {
        let mut limit = ROWS_FIRST;
        loop {
            let state = state(destination, name).await?;
            if state.is_complete {
                return Ok(());
            }
            let after: Option<Vec<String>> = match &state.after_key {
                Some(key) => Some(serde_json::from_str(key).map_err(|error| {
                    Error::Inconsistent(format!("the last key of {name}: {error}"))
                })?),
                None => None,
            };
            let slice = match table {
                Some(table) => table.read(source, after.as_deref(), limit).await?,
                // Nothing was ever written for it.
                None => Slice::default(),
            };
            let (rows, bytes) = (slice.rows.len() as i64, slice.bytes);
            let is_last = rows < limit;
            write(destination, &self.of, name, table.cloned(), slice, state, is_last).await?;
            failpoint::reach("slice_copied");
            *copied += rows;
            self.progress(name, *copied).await?;
            limit = next_limit(limit, bytes);
        }
    }
}

/// So that a slice holds about as much as it should, whatever rows are like.
fn next_limit(limit: i64, bytes: usize) -> i64 {
    match bytes {
        bytes if bytes > BYTES => (limit / 2).max(1),
        bytes if bytes < BYTES / 3 => (limit * 2).min(ROWS_MAX),
        _ => limit,
    }
}

/// Our own tables in a destination that it is to have rows of.
async fn internal(destination: &Database) -> Result<BTreeSet<String>, Error> {
    let mut reader = destination.reader().await?;
    let names = names(&mut reader).await?.into_iter();
    let ours = names.filter(|name| name.starts_with("rowgate_"));
    Ok(ours.filter(|name| !NOT_COPIED.contains(&name.as_str())).collect())
}

/// What of a table is copied. Columns that left its manifest stay: they are made here.
async fn fit(
    source: &Database,
    destination: &Database,
    name: &str,
) -> Result<Option<Table>, Error> {
    let mut from = source.reader().await?;
    if !name.starts_with("rowgate_") {
        let (there, of) = (kinds(&mut from, name).await?, name.to_owned());
        let made = destination.write(move |connection| {
            Box::pin(async move {
                let known = kinds(connection, &of).await?;
                for (column, kind) in there.iter().filter(|(name, _)| !known.contains_key(*name)) {
                    let definition = Dialect::Postgres.bare_column(column, *kind);
                    let sql = format!("alter table {} add column {definition}", quoted(&of));
                    query(sql).execute(&mut *connection).await?;
                }
                Ok(())
            })
        });
        made.await?;
    }
    let mut to = destination.reader().await?;
    Table::of_both(&mut from, &mut to, name).await
}

/// The last number that was given to a row, which isn't given again. A file has one for each table, a
/// server one for all of them.
async fn row_numbers(source: &Database, replicated: &BTreeSet<String>) -> Result<i64, Error> {
    let sql = match source.dialect() {
        Dialect::Sqlite => {
            let names: Vec<String> = replicated.iter().map(|name| literal(name)).collect();
            format!(
                "select coalesce(max(seq), 0) from sqlite_sequence where name in ({})",
                names.join(", ")
            )
        }
        Dialect::Postgres => {
            "select case when is_called then last_value else 0 end from rowgate_pk".to_owned()
        }
    };
    Ok(query_scalar(sql).persistent(false).fetch_one(source.readers()).await?)
}

impl Store {
    /// The tables of an organization's integrations: as the running version of each plugin has them, or
    /// the last one that offered the service.
    async fn specs(&self, of: i64) -> Result<Vec<Arc<TableSpec>>, Error> {
        let mut specs = Vec::new();
        for integration in self.integrations(of).await? {
            let manifest = self.offering(&integration).await?;
            let spec = TableSpec::new(&manifest, &integration.service, &integration.table_name);
            let spec = spec.map_err(|error| {
                Error::Refused(format!("table {}: {error}", integration.table_name))
            })?;
            specs.push(Arc::new(spec));
        }
        Ok(specs)
    }

    async fn offering(&self, integration: &Integration) -> Result<Arc<Manifest>, Error> {
        let offers = |manifest: &Manifest| manifest.services.contains_key(&integration.service);
        let active = self.active_plugin(&integration.plugin).await?;
        if let Some(active) = active.filter(|active| offers(&active.manifest)) {
            return Ok(active.manifest);
        }
        let earlier: Vec<String> =
            query_scalar("select digest from plugin_versions where name = $1 order by number desc")
                .bind(&integration.plugin)
                .fetch_all(self.control.readers())
                .await?;
        for digest in earlier {
            let manifest = self.manifest(&digest).await?;
            if offers(&manifest) {
                return Ok(manifest);
            }
        }
        Err(Error::Refused(format!("no version of its plugin offers {}", integration.service)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_grow_and_shrink_with_their_rows() {
        for (limit, bytes, next) in [
            (100, 1_000, 200),
            (1_500, 1_000, 2_000),
            (100, BYTES / 2, 100),
            (100, BYTES + 1, 50),
            (1, BYTES * 9, 1),
        ] {
            assert_eq!(next_limit(limit, bytes), next);
        }
    }
}
