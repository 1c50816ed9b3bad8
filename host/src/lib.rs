//! Rowgate turns third-party APIs into SQL tables.
//!
//! The path of data, in the order of the modules: a `webhook` is authenticated (`auth`), stored
//! (`inbox` in `store`), scheduled (`schedule`), and run (`run`): the component (`plugin`) sends
//! requests (`egress`) and writes rows (`rows`), which `store` commits with the cursor. `delivery` sends
//! what changed to the customer's receivers.

// Plain data and the rim.
pub mod chance;
pub mod clock;
pub mod config;
mod failpoint;
pub mod metrics;
pub mod model;
pub mod tasks;

// The path.
pub mod webhook;

pub mod auth;

pub mod schedule;

pub mod run;

pub mod plugin;

pub mod egress;

pub mod secrets;

pub mod rows;

pub mod store;

pub mod delivery;

pub mod mail;

// What wires it.
pub mod trace;

pub mod server;

pub mod app;

pub mod api;

pub mod cli;
