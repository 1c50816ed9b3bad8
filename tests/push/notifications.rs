//! Changes that the vendor tells of, and posts that only look like it.

use serde_json::{Value, json};
use simulator::model::channel::Resource;
use simulator::model::push::SyncTime;
use simulator::{Fault, Moment, Outcome, Then, When};

use crate::setup::{ANA, Case, LIST, OWNER};

#[tokio::test]
async fn a_change_becomes_a_row_without_any_poll() {
    let case = Case::unlinked().await.linked().await;
    case.add(ANA, "pushed");
    let pushes = case.simulator.await_pushes(1).await;
    assert_eq!((pushes[0].outcome, &pushes[0].answers[..]), (Outcome::Delivered, &[Some(202)][..]));
    case.arrives(ANA, "pushed").await;
    case.host.assert_matches_model(&case.tree).await;
    // One channel a calendar, though two streams need it; polled seldom from now on.
    assert_eq!(case.watches(), [LIST, ANA]);
    case.rest().await;
    let until = case.number("select min(due_at) from streams").await;
    assert!(until > case.simulator.model().now_us + 3 * 3_600_000_000, "{until}");
}

#[tokio::test]
async fn a_calendar_that_comes_is_watched() {
    let case = Case::unlinked().await.linked().await;
    let spec = simulator::model::directory::CalendarSpec::default();
    let calendar = case.simulator.model().add_calendar(ANA, &spec).unwrap();
    case.add(&calendar, "in");
    case.arrives(&calendar, "in").await;
    case.watched(&[LIST, ANA, &calendar]).await;
}

#[tokio::test]
async fn rows_show_their_channels_and_do_not_move() {
    let case = Case::unlinked().await;
    let hold =
        case.simulator.add_fault(Fault::when(When::path("*/watch"), Then::Hold(Moment::Before)));
    case.host.link(&case.tree, OWNER, ANA).await;
    // Streams come first, so the rows are there.
    case.simulator.await_held(1).await;
    let moved = format!(
        "select row_updated_at from {} union all select row_updated_at from {} order by 1",
        case.tree.list.table, case.tree.calendar.table
    );
    let (rows, feed) = (case.sql(&moved).await, case.feed().await);
    case.simulator.clear_faults(Some(hold));
    case.rest().await;
    case.watched(&[LIST, ANA]).await;
    assert_eq!((case.sql(&moved).await, case.feed().await), (rows, feed));
    for name in [LIST, ANA] {
        let channel = case.channel(name);
        let (id, vendor, expires) = case.shown(name).await;
        assert_eq!((id, vendor), (json!(channel.id), json!(channel.resource_id)), "{name}");
        assert!(expires.as_str().is_some_and(|text| text.ends_with('Z')), "{expires}");
    }
    let streams = case.streams().await;
    let pushed =
        |stream: &Value| stream["push"].as_str().is_some_and(|p| p.starts_with("until 20"));
    assert!(streams.iter().all(pushed), "{streams:?}");
    assert_eq!(case.owner(OWNER).await["channels"], "2 active");
}

#[tokio::test]
async fn a_first_message_before_the_answer_and_an_expiry_as_a_number() {
    let case = Case::unlinked().await;
    case.rules(|rules| {
        rules.sync = SyncTime::Early;
        rules.numeric_expiration = true;
    });
    let case = case.linked().await;
    let counted = "select count(*) from channels where notifications > 0 and vendor_id is not null";
    assert_eq!(case.number(counted).await, 2);
    let ends = case.control::<(i64,)>("select expires_at from channels").await;
    let week_us = 7 * 86_400_000_000;
    let now_us = case.simulator.model().now_us;
    assert!(ends.iter().all(|(at,)| (at - now_us - week_us).abs() <= 1_000), "{ends:?} {now_us}");
    case.add(ANA, "after");
    case.arrives(ANA, "after").await;
}

#[tokio::test]
async fn duplicates_and_late_ones_do_no_harm() {
    let case = Case::unlinked().await.linked().await;
    case.rules(|rules| {
        rules.duplicate = 1.0;
        rules.reorder = 0.5;
    });
    for number in 0..5 {
        case.add(ANA, &format!("twice{number}"));
    }
    let pushes = case.simulator.await_pushes(10).await;
    assert!(pushes.iter().all(|push| push.outcome == Outcome::Delivered), "{pushes:?}");
    case.rest().await;
    case.host.assert_matches_model(&case.tree).await;
    assert_eq!(case.watches(), [LIST, ANA]);
}

#[tokio::test]
async fn only_the_channels_own_token_is_taken() {
    let case = Case::unlinked().await.linked().await;
    let channel = case.channel(ANA);
    let (id, token) = (&channel.id, channel.token.as_deref().unwrap());
    for wrong in [None, Some(""), Some("wrong"), Some(&token[1..])] {
        assert_eq!(case.notify(id, wrong, "any").await, 401, "{wrong:?}");
    }
    assert!(case.asked("/events").is_empty(), "a refused notification makes nothing due");
    assert_eq!(case.notify(id, Some(token), &channel.resource_id).await, 202);
    case.simulator.await_request(|seen| seen.path.ends_with("/events")).await;
}

#[tokio::test]
async fn an_unknown_channel_is_answered_and_stopped_where_that_can_work() {
    let case = Case::unlinked().await.linked().await;
    // Nobody has a channel with that vendor's id: nothing is tried.
    assert_eq!(case.notify("nobodys", Some("t"), "nobodys-id").await, 202);
    case.rest().await;
    assert!(case.asked("/stop").is_empty());
    // An orphan of Ana's account, as a lost database leaves it.
    let body = json!({
        "id": "orphan", "type": "web_hook", "token": "forgotten",
        "address": format!("{}{}", case.base_url(), case.tree.calendar.path),
    });
    let on = Resource::Events(ANA.to_owned());
    case.simulator.model().watch(ANA, on, "calendars/ana/events", "", &body).unwrap();
    assert_eq!(case.watches(), [LIST, ANA, ANA]);
    case.add(ANA, "tells");
    case.until("the orphan is stopped", async || case.watches() == [LIST, ANA]).await;
    case.arrives(ANA, "tells").await;
    let stops = case.asked("/stop").len();
    assert_eq!(stops, 1);
    // Told of again, it is tried again, and not without end.
    for _ in 0..10 {
        assert_eq!(case.notify("orphan", None, &case.channel(ANA).resource_id).await, 202);
        case.rest().await;
    }
    assert_eq!(case.asked("/stop").len(), 5);
}
