//! A data directory in which the components are installed and compiled, made once a test binary:
//! compiling takes longer than most tests.

use std::fs;
use std::path::{Path, PathBuf};

use tokio::sync::OnceCell;

use crate::process::{HostProcess, Log};

/// Files by their paths in the data directory.
type Files = Vec<(PathBuf, Vec<u8>)>;

static TEMPLATE: OnceCell<Files> = OnceCell::const_new();

/// Fills an empty directory.
pub(crate) async fn fill(data_dir: &Path) {
    for (path, bytes) in TEMPLATE.get_or_init(make).await {
        let path = data_dir.join(path);
        let parent = path.parent().expect("a file in the data directory");
        fs::create_dir_all(parent).expect("a fresh directory is writable");
        fs::write(&path, bytes).expect("a fresh directory is writable");
    }
}

async fn make() -> Files {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let log = Log::default();
    let started = HostProcess::start(directory.path(), &[], &log).await;
    let said = || log.lock().map(|log| log.clone()).unwrap_or_default();
    let process = started.unwrap_or_else(|why| panic!("{why}\n{}", said()));
    let status = process.stop().await;
    assert!(status.success(), "{status}\n{}", said());
    let mut files = Files::new();
    collect(directory.path(), Path::new(""), &mut files);
    files
}

fn collect(root: &Path, below: &Path, files: &mut Files) {
    let entries = fs::read_dir(root.join(below)).expect("a directory just made");
    for entry in entries {
        let entry = entry.expect("a directory just made");
        let path = below.join(entry.file_name());
        match entry.path() {
            directory if directory.is_dir() => collect(root, &path, files),
            file => files.push((path, fs::read(file).expect("a file just made"))),
        }
    }
}
