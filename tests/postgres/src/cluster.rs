//! A cluster: its directory, its server, what is done to both.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::{Context, Result, bail};

use crate::client::Client;
use crate::database::Database;
use crate::install::{self, Account};
use crate::server::{Launch, Log, Server, Signal};
use crate::watchdog::Watchdog;

/// The role of hosts and of their customers, no superuser: it owns the databases of tests, and may make others and
/// roles.
pub(crate) const USER: &str = "rowgate";
pub(crate) const SUPERUSER: &str = "postgres";
/// The database that is always there.
const MAINTENANCE: &str = "postgres";
const MEMORY: &str = "/dev/shm";
/// Below this the directory goes to the disk: containers often have next to nothing there.
const MEMORY_MIN_BYTES: u64 = 1 << 30;
/// Below the range from which the system takes ports for outgoing connections: a server that is down
/// for a moment must find its port free.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// How a cluster is made.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Sync to disk as a real server does. Without it, killed processes still lose nothing.
    pub fsync: bool,
    /// Where its directory is made. None: in memory, if there is enough.
    pub below: Option<PathBuf>,
    /// Settings of the server beyond those that every cluster has.
    pub settings: Vec<(String, String)>,
}

/// A running PostgreSQL server that is gone with this process.
#[derive(Debug)]
pub struct Cluster {
    port: u16,
    launch: Launch,
    /// None: it was ended and not started again.
    server: Mutex<Option<Server>>,
    log: Log,
    databases: AtomicU64,
    directory: PathBuf,
    _watchdog: Watchdog,
}

impl Cluster {
    /// The one that all tests of this process share.
    ///
    /// # Panics
    /// If it can't be started; the text says what to install.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(|| {
            Self::start(&Options::default()).unwrap_or_else(|error| panic!("{error:#}"))
        })
    }

    /// Makes a cluster and starts its server.
    pub fn start(options: &Options) -> Result<Self> {
        let (programs, account) = (install::programs()?, Account::find()?);
        let below = options.below.clone().unwrap_or_else(roomy);
        let directory = tempfile::Builder::new().prefix("rowgate-postgres-").tempdir_in(below)?;
        if let Some(Account { user, group }) = account {
            chown(directory.path(), Some(user), Some(group))?;
        }
        let watchdog = Watchdog::start(directory.path(), account)?;
        // From here on it is the watchdog's.
        let directory = directory.keep();
        let data = directory.join("data");
        init(&programs, account, &data)?;
        let port = free_port()?;
        let settings = settings(port, options);
        let launch = Launch { programs, account, data, settings };
        let log = Log::default();
        let server = Server::start(&launch, &log)
            .with_context(|| log.lock().unwrap_or_else(PoisonError::into_inner).clone())?;
        let (server, databases) = (Mutex::new(Some(server)), AtomicU64::default());
        let cluster = Self { port, launch, server, log, databases, directory, _watchdog: watchdog };
        let role = format!("create role {USER} login createdb createrole");
        cluster.maintenance()?.query(&role)?;
        Ok(cluster)
    }

    /// The URL of a database, whether it exists or not.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}@{}/{database}", self.address())
    }

    /// The URL of the server's own database, from which others are made.
    pub fn maintenance_url(&self) -> String {
        self.url(MAINTENANCE)
    }

    /// The same as the superuser.
    pub fn superuser_url(&self, database: &str) -> String {
        format!("postgres://{SUPERUSER}@{}/{database}", self.address())
    }

    /// A connection to a database.
    pub fn connect(&self, database: &str) -> Result<Client> {
        Client::connect(self.address(), USER, database)
    }

    /// The same as the superuser.
    pub fn superuser(&self, database: &str) -> Result<Client> {
        Client::connect(self.address(), SUPERUSER, database)
    }

    /// A connection to the server's own database, as the superuser.
    pub fn maintenance(&self) -> Result<Client> {
        self.superuser(MAINTENANCE)
    }

    /// A new, empty database.
    pub fn create_database(&self) -> Result<Database<'_>> {
        self.create_database_from("template1")
    }

    /// A copy of a database that nobody is connected to.
    pub fn create_database_from(&self, template: &str) -> Result<Database<'_>> {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let create = format!("create database {name} owner {USER} template {template}");
        self.maintenance()?.query(&create)?;
        Ok(Database::new(self, name))
    }

    /// Stops the server in order.
    pub fn stop(&self) -> Result<()> {
        self.end(Signal::Int)
    }

    /// Stops it at once: connections end, nothing is written, the next start recovers.
    pub fn crash(&self) -> Result<()> {
        self.end(Signal::Quit)
    }

    /// SIGKILL; the next start recovers.
    pub fn kill(&self) -> Result<()> {
        self.end(Signal::Kill)
    }

    /// Starts it again, on the same port.
    pub fn start_again(&self) -> Result<()> {
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        if server.is_some() {
            bail!("the server runs");
        }
        *server = Some(Server::start(&self.launch, &self.log).with_context(|| self.log())?);
        Ok(())
    }

    /// Ends every connection to a database. Returns how many there were.
    pub fn cut_connections(&self, database: &str) -> Result<usize> {
        let cut = format!(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = '{database}'"
        );
        Ok(self.maintenance()?.query(&cut)?.len())
    }

    /// SIGSTOP to all its processes: connections stay open and nothing answers.
    pub fn freeze(&self) {
        self.signal_all(Signal::Stop);
    }

    /// Goes on after [`Cluster::freeze`].
    pub fn thaw(&self) {
        self.signal_all(Signal::Continue);
    }

    /// What the servers said so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where it lies.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A program beside the server's.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.launch.programs.join(name)
    }

    pub(crate) fn account(&self) -> Option<Account> {
        self.launch.account
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    fn end(&self, signal: Signal) -> Result<()> {
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        server.take().context("the server doesn't run")?.end(signal)
    }

    fn signal_all(&self, signal: Signal) {
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        server.iter().for_each(|server| server.signal_all(signal));
    }
}

/// In memory if there is enough, else where temporary files go.
fn roomy() -> PathBuf {
    let free = rustix::fs::statvfs(MEMORY).map(|all| all.f_bavail * all.f_frsize);
    match free {
        Ok(bytes) if bytes >= MEMORY_MIN_BYTES => MEMORY.into(),
        _ => std::env::temp_dir(),
    }
}

fn init(programs: &Path, account: Option<Account>, data: &Path) -> Result<()> {
    let mut initdb = install::command(programs.join("initdb"), account);
    initdb.arg("-D").arg(data).args(["--username", SUPERUSER, "--auth", "trust", "--no-sync"]);
    // Text sorts by language, as in most customers' databases, and not as bytes.
    initdb.args(["--encoding", "UTF8", "--locale", "C", "--locale-provider", "icu"]);
    initdb.args(["--icu-locale", "en"]).current_dir("/").stdin(Stdio::null());
    let output = initdb.output().context("can't start initdb")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("initdb ended with {}: {said}", output.status);
    }
    Ok(())
}

fn free_port() -> Result<u16> {
    let count = u32::from(PORTS.end - PORTS.start);
    // Processes that start side by side begin apart.
    let first = std::process::id().wrapping_mul(7) % count;
    let at = |step| PORTS.start + u16::try_from((first + step) % count).unwrap_or_default();
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    (0..count).map(at).find(is_free).context("no free port")
}

fn settings(port: u16, options: &Options) -> Vec<(String, String)> {
    let own = [
        ("port", port.to_string()),
        ("listen_addresses", "127.0.0.1".into()),
        ("unix_socket_directories", String::new()),
        ("max_connections", "300".into()),
        ("fsync", if options.fsync { "on" } else { "off" }.into()),
        // Those of others lie in /dev/shm, and stay there after a SIGKILL.
        ("dynamic_shared_memory_type", "mmap".into()),
        ("lc_messages", "C".into()),
        ("log_line_prefix", "%m [%p] %d ".into()),
    ];
    let own = own.into_iter().map(|(name, value)| (name.to_owned(), value));
    own.chain(options.settings.iter().cloned()).collect()
}
