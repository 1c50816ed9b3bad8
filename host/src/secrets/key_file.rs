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

use super::key::{Key, KeyId};
use crate::chance::Chance;

/// The file is read again so many times if it changes meanwhile.
const ATTEMPTS: usize = 100;

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

/// Held on a key by all processes that seal with it, or alone by the one that takes it away. Freed when
/// dropped, or when the process ends.
#[derive(Debug)]
#[must_use]
pub(super) struct Held {
    _file: File,
}

/// What is in the file.
pub(super) struct TakenUp {
    /// The first seals.
    pub(super) keys: Vec<Key>,
    pub(super) stamp: Option<Stamp>,
    /// On the first one.
    pub(super) held: Held,
}

impl KeyFile {
    pub(super) fn of(data_dir: &Path) -> Self {
        Self(data_dir.join("key"))
    }

    /// Makes a key at first use, readable by the file's owner only. Of processes that come at once the
    /// first makes it, and nobody sees it half written.
    pub(super) fn create(&self, chance: &Chance) -> anyhow::Result<()> {
        if !self.is_missing() {
            return Ok(());
        }
        let (file, of) = self.open_lock()?;
        file.lock().with_context(of)?;
        if self.is_missing() {
            self.replace(&[Zeroizing::new(chance.bytes())])?;
        }
        Ok(())
    }

    /// The keys, with a hold on the first one. A file that was replaced before it was held is read again:
    /// so whoever holds a key alone, behind another one in the file, knows that nobody takes it up.
    pub(super) fn take_up(&self) -> anyhow::Result<TakenUp> {
        for _ in 0..ATTEMPTS {
            let stamp = self.stamp();
            let keys: Vec<Key> = self.read()?.into_iter().map(Key::new).collect();
            let Some(held) = self.hold(keys[0].id)? else { continue };
            if self.stamp() == stamp {
                return Ok(TakenUp { keys, stamp, held });
            }
        }
        bail!("{} changes all the time", self.0.display());
    }

    pub(super) fn ids(&self) -> anyhow::Result<Vec<KeyId>> {
        Ok(self.read()?.into_iter().map(|bytes| Key::new(bytes).id).collect())
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

    /// Holds a key beside others. None: it is being taken away.
    fn hold(&self, id: KeyId) -> anyhow::Result<Option<Held>> {
        let file = self.open_held(id)?;
        let locked = file.try_lock_shared();
        self.held(id, file, locked)
    }

    /// Holds a key alone. None: a process seals with it.
    pub(super) fn hold_alone(&self, id: KeyId) -> anyhow::Result<Option<Held>> {
        let file = self.open_held(id)?;
        let locked = file.try_lock();
        self.held(id, file, locked)
    }

    /// Nobody will ask for a key any more that was taken away.
    pub(super) fn let_go(&self, id: KeyId, held: Held) {
        // A file that stays is empty, and in nobody's way.
        let _ = fs::remove_file(self.held_path(id));
        drop(held);
    }

    fn held(
        &self,
        id: KeyId,
        file: File,
        locked: Result<(), fs::TryLockError>,
    ) -> anyhow::Result<Option<Held>> {
        match locked {
            Ok(()) => Ok(Some(Held { _file: file })),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("locking {}", self.held_path(id).display()))
            }
        }
    }

    /// Whoever may read the key can hold it, whoever made the file: there is nothing in it.
    fn open_held(&self, id: KeyId) -> anyhow::Result<File> {
        let path = self.held_path(id);
        let opened = match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                File::options().create(true).truncate(false).write(true).mode(0o644).open(&path)
            }
            opened => opened,
        };
        opened.with_context(|| format!("opening {}", path.display()))
    }

    fn held_path(&self, id: KeyId) -> PathBuf {
        self.0.with_extension(format!("{id}.held"))
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
