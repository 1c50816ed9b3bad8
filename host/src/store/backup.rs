//! Copies of SQLite files while others write, and databases made of such copies.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};

use super::restore::{OWN_MAX, PutBack, Restored};
use super::{CONTROL, Database, Error, REPLICATION};
use crate::chance::Chance;
use crate::config::DataDir;
use crate::model::{Micros, OrganizationId};

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
    (newest(&CONTROL.migrations), newest(&REPLICATION.migrations))
}

/// Makes copies of databases in a data directory into databases that go on: `begun_at` is when the
/// first of them was copied. Nobody uses them meanwhile. `own` opens the tables of an organization that lie in
/// a database of its own: those aren't copied, and are put right all the same. `told` is told the key of each
/// organization before.
pub async fn put_right(
    data_dir: &DataDir,
    begun_at: Micros,
    now: Micros,
    chance: &Chance,
    own: impl AsyncFn(OrganizationId, String) -> Result<Database, Error>,
    told: impl Fn(&str),
) -> Result<Restored, Error> {
    let control = &Database::open(&data_dir.control(), &CONTROL).await?;
    let put_back = PutBack { control, begun_at: Some(begun_at), now, chance };
    put_back
        .put_right(OWN_MAX, async |id, key, is_own| {
            told(&key);
            match is_own {
                true => own(id, key).await,
                false => Database::open(&data_dir.replication(&key), &REPLICATION).await,
            }
        })
        .await
}

#[cfg(test)]
mod tests;
