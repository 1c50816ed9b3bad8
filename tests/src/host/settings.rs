//! How a host is made: alone, beside others on their database, from a backup.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rowgate::clock::Clock;
use simulator::{Options, Simulator};
use tokio::sync::OnceCell;

use super::TestHost;
use crate::log::Log;
use crate::storage::{Engine, Storage};
use crate::template::{self, Served};

/// How a [`TestHost`] is made.
#[derive(Clone, Default)]
pub struct Settings {
    simulator: Option<Arc<Simulator>>,
    /// None: as ROWGATE_TEST_DATABASE says.
    engine: Option<Engine>,
    served: Served,
    environment: Vec<(OsString, OsString)>,
    clock: Option<Clock>,
}

impl Settings {
    /// Use this simulator instead of a fresh one.
    pub fn simulator(mut self, simulator: Arc<Simulator>) -> Self {
        self.simulator = Some(simulator);
        self
    }

    /// Keep everything in files, whatever database the tests use otherwise.
    pub fn on_files(mut self) -> Self {
        self.engine = Some(Engine::Sqlite);
        self
    }

    /// Keep everything on a PostgreSQL server.
    pub fn on_postgres(mut self) -> Self {
        self.engine = Some(Engine::Postgres);
        self
    }

    /// Serve this guest of the tests instead of the plugins.
    pub fn guest(mut self, name: &'static str) -> Self {
        self.served = Served::Guest(name);
        self
    }

    /// Serve this guest of the tests beside the plugins.
    pub fn guest_beside_plugins(mut self, name: &'static str) -> Self {
        self.served = Served::GuestBesidePlugins(name);
        self
    }

    /// Give `serve` a variable. Waits are short by default.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Run the host inside the test, under this clock. Its log is not kept.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Starts simulator and host.
    pub async fn start(self) -> TestHost {
        let engine = self.engine.unwrap_or_else(Engine::configured);
        let (storage, plugins) = template::storage(engine, self.served).await;
        self.start_in(storage, plugins).await
    }

    /// Starts another host on the database of one that is there, with the same simulator.
    pub async fn start_beside(self, host: &TestHost) -> TestHost {
        let database = host.storage.database.as_ref().expect("only a server can be shared");
        let (storage, plugins) = template::beside(database, self.served).await;
        self.simulator(Arc::clone(&host.simulator)).start_in(storage, plugins).await
    }

    /// Starts two hosts at once, without components, on an empty database of a server.
    pub async fn start_two_at_once(self) -> [TestHost; 2] {
        let first = Storage::new(Engine::Postgres, None);
        let second = Storage::beside(first.database.clone());
        let nothing = first.path().join("nothing");
        std::fs::create_dir(&nothing).expect("a directory just made");
        let both = (self.clone().start_in(first, nothing.clone()), self.start_in(second, nothing));
        tokio::join!(both.0, both.1).into()
    }

    /// Starts a host on what `rowgate restore` makes of another one's backup, with the key, the compiled
    /// components and the simulator of that one.
    pub async fn start_restored(self, host: &TestHost, backup: &Path) -> TestHost {
        let storage = Storage::beside(None);
        let mut restore = storage.command();
        let restored = restore.arg("restore").arg(backup).output().await;
        let restored = restored.expect("the host's binary can be started");
        assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
        let (from, to) = (host.data_dir(), storage.path());
        let copy = |name: PathBuf| {
            std::fs::copy(from.join(&name), to.join(&name)).expect("a directory just made");
        };
        copy("key".into());
        for file in std::fs::read_dir(from.join("plugins")).expect("a readable directory") {
            copy(Path::new("plugins").join(file.expect("a readable directory").file_name()));
        }
        let plugins = host.plugins.clone();
        self.simulator(Arc::clone(&host.simulator)).start_in(storage, plugins).await
    }

    async fn start_in(self, storage: Storage, plugins: PathBuf) -> TestHost {
        let fresh = || Arc::new(Simulator::start(Options::default()).expect("loopback is free"));
        let mut environment: Vec<(OsString, OsString)> = vec![
            ("ROWGATE_RUN_BACK_OFF_BASE_MS".into(), "20".into()),
            ("ROWGATE_RUN_BACK_OFF_MAX_MS".into(), "200".into()),
        ];
        if self.clock.is_none() {
            // To a host's own clock the vendor's days are long past: what is cancelled would be old at once.
            environment.push(("ROWGATE_RETENTION_STALE_ROW_DAYS".into(), "36500".into()));
        }
        environment.extend(self.environment);
        let mut host = TestHost {
            simulator: self.simulator.unwrap_or_else(fresh),
            client: reqwest::Client::builder().no_proxy().build().expect("no TLS set-up can fail"),
            storage,
            plugins,
            environment,
            clock: self.clock,
            process: None,
            log: Log::default(),
            store: OnceCell::new(),
        };
        host.launch().await;
        host
    }
}
