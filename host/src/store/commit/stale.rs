//! Stale rows that have been kept long enough go by commits of the owner's holder, as any other change.

use std::sync::Arc;

use super::message::store as store_message;
use super::{Message, TreeTables, Under, advance, apply_error, apply_scope, derive, new_commit};
use crate::model::Micros;
use crate::store::tables::{self, ApplyScope};
use crate::store::{Connection, Database, Error, query};

/// Rows that one commit deletes at most.
const SLICE: u32 = 1_000;

/// What a commit did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Rows deleted.
    pub rows: u64,
    /// Something waits in the outbox.
    pub outbox: bool,
    /// There may be more: commit again.
    pub unfinished: bool,
}

/// Deletes a slice of the owner's stale rows that last moved before a time, with all that follows from it. The
/// last slice notes that they were gone through.
pub async fn forget_stale(
    replication: &Database,
    under: Under,
    tree: Arc<TreeTables>,
    now: Micros,
    before: Micros,
) -> Result<Forgotten, Error> {
    replication
        .write(move |connection| {
            Box::pin(async move {
                let commit_no = advance(connection, &under, None).await?;
                let (mut message, mut done) = (Message::default(), Forgotten::default());
                let mut scope = apply_scope(&under, &tree, now, 0);
                let services = stale_services(connection, &scope, &tree, before).await?;
                if !services.is_empty() {
                    scope.commit_id = new_commit(connection, &under, now).await?;
                    done.rows = delete(connection, &scope, &tree, &services, before).await?;
                    derive::streams(connection, &scope, &tree, &services, &mut message).await?;
                }
                done.unfinished = done.rows >= u64::from(SLICE);
                if !done.unfinished {
                    query("update rowgate_owners set stale_swept_at = $1 where owner_id = $2")
                        .bind(now)
                        .bind(under.owner_id)
                        .execute(&mut *connection)
                        .await?;
                }
                done.outbox = store_message(connection, &under, commit_no, &message).await?;
                Ok(done)
            })
        })
        .await
}

/// The services of which the owner has such rows.
async fn stale_services<'t>(
    connection: &mut Connection,
    scope: &ApplyScope,
    tree: &'t TreeTables,
    before: Micros,
) -> Result<Vec<&'t str>, Error> {
    let mut services = Vec::new();
    for (service, spec) in &tree.tables {
        if tables::has_stale_rows(connection, scope, spec, before).await.map_err(apply_error)? {
            services.push(service.as_str());
        }
    }
    services.sort_unstable();
    Ok(services)
}

async fn delete(
    connection: &mut Connection,
    scope: &ApplyScope,
    tree: &TreeTables,
    services: &[&str],
    before: Micros,
) -> Result<u64, Error> {
    let (mut gone, mut left) = (0, SLICE);
    for spec in services.iter().filter_map(|service| tree.tables.get(*service)) {
        let rows = tables::delete_stale_rows(connection, scope, spec, before, left)
            .await
            .map_err(apply_error)?;
        gone += rows;
        left = left.saturating_sub(u32::try_from(rows).unwrap_or(u32::MAX));
        if left == 0 {
            break;
        }
    }
    Ok(gone)
}

#[cfg(test)]
mod tests;
