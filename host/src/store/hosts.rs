//! Hosts that work on a server's databases. Each says again and again that it is there, so that nobody
//! who changes these databases under it takes them for unused. A data directory has a lock for that.

use std::sync::Arc;
use std::time::Duration;

use super::{Dialect, Error, Store, query, query_as, query_scalar};
use crate::clock::micros;
use crate::model::Micros;

/// Hosts that ended without a word are remembered so long.
const KEPT: Micros = 24 * 3_600 * 1_000_000;

/// A host that said that it is there.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Living {
    /// Its name in leases.
    pub name: String,
    /// It will have said so again by then, if it lives.
    pub alive_until: Micros,
    /// The key that it seals with.
    pub key_id: String,
}

/// Says that a host is there, three times in `ttl`. Ends when it was taken for dead: what it knows of the
/// databases may not be true any more.
pub async fn keep(store: Arc<Store>, host: String, ttl: Duration) {
    loop {
        store.clock().sleep(ttl / 3).await;
        match store.beat(&host, ttl).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => tracing::error!(%error, "that this host is there could not be written"),
        }
    }
}

impl Store {
    /// Enters a host that begins to work. Nothing on files.
    ///
    /// # Errors
    /// [`Error::Refused`] while databases that were put back are put right.
    pub async fn enlist(&self, host: &str, ttl: Duration) -> Result<(), Error> {
        if self.control.dialect() == Dialect::Sqlite {
            return Ok(());
        }
        let (host, key_id, now) = (host.to_owned(), self.keyring.newest(), self.clock.now());
        self.control
            .write(move |connection| {
                Box::pin(async move {
                    // Whoever puts the databases right sees this host, or this host sees the mark: the
                    // next statement sees what was committed before the lock was had.
                    connection.run("lock table hosts in row exclusive mode").await?;
                    let restoring: bool =
                        query_scalar(RESTORING).fetch_one(&mut *connection).await?;
                    if restoring {
                        return Err(being_restored());
                    }
                    let gone = query("delete from hosts where alive_until < $1");
                    gone.bind(now.saturating_sub(KEPT)).execute(&mut *connection).await?;
                    query("insert into hosts (name, alive_until, key_id) values ($1, $2, $3)")
                        .bind(host)
                        .bind(now.saturating_add(micros(ttl)))
                        .bind(key_id.to_string())
                        .execute(connection)
                        .await?;
                    Ok(())
                })
            })
            .await
    }

    /// Says that a host is still there. False: it was taken for dead meanwhile.
    async fn beat(&self, host: &str, ttl: Duration) -> Result<bool, Error> {
        if self.control.dialect() == Dialect::Sqlite {
            return Ok(true);
        }
        let until = self.clock.now().saturating_add(micros(ttl));
        let beat = query("update hosts set alive_until = $1, key_id = $2 where name = $3")
            .bind(until)
            .bind(self.keyring.newest().to_string())
            .bind(host.to_owned());
        Ok(self.control.execute(beat).await?.rows_affected() > 0)
    }

    /// Says that a host has ended.
    pub async fn leave(&self, host: &str) -> Result<(), Error> {
        if self.control.dialect() == Dialect::Sqlite {
            return Ok(());
        }
        let gone = query("delete from hosts where name = $1").bind(host.to_owned());
        self.control.execute(gone).await.map(drop)
    }

    /// Hosts that may be alive, by name. None on files.
    pub async fn living(&self) -> Result<Vec<Living>, Error> {
        if self.control.dialect() == Dialect::Sqlite {
            return Ok(Vec::new());
        }
        Ok(query_as(LIVING).bind(self.clock.now()).fetch_all(self.control.readers()).await?)
    }

    /// Refused while databases that were put back are put right.
    pub(super) async fn must_be_right(&self) -> Result<(), Error> {
        let restoring: bool = query_scalar(RESTORING).fetch_one(&self.control).await?;
        if restoring { Err(being_restored()) } else { Ok(()) }
    }
}

pub(super) const LIVING: &str =
    "select name, alive_until, key_id from hosts where alive_until > $1 order by name";

const RESTORING: &str = "select exists (select 1 from restoring)";

fn being_restored() -> Error {
    Error::Refused(
        "these databases were put back and aren't put right yet: run `rowgate restore --server` to its \
         end first"
            .into(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::store::fixture;

    const TTL: Duration = Duration::from_secs(30);

    async fn names(store: &Store) -> Vec<String> {
        store.living().await.unwrap().into_iter().map(|host| host.name).collect()
    }

    #[tokio::test]
    async fn a_host_is_alive_while_it_says_so() {
        let clock = Clock::simulated(0);
        let store = fixture::open(Dialect::Postgres, clock.clone()).await;
        store.enlist("stays", TTL).await.unwrap();
        store.enlist("dies", TTL).await.unwrap();
        store.enlist("leaves", TTL).await.unwrap();
        store.leave("leaves").await.unwrap();
        assert_eq!(names(&store).await, ["dies", "stays"]);
        clock.advance(TTL / 2);
        assert!(store.beat("stays", TTL).await.unwrap());
        assert!(!store.beat("leaves", TTL).await.unwrap(), "it isn't entered again");
        clock.advance(TTL / 2);
        assert_eq!(names(&store).await, ["stays"]);
        assert_eq!(store.living().await.unwrap()[0].key_id, store.keyring().newest().to_string());
        clock.advance(Duration::from_micros(KEPT.unsigned_abs()) + TTL);
        store.enlist("comes", TTL).await.unwrap();
        let known: i64 =
            query_scalar("select count(*) from hosts").fetch_one(store.control()).await.unwrap();
        assert_eq!(known, 1, "those that died are forgotten");
    }

    /// Files have a lock instead.
    #[tokio::test]
    async fn on_files_there_is_nothing_to_say() {
        let store = fixture::open(Dialect::Sqlite, Clock::simulated(0)).await;
        store.enlist("host", TTL).await.unwrap();
        assert!(store.beat("host", TTL).await.unwrap());
        assert_eq!(store.living().await.unwrap(), []);
        store.leave("host").await.unwrap();
    }
}
