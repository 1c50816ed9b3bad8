//! What lies where in the data directory.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// The data directory.
#[derive(Clone, Debug)]
pub struct DataDir(PathBuf);

/// Held by the one host that serves a data directory; freed when dropped, or when the process ends.
#[derive(Debug)]
pub struct HostLock(#[expect(dead_code, reason = "the lock lives as long as the file")] File);

impl DataDir {
    /// The directory at this path; nothing is made yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Makes what is missing, readable by its owner only: it holds customers' data.
    pub fn create(&self) -> anyhow::Result<()> {
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

    /// Installed components.
    pub fn plugins(&self) -> PathBuf {
        self.0.join("plugins")
    }

    /// One installed component.
    pub fn wasm(&self, digest: &str) -> PathBuf {
        self.plugins().join(format!("{digest}.wasm"))
    }

    /// Takes the lock of the host that serves this directory.
    pub fn lock(&self) -> anyhow::Result<HostLock> {
        let path = self.0.join("host.lock");
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
