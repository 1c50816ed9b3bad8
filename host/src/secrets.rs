//! Secrets at rest: sealed with a key that lies beside no database.

mod key_file;
mod keyring;

pub use key_file::KeyFileLock;
pub use keyring::{KeyId, Keyring, Sealed};
