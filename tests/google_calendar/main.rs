//! The calendar plugin from a backend's posts to rows: a file per group of cases.

mod calendars;
mod ended_series;
mod interrupted;
mod listings;
mod pairs;
mod refusals;
mod rows;
mod setup;
mod trees;
mod verbs;
