//! On a file and on a server.

mod behind;
mod paused;
mod told;

use std::collections::BTreeSet;

use super::*;
use crate::clock::Clock;
use crate::store::fixture::{self, Opened, on_both, plan};
use crate::store::integrations::Integration;
use crate::store::{Dialect, query_scalar};

const NOW: Micros = 1_000_000_000;
const LEASE: Micros = 35_000_000;

async fn filled(dialect: Dialect) -> Opened {
    let store = fixture::open(dialect, Clock::simulated(NOW)).await;
    fixture::root(&store, "svi_1").await;
    store
}

async fn target(store: &Opened) -> Target {
    target_of(store, Kind::Http).await
}

async fn target_of(store: &Opened, kind: Kind) -> Target {
    let new = NewTarget { kind, ..new_target(1, "a.example:5432/app", "mirror") };
    store.create_target(new).await.unwrap()
}

/// Of a mirror.
fn new_target(organization_id: OrganizationId, place: &str, table: &str) -> NewTarget {
    let integration = Integration {
        id: "svi_1".into(),
        organization_id,
        plugin: "p".into(),
        service: "s".into(),
        table_name: "t".into(),
        depends_on: None,
        root_id: "svi_1".into(),
        created_at: 0,
    };
    NewTarget {
        integration,
        kind: Kind::Db,
        to_place: place.into(),
        to_schema: "public".into(),
        to_table: table.into(),
        url: Zeroizing::new("https://u:hush@a.example/".into()),
        shown_url: "https://***:***@a.example/".into(),
        signing_secret: Zeroizing::new("whsec_aHVzaA==".into()),
        period_s: 60,
        page_size: 200,
        deletions: false,
    }
}

async fn claim_at(store: &Opened, now: Micros) -> Option<Claimed> {
    claim(store.control(), "host", true, now, now + LEASE).await.unwrap()
}

async fn again(store: &Opened, id: &str) -> Target {
    store.target(1, id).await.unwrap().unwrap()
}

fn failed_until(at: Micros) -> Failed {
    Failed { error: "answered 500".into(), at, rows_max: None, alert: false, pause: None }
}

fn saved(bookmark: &Bookmark, lease_until: Micros) -> Saved<'_> {
    Saved { bookmark, rows_max: None, took_ms: Some(5), lease_until }
}

on_both! {
    secrets_are_sealed,
    both_kinds_are_targets,
    what_has_ended_gets_no_target,
    two_mirrors_have_two_places,
    what_was_taken_is_known,
    a_claim_takes_the_first_of_an_index,
    one_holder_at_a_time,
    a_mark_during_a_holding_is_not_lost,
    what_fails_waits_and_comes_last,
    restarts_are_counted,
    operators_supersede_holders,
}

/// It is asked after each commit, however many targets there are.
#[tokio::test]
async fn the_next_that_is_due_is_the_first_of_an_index() {
    let store = filled(Dialect::Sqlite).await;
    let sql = format!("explain query plan {}", lease::next_due_sql());
    let steps: Vec<(i64, i64, i64, String)> =
        query_as(sql).fetch_all(store.control().readers()).await.unwrap();
    let steps: Vec<String> = steps.into_iter().map(|(_, _, _, detail)| detail).collect();
    let steps: Vec<&String> = steps.iter().filter(|step| step.contains("targets")).collect();
    let index = |name: &str| format!("SEARCH targets USING INDEX {name}");
    assert_eq!(steps, [&index("targets_ready"), &index("targets_failing")]);
}

/// However many others are due.
async fn a_claim_takes_the_first_of_an_index(dialect: Dialect) {
    let store = filled(dialect).await;
    for (sql, index) in lease::claims_sql(dialect).iter().zip(["targets_ready", "targets_failing"])
    {
        let arguments = vec![NOW.into(), "host".into(), NOW.into()];
        let steps = plan(store.control(), sql, arguments).await;
        assert!(steps.iter().any(|step| step.contains(index)), "{steps:#?}");
        let others = ["SCAN targets", "TEMP B-TREE", "Seq Scan", "Sort"];
        assert!(!steps.iter().any(|step| others.iter().any(|o| step.contains(o))), "{steps:#?}");
    }
}

async fn secrets_are_sealed(dialect: Dialect) {
    let store = filled(dialect).await;
    let made = target(&store).await;
    assert!(!format!("{made:?}").contains("hush"));
    let secrets = store.target_secrets(&made.id).await.unwrap();
    assert_eq!(*secrets.url, "https://u:hush@a.example/");
    assert!(secrets.signing_secret.starts_with("whsec_"));
    let sealed: Vec<u8> =
        query_scalar("select url from targets").fetch_one(store.control().readers()).await.unwrap();
    assert!(!sealed.windows(4).any(|part| part == b"hush"));
    let url = Zeroizing::new("https://u:new@b.example/".to_owned());
    store.move_target(&made.id, &url, "shown".into()).await.unwrap();
    assert_eq!(store.target_secrets(&made.id).await.unwrap().url, url);
    assert_eq!(store.target(2, &made.id).await.unwrap(), None, "another organization's");
}

async fn both_kinds_are_targets(dialect: Dialect) {
    let store = filled(dialect).await;
    for kind in [Kind::Http, Kind::Db] {
        let made = target_of(&store, kind).await;
        assert_eq!(again(&store, &made.id).await, made);
        let place = (made.to_schema.as_str(), made.to_table.as_str());
        assert_eq!((made.kind, place), (kind, ("public", "mirror")));
    }
    assert!(Kind::try_from("ftp".to_owned()).is_err());
}

/// It was there when its receiver was asked.
async fn what_has_ended_gets_no_target(dialect: Dialect) {
    let store = filled(dialect).await;
    store.end_integration("svi_1").await.unwrap();
    let refused = store.create_target(new_target(1, "a.example:5432/app", "mirror")).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("the integration is gone"), "{refused}");
}

async fn two_mirrors_have_two_places(dialect: Dialect) {
    let store = filled(dialect).await;
    let other = store.create_organization("Other").await.unwrap().id;
    let made = store.create_target(new_target(1, "a.example:5432/app", "mirror")).await.unwrap();
    let refused = store.create_target(new_target(1, "a.example:5432/app", "mirror")).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains(&format!("the mirror of the target {}", made.id)), "{refused}");
    let taken = async |organization, place: &str, table: &str| {
        let taken = store.refuse_taken_place(organization, place, "public", table).await;
        taken.err().map(|taken| taken.to_string())
    };
    assert_eq!(taken(1, "a.example:5432/app", "mirror").await, Some(refused));
    assert_eq!(taken(1, "a.example:5432/app", "mirror_2").await, None);
    for (organization, place, table) in [
        (1, "a.example:5432/app", "mirror_2"),
        (1, "a.example:5432/other", "mirror"),
        (other, "a.example:5432/app", "mirror"),
    ] {
        store.create_target(new_target(organization, place, table)).await.unwrap();
    }
    // Receivers may be as many as one likes.
    for _ in 0..2 {
        target(&store).await;
    }
    store.delete_target(&made.id).await.unwrap();
    store.create_target(new_target(1, "a.example:5432/app", "mirror")).await.unwrap();
}

/// What moved without a delivery isn't: the mirror knows nothing of it.
async fn what_was_taken_is_known(dialect: Dialect) {
    let store = filled(dialect).await;
    let made = target(&store).await;
    assert_eq!(made.taken, None);
    let mut held = claim_at(&store, NOW).await.unwrap();
    let (read, taken) = (Bookmark::behind("e", 2), Bookmark::behind("e", 1));
    save(store.control(), &mut held, saved(&taken, NOW + LEASE)).await.unwrap();
    let moved = Saved { took_ms: None, ..saved(&read, NOW + LEASE) };
    save(store.control(), &mut held, moved).await.unwrap();
    let now = again(&store, &made.id).await;
    assert_eq!((now.bookmark().unwrap(), now.taken), (read, Some(taken.text())));
}

async fn one_holder_at_a_time(dialect: Dialect) {
    let store = filled(dialect).await;
    let control = store.control();
    let made = target(&store).await;
    assert_eq!(next_due(control).await.unwrap(), Some(NOW));
    let mut first = claim_at(&store, NOW).await.unwrap();
    assert_eq!((first.id.as_str(), first.fence), (made.id.as_str(), 1));
    assert_eq!(claim_at(&store, NOW + LEASE - 1).await, None);
    assert_eq!(next_due(control).await.unwrap(), Some(NOW + LEASE));
    // Each page renews; whoever comes next waits that out.
    let bookmark = Bookmark::behind("e", 1);
    assert!(save(control, &mut first, saved(&bookmark, NOW + 2 * LEASE)).await.unwrap());
    assert_eq!(claim_at(&store, NOW + LEASE).await, None);
    let second = claim_at(&store, NOW + 2 * LEASE).await.unwrap();
    assert_eq!(second.fence, 2);
    let late = Bookmark::behind("e", 2);
    let refused = save(control, &mut first, saved(&late, NOW + 9 * LEASE)).await;
    assert!(matches!(refused, Err(Error::Superseded(_))), "{refused:?}");
    release(control, &first, 0, None).await.unwrap();
    let now = again(&store, &made.id).await;
    assert_eq!((now.bookmark().unwrap(), now.due_at), (bookmark, NOW + 3 * LEASE));
    release(control, &second, NOW + 4 * LEASE, Some(NOW)).await.unwrap();
    let now = again(&store, &made.id).await;
    assert_eq!((now.due_at, now.last_synced_at), (NOW + 4 * LEASE, Some(NOW)));
}

async fn a_mark_during_a_holding_is_not_lost(dialect: Dialect) {
    let store = filled(dialect).await;
    let (control, roots) = (store.control(), BTreeSet::from(["svi_1".to_owned()]));
    let made = target(&store).await;
    let mut held = claim_at(&store, NOW).await.unwrap();
    let bookmark = Bookmark::behind("e", 1);
    mark_due(control, &roots, NOW + 1).await.unwrap();
    save(control, &mut held, saved(&bookmark, NOW + 2 * LEASE)).await.unwrap();
    release(control, &held, NOW + 60_000_000, Some(NOW)).await.unwrap();
    assert_eq!(again(&store, &made.id).await.due_at, NOW + 1);
    let held = claim_at(&store, NOW + 2).await.unwrap();
    release(control, &held, NOW + 60_000_000, Some(NOW)).await.unwrap();
    assert_eq!(claim_at(&store, NOW + 3).await, None);
    mark_due(control, &BTreeSet::from(["svi_2".to_owned()]), NOW + 3).await.unwrap();
    assert_eq!(claim_at(&store, NOW + 3).await, None, "another tree's rows");
    mark_due(control, &roots, NOW + 4).await.unwrap();
    // A mark that comes when the lease is over stays, though its holder renews it.
    let mut held = claim_at(&store, NOW + 4).await.unwrap();
    let late = NOW + 4 + LEASE + 1;
    mark_due(control, &roots, late).await.unwrap();
    save(control, &mut held, saved(&bookmark, late + LEASE)).await.unwrap();
    release(control, &held, late + 60_000_000, Some(late)).await.unwrap();
    assert_eq!(again(&store, &made.id).await.due_at, late);
    // Or gives the target back without that.
    let held = claim_at(&store, late).await.unwrap();
    let late = late + LEASE + 1;
    mark_due(control, &roots, late).await.unwrap();
    release(control, &held, late + 60_000_000, Some(late)).await.unwrap();
    assert_eq!(again(&store, &made.id).await.due_at, late);
}

/// Since when it lacks a change; none: it has all.
async fn what_fails_waits_and_comes_last(dialect: Dialect) {
    let store = filled(dialect).await;
    let (control, roots) = (store.control(), BTreeSet::from(["svi_1".to_owned()]));
    let (bad, good) = (target(&store).await, target(&store).await);
    let failed = |at, pause: Option<&str>| Failed {
        rows_max: Some(10),
        pause: pause.map(str::to_owned),
        ..failed_until(at)
    };
    let held = claim_at(&store, NOW).await.unwrap();
    assert_eq!(held.id, bad.id);
    settle_failure(control, &held, failed(NOW + 100, None), NOW).await.unwrap();
    let state = again(&store, &bad.id).await;
    assert_eq!((state.attempts, state.failing_since, state.rows_max), (1, Some(NOW), Some(10)));
    assert_eq!(state.health(NOW + 9, 10), Health::Failing);
    assert_eq!(state.health(NOW + 10, 10), Health::Alert);
    // What changes doesn't shorten its wait.
    mark_due(control, &roots, NOW + 1).await.unwrap();
    let held = claim_at(&store, NOW + 1).await.unwrap();
    assert_eq!(held.id, good.id);
    release(control, &held, NOW + 101, Some(NOW)).await.unwrap();
    assert_eq!(claim_at(&store, NOW + 99).await, None);
    assert_eq!(next_due(control).await.unwrap(), Some(NOW + 100));
    // Who is well comes first.
    let held = claim_at(&store, NOW + 101).await.unwrap();
    assert_eq!((held.id, held.was_failing), (good.id, false));
    assert_eq!(claim(control, "host", false, NOW + 101, NOW + LEASE).await.unwrap(), None);
    let mut held = claim_at(&store, NOW + 101).await.unwrap();
    assert_eq!((held.id.as_str(), held.was_failing), (bad.id.as_str(), true));
    // Renewing a lease is no success.
    let bookmark = Bookmark::Start;
    let renewed = Saved { took_ms: None, ..saved(&bookmark, NOW + 3 * LEASE) };
    save(control, &mut held, renewed).await.unwrap();
    assert_eq!(again(&store, &bad.id).await.attempts, 1);
    settle_failure(control, &held, failed(NOW + 200, Some("for too long")), NOW + 101)
        .await
        .unwrap();
    let state = again(&store, &bad.id).await;
    assert_eq!((state.failing_since, state.health(NOW, 10)), (Some(NOW), Health::Paused));
    assert_eq!((claim_at(&store, NOW + 300).await, state.pause_asked_at), (None, None));
    store.resume_target(&bad.id).await.unwrap();
    assert_eq!(again(&store, &bad.id).await.health(NOW, 10), Health::Ok);
}

async fn restarts_are_counted(dialect: Dialect) {
    let store = filled(dialect).await;
    let control = store.control();
    let made = target(&store).await;
    let mut held = claim_at(&store, NOW).await.unwrap();
    let bookmark = Bookmark::behind("e", 1);
    save(control, &mut held, saved(&bookmark, NOW + LEASE)).await.unwrap();
    assert!(restart(control, &held, 3, NOW + 1).await.unwrap());
    let state = again(&store, &made.id).await;
    assert_eq!((state.restarts, state.restarted_at), (3, Some(NOW + 1)));
    assert_eq!(state.bookmark().unwrap(), Bookmark::Start);
    // What is taken since doesn't end the row.
    save(control, &mut held, saved(&bookmark, NOW + LEASE)).await.unwrap();
    assert_eq!(again(&store, &made.id).await.restarts, 3);
    store.pause_target(&made.id, "by hand").await.unwrap();
    assert!(!restart(control, &held, 4, NOW + 2).await.unwrap());
    store.resume_target(&made.id).await.unwrap();
    assert_eq!(again(&store, &made.id).await.restarts, 0, "somebody has looked");
    store.delete_target(&made.id).await.unwrap();
    let refused = restart(control, &held, 1, NOW + 3).await;
    assert!(matches!(refused, Err(Error::Superseded(_))), "{refused:?}");
}

async fn operators_supersede_holders(dialect: Dialect) {
    let store = filled(dialect).await;
    let control = store.control();
    let made = target(&store).await;
    let mut held = claim_at(&store, NOW).await.unwrap();
    let bookmark = Bookmark::behind("e", 1);
    store.pause_target(&made.id, "by hand").await.unwrap();
    assert!(!save(control, &mut held, saved(&bookmark, NOW + LEASE)).await.unwrap());
    store.resume_target(&made.id).await.unwrap();
    assert!(save(control, &mut held, saved(&bookmark, NOW + LEASE)).await.unwrap());
    store.rewind_target(&made.id, &Bookmark::Start).await.unwrap();
    let refused = save(control, &mut held, saved(&bookmark, NOW + 2 * LEASE)).await;
    assert!(matches!(refused, Err(Error::Superseded(_))), "{refused:?}");
    assert_eq!(again(&store, &made.id).await.bookmark().unwrap(), Bookmark::Start);
    // Its last delivery may still be on its way.
    assert_eq!(claim_at(&store, NOW + LEASE - 1).await, None);
    let held = claim_at(&store, NOW + LEASE).await.unwrap();
    let failed = failed_until(NOW + 9 * LEASE);
    settle_failure(control, &held, failed, NOW + LEASE).await.unwrap();
    assert_eq!(again(&store, &made.id).await.failing_since, Some(NOW + LEASE));
    // What failed there says nothing of the new place, nor does what is still on its way there.
    let held = claim_at(&store, NOW + 9 * LEASE).await.unwrap();
    let url = Zeroizing::new("https://u:new@b.example/".to_owned());
    store.move_target(&made.id, &url, "shown".into()).await.unwrap();
    let failed = failed_until(NOW + 99 * LEASE);
    settle_failure(control, &held, failed, NOW + 9 * LEASE).await.unwrap();
    let moved = again(&store, &made.id).await;
    assert_eq!((moved.attempts, moved.failing_since, moved.last_error), (0, None, None));
    let mut held = claim_at(&store, NOW + 10 * LEASE).await.unwrap();
    store.delete_target(&made.id).await.unwrap();
    let refused = save(control, &mut held, saved(&bookmark, NOW + 2 * LEASE)).await;
    assert!(matches!(refused, Err(Error::Superseded(_))), "{refused:?}");
    assert!(store.trigger_target(&made.id).await.is_err());
    assert!(store.targets(1).await.unwrap().is_empty());
}
