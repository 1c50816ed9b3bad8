//! Notices what others commit to the control database: a command that works on the data directory
//! beside a running host, other hosts on the same server.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::sync::{Notify, mpsc};

use super::{Connection, Database, Dialect, Error, Store, query, query_scalar};
use crate::clock::Clock;
use crate::model::OwnerId;

/// How often a file is looked at.
const INTERVAL: Duration = Duration::from_millis(200);

/// Pause between two notifications of a host. One a commit would cost the server more than half of
/// its commits: they go through one lock (R13).
const NOTIFY_PAUSE: Duration = Duration::from_millis(5);

/// Owners named in one notification; its text holds 8,000 bytes.
const NAMED_MAX: usize = 350;

const CHANNEL: &str = "rowgate";

/// What was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// An inbox item of this owner, or a mark on one of its streams.
    Owner(OwnerId),
    /// Something else, or it isn't known what: look.
    Something,
}

/// Owners of whom other hosts are to be told.
#[derive(Clone, Debug, Default)]
pub(super) struct Told(Arc<(Mutex<BTreeSet<OwnerId>>, Notify)>);

impl Store {
    /// What others commit, from now on. Several commits may be one signal. Ends when the receiver is
    /// dropped.
    pub async fn watch(&self) -> Result<mpsc::Receiver<Heard>, Error> {
        let (heard, receiver) = mpsc::channel(1024);
        match &self.control {
            Database::Sqlite(_) => {
                // `data_version` tells of commits by other connections, so this one must never
                // write.
                let mut connection = self.control.reader().await?;
                let mut seen = data_version(&mut connection).await?;
                let clock = self.clock.clone();
                tokio::spawn(async move {
                    while let Some(now) = next(&mut connection, &clock, &heard).await {
                        if now != seen {
                            seen = now;
                            let _full_is_as_good = heard.try_send(Heard::Something);
                        }
                    }
                });
            }
            Database::Postgres(database) => {
                let mut listener = database.listener().await?;
                listener.listen(CHANNEL).await?;
                tokio::spawn(listen(listener, self.clock.clone(), heard));
                tokio::spawn(notify(self.control.clone(), self.clock.clone(), self.told.clone()));
            }
        }
        Ok(receiver)
    }

    /// Lets other hosts know of something due at this owner, soon; they would find it by polling.
    pub fn tell_hosts(&self, owner_id: OwnerId) {
        if self.control.dialect() == Dialect::Postgres {
            let (owners, told) = &*self.told.0;
            owners.lock().unwrap_or_else(PoisonError::into_inner).insert(owner_id);
            told.notify_one();
        }
    }
}

/// The next version of a file; none: nobody listens any more.
async fn next(
    connection: &mut Connection,
    clock: &Clock,
    listening: &mpsc::Sender<Heard>,
) -> Option<i64> {
    loop {
        clock.sleep(INTERVAL).await;
        if listening.is_closed() {
            return None;
        }
        match data_version(connection).await {
            Ok(version) => return Some(version),
            // The file may be back at the next look.
            Err(error) => tracing::warn!(%error, "looking for changes of the control database"),
        }
    }
}

async fn data_version(connection: &mut Connection) -> Result<i64, sqlx::Error> {
    query_scalar("pragma data_version").fetch_one(connection).await
}

async fn listen(mut listener: PgListener, clock: Clock, heard: mpsc::Sender<Heard>) {
    while !heard.is_closed() {
        match listener.try_recv().await {
            Ok(Some(notification)) => {
                let owners: Vec<Heard> = notification
                    .payload()
                    .split(',')
                    .filter_map(|id| id.parse().ok().map(Heard::Owner))
                    .collect();
                let heard_nothing = owners.is_empty();
                let all = owners.into_iter().chain(heard_nothing.then_some(Heard::Something));
                for one in all {
                    let _full_is_as_good = heard.try_send(one);
                }
            }
            // The connection was lost and is back: what was said meanwhile is unknown.
            Ok(None) => {
                let _full_is_as_good = heard.try_send(Heard::Something);
            }
            Err(error) => {
                tracing::warn!(%error, "listening for other hosts; the schedule is polled meanwhile");
                clock.sleep(INTERVAL).await;
            }
        }
    }
}

async fn notify(control: Database, clock: Clock, told: Told) {
    let (owners, wake) = &*told.0;
    loop {
        wake.notified().await;
        loop {
            let payload = take(&mut owners.lock().unwrap_or_else(PoisonError::into_inner));
            if payload.is_empty() {
                break;
            }
            let statement = query("select pg_notify($1, $2)").bind(CHANNEL).bind(payload);
            if let Err(error) = statement.fetch_optional(&control).await {
                tracing::debug!(%error, "other hosts were not told; they poll");
            }
            clock.sleep(NOTIFY_PAUSE).await;
        }
    }
}

fn take(owners: &mut BTreeSet<OwnerId>) -> String {
    let named: Vec<OwnerId> = owners.iter().copied().take(NAMED_MAX).collect();
    for owner_id in &named {
        owners.remove(owner_id);
    }
    named.iter().map(OwnerId::to_string).collect::<Vec<_>>().join(",")
}
