//! One host at a time makes parts of organizations and sets passwords. One that stands still meanwhile must not
//! keep the others out (R7).

use std::time::Duration;

use sqlx::{Executor as _, PgConnection};

use super::{Held, Server, connect_or_create};
use crate::clock::Clock;
use crate::store::Error;
use crate::store::database::maker;

/// See [`Server::alone`]. Dropping it lets go, too.
pub(in crate::store) struct Alone {
    connection: PgConnection,
    /// So often the server is shown that this process moves.
    beat: Duration,
}

impl Server {
    /// Until it is let go nobody else makes parts of organizations or sets passwords: several hosts may come at
    /// once. Readers don't see the table that is locked; an advisory lock of their own database they could hold.
    ///
    /// # Errors
    /// [`Error::Unavailable`]: somebody else is at it for long.
    pub(in crate::store) async fn alone(&self) -> Result<Alone, Error> {
        let mut connection = connect_or_create(&maker(self.control.clone(), self.limits)).await?;
        connection.execute("begin").await?;
        // Who reads and writes it isn't kept from that.
        let lock = "lock table configuration in share update exclusive mode";
        connection.execute(lock).await.map_err(|error| {
            Error::Unavailable(format!(
                "another host makes parts of organizations or sets passwords: {error}"
            ))
        })?;
        Ok(Alone { connection, beat: self.limits.still_max() / 3 })
    }
}

impl Alone {
    /// Does that alone, and lets go. Whoever stands still for too long isn't alone any more: what is left to do
    /// then is left.
    pub(in crate::store) async fn during<T>(
        mut self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let done = tokio::select! {
            // First: behind a standstill this is known before more is done.
            biased;
            lost = self.stays() => Err(lost),
            done = work => done,
        };
        Held(self.connection).let_go().await;
        done
    }

    /// Answers only when it isn't alone any more, with the reason.
    async fn stays(&mut self) -> Error {
        loop {
            // The server measures real time, whatever clock the store has.
            Clock::System.sleep(self.beat).await;
            if let Err(error) = self.connection.execute("select 1").await {
                return Error::Unavailable(format!(
                    "this host stood still while it made a part of an organization: {error}"
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;
    use crate::store::fixture::{self, Opened};
    use crate::store::{Dialect, SessionLimits, query_scalar};

    async fn opened() -> Opened {
        fixture::open(Dialect::Postgres, Clock::System).await
    }

    async fn setting(alone: &mut Alone, name: &str) -> String {
        let show = format!("show {name}");
        sqlx::query_scalar(&show).fetch_one(&mut alone.connection).await.unwrap()
    }

    /// Standing still ends before whoever waits has waited in vain.
    #[tokio::test]
    async fn its_session_has_limits() {
        let store = opened().await;
        let mut alone = store.server.as_ref().unwrap().alone().await.unwrap();
        for (name, value) in [
            ("idle_in_transaction_session_timeout", "10s"),
            ("lock_timeout", "2min"),
            ("statement_timeout", "2min"),
        ] {
            assert_eq!(setting(&mut alone, name).await, value, "{name}");
        }
        let quick = SessionLimits { lease_ttl: Duration::from_millis(500), connections_max: 1 };
        assert_eq!(quick.still_max(), Duration::from_secs(5), "a busy server answers late");
    }

    #[tokio::test]
    async fn who_stands_still_is_alone_no_longer() {
        let store = opened().await;
        let server = store.server.as_ref().unwrap();
        let mut frozen = server.alone().await.unwrap();
        // Its limit, made short: nothing is asked on it from here on.
        let limit = "set idle_in_transaction_session_timeout = '100ms'";
        frozen.connection.execute(limit).await.unwrap();
        let next = server.alone().await.unwrap();
        // It goes on, and does nothing more.
        frozen.beat = Duration::ZERO;
        let refused = frozen.during(pending::<Result<(), Error>>()).await.unwrap_err();
        assert!(refused.is_away() && refused.to_string().contains("stood still"), "{refused}");
        assert_eq!(next.during(async { Ok(1) }).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn who_works_for_long_stays_alone() {
        let store = opened().await;
        let server = store.server.as_ref().unwrap();
        let mut slow = server.alone().await.unwrap();
        let limit = "set idle_in_transaction_session_timeout = '5s'";
        slow.connection.execute(limit).await.unwrap();
        slow.beat = Duration::from_millis(10);
        let pid: i32 = sqlx::query_scalar("select pg_backend_pid()")
            .fetch_one(&mut slow.connection)
            .await
            .unwrap();
        // Until it has worked for longer than it might stand still, and the next one waits still.
        let works = async {
            let for_long = format!(
                "select clock_timestamp() - xact_start > interval '6 s' from pg_stat_activity
                 where pid = {pid}"
            );
            loop {
                let for_long: bool =
                    query_scalar(for_long.clone()).fetch_one(store.control()).await?;
                if for_long && fixture::waiting(&store).await == 1 {
                    return Ok(());
                }
            }
        };
        let (worked, next) = tokio::join!(slow.during(works), server.alone());
        worked.unwrap();
        drop(next.unwrap());
    }

    #[tokio::test]
    async fn who_waits_in_vain_says_for_whom() {
        let store = opened().await;
        let lock = "lock table configuration in share update exclusive mode";
        let others = fixture::begin(store.control(), lock).await;
        let server = store.server.as_ref().unwrap();
        let cancelled = async {
            while fixture::waiting(&store).await == 0 {
                tokio::task::yield_now().await;
            }
            let ends = "select pg_cancel_backend(pid) from pg_stat_activity
                        where datname = current_database() and wait_event_type = 'Lock'";
            fixture::run(&store, ends.to_owned()).await;
        };
        let (alone, ()) = tokio::join!(server.alone(), cancelled);
        let refused = alone.err().unwrap();
        assert!(refused.is_away() && refused.to_string().contains("another host"), "{refused}");
        others.commit("").await;
    }
}
