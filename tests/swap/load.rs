//! Ten swaps while 10,000 events are read and posts of other owners come in.

use std::collections::BTreeMap;

use serde_json::json;
use simulator::model::directory::CalendarSpec;
use simulator::model::generate::Mix;
use simulator::{Fault, Moment, Seen, Then, When};
use tests::{Settings, TestHost, Tree};

use crate::versions::{Versions, activate, agent, install, is_api, is_events, nothing_went_wrong};

const SWAPS: u64 = 10;
/// The owner of the load, and his account.
const BIG: &str = "big";
const BIG_EMAIL: &str = "big@example.com";
const CALENDARS: usize = 8;
const EVENTS_A_CALENDAR: usize = 1250;
const EVENTS_A_PAGE: usize = 250;
/// Pages of events that the load takes.
const PAGES: usize = CALENDARS * EVENTS_A_CALENDAR / EVENTS_A_PAGE;

#[tokio::test(flavor = "multi_thread")]
async fn ten_swaps_during_a_load_with_posts() {
    let versions = Versions::make();
    let host = Settings::default().env("ROWGATE_LOG_LEVEL", "info,rowgate=debug").start().await;
    host.simulator.set_limits(false);
    let tree = host.integrations().await;
    install(&host, &versions.second.file).await;
    prepare(&host, &tree).await;
    host.simulator.clear_requests();

    hold_pages_of_the_load(&host);
    host.link(&tree, BIG, BIG_EMAIL).await;
    for swap in 0..SWAPS {
        let to = if swap % 2 == 0 { &versions.second } else { &versions.first };
        let held = host.simulator.await_held(1).await;
        // Two posts come in while the command works.
        let [refreshed, read_again, linked] = owners_of(swap);
        let account_of = email(&refreshed);
        tokio::join!(
            activate(&host, to),
            host.refresh(&tree, &refreshed, &account_of),
            host.resync(&tree, &read_again)
        );
        // One comes after it: its calls are the new version's.
        account(&host, &linked);
        host.link(&tree, &linked, &email(&linked)).await;
        let by = Some(email(&linked));
        let seen = host.simulator.await_request(|seen| is_api(seen) && seen.user == by).await;
        assert_eq!(agent(&seen), Some(to.agent), "swap {swap}");
        assert_eq!(host.simulator.release_held(Some(held[0].id)), 1, "swap {swap}: in flight");
    }
    host.settle().await;

    let differences = host.differences(&tree).await;
    assert!(differences.is_empty(), "a post is lost:\n{}", differences.join("\n"));
    nothing_went_wrong(&host).await;
    nothing_was_read_twice(&host.simulator.requests());
    both_versions_ran(&host, &versions);
}

/// The owners whose posts come in at a swap: one is refreshed, one is read again, one is linked.
fn owners_of(swap: u64) -> [String; 3] {
    ["refreshed", "read-again", "linked"].map(|what| format!("{what}-{swap}"))
}

fn email(owner: &str) -> String {
    format!("{owner}@example.com")
}

/// An account with an event.
fn account(host: &TestHost, owner: &str) {
    host.simulator.model().create_user(&email(owner));
    add_event(host, owner, "one");
}

fn add_event(host: &TestHost, owner: &str, id: &str) {
    let event = json!({
        "id": id, "summary": id,
        "start": { "dateTime": "2026-11-03T10:00:00Z" },
        "end": { "dateTime": "2026-11-03T11:00:00Z" },
    });
    host.simulator.model().add_event(&email(owner), &event).unwrap();
}

/// The account of the load, and owners that are linked. Each of those has an event that the host
/// doesn't know of, so that each post of the swaps has an effect of its own.
async fn prepare(host: &TestHost, tree: &Tree) {
    {
        let mut model = host.simulator.model();
        model.create_user(BIG_EMAIL);
        let mut calendars = vec![BIG_EMAIL.to_owned()];
        for _ in 1..CALENDARS {
            calendars.push(model.add_calendar(BIG_EMAIL, &CalendarSpec::default()).unwrap());
        }
        for calendar in calendars {
            model.generate_events(&calendar, EVENTS_A_CALENDAR, Mix::Singles).unwrap();
        }
    }
    let swaps = (0..SWAPS).map(owners_of);
    let linked = swaps.flat_map(|[refreshed, read_again, _]| [refreshed, read_again]);
    let linked: Vec<String> = linked.collect();
    for owner in &linked {
        account(host, owner);
        host.link(tree, owner, &email(owner)).await;
    }
    host.settle().await;
    host.assert_matches_model(tree).await;
    for owner in &linked {
        add_event(host, owner, "two");
    }
}

/// Makes the load's pages short, and lets every fourth wait with its answer ready, so that a call is
/// in flight at every swap and the load can't end before the last.
fn hold_pages_of_the_load(host: &TestHost) {
    let pages = || When { user: Some(BIG_EMAIL.to_owned()), ..When::path("*/events") };
    host.simulator.add_fault(Fault::when(pages(), Then::ShortPage(EVENTS_A_PAGE)));
    for swap in 0..SWAPS {
        let page = When { nth: Some(3 + 4 * swap), ..pages().times(1) };
        host.simulator.add_fault(Fault::when(page, Then::Hold(Moment::After)));
    }
}

/// Requests are those that the posts explain: the load's pages once each, and one listing of
/// calendars and of events for each other post, in full where it asked for that.
fn nothing_was_read_twice(requests: &[Seen]) {
    let mut by_user: BTreeMap<&str, Vec<&Seen>> = BTreeMap::new();
    for seen in requests.iter().filter(|seen| is_api(seen)) {
        by_user.entry(seen.user.as_deref().unwrap()).or_default().push(seen);
    }
    let mut load = by_user.remove(BIG_EMAIL).unwrap();
    load.sort_by_key(|seen| (&seen.path, &seen.query));
    load.dedup_by_key(|seen| (&seen.path, &seen.query));
    let load = load.len();
    let asked = requests.iter().filter(|seen| is_api(seen));
    let asked = asked.filter(|seen| seen.user.as_deref() == Some(BIG_EMAIL)).count();
    assert_eq!((load, asked), (1 + PAGES, 1 + PAGES), "requests of the load, different ones first");
    assert_eq!(by_user.len() as u64, 3 * SWAPS);
    for (user, seen) in by_user {
        let full = !user.starts_with("refreshed");
        let mut listings: Vec<_> =
            seen.iter().map(|seen| (is_events(seen), is_full(seen))).collect();
        listings.sort_unstable();
        assert_eq!(listings, [(false, full), (true, full)], "{user}");
    }
}

fn is_full(seen: &Seen) -> bool {
    !seen.query.contains("syncToken=")
}

/// By the vendor's account and by the host's.
fn both_versions_ran(host: &TestHost, versions: &Versions) {
    let requests = host.simulator.requests();
    let of_load = || requests.iter().filter(|s| s.user.as_deref() == Some(BIG_EMAIL));
    let log = host.log();
    for version in [&versions.first, &versions.second] {
        let calls = of_load().filter(|seen| agent(seen) == Some(version.agent)).count();
        let digest = format!("component=\"{}\"", version.digest);
        let owner = format!("owner=\"{BIG}\"");
        let lines = log.lines().filter(|line| line.contains("page committed"));
        let commits = lines.filter(|l| l.contains(&digest) && l.contains(&owner)).count();
        println!("{}: {calls} requests of the load, {commits} commits", version.agent);
        assert!(calls > 0 && commits > 0, "{} never worked on the load", version.agent);
    }
}
