//! Tests of the simulator: its data directly, and over HTTP.

mod convergence;
mod setup;
