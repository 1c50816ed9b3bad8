//! Columns that the host fills itself, outside any call: they move neither `row_updated_at` nor the
//! change feed.

use std::sync::Arc;

use super::{TreeTables, Under, advance, apply_error};
use crate::model::Scalar;
use crate::store::{Database, Error, tables};

/// Writes bookkeeping columns of one row of the owner's, under its fence and generation. Nothing
/// happens where there is no such row, or no integration for the service.
pub async fn show(
    replication: &Database,
    under: Under,
    tree: Arc<TreeTables>,
    service: String,
    key: Vec<Scalar>,
    values: Vec<(String, Scalar)>,
) -> Result<(), Error> {
    replication
        .write(move |connection| {
            Box::pin(async move {
                advance(connection, &under, None).await?;
                let Some(spec) = tree.tables.get(&service) else { return Ok(()) };
                let owner = under.external_owner_id.as_deref();
                tables::set_bookkeeping(connection, spec, owner, &key, &values)
                    .await
                    .map(drop)
                    .map_err(apply_error)
            })
        })
        .await
}
