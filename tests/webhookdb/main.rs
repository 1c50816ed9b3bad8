//! WebhookDB's contract, restated as its clients see it: requests over sockets to the real host, by
//! somebody who knows nothing of how it is made. What another suite shows already stands in
//! [`elsewhere`], which checks that it still does.
#![allow(clippy::unwrap_used, reason = "a test stops at what it didn't expect")]

mod client;
mod commands;
mod elsewhere;
mod endpoint;
mod first_day;
mod members;
mod mistakes;
mod repeated;
mod setup;
