use rowgate_manifest::Manifest;
use zeroize::Zeroizing;

use super::*;
use crate::chance::Chance;
use crate::clock::Clock;
use crate::config::DataDir;
use crate::secrets::Keyring;
use crate::store::Heard;

async fn store(path: &std::path::Path) -> Store {
    let data_dir = DataDir::new(path);
    data_dir.create().unwrap();
    let chance = Chance::seeded(3);
    let keyring = Keyring::new([3; 32], chance.clone());
    Store::open(data_dir, Clock::simulated(1_000_000), keyring, chance).await.unwrap()
}

fn manifest(version: &str) -> Manifest {
    let mut manifest: Manifest =
        toml::from_str(include_str!("../../../tests/fixtures/google_calendar.toml")).unwrap();
    manifest.plugin.version = version.into();
    manifest
}

async fn create(
    store: &Store,
    service: &str,
    depends_on: Option<&str>,
) -> Result<Integration, Error> {
    let config = [("api_url".to_owned(), "http://127.0.0.1:1/v3".to_owned())];
    let is_root = depends_on.is_none();
    let new = NewIntegration {
        organization: store.organization("default").await?.id,
        plugin: "google_calendar".into(),
        service: service.into(),
        depends_on: depends_on.map(str::to_owned),
        config: if is_root { config.into() } else { BTreeMap::new() },
        secrets: match is_root {
            true => vec![("client_id".into(), Zeroizing::new("planted".into()))],
            false => Vec::new(),
        },
        grants: match is_root {
            true => vec![Grant { origin: "http://127.0.0.1:1".into(), private_addresses: true }],
            false => Vec::new(),
        },
    };
    store.create_integration(new).await
}

#[tokio::test]
async fn a_tree_is_built_from_its_root() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path()).await;
    store.install_plugin(b"a", "aaaaaaaa", &manifest("1")).await.unwrap();
    store.activate_plugin("google_calendar").await.unwrap();
    let list = create(&store, "google_calendar_list_v1", None).await.unwrap();
    let calendar = create(&store, "google_calendar_v1", Some(&list.id)).await.unwrap();
    let event = create(&store, "google_calendar_event_v1", Some(&calendar.id)).await.unwrap();
    assert!(list.id.starts_with("svi_") && list.id.len() <= 29, "{}", list.id);
    let suffix = list.table_name.strip_prefix("google_calendar_list_v1_").unwrap();
    assert!(suffix.len() == 4 && suffix.bytes().all(|digit| digit.is_ascii_hexdigit()));
    assert_eq!((&list.root_id, &event.root_id), (&list.id, &list.id));

    let tree = store.tree(&list.id).await.unwrap();
    assert_eq!(tree.members, [list.clone(), calendar.clone(), event.clone()]);
    assert_eq!(tree.config["api_url"], "http://127.0.0.1:1/v3");
    assert_eq!(tree.config["token_url"], "https://oauth2.googleapis.com/token");
    assert!(!tree.config.contains_key("client_id"), "secrets aren't configuration");
    assert!(tree.grants[0].private_addresses);
    let secret = store.tree_secret(&list.id, "client_id").await.unwrap().unwrap();
    assert_eq!(secret.as_slice(), b"planted");
    assert_eq!(store.tree_secret(&list.id, "nothing").await.unwrap(), None);
    let endpoint = store.endpoint(&event.id).await.unwrap().unwrap();
    assert_eq!((endpoint.digest.as_str(), &endpoint.integration), ("aaaaaaaa", &event));
    assert!(store.endpoint("svi_none").await.unwrap().is_none());

    let twin = create(&store, "google_calendar_event_v1", Some(&calendar.id)).await.unwrap_err();
    assert!(twin.to_string().contains(&format!("already: {}", event.id)), "{twin}");
    let orphan = create(&store, "google_calendar_v1", Some("svi_none")).await.unwrap_err();
    assert!(orphan.to_string().contains("no integration svi_none"), "{orphan}");
    let other = create(&store, "google_calendar_list_v1", None).await.unwrap();
    assert_ne!(other.root_id, list.root_id);
}

#[tokio::test]
async fn versions_are_activated_and_rolled_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path()).await;
    assert!(store.install_plugin(b"a", "aaaaaaaa", &manifest("1")).await.unwrap());
    assert!(!store.install_plugin(b"a", "aaaaaaaa", &manifest("1")).await.unwrap());
    assert_eq!(store.component("aaaaaaaa").await.unwrap(), b"a");
    assert_eq!(std::fs::read(store.data_dir().wasm("aaaaaaaa")).unwrap(), b"a", "kept");
    assert!(store.active_plugin("google_calendar").await.unwrap().is_none());
    store.install_plugin(b"b", "bbbbbbbb", &manifest("2")).await.unwrap();
    assert!(store.rollback_plugin("google_calendar").await.is_err());

    let active = store.activate_plugin("aaaaaa").await.unwrap();
    assert_eq!(
        (active.digest.as_str(), active.epoch, active.previous_digest),
        ("aaaaaaaa", 1, None)
    );
    let active = store.activate_plugin("google_calendar").await.unwrap();
    assert_eq!((active.digest.as_str(), active.epoch), ("bbbbbbbb", 2), "the newest");
    let again = store.activate_plugin("bbbbbbbb").await.unwrap();
    assert_eq!((again.epoch, again.previous_digest.as_deref()), (2, Some("aaaaaaaa")));
    let back = store.rollback_plugin("google_calendar").await.unwrap();
    assert_eq!((back.digest.as_str(), back.epoch), ("aaaaaaaa", 3));
    assert_eq!(back.manifest.plugin.version, "1");
    let refused = store.activate_plugin("zzzzzz").await.unwrap_err().to_string();
    assert!(refused.contains("`rowgate plugins list`"), "{refused}");
}

#[tokio::test]
async fn commits_of_others_are_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let (host, command) = (store(dir.path()).await, store(dir.path()).await);
    let mut watch = host.watch().await.unwrap();
    command.create_organization("other").await.unwrap();
    let noticed = async {
        loop {
            tokio::select! {
                biased;
                heard = watch.next() => return assert_eq!(heard, Heard::Something),
                () = tokio::task::yield_now() => {
                    host.clock().advance(std::time::Duration::from_millis(200));
                }
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), noticed).await.unwrap();
    assert_eq!(host.organizations().await.unwrap().len(), 1);
}
