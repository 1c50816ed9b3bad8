//! Everything that speaks SQL.

pub mod tables;
