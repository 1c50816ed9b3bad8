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
mod series;
mod setup;
