//! The host's functions: in a component the real ones, natively those of [`crate::testing`].

#[cfg(target_arch = "wasm32")]
mod host {
    pub(crate) use crate::bindings::rowgate::plugin::db::{
        begin_full, delete, end_full, lookup, patch, update, upsert,
    };
    pub(crate) use crate::bindings::rowgate::plugin::http::{forget, secret, send};
    pub(crate) use crate::bindings::rowgate::plugin::log::write as log;
    pub(crate) use crate::bindings::rowgate::plugin::owners::{link, resync, unlink};
    pub(crate) use crate::bindings::rowgate::plugin::streams::{activate, remove, reset};
}

#[cfg(not(target_arch = "wasm32"))]
use crate::testing::imports as host;

pub(crate) use host::*;
