//! Bringing topics and channels in line with the owner's streams, with time, and with what a former
//! holder left behind.

use super::made::wake;
use crate::model::{Micros, OwnerId, StreamId, Topic};
use crate::store::leases::Lease;
use crate::store::streams::holds;
use crate::store::{Connection, Database, Error, query};

/// What is to be brought in line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settlement {
    /// Channels whose life is over.
    pub expired: Vec<String>,
    /// Unlinked channels that nobody may try to stop any more.
    pub let_go: Vec<String>,
    /// Channels to be stopped: nobody waits for the vendor's answer, or nobody wants them.
    pub given_up: Vec<String>,
    /// Topics that came.
    pub added: Vec<Topic>,
    /// Topics that went.
    pub dropped: Vec<Topic>,
    /// Topics that need another channel: theirs posts to an address, or is of a generation, that isn't
    /// ours any more.
    pub moved: Vec<Topic>,
    /// Topics that lost their channel without a successor.
    pub uncovered: Vec<Topic>,
    /// The streams of those: they poll from now on.
    pub wakes: Vec<StreamId>,
}

/// Brings the control database in line.
pub async fn settle(
    control: &Database,
    lease: &Lease,
    settlement: Settlement,
    now: Micros,
) -> Result<(), Error> {
    let lease = lease.clone();
    control
        .write(move |connection| {
            Box::pin(async move {
                holds(connection, lease.owner_id, lease.fence).await?;
                channels(connection, &settlement, now).await?;
                topics(connection, lease.owner_id, &settlement, now).await?;
                for stream in &settlement.wakes {
                    wake(connection, lease.owner_id, stream, now).await?;
                }
                super::drop_secrets(connection, lease.owner_id).await?;
                // Last: what a retired grant was kept for is seen by its channels.
                for id in &settlement.expired {
                    let gone = "delete from channels where id = $1";
                    query(gone).bind(id).execute(&mut *connection).await?;
                }
                Ok(())
            })
        })
        .await
}

async fn channels(
    connection: &mut Connection,
    settlement: &Settlement,
    now: Micros,
) -> Result<(), Error> {
    for id in settlement.let_go.iter().chain(&settlement.expired) {
        let gone = "update channels set state = 'gone', due_at = null where id = $1";
        query(gone).bind(id).execute(&mut *connection).await?;
    }
    for id in &settlement.given_up {
        query(
            "update channels set state = 'stopping', attempts = 0,
                    due_at = case when vendor_id is null then null else $1 end
             where id = $2",
        )
        .bind(now)
        .bind(id)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

async fn topics(
    connection: &mut Connection,
    owner_id: OwnerId,
    settlement: &Settlement,
    now: Micros,
) -> Result<(), Error> {
    let Settlement { added, dropped, moved, uncovered, .. } = settlement;
    for topic in added {
        query(
            "insert into topics (owner_id, push, key, due_at) values ($1, $2, $3, $4)
             on conflict (owner_id, push, key) do update
             set wanted = true, due_at = excluded.due_at, attempts = 0, unsupported = false",
        )
        .bind(owner_id)
        .bind(&topic.push)
        .bind(&topic.key)
        .bind(now)
        .execute(&mut *connection)
        .await?;
    }
    let changes = [
        (dropped, "wanted = false, due_at = null, unsupported = false, unshown = true"),
        (moved, "due_at = 0"),
        (uncovered, "unshown = true"),
    ];
    for (topics, set) in changes {
        let sql = format!("update topics set {set} where owner_id = $1 and push = $2 and key = $3");
        for topic in topics {
            query(&sql)
                .bind(owner_id)
                .bind(&topic.push)
                .bind(&topic.key)
                .execute(&mut *connection)
                .await?;
        }
    }
    Ok(())
}

/// The table shows a topic's channel; one that nobody wants any more leaves.
pub async fn shown(control: &Database, lease: &Lease, topic: &Topic) -> Result<(), Error> {
    let (lease, topic) = (lease.clone(), topic.clone());
    control
        .write(move |connection| {
            Box::pin(async move {
                holds(connection, lease.owner_id, lease.fence).await?;
                for sql in [
                    "delete from topics where owner_id = $1 and push = $2 and key = $3 and not wanted",
                    "update topics set unshown = false
                     where owner_id = $1 and push = $2 and key = $3",
                ] {
                    query(sql)
                        .bind(lease.owner_id)
                        .bind(&topic.push)
                        .bind(&topic.key)
                        .execute(&mut *connection)
                        .await?;
                }
                Ok(())
            })
        })
        .await
}
