//! Closing an organization: its owners are unlinked, then all that is left of it goes.

use crate::model::{OrganizationId, OwnerId};
use crate::store::moves::Location;
use crate::store::{Connection, Error, Store, query, query_as, query_scalar, relay};

/// What belongs to an organization beside its integrations, children before what they refer to.
const OF_ORGANIZATIONS: [&str; 8] = [
    "alerts",
    "error_handlers",
    "subscriptions",
    "saved_queries",
    "integration_drafts",
    "memberships",
    "sweeps",
    "moves",
];

/// Owners that one transaction unlinks.
const SLICE: i64 = 500;

/// Later than all items of an inbox: whatever grant an owner has, it is over.
const AFTER_ALL: i64 = i64::MAX;

/// What of a closed organization is left in a database of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// It had none.
    Nothing,
    /// The tables.
    Tables,
    /// The tables and what we kept beside them: it couldn't be reached.
    Everything,
}

impl Store {
    /// Ends the grants of all owners of a tree in the control database, as a post that unlinks them
    /// does: their channels are to be stopped. Rows stay until the integrations are deleted.
    pub async fn retire_owners(&self, root_id: &str) -> Result<(), Error> {
        // Ids begin at 1, and an owner's name may be empty.
        let mut after = Some((0, String::new()));
        while let Some((id, name)) = after {
            let owners: Vec<(OwnerId, String)> = query_as(
                "select id, external_owner_id from owners
                 where root_id = $1 and (external_owner_id, id) > ($2, $3)
                 order by external_owner_id, id limit $4",
            )
            .bind(root_id)
            .bind(name)
            .bind(id)
            .bind(SLICE)
            .fetch_all(self.control.readers())
            .await?;
            after = owners.last().cloned();
            self.retire(owners).await?;
        }
        Ok(())
    }

    async fn retire(&self, owners: Vec<(OwnerId, String)>) -> Result<(), Error> {
        let now = self.clock.now();
        self.control
            .write(move |connection| {
                Box::pin(async move {
                    for (owner_id, _) in owners {
                        relay::unlinked(connection, owner_id, AFTER_ALL, now).await?;
                        query(
                            "update owners set due_at = case when due_at < $1 then due_at else $1 end
                             where id = $2",
                        )
                        .bind(now)
                        .bind(owner_id)
                        .execute(&mut *connection)
                        .await?;
                    }
                    Ok(())
                })
            })
            .await
    }

    /// Channels of a tree that the vendor hasn't been asked to stop yet, though it should be.
    pub async fn channels_to_stop(&self, root_id: &str) -> Result<i64, Error> {
        let waiting = query_scalar(
            "select count(*) from channels
             where root_id = $1 and vendor_id is not null and state = 'stopping'
               and due_at is not null and attempts = 0",
        );
        Ok(waiting.bind(root_id).fetch_one(self.control.readers()).await?)
    }

    /// Deletes an organization that has no integration any more, and the database of its tables.
    ///
    /// The database goes first, while the organization still names it: if the host dies between, the
    /// same call goes on. It goes once more at the end, since a query may have made it again.
    ///
    /// A database of its own stays, with the tables in it; ours beside them go. Where it can't be
    /// reached they stay, too: nobody knows them any more.
    pub async fn delete_organization(&self, of: OrganizationId) -> Result<Left, Error> {
        let Location { key, database_id, .. } = self.location(of).await?;
        // Before the database goes: a host that works for an integration has it open.
        let unneeded = self.control.write(move |connection| Box::pin(has_none(connection, of)));
        unneeded.await?;
        let left = match database_id {
            None => Left::Nothing,
            Some(id) => match self.leave_own(of, &id).await {
                Ok(()) => Left::Tables,
                Err(error) => {
                    tracing::warn!(organization = key, %error, "its own database can't be cleared");
                    Left::Everything
                }
            },
        };
        self.drop_replication(of, &key).await?;
        self.control
            .write(move |connection| {
                Box::pin(async move {
                    has_none(connection, of).await?;
                    for table in OF_ORGANIZATIONS {
                        let sql = format!("delete from {table} where organization_id = $1");
                        query(sql).bind(of).execute(&mut *connection).await?;
                    }
                    let gone = query("delete from organizations where id = $1").bind(of);
                    gone.execute(connection).await?;
                    Ok(())
                })
            })
            .await?;
        self.drop_replication(of, &key).await?;
        Ok(left)
    }

    /// Whoever has it open works on what nobody sees any more.
    async fn drop_replication(&self, of: OrganizationId, key: &str) -> Result<(), Error> {
        self.replication.lock().await.remove(&of);
        self.drop_ours(key).await
    }

    /// What lies in our storage.
    pub(in crate::store) async fn drop_ours(&self, key: &str) -> Result<(), Error> {
        match &self.server {
            None => {
                let removed = self.data_dir.remove_replication(key);
                removed.map_err(|error| Error::Unavailable(error.to_string()))
            }
            Some(server) => server.drop_replication(key).await,
        }
    }
}

/// Refused while an organization has an integration.
async fn has_none(connection: &mut Connection, of: OrganizationId) -> Result<(), Error> {
    let integrations: i64 =
        query_scalar("select count(*) from integrations where organization_id = $1")
            .bind(of)
            .fetch_one(connection)
            .await?;
    match integrations {
        0 => Ok(()),
        _ => Err(Error::Refused("an integration was made meanwhile; close it once more".into())),
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::clock::Clock;
    use crate::store::Dialect;
    use crate::store::feed::Bookmark;
    use crate::store::fixture::{self, on_both, open};
    use crate::store::saved_queries::NewSavedQuery;
    use crate::store::subscriptions::NewSubscription;

    on_both! { owners_let_go_of_their_channels, nothing_is_left_of_it }

    async fn owners_let_go_of_their_channels(dialect: Dialect) {
        let store = open(dialect, Clock::simulated(1_000)).await;
        fixture::root(&store, "svi_1").await;
        let count = SLICE + 1;
        // The first has a channel that the vendor knows, the second one that it has been asked to stop.
        let filled = format!(
            "with recursive n (n) as (select 1 union all select n + 1 from n where n < {count})
             insert into owners (organization_id, root_id, external_owner_id, state, due_at)
             select 1, 'svi_1', case when n = {count} then '' else 'o' || n end, 'linked', case when n = 1 then 7 end from n;
             insert into channels (id, owner_id, root_id, generation, grant_id, push, key, token,
               address, vendor_id, state, expires_at, due_at, attempts)
             values ('a', (select id from owners where external_owner_id = 'o1'), 'svi_1', 1, 5, 'p',
                     'k', '', '', 'v', 'active', 9000, null, 0),
                    ('b', (select id from owners where external_owner_id = 'o2'), 'svi_1', 1, 5, 'p',
                     'k', '', '', 'v', 'gone', 9000, null, 1);
             insert into owner_secrets (owner_id, grant_id, name, version)
             values ((select id from owners where external_owner_id = 'o1'), 5, 'kept', 1),
                    ((select id from owners where external_owner_id = 'o2'), 5, 'not kept', 1)"
        );
        fixture::run(&store, filled).await;
        assert_eq!(store.channels_to_stop("svi_1").await.unwrap(), 0);
        store.retire_owners("svi_1").await.unwrap();
        assert_eq!(store.channels_to_stop("svi_1").await.unwrap(), 1);
        let linked: i64 = query_scalar("select count(*) from owners where state = 'linked'")
            .fetch_one(store.control())
            .await
            .unwrap();
        assert_eq!(linked, 0);
        let due: Vec<(i64, i64)> = query_as(
            "select due_at, count(*) from owners where due_at is not null group by due_at
             order by due_at",
        )
        .fetch_all(store.control())
        .await
        .unwrap();
        assert_eq!(due, [(7, 1), (1_000, count - 1)]);
        let secrets: Vec<String> = query_scalar("select name from owner_secrets")
            .fetch_all(store.control())
            .await
            .unwrap();
        assert_eq!(secrets, ["kept"], "with which the channel can be stopped");
    }

    async fn nothing_is_left_of_it(dialect: Dialect) {
        let store = open(dialect, Clock::System).await;
        let kept = store.organization("default").await.unwrap();
        let closed = store.found_organization("Acme", Some("a@example.com")).await.unwrap();
        let query = NewSavedQuery {
            organization_id: closed.id,
            created_by: None,
            description: String::new(),
            sql: String::new(),
            public: false,
        };
        store.save_query(query).await.unwrap();
        let url = Zeroizing::new("https://a.example/".to_owned());
        store.create_error_handler(closed.id, &url, String::new()).await.unwrap();
        let to_all = NewSubscription {
            organization: closed.id,
            integration_id: None,
            url,
            shown_url: String::new(),
            secret: Zeroizing::new("hush".to_owned()),
            tells_rows: true,
            tells_synced: true,
            deletions: false,
        };
        store.create_subscription(to_all, Bookmark::Start).await.unwrap();
        let alert = format!(
            "insert into alerts (organization_id, signature, body, raised_at)
             values ({0}, 's', '{{}}', 0);
             insert into alert_posts (alert_id, handler_id, due_at)
             select a.id, h.id, 0 from alerts a, error_handlers h;
             insert into sweeps (what, organization_id, due_at) values ('feed', {0}, 0)",
            closed.id
        );
        fixture::run(&store, alert).await;
        for of in [kept.id, closed.id] {
            let replication = store.replication(of).await.unwrap();
            let made = replication.write(|connection| {
                Box::pin(async move { Ok(connection.run("create table t (n bigint)").await?) })
            });
            made.await.unwrap();
        }
        store.delete_organization(closed.id).await.unwrap();
        assert_eq!(store.organizations().await.unwrap(), std::slice::from_ref(&kept));
        assert!(store.memberships("a@example.com").await.unwrap().is_empty());
        assert!(store.replication(closed.id).await.is_err());
        let sweeps: i64 =
            query_scalar("select count(*) from sweeps").fetch_one(store.control()).await.unwrap();
        assert_eq!(sweeps, 0);
        assert!(has_table(&store, kept.id).await);
        // One of the same name begins at nothing, under another id.
        let again = store.create_organization("Acme").await.unwrap();
        assert_eq!(again.key, closed.key);
        assert!(again.id > closed.id);
        assert!(!has_table(&store, again.id).await);

        fixture::root(&store, "svi_1").await;
        let refused = store.delete_organization(kept.id).await.unwrap_err().to_string();
        assert!(refused.contains("meanwhile"), "{refused}");
        assert!(has_table(&store, kept.id).await, "its tables are in use");
    }

    async fn has_table(store: &Store, of: OrganizationId) -> bool {
        let replication = store.replication(of).await.unwrap();
        query_scalar::<i64>("select count(*) from t").fetch_one(&replication).await.is_ok()
    }
}
