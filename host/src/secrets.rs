//! Secrets at rest: sealed with a key that lies beside no database.

mod keyring;

pub use keyring::{Keyring, Sealed};
