//! A replication database that was put back to an older copy.

use std::fs;
use std::path::{Path, PathBuf};

use tests::Settings;

use crate::setup::{ANA, Case, OWNER, single};

fn replication_files(data_dir: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(data_dir.join("replication")).unwrap();
    files.map(|file| file.unwrap().path()).collect()
}

#[tokio::test]
async fn what_was_posted_since_the_copy_is_done_again() {
    let mut case = Case::unlinked_with(Settings::default().on_files()).await;
    case.host.stop().await;
    let copied: Vec<(PathBuf, Vec<u8>)> = replication_files(case.data_dir())
        .into_iter()
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    case.host.restart().await;
    case.link(&case.tree, OWNER, ANA).await;
    case.settle().await;
    case.refresh(&case.tree, OWNER, ANA).await;
    case.settle().await;
    case.matches().await;
    case.host.stop().await;
    for path in replication_files(case.data_dir()) {
        fs::remove_file(path).unwrap();
    }
    for (path, bytes) in copied {
        fs::write(path, bytes).unwrap();
    }
    case.host.restart().await;
    case.add(single("since", 8));
    // It brings no token: the grant is the one of the posts before, which are driven again.
    case.resync(&case.tree, OWNER).await;
    case.settle().await;
    assert_eq!(case.owner(OWNER).await["state"], "current");
    case.matches().await;
    // Receivers can't go on from what they read of the tables that are gone.
    let epoch = case.beside_tables::<(String,)>("select epoch from rowgate_feed_head").await;
    let begun = case.control::<(Option<String>,)>("select feed_epoch from organizations").await;
    assert_eq!(begun, [(Some(epoch[0].0.clone()),)]);
}
