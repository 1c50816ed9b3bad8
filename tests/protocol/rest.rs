//! The end of a walk: faults stop, the hosts work until nothing is due, then all must be as the
//! accepted items and the vendor say.

use rand_chacha::ChaCha8Rng;
use rowgate::model::{InboxId, Micros};
use rowgate::store::{Cell, Database, query_scalar};

use crate::disk;
use crate::host::Host;
use crate::walk::Met;
use crate::world::{POLL, Verb, World};

/// Rest comes within so many rounds, or never.
const ROUNDS: usize = 400;
/// What is due later than this is a poll.
const SOON: Micros = 1_000_000 * 3600;

/// Lets everything work until nothing is due.
pub(crate) async fn come(
    world: &mut World,
    hosts: &mut [Host; 2],
    random: &mut ChaCha8Rng,
    met: &mut Met,
) -> Result<(), String> {
    let error = |error: rowgate::store::Error| format!("unexpected: {error}");
    world.has_faults = false;
    if world.last_grant().is_some_and(|grant| grant <= world.vendor.revoked) {
        world.post(0, Verb::Refresh).await.map_err(error)?;
    }
    for _ in 0..ROUNDS {
        let mut worked = false;
        for host in hosts.iter_mut() {
            (host.is_frozen, host.dies) = (false, None);
            for _ in 0..8 {
                if !host.step(world, random, met).await.map_err(error)? {
                    break;
                }
                worked = true;
            }
        }
        if worked {
            continue;
        }
        let next: Option<Micros> = scalar(
            world,
            "select case when due_at < lease_until then lease_until else due_at end
             from owners where id = $1",
        )
        .await?;
        match next {
            Some(at) if at < world.now() + SOON => world.advance((at - world.now()).max(1)),
            Some(_) if std::mem::take(&mut world.is_restored) => world.advance(POLL),
            _ => return Ok(()),
        }
    }
    Err("no rest: something is due again and again".to_owned())
}

/// Compares what stands in the databases with what must.
pub(crate) async fn check(world: &World) -> Result<(), String> {
    if let Some(wrong) = &world.wrong {
        return Err(wrong.clone());
    }
    let last_grant = world.last_grant();
    let state = if last_grant.is_some() { "linked" } else { "unlinked" };
    let now = state_of(world).await?;
    same("state of the owner", &now.state, &state.to_owned())?;
    let moves = |verb: &Verb| *verb != Verb::Resync;
    let links = world.items.iter().filter(|(_, verb)| moves(verb)).count();
    same("generation: links and unlinks applied", &now.generation, &(links as i64))?;
    same("grant of the owner", &now.grant_id, &last_grant)?;
    let ids: Vec<InboxId> = world.items.iter().map(|(id, _)| *id).collect();
    let applied: Vec<i64> = column(
        replication(world),
        world,
        "select inbox_id from rowgate_applied where owner_id = $1 order by 1",
    )
    .await?;
    same("items applied", &applied, &ids)?;
    for (what, sql) in [
        ("open items", "select id from inbox where owner_id = $1 and done_at is null"),
        (
            "sealed values of done items",
            "select id from inbox where owner_id = $1 and sealed <> '{}'",
        ),
        ("taken streams", "select id from streams where owner_id = $1 and taken is not null"),
    ] {
        let none: Vec<i64> = column(control(world), world, sql).await?;
        same(what, &none, &Vec::new())?;
    }
    for (what, sql) in
        [("open full listings", "select id from rowgate_brackets where owner_id = $1")]
    {
        let none: Vec<i64> = column(replication(world), world, sql).await?;
        same(what, &none, &Vec::new())?;
    }
    let relayed = disk::relayed_no(world).await.map_err(|error| error.to_string())?;
    let waiting = disk::outbox(world).await.map_err(|error| error.to_string())?;
    let untold = waiting.into_iter().filter(|(no, _)| *no > relayed).collect();
    same("messages that were not told", &untold, &Vec::new())?;
    let secrets: Vec<i64> =
        column(control(world), world, "select grant_id from owner_secrets where owner_id = $1")
            .await?;
    same("grants that have secrets", &secrets, &last_grant.into_iter().collect())?;
    streams(world, last_grant.is_some()).await?;
    rows(world, last_grant).await
}

struct State {
    state: String,
    generation: i64,
    grant_id: Option<i64>,
}

async fn state_of(world: &World) -> Result<State, String> {
    let state = "select state from owners where id = $1";
    let generation = "select generation from rowgate_owners where owner_id = $1";
    let grant_id =
        "select grant_id from rowgate_owners where owner_id = $1 and grant_id is not null";
    Ok(State {
        state: column(control(world), world, state).await?.remove(0),
        generation: column(replication(world), world, generation).await?.remove(0),
        grant_id: column(replication(world), world, grant_id).await?.pop(),
    })
}

/// The schedule knows the streams that have cursors, and no others; each is due at its next poll.
async fn streams(world: &World, is_linked: bool) -> Result<(), String> {
    let keys = "select service || '/' || key from";
    let scheduled: Vec<String> =
        column(control(world), world, &format!("{keys} streams where owner_id = $1 order by 1"))
            .await?;
    let cursors: Vec<String> = column(
        replication(world),
        world,
        &format!("{keys} rowgate_cursors where owner_id = $1 order by 1"),
    )
    .await?;
    same("streams scheduled", &scheduled, &cursors)?;
    let mut expected = Vec::new();
    if is_linked {
        expected.push("shelf_v1/".to_owned());
        let shelves = world.vendor.shelves(world.account());
        expected.extend(shelves.iter().map(|shelf| format!("thing_v1/{shelf}")));
    }
    same("streams", &cursors, &expected)?;
    let forgotten = "select id from streams where owner_id = $1 and due_at is null";
    let forgotten: Vec<i64> = column(control(world), world, forgotten).await?;
    same("streams that are never due", &forgotten, &Vec::new())
}

async fn rows(world: &World, last_grant: Option<InboxId>) -> Result<(), String> {
    let linked: Vec<String> =
        owned(world, "select title from account_v1 where owner_id = $1").await?;
    let expected: Vec<String> = last_grant.iter().map(InboxId::to_string).collect();
    same("row of the account: the last link", &linked, &expected)?;
    let pages = world.pages(0).await.map_err(|error| error.to_string())?;
    same("pages that counted themselves", &pages, &last_grant.map(|_| world.tally))?;
    let sql = "select shelf || '/' || id || '=' || value from thing_v1
               where owner_id = $1 and not gone order by 1";
    let things = owned(world, sql).await?;
    let mut expected = Vec::new();
    if last_grant.is_some() {
        expected = world.vendor.rows(world.account());
    }
    same("rows of things", &things, &expected)?;
    let gone =
        owned(world, "select distinct shelf from thing_v1 where owner_id = $1 and gone").await?;
    match last_grant {
        None => same("rows after UNLINK", &gone, &Vec::new()),
        Some(_) => {
            let live = world.vendor.shelves(world.account());
            let ghosts: Vec<_> = gone.into_iter().filter(|shelf| live.contains(shelf)).collect();
            same("rows marked gone on shelves that are there", &ghosts, &Vec::new())
        }
    }
}

fn control(world: &World) -> &Database {
    world.control(0).readers()
}

fn replication(world: &World) -> &Database {
    world.replication[0].readers()
}

async fn column<T: Cell>(pool: &Database, world: &World, sql: &str) -> Result<Vec<T>, String> {
    let query = query_scalar(sql).bind(world.owner_id);
    query.fetch_all(pool).await.map_err(|error| format!("{sql}: {error}"))
}

async fn owned(world: &World, sql: &str) -> Result<Vec<String>, String> {
    let query = query_scalar(sql).bind(&world.external_owner_id);
    query.fetch_all(replication(world)).await.map_err(|error| format!("{sql}: {error}"))
}

async fn scalar(world: &World, sql: &str) -> Result<Option<i64>, String> {
    let query = query_scalar(sql).bind(world.owner_id);
    query.fetch_one(control(world)).await.map_err(|error| format!("{sql}: {error}"))
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, is: &T, must: &T) -> Result<(), String> {
    match is == must {
        true => Ok(()),
        false => Err(format!("{what}: is {is:?}, must be {must:?}")),
    }
}
