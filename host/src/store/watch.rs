//! Notices what others commit to the control database: a command that works on the data directory
//! beside a running host, other hosts on the same server.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use super::{Connection, Database, Dialect, Error, Store, query, query_scalar};
use crate::clock::Clock;
use crate::failpoint;
use crate::model::{Micros, OwnerId};

/// How often a file is looked at.
const INTERVAL: Duration = Duration::from_millis(200);

/// Pause between two notifications of a host. One a commit would cost the server more than half of
/// its commits: they go through one lock (R13).
const NOTIFY_PAUSE: Duration = Duration::from_millis(5);

/// Owners and pauses named in one notification; its text holds 8,000 bytes.
const NAMED_MAX: usize = 150;

const CHANNEL: &str = "rowgate";

/// What was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// An inbox item of this owner, or a mark on one of its streams.
    Owner(OwnerId),
    /// The vendor wants nothing of the tree under this root until then.
    Paused(String, Micros),
    /// Something else, or it isn't known what: look.
    Something,
}

/// What other hosts are to be told.
#[derive(Clone, Debug, Default)]
pub(super) struct Told(Arc<(Mutex<News>, Notify)>);

#[derive(Debug, Default)]
struct News {
    owners: BTreeSet<OwnerId>,
    /// Until when, by root.
    pauses: BTreeMap<String, Micros>,
}

impl Told {
    /// Notes something, and has it told soon.
    fn note(&self, note: impl FnOnce(&mut News)) {
        note(&mut self.news());
        self.0.1.notify_one();
    }

    fn news(&self) -> MutexGuard<'_, News> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hears what others commit, until it is dropped. Several commits may be one signal.
#[derive(Debug)]
pub struct Watch {
    heard: mpsc::Receiver<Heard>,
    /// They have no end of their own.
    listening: JoinSet<()>,
}

impl Watch {
    /// What is heard next.
    ///
    /// # Panics
    /// If what listens has panicked: nothing would be heard any more.
    pub async fn next(&mut self) -> Heard {
        tokio::select! {
            Some(heard) = self.heard.recv() => heard,
            Some(Err(ended)) = self.listening.join_next() => match ended.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                // The process ends.
                Err(_) => pending().await,
            },
            else => pending().await,
        }
    }
}

impl Store {
    /// What others commit, from now on.
    pub async fn watch(&self) -> Result<Watch, Error> {
        let (heard, receiver) = mpsc::channel(1024);
        let mut listening = JoinSet::new();
        match &self.control {
            Database::Sqlite(_) => {
                // `data_version` tells of commits by other connections, so this one must never
                // write.
                let mut connection = self.control.reader().await?;
                let seen = data_version(&mut connection).await?;
                listening.spawn(look(connection, seen, self.clock.clone(), heard));
            }
            Database::Postgres(database) => {
                let mut listener = database.listener().await?;
                listener.listen(CHANNEL).await?;
                listening.spawn(listen(listener, self.clock.clone(), heard));
                let control = self.control.clone();
                listening.spawn(notify(control, self.clock.clone(), self.told.clone()));
            }
        }
        Ok(Watch { heard: receiver, listening })
    }

    /// Lets other hosts know of something due at this owner, soon; they would find it by polling.
    pub fn tell_hosts(&self, owner_id: OwnerId) {
        if self.control.dialect() == Dialect::Postgres {
            self.told.note(|news| {
                news.owners.insert(owner_id);
            });
        }
    }

    /// Lets other hosts know that a tree pauses; they would read it before their next runs.
    pub fn tell_hosts_of_pause(&self, root_id: &str, until: Micros) {
        if self.control.dialect() == Dialect::Postgres {
            self.told.note(|news| {
                news.pauses.insert(root_id.to_owned(), until);
            });
        }
    }
}

/// Looks whether a file has another version than the one that was seen.
async fn look(mut connection: Connection, mut seen: i64, clock: Clock, heard: mpsc::Sender<Heard>) {
    loop {
        clock.sleep(INTERVAL).await;
        match data_version(&mut connection).await {
            Ok(now) if now != seen => {
                seen = now;
                failpoint::reach("heard");
                let _full_is_as_good = heard.try_send(Heard::Something);
            }
            Ok(_) => {}
            // The file may be back at the next look.
            Err(error) => tracing::warn!(%error, "looking for changes of the control database"),
        }
    }
}

async fn data_version(connection: &mut Connection) -> Result<i64, sqlx::Error> {
    query_scalar("pragma data_version").fetch_one(connection).await
}

async fn listen(mut listener: PgListener, clock: Clock, heard: mpsc::Sender<Heard>) {
    loop {
        match listener.try_recv().await {
            Ok(Some(notification)) => {
                failpoint::reach("heard");
                for one in read(notification.payload()) {
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
    loop {
        told.0.1.notified().await;
        loop {
            let payload = told.news().take();
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

impl News {
    /// The next notification's text; empty: there is nothing to tell.
    fn take(&mut self) -> String {
        let mut named = Vec::new();
        while named.len() < NAMED_MAX {
            if let Some((root_id, until)) = self.pauses.pop_first() {
                named.push(format!("{root_id}@{until}"));
            } else if let Some(owner_id) = self.owners.pop_first() {
                named.push(owner_id.to_string());
            } else {
                break;
            }
        }
        named.join(",")
    }
}

/// What a notification's text says.
fn read(payload: &str) -> Vec<Heard> {
    let one = |text: &str| match text.split_once('@') {
        Some((root_id, until)) => Some(Heard::Paused(root_id.to_owned(), until.parse().ok()?)),
        None => text.parse().ok().map(Heard::Owner),
    };
    let all: Vec<Heard> = payload.split(',').filter_map(one).collect();
    if all.is_empty() { vec![Heard::Something] } else { all }
}

#[cfg(test)]
mod tests {
    use std::panic::AssertUnwindSafe;

    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn whoever_hears_learns_that_nothing_listens_any_more() {
        let (hears, heard) = mpsc::channel(1);
        let mut watch = Watch { heard, listening: JoinSet::new() };
        let (may_go_on, goes_on) = tokio::sync::oneshot::channel::<()>();
        watch.listening.spawn(async move {
            hears.send(Heard::Owner(1)).await.unwrap();
            goes_on.await.unwrap();
            panic!("on purpose");
        });
        watch.listening.spawn(pending());
        assert_eq!(watch.next().await, Heard::Owner(1));
        may_go_on.send(()).unwrap();
        assert!(AssertUnwindSafe(watch.next()).catch_unwind().await.is_err());
    }

    #[test]
    fn what_is_told_is_heard() {
        let mut news = News::default();
        assert_eq!(read(&news.take()), [Heard::Something]);
        news.owners.extend([7, 5]);
        news.pauses.insert("svi_a".to_owned(), 12);
        let heard = read(&news.take());
        let paused = Heard::Paused("svi_a".to_owned(), 12);
        assert_eq!(heard, [paused, Heard::Owner(5), Heard::Owner(7)]);
        news.owners.extend(0..400);
        let texts: Vec<String> = std::iter::from_fn(|| Some(news.take())).take(4).collect();
        assert!(texts.iter().all(|text| text.len() < 8_000) && texts[3].is_empty());
        assert_eq!(texts[..3].iter().map(|text| read(text).len()).sum::<usize>(), 400);
    }
}
