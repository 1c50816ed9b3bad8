//! What faults do to the databases of the present walk, behind the store's back.

use rowgate::store::leases::Planted;
use rowgate::store::{Database, Error, query, query_as, query_scalar};

use crate::rules::Rule;
use crate::world::World;

/// Tables of the replication database with an owner's rows, and which those are.
const TABLES: [(&str, &str); 9] = [
    ("rowgate_owners", "owner_id = {id}"),
    ("rowgate_cursors", "owner_id = {id}"),
    ("rowgate_applied", "owner_id = {id}"),
    ("rowgate_outbox", "owner_id = {id}"),
    (
        "rowgate_bracket_keys",
        "bracket_id in (select id from rowgate_brackets where owner_id = {id})",
    ),
    ("rowgate_brackets", "owner_id = {id}"),
    ("account_v1", "owner_id = '{external}'"),
    ("shelf_v1", "owner_id = '{external}'"),
    ("thing_v1", "owner_id = '{external}'"),
];

/// The power is lost: commits that were not on disk are gone. Where each is at once (R5), none is.
/// The hosts must be killed with it.
pub(crate) async fn lose_power(world: &mut World) -> Result<(), Error> {
    let (told, made) = (relayed_no(world).await?, commit_no(world).await?);
    if !world.keeps(Rule::Durability) {
        restore(world).await?;
    }
    let kept = commit_no(world).await?;
    if told > kept && told <= made {
        world.wrong = Some(format!("commit {told} was relayed, {kept} is the last that is left"));
    }
    Ok(())
}

/// An older copy of the replication database is put back. The hosts must be stopped for it.
pub(crate) async fn put_back_copy(world: &mut World) -> Result<(), Error> {
    world.is_restored = true;
    restore(world).await?;
    // Whoever restores lets every owner be looked at.
    let due = "update owners set due_at = 0 where id = {id}".to_owned();
    run(world, world.control(0), vec![due]).await
}

/// Copies the owner's part of the replication database.
pub(crate) async fn save(world: &mut World) -> Result<(), Error> {
    world.tally_saved = world.tally;
    let copy = |(table, mine)| {
        [
            format!(
                "create table if not exists saved_{table} as select * from {table} where false"
            ),
            format!("delete from saved_{table}"),
            format!("insert into saved_{table} select * from {table} where {mine}"),
        ]
    };
    run(world, &world.replication[0], TABLES.into_iter().flat_map(copy).collect()).await
}

/// Puts the copy back; without one, the owner is gone.
async fn restore(world: &mut World) -> Result<(), Error> {
    world.tally = world.tally_saved;
    let copy = |(table, mine)| {
        [
            format!(
                "create table if not exists saved_{table} as select * from {table} where false"
            ),
            format!("delete from {table} where {mine}"),
            format!("insert into {table} select * from saved_{table} where {mine}"),
        ]
    };
    run(world, &world.replication[0], TABLES.into_iter().flat_map(copy).collect()).await
}

/// What a restore of the control database from an older copy leaves: its fence is behind. The hosts
/// must be stopped for it.
pub(crate) async fn leave_fence_behind(world: &World) -> Result<(), Error> {
    let ahead = "update rowgate_owners set fence = fence + 1000000 where owner_id = {id}";
    run(world, &world.replication[0], vec![ahead.to_owned()]).await
}

/// Messages as they wait in the outbox.
pub(crate) async fn outbox(world: &World) -> Result<Vec<(i64, String)>, Error> {
    let waiting = query_as(
        "select commit_no, message from rowgate_outbox where owner_id = $1 order by commit_no",
    );
    Ok(waiting.bind(world.owner_id).fetch_all(world.replication[0].readers()).await?)
}

/// Puts messages into the outbox again: a relay that died before it took them away.
pub(crate) async fn fill_outbox(world: &World, messages: Vec<(i64, String)>) -> Result<(), Error> {
    let owner_id = world.owner_id;
    let insert = "insert into rowgate_outbox (owner_id, commit_no, message)
                  values ($1, $2, $3) on conflict do nothing";
    world.replication[0]
        .write(move |connection| {
            Box::pin(async move {
                for (commit_no, message) in messages {
                    let query = query(insert).bind(owner_id).bind(commit_no).bind(message);
                    query.execute(&mut *connection).await?;
                }
                Ok(())
            })
        })
        .await
}

/// Fence and generation as the replication database has them now; none: no holder was there yet.
pub(crate) async fn owner_row(world: &World) -> Result<Option<(i64, i64)>, Error> {
    let row = query_as("select fence, generation from rowgate_owners where owner_id = $1");
    Ok(row.bind(world.owner_id).fetch_optional(world.replication[0].readers()).await?)
}

/// What planting answers, though it was refused.
pub(crate) async fn planted(world: &World) -> Result<Planted, Error> {
    let planted = query_as(
        "select generation, grant_id, commit_no, stale_swept_at from rowgate_owners
         where owner_id = $1",
    );
    let (generation, grant_id, commit_no, stale_swept_at) =
        planted.bind(world.owner_id).fetch_one(world.replication[0].readers()).await?;
    Ok(Planted { generation, grant_id, commit_no, stale_swept_at })
}

/// Up to where messages were told.
pub(crate) async fn relayed_no(world: &World) -> Result<i64, Error> {
    let relayed_no = query_scalar("select relayed_no from owners where id = $1");
    Ok(relayed_no.bind(world.owner_id).fetch_one(world.control(0).readers()).await?)
}

async fn commit_no(world: &World) -> Result<i64, Error> {
    let commit_no = "select coalesce(max(commit_no), 0) from rowgate_owners where owner_id = $1";
    let commit_no = query_scalar(commit_no).bind(world.owner_id);
    Ok(commit_no.fetch_one(world.replication[0].readers()).await?)
}

/// The fence of the control database.
pub(crate) async fn control_fence(world: &World) -> Result<i64, Error> {
    let fence = query_scalar("select fence from owners where id = $1");
    Ok(fence.bind(world.owner_id).fetch_one(world.control(0).readers()).await?)
}

/// Runs statements in which `{id}` and `{external}` stand for the present owner.
pub(crate) async fn run(
    world: &World,
    database: &Database,
    statements: Vec<String>,
) -> Result<(), Error> {
    let (id, external) = (world.owner_id.to_string(), world.external_owner_id.clone());
    database
        .write(move |connection| {
            Box::pin(async move {
                for sql in statements {
                    let sql = sql.replace("{id}", &id).replace("{external}", &external);
                    query(sql).persistent(false).execute(&mut *connection).await?;
                }
                Ok(())
            })
        })
        .await
}
