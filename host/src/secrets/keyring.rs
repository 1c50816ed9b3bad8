//! Sealing: XChaCha20-Poly1305 (RFC 8439 with the extended nonce), a random nonce each time, and
//! the place where the value lives as associated data, so that a sealed value copied to another
//! row doesn't open.
//!
//! There may be several keys: the first seals, all open. A key file that is replaced is noticed by the
//! next sealing, or within a second by a host. Until a process has read it, it seals on with the key
//! that it has, and holds that: who takes a key away waits until nobody does (`change`).

mod change;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use anyhow::bail;
use zeroize::Zeroizing;

use super::key::{Key, KeyId, Sealed};
use super::key_file::{self, Held, KeyBytes, KeyFile, Stamp, TakenUp};
use crate::chance::Chance;
use crate::clock::Clock;

pub use change::Retiring;

/// How often a host looks whether the key file was replaced.
const LOOK: Duration = Duration::from_secs(1);

/// The keys that seal and open secrets. Clones are the same.
#[derive(Clone)]
pub struct Keyring {
    ring: Arc<RwLock<Ring>>,
    /// None: the keys were given by the configuration.
    file: Option<Arc<KeyFile>>,
    chance: Chance,
}

struct Ring {
    /// The first one seals. Never empty.
    keys: Vec<Key>,
    /// What the file was when it was read.
    stamp: Option<Stamp>,
    /// While this is here nobody takes the first key away.
    _held: Option<Held>,
    /// A file that couldn't be read, which is said once.
    unread: Option<Stamp>,
}

impl Keyring {
    /// Takes the keys from `given` (base64 of 32 bytes each, with commas between), else from the file
    /// `key` in the data directory, which is made at first use and readable by its owner only.
    pub fn load(data_dir: &Path, given: Option<&str>, chance: Chance) -> anyhow::Result<Self> {
        if let Some(given) = given {
            return Ok(Self::over(key_file::parse(given)?, None, chance));
        }
        let file = KeyFile::of(data_dir);
        file.create(&chance)?;
        let taken = file.take_up()?;
        let ring = Self::over(Vec::new(), Some(file), chance);
        ring.write().take_up(taken);
        Ok(ring)
    }

    /// A keyring of this key.
    pub fn new(key: [u8; key_file::KEY], chance: Chance) -> Self {
        Self::over(vec![Zeroizing::new(key)], None, chance)
    }

    fn over(keys: Vec<KeyBytes>, file: Option<KeyFile>, chance: Chance) -> Self {
        let keys = keys.into_iter().map(Key::new).collect();
        let ring = Ring { keys, stamp: None, _held: None, unread: None };
        Self { ring: Arc::new(RwLock::new(ring)), file: file.map(Arc::new), chance }
    }

    /// Seals `secret` for `place`, e.g. `owner_secrets/7/3/refresh_token`. To be called where the value
    /// is written, inside the transaction: who changes the key waits for transactions that have begun,
    /// and finds what they wrote.
    pub fn seal(&self, place: &str, secret: &[u8]) -> Sealed {
        self.follow_file();
        self.read().keys[0].seal(place, secret, self.chance.bytes())
    }

    /// Opens what was sealed for the same `place`.
    pub fn open(&self, place: &str, sealed: &[u8]) -> anyhow::Result<Zeroizing<Vec<u8>>> {
        let Some(id) = KeyId::of(sealed) else { bail!("{place}: not a sealed value") };
        if !self.holds(id) {
            self.follow_file();
        }
        let ring = self.read();
        let Some(key) = ring.keys.iter().find(|key| key.id == id) else {
            bail!(
                "{place}: sealed with another key ({id}); start rowgate with the key it was sealed with"
            );
        };
        key.open(place, sealed)
    }

    /// A key for another purpose, e.g. `compiled components`. Another one once the key has changed.
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        self.follow_file();
        self.read().keys[0].derive(purpose)
    }

    /// The same of every key, the one that seals first: for what was made before the key changed.
    pub fn derive_all(&self, purpose: &str) -> Vec<[u8; 32]> {
        self.follow_file();
        self.read().keys.iter().map(|key| key.derive(purpose)).collect()
    }

    /// The key that seals.
    pub fn newest(&self) -> KeyId {
        self.follow_file();
        self.read().keys[0].id
    }

    /// All keys that were given, the one that seals first.
    pub fn ids(&self) -> Vec<KeyId> {
        self.follow_file();
        self.read().keys.iter().map(|key| key.id).collect()
    }

    /// Whether the keys stand in a file of ours, so that [`Keyring::put_first`] can change them.
    pub fn is_in_file(&self) -> bool {
        self.file.is_some()
    }

    /// Takes up another key soon, also where nothing is sealed. Never ends.
    pub async fn keep_up(self, clock: Clock) {
        loop {
            clock.sleep(LOOK).await;
            self.follow_file();
        }
    }

    fn holds(&self, id: KeyId) -> bool {
        self.read().keys.iter().any(|key| key.id == id)
    }

    /// Reads the file again if it was replaced. Where it can't be read, the key that this process has
    /// goes on sealing: it holds it, so nobody takes it away.
    fn follow_file(&self) {
        let Some(file) = &self.file else { return };
        let stamp = file.stamp();
        if stamp.is_none() || self.read().stamp == stamp {
            return;
        }
        match file.take_up() {
            Ok(taken) => self.write().take_up(taken),
            Err(error) => {
                let said_before = std::mem::replace(&mut self.write().unread, stamp) == stamp;
                if !said_before {
                    tracing::error!(
                        "the key file was replaced and can't be read; the key before it goes on sealing, \
                         and can't be taken away: {error:#}"
                    );
                }
            }
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Ring> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Ring> {
        self.ring.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    /// Keys that are in the file no more stay behind those that are.
    fn take_up(&mut self, taken: TakenUp) {
        let mut keys = taken.keys;
        for key in self.keys.drain(..) {
            if keys.iter().all(|other| other.id != key.id) {
                keys.push(key);
            }
        }
        *self = Self { keys, stamp: taken.stamp, _held: Some(taken.held), unread: None };
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyring")
    }
}

#[cfg(test)]
mod tests;
