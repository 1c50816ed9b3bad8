//! Ids of owners and inbox items, which tables know by them: nobody gets one again that was somebody else's.

use super::{Organization, PutBack};
use crate::model::OwnerId;
use crate::store::{Database, Dialect, Error, query, query_as, query_scalar};

/// The highest ids that an organization's tables know.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    pub(super) owner: OwnerId,
    pub(super) item: i64,
}

impl PutBack<'_> {
    /// A customer's database may claim what it likes.
    pub(super) async fn known_ids(
        &self,
        replication: &Database,
        of: &Organization,
    ) -> Result<Known, Error> {
        let here = highest_ids(replication).await?;
        if of.is_own && here.owner.max(here.item) > self.now {
            return Err(Error::Inconsistent("it knows ids that were never given".into()));
        }
        Ok(here)
    }

    pub(super) async fn last_id(&self, table: &str) -> Result<i64, Error> {
        let last = query_scalar(format!("select coalesce(max(id), 0) from {table}"));
        Ok(last.fetch_one(self.control).await?)
    }

    /// The next row of a table gets an id behind this one.
    pub(super) async fn give_ids_behind(&self, table: &str, id: i64) -> Result<(), Error> {
        match self.control.dialect() {
            Dialect::Postgres => {
                let set = format!(
                    "select setval('{table}_id_seq',
                                   greatest($1, (select last_value from {table}_id_seq)))"
                );
                self.control.fetch(query_scalar::<i64>(set).bind(id)).await.map(drop)
            }
            Dialect::Sqlite => {
                let moved =
                    format!("update sqlite_sequence set seq = max(seq, $1) where name = '{table}'");
                let moved = self.control.execute(query(moved).bind(id)).await?;
                if moved.rows_affected() == 0 {
                    let first =
                        format!("insert into sqlite_sequence (name, seq) values ('{table}', $1)");
                    self.control.execute(query(first).bind(id)).await?;
                }
                Ok(())
            }
        }
    }
}

async fn highest_ids(replication: &Database) -> Result<Known, Error> {
    let (owner, item) = query_as::<(OwnerId, i64)>(
        "select coalesce((select max(owner_id) from rowgate_owners), 0),
                coalesce((select max(item) from (
                  select max(inbox_id) as item from rowgate_applied
                  union all select max(grant_id) from rowgate_owners) as items), 0)",
    )
    .fetch_one(replication)
    .await?;
    Ok(Known { owner, item })
}
