//! What time does to channels: renewal, expiry, rechecks. The host runs under a simulated clock.

use serde_json::{Value, json};
use simulator::model::directory::CalendarSpec;
use simulator::{Fault, Then, When};

use crate::setup::{ANA, Case, DAY_S, LIST, OWNER, stops};

const HOUR_S: i64 = 3_600;

#[tokio::test(flavor = "multi_thread")]
async fn channels_are_renewed_with_overlap_a_day_ahead() {
    let case = Case::timed().await.linked().await;
    let before = [case.channel(LIST).id, case.channel(ANA).id];
    case.advance(5 * DAY_S);
    case.add(ANA, "early");
    case.arrives(ANA, "early").await;
    case.rest().await;
    assert!(case.asked("/watch").is_empty(), "renewed too early");
    case.advance(DAY_S + 600);
    for old in &before {
        case.simulator
            .await_request(|seen| seen.path.ends_with("/stop") && seen.body.contains(old.as_str()))
            .await;
    }
    case.watched(&[LIST, ANA]).await;
    let after = [case.channel(LIST).id, case.channel(ANA).id];
    assert!(after.iter().all(|id| !before.contains(id)));
    // Of each resource the new one is there before the old one is stopped.
    for (old, path) in before.iter().zip(["calendarList/watch", "events/watch"]) {
        let requests = case.simulator.requests();
        let at = |what: &dyn Fn(&simulator::Seen) -> bool| requests.iter().position(what).unwrap();
        let asked = at(&|seen| seen.path.ends_with(path));
        let stopped = at(&|seen| seen.path.ends_with("/stop") && seen.body.contains(old.as_str()));
        assert!(asked < stopped, "{path}");
    }
    for name in [LIST, ANA] {
        assert_eq!(case.shown(name).await.0, json!(case.channel(name).id));
    }
    case.add(ANA, "after");
    case.arrives(ANA, "after").await;
    // A late notification from an old channel is known, and changes nothing.
    let tombstones = "select count(*) from channels where state = 'gone'";
    assert_eq!(case.number(tombstones).await, 2);
    case.advance(2 * DAY_S);
    case.until("old channels are forgotten", async || case.number(tombstones).await == 0).await;
}

/// The vendor goes on telling through a channel that it has stopped.
#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_channel_that_still_tells_is_stopped_again() {
    let case = Case::timed().await.linked().await;
    case.rules(|rules| rules.late_s = DAY_S);
    let old = case.channel(ANA).id;
    case.advance(6 * DAY_S + 600);
    case.until("it is replaced", async || case.watches() == [LIST, ANA] && is_gone(&case, &old))
        .await;
    case.watched(&[LIST, ANA]).await;
    case.rest().await;
    let new = case.channel(ANA).id;
    assert_ne!(new, old);
    case.simulator.clear_requests();
    case.simulator.clear_pushes();

    case.add(ANA, "late");
    let pushes = case.simulator.await_pushes(2).await;
    for id in [&old, &new] {
        let answers = pushes.iter().filter(|push| push.channel == *id).map(|push| &push.answers);
        assert_eq!(answers.collect::<Vec<_>>(), [&[Some(202)]], "{id}: {pushes:?}");
    }
    let again = || {
        let stops = case.asked("/stop").into_iter();
        stops.map(|seen| (seen.body.contains(&old), seen.status)).collect::<Vec<_>>()
    };
    // The vendor has stopped it before, and says so.
    case.until("it is stopped again", async || again() == [(true, Some(404))]).await;
    case.rest().await;
    assert_eq!(again().len(), 1, "once for each time that it tells");
    case.watched(&[LIST, ANA]).await;
    assert_eq!(case.channel(ANA).id, new, "the new one stays");
    case.arrives(ANA, "late").await;
}

/// The vendor ends channels before their time, and tells nobody.
#[tokio::test(flavor = "multi_thread")]
async fn channels_that_end_without_notice_are_made_good_for() {
    let case = Case::timed().await.linked().await;
    let old = [case.channel(LIST).id, case.channel(ANA).id];
    assert_eq!(case.simulator.model().expire_channels(None, None), 2);
    case.add(ANA, "untold");
    assert!(case.simulator.pushes().is_empty(), "nobody is told");
    // Streams with a channel are polled every six hours, give or take a quarter.
    case.advance(8 * HOUR_S);
    case.arrives(ANA, "untold").await;
    case.rest().await;
    assert!(case.asked("/watch").is_empty(), "their time isn't over yet");

    case.advance(6 * DAY_S);
    case.watched(&[LIST, ANA]).await;
    let new = [case.channel(LIST).id, case.channel(ANA).id];
    assert!(new.iter().all(|id| !old.contains(id)), "{new:?}");
    case.rest().await;
    case.simulator.clear_pushes();
    case.add(ANA, "told");
    let pushes = case.simulator.await_pushes(1).await;
    assert!(pushes.iter().all(|push| push.channel == new[1]), "{pushes:?}");
    case.arrives(ANA, "told").await;
}

fn is_gone(case: &Case, id: &str) -> bool {
    let model = case.simulator.model();
    model.channels().get(id).is_some_and(|channel| !channel.is_live(model.now_us))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_fails_is_repeated() {
    let case = Case::timed().await.linked().await;
    let when = When { count: Some(3), ..stops() };
    let unavailable = Then::Answer { status: 503, body: String::new() };
    let fault = case.simulator.add_fault(Fault::when(when, unavailable));
    case.advance(6 * DAY_S + 600);
    case.until("the first attempts have failed", async || {
        case.simulator.faults().iter().any(|armed| armed.id == fault && armed.hit >= 2)
    })
    .await;
    assert_eq!(case.watches(), [LIST, LIST, ANA, ANA]);
    case.until("all is stopped", async || {
        case.advance(20);
        case.nothing_is_due().await;
        case.watches() == [LIST, ANA]
    })
    .await;
    case.watched(&[LIST, ANA]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_renewed_in_time_is_seen() {
    let case = Case::timed().await.linked().await;
    let counted = async |state: &str, count: usize| {
        let line = format!("rowgate_channels{{state=\"{state}\"}} {count}");
        case.get("/metrics").await.lines().any(|one| one == line)
    };
    assert!(counted("live", 2).await && counted("expiring", 0).await);
    let unavailable = Then::Answer { status: 503, body: String::new() };
    let fault = case.simulator.add_fault(Fault::when(When::path("*/watch"), unavailable));
    case.advance(6 * DAY_S + 600);
    case.until("renewals are overdue", async || counted("expiring", 2).await).await;
    let status: Value = serde_json::from_str(&case.get("/statusz").await).unwrap();
    assert_eq!(status["load"]["channels"], json!({ "live": 2, "expiring": 2 }), "{status}");
    case.simulator.clear_faults(Some(fault));
    case.until("both are renewed", async || {
        case.advance(600);
        case.nothing_is_due().await;
        counted("expiring", 0).await
    })
    .await;
    assert!(counted("live", 2).await);
    case.watched(&[LIST, ANA]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_calendar_without_push_is_polled_and_asked_again_in_a_week() {
    let case = Case::timed().await;
    let holidays = "holidays@group.v.calendar.google.com";
    let spec = CalendarSpec { id: Some(holidays.to_owned()), ..CalendarSpec::default() };
    case.simulator.model().add_calendar(ANA, &spec).unwrap();
    let case = case.linked().await;
    let shown = case.shown(holidays).await;
    assert_eq!(shown.0, json!("ech-push-not-supported-for-requested-resource"));
    assert_eq!((shown.1, shown.2), (Value::Null, json!("9999-12-31T00:00:00.000000Z")));
    assert!(case.streams().await.iter().any(|stream| stream["push"] == "unsupported"));
    let asked = || case.asked("/events/watch").len();
    case.host.refresh(&case.tree, OWNER, ANA).await;
    case.rest().await;
    assert_eq!(asked(), 0, "not asked again at a link");
    case.simulator.clear_requests();
    case.advance(2 * DAY_S);
    case.until("polled daily", async || {
        let polled = case.asked("/events").into_iter();
        polled.filter(|seen| seen.path.contains("holidays")).count() >= 2
    })
    .await;
    assert_eq!(asked(), 0);
    case.advance(8 * DAY_S);
    let holidays =
        |seen: &simulator::Seen| seen.path.ends_with("/watch") && seen.path.contains("holidays");
    case.simulator.await_request(holidays).await;
}

/// A poll comes a day after the one before, give or take a quarter.
#[tokio::test(flavor = "multi_thread")]
async fn a_calendar_without_push_is_asked_once_a_day() {
    let case = Case::timed().await;
    let holidays = "holidays@group.v.calendar.google.com";
    let spec = CalendarSpec { id: Some(holidays.to_owned()), ..CalendarSpec::default() };
    case.simulator.model().add_calendar(ANA, &spec).unwrap();
    let case = case.linked().await;
    // The first poll was planned before the vendor said that it doesn't push.
    case.advance(1_200);
    case.nothing_is_due().await;
    // Of the expanded events, and of those at the source.
    let polled = || {
        let events = case.asked("/events").into_iter();
        let expanded = events
            // Not the day's look for series that end far away, which asks for a few fields.
            .filter(|seen| seen.path.contains("holidays") && !seen.query.contains("fields="))
            .map(|seen| seen.query.contains("singleEvents=true"));
        let mut expanded: Vec<bool> = expanded.collect();
        expanded.sort_unstable();
        expanded
    };
    assert_eq!(polled(), [false, true]);
    case.simulator.clear_requests();
    let (no, all): (&[bool], &[bool]) = (&[], &[false, true]);
    for (hours, expected) in [(6, no), (6, no), (5, no), (14, all), (17, all)] {
        case.advance(hours * HOUR_S);
        case.nothing_is_due().await;
        assert_eq!(polled(), expected, "{hours} hours later");
    }
    // What comes by push is polled more often meanwhile.
    let pushed = case.asked("/events").into_iter().filter(|seen| seen.path.contains("/ana"));
    assert!(pushed.count() > 2);

    case.simulator.clear_requests();
    case.host.link(&case.tree, OWNER, ANA).await;
    case.rest().await;
    let mut polled = polled();
    polled.dedup();
    assert_eq!(polled, [false, true], "a link asks for all");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_calendar_is_not_watched() {
    let case = Case::timed().await;
    let calendar = case.simulator.model().add_calendar(ANA, &CalendarSpec::default()).unwrap();
    case.host.link(&case.tree, OWNER, ANA).await;
    case.rest().await;
    case.watched(&[LIST, ANA, &calendar]).await;
    case.simulator.model().delete_calendar(&calendar).unwrap();
    case.watched(&[LIST, ANA]).await;
    case.rest().await;
    let nothing = (Value::Null, Value::Null, Value::Null);
    assert_eq!(case.shown(&calendar).await, nothing);
    case.simulator.clear_requests();
    case.advance(6 * DAY_S + 600);
    case.until("the others are renewed", async || case.asked("/watch").len() >= 2).await;
    case.watched(&[LIST, ANA]).await;
    let name = calendar.split('@').next().unwrap();
    assert!(case.asked("/watch").iter().all(|seen| !seen.path.contains(name)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_grant_renews_nothing_and_a_new_one_replaces_what_expired() {
    let case = Case::timed().await.linked().await;
    let before = [case.channel(LIST).id, case.channel(ANA).id];
    // While they live, another token leaves them alone, and catches up.
    case.rules(|rules| rules.drop = 1.0);
    case.add(ANA, "unheard");
    case.host.refresh(&case.tree, OWNER, ANA).await;
    case.arrives(ANA, "unheard").await;
    case.rest().await;
    assert_eq!([case.channel(LIST).id, case.channel(ANA).id], before);
    assert!(case.asked("/watch").is_empty());
    case.rules(|rules| rules.drop = 0.0);
    case.host.post_with(&case.tree, "REFRESHED", OWNER, ANA, "1//dead").await;
    case.rest().await;
    assert_eq!(case.owner(OWNER).await["state"], "grant dead");
    case.advance(8 * DAY_S);
    case.until("the channels have expired", async || {
        case.number("select count(*) from channels").await == 0
            && case.shown(ANA).await.0 == Value::Null
    })
    .await;
    assert!(case.asked("/watch").is_empty(), "nothing is renewed");
    case.host.refresh(&case.tree, OWNER, ANA).await;
    case.watched(&[LIST, ANA]).await;
    case.add(ANA, "heard");
    case.arrives(ANA, "heard").await;
}
