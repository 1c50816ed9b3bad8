//! The lease of a move, and the steps that its control row takes under it.

use std::collections::BTreeSet;

use crate::model::{Micros, OrganizationId};
use crate::store::{Error, Store, query, query_as, query_scalar};

/// A move that this host works on.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Claimed {
    pub(super) id: String,
    pub(super) organization_id: OrganizationId,
    pub(super) fence: i64,
}

/// A claimed move with its lease.
pub(super) struct Hold<'s> {
    pub(super) store: &'s Store,
    pub(super) of: Claimed,
    pub(super) ttl: Micros,
}

pub(super) const LIVE: &str = "id = $1 and fence = $2 and state = 'copying'";

impl Hold<'_> {
    /// Keeps the lease.
    ///
    /// # Errors
    /// [`Error::Superseded`]: another host has it.
    pub(super) async fn renew(&self) -> Result<(), Error> {
        let until = self.store.clock.now().saturating_add(self.ttl);
        let sql = format!("update moves set lease_until = $3 where {LIVE}");
        let statement = query(sql).bind(self.of.id.clone()).bind(self.of.fence).bind(until);
        held(self.store.control.execute(statement).await?.rows_affected())
    }

    /// The same, and tells how far it has come.
    pub(super) async fn progress(&self, table_name: &str, rows_copied: i64) -> Result<(), Error> {
        let now = self.store.clock.now();
        let sql = format!(
            "update moves set lease_until = $3, progressed_at = $4, table_name = $5,
               rows_copied = $6, error = null where {LIVE}"
        );
        let statement = query(sql)
            .bind(self.of.id.clone())
            .bind(self.of.fence)
            .bind(now.saturating_add(self.ttl))
            .bind(now)
            .bind(table_name.to_owned())
            .bind(rows_copied);
        held(self.store.control.execute(statement).await?.rows_affected())
    }

    /// When it last came a step further.
    pub(super) async fn progressed_at(&self) -> Result<Micros, Error> {
        let at = query_scalar("select progressed_at from moves where id = $1");
        Ok(at.bind(&self.of.id).fetch_one(self.store.control.readers()).await?)
    }

    /// Gives it back: it is tried again then.
    pub(super) async fn put_off(&self, reason: String, not_before: Micros) -> Result<(), Error> {
        let sql =
            format!("update moves set lease_until = 0, not_before = $3, error = $4 where {LIVE}");
        let statement = query(sql).bind(self.of.id.clone()).bind(self.of.fence).bind(not_before);
        self.store.control.execute(statement.bind(reason)).await.map(drop)
    }

    /// Ends it: everything is as it was before.
    pub(super) async fn fail(&self, reason: String) -> Result<(), Error> {
        let (of, now) = (self.of.clone(), self.store.clock.now());
        self.store
            .control
            .write(move |connection| {
                Box::pin(async move {
                    let failed = format!(
                        "update moves set state = 'failed', ended_at = $3, error = $4,
                           admin_url = null, readonly_url = null where {LIVE}"
                    );
                    let failed = query(failed).bind(&of.id).bind(of.fence).bind(now).bind(reason);
                    held(failed.execute(&mut *connection).await?.rows_affected())?;
                    // One that is to be put right rests on. Its row is taken either way: whoever puts it
                    // right sees that this has ended, or is seen.
                    let awake = "update organizations set rests_until = case
                                   when put_back_from is null then 0 else rests_until end
                                 where id = $1";
                    query(awake).bind(of.organization_id).execute(connection).await?;
                    Ok(())
                })
            })
            .await
    }

    /// From here on the tables lie where they were copied to. `copied`: their names.
    pub(super) async fn switch(&self, copied: BTreeSet<String>) -> Result<(), Error> {
        let (of, now) = (self.of.clone(), self.store.clock.now());
        self.store
            .control
            .write(move |connection| {
                Box::pin(async move {
                    let done = format!(
                        "update moves set state = 'done', ended_at = $3, table_name = null,
                           error = null, left_behind = (
                             select database_id is null from organizations
                             where organizations.id = moves.organization_id)
                         where {LIVE}"
                    );
                    let done = query(done).bind(&of.id).bind(of.fence).bind(now);
                    held(done.execute(&mut *connection).await?.rows_affected())?;
                    let names: Vec<String> = query_scalar(
                        "select table_name from integrations
                         where organization_id = $1 and ended_at is null",
                    )
                    .bind(of.organization_id)
                    .fetch_all(&mut *connection)
                    .await?;
                    if names.into_iter().collect::<BTreeSet<_>>() != copied {
                        let reason = "integrations were changed while their tables were copied: \
                                      start it again";
                        return Err(Error::Refused(reason.into()));
                    }
                    // Where they lay before, if that was in a customer's database.
                    query(
                        "update moves set admin_url = null, readonly_url = null
                         where organization_id = $1 and id <> $2",
                    )
                    .bind(of.organization_id)
                    .bind(&of.id)
                    .execute(&mut *connection)
                    .await?;
                    query(
                        "update organizations set database_id = $1, database_no = database_no + 1,
                           rests_until = 0 where id = $2",
                    )
                    .bind(&of.id)
                    .bind(of.organization_id)
                    .execute(connection)
                    .await?;
                    Ok(())
                })
            })
            .await
    }
}

pub(super) fn held(rows: u64) -> Result<(), Error> {
    match rows {
        0 => Err(Error::Superseded("another host goes on with the move, or it is over")),
        _ => Ok(()),
    }
}

impl Store {
    /// Ends what a host that died here held. Only for who holds the data directory's lock.
    pub async fn take_back_moves(&self) -> Result<(), Error> {
        let free = query("update moves set lease_until = 0 where state = 'copying'");
        self.control.execute(free).await.map(drop)
    }

    /// A move that waits for a host, under a lease of this one.
    pub(super) async fn claim_move(&self, ttl: Micros) -> Result<Option<Claimed>, Error> {
        let now = self.clock.now();
        let claim = query_as::<Claimed>(
            "update moves set fence = fence + 1, lease_until = $1,
               progressed_at = case when not_before = 0 then $2 else progressed_at end
             where lease_until <= $2 and id = (
               select id from moves
               where state = 'copying' and lease_until <= $2 and not_before <= $2
               order by created_at, id limit 1)
             returning id, organization_id, fence",
        );
        self.control.fetch(claim.bind(now.saturating_add(ttl)).bind(now)).await
    }
}
