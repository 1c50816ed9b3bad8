//! Secrets at rest: sealed with a key that lies beside no database.

mod key;
mod key_file;
mod keyring;

pub use key::{KeyId, Sealed};
pub use key_file::KeyFileLock;
pub use keyring::{Keyring, Retiring};
