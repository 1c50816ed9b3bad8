//! Several hosts keep a vendor's limit together (R16).

use rowgate_manifest::{RateLimit, RateScope};
use simulator::model::generate::Mix;
use simulator::{Fault, Then, When};
use tests::{Settings, TestHost};

use crate::posts::email;
use crate::{ALONE, HOSTS, settings};

/// Of the integration, so low that the hosts reach it at once.
const LIMIT: RateLimit = RateLimit { per: RateScope::Tree, requests: 120, window_s: 10, rate_s: 8 };
/// So many requests of all hosts may be on their way when the vendor's window begins: each owner has one
/// calendar.
const IN_FLIGHT: u64 = HOSTS as u64 * WORKERS;
const WORKERS: u64 = 2;
const OWNERS: usize = 30;
const EVENTS: usize = 10;
const EVENTS_A_PAGE: usize = 2;

/// The plugin with that limit.
fn limited_plugin(directory: &std::path::Path) {
    let bytes = std::fs::read(tests::plugin_component("google_calendar")).expect("it is built");
    let mut manifest = rowgate_manifest::read(&bytes).expect("it has a manifest");
    manifest.plugin.version = "0.1.1".to_owned();
    let limits = manifest.egress.iter_mut().flat_map(|entry| &mut entry.limits);
    let mut of_tree: Vec<_> = limits.filter(|limit| limit.per == RateScope::Tree).collect();
    assert_eq!(of_tree.len(), 1);
    *of_tree[0] = LIMIT;
    let bytes = rowgate_manifest::embed(&bytes, &manifest).expect("a manifest that can be");
    std::fs::write(directory.join("limited.wasm"), bytes).expect("a fresh directory");
}

fn hosts_settings() -> Settings {
    settings()
        .env("ROWGATE_RUN_LEASE_TTL_MS", "10000")
        .env("ROWGATE_RUN_WORKERS", &WORKERS.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vendors_limit_is_kept_by_all_hosts_together() {
    let _alone = ALONE.lock().await;
    let directory = tempfile::tempdir().expect("a temporary directory");
    limited_plugin(directory.path());
    let mut first = hosts_settings().start().await;
    first.set_plugins(directory.path());
    first.restart().await;
    let tree = first.integrations().await;
    let simulator = std::sync::Arc::clone(&first.simulator);
    // A tenth more than we mean to send: what was let go before may arrive late.
    const { assert!(LIMIT.requests + IN_FLIGHT <= LIMIT.requests * 11 / 10) };
    simulator.limit(10_000, usize::try_from(LIMIT.requests * 11 / 10).unwrap_or(0), 10);
    simulator.add_fault(Fault::when(When::path("*/events"), Then::ShortPage(EVENTS_A_PAGE)));
    let owners: Vec<String> = (0..OWNERS).map(|nth| format!("owner{nth}")).collect();
    for owner in &owners {
        let mut model = simulator.model();
        model.create_user(&email(owner));
        let made = model.generate_events(&email(owner), EVENTS, Mix::Singles);
        made.expect("the account is there");
    }
    let mut hosts = vec![first];
    while hosts.len() < HOSTS {
        let next = hosts_settings().start_beside(&hosts[0]).await;
        hosts.push(next);
    }
    for (owner, host) in owners.iter().zip(hosts.iter().cycle()) {
        host.link(&tree, owner, &email(owner)).await;
    }
    hosts[0].settle().await;
    hosts[0].assert_matches_model(&tree).await;

    let requests = simulator.requests();
    let refused = requests.iter().filter(|seen| matches!(seen.status, Some(403 | 429))).count();
    let counted = requests.iter().filter(|seen| seen.path.starts_with("/calendar/")).count();
    println!(
        "{counted} requests, at most {} in {} s where {} are allowed",
        simulator.busiest_window(),
        LIMIT.window_s,
        LIMIT.requests
    );
    assert_eq!(refused, 0, "the vendor has refused");
    assert!(counted as u64 > 11 * LIMIT.requests / 10, "more than one window takes: {counted}");
    for (nth, host) in hosts.iter().enumerate() {
        println!("host {nth}: {}", waits(host).await);
    }
}

/// What the host's metrics say of waits for the integration's limit.
async fn waits(host: &TestHost) -> String {
    let metrics = host.get("/metrics").await;
    let of_tree = |line: &&str| {
        line.starts_with("rowgate_limit_") && line.contains("total{scope=\"integration\"}")
    };
    metrics.lines().filter(of_tree).collect::<Vec<_>>().join(", ")
}
