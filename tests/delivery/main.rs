//! HTTP Sync, DB Sync and notifications from a commit to a customer's copy, over real sockets: a file per
//! group of cases.
#![allow(clippy::unwrap_used, reason = "a test stops at what it didn't expect")]

mod alerts;
mod contract;
mod examples;
mod failures;
mod feed;
mod hosts;
mod mirror;
mod notifications;
mod operator;
mod own_database;
mod receiver;
mod setup;
mod subscriber;
mod synced;
