//! Attacks by what a call returns.

use serde_json::Value;
use tests::Settings;

use crate::arena::{Arena, HostileTree};

const DAY_US: i64 = 86_400 * 1_000_000;

#[tokio::test]
async fn what_a_call_returns_is_limited() {
    let arena = Arena::start().await;
    arena
        .refused(&[
            ("huge-cursor", "too many bytes at once: 33554432 are allowed"),
            ("long-cursor", "a cursor of 2097152 bytes, 1048576 are allowed"),
            ("huge-failure", "too many bytes at once: 33554432 are allowed"),
            ("long-failure", "xxx..."),
            ("expired-forever", "once more"),
            ("more-forever", "another call with the same cursor"),
            ("retry-forever", "later"),
            ("retry-forever-owner", "later"),
        ])
        .await;
    let owner = arena.owner("long-failure").await;
    let error = owner["last_error"].as_str().unwrap();
    assert!(error.len() < 5000, "{} bytes", error.len());
    // A pause ends within a day, and a rest within a year.
    arena.begin_beside_others("rest-forever").await;
    for (owner, days) in [("retry-forever", 2), ("retry-forever-owner", 2), ("rest-forever", 367)] {
        let due = &arena.owner(owner).await["stream_list"][0]["next_due"];
        assert!(tests::us_until(text(due)) < days * DAY_US, "{owner}: {due}");
    }
}

/// Streams that never come to rest, with a single worker that all owners share.
#[tokio::test]
async fn owners_who_never_end_take_turns_with_others() {
    const ENDLESS: [&str; 3] = ["further-forever", "further-forever/2", "activate-long-ago"];
    let settings = Settings::default().env("ROWGATE_RUN_WORKERS", "1");
    let arena = Arena::start_with(settings.env("ROWGATE_RUN_TURN_MS", "100")).await;
    for owner in ENDLESS {
        arena.link(owner).await;
    }
    arena.link("neighbour").await;
    let event = arena.bystander_catches_up().await;
    let harmed = async || arena.harmed("neighbour", &event).await;
    arena.host.until("others have had their turn", async || harmed().await.is_empty()).await;
    // They go on where they stood.
    let cursors = async || {
        let query = "select cursor from rowgate_cursors where cursor is not null order by owner_id";
        let rows: Vec<(Vec<u8>,)> = arena.host.beside_tables(query).await;
        let number = |(cursor,): &(Vec<u8>,)| String::from_utf8_lossy(cursor).parse().ok();
        rows.iter().filter_map(number).collect::<Vec<i64>>()
    };
    arena.host.until("both have begun", async || cursors().await.len() == 2).await;
    let before = cursors().await;
    let further = async || cursors().await.iter().zip(&before).all(|(now, then)| now > then);
    arena.host.until("both are further", further).await;
    for owner in ENDLESS {
        assert_eq!(arena.owner(owner).await["last_error"], Value::Null, "{owner}");
        arena.unlink(owner).await;
    }
    arena.host.idle().await;
    for owner in ENDLESS {
        assert_eq!(arena.owner(owner).await["state"], "unlinked", "{owner}");
    }
}

/// A stream that asks for no rest gets some.
#[tokio::test]
async fn an_owner_who_never_rests_rests() {
    let arena = Arena::start().await;
    arena.link("rest-never").await;
    let rested = async || {
        let stream = &arena.owner("rest-never").await["stream_list"][0];
        let (ended, due) = (text(&stream["last_success"]), text(&stream["next_due"]));
        !due.is_empty()
            && !ended.is_empty()
            && tests::us_until(due) - tests::us_until(ended) > 990_000
    };
    // While it runs there is no time at which it is due.
    arena.host.until("a second of rest", rested).await;
}

#[tokio::test]
async fn an_owner_is_stopped_alone() {
    let arena = Arena::start().await;
    for (attack, state) in [("reauthorise", "grant dead"), ("unreadable", "current")] {
        let (neighbour, event) = arena.begin_beside_others(attack).await;
        assert_eq!(arena.harmed(&neighbour, &event).await, [] as [String; 0]);
        let owner = arena.owner(attack).await;
        assert_eq!(owner["state"], state, "{owner}");
        let reason = text(&owner["stream_list"][0]["reason"]);
        assert!(!reason.is_empty() && reason.len() < 5000, "{reason:.300}");
        assert!(arena.items(attack).await.is_empty());
    }
}

/// By contract a plugin may say that its whole integration is set up wrong: others probe.
#[tokio::test]
async fn an_integration_is_stopped_alone_and_probed() {
    let settings = Settings::default().env("ROWGATE_RUN_BACK_OFF_MAX_MS", "500");
    let arena = Arena::start_with(settings).await;
    let others = HostileTree::create(&arena.host, &arena.vendor, &arena.elsewhere).await;
    arena.link("misconfigured").await;
    let stopped = async || {
        let (state, reason) = arena.host.integration_state(&arena.hostile.account).await;
        state == "misconfigured" && text(&reason).contains("says a guest")
    };
    arena.host.until("the integration is stopped", stopped).await;
    others.link(&arena.host, "other").await;
    let event = arena.bystander_catches_up().await;
    let harmed = async || arena.harmed_of(&others, "other", &event).await;
    arena.host.until("others go on", async || harmed().await.is_empty()).await;
    arena.link("neighbour").await;
    let probed = async || arena.owner("neighbour").await["state"] == "current";
    arena.host.until("a neighbour has probed", probed).await;
}

/// Also that it has to wait, for a day at most.
#[tokio::test]
async fn an_integration_pauses_alone() {
    let arena = Arena::start().await;
    let others = HostileTree::create(&arena.host, &arena.vendor, &arena.elsewhere).await;
    arena.link("retry-forever-all").await;
    arena.host.idle().await;
    others.link(&arena.host, "other").await;
    arena.link("neighbour").await;
    let event = arena.bystander_catches_up().await;
    arena.host.idle().await;
    assert_eq!(arena.harmed_of(&others, "other", &event).await, [] as [String; 0]);
    assert_eq!(arena.owner("neighbour").await["state"], "syncing");
    assert_eq!(arena.leaks().await, [] as [String; 0]);
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
