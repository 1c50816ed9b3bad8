//! The HTTP API as WebhookDB's client and other programs see it: the real host over sockets. Each
//! request that worked and each answer is checked against the host's own OpenAPI document.
#![allow(clippy::unwrap_used, reason = "a test stops at what it didn't expect")]

mod connection;
mod databases;
mod fuzz;
mod integrations;
mod login;
mod mail;
mod notifications;
mod organizations;
mod own_database;
mod owners;
mod queries;
mod remote;
mod replay;
mod saved_queries;
mod schema;
mod setup;
mod steps;
mod targets;
