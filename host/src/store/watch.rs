//! Notices commits to the control database, also those of other processes: a command that works on
//! the data directory beside a running host.

use std::sync::{Arc, Weak};
use std::time::Duration;

use sqlx::SqliteConnection;
use tokio::sync::Notify;

use super::{Error, Store};
use crate::clock::Clock;

const INTERVAL: Duration = Duration::from_millis(200);

impl Store {
    /// A signal that comes after each commit to the control database, within 200 ms; commits in
    /// between are one signal. Ends when the last clone of the answer is dropped.
    pub async fn watch(&self) -> Result<Arc<Notify>, Error> {
        // `data_version` tells of commits by other connections, so this one must never write.
        let mut connection = self.control.readers().acquire().await?.detach();
        let mut seen = data_version(&mut connection).await?;
        let changed = Arc::new(Notify::new());
        let (weak, clock) = (Arc::downgrade(&changed), self.clock.clone());
        tokio::spawn(async move {
            while let Some(now) = next(&mut connection, &clock, &weak).await {
                if now != seen {
                    seen = now;
                    weak.upgrade().inspect(|changed| changed.notify_one());
                }
            }
        });
        Ok(changed)
    }
}

/// The next version; none: nobody listens any more.
async fn next(
    connection: &mut SqliteConnection,
    clock: &Clock,
    listening: &Weak<Notify>,
) -> Option<i64> {
    loop {
        clock.sleep(INTERVAL).await;
        if listening.strong_count() == 0 {
            return None;
        }
        match data_version(connection).await {
            Ok(version) => return Some(version),
            // The file may be back at the next look.
            Err(error) => tracing::warn!(%error, "looking for changes of the control database"),
        }
    }
}

async fn data_version(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("pragma data_version").fetch_one(connection).await
}
