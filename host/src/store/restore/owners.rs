//! Owners: what their tables know of them is compared with what the control database says.

use std::collections::BTreeMap;

use sqlx::FromRow;

use super::ahead::Said;
use super::{PutBack, Restored};
use crate::failpoint;
use crate::model::{Micros, OrganizationId, OwnerId};
use crate::store::{Database, Error, list, query, query_as, query_scalar};

/// Owners that are compared, and written, in one transaction of each database.
const SLICE: i64 = 500;

/// An owner in the control database.
#[derive(Clone, Debug, FromRow)]
pub(super) struct Owner {
    pub(super) id: OwnerId,
    external_owner_id: String,
    fence: i64,
    relayed_no: i64,
    pub(super) is_linked: bool,
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
                Standing::Ahead => ahead.push(owner),
            }
        }
        restored.owners += owners.len() as u64;
        restored.behind += behind.len() as u64;
        restored.ahead += ahead.len() as u64;
        restored.leases += owners.iter().filter(|owner| owner.is_leased).count() as u64;
        let said = self.said_of(&ahead).await?;
        let seen = beside.values().map(|one| (one.owner_id, one.fence)).collect();
        self.tell_tables(replication, said, seen, fence, ids.clone()).await?;
        failpoint::reach("owners_told");
        self.let_look(behind, begun_at, fence, ids).await
    }

    async fn tell_tables(
        &self,
        replication: &Database,
        said: Vec<Said>,
        seen: Vec<(OwnerId, i64)>,
        fence: i64,
        ids: String,
    ) -> Result<(), Error> {
        let told = replication.write(move |connection| {
            Box::pin(async move {
                // Whoever stood still while another put them right changes nothing any more.
                let lock = connection.dialect().locks(" for update");
                let now = format!(
                    "select owner_id, fence from rowgate_owners where owner_id in ({ids})
                     order by owner_id{lock}"
                );
                let now: Vec<(OwnerId, i64)> =
                    query_as(now).persistent(false).fetch_all(&mut *connection).await?;
                if now != seen {
                    return Err(Error::Superseded("another host puts it right"));
                }
                for one in &said {
                    one.tell(connection).await?;
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
                     where id in ({ids}) and fence < $2"
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

async fn beside(replication: &Database, ids: &str) -> Result<BTreeMap<OwnerId, Beside>, Error> {
    let sql =
        format!("select owner_id, fence, commit_no from rowgate_owners where owner_id in ({ids})");
    let all: Vec<Beside> = query_as(sql).persistent(false).fetch_all(replication).await?;
    Ok(all.into_iter().map(|one| (one.owner_id, one)).collect())
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
