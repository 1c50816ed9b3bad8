//! Tests of the simulator: its data directly, and over HTTP.
#![allow(clippy::unwrap_used, reason = "tests")]

mod client;
mod control;
mod convergence;
mod events;
mod faults;
mod http;
mod lists;
mod oauth;
mod push_faults;
mod pushes;
mod receiver;
mod series;
mod setup;
mod watches;
