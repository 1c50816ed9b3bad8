//! `rowgate plugins ...` beside a running host, and `serve --plugins DIR`.

use std::fs;
use std::path::Path;

use serde_json::json;
use tests::{Settings, TestHost, Tree};

use crate::versions::{PLUGIN, Version, Versions, activate, agents, install, roll_back};

const OWNER: &str = "ana";
const EMAIL: &str = "ana@example.com";

/// A host with a linked owner.
async fn linked() -> (TestHost, Tree) {
    let host = Settings::default().start().await;
    let tree = host.integrations().await;
    host.link(&tree, OWNER, EMAIL).await;
    host.settle().await;
    (host, tree)
}

/// The versions that are listed, newest first, each with its state.
async fn listed(host: &TestHost) -> Vec<(String, String)> {
    let listed = host.json(&["plugins", "list"]).await;
    let rows = listed.as_array().unwrap().iter();
    rows.map(|row| {
        assert_eq!(row["name"], PLUGIN);
        let text = |name: &str| row[name].as_str().unwrap().to_owned();
        (text("digest"), text("state"))
    })
    .collect()
}

fn are(states: &[(&Version, &str)]) -> Vec<(String, String)> {
    states.iter().map(|(version, state)| (version.digest.clone(), (*state).to_owned())).collect()
}

/// Calls that a post makes are this version's.
async fn runs(host: &TestHost, tree: &Tree, version: &Version) {
    host.simulator.clear_requests();
    host.refresh(tree, OWNER, EMAIL).await;
    host.settle().await;
    let requests = host.simulator.requests();
    let agents = agents(&requests);
    assert!(!agents.is_empty() && agents.iter().all(|agent| *agent == version.agent), "{agents:?}");
    host.assert_matches_model(tree).await;
}

#[tokio::test]
async fn install_activate_and_roll_back_survive_restarts() {
    let versions = Versions::make();
    let (first, second) = (&versions.first, &versions.second);
    let (mut host, tree) = linked().await;
    assert_eq!(listed(&host).await, are(&[(first, "active")]));
    runs(&host, &tree, first).await;

    let printed = install(&host, &second.file).await;
    let digest = second.digest.as_str();
    assert_eq!(printed, json!({ "name": PLUGIN, "version": "0.1.1", "digest": digest }));
    stored(&host, second).await;
    assert_eq!(listed(&host).await, are(&[(second, "installed"), (first, "active")]));
    runs(&host, &tree, first).await;

    activate(&host, second).await;
    let swapped = are(&[(second, "active"), (first, "previous")]);
    assert_eq!(listed(&host).await, swapped);
    runs(&host, &tree, second).await;
    // `serve` finds the first version in its directory again, and leaves it.
    host.restart().await;
    assert_eq!(listed(&host).await, swapped);
    runs(&host, &tree, second).await;

    roll_back(&host).await;
    // At once, before anything has run on it.
    host.kill().await;
    host.restart().await;
    let back = are(&[(second, "previous"), (first, "active")]);
    assert_eq!(listed(&host).await, back);
    runs(&host, &tree, first).await;

    // What is active already can't lose the way back.
    activate(&host, first).await;
    assert_eq!(listed(&host).await, back);
    roll_back(&host).await;
    assert_eq!(listed(&host).await, swapped);
    runs(&host, &tree, second).await;
}

/// Under its digest, unchanged, and compiled: a host that takes it up needn't stop for that.
async fn stored(host: &TestHost, version: &Version) {
    let kept = format!("select wasm from plugin_versions where digest = '{}'", version.digest);
    let kept: Vec<(Vec<u8>,)> = host.control(&kept).await;
    assert_eq!(kept[0].0, fs::read(&version.file).unwrap());
    let files = fs::read_dir(host.data_dir().join("plugins")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let compiled = |name: &String| name.starts_with(&version.digest) && name.ends_with(".cwasm");
    assert_eq!(names.filter(compiled).count(), 1);
}

#[tokio::test]
async fn serve_installs_and_activates_what_it_does_not_know() {
    let versions = Versions::make();
    let (first, second, third) = (&versions.first, &versions.second, &versions.third);
    let (mut host, tree) = linked().await;
    for (version, before) in [(second, first), (third, second)] {
        host.set_plugins(&versions.directory_of(version));
        host.restart().await;
        let listed = listed(&host).await;
        assert_eq!(listed[..2], are(&[(version, "active"), (before, "previous")]));
        stored(&host, version).await;
        runs(&host, &tree, version).await;
    }
    let line = format!("installed and activated plugin=\"{PLUGIN}\" version=\"0.1.2\"");
    assert_eq!(host.log().matches(&line).count(), 1);

    // What was rolled back is known: the next start leaves it.
    roll_back(&host).await;
    host.restart().await;
    let states = [(third, "previous"), (second, "active"), (first, "installed")];
    assert_eq!(listed(&host).await, are(&states));
    runs(&host, &tree, second).await;
}

#[tokio::test]
async fn what_cannot_run_is_refused_before_it_is_installed() {
    let versions = Versions::make();
    let (host, tree) = linked().await;
    let text = host.data_dir().join("text.wasm");
    fs::write(&text, "no component").unwrap();
    // An import that the contract doesn't have: only linking finds it.
    let unlinked = versions.with_bytes("unlinked.wasm", "begin-full", "begin-some");
    for (file, why) in [
        (text.as_path(), "not a WebAssembly component"),
        (&unlinked, "doesn't fit the contract"),
        (Path::new("nowhere.wasm"), "No such file"),
    ] {
        let refused = host.command(&["plugins", "install", file.to_str().unwrap()]).await;
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(!refused.status.success() && said.contains(why), "{said}");
    }
    for (arguments, why) in [
        (["activate", "0123456789"], "no installed plugin has the name or digest"),
        (["rollback", PLUGIN], "no other version of"),
        (["rollback", "outlook"], "no version of"),
    ] {
        let refused = host.command(&["plugins", arguments[0], arguments[1]]).await;
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(!refused.status.success() && said.contains(why), "{said}");
    }
    assert_eq!(listed(&host).await, are(&[(&versions.first, "active")]));
    runs(&host, &tree, &versions.first).await;
}
