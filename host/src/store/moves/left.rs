//! What moves leave behind: the tables as they were in our storage, which go after a while; and ours in
//! a customer's database, when the organization is closed.

use super::{INTERNAL, reader};
use crate::model::{Micros, OrganizationId};
use crate::store::tables::quoted;
use crate::store::{Database, Error, Store, query, query_as};

impl Store {
    /// Drops tables that lie in a database of their organization's own since before a time, where they
    /// lay before: in our storage. Answers how many organizations' went.
    pub async fn drop_left_behind(&self, moved_before: Micros) -> Result<u64, Error> {
        let left: Vec<(String, OrganizationId, String)> = query_as(
            "select m.id, o.id, o.key from moves m join organizations o on o.id = m.organization_id
             where m.left_behind and m.ended_at < $1 and o.database_id is not null",
        )
        .bind(moved_before)
        .fetch_all(self.control.readers())
        .await?;
        let mut dropped = 0;
        for (id, of, key) in left {
            if let Err(error) = self.drop_ours(of, &key, "database_id is not null").await {
                tracing::error!(organization_id = of, %error, "tables that were moved can't be dropped here");
                continue;
            }
            let gone = query("update moves set left_behind = false where id = $1");
            self.control.execute(gone.bind(id)).await?;
            dropped += 1;
        }
        Ok(dropped)
    }

    /// Takes what is ours out of an organization's own database: the reading role that we made, and all
    /// but the tables. Those stay, and belong to nobody but the customer.
    pub(in crate::store) async fn leave_own(&self, id: &str) -> Result<(), Error> {
        let own_reader = self.own_reader(id).await?;
        let admin: Database = self.outside()?.database(&self.own_way(id).await?);
        let drop = format!("drop schema if exists {} cascade", quoted(INTERNAL));
        admin
            .write(move |connection| Box::pin(async move { Ok(connection.run(&drop).await?) }))
            .await?;
        if own_reader.is_ours {
            let way = self.outside()?.way(&own_reader.url)?;
            reader::drop_role(&admin, &way.user).await?;
        }
        Ok(())
    }
}
