//! Sealing: XChaCha20-Poly1305 (RFC 8439 with the extended nonce), a random nonce each time, and
//! the place where the value lives as associated data, so that a sealed value copied to another
//! row doesn't open.
//!
//! There may be several keys: the first seals, all open. A key file that is replaced is noticed by the
//! next sealing, so that nothing is sealed any more with a key that is about to go.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use anyhow::bail;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::key_file::{self, KeyBytes, KeyFile, KeyFileLock, Stamp};
use crate::chance::Chance;

const FORMAT: u8 = 1;
const KEY_ID: usize = 4;
const NONCE: usize = 24;

/// A sealed value: format, key id, nonce, ciphertext with tag.
pub type Sealed = Vec<u8>;

/// Which key it is: the beginning of its digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId([u8; KEY_ID]);

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
}

struct Key {
    id: KeyId,
    cipher: XChaCha20Poly1305,
    /// Keys for other purposes are derived from this one.
    bytes: KeyBytes,
}

impl Keyring {
    /// Takes the keys from `given` (base64 of 32 bytes each, with commas between), else from the file
    /// `key` in the data directory, which is made at first use and readable by its owner only.
    pub fn load(data_dir: &Path, given: Option<&str>, chance: Chance) -> anyhow::Result<Self> {
        if let Some(given) = given {
            return Ok(Self::over(key_file::parse(given)?, None, chance));
        }
        let file = KeyFile::of(data_dir);
        let stamp = file.stamp();
        let keys = file.read_or_create(&chance)?;
        let ring = Self::over(keys, Some(file), chance);
        ring.write().stamp = stamp;
        Ok(ring)
    }

    /// A keyring of this key.
    pub fn new(key: [u8; key_file::KEY], chance: Chance) -> Self {
        Self::over(vec![Zeroizing::new(key)], None, chance)
    }

    fn over(keys: Vec<KeyBytes>, file: Option<KeyFile>, chance: Chance) -> Self {
        let keys = keys.into_iter().map(Key::new).collect();
        let ring = Arc::new(RwLock::new(Ring { keys, stamp: None }));
        Self { ring, file: file.map(Arc::new), chance }
    }

    /// Seals `secret` for `place`, e.g. `owner_secrets/7/3/refresh_token`. To be called where the value
    /// is written, inside the transaction: who changes the key waits for transactions that have begun,
    /// and finds what they wrote.
    pub fn seal(&self, place: &str, secret: &[u8]) -> Sealed {
        self.follow_file();
        let nonce: [u8; NONCE] = self.chance.bytes();
        let payload = Payload { msg: secret, aad: place.as_bytes() };
        let ring = self.read();
        let Key { id, cipher, .. } = &ring.keys[0];
        let sealed = cipher
            .encrypt(XNonce::from_slice(&nonce), payload)
            .expect("encryption fails only beyond 256 GiB");
        [&[FORMAT][..], &id.0, &nonce, &sealed].concat()
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
        let (nonce, text) = sealed[1 + KEY_ID..].split_at(NONCE);
        let payload = Payload { msg: text, aad: place.as_bytes() };
        match key.cipher.decrypt(XNonce::from_slice(nonce), payload) {
            Ok(secret) => Ok(Zeroizing::new(secret)),
            Err(_) => bail!("{place}: the sealed value was changed or moved"),
        }
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

    /// Keeps others from changing the key file. None: there is no file.
    pub fn lock_file(&self) -> anyhow::Result<Option<KeyFileLock>> {
        self.file.as_ref().map(|file| file.lock()).transpose()
    }

    /// Lets a new key seal, here and in every process that uses the file; the others still open.
    pub fn put_first(&self) -> anyhow::Result<KeyId> {
        let Some(file) = &self.file else { bail!("the keys are given by the configuration") };
        let mut keys = vec![Zeroizing::new(self.chance.bytes())];
        keys.extend(file.read()?);
        file.replace(&keys)?;
        Ok(self.newest())
    }

    /// Takes all keys but the first out of the file. Processes that run keep them until they end: they
    /// may be about to open what they read before it was sealed again.
    pub fn keep_first(&self) -> anyhow::Result<()> {
        let Some(file) = &self.file else { bail!("the keys are given by the configuration") };
        let mut keys = file.read()?;
        keys.truncate(1);
        file.replace(&keys)
    }

    /// The same in memory alone.
    #[cfg(test)]
    pub(crate) fn put_before(&self, key: [u8; key_file::KEY]) -> KeyId {
        let key = Key::new(Zeroizing::new(key));
        let id = key.id;
        self.write().keys.insert(0, key);
        id
    }

    fn holds(&self, id: KeyId) -> bool {
        self.read().keys.iter().any(|key| key.id == id)
    }

    /// Reads the file again if it was replaced.
    fn follow_file(&self) {
        let Some(file) = &self.file else { return };
        let stamp = file.stamp();
        if stamp.is_none() || self.read().stamp == stamp {
            return;
        }
        match file.read() {
            Ok(keys) => self.write().take_up(keys, stamp),
            Err(error) => tracing::error!("the key file can't be read: {error:#}"),
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
    fn take_up(&mut self, keys: Vec<KeyBytes>, stamp: Option<Stamp>) {
        let mut taken: Vec<Key> = keys.into_iter().map(Key::new).collect();
        for key in self.keys.drain(..) {
            if taken.iter().all(|other| other.id != key.id) {
                taken.push(key);
            }
        }
        *self = Self { keys: taken, stamp };
    }
}

impl Key {
    fn new(bytes: KeyBytes) -> Self {
        let digest = Sha256::digest(bytes.as_slice());
        let mut id = [0; KEY_ID];
        id.copy_from_slice(&digest[..KEY_ID]);
        let cipher = XChaCha20Poly1305::new(bytes.as_slice().into());
        Self { id: KeyId(id), cipher, bytes }
    }

    fn derive(&self, purpose: &str) -> [u8; 32] {
        Sha256::new()
            .chain_update(b"rowgate derived key\0")
            .chain_update(self.bytes.as_slice())
            .chain_update(purpose.as_bytes())
            .finalize()
            .into()
    }
}

impl KeyId {
    /// The key that a value was sealed with. None: it isn't a sealed value.
    pub fn of(sealed: &[u8]) -> Option<Self> {
        let is_sealed = sealed.len() >= 1 + KEY_ID + NONCE && sealed[0] == FORMAT;
        let id = is_sealed.then(|| sealed[1..=KEY_ID].try_into().ok())?;
        id.map(Self)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyring")
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;

    use super::*;

    fn keyring(seed: u8) -> Keyring {
        Keyring::new([seed; 32], Chance::seeded(1))
    }

    #[test]
    fn a_sealed_value_opens_only_in_its_place_with_its_key_and_unchanged() {
        let ring = keyring(1);
        let sealed = ring.seal("a", b"secret");
        assert_eq!(ring.open("a", &sealed).unwrap().as_slice(), b"secret");
        assert_ne!(sealed, ring.seal("a", b"secret"), "the nonce is random");
        assert!(ring.open("b", &sealed).is_err());
        assert!(keyring(2).open("a", &sealed).is_err());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(ring.open("a", &changed).is_err(), "byte {at}");
        }
        assert!(ring.open("a", &[]).is_err());
    }

    #[test]
    fn the_key_file_is_made_once_and_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let first = Keyring::load(dir.path(), None, Chance::seeded(1)).unwrap();
        let second = Keyring::load(dir.path(), None, Chance::seeded(2)).unwrap();
        assert_eq!(first.ids(), second.ids());
        let mode = fs::metadata(dir.path().join("key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn processes_that_start_at_once_have_the_same_key() {
        for round in 0..20 {
            let dir = tempfile::tempdir().unwrap();
            let load = |seed| Keyring::load(dir.path(), None, Chance::seeded(seed)).unwrap().ids();
            let loaded = std::thread::scope(|scope| {
                let starting: Vec<_> =
                    (0..8).map(|nth| scope.spawn(move || load(8 * round + nth))).collect();
                starting.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
            });
            assert!(loaded.iter().all(|ids| *ids == loaded[0]), "{loaded:?}");
        }
    }

    /// A group may read it where the host isn't its owner.
    #[test]
    fn who_may_read_the_key_file_may_read_the_next_one() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let ring = Keyring::load(dir.path(), None, Chance::seeded(1)).unwrap();
        let file = dir.path().join("key");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        ring.put_first().unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        ring.keep_first().unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    }

    #[test]
    fn a_new_key_is_noticed_by_all_and_the_old_one_opens() {
        let dir = tempfile::tempdir().unwrap();
        let load = |seed| Keyring::load(dir.path(), None, Chance::seeded(seed)).unwrap();
        let (host, command) = (load(1), load(2));
        let old = host.ids();
        let before = host.seal("a", b"before");
        let lock = command.lock_file().unwrap();
        assert!(host.lock_file().is_err(), "one changes the key at a time");
        let new = command.put_first().unwrap();
        assert_eq!(command.ids(), [new, old[0]]);
        // The host seals with it from now on, and each opens what the other has sealed.
        let after = host.seal("a", b"after");
        assert_eq!(KeyId::of(&after), Some(new));
        assert_eq!(command.open("a", &after).unwrap().as_slice(), b"after");
        assert_eq!(command.open("a", &before).unwrap().as_slice(), b"before");
        command.keep_first().unwrap();
        drop(lock);
        assert_eq!(KeyId::of(&host.seal("a", b"")), Some(new));
        assert_eq!(host.open("a", &before).unwrap().as_slice(), b"before", "until it ends");
        let later = load(3);
        assert_eq!(later.ids(), [new]);
        assert!(later.open("a", &before).is_err());
        assert_eq!(later.open("a", &after).unwrap().as_slice(), b"after");
    }

    #[test]
    fn what_was_sealed_with_a_new_key_is_opened_by_who_has_not_sealed_since() {
        let dir = tempfile::tempdir().unwrap();
        let load = |seed| Keyring::load(dir.path(), None, Chance::seeded(seed)).unwrap();
        let (host, command) = (load(1), load(2));
        command.put_first().unwrap();
        let sealed = command.seal("a", b"secret");
        assert_eq!(host.open("a", &sealed).unwrap().as_slice(), b"secret");
    }

    #[test]
    fn given_keys_are_several_and_stay_as_they_are() {
        let key = |byte: u8| BASE64_STANDARD.encode([byte; 32]);
        let given = format!("{}, {}", key(2), key(1));
        let dir = tempfile::tempdir().unwrap();
        let ring = Keyring::load(dir.path(), Some(&given), Chance::seeded(1)).unwrap();
        assert_eq!(ring.ids(), [keyring(2).newest(), keyring(1).newest()]);
        let sealed = keyring(1).seal("a", b"secret");
        assert_eq!(ring.open("a", &sealed).unwrap().as_slice(), b"secret");
        assert_eq!(ring.derive_all("x"), [keyring(2).derive("x"), keyring(1).derive("x")]);
        assert!(ring.put_first().is_err() && ring.keep_first().is_err());
        assert!(!dir.path().join("key").exists());
        for (wrong, why) in [("", "no key"), ("abc", "base64"), ("YWJj", "3 bytes")] {
            let error = Keyring::load(dir.path(), Some(wrong), Chance::seeded(1)).unwrap_err();
            assert!(format!("{error:#}").contains(why), "{wrong}: {error:#}");
        }
    }
}
