//! Components that aren't what they should be: refused when they are installed, by the command and
//! when a host starts, and without harm to what runs.

use std::fs;
use std::path::Path;

use rowgate_manifest::Manifest;
use tests::{Settings, TestHost, guest_component, plugin_component};

/// An empty component.
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
/// A core module with a function that should leave a number, and doesn't.
const INVALID: &[u8] =
    b"\0asm\x01\0\0\0\x01\x05\x01\x60\0\x01\x7f\x03\x02\x01\0\x0a\x04\x01\x02\0\x0b";

#[tokio::test]
async fn what_is_no_plugin_is_refused_with_its_reason() {
    let host = Settings::default().guest_beside_plugins("hostile").start().await;
    let before = host.json(&["plugins", "list"]).await;
    let kept = files(&host.data_dir().join("plugins"));
    let manifest = manifest_of(&guest_component("hostile"));
    let embedded = |component: &[u8]| rowgate_manifest::embed(component, &manifest).unwrap();
    let hostile = fs::read(guest_component("hostile")).unwrap();
    let steering = "evil\u{1b}[2J\nrowgate: all is well";
    for (name, component, words) in [
        ("empty", Vec::new(), "not a WebAssembly component"),
        ("text", b"#!/bin/sh\n".to_vec(), "not a WebAssembly component"),
        ("module", INVALID.to_vec(), "it is a core module"),
        ("cut", hostile[..hostile.len() / 2].to_vec(), "not a WebAssembly component"),
        ("bare", COMPONENT.to_vec(), "no usable manifest"),
        ("no-exports", embedded(COMPONENT), "doesn't fit the contract rowgate:plugin@0.1.0"),
        ("invalid-code", embedded(&with_module(INVALID)), "the component doesn't compile"),
        ("foreign-import", fs::read(guest_component("wasi_import")).unwrap(), "`wasi:clocks/"),
        ("steering-import", embedded(&with_import(steering)), "evil\\u{1b}[2J rowgate: all is"),
    ] {
        let path = host.data_dir().join(format!("{name}.wasm"));
        fs::write(&path, component).unwrap();
        let output = host.command(&["plugins", "install", path.to_str().unwrap()]).await;
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{name}: {said}");
        assert!(said.contains(words) && said.contains(path.to_str().unwrap()), "{name}: {said}");
        assert_eq!(said.lines().count(), 1, "{name}: {said}");
        assert!(host.is_healthy().await);
    }
    let nowhere = host.command(&["plugins", "install", "/no/such/file.wasm"]).await;
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("/no/such/file.wasm"));
    assert_eq!(host.json(&["plugins", "list"]).await, before);
    assert_eq!(files(&host.data_dir().join("plugins")), kept, "nothing of them is kept");
}

#[tokio::test]
async fn what_is_installed_is_compiled() {
    let host = Settings::default().guest_beside_plugins("hostile").start().await;
    let path = host.data_dir().join("new.wasm");
    fs::write(&path, version_of(&guest_component("hostile"), "0.2.0")).unwrap();
    let installed = host.json(&["plugins", "install", path.to_str().unwrap()]).await;
    assert_eq!(installed["version"], "0.2.0");
    let digest = installed["digest"].as_str().unwrap();
    let kept = files(&host.data_dir().join("plugins"));
    let of_digest: Vec<_> = kept.iter().filter(|name| name.starts_with(digest)).collect();
    assert_eq!(of_digest.len(), 1, "its code; the component lies in the database: {kept:?}");
    assert!(of_digest[0].ends_with(".cwasm"), "{kept:?}");
}

/// The SDK's panic hook: a trap carries no text of its own.
#[tokio::test]
async fn a_guest_made_with_the_sdk_tells_why_it_panics() {
    let host = Settings::default().guest_beside_plugins("hostile").start().await;
    let path = guest_component("sdk_made");
    host.json(&["plugins", "install", path.to_str().unwrap()]).await;
    host.json(&["plugins", "activate", "sdk_made"]).await;
    let made = host.create_with(&["sdk_made_v1"]).await;
    for owner in ["counts", "panics"] {
        let body = serde_json::json!({ "external_owner_id": owner });
        assert_eq!(host.post_to(&made, &made.secret, &body).await.0, 202);
    }
    let failed = async || !host.owner("panics").await["last_error"].is_null();
    host.until("the guest has panicked", failed).await;
    let error = host.owner("panics").await["last_error"].clone();
    let error = error.as_str().unwrap();
    assert!(error.contains("a planted panic") && error.contains("src/lib.rs"), "{error}");
    assert!(host.log().contains("a planted panic"));
    let count = format!("select last from {} where external_owner_id = 'counts'", made.table);
    let counted = async || host.sql(&count).await == [serde_json::json!({ "last": 3 })];
    host.until("another owner of it is served", counted).await;
}

#[tokio::test]
async fn a_host_starts_without_what_is_refused() {
    let mut host = Settings::default().guest_beside_plugins("hostile").start().await;
    let tree = host.integrations().await;
    let before = host.json(&["plugins", "list"]).await;
    // A new version of what is active, a file that is nothing, and a plugin that is well.
    let plugin = host.plugins().join("google_calendar.wasm");
    let good = fs::read(&plugin).unwrap();
    let manifest = Manifest { ..manifest_of(&plugin_component("google_calendar")) };
    fs::write(&plugin, rowgate_manifest::embed(&with_module(INVALID), &manifest).unwrap()).unwrap();
    fs::write(host.plugins().join("a.wasm"), "nothing").unwrap();
    let other = host.plugins().join("z.wasm");
    fs::write(&other, version_of(&guest_component("hostile"), "0.2.0")).unwrap();

    host.restart().await;
    assert!(host.is_healthy().await);
    let warnings = warnings(&host);
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    for (warning, file, why) in [
        (&warnings[0], "a.wasm", "not a WebAssembly component"),
        (&warnings[1], "google_calendar.wasm", "doesn't compile"),
    ] {
        assert!(warning.contains(file) && warning.contains(why), "{warning}");
        assert!(warning.contains("`rowgate plugins install`"), "{warning}");
    }
    let doctor = host.command(&["doctor"]).await;
    let doctor = String::from_utf8(doctor.stdout).unwrap();
    for file in ["a.wasm is refused", "google_calendar.wasm is refused"] {
        assert!(doctor.contains(file), "{doctor}");
    }
    // The old version works; the others are as they would be without the refused.
    let versions = host.json(&["plugins", "list"]).await;
    let state = |name: &str, version: &str| {
        let all = versions.as_array().unwrap().iter();
        let mut of = all.filter(|one| one["name"] == name && one["version"] == version);
        of.next().map(|one| one["state"].as_str().unwrap().to_owned())
    };
    let old = manifest.plugin.version.as_str();
    assert_eq!(state("google_calendar", old).as_deref(), Some("active"));
    assert_eq!(state("hostile", "0.2.0").as_deref(), Some("active"));
    assert_eq!(versions.as_array().unwrap().len(), before.as_array().unwrap().len() + 1);
    host.link(&tree, "customer", "ana@example.com").await;
    host.settle().await;
    host.assert_matches_model(&tree).await;

    // Mended.
    fs::write(&plugin, good).unwrap();
    fs::remove_file(host.plugins().join("a.wasm")).unwrap();
    host.restart().await;
    let doctor = host.command(&["doctor"]).await;
    assert!(!String::from_utf8(doctor.stdout).unwrap().contains("is refused"));
}

/// Lines of level WARN.
fn warnings(host: &TestHost) -> Vec<String> {
    host.log().lines().filter(|line| line.contains(" WARN ")).map(str::to_owned).collect()
}

/// Names of files.
fn files(directory: &Path) -> Vec<String> {
    let files = fs::read_dir(directory).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

fn manifest_of(component: &Path) -> Manifest {
    rowgate_manifest::read(&fs::read(component).unwrap()).unwrap()
}

/// The same component as another version.
fn version_of(component: &Path, version: &str) -> Vec<u8> {
    let mut manifest = manifest_of(component);
    manifest.plugin.version = version.to_owned();
    rowgate_manifest::embed(&fs::read(component).unwrap(), &manifest).unwrap()
}

/// A component with a core module in it.
fn with_module(module: &[u8]) -> Vec<u8> {
    let length = u8::try_from(module.len()).unwrap();
    [COMPONENT, &[1, length], module].concat()
}

/// A component that imports a function of this name.
fn with_import(name: &str) -> Vec<u8> {
    let length = u8::try_from(name.len()).unwrap();
    let section = [&[1, 0, length], name.as_bytes(), &[1, 0]].concat();
    [COMPONENT, &[10, u8::try_from(section.len()).unwrap()], &section].concat()
}
