//! Owners: what their tables know of them is compared with what the control database says.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::FromRow;

use super::{PutBack, Restored};
use crate::failpoint;
use crate::model::{InboxId, Micros, OrganizationId, OwnerId};
use crate::store::commit::StreamKey;
use crate::store::{Connection, Database, Error, query, query_as, query_scalar};

/// Owners that are compared, and written, in one transaction of each database.
const SLICE: i64 = 500;

/// An owner in the control database.
#[derive(Clone, Debug, FromRow)]
struct Owner {
    id: OwnerId,
    external_owner_id: String,
    fence: i64,
    relayed_no: i64,
    is_linked: bool,
    is_leased: bool,
}

/// The same beside the tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, FromRow)]
struct Beside {
    owner_id: OwnerId,
    fence: i64,
    commit_no: i64,
}

/// How the two go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    InStep,
    /// The tables are older.
    Behind,
    /// The tables are newer, or may be.
    Ahead,
}

impl PutBack<'_> {
    /// Brings an organization's owners in step, with nobody in a lease, and lets all of them look.
    /// `begun_at`: what was done before is in the tables.
    pub(super) async fn owners(
        &self,
        replication: &Database,
        organization_id: OrganizationId,
        begun_at: Micros,
        restored: &mut Restored,
    ) -> Result<(), Error> {
        let roots =
            "select id from integrations where organization_id = $1 and id = root_id order by id";
        let roots: Vec<String> =
            query_scalar(roots).bind(organization_id).fetch_all(self.control).await?;
        for root_id in roots {
            let mut after = None;
            loop {
                let owners = self.slice(&root_id, after.as_deref()).await?;
                let Some(last) = owners.last() else { break };
                after = Some(last.external_owner_id.clone());
                self.compare(replication, owners, begun_at, restored).await?;
            }
        }
        Ok(())
    }

    async fn slice(&self, root_id: &str, after: Option<&str>) -> Result<Vec<Owner>, Error> {
        // An owner's name may be empty.
        let behind = if after.is_some() { "external_owner_id > $2" } else { "$2 = ''" };
        let slice = query_as(format!(
            "select id, external_owner_id, fence, relayed_no, state <> 'unlinked' as is_linked,
                    lease_host is not null as is_leased
             from owners where root_id = $1 and {behind} order by external_owner_id limit $3"
        ));
        let slice = slice.bind(root_id).bind(after.unwrap_or_default()).bind(SLICE);
        Ok(slice.fetch_all(self.control).await?)
    }

    /// The tables first: if this ends between the two, the owners are found ahead once more.
    async fn compare(
        &self,
        replication: &Database,
        owners: Vec<Owner>,
        begun_at: Micros,
        restored: &mut Restored,
    ) -> Result<(), Error> {
        let ids = list(owners.iter().map(|owner| owner.id));
        let beside = beside(replication, &ids).await?;
        let of = |owner: &Owner| beside.get(&owner.id).copied().unwrap_or_default();
        let fence = 1 + owners.iter().map(|one| one.fence.max(of(one).fence)).max().unwrap_or(0);
        let mut ahead = Vec::new();
        let mut behind = Vec::new();
        for owner in &owners {
            match standing(owner, of(owner)) {
                Standing::InStep => {}
                Standing::Behind => behind.push(owner.id),
                Standing::Ahead => ahead.push(self.said_of(owner).await?),
            }
        }
        restored.owners += owners.len() as u64;
        restored.behind += behind.len() as u64;
        restored.ahead += ahead.len() as u64;
        restored.leases += owners.iter().filter(|owner| owner.is_leased).count() as u64;
        self.tell_tables(replication, ahead, fence, ids.clone()).await?;
        failpoint::reach("owners_told");
        self.let_look(behind, begun_at, fence, ids).await
    }

    /// What the control database says of an owner, to be held against newer tables.
    async fn said_of(&self, owner: &Owner) -> Result<Said, Error> {
        let (control, id) = (self.control, owner.id);
        let open: Vec<InboxId> =
            query_scalar("select id from inbox where owner_id = $1 and done_at is null")
                .bind(id)
                .fetch_all(control)
                .await?;
        let last_item = self.last_id("inbox").await?;
        // Others are kept only to stop their channels.
        let grant: Option<i64> =
            query_scalar("select max(grant_id) from owner_secrets where owner_id = $1")
                .bind(id)
                .fetch_one(control)
                .await?;
        let streams: Vec<StreamKey> =
            query_as("select service, kind, key from streams where owner_id = $1")
                .bind(id)
                .fetch_all(control)
                .await?;
        let grant_id = grant.filter(|_| owner.is_linked);
        Ok(Said { id, open, last_item, grant_id, streams: streams.into_iter().collect() })
    }

    async fn tell_tables(
        &self,
        replication: &Database,
        ahead: Vec<Said>,
        fence: i64,
        ids: String,
    ) -> Result<(), Error> {
        let told = replication.write(move |connection| {
            Box::pin(async move {
                for said in &ahead {
                    said.tell(connection).await?;
                }
                // Whoever held one of them and is still somewhere can't write any more.
                let lift =
                    format!("update rowgate_owners set fence = $1 where owner_id in ({ids})");
                query(lift).bind(fence).persistent(false).execute(connection).await?;
                Ok(())
            })
        });
        told.await
    }

    /// Every holder relays first, and all streams look, as after a long absence.
    async fn let_look(
        &self,
        behind: Vec<OwnerId>,
        begun_at: Micros,
        fence: i64,
        ids: String,
    ) -> Result<(), Error> {
        let now = self.now;
        let written = self.control.write(move |connection| {
            Box::pin(async move {
                if !behind.is_empty() {
                    // What was done since is driven again by the next holder, however old this copy is.
                    let fresh = format!(
                        "update inbox set done_at = $1 where owner_id in ({}) and done_at >= $2",
                        list(behind)
                    );
                    let fresh = query(fresh).bind(now).bind(begun_at).persistent(false);
                    fresh.execute(&mut *connection).await?;
                }
                let streams = format!(
                    "update streams set due_at = case when due_at < $1 then due_at else $1 end
                     where owner_id in ({ids})"
                );
                query(streams).bind(now).persistent(false).execute(&mut *connection).await?;
                let owners = format!(
                    "update owners set fence = $2, due_at = $1, unreleased = true,
                            lease_host = null, lease_until = 0
                     where id in ({ids})"
                );
                let owners = query(owners).bind(now).bind(fence).persistent(false);
                owners.execute(connection).await?;
                Ok(())
            })
        });
        written.await
    }
}

/// A holder plants what a claim has raised, commits, and relays what it committed. So tables with a higher
/// fence are newer, and those with the same one may be, where it was held when control was copied.
fn standing(owner: &Owner, beside: Beside) -> Standing {
    if beside.commit_no < owner.relayed_no {
        return Standing::Behind;
    }
    let is_ahead = match owner.is_leased {
        true => beside.fence >= owner.fence && beside.fence > 0,
        false => beside.fence > owner.fence,
    };
    if is_ahead { Standing::Ahead } else { Standing::InStep }
}

/// What the control database says of an owner.
struct Said {
    id: OwnerId,
    /// Items that it will have done.
    open: Vec<InboxId>,
    /// It knows none behind this one.
    last_item: InboxId,
    /// The grant whose secrets it has.
    grant_id: Option<i64>,
    streams: BTreeSet<StreamKey>,
}

impl Said {
    /// Newer tables have told of commits to a control database that is gone. So what they applied of
    /// open items counts as not applied, the grant is the one with secrets, and streams are derived anew:
    /// those that the control database knows go on from where the tables stand. Each of these things done
    /// twice comes to the same.
    async fn tell(&self, connection: &mut Connection) -> Result<(), Error> {
        query("delete from rowgate_outbox where owner_id = $1")
            .bind(self.id)
            .execute(&mut *connection)
            .await?;
        let open = list(self.open.iter().copied().chain([0]));
        let marks = format!(
            "delete from rowgate_applied where owner_id = $1 and (inbox_id > $2 or inbox_id in ({open}))"
        );
        let marks = query(marks).bind(self.id).bind(self.last_item).persistent(false);
        marks.execute(&mut *connection).await?;
        query("update rowgate_owners set grant_id = $2, services = '[]' where owner_id = $1")
            .bind(self.id)
            .bind(self.grant_id)
            .execute(&mut *connection)
            .await?;
        let cursors =
            query_as("select service, kind, key from rowgate_cursors where owner_id = $1");
        let cursors: Vec<StreamKey> = cursors.bind(self.id).fetch_all(&mut *connection).await?;
        for (service, kind, key) in cursors.into_iter().filter(|one| !self.streams.contains(one)) {
            query(
                "delete from rowgate_cursors
                 where owner_id = $1 and service = $2 and kind = $3 and key = $4",
            )
            .bind(self.id)
            .bind(service)
            .bind(kind)
            .bind(key)
            .execute(&mut *connection)
            .await?;
        }
        Ok(())
    }
}

async fn beside(replication: &Database, ids: &str) -> Result<BTreeMap<OwnerId, Beside>, Error> {
    let sql =
        format!("select owner_id, fence, commit_no from rowgate_owners where owner_id in ({ids})");
    let all: Vec<Beside> = query_as(sql).persistent(false).fetch_all(replication).await?;
    Ok(all.into_iter().map(|one| (one.owner_id, one)).collect())
}

fn list(ids: impl IntoIterator<Item = i64>) -> String {
    ids.into_iter().map(|id| id.to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fences_and_commits_tell_who_is_older() {
        use Standing::{Ahead, Behind, InStep};
        for (fence, relayed_no, is_leased, beside_fence, commit_no, standing_is) in [
            (0, 0, false, 0, 0, InStep),
            (5, 9, false, 5, 9, InStep),
            // Pages that say nothing to control are commits, too.
            (5, 9, false, 5, 12, InStep),
            (5, 9, false, 4, 12, InStep),
            (5, 9, true, 4, 9, InStep),
            (1, 0, true, 0, 0, InStep),
            (5, 9, false, 5, 8, Behind),
            (5, 9, true, 5, 8, Behind),
            (5, 9, false, 0, 0, Behind),
            (5, 9, false, 6, 9, Ahead),
            (5, 9, true, 5, 9, Ahead),
        ] {
            let external_owner_id = String::new();
            let owner =
                Owner { id: 1, external_owner_id, fence, relayed_no, is_linked: true, is_leased };
            let beside = Beside { owner_id: 1, fence: beside_fence, commit_no };
            assert_eq!(standing(&owner, beside), standing_is, "{owner:?} {beside:?}");
        }
    }
}
