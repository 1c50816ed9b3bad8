//! HTTP Sync and DB Sync from a commit to a customer's copy, over real sockets: a file per group of cases.
#![allow(clippy::unwrap_used, reason = "a test stops at what it didn't expect")]

mod contract;
mod examples;
mod failures;
mod feed;
mod hosts;
mod mirror;
mod operator;
mod receiver;
mod setup;
