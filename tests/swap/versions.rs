//! Versions of the calendar plugin that differ in what they tell the vendor of themselves, and what
//! every case asks about them.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use simulator::Seen;
use tempfile::TempDir;
use tests::{TestHost, plugin_component};

pub(crate) const PLUGIN: &str = "google_calendar";

/// A component.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub(crate) file: PathBuf,
    pub(crate) digest: String,
    /// The user agent of its requests.
    pub(crate) agent: &'static str,
}

/// The version that every host of the tests begins with, and two more.
pub(crate) struct Versions {
    pub(crate) first: Version,
    pub(crate) second: Version,
    pub(crate) third: Version,
    /// Says that it maps rows otherwise than the others.
    pub(crate) remapping: Version,
    /// Where those beside the first lie.
    directory: TempDir,
}

impl Versions {
    pub(crate) fn make() -> Self {
        let file = plugin_component(PLUGIN);
        let bytes = std::fs::read(&file).unwrap();
        let first = Version { digest: digest(&bytes), agent: "rowgate (gzip)", file };
        let directory = tempfile::tempdir().unwrap();
        let make = |number: &str, agent, mapping_version: u32| {
            let mut manifest = rowgate_manifest::read(&bytes).unwrap();
            manifest.plugin.version = number.to_owned();
            manifest.plugin.mapping_version = mapping_version;
            let bytes = replaced(&bytes, first.agent, agent);
            let bytes = rowgate_manifest::embed(&bytes, &manifest).unwrap();
            let file = directory.path().join(format!("{number}.wasm"));
            std::fs::write(&file, &bytes).unwrap();
            Version { file, digest: digest(&bytes), agent }
        };
        let mapping = rowgate_manifest::read(&bytes).unwrap().plugin.mapping_version;
        let second = make("0.1.1", "rowgate2(gzip)", mapping);
        let third = make("0.1.2", "rowgate3(gzip)", mapping);
        let remapping = make("0.2.0", "rowgate4(gzip)", mapping + 1);
        Self { first, second, third, remapping, directory }
    }

    /// The first version with some bytes replaced by as many others.
    pub(crate) fn with_bytes(&self, name: &str, old: &str, new: &str) -> PathBuf {
        let bytes = replaced(&std::fs::read(&self.first.file).unwrap(), old, new);
        let file = self.directory.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        file
    }

    /// The file of a version alone, as `serve --plugins` wants it.
    pub(crate) fn directory_of(&self, version: &Version) -> PathBuf {
        let directory = self.directory.path().join(&version.digest);
        std::fs::create_dir(&directory).unwrap();
        std::fs::copy(&version.file, directory.join("plugin.wasm")).unwrap();
        directory
    }
}

fn digest(bytes: &[u8]) -> String {
    rowgate::plugin::inspect(bytes).unwrap().digest
}

/// Texts of one length: the component stays valid.
fn replaced(bytes: &[u8], old: &str, new: &str) -> Vec<u8> {
    assert_eq!(old.len(), new.len());
    let mut replaced = bytes.to_vec();
    let places = bytes.windows(old.len()).enumerate().filter(|(_, text)| *text == old.as_bytes());
    let places: Vec<usize> = places.map(|(at, _)| at).collect();
    assert!(!places.is_empty(), "{old} doesn't stand in the component");
    for at in places {
        replaced[at..at + new.len()].copy_from_slice(new.as_bytes());
    }
    replaced
}

/// `rowgate plugins install`; answers what it printed.
pub(crate) async fn install(host: &TestHost, file: &Path) -> Value {
    host.json(&["plugins", "install", file.to_str().unwrap()]).await
}

/// `rowgate plugins activate`.
pub(crate) async fn activate(host: &TestHost, version: &Version) {
    let active = host.json(&["plugins", "activate", &version.digest]).await;
    assert_eq!(active[0]["digest"], version.digest.as_str());
}

/// `rowgate plugins rollback`.
pub(crate) async fn roll_back(host: &TestHost) {
    host.json(&["plugins", "rollback", PLUGIN]).await;
}

/// The user agents of requests to the Calendar API, in the order of arrival.
pub(crate) fn agents(requests: &[Seen]) -> Vec<&str> {
    requests.iter().filter(|seen| is_api(seen)).filter_map(agent).collect()
}

pub(crate) fn agent(seen: &Seen) -> Option<&str> {
    seen.header("user-agent")
}

pub(crate) fn is_api(seen: &Seen) -> bool {
    seen.path.starts_with("/calendar/")
}

pub(crate) fn is_events(seen: &Seen) -> bool {
    seen.path.ends_with("/events")
}

/// No owner and no stream has an error, no post waits, and none of the host's lines tells of trouble.
pub(crate) async fn nothing_went_wrong(host: &TestHost) {
    for owner in host.owners().await {
        let told = (&owner["state"], &owner["last_error"], &owner["inbox_waiting"]);
        assert_eq!(told, (&json!("current"), &json!(null), &json!(0)), "{owner}");
    }
    for stream in host.streams().await {
        let told = (&stream["state"], &stream["last_error"]);
        assert_eq!(told, (&json!("current"), &json!(null)), "{stream}");
    }
    let log = host.log();
    // A machine that is busy with other tests is no trouble of ours.
    let lines = log.lines().filter(|line| !line.contains("slow statement"));
    let trouble = [" WARN ", " ERROR ", "call failed", "the lease is gone"];
    let trouble = lines.filter(|line| trouble.iter().any(|sign| line.contains(sign)));
    assert_eq!(trouble.collect::<Vec<_>>(), Vec::<&str>::new());
}
