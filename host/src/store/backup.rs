//! Copies of SQLite files while others write, and what must be put right in a copy that goes on living.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};

use super::{CONTROL, Database, Error, REPLICATION, feed, query, query_as};
use crate::chance::Chance;
use crate::config::DataDir;
use crate::model::{Micros, OrganizationId};

/// Added to the fences of targets: receivers refuse what has a lower one than they have seen, and what
/// they saw since the backup isn't known.
const FENCES: i64 = 1_000_000_000;

/// What a copy of the control database says of its moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Copied {
    pub schema_version: i64,
    /// The configuration's; none in an organization's tables.
    pub config_epoch: Option<i64>,
}

/// Copies a database as it is at one moment to a file that isn't there yet, which only its owner can
/// read. Writers go on; what they write stays in the log until the copy is made.
pub async fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    // SQLite fills a file that is empty, and makes one that everybody can read.
    let made = File::options().write(true).create_new(true).mode(0o600).open(to);
    made.map_err(|error| Error::Unavailable(format!("{}: {error}", to.display())))?;
    let mut connection = open(from).await?;
    let copied = sqlx::query("vacuum into $1")
        .bind(to.to_string_lossy().into_owned())
        .execute(&mut connection)
        .await;
    let _ = connection.close().await;
    copied.map(drop).map_err(Error::Database)
}

/// Looks into a copy.
pub async fn inspect(path: &Path) -> Result<Copied, Error> {
    let mut connection = open(path).await?;
    let version = "select coalesce(max(version), 0) from _sqlx_migrations";
    let schema_version = sqlx::query_scalar(version).fetch_one(&mut connection).await?;
    let has_epoch = "select count(*) from sqlite_master where name = 'configuration'";
    let has_epoch: i64 = sqlx::query_scalar(has_epoch).fetch_one(&mut connection).await?;
    let config_epoch = match has_epoch {
        0 => None,
        _ => {
            let epoch = "select epoch from configuration";
            Some(sqlx::query_scalar(epoch).fetch_one(&mut connection).await?)
        }
    };
    let _ = connection.close().await;
    Ok(Copied { schema_version, config_epoch })
}

/// Without the files that a database in use has beside it.
async fn open(path: &Path) -> Result<SqliteConnection, Error> {
    let options = SqliteConnectOptions::new().filename(path).read_only(true);
    let opened = options.disable_statement_logging().connect().await;
    opened.map_err(|error| Error::Unavailable(format!("{}: {error}", path.display())))
}

/// The newest schema that this program knows: of the control database, of an organization's tables.
pub fn known_schema_versions() -> (i64, i64) {
    let newest = |migrator: &sqlx::migrate::Migrator| {
        migrator.iter().map(|migration| migration.version).max().unwrap_or(0)
    };
    (newest(&CONTROL), newest(&REPLICATION))
}

/// Makes copies of databases in a data directory into databases that go on: `begun_at` is when the
/// first of them was copied. Nobody uses them meanwhile.
pub async fn put_right(
    data_dir: &DataDir,
    begun_at: Micros,
    now: Micros,
    chance: &Chance,
) -> Result<(), Error> {
    let control = Database::open(&data_dir.control(), &CONTROL).await?;
    let organizations: Vec<(OrganizationId, String)> =
        query_as("select id, key from organizations where database_id is null order by id")
            .fetch_all(&control)
            .await?;
    for (id, key) in organizations {
        let replication = Database::open(&data_dir.replication(&key), &REPLICATION).await?;
        // Numbers are given again that receivers have seen.
        let epoch = chance.uuid();
        feed::new_epoch(&replication, epoch.clone()).await?;
        let begun = query("update organizations set feed_epoch = $1 where id = $2");
        control.execute(begun.bind(epoch).bind(id)).await?;
    }
    control
        .write(move |connection| {
            Box::pin(async move {
                // What was done while the copies were made, to be driven again however old they are.
                query("update inbox set done_at = $1 where done_at >= $2")
                    .bind(now)
                    .bind(begun_at)
                    .execute(&mut *connection)
                    .await?;
                for sql in [
                    // Every holder relays first, and all streams look, as after a long absence.
                    "update owners set due_at = $1, unreleased = true, lease_host = null,
                       lease_until = 0",
                    "update streams set due_at = case when due_at < $1 then due_at else $1 end",
                ] {
                    query(sql).bind(now).execute(&mut *connection).await?;
                }
                let targets =
                    "update targets set fence = fence + $1, due_at = $2, lease_host = null,
                                 lease_until = 0";
                query(targets).bind(FENCES).bind(now).execute(&mut *connection).await?;
                // Who was logged out since must not be in again.
                for sql in ["delete from sessions", "delete from login_codes"] {
                    query(sql).execute(&mut *connection).await?;
                }
                Ok(())
            })
        })
        .await
}

#[cfg(test)]
mod tests;
