//! Versions of a plugin swapped under a running host: nothing fails, nothing is lost, and it can be
//! undone.
#![allow(clippy::unwrap_used, reason = "a test stops at what it didn't expect")]

mod commands;
mod in_flight;
mod load;
mod versions;
