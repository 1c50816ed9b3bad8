//! What an operator keeps: what is old goes, the key is changed, and a backup becomes a host.
#![allow(clippy::unwrap_used, reason = "a test stops at what it didn't expect")]

mod backup;
mod credentials;
mod keys;
mod newer;
mod retention;
mod server;
mod setup;
mod stale;
