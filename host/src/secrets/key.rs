//! One key, and what it seals.

use std::fmt;

use anyhow::bail;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::key_file::KeyBytes;

const FORMAT: u8 = 1;
const KEY_ID: usize = 4;
pub(super) const NONCE: usize = 24;

/// A sealed value: format, key id, nonce, ciphertext with tag.
pub type Sealed = Vec<u8>;

/// Which key it is: the beginning of its digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId([u8; KEY_ID]);

/// A key that seals and opens.
pub(super) struct Key {
    pub(super) id: KeyId,
    cipher: XChaCha20Poly1305,
    /// Keys for other purposes are derived from this one.
    bytes: KeyBytes,
}

impl Key {
    pub(super) fn new(bytes: KeyBytes) -> Self {
        let digest = Sha256::digest(bytes.as_slice());
        let mut id = [0; KEY_ID];
        id.copy_from_slice(&digest[..KEY_ID]);
        let cipher = XChaCha20Poly1305::new(bytes.as_slice().into());
        Self { id: KeyId(id), cipher, bytes }
    }

    pub(super) fn seal(&self, place: &str, secret: &[u8], nonce: [u8; NONCE]) -> Sealed {
        let payload = Payload { msg: secret, aad: place.as_bytes() };
        let sealed = self.cipher.encrypt(XNonce::from_slice(&nonce), payload);
        let sealed = sealed.expect("encryption fails only beyond 256 GiB");
        [&[FORMAT][..], &self.id.0, &nonce, &sealed].concat()
    }

    /// Opens what this key has sealed.
    pub(super) fn open(&self, place: &str, sealed: &[u8]) -> anyhow::Result<Zeroizing<Vec<u8>>> {
        let (nonce, text) = sealed[1 + KEY_ID..].split_at(NONCE);
        let payload = Payload { msg: text, aad: place.as_bytes() };
        match self.cipher.decrypt(XNonce::from_slice(nonce), payload) {
            Ok(secret) => Ok(Zeroizing::new(secret)),
            Err(_) => bail!("{place}: the sealed value was changed or moved"),
        }
    }

    /// A key for another purpose.
    pub(super) fn derive(&self, purpose: &str) -> [u8; 32] {
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
