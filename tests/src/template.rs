//! A data directory, and a database, in which the components are installed and compiled, made once a
//! test binary: compiling takes longer than most tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use postgres_cluster::Database;
use tokio::sync::OnceCell;

use crate::log::Log;
use crate::process::{HostProcess, guest_component, plugin_directory};
use crate::storage::{Engine, Storage};

/// What a host serves; the same in all tests of a binary.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Served {
    #[default]
    Plugins,
    Guest(&'static str),
    GuestBesidePlugins(&'static str),
}

/// Files by their paths in the data directory.
type Files = Vec<(PathBuf, Vec<u8>)>;

struct Template {
    served: Served,
    files: Files,
    /// None: it is among the files.
    database: Option<Arc<Database<'static>>>,
}

static ON_SQLITE: OnceCell<Template> = OnceCell::const_new();
static ON_POSTGRES: OnceCell<Template> = OnceCell::const_new();

/// Where a guest lies, in the data directory.
const GUEST: &str = "guest";

/// New places with everything installed, and the directory of components.
pub(crate) async fn storage(engine: Engine, served: Served) -> (Storage, PathBuf) {
    let template = template(engine, served).await;
    let storage = Storage::new(engine, template.database.as_deref());
    let plugins = template.fill(storage.path());
    (storage, plugins)
}

/// The same for another host on a database that is there already.
pub(crate) async fn beside(
    database: &Arc<Database<'static>>,
    served: Served,
) -> (Storage, PathBuf) {
    let template = template(Engine::Postgres, served).await;
    let storage = Storage::beside(Some(Arc::clone(database)));
    let plugins = template.fill(storage.path());
    (storage, plugins)
}

async fn template(engine: Engine, served: Served) -> &'static Template {
    let cell = match engine {
        Engine::Sqlite => &ON_SQLITE,
        Engine::Postgres => &ON_POSTGRES,
    };
    let template = cell.get_or_init(|| make(engine, served)).await;
    assert_eq!(template.served, served, "all hosts of a test binary serve the same");
    template
}

impl Template {
    fn fill(&self, data_dir: &Path) -> PathBuf {
        for (path, bytes) in &self.files {
            let path = data_dir.join(path);
            let parent = path.parent().expect("a file in the data directory");
            fs::create_dir_all(parent).expect("a fresh directory is writable");
            fs::write(&path, bytes).expect("a fresh directory is writable");
        }
        components(data_dir, self.served)
    }
}

fn components(data_dir: &Path, served: Served) -> PathBuf {
    if served == Served::Plugins { plugin_directory() } else { data_dir.join(GUEST) }
}

async fn make(engine: Engine, served: Served) -> Template {
    let storage = Storage::new(engine, None);
    let plugins = components(storage.path(), served);
    let beside = match served {
        Served::Plugins => Vec::new(),
        Served::Guest(guest) => vec![guest_component(guest)],
        Served::GuestBesidePlugins(guest) => {
            let files = fs::read_dir(plugin_directory()).expect("a readable directory");
            let files = files.map(|file| file.expect("a readable directory").path());
            files.chain([guest_component(guest)]).collect()
        }
    };
    for file in beside {
        fs::create_dir_all(&plugins).expect("a fresh directory is writable");
        let name = file.file_name().expect("a file");
        fs::copy(&file, plugins.join(name))
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
    let log = Log::default();
    let started = HostProcess::start(&storage, &plugins, &[], &log).await;
    let process = started.unwrap_or_else(|why| panic!("{why}\n{}", log.text()));
    let status = process.stop().await;
    assert!(status.success(), "{status}\n{}", log.text());
    let mut files = Files::new();
    collect(storage.path(), Path::new(""), &mut files);
    Template { served, files, database: storage.database }
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
