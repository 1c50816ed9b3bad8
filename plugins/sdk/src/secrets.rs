//! Secrets, by name. No call returns a value; requests name them.

use crate::bindings::rowgate::plugin::http::Presence;
use crate::imports;

/// Is it there and alive?
pub fn present(name: &str) -> bool {
    imports::secret(name, false) == Presence::Present
}

/// The same, but while another call of the owner is fetching it, waits. False: it is this call that
/// fetches it.
pub fn present_or_elected(name: &str) -> bool {
    imports::secret(name, true) == Presence::Present
}

/// Forgets a secret that the vendor refused; one captured since by another call stays.
pub fn forget(name: &str) {
    imports::forget(name);
}
