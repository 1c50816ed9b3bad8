//! Tokens, and the shape of requests.

use rowgate_plugin::testing::HttpError;
use rowgate_plugin::{Failure, Progress, RetryScope, StreamId};
use serde_json::json;

use super::{API, CAL, EXPANDED, SOURCE, TOKEN, World, calendars, error, events, last_page};

fn expired(world: &World) -> &World {
    rowgate_plugin::secrets::forget("access_token");
    world.host.take();
    world
}

#[test]
fn an_absent_token_is_fetched_without_being_seen() {
    let mut world = World::new();
    let scope = "https://www.googleapis.com/auth/calendar.readonly";
    let tokens = json!({"access_token": "ya29.secret", "expires_in": 3599, "scope": scope});
    expired(&world).host.answer(200, tokens).answer(200, last_page(vec![], "s"));
    world.run(&events(EXPANDED), None);
    let requests = world.host.requests();
    let token = &requests[0];
    assert_eq!((token.method.as_str(), token.url.as_str()), ("POST", TOKEN));
    let form = "grant_type=refresh_token&refresh_token=<refresh_token>\
                &client_id=<client_id>&client_secret=<client_secret>";
    assert_eq!(token.body, form);
    assert_eq!(requests[1].header("authorization"), Some("Bearer <access_token>"));
}

#[test]
fn a_refused_token_is_replaced_once() {
    let mut world = World::new();
    let refused = error(401, "authError");
    world.host.answer(401, &refused).answer(200, json!({"access_token": "new"}));
    world.host.answer(200, last_page(vec![], "s"));
    let (step, did) = world.step(&events(EXPANDED), None);
    assert_eq!(step.unwrap().progress, Progress::Done(None));
    assert_eq!(did.forgotten, ["access_token"]);

    world.host.answer(401, &refused).answer(200, json!({"access_token": "new"}));
    world.host.answer(401, &refused);
    let (step, did) = world.step(&events(EXPANDED), None);
    assert!(matches!(step, Err(Failure::Reauthorise(_))), "{step:?}");
    assert_eq!(did.forgotten, ["access_token", "access_token"]);
}

#[test]
fn a_fault_of_ours_costs_no_token() {
    let mut world = World::new();
    world.host.answer(401, error(401, "required"));
    let (step, did) = world.step(&events(EXPANDED), None);
    assert!(matches!(step, Err(Failure::Bug(_))), "{step:?}");
    assert_eq!(did.forgotten, Vec::<String>::new());
}

#[test]
fn an_answer_without_a_token_is_tried_again() {
    let mut world = World::new();
    expired(&world).host.answer(200, "{}");
    let (step, _) = world.step(&events(EXPANDED), None);
    assert!(
        matches!(&step, Err(Failure::Retry(retry)) if retry.scope == RetryScope::Owner),
        "{step:?}"
    );
}

#[test]
fn without_a_refresh_token_nothing_is_sent() {
    let mut world = World::new();
    rowgate_plugin::secrets::forget("refresh_token");
    expired(&world);
    let (step, _) = world.step(&calendars(), None);
    assert!(matches!(step, Err(Failure::Reauthorise(_))), "{step:?}");
    assert_eq!(world.host.requests(), []);
}

#[test]
fn a_dead_grant_is_told() {
    let mut world = World::new();
    expired(&world).host.answer(400, json!({"error": "invalid_grant"}));
    let (step, _) = world.step(&calendars(), None);
    assert!(matches!(step, Err(Failure::Reauthorise(_))), "{step:?}");
}

#[test]
fn transport_errors_are_the_sdks() {
    let mut world = World::new();
    world.host.fail(HttpError::Timeout).fail(HttpError::TooLarge(9));
    let slow = world.step(&events(EXPANDED), None).0;
    assert!(matches!(slow, Err(Failure::TooSlow(_))), "{slow:?}");
    let large = world.step(&events(EXPANDED), None).0;
    assert!(matches!(large, Err(Failure::TooLarge(_))), "{large:?}");
}

#[test]
fn a_slow_token_endpoint_is_no_reason_for_a_smaller_page() {
    let mut world = World::new();
    expired(&world).host.fail(HttpError::Timeout);
    for stream in [calendars(), events(EXPANDED)] {
        let slow = world.step(&stream, None).0;
        assert!(matches!(slow, Err(Failure::Retry(_))), "{slow:?}");
        world.host.fail(HttpError::Timeout);
    }
}

#[test]
fn parameters_of_the_lists() {
    let mut world = World::new();
    for stream in [calendars(), events(EXPANDED), events(SOURCE)] {
        world.host.answer(200, last_page(vec![], "s"));
        world.run(&stream, None);
    }
    let requests = world.host.requests();
    let query = |at: usize| {
        let pairs = requests[at].query.iter();
        pairs.map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join("&")
    };
    assert_eq!(requests[0].url, format!("{API}/users/me/calendarList"));
    assert_eq!(query(0), "prettyPrint=false&showDeleted=true&showHidden=true&maxResults=100");
    assert_eq!(requests[1].url, format!("{API}/calendars/{}/events", CAL.replace('@', "%40")));
    let common = "prettyPrint=false&showDeleted=true&showHiddenInvitations=true";
    assert_eq!(query(1), format!("{common}&singleEvents=true&maxResults=100"));
    assert_eq!(query(2), format!("{common}&maxResults=100"));
    assert!(requests.iter().all(|request| request.method == "GET"));
    assert!(requests.iter().all(|request| request.header("user-agent") == Some("rowgate (gzip)")));
}

#[test]
fn ids_with_special_characters() {
    let mut world = World::new();
    world.host.answer(200, last_page(vec![], "s"));
    let key = "en.usa#holiday@group.v.calendar.google.com";
    world.run(&StreamId::new(EXPANDED, "events", key), None);
    let encoded = "en.usa%23holiday%40group.v.calendar.google.com";
    assert_eq!(world.host.requests()[0].url, format!("{API}/calendars/{encoded}/events"));
}
