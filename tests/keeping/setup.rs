//! Short forms of what every case needs.

use std::process::Output;

use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use simulator::model::generate::Mix;
use tests::{Settings, TestHost, Tree, Vendor, VendorAnswer};

/// A host with owners that are linked and up to date, so many events each.
pub(crate) async fn linked(settings: Settings, owners: &[&str], events: usize) -> (TestHost, Tree) {
    let host = settings.start().await;
    host.simulator.set_limits(false);
    let tree = host.integrations().await;
    for owner in owners {
        host.link(&tree, owner, &email(owner)).await;
        let mut model = host.simulator.model();
        model.generate_events(&email(owner), events, Mix::Mixed).unwrap();
    }
    for owner in owners {
        host.resync(&tree, owner).await;
    }
    host.settle().await;
    host.assert_matches_model(&tree).await;
    (host, tree)
}

/// A post of an owner, of any kind.
pub(crate) async fn post(host: &TestHost, tree: &Tree, owner: &str, random: &mut ChaCha8Rng) {
    match ["link", "refresh", "refresh", "resync", "unlink"].choose(random).copied() {
        Some("link") => host.link(tree, owner, &email(owner)).await,
        Some("refresh") => host.refresh(tree, owner, &email(owner)).await,
        Some("unlink") => host.unlink(tree, owner).await,
        _ => host.resync(tree, owner).await,
    }
}

/// Random changes at the vendor.
pub(crate) fn change(host: &TestHost, count: usize, random: &mut ChaCha8Rng) {
    for _ in 0..count {
        simulator::model::random_change(&mut host.simulator.model(), random);
    }
}

pub(crate) fn email(owner: &str) -> String {
    format!("{owner}@example.com")
}

/// Standard error of a command that failed.
pub(crate) fn refused(output: &Output) -> String {
    assert!(!output.status.success(), "it should have been refused");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A receiver that takes everything.
pub(crate) fn receiver() -> Vendor {
    Vendor::start(|_| VendorAnswer::Reply { status: 200, headers: Vec::new(), body: Vec::new() })
}
