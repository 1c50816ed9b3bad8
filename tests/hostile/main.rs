//! Guests that attack their host, through the real binary: each is refused or contained, the owner's
//! state says why, nothing of the hostile call is committed, no secret gets out; and while it
//! attacks, a neighbour in the same integration, another integration and the host itself go on.
//!
//! The guest is `hostile`; an owner's id says how it attacks. Each theme is a table of attacks and
//! what the operator then reads.
#![allow(clippy::unwrap_used, reason = "a test stops at what it didn't expect")]

mod answers;
mod arena;
mod batches;
mod install;
mod reach;
mod resources;
mod secrets;
mod tables;
mod vendor;
