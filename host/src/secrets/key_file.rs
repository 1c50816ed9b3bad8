//! The file of keys in a data directory: one a line, in base64. The first seals, the others only open
//! what was sealed with them before.

use std::fs::{self, File, Metadata};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

use crate::chance::Chance;

/// Bytes of a key.
pub(super) const KEY: usize = 32;
pub(super) type KeyBytes = Zeroizing<[u8; KEY]>;

#[derive(Debug)]
pub(super) struct KeyFile(PathBuf);

/// What tells a file from the one that replaced it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    modified: (i64, i64),
}

/// Held while keys are changed or copied, by one process at a time. Freed when dropped, or when it ends.
#[derive(Debug)]
#[must_use]
pub struct KeyFileLock {
    _file: File,
}

impl KeyFile {
    pub(super) fn of(data_dir: &Path) -> Self {
        Self(data_dir.join("key"))
    }

    /// The keys; at first use one is made, readable by the file's owner only. Of processes that come at
    /// once the first makes it, and nobody sees it half written.
    pub(super) fn read_or_create(&self, chance: &Chance) -> anyhow::Result<Vec<KeyBytes>> {
        if self.is_missing() {
            let (file, of) = self.open_lock()?;
            file.lock().with_context(of)?;
            if self.is_missing() {
                self.replace(&[Zeroizing::new(chance.bytes())])?;
            }
        }
        self.read()
    }

    pub(super) fn read(&self) -> anyhow::Result<Vec<KeyBytes>> {
        let of = || format!("reading {}", self.0.display());
        let text = Zeroizing::new(fs::read_to_string(&self.0).with_context(of)?);
        parse(&text).with_context(of)
    }

    /// Replaces the file, on disk when this returns: who reads it has all keys, before or after. It stays
    /// its owner's, and readable to the same: the host may run as somebody else than whoever changes the
    /// key.
    pub(super) fn replace(&self, keys: &[KeyBytes]) -> anyhow::Result<()> {
        let beside = self.0.with_extension("new");
        let replaced = || -> std::io::Result<()> {
            // What a process left that died here.
            let _ = fs::remove_file(&beside);
            let mut file =
                File::options().write(true).create_new(true).mode(0o600).open(&beside)?;
            if let Some(before) = self.metadata()? {
                fchown(&file, Some(before.uid()), Some(before.gid()))?;
                file.set_permissions(before.permissions())?;
            }
            file.write_all(text(keys).as_bytes())?;
            file.sync_all()?;
            fs::rename(&beside, &self.0)?;
            File::open(self.0.parent().unwrap_or(Path::new(".")))?.sync_all()
        };
        replaced().with_context(|| format!("writing {}", self.0.display()))
    }

    /// A link to somewhere isn't, whatever is there.
    fn is_missing(&self) -> bool {
        fs::symlink_metadata(&self.0).is_err_and(|error| error.kind() == ErrorKind::NotFound)
    }

    fn metadata(&self) -> std::io::Result<Option<Metadata>> {
        match fs::metadata(&self.0) {
            Ok(metadata) => Ok(Some(metadata)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn stamp(&self) -> Option<Stamp> {
        let metadata = self.metadata().ok()??;
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        Some(Stamp { inode: metadata.ino(), modified })
    }

    /// Refused while another process changes keys, or copies them.
    pub(super) fn lock(&self) -> anyhow::Result<KeyFileLock> {
        let (file, of) = self.open_lock()?;
        match file.try_lock() {
            Ok(()) => Ok(KeyFileLock { _file: file }),
            Err(fs::TryLockError::WouldBlock) => {
                bail!("the key is being changed, or copied to a backup, by another process")
            }
            Err(fs::TryLockError::Error(error)) => Err(error).with_context(of),
        }
    }

    /// The file that is locked, and what is being done if that fails.
    fn open_lock(&self) -> anyhow::Result<(File, impl Fn() -> String)> {
        let path = self.0.with_extension("lock");
        let of = move || format!("locking {}", path.display());
        let mut options = File::options();
        options.create(true).truncate(false).write(true).mode(0o600);
        let file = options.open(self.0.with_extension("lock")).with_context(&of)?;
        Ok((file, of))
    }
}

/// Keys with commas or white space between them.
pub(super) fn parse(text: &str) -> anyhow::Result<Vec<KeyBytes>> {
    let mut keys = Vec::new();
    for key in text.split([',', ' ', '\t', '\r', '\n']).filter(|key| !key.is_empty()) {
        let bytes = BASE64_STANDARD.decode(key).map(Zeroizing::new);
        let bytes = bytes.context("a key must be base64 of 32 bytes")?;
        let Ok(key) = <[u8; KEY]>::try_from(bytes.as_slice()) else {
            bail!("a key has {} bytes, {KEY} are needed", bytes.len());
        };
        keys.push(Zeroizing::new(key));
    }
    if keys.is_empty() {
        bail!("there is no key");
    }
    Ok(keys)
}

fn text(keys: &[KeyBytes]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::new());
    for key in keys {
        BASE64_STANDARD.encode_string(key.as_slice(), &mut text);
        text.push('\n');
    }
    text
}
