//! Pages and sync tokens.

use rowgate_plugin::{Failure, Progress, Step};
use serde_json::json;

use super::{EXPANDED, World, calendars, error, events, last_page, page, single};
use crate::Cursor;

const DAY_MS: u64 = 86_400_000;

fn query(world: &World, at: usize, name: &str) -> Option<String> {
    world.host.requests()[at].query(name).map(str::to_owned)
}

/// A feed with rows `a` and `b` and the sync token `s`.
fn synced(world: &mut World) -> Option<Cursor> {
    world.host.answer(200, last_page(vec![single("a"), single("b")], "s"));
    world.run(&events(EXPANDED), None).cursor
}

#[test]
fn an_empty_page_with_a_token_is_no_end() {
    let mut world = World::new();
    world.host.answer(200, page(vec![], "p1")).answer(200, page(vec![single("a")], "p2"));
    world.host.answer(200, last_page(vec![single("b")], "s"));
    let step = world.run(&events(EXPANDED), None);
    assert_eq!(world.live(EXPANDED), ["a", "b"]);
    assert_eq!(step.progress, Progress::Done(None));
    assert_eq!(query(&world, 0, "pageToken"), None);
    assert_eq!(query(&world, 2, "pageToken").as_deref(), Some("p2"));
    world.host.answer(200, last_page(vec![], "s2"));
    world.run(&events(EXPANDED), step.cursor);
    assert_eq!(query(&world, 3, "syncToken").as_deref(), Some("s"));
    assert_eq!(query(&world, 3, "pageToken"), None);
}

#[test]
fn a_delta_repeats_its_sync_token_on_each_page() {
    let mut world = World::new();
    let cursor = synced(&mut world);
    world.host.answer(200, page(vec![], "p1")).answer(200, last_page(vec![], "s2"));
    world.run(&events(EXPANDED), cursor);
    for at in [1, 2] {
        assert_eq!(query(&world, at, "syncToken").as_deref(), Some("s"));
        assert_eq!(query(&world, at, "maxResults").as_deref(), Some("100"));
    }
}

#[test]
fn a_list_without_a_token_is_read_in_full_a_day_later() {
    for body in [json!({"items": []}), json!({}), json!({"items": [], "nextSyncToken": ""})] {
        let mut world = World::new();
        synced(&mut world);
        world.host.answer(200, &body);
        let step = world.run(&events(EXPANDED), None);
        assert_eq!(step, Step::relist_after(DAY_MS), "{body}");
        assert!(world.live(EXPANDED).is_empty(), "it was complete: what it lacks is cancelled");
    }
}

#[test]
fn a_page_token_wins_over_a_sync_token() {
    let mut world = World::new();
    world.host.answer(200, json!({"nextPageToken": "p", "nextSyncToken": "early"}));
    let step = world.step(&events(EXPANDED), None).0.unwrap();
    assert_eq!(step.progress, Progress::More);
}

#[test]
fn page_tokens_in_a_circle_expire_the_cursor() {
    let mut world = World::new();
    let mut cursor = None;
    for at in 0..20 {
        world.host.answer(200, page(vec![], ["x", "y", "z"][at % 3]));
        match world.step(&events(EXPANDED), cursor.take()).0 {
            Ok(step) => cursor = step.cursor,
            Err(failure) => {
                assert!(matches!(failure, Failure::CursorExpired(_)), "{failure:?}");
                return;
            }
        }
    }
    panic!("nobody noticed");
}

#[test]
fn the_last_of_a_repeated_event_counts() {
    let mut world = World::new();
    let mut newer = single("a");
    newer["summary"] = "newer".into();
    let stub = json!({"id": "b", "status": "cancelled"});
    let items = vec![single("a"), stub, single("b"), newer.clone()];
    world.host.answer(200, last_page(items, "s"));
    world.run(&events(EXPANDED), None);
    assert_eq!(world.live(EXPANDED), ["a", "b"]);
    let data = super::text(world.row(EXPANDED, "a").unwrap(), "data").unwrap();
    assert_eq!(data, newer.to_string());
}

#[test]
fn a_dead_page_token_restarts_the_listing_once() {
    let mut world = World::new();
    let cursor = synced(&mut world);
    world.host.answer(200, page(vec![], "p1")).answer(400, error(400, "invalid"));
    let paging = world.step(&events(EXPANDED), cursor).0.unwrap().cursor;
    let again = world.step(&events(EXPANDED), paging).0.unwrap();
    assert_eq!(again.progress, Progress::More);
    world.host.answer(200, page(vec![], "p2")).answer(400, error(400, "invalid"));
    let paging = world.step(&events(EXPANDED), again.cursor).0.unwrap().cursor;
    assert_eq!(query(&world, 3, "syncToken").as_deref(), Some("s"), "the sync token is kept");
    assert_eq!(query(&world, 3, "pageToken"), None);
    let (step, _) = world.step(&events(EXPANDED), paging);
    assert!(matches!(step, Err(Failure::CursorExpired(_))), "{step:?}");
}

#[test]
fn a_400_on_a_sync_token_drops_it_and_without_one_is_a_bug() {
    let mut world = World::new();
    let cursor = synced(&mut world);
    world.host.answer(400, error(400, "invalid")).answer(400, error(400, "invalid"));
    let (step, _) = world.step(&events(EXPANDED), cursor);
    assert!(matches!(step, Err(Failure::CursorExpired(_))), "{step:?}");
    let (step, _) = world.step(&events(EXPANDED), None);
    assert!(matches!(step, Err(Failure::Bug(_))), "{step:?}");
}

#[test]
fn a_410_expires_the_cursor_wherever_it_comes() {
    let mut world = World::new();
    let cursor = synced(&mut world);
    let bodies = [error(410, "fullSyncRequired").to_string(), String::new()];
    for body in &bodies {
        world.host.answer(410, body);
        let (step, _) = world.step(&events(EXPANDED), cursor.clone());
        assert!(matches!(step, Err(Failure::CursorExpired(_))), "{step:?}");
        world.host.answer(200, page(vec![single("c")], "p")).answer(410, body);
        let paging = world.step(&events(EXPANDED), cursor.clone()).0.unwrap().cursor;
        let (step, _) = world.step(&events(EXPANDED), paging);
        assert!(matches!(step, Err(Failure::CursorExpired(_))), "{step:?}");
    }
    assert_eq!(world.live(EXPANDED), ["a", "b", "c"], "nothing is swept");
}

#[test]
fn only_a_complete_list_sweeps() {
    let mut world = World::new();
    synced(&mut world);
    world.host.answer(200, page(vec![single("a")], "p")).answer(500, "");
    let step = world.step(&events(EXPANDED), None).0.unwrap();
    assert!(world.step(&events(EXPANDED), step.cursor.clone()).0.is_err());
    assert_eq!(world.live(EXPANDED), ["a", "b"]);
    world.host.answer(200, last_page(vec![], "s2"));
    world.run(&events(EXPANDED), step.cursor);
    assert_eq!(world.live(EXPANDED), ["a"]);
    assert!(world.row(EXPANDED, "b").unwrap().contains_key("data"));
}

#[test]
fn a_smaller_page_needs_a_full_listing_and_a_larger_limit_changes_nothing() {
    let mut world = World::new();
    let cursor = synced(&mut world);
    world.host.answer(200, last_page(vec![single("a")], "s2"));
    world.step_at(&events(EXPANDED), cursor, 200).0.unwrap();
    assert_eq!(query(&world, 1, "maxResults").as_deref(), Some("100"));
    assert_eq!(query(&world, 1, "syncToken").as_deref(), Some("s"));

    let cursor = synced(&mut world);
    world.host.answer(200, last_page(vec![single("a")], "s3"));
    world.step_at(&events(EXPANDED), cursor, 50).0.unwrap();
    assert_eq!(query(&world, 3, "maxResults").as_deref(), Some("50"));
    assert_eq!(query(&world, 3, "syncToken"), None);
    assert_eq!(world.live(EXPANDED), ["a"]);
}

#[test]
fn a_cursor_of_the_other_kind_counts_as_none() {
    let mut world = World::new();
    let cursor = synced(&mut world);
    world.host.answer(200, last_page(vec![], "c"));
    world.run(&calendars(), cursor);
    assert_eq!(query(&world, 1, "syncToken"), None);
}
