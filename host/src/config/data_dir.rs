//! What lies where in the data directory.

use std::fs::{self, File, TryLockError};
use std::io::{Seek as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

/// The data directory.
#[derive(Clone, Debug)]
pub struct DataDir(PathBuf);

/// Held by the one host that serves a data directory; freed when dropped, or when the process ends.
#[derive(Debug)]
pub struct HostLock(File);

/// How the host of a data directory is, or was last, reached. Stands in its lock file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Announced {
    /// Where it listens.
    pub listen: SocketAddr,
    /// How others reach it, without a trailing slash.
    pub public_url: String,
    /// Components that it started without.
    #[serde(default)]
    pub refused: Vec<RefusedFile>,
}

/// A file of the plugin directory that wasn't installed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct RefusedFile {
    pub file: PathBuf,
    pub reason: String,
}

impl HostLock {
    /// Writes down how this host is reached, for commands in other processes.
    pub fn announce(&self, announced: &Announced) -> anyhow::Result<()> {
        let mut file = &self.0;
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(&serde_json::to_vec(announced)?)?;
        Ok(())
    }
}

impl DataDir {
    /// The directory at this path; nothing is made yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Makes what is missing, readable by its owner only: it holds customers' data. Refused while it is
    /// being filled from a backup.
    pub fn create(&self) -> anyhow::Result<()> {
        if self.restoring().exists() {
            bail!(
                "{}: a backup is being restored here, or that was broken off; then delete the directory \
                 and restore again",
                self.0.display()
            );
        }
        for path in [self.0.clone(), self.0.join("replication"), self.plugins()] {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path)
                .with_context(|| format!("making the directory {}", path.display()))?;
        }
        Ok(())
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The control database.
    pub fn control(&self) -> PathBuf {
        self.0.join("control.db")
    }

    /// The replication database of an organization.
    pub fn replication(&self, organization_key: &str) -> PathBuf {
        self.0.join("replication").join(format!("{organization_key}.db"))
    }

    /// Until the file is dropped, nobody else opens or removes a replication database.
    pub async fn hold_replication(&self) -> std::io::Result<File> {
        let path = self.0.join("replication").join("lock");
        let hold = move || {
            let file = File::options().create(true).truncate(false).write(true).open(path)?;
            file.lock()?;
            Ok(file)
        };
        tokio::task::spawn_blocking(hold).await.map_err(std::io::Error::other)?
    }

    /// Removes an organization's replication database, if it is there. For whoever holds it
    /// ([`DataDir::hold_replication`]).
    pub fn remove_replication(&self, organization_key: &str) -> std::io::Result<()> {
        let path = self.replication(organization_key);
        for end in ["db", "db-wal", "db-shm", "migrate-lock"] {
            match fs::remove_file(path.with_extension(end)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Installed components.
    pub fn plugins(&self) -> PathBuf {
        self.0.join("plugins")
    }

    /// One installed component.
    pub fn wasm(&self, digest: &str) -> PathBuf {
        self.plugins().join(format!("{digest}.wasm"))
    }

    /// Is there while the directory is filled from a backup.
    pub fn restoring(&self) -> PathBuf {
        self.0.join("restoring")
    }

    /// The keys that seal secrets, unless the configuration gives them.
    pub fn key(&self) -> PathBuf {
        self.0.join("key")
    }

    /// Refuses databases without the key that they need: a fresh one would open nothing.
    pub fn check_key(&self) -> anyhow::Result<()> {
        if self.control().exists() && !self.key().exists() {
            bail!(
                "{} is missing: put the key there that the secrets were sealed with, or give it as \
                 ROWGATE_KEY",
                self.key().display()
            );
        }
        Ok(())
    }

    /// How the host of this directory is, or was last, reached.
    pub fn announced(&self) -> Option<Announced> {
        serde_json::from_slice(&fs::read(self.host_lock()).ok()?).ok()
    }

    /// Whether a host serves this directory now.
    pub fn is_served(&self) -> bool {
        let file = File::open(self.host_lock());
        file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    fn host_lock(&self) -> PathBuf {
        self.0.join("host.lock")
    }

    /// Takes the lock of the host that serves this directory.
    pub fn lock(&self) -> anyhow::Result<HostLock> {
        let path = self.host_lock();
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .with_context(|| format!("opening {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(HostLock(file)),
            Err(TryLockError::WouldBlock) => bail!(
                "another rowgate serves {}: stop it first, or give this one another --data-dir",
                self.0.display()
            ),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("locking {}", path.display()))
            }
        }
    }
}
