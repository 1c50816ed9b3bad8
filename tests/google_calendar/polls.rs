//! What happens without any post.

use std::sync::Arc;
use std::time::Duration;

use rowgate::clock::Clock;
use rowgate_manifest::{Poll, StreamRef};
use simulator::{Options, Simulator};
use tests::Settings;

use crate::setup::{ANA, Case, OWNER, live, single};

/// The plugin with a poll interval of a second.
fn quick_plugin(directory: &std::path::Path) {
    let bytes = std::fs::read(tests::plugin_component("google_calendar")).unwrap();
    let mut manifest = rowgate_manifest::read(&bytes).unwrap();
    manifest.plugin.version = "0.1.1".to_owned();
    let own = manifest.services.values_mut().flat_map(|service| service.streams.values_mut());
    let own = own.filter_map(|stream| match stream {
        StreamRef::Inline(kind) => Some(&mut **kind),
        StreamRef::Named(_) => None,
    });
    let mut kinds = 0;
    for kind in own.chain(manifest.stream_kinds.values_mut()) {
        kind.poll_s = Poll { pushed: 1, unpushed: 1, unsupported: 1 };
        kinds += 1;
    }
    assert_eq!(kinds, 2, "calendars and events");
    let bytes = rowgate_manifest::embed(&bytes, &manifest).unwrap();
    std::fs::write(directory.join("quick.wasm"), bytes).unwrap();
}

#[tokio::test]
async fn changes_come_by_polling() {
    let mut case = Case::linked().await;
    let directory = tempfile::tempdir().unwrap();
    quick_plugin(directory.path());
    case.host.set_plugins(directory.path());
    case.host.restart().await;
    // The last post: what is due from now on is due by itself.
    case.catch_up().await;
    case.add(single("two", 4));
    case.until("it is found", async || live(&case.expanded().await) == ["one", "two"]).await;
    let other = case.simulator.model().add_calendar(ANA, &Default::default()).unwrap();
    case.simulator.model().add_event(&other, &single("three", 5)).unwrap();
    let found = async || live(&case.statuses(case.tree.events(), &other).await) == ["three"];
    case.until("a calendar is found, and what is in it", found).await;
    case.until("the sources are there too", async || case.differences(&case.tree).await.is_empty())
        .await;
    assert_eq!(case.owner(OWNER).await["state"], "current");
}

/// A delta never tells of a role that was lost: once a day the list is asked for whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_day_s_list_of_calendars_is_a_full_one() {
    const HALF_A_DAY_S: i64 = 43_200;
    let simulator = Arc::new(Simulator::start(Options::default()).unwrap());
    let clock = Clock::simulated(simulator.model().now_us);
    let settings = Settings::default().simulator(simulator).clock(clock.clone());
    let case = Case::unlinked_with(settings).await;
    case.link(&case.tree, OWNER, ANA).await;
    case.settle().await;
    for expected in ["calendars delta", "calendars full"] {
        case.simulator.clear_requests();
        case.simulator.advance(HALF_A_DAY_S);
        clock.advance(Duration::from_secs(HALF_A_DAY_S.unsigned_abs()));
        case.catch_up().await;
        let lists: Vec<String> =
            case.listings().into_iter().filter(|name| name.starts_with("calendars")).collect();
        // The poll of the same moment may come first; what it does is the same.
        assert_eq!(lists.last().map(String::as_str), Some(expected), "{lists:?}");
    }
}
