//! Notifications: whose channel it is, and what must be on disk before the vendor is answered.

#[cfg(test)]
mod tests;

use zeroize::Zeroizing;

use super::made::wake;
use super::{STOPS_MAX, State, place};
use crate::model::{Micros, OwnerId, StreamId, Topic};
use crate::store::leases::make_due;
use crate::store::{Connection, Error, Store, query, query_as, query_scalar};

/// Orphans that are remembered of one tree; the oldest make room.
const ORPHANS_MAX: i64 = 1_000;

/// A channel that a notification names.
pub struct Known {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub owner_id: OwnerId,
    /// What it covers.
    pub topic: Topic,
    /// What the vendor must send with each notification.
    pub token: Zeroizing<Vec<u8>>,
    state: State,
    has_vendor_id: bool,
    may_stop_again: bool,
}

#[derive(sqlx::FromRow)]
struct KnownRow {
    owner_id: OwnerId,
    push: String,
    key: String,
    token: Vec<u8>,
    #[sqlx(try_from = "String")]
    state: State,
    has_vendor_id: bool,
    may_stop_again: bool,
}

impl Store {
    /// The channel of a tree with this id.
    pub async fn known_channel(&self, root_id: &str, id: &str) -> Result<Option<Known>, Error> {
        let row: Option<KnownRow> = query_as(
            "select owner_id, push, key, token, state, vendor_id is not null as has_vendor_id,
                    due_at is null and attempts < $3 and (grant_id = 0 or exists (
                      select 1 from owner_secrets s
                      where s.owner_id = channels.owner_id and s.grant_id = channels.grant_id
                    )) as may_stop_again
             from channels where id = $1 and root_id = $2",
        )
        .bind(id)
        .bind(root_id)
        .bind(STOPS_MAX)
        .fetch_optional(self.control.readers())
        .await?;
        let Some(row) = row else { return Ok(None) };
        let opened = self.keyring.open(&place(id), &row.token);
        let token = opened.map_err(|error| Error::Inconsistent(error.to_string()))?;
        Ok(Some(Known {
            id: id.to_owned(),
            owner_id: row.owner_id,
            topic: Topic { push: row.push, key: row.key },
            token,
            state: row.state,
            has_vendor_id: row.has_vendor_id,
            may_stop_again: row.may_stop_again,
        }))
    }

    /// Takes in an authenticated notification: on disk when this returns. The owner, if it is due for
    /// that. `wakes` are the streams of the topic. What is due already isn't written again.
    pub async fn notified(
        &self,
        known: &Known,
        vendor_id: Option<String>,
        wakes: Vec<StreamId>,
    ) -> Result<Option<OwnerId>, Error> {
        let now = self.clock.now();
        let owner_id = known.owner_id;
        match known.state {
            State::Active => {
                let rest = self.resting(owner_id, &known.topic.key, wakes, now).await?;
                if rest.is_empty() {
                    return Ok(None);
                }
                let id = known.id.clone();
                let noted = self.control.write(move |connection| {
                    Box::pin(async move {
                        make_due(connection, owner_id, now).await?;
                        for stream in &rest {
                            wake(connection, owner_id, stream, now).await?;
                        }
                        count(connection, &id).await
                    })
                });
                noted.await.map(|()| Some(owner_id))
            }
            // The answer that is under way makes the streams due; if it is lost, this stops the channel.
            State::Pending | State::Stopping if known.has_vendor_id => Ok(None),
            State::Pending | State::Stopping => {
                let Some(vendor_id) = vendor_id else { return Ok(None) };
                self.teach(known, vendor_id, now).await.map(|()| Some(owner_id))
            }
            State::Gone if known.may_stop_again && (known.has_vendor_id || vendor_id.is_some()) => {
                let (id, vendor_id) = (known.id.clone(), vendor_id);
                let noted = self.control.write(move |connection| {
                    Box::pin(async move {
                        make_due(connection, owner_id, now).await?;
                        query(
                            "update channels set vendor_id = coalesce(vendor_id, $1), due_at = $2
                             where id = $3 and state = 'gone'",
                        )
                        .bind(vendor_id)
                        .bind(now)
                        .bind(&id)
                        .execute(&mut *connection)
                        .await?;
                        count(connection, &id).await
                    })
                });
                noted.await.map(|()| Some(owner_id))
            }
            State::Gone => Ok(None),
        }
    }

    /// Those of `wakes` that aren't due yet, of an owner whose streams run.
    async fn resting(
        &self,
        owner_id: OwnerId,
        key: &str,
        wakes: Vec<StreamId>,
        now: Micros,
    ) -> Result<Vec<StreamId>, Error> {
        let resting: Vec<(String, String)> = query_as(
            "select s.service, s.kind from streams s join owners o on o.id = s.owner_id
             where s.owner_id = $1 and s.key = $2 and o.state = 'linked'
               and (s.due_at is null or s.due_at > $3 or o.due_at is null or o.due_at > $3)",
        )
        .bind(owner_id)
        .bind(key)
        .bind(now)
        .fetch_all(self.control.readers())
        .await?;
        let rests = |stream: &StreamId| {
            resting.iter().any(|(service, kind)| *service == stream.service && *kind == stream.kind)
        };
        Ok(wakes.into_iter().filter(rests).collect())
    }

    async fn teach(&self, known: &Known, vendor_id: String, now: Micros) -> Result<(), Error> {
        let (id, owner_id) = (known.id.clone(), known.owner_id);
        self.control
            .write(move |connection| {
                Box::pin(async move {
                    make_due(connection, owner_id, now).await?;
                    query(
                        "update channels set vendor_id = $1,
                                due_at = case when state = 'stopping' then $2 else due_at end
                         where id = $3 and vendor_id is null",
                    )
                    .bind(vendor_id)
                    .bind(now)
                    .bind(&id)
                    .execute(&mut *connection)
                    .await?;
                    count(connection, &id).await
                })
            })
            .await
    }

    /// Remembers a channel that nobody here made. The owner that may be able to stop it, if one is
    /// known: the vendor gave the same id to a channel of it.
    pub async fn orphaned(
        &self,
        root_id: &str,
        id: &str,
        vendor_id: &str,
    ) -> Result<Option<OwnerId>, Error> {
        let now = self.clock.now();
        let known: Option<(Option<OwnerId>, bool)> = query_as(
            "select owner_id, due_at is null and attempts < $3 from orphans
             where root_id = $1 and id = $2",
        )
        .bind(root_id)
        .bind(id)
        .bind(STOPS_MAX)
        .fetch_optional(self.control.readers())
        .await?;
        if matches!(known, Some((None, _) | (_, false))) {
            return Ok(None);
        }
        let (root_id, id, vendor_id) = (root_id.to_owned(), id.to_owned(), vendor_id.to_owned());
        self.control
            .write(move |connection| {
                Box::pin(async move {
                    let owner_id = match known {
                        Some((owner_id, _)) => owner_id,
                        None => namesake(connection, &root_id, &vendor_id).await?,
                    };
                    if let Some(owner_id) = owner_id {
                        make_due(connection, owner_id, now).await?;
                    }
                    query(
                        "insert into orphans (root_id, id, vendor_id, owner_id, seen_at, due_at)
                         values ($1, $2, $3, $4, $5, $6)
                         on conflict (root_id, id) do update set seen_at = excluded.seen_at,
                           owner_id = coalesce(orphans.owner_id, excluded.owner_id),
                           due_at = coalesce(excluded.due_at, orphans.due_at)",
                    )
                    .bind(&root_id)
                    .bind(id)
                    .bind(vendor_id)
                    .bind(owner_id)
                    .bind(now)
                    .bind(owner_id.map(|_| now))
                    .execute(&mut *connection)
                    .await?;
                    forget_oldest(connection, &root_id).await?;
                    Ok(owner_id)
                })
            })
            .await
    }
}

/// Whose channel has the same id at the vendor.
async fn namesake(
    connection: &mut Connection,
    root_id: &str,
    vendor_id: &str,
) -> Result<Option<OwnerId>, Error> {
    let of =
        query_scalar("select max(owner_id) from channels where root_id = $1 and vendor_id = $2");
    Ok(of.bind(root_id).bind(vendor_id).fetch_one(connection).await?)
}

async fn forget_oldest(connection: &mut Connection, root_id: &str) -> Result<(), Error> {
    query(
        "delete from orphans where root_id = $1 and seen_at < (
           select seen_at from orphans where root_id = $1
           order by seen_at desc limit 1 offset $2)",
    )
    .bind(root_id)
    .bind(ORPHANS_MAX - 1)
    .execute(connection)
    .await?;
    Ok(())
}

async fn count(connection: &mut Connection, id: &str) -> Result<(), Error> {
    query("update channels set notifications = notifications + 1 where id = $1")
        .bind(id)
        .execute(connection)
        .await?;
    Ok(())
}
