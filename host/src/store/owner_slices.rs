//! Owners of a tree slice by slice, in the order of their names.

use futures_util::future::BoxFuture;

use super::{Target, query_as};
use crate::model::OwnerId;

/// An owner as much as slices are for.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
#[allow(missing_docs, reason = "columns of the schema")]
pub(super) struct SlicedOwner {
    pub(super) id: OwnerId,
    pub(super) external_owner_id: String,
    pub(super) state: String,
}

/// At most `limit` owners behind one; behind none if that is empty. The limit is more than one: an owner
/// may have no name, and then it is the first.
pub(super) fn behind<'c>(
    target: impl Into<Target<'c>>,
    root_id: &'c str,
    after: &'c str,
    limit: i64,
) -> BoxFuture<'c, sqlx::Result<Vec<SlicedOwner>>> {
    query_as(behind_sql(after)).bind(root_id).bind(after).bind(limit).fetch_all(target)
}

/// Arguments: root, name of an owner, limit.
pub(super) fn behind_sql(after: &str) -> &'static str {
    match after {
        "" => {
            "select id, external_owner_id, state from owners
             where root_id = $1 and external_owner_id >= $2 order by external_owner_id limit $3"
        }
        _ => {
            "select id, external_owner_id, state from owners
             where root_id = $1 and external_owner_id > $2 order by external_owner_id limit $3"
        }
    }
}
