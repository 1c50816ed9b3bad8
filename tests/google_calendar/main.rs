//! The calendar plugin from a backend's posts to rows: a file per group of cases.
#![allow(clippy::unwrap_used, reason = "a test stops at what it didn't expect")]

mod backend;
mod calendars;
mod draining;
mod ended_series;
mod interrupted;
mod listings;
mod logs;
mod operator;
mod pairs;
mod polls;
mod refusals;
mod refused_requests;
mod restored;
mod rows;
mod setup;
mod side_by_side;
mod traces;
mod trees;
mod verbs;
