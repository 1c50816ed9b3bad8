//! A change of the keys in the file, beside processes that seal.

use anyhow::bail;
use zeroize::Zeroizing;

use super::Keyring;
#[cfg(test)]
use crate::secrets::key::Key;
use crate::secrets::key::KeyId;
use crate::secrets::key_file::{Held, KeyFile, KeyFileLock};

/// Keys that no process seals with. While it is here none begins to.
#[derive(Debug)]
#[must_use]
pub struct Retiring(Vec<(KeyId, Held)>);

impl Keyring {
    /// Keeps others from changing the key file. None: there is no file.
    pub fn lock_file(&self) -> anyhow::Result<Option<KeyFileLock>> {
        self.file.as_ref().map(|file| file.lock()).transpose()
    }

    /// Lets a new key seal, here and in every process that uses the file; the others still open.
    pub fn put_first(&self) -> anyhow::Result<KeyId> {
        let file = self.own_file()?;
        let mut keys = vec![Zeroizing::new(self.chance.bytes())];
        keys.extend(file.read()?);
        file.replace(&keys)?;
        Ok(self.newest())
    }

    /// All keys of the file but the first, if no process seals with one of them any more. None: one does,
    /// because it hasn't looked, or can't read the file. What one has sealed before is in a transaction
    /// that has begun.
    pub fn retire(&self) -> anyhow::Result<Option<Retiring>> {
        let Some(file) = &self.file else { return Ok(Some(Retiring(Vec::new()))) };
        let mut retiring = Vec::new();
        for id in file.ids()?.into_iter().skip(1) {
            let Some(held) = file.hold_alone(id)? else { return Ok(None) };
            retiring.push((id, held));
        }
        Ok(Some(Retiring(retiring)))
    }

    /// Takes retired keys out of the file. Processes that run keep them until they end: they may be about
    /// to open what they read before it was sealed again.
    pub fn keep_first(&self, retiring: Retiring) -> anyhow::Result<()> {
        let file = self.own_file()?;
        let mut keys = file.read()?;
        keys.truncate(1);
        file.replace(&keys)?;
        for (id, held) in retiring.0 {
            file.let_go(id, held);
        }
        Ok(())
    }

    /// The same as a new key in the file, in memory alone.
    #[cfg(test)]
    pub(crate) fn put_before(&self, key: [u8; crate::secrets::key_file::KEY]) -> KeyId {
        let key = Key::new(Zeroizing::new(key));
        let id = key.id;
        self.write().keys.insert(0, key);
        id
    }

    fn own_file(&self) -> anyhow::Result<&KeyFile> {
        let Some(file) = &self.file else { bail!("the keys are given by the configuration") };
        Ok(file)
    }
}
