//! Calls that are in flight at a swap.

use serde_json::{Value, json};
use simulator::model::directory::CalendarSpec;
use simulator::{Fault, Moment, Pages, Seen, Then, When};
use tests::{Settings, TestHost, Tree};

use crate::versions::{
    Version, Versions, activate, agent, install, is_events, nothing_went_wrong, roll_back,
};

const OWNER: &str = "ana";
const EMAIL: &str = "ana@example.com";
const OTHER: &str = "team";
const PAGES: usize = 3;
const EVENTS_A_PAGE: usize = 10;

/// A host that knows two versions and runs the first, an account with some pages of events.
async fn case(versions: &Versions, other: &Version) -> (TestHost, Tree) {
    let host = Settings::default().env("ROWGATE_LOG_LEVEL", "info,rowgate=debug").start().await;
    let tree = host.integrations().await;
    assert_ne!(versions.first.digest, other.digest);
    install(&host, &other.file).await;
    host.simulator.model().create_user(EMAIL);
    add_events(&host, EMAIL);
    host.simulator.add_fault(Fault::when(When::path("*/events"), Then::ShortPage(EVENTS_A_PAGE)));
    (host, tree)
}

fn add_events(host: &TestHost, calendar: &str) {
    for n in 0..PAGES * EVENTS_A_PAGE {
        let event = json!({
            "summary": format!("event {n}"),
            "start": { "date": "2026-11-03" }, "end": { "date": "2026-11-04" },
        });
        host.simulator.model().add_event(calendar, &event).unwrap();
    }
}

fn hold(host: &TestHost, when: When) -> u64 {
    host.simulator.add_fault(Fault::when(when.times(1), Then::Hold(Moment::After)))
}

#[tokio::test]
async fn a_call_ends_on_its_version_and_the_next_is_the_new_ones() {
    let versions = Versions::make();
    let (first, second) = (&versions.first, &versions.second);
    let (host, tree) = case(&versions, second).await;
    let held = hold(&host, When::path("*/events"));
    host.link(&tree, OWNER, EMAIL).await;
    host.simulator.await_held(1).await;
    activate(&host, second).await;
    ends_as_begun(&host, &tree, held, first, second).await;
    // The last call asks for no page: it looks at the role on the calendar.
    let (old, new) = (first.agent, second.agent);
    let linked = [(old, 10), (new, 10), (new, 10), (new, 0)];
    assert_eq!(commits(&host, &versions), linked);

    host.simulator.clear_requests();
    let held = hold(&host, When::path("*/events"));
    host.resync(&tree, OWNER).await;
    host.simulator.await_held(1).await;
    roll_back(&host).await;
    ends_as_begun(&host, &tree, held, second, first).await;
    let read_again = [(new, 0), (old, 0), (old, 0), (old, 0)];
    assert_eq!(commits(&host, &versions), [linked, read_again].concat());
    nothing_went_wrong(&host).await;
}

/// Lets the page in flight go; every page was asked for once, the first by the old version.
async fn ends_as_begun(host: &TestHost, tree: &Tree, held: u64, old: &Version, new: &Version) {
    host.simulator.clear_faults(Some(held));
    host.settle().await;
    host.assert_matches_model(tree).await;
    let requests = host.simulator.requests();
    let pages: Vec<&Seen> = requests.iter().filter(|seen| is_events(seen)).collect();
    let agents: Vec<_> = pages.iter().filter_map(|seen| agent(seen)).collect();
    assert_eq!(agents, [old.agent, new.agent, new.agent]);
    let continued = pages.iter().map(|seen| seen.query.contains("pageToken="));
    assert_eq!(continued.collect::<Vec<_>>(), [false, true, true]);
}

/// The commits of the events stream so far: who made each, and how many rows it changed.
fn commits<'a>(host: &TestHost, versions: &'a Versions) -> Vec<(&'a str, u64)> {
    let log = host.log();
    let of_events = |line: &&str| {
        line.contains("page committed") && line.contains(r#"service="google_calendar_event_v1""#)
    };
    let field = |line: &str, name: &str| {
        let (_, after) = line.split_once(&format!(" {name}=")).unwrap();
        after.split(' ').next().unwrap().trim_matches('"').to_owned()
    };
    let commits = log.lines().filter(of_events).map(|line| {
        let component = field(line, "component");
        let mut made_by = [&versions.first, &versions.second].into_iter();
        let made_by = made_by.find(|version| version.digest == component).unwrap();
        (made_by.agent, field(line, "rows_changed").parse().unwrap())
    });
    commits.collect()
}

/// A version that maps rows otherwise reads one calendar in full while another's listing stands still
/// between two pages; then it is rolled back.
#[tokio::test]
async fn a_listing_outlives_another_mapping_and_the_way_back() {
    let versions = Versions::make();
    let (host, tree) = case(&versions, &versions.remapping).await;
    let team = CalendarSpec { id: Some(OTHER.to_owned()), ..CalendarSpec::default() };
    host.simulator.model().add_calendar(EMAIL, &team).unwrap();
    add_events(&host, OTHER);
    let second_page = |calendar: &str| {
        let path = format!("/calendar/v3/calendars/{}/events", calendar.replace('@', "%40"));
        When { page: Some(Pages::Later), ..When::path(&path) }
    };
    let reads_on = hold(&host, second_page(EMAIL));
    let stands_still = hold(&host, second_page(OTHER));
    host.link(&tree, OWNER, EMAIL).await;
    host.simulator.await_held(2).await;

    activate(&host, &versions.remapping).await;
    host.simulator.clear_faults(Some(reads_on));
    host.until("the new version has read a calendar", async || {
        let streams = host.streams().await;
        streams.iter().any(|stream| stream["key"] == EMAIL && stream["state"] == "current")
    })
    .await;
    roll_back(&host).await;
    host.simulator.clear_faults(Some(stands_still));
    host.settle().await;
    host.assert_matches_model(&tree).await;
    let bad = host.streams().await.into_iter().filter(|stream| stream["last_error"] != Value::Null);
    assert_eq!(bad.collect::<Vec<_>>(), Vec::<Value>::new());
}
