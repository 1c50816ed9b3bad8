//! Secrets of owners, sealed, keyed by the grant that brought them (R9): a new grant starts with
//! nothing of the old one's, so a cached access token can't outlive the refresh token it came from.

use sqlx::FromRow;
use zeroize::Zeroizing;

use super::inbox::place;
use super::{Connection, Database, Error, query, query_as};
use crate::model::{Micros, OwnerId};
use crate::secrets::Keyring;

/// A stored secret.
#[derive(Clone, Debug, FromRow)]
pub struct OwnerSecret {
    /// Moves with each capture; `forget` names it.
    pub version: i64,
    /// The sealed value.
    pub sealed: Vec<u8>,
}

/// The secret, if it is there and alive.
pub async fn find(
    control: &Database,
    (owner_id, grant_id): (OwnerId, i64),
    name: &str,
    now: Micros,
) -> Result<Option<OwnerSecret>, Error> {
    let secret = query_as(
        "select version, sealed from owner_secrets
         where owner_id = $1 and grant_id = $2 and name = $3 and sealed is not null
           and (expires_at is null or expires_at > $4)",
    )
    .bind(owner_id)
    .bind(grant_id)
    .bind(name)
    .bind(now)
    .fetch_optional(control.readers())
    .await?;
    Ok(secret)
}

/// A secret that was found in a vendor's answer.
pub struct Captured<'a> {
    /// Its name in the manifest.
    pub name: &'a str,
    /// In clear.
    pub value: &'a str,
    /// None: it doesn't expire.
    pub expires_at: Option<Micros>,
    /// Versions of the owner's secrets that the request carried, by name.
    pub used: Vec<(String, i64)>,
}

/// Stores a captured secret, durable when this returns. If one that the request carried has moved
/// meanwhile, the answer is stale and is dropped.
pub async fn capture(
    control: &Database,
    keyring: &Keyring,
    (owner_id, grant_id): (OwnerId, i64),
    Captured { name, value, expires_at, used }: Captured<'_>,
) -> Result<bool, Error> {
    let (name, keyring) = (name.to_owned(), keyring.clone());
    let value = Zeroizing::new(value.to_owned());
    control
        .write(move |connection| {
            Box::pin(async move {
                for (used_name, used_version) in used.iter().filter(|(used, _)| *used != name) {
                    let current =
                        version(connection, (owner_id, grant_id), used_name).await?;
                    if current.is_some_and(|current| current != *used_version) {
                        return Ok(false);
                    }
                }
                let sealed = keyring.seal(&place(owner_id, &name), value.as_bytes());
                query(
                    "insert into owner_secrets (owner_id, grant_id, name, version, sealed, expires_at)
                     values ($1, $2, $3, 1, $4, $5)
                     on conflict (owner_id, grant_id, name) do update
                     set version = owner_secrets.version + 1, sealed = excluded.sealed, expires_at = excluded.expires_at",
                )
                .bind(owner_id)
                .bind(grant_id)
                .bind(name)
                .bind(sealed)
                .bind(expires_at)
                .execute(connection)
                .await?;
                Ok(true)
            })
        })
        .await
}

/// Forgets the version that the vendor refused; one captured since stays.
pub async fn forget(
    control: &Database,
    (owner_id, grant_id): (OwnerId, i64),
    name: &str,
    version: Option<i64>,
) -> Result<(), Error> {
    let name = name.to_owned();
    let statement = query(
        "update owner_secrets set sealed = null
                     where owner_id = $1 and grant_id = $2 and name = $3
                       and version = coalesce($4, version)",
    )
    .bind(owner_id)
    .bind(grant_id)
    .bind(name)
    .bind(version);
    control.execute(statement).await.map(drop)
}

async fn version(
    connection: &mut Connection,
    (owner_id, grant_id): (OwnerId, i64),
    name: &str,
) -> Result<Option<i64>, Error> {
    let row = query(
        "select version from owner_secrets where owner_id = $1 and grant_id = $2 and name = $3",
    )
    .bind(owner_id)
    .bind(grant_id)
    .bind(name)
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| row.get("version")))
}
