//! Sealing: XChaCha20-Poly1305 (RFC 8439 with the extended nonce), a random nonce each time, and
//! the place where the value lives as associated data, so that a sealed value copied to another
//! row doesn't open.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, bail};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::chance::Chance;

const FORMAT: u8 = 1;
const KEY_ID: usize = 4;
const NONCE: usize = 24;

/// A sealed value: format, key id, nonce, ciphertext with tag.
pub type Sealed = Vec<u8>;

/// The key that seals and opens secrets.
#[derive(Clone)]
pub struct Keyring {
    cipher: XChaCha20Poly1305,
    key_id: [u8; KEY_ID],
    /// Keys for other purposes are derived from this one.
    key: Zeroizing<[u8; 32]>,
    chance: Chance,
}

impl Keyring {
    /// Takes the key from `given` (base64 of 32 bytes), else from the file `key` in the data
    /// directory, which is made at first use and readable by its owner only.
    pub fn load(data_dir: &Path, given: Option<&str>, chance: Chance) -> anyhow::Result<Self> {
        let text = match given {
            Some(text) => Zeroizing::new(text.to_owned()),
            None => read_or_create(&data_dir.join("key"), &chance)?,
        };
        let bytes = Zeroizing::new(
            BASE64_STANDARD.decode(text.trim()).context("the key must be base64 of 32 bytes")?,
        );
        let Ok(key) = <[u8; 32]>::try_from(bytes.as_slice()) else {
            bail!("the key has {} bytes, 32 are needed", bytes.len());
        };
        Ok(Self::new(key, chance))
    }

    /// A keyring of this key.
    pub fn new(key: [u8; 32], chance: Chance) -> Self {
        let digest = Sha256::digest(key);
        let mut key_id = [0; KEY_ID];
        key_id.copy_from_slice(&digest[..KEY_ID]);
        let cipher = XChaCha20Poly1305::new(&key.into());
        Self { cipher, key_id, key: Zeroizing::new(key), chance }
    }

    /// Seals `secret` for `place`, e.g. `owner_secrets/7/3/refresh_token`.
    pub fn seal(&self, place: &str, secret: &[u8]) -> Sealed {
        let nonce: [u8; NONCE] = self.chance.bytes();
        let payload = Payload { msg: secret, aad: place.as_bytes() };
        let sealed = self
            .cipher
            .encrypt(XNonce::from_slice(&nonce), payload)
            .expect("encryption fails only beyond 256 GiB");
        [&[FORMAT][..], &self.key_id, &nonce, &sealed].concat()
    }

    /// Opens what was sealed for the same `place`.
    pub fn open(&self, place: &str, sealed: &[u8]) -> anyhow::Result<Zeroizing<Vec<u8>>> {
        let head = 1 + KEY_ID;
        if sealed.len() < head + NONCE || sealed[0] != FORMAT {
            bail!("{place}: not a sealed value");
        }
        if sealed[1..head] != self.key_id {
            bail!(
                "{place}: sealed with another key; start rowgate with the key it was sealed with"
            );
        }
        let (nonce, text) = sealed[head..].split_at(NONCE);
        let payload = Payload { msg: text, aad: place.as_bytes() };
        match self.cipher.decrypt(XNonce::from_slice(nonce), payload) {
            Ok(secret) => Ok(Zeroizing::new(secret)),
            Err(_) => bail!("{place}: the sealed value was changed or moved"),
        }
    }

    /// A key for another purpose, e.g. `compiled components`.
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        Sha256::new()
            .chain_update(b"rowgate derived key\0")
            .chain_update(self.key.as_slice())
            .chain_update(purpose.as_bytes())
            .finalize()
            .into()
    }
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keyring")
    }
}

fn read_or_create(path: &Path, chance: &Chance) -> anyhow::Result<Zeroizing<String>> {
    use std::os::unix::fs::OpenOptionsExt;
    let made = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    match made {
        Ok(mut file) => {
            let text = BASE64_STANDARD.encode(chance.bytes::<32>());
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            Ok(Zeroizing::new(text))
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let text = fs::read_to_string(path);
            Ok(Zeroizing::new(text.with_context(|| format!("reading {}", path.display()))?))
        }
        Err(error) => Err(error).with_context(|| format!("creating {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(first.key, second.key);
        let mode = fs::metadata(dir.path().join("key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
