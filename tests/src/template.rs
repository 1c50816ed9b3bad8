//! What a data directory begins with: the compiled component, made once a test binary. Compiling
//! takes longer than most tests.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use tokio::sync::OnceCell;

use crate::Settings;

/// Files by their paths in the data directory.
type Files = Vec<(PathBuf, Vec<u8>)>;

static TEMPLATE: OnceCell<Files> = OnceCell::const_new();

/// What is compiled is sealed with the key.
const KEPT: [&str; 2] = ["key", "plugins"];

/// Fills an empty directory.
pub(crate) async fn fill(data_dir: &Path) {
    for (path, bytes) in TEMPLATE.get_or_init(make).await {
        let path = data_dir.join(path);
        let parent = path.parent().expect("a file in the data directory");
        fs::create_dir_all(parent).expect("a fresh directory is writable");
        fs::write(&path, bytes).expect("a fresh directory is writable");
    }
}

/// A post about an unknown owner makes a host compile the component, and does nothing else.
async fn make() -> Files {
    let data_dir = tempfile::tempdir().expect("a temporary directory");
    let mut host = Settings::default().start_on(data_dir).await;
    let tree = host.calendars_only().await;
    host.accepted(&tree, &json!({ "type": "RESYNC", "external_owner_id": "nobody" })).await;
    host.idle().await;
    host.stop().await;
    let mut files = Files::new();
    for name in KEPT {
        collect(host.data_dir(), PathBuf::from(name), &mut files);
    }
    files
}

fn collect(root: &Path, path: PathBuf, files: &mut Files) {
    let full = root.join(&path);
    if full.is_file() {
        files.push((path, fs::read(full).expect("a file just made")));
        return;
    }
    for entry in fs::read_dir(full).expect("a directory just made") {
        let entry = entry.expect("a directory just made");
        collect(root, path.join(entry.file_name()), files);
    }
}
