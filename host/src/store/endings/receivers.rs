//! Whom tables are told to, where they end.

use crate::store::{Connection, Database, Error, query};

/// Rows of one transaction.
const SLICE: i64 = 1_000;

/// Forgets of whom the subscribers of an integration are still to be told: with a target all of it would go
/// at once, and there may be a million.
pub(super) async fn forget_told(control: &Database, integration_id: &str) -> Result<(), Error> {
    let slice = || {
        query(
            "delete from synced_owners where (target_id, owner_id) in (
               select s.target_id, s.owner_id from synced_owners s
               join targets t on t.id = s.target_id where t.integration_id = $1 limit $2)",
        )
        .bind(integration_id.to_owned())
        .bind(SLICE)
    };
    control.execute_slices(SLICE, slice).await.map(drop)
}

/// Whom an integration's table was told to.
pub(super) async fn delete_receivers(connection: &mut Connection, id: &str) -> Result<(), Error> {
    for table in ["targets", "subscriptions"] {
        let sql = format!("delete from {table} where integration_id = $1");
        query(sql).bind(id).execute(&mut *connection).await?;
    }
    Ok(())
}
