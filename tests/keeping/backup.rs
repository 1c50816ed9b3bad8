//! A backup of a host that works becomes another host, which catches up by itself.

use std::cell::Cell;
use std::fs;
use std::path::Path;

use rand::SeedableRng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use tests::{Settings, TestHost, Vendor, host_binary};
use tokio::process::Command;

use crate::setup::{change, email, linked, post, receiver, refused};

/// Nothing is posted for these after the backup.
const QUIET: [&str; 2] = ["ann", "bob"];
/// These post while it is made.
const BUSY: [&str; 2] = ["cy", "dot"];
const EVENTS: usize = 600;

fn settings() -> Settings {
    Settings::default()
        .on_files()
        .env("ROWGATE_DELIVERY_ALLOW_HTTP", "true")
        .env("ROWGATE_DELIVERY_BACK_OFF_BASE_MS", "20")
}

/// Positions of the deliveries with one, and whether a copy began with them.
fn deliveries(receiver: &Vendor) -> Vec<(i64, bool)> {
    let bodies = receiver.seen().into_iter().map(|request| request.body);
    let bodies = bodies.filter_map(|body| serde_json::from_slice::<Value>(&body).ok());
    bodies
        .filter_map(|body| {
            Some((body["position"]["fence"].as_i64()?, body["copy"]["first"] == true))
        })
        .collect()
}

async fn back_up(host: &TestHost, to: &Path) -> Value {
    host.json(&["backup", to.to_str().unwrap()]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_made_under_load_becomes_a_host() {
    let (mut host, tree) = linked(settings(), &[QUIET, BUSY].concat(), EVENTS).await;
    fs::write(host.data_dir().join("rowgate.toml"), "[delivery]\nallow_http = true\n").unwrap();
    let receiver = receiver();
    let url = receiver.base_url().replace("http://", "http://ana:secret@");
    let target = ["--url", url.as_str(), "--period", "3600", "--deletions"];
    host.json(&[&["httpsync", "create", tree.events()], &target[..]].concat()).await;
    host.until("a first copy is delivered", async || !deliveries(&receiver).is_empty()).await;
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let directory = tempfile::tempdir().unwrap();
    let backup = directory.path().join("backup");
    let (done, posted) = (Cell::new(false), Cell::new(0));
    let posting = async {
        while !done.get() {
            let owner = BUSY.choose(&mut random).unwrap();
            post(&host, &tree, owner, &mut random).await;
            change(&host, 3, &mut random);
            posted.set(posted.get() + 1);
        }
    };
    let backing = async {
        // Two: what one misses between its copies is where the next one begins.
        back_up(&host, &directory.path().join("before")).await;
        let made = back_up(&host, &backup).await;
        done.set(true);
        made
    };
    let ((), made) = tokio::join!(posting, backing);
    println!("{} posts while {made:#} was made", posted.get());
    assert!(posted.get() > 5, "there must be some load: {} posts", posted.get());
    host.kill().await;
    change(&host, 40, &mut random);
    let before = deliveries(&receiver).len();
    let fence = deliveries(&receiver).iter().map(|(fence, _)| *fence).max().unwrap();
    let restored = settings().start_restored(&host, &backup).await;
    for owner in BUSY {
        restored.link(&tree, owner, &email(owner)).await;
    }
    restored.settle().await;
    restored.assert_matches_model(&tree).await;
    restored
        .until("a whole copy is delivered", async || {
            deliveries(&receiver)[before..].iter().any(|(_, first)| *first)
        })
        .await;
    let after = deliveries(&receiver).split_off(before);
    assert!(after[0].1, "nothing comes before the copy");
    assert!(after.iter().all(|(later, _)| *later > fence), "{fence}: {after:?}");
    let events = tree.events();
    let twice = format!(
        "select count(*) - count(distinct external_owner_id || '/' || google_calendar_id || '/' \
         || google_id) as n from {events}"
    );
    assert_eq!(restored.sql(&twice).await[0]["n"], 0);
}

/// A command on some data directory.
async fn command(data_dir: &Path, arguments: &[&str]) -> std::process::Output {
    let mut command = Command::new(host_binary());
    command.env_clear().args(arguments).arg("--data-dir").arg(data_dir);
    command.output().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_refused() {
    let (mut host, tree) = linked(settings(), &QUIET, 3).await;
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let text = |name: &str| at(name).to_str().unwrap().to_owned();
    back_up(&host, &at("backup")).await;
    assert!(!at("backup").join("key").exists(), "the key only comes when it is asked for");
    host.json(&["backup", &text("with key"), "--with-key"]).await;
    let key = fs::read(host.data_dir().join("key")).unwrap();
    assert_eq!(fs::read(at("with key").join("key")).unwrap(), key);

    let lock = fs::File::create(host.data_dir().join("key.lock")).unwrap();
    lock.lock().unwrap();
    let said = refused(&host.command(&["backup", &text("meanwhile"), "--with-key"]).await);
    assert!(said.contains("is being changed"), "{said}");
    drop(lock);

    let said = refused(&host.command(&["backup", &text("backup")]).await);
    assert!(said.contains("isn't empty"), "{said}");
    let said = refused(&host.command(&["restore", &text("backup")]).await);
    assert!(said.contains("a host serves"), "{said}");
    host.stop().await;
    let said = refused(&host.command(&["restore", &text("backup")]).await);
    assert!(said.contains("isn't empty"), "{said}");
    let said = refused(&command(&at("data"), &["restore", &text("nothing")]).await);
    assert!(said.contains("backup.json"), "{said}");

    // Without its key nothing starts, and no other key is made.
    let restored = command(&at("data"), &["restore", &text("backup")]).await;
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    let said = refused(&command(&at("data"), &["owners", "list"]).await);
    assert!(said.contains("put the key there"), "{said}");
    assert!(!at("data").join("key").exists());
    fs::write(at("data").join("key"), key).unwrap();
    let listed = command(&at("data"), &["owners", "list", "--format", "json"]).await;
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), QUIET.len());
    let rows = format!("select count(*) as n from {}", tree.events());
    let rows = command(&at("data"), &["db", "sql", &rows, "--format", "json"]).await;
    let rows: Value = serde_json::from_slice(&rows.stdout).unwrap();
    assert!(rows[0]["n"].as_i64().unwrap() > 0, "{rows}");

    // A newer schema, another content, a directory that was left half filled.
    let manifest = fs::read_to_string(at("backup").join("backup.json")).unwrap();
    let newer = manifest.replace("\"control_schema\": 1", "\"control_schema\": 99");
    assert_ne!(newer, manifest);
    fs::write(at("backup").join("backup.json"), newer).unwrap();
    let said = refused(&command(&at("other"), &["restore", &text("backup")]).await);
    assert!(said.contains("newer schema"), "{said}");
    fs::write(at("backup").join("backup.json"), manifest).unwrap();
    let control = at("backup").join("control.db");
    let mut bytes = fs::read(&control).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&control, bytes).unwrap();
    let said = refused(&command(&at("other"), &["restore", &text("backup")]).await);
    assert!(said.contains("isn't what was backed up"), "{said}");
    assert!(!at("other").exists(), "nothing is written before all is checked");
    fs::create_dir(at("other")).unwrap();
    fs::write(at("other").join("restoring"), b"").unwrap();
    let said = refused(&command(&at("other"), &["owners", "list"]).await);
    assert!(said.contains("being restored"), "{said}");
}
