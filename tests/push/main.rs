//! Push from the vendor's notification to the row: channels asked for, renewed, shown, stopped. A file
//! per group of cases.
#![allow(clippy::unwrap_used, reason = "a test stops at what it didn't expect")]

mod crashed;
mod deleted;
mod notifications;
mod refusals;
mod renewal;
mod setup;
mod unlinked;
