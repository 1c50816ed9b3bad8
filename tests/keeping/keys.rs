//! Another key, while posts arrive and syncs run; and one whose change was killed.

use std::fs;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use tests::{Settings, TestHost, Tree};

use crate::setup::{change, email, linked, post, refused};

const OWNERS: [&str; 3] = ["ann", "bob", "cy"];
/// Another key than any host has made.
const NEW: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
/// Posts while the key is changed.
const POSTS: usize = 40;

/// The keys of a host, the one that seals first.
fn keys(host: &TestHost) -> Vec<String> {
    let text = fs::read_to_string(host.data_dir().join("key")).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Values that another key than this one has sealed.
async fn sealed_otherwise(host: &TestHost, rotated: &Value) -> i64 {
    let id = rotated["key"].as_str().unwrap().to_uppercase();
    let other = |table: &str| {
        format!("(select count(*) from {table} where hex(substr(sealed, 2, 4)) <> '{id}')")
    };
    let sql = format!("select {} + {}", other("owner_secrets"), other("integration_secrets"));
    host.number(&sql).await
}

/// Every owner posts once more, and all that the posts and changes make due is done.
async fn catch_up(host: &TestHost, tree: &Tree) {
    for owner in OWNERS {
        host.link(tree, owner, &email(owner)).await;
    }
    host.settle().await;
    host.assert_matches_model(tree).await;
}

async fn posts(host: &TestHost, tree: &Tree, random: &mut ChaCha8Rng) {
    for nth in 0..POSTS {
        post(host, tree, OWNERS[nth % OWNERS.len()], random).await;
        change(host, 1, random);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_is_changed_while_posts_arrive() {
    let (mut host, tree) = linked(Settings::default().on_files(), &OWNERS, 40).await;
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let before = keys(&host);
    assert_eq!(before.len(), 1);
    let rotating = host.json(&["keys", "rotate"]);
    let ((), rotated) = tokio::join!(posts(&host, &tree, &mut random), rotating);
    let after = keys(&host);
    assert_eq!(after.len(), 1);
    assert_ne!(after, before);
    assert_eq!(rotated["removed"], true);
    assert!(rotated["resealed"].as_u64().unwrap() >= 3, "{rotated}");
    // The host has gone on with the new key by itself.
    catch_up(&host, &tree).await;
    assert_eq!(sealed_otherwise(&host, &rotated).await, 0);
    // And whoever starts now has only that one.
    host.restart().await;
    change(&host, 10, &mut random);
    catch_up(&host, &tree).await;
    let doctor = host.command(&["doctor", "--offline"]).await;
    assert!(doctor.status.success(), "{}", String::from_utf8_lossy(&doctor.stdout));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_was_killed_goes_on() {
    let (mut host, tree) = linked(Settings::default().on_files(), &OWNERS, 10).await;
    let mut random = ChaCha8Rng::seed_from_u64(2);
    let before = keys(&host);
    let failpoint = [("ROWGATE_FAILPOINT", "secrets_resealed:1")];
    refused(&host.command_with(&["keys", "rotate"], &failpoint).await);
    let under_way = keys(&host);
    assert_eq!(under_way.len(), 2);
    assert_eq!(under_way[1], before[0], "the old key still opens");
    assert_eq!(host.number("select count(*) from key_rotation").await, 1);
    // Both the host that ran and one that starts meanwhile can work.
    catch_up(&host, &tree).await;
    host.kill().await;
    host.restart().await;
    let rotating = host.json(&["keys", "rotate"]);
    let ((), rotated) = tokio::join!(posts(&host, &tree, &mut random), rotating);
    assert_eq!(keys(&host), under_way[..1], "no third key was made");
    assert_eq!(host.number("select count(*) from key_rotation").await, 0);
    assert_eq!(sealed_otherwise(&host, &rotated).await, 0);
    catch_up(&host, &tree).await;
}

/// What it sealed until it has the new key would be lost with the old one.
#[tokio::test(flavor = "multi_thread")]
async fn the_old_key_stays_while_the_host_cannot_follow() {
    let (mut host, tree) = linked(Settings::default().on_files(), &OWNERS, 10).await;
    let before = keys(&host);
    host.freeze().await;
    let said = refused(&host.command(&["keys", "rotate", "--wait", "1"]).await);
    assert!(said.contains("still seals with an older key"), "{said}");
    let under_way = keys(&host);
    assert_eq!(under_way[1..], before);
    host.thaw().await;
    host.link(&tree, OWNERS[0], &email(OWNERS[0])).await;
    let rotated = host.json(&["keys", "rotate"]).await;
    assert_eq!(rotated["removed"], true, "{rotated}");
    assert_eq!(keys(&host), under_way[..1], "no third key was made");
    host.restart().await;
    catch_up(&host, &tree).await;
    assert_eq!(sealed_otherwise(&host, &rotated).await, 0);
}

/// The operator gives both keys, then has all sealed again, then gives the new one alone.
#[tokio::test(flavor = "multi_thread")]
async fn keys_of_the_configuration_are_changed_in_steps() {
    let (mut host, tree) = linked(Settings::default(), &OWNERS, 10).await;
    let old = keys(&host).remove(0);
    let given = async |host: &mut TestHost, keys: &str| {
        let file = host.data_dir().join("rowgate.toml");
        fs::write(file, format!("key = \"{keys}\"\n")).unwrap();
        host.restart().await;
    };
    given(&mut host, &format!("{old},{NEW}")).await;
    host.link(&tree, OWNERS[0], &email(OWNERS[0])).await;
    given(&mut host, &format!("{NEW},{old}")).await;
    let mut random = ChaCha8Rng::seed_from_u64(4);
    let rotating = host.json(&["keys", "rotate"]);
    let ((), rotated) = tokio::join!(posts(&host, &tree, &mut random), rotating);
    assert_eq!(rotated["removed"], false, "it is the operator's to take out");
    assert!(rotated["resealed"].as_u64().unwrap() >= 3, "{rotated}");
    given(&mut host, NEW).await;
    catch_up(&host, &tree).await;
    // The file has no part in it.
    assert_eq!(keys(&host), [old]);
}

/// Several hosts may have the key there: they are told first.
#[tokio::test(flavor = "multi_thread")]
async fn on_a_server_keys_are_the_operators() {
    let mut host = Settings::default().on_postgres().start().await;
    let before = keys(&host);
    let said = refused(&host.command(&["keys", "rotate"]).await);
    assert!(said.contains("NEW,OLD"), "{said}");
    assert_eq!(keys(&host), before);
    let said = refused(&host.command(&["backup", "anywhere"]).await);
    assert!(said.contains("pg_dump, first the organizations' tables"), "{said}");
    // The command has the new key, the host hasn't: what it seals must be opened by it tomorrow.
    let file = host.data_dir().join("rowgate.toml");
    fs::write(file, format!("key = \"{NEW},{}\"\n", before[0])).unwrap();
    let said = refused(&host.command(&["keys", "rotate"]).await);
    assert!(said.contains("start it again with `NEW,OLD` first"), "{said}");
    host.restart().await;
    let rotated = host.json(&["keys", "rotate"]).await;
    assert_eq!(rotated["removed"], false, "{rotated}");
}
