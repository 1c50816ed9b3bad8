//! A data directory in which the components are installed and compiled, made once a test binary:
//! compiling takes longer than most tests.

use std::fs;
use std::path::{Path, PathBuf};

use tokio::sync::OnceCell;

use crate::process::{HostProcess, Log, guest_component, plugin_directory};

/// Files by their paths in the data directory.
type Files = Vec<(PathBuf, Vec<u8>)>;

/// A test binary serves the plugins or one guest, never both.
struct Template {
    guest: Option<&'static str>,
    files: Files,
}

static TEMPLATE: OnceCell<Template> = OnceCell::const_new();

/// Where a guest lies alone, in the data directory.
const GUEST: &str = "guest";

/// Fills an empty directory. Returns the directory of components.
pub(crate) async fn fill(data_dir: &Path, guest: Option<&'static str>) -> PathBuf {
    let template = TEMPLATE.get_or_init(|| make(guest)).await;
    assert_eq!(template.guest, guest, "a test binary serves the plugins or one guest");
    for (path, bytes) in &template.files {
        let path = data_dir.join(path);
        let parent = path.parent().expect("a file in the data directory");
        fs::create_dir_all(parent).expect("a fresh directory is writable");
        fs::write(&path, bytes).expect("a fresh directory is writable");
    }
    components(data_dir, guest)
}

fn components(data_dir: &Path, guest: Option<&str>) -> PathBuf {
    guest.map_or_else(plugin_directory, |_| data_dir.join(GUEST))
}

async fn make(guest: Option<&'static str>) -> Template {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let plugins = components(directory.path(), guest);
    if let Some(guest) = guest {
        let component = guest_component(guest);
        fs::create_dir(&plugins).expect("a fresh directory is writable");
        fs::copy(&component, plugins.join("guest.wasm"))
            .unwrap_or_else(|error| panic!("{}: {error}", component.display()));
    }
    let log = Log::default();
    let started = HostProcess::start(directory.path(), &plugins, &[], &log).await;
    let said = || log.lock().map(|log| log.clone()).unwrap_or_default();
    let process = started.unwrap_or_else(|why| panic!("{why}\n{}", said()));
    let status = process.stop().await;
    assert!(status.success(), "{status}\n{}", said());
    let mut files = Files::new();
    collect(directory.path(), Path::new(""), &mut files);
    Template { guest, files }
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
