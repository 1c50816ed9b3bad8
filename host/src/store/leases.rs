//! Leases (R1, R2): who may run an owner, and the fence that refuses whoever no longer may.

mod planting;
#[cfg(test)]
mod tests;

use sqlx::FromRow;

use super::{Connection, Database, Dialect, Error, list, query, query_as, query_scalar};
use crate::model::{Micros, OrganizationId, OwnerId};
pub(in crate::store) use planting::plant_above;
pub use planting::{Planted, plant};

/// A claimed owner. Every control write of the holder says `where fence = ..`.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct Lease {
    /// The leased owner.
    #[sqlx(rename = "id")]
    pub owner_id: OwnerId,
    /// Its organization.
    pub organization_id: OrganizationId,
    /// Its integration tree.
    pub root_id: String,
    /// The customer's id of it; empty where the service has no owners.
    pub external_owner_id: String,
    /// The control fence this claim raised.
    pub fence: i64,
    /// Outbox messages up to here have reached the control database (R4).
    pub relayed_no: i64,
    /// Epoch of the feed when they had. None: nothing was relayed yet.
    pub relayed_epoch: Option<String>,
    /// The former holder did not release it, or what is known of it is out of date: relay before anything else.
    pub unreleased: bool,
    /// The configuration's epoch at the claim.
    pub config_epoch: i64,
    /// What the holder knows of the requests that the owner may send (R16). The next one has it if the
    /// lease is released.
    pub buckets: Option<String>,
}

impl Lease {
    /// The customer's id of the owner; none where the service has no owners.
    pub fn external_owner(&self) -> Option<String> {
        Some(self.external_owner_id.clone()).filter(|id| !id.is_empty())
    }
}

/// Who claims, and for how long.
#[derive(Clone, Debug)]
pub struct Claimant {
    /// Name of the host.
    pub host: String,
    /// Life of the lease, unless it is renewed.
    pub ttl: Micros,
    /// Leases that an organization may have at once, on all hosts. Those that live are counted, so
    /// none can leak. Hosts that claim in the same instant don't see each other's: each may pass it by
    /// one. A lock would have the claims of an organization wait for each other's sync to disk.
    pub organization_leases_max: i64,
}

/// Claims the organization's owner that has been due the longest, if any is due. A loss of power may take it
/// back with all that the holder wrote here: then the owner is due as before, and its next holder finds a fence
/// in its way if anything was committed under that claim ([`plant`]).
pub async fn claim(
    control: &Database,
    by: &Claimant,
    organization_id: OrganizationId,
    now: Micros,
) -> Result<Option<Lease>, Error> {
    let claim = query_as(claim_statement(control.dialect()))
        .bind(now)
        .bind(now + by.ttl)
        .bind(by.host.clone())
        .bind(organization_id)
        .bind(by.organization_leases_max);
    control.fetch_unsynced(claim).await
}

/// What a claim asks: now, end of the lease, host, organization, its leases at most.
pub fn claim_statement(dialect: Dialect) -> String {
    match dialect {
        Dialect::Sqlite => CLAIM.replace("{skip}", ""),
        Dialect::Postgres => CLAIM.replace("{skip}", "for no key update skip locked"),
    }
}

const CLAIM: &str = "
update owners set fence = fence + 1, lease_until = $2, lease_host = $3,
                  unreleased = unreleased or lease_host is not null
where id = (
  select id from owners
  where organization_id = $4 and due_at <= $1 and lease_until <= $1
    and (select rests_until from organizations where id = $4) <= $1
    and (select count(*) from owners as leased where leased.organization_id = $4
           and leased.lease_host is not null and leased.lease_until > $1) < $5
  order by due_at limit 1 {skip}
)
returning id, organization_id, root_id, external_owner_id, fence, relayed_no, relayed_epoch,
          unreleased, buckets, (select epoch from configuration) as config_epoch";

/// Organizations with an owner that is due and that nobody holds, and fewer leases than they may have.
pub async fn ready_organizations(
    control: &Database,
    by: &Claimant,
    now: Micros,
) -> Result<Vec<OrganizationId>, Error> {
    let ready = query_scalar(
        "select g.id from organizations g
         where g.rests_until <= $1 and exists (select 1 from owners o where o.organization_id = g.id and o.due_at <= $1
                         and o.lease_until <= $1)
           and (select count(*) from owners as leased where leased.organization_id = g.id
                  and leased.lease_host is not null and leased.lease_until > $1) < $2
         order by g.id",
    );
    let ready = ready.bind(now).bind(by.organization_leases_max);
    Ok(ready.fetch_all(control.readers()).await?)
}

/// When the next owner that nobody holds can be claimed, if nothing changes: of an organization that has
/// all its leases, when the first of these runs out.
pub async fn next_due(
    control: &Database,
    by: &Claimant,
    now: Micros,
) -> Result<Option<Micros>, Error> {
    let next = query_scalar(
        "select min(case when due_at >= rests_until and due_at >= full_until then due_at
                         when rests_until >= full_until then rests_until else full_until end) from (
           select g.rests_until, (select o.due_at from owners o where o.organization_id = g.id
                     and o.due_at is not null and o.lease_host is null
                   order by o.due_at limit 1) as due_at,
                  (select case when count(*) >= $2 then min(leased.lease_until) else 0 end
                   from owners as leased where leased.organization_id = g.id
                     and leased.lease_host is not null and leased.lease_until > $1) as full_until
           from organizations g
         ) as next where next.due_at is not null",
    );
    let next = next.bind(now).bind(by.organization_leases_max);
    Ok(next.fetch_one(control.readers()).await?)
}

/// Extends the host's leases of the owners that it works on. One that it could not give back, because
/// the database was away, must run out.
pub async fn renew(
    control: &Database,
    host: &str,
    owners: &[OwnerId],
    until: Micros,
) -> Result<(), Error> {
    if owners.is_empty() {
        return Ok(());
    }
    let ids = list(owners.iter().copied());
    let statement = query(format!("{RENEW} and id in ({ids})"));
    let statement = statement.bind(until).bind(host.to_owned()).persistent(false);
    control.execute(statement).await.map(drop)
}

pub(super) const RENEW: &str = "update owners set lease_until = $1 where lease_host = $2";

/// Gives back every lease of a host that works on none of them any more. They stay marked
/// unreleased, as what their holders left undone isn't known. Answers how many there were.
pub async fn give_back(control: &Database, host: &str) -> Result<u64, Error> {
    let statement = query(
        "update owners set lease_host = null, lease_until = 0, unreleased = true,
                due_at = coalesce(due_at, 0)
         where lease_host = $1",
    );
    Ok(control.execute(statement.bind(host.to_owned())).await?.rows_affected())
}

/// Ends all leases at once. Only for a host that holds the data directory's lock: nobody else can
/// hold one. They stay marked unreleased, so that each owner's next holder relays first.
pub async fn take_back(control: &Database) -> Result<(), Error> {
    control
        .write(|connection| {
            Box::pin(async move {
                query(
                    "update owners set lease_until = 0, due_at = coalesce(due_at, 0)
                     where lease_host is not null",
                )
                .execute(connection)
                .await?;
                Ok(())
            })
        })
        .await
}

/// Gives a lease back and works out when the owner must be looked at again: the earliest of its
/// open inbox items, of its streams, and of what its push channels ask for, each no earlier than its
/// pauses allow; of a tree that has ended only the channels count. If the configuration has moved since
/// the claim, at once: an integration that was created meanwhile made the owner due, but this holder
/// derived its streams before. If a loss of power takes it back, the lease counts as not released.
pub async fn release(control: &Database, lease: &Lease) -> Result<(), Error> {
    let (owner_id, fence, config_epoch) = (lease.owner_id, lease.fence, lease.config_epoch);
    // PostgreSQL waits for whoever has the owner's row, and then looks at that row anew, but at what
    // else they wrote as it was before: an item that was accepted meanwhile isn't seen.
    let came_between = match control.dialect() {
        Dialect::Sqlite => "",
        Dialect::Postgres => {
            "or owners.xmin <> (select seen.xmin from owners seen where seen.id = $1)"
        }
    };
    let statement = query(RELEASE.replace("{came_between}", came_between));
    let statement = statement.bind(owner_id).bind(fence).bind(config_epoch);
    let statement = statement.bind(lease.buckets.clone());
    control.execute_unsynced(statement).await.map(drop)
}

const RELEASE: &str = "
update owners set lease_host = null, lease_until = 0, unreleased = false, buckets = $4, due_at = case
  when (select epoch from configuration) <> $3 {came_between} then 0 else (
    select min(work.at) from (
      select not_before as at from inbox
      where owner_id = $1 and done_at is null and not parked
        and (select ended_at from integrations where id = owners.root_id) is null
      union all
      select (select max(column1) from (values
                (coalesce(s.due_at, 0)), (s.not_before), (owners.not_before),
                ((select not_before from integrations where id = owners.root_id))) as latest) as at
      from streams s
      where s.owner_id = $1 and owners.state = 'linked'
        and (s.due_at is not null or s.taken is not null)
        and (select ended_at from integrations where id = owners.root_id) is null
      union all
      select (select max(at) from (
        select t.due_at as at
        union all select owners.not_before
        union all select i.not_before from integrations i where i.id = owners.root_id
        union all select p.not_before from push_pauses p where p.root_id = owners.root_id
      ) as latest) as at
      from topics t where t.owner_id = $1 and owners.state = 'linked' and t.due_at is not null
        and (select ended_at from integrations where id = owners.root_id) is null
      union all
      select 0 as at from topics t where t.owner_id = $1 and t.unshown
      union all
      select (select max(at) from (
        select w.due_at as at
        union all select owners.not_before
        union all select i.not_before from integrations i where i.id = owners.root_id
      ) as latest) as at
      from (
        select due_at from channels where owner_id = $1 and due_at is not null
        union all select due_at from orphans
        where owner_id = $1 and due_at is not null and owners.state = 'linked'
      ) as w
      union all
      select expires_at as at from channels where owner_id = $1
      union all
      select retired_until as at from channels
      where owner_id = $1 and retired_until is not null and state <> 'gone'
    ) as work
  ) end
where id = $1 and fence = $2";

/// Makes an owner due, at the latest at `now`. To be the first statement that writes: holders, too, take the
/// owner's row before what belongs to it. Written also where it is due, as a leased one is: whoever gives
/// it back at this moment on PostgreSQL sees by the row alone that something came.
pub(super) async fn make_due(
    connection: &mut Connection,
    owner_id: OwnerId,
    now: Micros,
) -> Result<(), Error> {
    query("update owners set due_at = case when due_at < $1 then due_at else $1 end where id = $2")
        .bind(now)
        .bind(owner_id)
        .execute(connection)
        .await?;
    Ok(())
}

/// Leaves a lease that ended in trouble: it stays marked unreleased, so that the next holder, from
/// `at` on, relays first.
pub async fn abandon(control: &Database, lease: &Lease, at: Micros) -> Result<(), Error> {
    let (owner_id, fence) = (lease.owner_id, lease.fence);
    let statement = query(
        "update owners set lease_host = null, lease_until = 0, unreleased = true,
                            due_at = $1
                     where id = $2 and fence = $3",
    )
    .bind(at)
    .bind(owner_id)
    .bind(fence);
    control.execute(statement).await.map(drop)
}
