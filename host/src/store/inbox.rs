//! Stored authenticated webhooks, in the order of acceptance.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

use super::{Connection, Error, Store, query_scalar};
#[cfg(test)]
use super::{query, query_as};
use crate::model::{InboxId, OrganizationId, OwnerId};
use crate::secrets::Keyring;

/// An authenticated webhook that is to be stored.
pub struct NewItem {
    /// Whose.
    pub organization: OrganizationId,
    /// The top of the integration's tree.
    pub root_id: String,
    /// The integration whose endpoint it came to.
    pub integration_id: String,
    /// The customer's id of the owner; empty where the service has no owners.
    pub external_owner_id: String,
    /// HTTP method.
    pub method: String,
    /// What follows the endpoint, with its leading slash; empty at the endpoint itself.
    pub path: String,
    /// Query without `?`.
    pub query: String,
    /// Only what the manifest lists.
    pub headers: Vec<(String, String)>,
    /// Sealed fields are null.
    pub body: Vec<u8>,
    /// By the name of the secret.
    pub secrets: Vec<(String, Zeroizing<String>)>,
}

/// Where a sealed field of an item of this owner lives.
pub fn place(owner: OwnerId, secret: &str) -> String {
    format!("inbox/{owner}/{secret}")
}

impl Store {
    /// Stores an item, makes its owner due, and answers when both are on disk.
    pub async fn accept(&self, item: NewItem) -> Result<(InboxId, OwnerId), Error> {
        let (keyring, now) = (self.keyring.clone(), self.clock.now());
        self.control
            .write(move |connection| {
                Box::pin(async move {
                    let owner = make_due(connection, &item, now).await?;
                    let id = insert(connection, &item, owner, &keyring, now).await?;
                    Ok((id, owner))
                })
            })
            .await
    }
}

async fn make_due(connection: &mut Connection, item: &NewItem, now: i64) -> Result<OwnerId, Error> {
    let owner = query_scalar(
        "insert into owners (organization_id, root_id, external_owner_id, due_at)
         values ($1, $2, $3, $4)
         on conflict (root_id, external_owner_id)
           do update set due_at = case when owners.due_at < excluded.due_at
                                       then owners.due_at else excluded.due_at end
         returning id",
    )
    .bind(item.organization)
    .bind(&item.root_id)
    .bind(&item.external_owner_id)
    .bind(now)
    .fetch_one(connection)
    .await?;
    Ok(owner)
}

async fn insert(
    connection: &mut Connection,
    item: &NewItem,
    owner: OwnerId,
    keyring: &Keyring,
    now: i64,
) -> Result<InboxId, Error> {
    let sealed: BTreeMap<&str, String> = item
        .secrets
        .iter()
        .map(|(name, secret)| {
            let sealed = keyring.seal(&place(owner, name), secret.as_bytes());
            (name.as_str(), BASE64_STANDARD.encode(sealed))
        })
        .collect();
    let json = |error| Error::Inconsistent(format!("an inbox item as JSON: {error}"));
    let id = query_scalar(
        "insert into inbox
           (owner_id, integration_id, received_at, method, path, query, headers, body, sealed)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9) returning id",
    )
    .bind(owner)
    .bind(&item.integration_id)
    .bind(now)
    .bind(&item.method)
    .bind(&item.path)
    .bind(&item.query)
    .bind(serde_json::to_string(&item.headers).map_err(json)?)
    .bind(&item.body)
    .bind(serde_json::to_string(&sealed).map_err(json)?)
    .fetch_one(connection)
    .await?;
    Ok(id)
}

/// What the tests of the endpoint look at.
#[cfg(test)]
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct StoredItem {
    pub(crate) owner_id: OwnerId,
    pub(crate) external_owner_id: String,
    pub(crate) due: bool,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: String,
    pub(crate) body: Vec<u8>,
    pub(crate) sealed: String,
}

#[cfg(test)]
impl Store {
    pub(crate) async fn stored_items(&self) -> Vec<StoredItem> {
        let all = "select i.*, o.external_owner_id, o.due_at is not null as due
                   from inbox i join owners o on o.id = i.owner_id order by i.id";
        query_as(all).fetch_all(self.control.readers()).await.unwrap()
    }

    /// Lets the control database grow no further, as on a full disk; or again.
    pub(crate) async fn set_disk_full(&self, full: bool) {
        let pages = if full { 1 } else { 1_000_000 };
        self.control
            .write(move |connection| {
                Box::pin(async move {
                    let sql = format!("pragma max_page_count = {pages}");
                    query(&sql).execute(connection).await?;
                    Ok(())
                })
            })
            .await
            .unwrap();
    }

    /// A connection that holds the write lock, as another process might.
    pub(crate) async fn locked_by_another(&self) -> sqlx::SqliteConnection {
        use sqlx::Connection as _;
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(self.data_dir.control());
        let mut other = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::Executor::execute(&mut other, "begin immediate").await.unwrap();
        other
    }
}
