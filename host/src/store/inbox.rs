//! Stored authenticated webhooks, in the order of acceptance.

use std::collections::BTreeMap;
use std::sync::Arc;

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
    /// Stores an item, makes its owner due, and answers when both are on disk. Who drops this has given up:
    /// what was not yet begun isn't stored any more. It could come behind what the sender has posted since,
    /// by way of another host.
    pub async fn accept(&self, item: NewItem) -> Result<(InboxId, OwnerId), Error> {
        let (keyring, now) = (self.keyring.clone(), self.clock.now());
        // Lives as long as somebody waits here.
        let waits = Arc::new(());
        let waiting = Arc::downgrade(&waits);
        let stored = self.control.write(move |connection| {
            Box::pin(async move {
                let owner = make_due(connection, &item, now).await?;
                // From here on the owner's later items wait for this one.
                if waiting.strong_count() == 0 {
                    return Err(Error::Unavailable("nobody waits for the answer any more".into()));
                }
                let id = insert(connection, &item, owner, &keyring, now).await?;
                Ok((id, owner))
            })
        });
        stored.await
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::store::Dialect;
    use crate::store::fixture::{self, on_both};

    const ROOT: &str = "svi_1";

    on_both! { what_nobody_waits_for_any_more_is_not_stored }

    async fn what_nobody_waits_for_any_more_is_not_stored(dialect: Dialect) {
        let store = fixture::open(dialect, Clock::simulated(0)).await;
        let organization = store.organization("default").await.unwrap().id;
        fixture::root(&store, ROOT).await;
        let item =
            |body: &str| NewItem { body: body.into(), ..fixture::item(organization, ROOT, "a") };
        let (_, owner) = store.accept(item("first")).await.unwrap();
        // Whoever stores something for the owner waits for this one.
        let slow = format!("update owners set due_at = due_at where id = {owner}");
        let slow = fixture::begin(store.control(), &slow).await;
        {
            let mut given_up = std::pin::pin!(store.accept(item("given up")));
            while futures_util::poll!(given_up.as_mut()).is_pending() {
                if dialect == Dialect::Sqlite || fixture::waiting(&store).await == 1 {
                    break;
                }
            }
        }
        slow.commit("").await;
        store.accept(item("last")).await.unwrap();
        let stored: Vec<Vec<u8>> =
            store.stored_items().await.into_iter().map(|item| item.body).collect();
        assert_eq!(stored, [b"first".to_vec(), b"last".to_vec()]);
    }
}
