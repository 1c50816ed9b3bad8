//! Rowgate turns third-party APIs into SQL tables.

pub mod model;
pub mod rows;
pub mod store;
