//! Storage: the only module that names sqlx.
//!
//! One control database (who is configured, what is due, what arrived) and one replication
//! database an organization (the replicated tables; beside them cursors, fences, the change feed
//! and an outbox). On SQLite each is a file under the data directory.

mod database;
pub mod commit;
pub mod integrations;
pub mod inbox;
pub mod items;
pub mod leases;
pub mod organizations;
pub mod owner_secrets;
pub mod plugins;
pub mod relay;
pub mod sql;
pub mod streams;
pub mod tables;

pub use database::{Database, Error};
