//! An organization that is closed: its trees end first; then nobody opens its tables' database any more, that
//! goes, and with it the organization.

use super::receivers::forget_told;
use super::{Ending, NO_ROOT, Progress, for_update, mark};
use crate::failpoint;
use crate::model::{Micros, OrganizationId};
use crate::store::channels::RETIRED_LIFE;
use crate::store::{Connection, Error, Store, moves, query, query_as, query_scalar};

/// What belongs to an organization beside its integrations, children before what they refer to.
const OF_ORGANIZATIONS: [&str; 8] = [
    "targets",
    "alerts",
    "error_handlers",
    "subscriptions",
    "saved_queries",
    "integration_drafts",
    "memberships",
    "sweeps",
];

impl Store {
    /// Closes an organization. Nobody sees it from then on, and nothing is made in it. Tables in a database of
    /// its own stay there.
    ///
    /// # Errors
    /// [`Error::Refused`]: its tables are being moved.
    pub async fn end_organization(&self, of: OrganizationId) -> Result<(), Error> {
        self.refuse_while_moving(of).await?;
        let told = "select id from integrations where organization_id = $1";
        let told: Vec<String> =
            query_scalar(told).bind(of).fetch_all(self.control.readers()).await?;
        for integration_id in told {
            forget_told(&self.control, &integration_id).await?;
        }
        let now = self.clock.now();
        let ended = self.control.write(move |connection| {
            Box::pin(async move { end_organization(connection, of, now).await })
        });
        ended.await?;
        self.look_for_endings();
        Ok(())
    }
}

async fn end_organization(
    connection: &mut Connection,
    of: OrganizationId,
    now: Micros,
) -> Result<(), Error> {
    // Whoever makes an integration waits, and then finds that it is closed.
    query("update organizations set closing_at = coalesce(closing_at, $1) where id = $2")
        .bind(now)
        .bind(of)
        .execute(&mut *connection)
        .await?;
    moves::refuse_while_moving(&mut *connection, of).await?;
    let roots: Vec<String> =
        query_scalar("select distinct root_id from integrations where organization_id = $1")
            .bind(of)
            .fetch_all(&mut *connection)
            .await?;
    query("update integrations set ended_at = coalesce(ended_at, $1) where organization_id = $2")
        .bind(now)
        .bind(of)
        .execute(&mut *connection)
        .await?;
    for root_id in &roots {
        mark(connection, of, root_id, now).await?;
    }
    mark(connection, of, NO_ROOT, now).await?;
    delete_belongings(connection, of).await
}

pub(super) async fn work(store: &Store, ending: &Ending) -> Result<Progress, Error> {
    let of = ending.organization_id;
    let (claimed, now) = (ending.clone(), store.clock.now());
    let drops = store.control.write(move |connection| {
        Box::pin(async move { begin_to_drop(connection, &claimed, now).await })
    });
    let Some(Dropped { key, database_id }) = drops.await? else { return Ok(Progress::Waits) };
    failpoint::reach("organization_dropping");
    store.let_go(of);
    if let Some(id) = database_id
        && leave_own(store, ending, &id).await == Progress::Waits
    {
        return Ok(Progress::Waits);
    }
    store.drop_ours(of, &key, "dropping").await?;
    failpoint::reach("organization_dropped");
    let (claimed, now) = (ending.clone(), store.clock.now());
    let gone = store.control.write(move |connection| {
        Box::pin(async move {
            claimed.hold(connection, now).await?;
            delete_belongings(connection, of).await?;
            query("delete from moves where organization_id = $1")
                .bind(of)
                .execute(&mut *connection)
                .await?;
            claimed.delete(connection).await?;
            let gone = query("delete from organizations where id = $1").bind(of);
            gone.execute(connection).await?;
            Ok(())
        })
    });
    gone.await?;
    Ok(Progress::Done)
}

impl Store {
    /// Drops what lies in our storage of an organization's tables, if the organization is `still` so: while
    /// this process stood still another one may have done it, and what has this key may be a new one's.
    pub(in crate::store) async fn drop_ours(
        &self,
        of: OrganizationId,
        key: &str,
        still: &str,
    ) -> Result<(), Error> {
        let held = self.hold_replication(of).await?;
        let still =
            format!("select exists (select 1 from organizations where id = $1 and {still})");
        let still: bool = query_scalar(still).bind(of).fetch_one(&self.control).await?;
        let dropped = match &self.server {
            _ if !still => Err(Error::Superseded("the database isn't this organization's")),
            None => self.data_dir.remove_replication(key).map_err(unavailable),
            Some(server) => server.drop_replication(key).await,
        };
        held.let_go().await;
        dropped
    }
}

/// A database of its own that can't be reached is waited for as channels are. Then all of it stays there, and
/// nobody knows it any more.
async fn leave_own(store: &Store, ending: &Ending, id: &str) -> Progress {
    let Err(error) = store.leave_own(id).await else { return Progress::Done };
    let (organization_id, age) =
        (ending.organization_id, store.clock.now().saturating_sub(ending.begun_at));
    tracing::warn!(organization_id, %error, "the database of a closed organization can't be cleared");
    if age < RETIRED_LIFE { Progress::Waits } else { Progress::Done }
}

/// What goes with an organization.
#[derive(sqlx::FromRow)]
struct Dropped {
    key: String,
    /// The move that brought its tables to a database of its own.
    database_id: Option<String>,
}

/// From here on nobody opens its tables' database: who is at it is waited for. None: it has integrations yet.
async fn begin_to_drop(
    connection: &mut Connection,
    ending: &Ending,
    now: Micros,
) -> Result<Option<Dropped>, Error> {
    ending.hold(connection, now).await?;
    let of = ending.organization_id;
    let integrations: bool =
        query_scalar("select exists (select 1 from integrations where organization_id = $1)")
            .bind(of)
            .fetch_one(&mut *connection)
            .await?;
    if integrations {
        return Ok(None);
    }
    let dropped = format!(
        "select key, database_id from organizations where id = $1{}",
        for_update(connection)
    );
    let dropped = query_as(dropped).bind(of).fetch_optional(&mut *connection).await?;
    query("update organizations set dropping = true where id = $1")
        .bind(of)
        .execute(connection)
        .await?;
    Ok(dropped)
}

async fn delete_belongings(connection: &mut Connection, of: OrganizationId) -> Result<(), Error> {
    for table in OF_ORGANIZATIONS {
        let sql = format!("delete from {table} where organization_id = $1");
        query(sql).bind(of).execute(&mut *connection).await?;
    }
    Ok(())
}

fn unavailable(error: std::io::Error) -> Error {
    Error::Unavailable(error.to_string())
}
