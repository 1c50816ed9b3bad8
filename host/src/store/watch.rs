//! Notices what others commit to the control database: a command that works on the data directory
//! beside a running host, other hosts on the same server.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::sync::{Notify, mpsc};

use super::{Connection, Database, Dialect, Error, Store, query, query_scalar};
use crate::clock::Clock;
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
    use super::*;

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
