//! Databases of a server while they are put right: marked, so that no host begins to work on them.

use std::time::Duration;

use tokio::time::timeout;

use super::{OWN_MAX, PutBack, Restored};
use crate::model::OrganizationId;
use crate::store::hosts::{LIVING, Living};
use crate::store::moves::Location;
use crate::store::{Connection, Database, Error, Store, query, query_as, query_scalar};

/// To open a customer's database, and to bring what is ours there up to date, takes no longer. All others
/// wait meanwhile.
const OPEN_MAX: Duration = Duration::from_secs(120);

/// Whoever holds it puts these databases right; freed when its connection ends.
#[derive(Debug)]
#[must_use]
pub struct RestoreLock {
    _connection: Connection,
}

impl Store {
    /// Keeps others from putting the same databases right at the same time.
    pub async fn lock_restore(&self) -> Result<RestoreLock, Error> {
        let mut connection = self.control.reader().await?;
        let lock = "select pg_try_advisory_lock(hashtext('rowgate restore'))";
        let locked: bool = query_scalar(lock).fetch_one(&mut connection).await?;
        if !locked {
            let said = "another process puts these databases right";
            return Err(Error::Refused(said.into()));
        }
        Ok(RestoreLock { _connection: connection })
    }

    /// Opens an organization's own database, which goes on with those that were put back.
    ///
    /// # Errors
    /// [`Error::Unavailable`], where it can't be reached; others where that is ours to change.
    pub async fn open_put_back_own(
        &self,
        of: OrganizationId,
        key: &str,
    ) -> Result<Database, Error> {
        let Location { database_id, .. } = self.location(of).await?;
        let id = database_id.ok_or_else(|| {
            Error::Inconsistent(format!("the tables of {key} lie in no database of its own"))
        })?;
        let say = |error: String| {
            format!(
                "the tables of {key} lie in a database of its own, which can't be opened: {error}"
            )
        };
        let way = self.own_way(&id).await.map_err(|error| match error.is_away() {
            true => error,
            false => Error::Refused(say(error.to_string())),
        })?;
        // From here on it is the customer's server that answers, or doesn't.
        let opened = match timeout(OPEN_MAX, self.prepare_own(way)).await {
            Ok(opened) => opened.map_err(|error| error.to_string()),
            Err(_) => Err("it takes too long".to_owned()),
        };
        opened.map_err(|error| Error::Unavailable(say(error)))
    }

    /// Marks the databases, unless hosts may be alive: then it answers which.
    pub async fn begin_restore(&self) -> Result<Vec<Living>, Error> {
        let now = self.clock.now();
        self.control
            .write(move |connection| {
                Box::pin(async move {
                    // Hosts that enter themselves this moment are seen, or see the mark.
                    connection.run("lock table hosts in exclusive mode").await?;
                    let living: Vec<Living> =
                        query_as(LIVING).bind(now).fetch_all(&mut *connection).await?;
                    if living.is_empty() {
                        // One that only stood still finds itself gone, and ends.
                        query("delete from hosts").execute(&mut *connection).await?;
                        query(
                            "insert into restoring (begun_at)
                             select $1 where not exists (select 1 from restoring)",
                        )
                        .bind(now)
                        .execute(connection)
                        .await?;
                    }
                    Ok(living)
                })
            })
            .await
    }

    /// Puts marked databases right, and takes the mark away. If it is broken off, the mark stays. `told` is told
    /// the key of each organization before.
    pub async fn restore(&self, told: impl Fn(&str)) -> Result<Restored, Error> {
        // Roles aren't in what was put back: which passwords the server knows isn't known.
        self.control.execute(query("update organizations set reader_prepared = 0")).await?;
        let (now, chance) = (self.clock.now(), &self.chance);
        let put_back = PutBack { control: &self.control, begun_at: None, now, chance };
        let restored = put_back
            .put_right(OWN_MAX, async |id, key, is_own| {
                told(&key);
                match is_own {
                    false => self.open_replication(id, &key).await,
                    true => self.open_put_back_own(id, &key).await,
                }
            })
            .await?;
        self.control.execute(query("delete from restoring")).await?;
        Ok(restored)
    }
}
