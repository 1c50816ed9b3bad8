//! A throw-away PostgreSQL server for tests, benchmarks and the demo.
//!
//! A [`Cluster`] lies in memory where it can (`/dev/shm`), listens on loopback, trusts everybody who
//! gets there, and is gone with the process that started it, however that one ends. It can be killed,
//! frozen and started again, and each test gets a [`Database`] of its own. It needs the server's
//! programs only: a small [`Client`] speaks for itself, so that the task runner can use it too.

mod client;
mod cluster;
mod database;
mod dump;
mod install;
mod server;
mod watchdog;

pub use client::{Client, Refused, Row};
pub use cluster::{Cluster, Options};
pub use database::Database;
pub use dump::Dump;
pub use install::{DEBIAN_PACKAGE, is_installed};
