//! The call's owner as a whole. Buffered until the call returns ok, applied after its rows.

use crate::imports;

/// The owner is (again) linked: a dead-grant mark goes, all its streams are due, expired
/// subscriptions are replaced.
pub fn link() {
    imports::link();
}

/// The owner's rows, streams, subscriptions and secrets go, in all services of the tree.
pub fn unlink() {
    imports::unlink();
}

/// All cursors are forgotten and everything is read again, in full.
pub fn resync() {
    imports::resync();
}
